"""Events of the tests' own, about safes: they can be filtered by, and nothing else is ever called so."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from audit import events, tracking
from audit.context import Actor, Place, audit_context
from audit.models import AuditEvent
from audit.signals import record

Happen = Callable[..., AuditEvent]

NOON = dt.datetime(2025, 3, 5, 12, tzinfo=dt.UTC)
ORGANIZATION = UUID("01900000-0000-7000-8000-000000000001")
OTHER_ORGANIZATION = UUID("01900000-0000-7000-8000-000000000002")
TEAM = UUID("01900000-0000-7000-8000-000000000003")
PROJECT = UUID("01900000-0000-7000-8000-000000000004")
ALICE_ID = UUID("01900000-0000-7000-8000-00000000000a")
BOB_ID = UUID("01900000-0000-7000-8000-00000000000b")
ALICE = Actor("user", id=ALICE_ID, label="alice@example.com")
BOB = Actor("user", id=BOB_ID, label="bob@example.com")


def happen(*, actor: Actor = ALICE, at: dt.datetime | None = NOON, **said: Any) -> AuditEvent:
    """Write one event, of Alice inspecting a safe unless told otherwise, and return its row."""
    given: dict[str, Any] = {
        "event": "safe.inspected",
        "target_table": "safes",
        "place": Place(ORGANIZATION),
    } | said
    with audit_context(actor=actor, at=at):
        record(**given)
    return AuditEvent.objects.latest("id")


@contextmanager
def safes_registered() -> Iterator[None]:
    with registry_restored():
        events.register(
            {"safe.inspected": "Someone looked at a safe.", "safe.dusted": "Someone dusted a safe."},
            tables=["safes", "chests"],
        )
        yield


@contextmanager
def registry_restored() -> Iterator[None]:
    """Forget, at the end, every event, table and model that was registered in between."""
    registries: list[Any] = [events.EVENTS, events.TABLES, tracking.TRACKED]
    copies = [registry.copy() for registry in registries]
    try:
        yield
    finally:
        for registry, copy in zip(registries, copies, strict=True):
            registry.clear()
            registry.update(copy)
