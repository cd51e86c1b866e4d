"""The audit log as JSON."""

import re
from datetime import UTC, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Field, Query, Router, Schema
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from audit.events import TABLES
from audit.forms import FIRST_DAY, LAST_DAY, MAX_TEXT_LENGTH
from audit.models import AuditEvent
from audit.paging import MalformedCursor, decode_cursor, encode_cursor, read_page
from audit.visibility import visible_events
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["audit"])

# What both databases can look for: SQLite refuses long patterns, PostgreSQL the character NUL.
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH, pattern=r"^[^\x00]*$")]


def _written_out(at: object) -> object:
    """Refuse numbers, of which pydantic would guess whether they are seconds or milliseconds since 1970."""
    if (isinstance(at, str) and not re.match(r"\d{4}-", at.strip())) or isinstance(at, int | float):
        raise ValueError("Send a time in ISO 8601 with its zone, such as 2026-03-02T12:00:00Z.")
    return at


Time = Annotated[
    AwareDatetime,
    Field(ge=datetime.combine(FIRST_DAY, time.min, UTC), le=datetime.combine(LAST_DAY, time.min, UTC)),
    # PostgreSQL takes no offset of 16 hours, which Python does.
    AfterValidator(lambda at: at.astimezone(UTC)),
    BeforeValidator(_written_out),
]


class EventQuery(Schema):
    """Filters, all of which have to hold, and the page."""

    target_table: Text = Field("", description="What the event is about, such as `api_keys`.")
    action: Literal["", "create", "update", "delete", "event"] = Field(
        "", description="`event` is what changed no row: a sign-in, a refusal, an export."
    )
    actor: Text = Field("", description="Part of the actor's label, in any case.")
    label: Text = Field("", description="Part of the target's label, in any case.")
    since: Time | None = Field(None, description="Events at or after this time, ISO 8601 with its zone.")
    until: Time | None = Field(None, description="Events before this time, ISO 8601 with its zone.")
    limit: int = Field(50, ge=1, le=100, description="How many events a page holds.")
    cursor: str = Field("", max_length=64, description="`next_cursor` of the page before.")


class ActorItem(Schema):
    """Who did it; for a key, whose role it acted with."""

    kind: str
    id: UUID | None
    label: str
    issuer_id: UUID | None
    issuer_label: str


class TargetItem(Schema):
    """What it was done to, as it was called then."""

    table: str
    id: str
    label: str


class EventItem(Schema):
    """One audit event."""

    id: int
    at: datetime
    actor: ActorItem
    target: TargetItem
    action: str
    event: str
    changes: dict[str, Any] = Field(description="`{field: [before, after]}`; a secret's values are `•••`.")
    request_id: str
    address: str | None


class EventPage(Schema):
    """A page of events, newest first; `next_cursor` is null on the last one."""

    items: list[EventItem]
    next_cursor: str | None


@router.get(
    "/audit-events",
    response=answers(200, EventPage, 404),
    operation_id="list_audit_events",
    summary="List audit events",
)
def list_audit_events(request: ApiRequest, query: Query[EventQuery]) -> EventPage:
    """Return what happened, newest first, as far as the caller may see it. Keys need `audit:read`."""
    visible = visible_events(request)
    if query.target_table and query.target_table not in TABLES:
        raise _invalid("target_table", f"There is no such table. These are recorded: {', '.join(sorted(TABLES))}.")
    conditions = query.model_dump(exclude={"limit", "cursor"})
    rows = visible.matching(**conditions)
    page = read_page(rows, before=_before(query.cursor), size=query.limit)
    return EventPage(
        items=[_item(event) for event in page.events],
        next_cursor=encode_cursor(page.next_before) if page.next_before else None,
    )


def _before(cursor: str) -> int | None:
    try:
        return decode_cursor(cursor) if cursor else None
    except MalformedCursor as error:
        raise _invalid("cursor", "Send `next_cursor` of the page before as it is.") from error


def _invalid(field: str, message: str) -> Problem:
    return Problem("invalid_field", errors=[{"field": field, "message": message}])


def _item(event: AuditEvent) -> EventItem:
    return EventItem(
        id=event.id,
        at=event.at,
        actor=ActorItem(
            kind=event.actor_kind,
            id=event.actor_id,
            label=event.actor_label,
            issuer_id=event.issuer_id,
            issuer_label=event.issuer_label,
        ),
        target=TargetItem(table=event.target_table, id=event.target_id, label=event.target_label),
        action=event.action,
        event=event.event,
        changes=event.changes,
        request_id=event.request_id,
        address=event.address,
    )
