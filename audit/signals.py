"""The one signal through which everything that is recorded passes, whether a model changed or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.dispatch import Signal

from audit import events
from audit.context import Context, Place, current

CREATE, UPDATE, DELETE = "create", "update", "delete"
# What happened without a tracked row changing: a sign-in, a refusal, an export.
EVENT = "event"

happened = Signal()
# Sent inside the transaction that writes uses of keys, with `newest`: the last use of each key among them.
uses_written = Signal()


class NothingRecords(RuntimeError):
    """Something happened and nobody listened, so it would have gone unrecorded."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What is to be recorded, and by whom, where and when it happened."""

    event: str
    action: str
    target_table: str
    target_id: str
    target_label: str
    place: Place
    changes: Mapping[str, Any] = field(default_factory=dict)
    context: Context = field(default_factory=current)


def record(
    *,
    event: str,
    target_table: str,
    target_id: object = "",
    target_label: str = "",
    place: Place = Place(),  # noqa: B008 - frozen, so it can be shared
    action: str = EVENT,
    changes: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Write one audit row, under the actor, request and address of the running `audit_context`.

    Apps call it for what is no change of a tracked model. `changes` may hold what else is worth knowing, as
    `{name: [before, after]}`; it is stored as it is, so it must hold no secret.

    :raises UnknownEvent: if the event or the table is not registered.
    """
    events.require(event, target_table)
    happening = Happening(
        event=event,
        action=action,
        target_table=target_table,
        target_id=str(target_id),
        target_label=target_label,
        place=place,
        changes=changes or {},
    )
    if not happened.send(sender=Happening, happening=happening, using=using):
        raise NothingRecords("The audit app is not installed, so nothing may happen that it should record.")
