"""Uses of keys that nobody made: what a request would have left, without the request."""

from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from audit.models import KeyUse, KeyUseHour
from audit.uses import Use
from keyportal import metrics
from tests.cast import NOON

KEY_ID = UUID("01900000-0000-7000-8000-0000000000c1")
ORGANIZATION_ID = UUID("01900000-0000-7000-8000-0000000000c2")


def a_use(at: datetime = NOON, **said: Any) -> Use:
    """Return the record of a request at a time, with an id of that time."""
    known: dict[str, Any] = {
        "id": uuid7(nanoseconds=int(at.timestamp() * 1e9)),
        "outcome": "accepted",
        "is_refused": False,
        "status": 200,
        "prefix": "a1B2c3D4",
        "key_id": KEY_ID,
        "label": "kp_sk_live_a1B2c3D4",
        "organization_id": ORGANIZATION_ID,
        "method": "GET",
        "route": "v1/whoami",
        "address": "192.0.2.7",
        "user_agent": "curl/8.14.1",
    }
    return Use(at=at, **known | said)


def a_refusal(at: datetime = NOON, **said: Any) -> Use:
    """Return the record of a request with a wrong secret."""
    known = {"outcome": "invalid_key", "is_refused": True, "status": 401, "key_id": None, "label": ""}
    return a_use(at, **known | {"organization_id": None} | said)


def written() -> list[Use]:
    """Return what was written, oldest first, as it was to be."""
    return [Use(*row) for row in KeyUse.objects.order_by("id").values_list(*Use._fields)]


def hours() -> list[tuple[UUID, datetime, int, int]]:
    rows = KeyUseHour.objects.order_by("key_id", "hour")
    return [(row.key_id, row.hour, row.uses, row.refusals) for row in rows]


def counted(name: str) -> float:
    """Return what a metric says now."""
    value = metrics.REGISTRY.get_sample_value(f"keyportal_{name}")
    assert value is not None
    return value
