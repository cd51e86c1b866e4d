"""The audit rows that a test expects."""

from typing import Any, NamedTuple
from uuid import UUID

import pytest

from apikeys.models import ApiKey
from audit.models import AuditEvent


class Row(NamedTuple):
    """What is asked of a row, beside its changes."""

    event: str
    action: str
    label: str
    actor_kind: str
    actor: str


def rows_of(api_key: ApiKey) -> list[Row]:
    """Return the rows about a key, oldest first."""
    found = AuditEvent.objects.filter(target_table="api_keys", target_id=str(api_key.pk)).order_by("id")
    return [Row(row.event, row.action, row.target_label, row.actor_kind, row.actor_label) for row in found]


def events_of(api_key: ApiKey) -> list[str]:
    return [row.event for row in rows_of(api_key)]


def newest_changes(key_id: UUID) -> dict[str, Any]:
    changes: dict[str, Any] = AuditEvent.objects.filter(target_id=str(key_id)).latest("id").changes
    return changes


class LogIsFull(Exception):
    """The audit row cannot be written."""


def break_the_audit_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LogIsFull

    monkeypatch.setattr(AuditEvent, "save", fail)


def everything_recorded() -> str:
    """Return all that the audit log holds, to look for what must not be in it."""
    return repr(list(AuditEvent.objects.order_by("id").values_list()))
