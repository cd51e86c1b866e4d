"""Pages by position in the log, not by number, so that new events shift nothing and old pages stay fast."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from audit.models import AuditEvent, AuditEventQuerySet

_ID = re.compile(r"[1-9][0-9]{0,18}")
_GREATEST_ID = 2**63 - 1


class MalformedCursor(ValueError):
    """A position in the log that this portal never gave out."""


class Page(NamedTuple):
    """Some events, newest first, and the id that the next page starts below; None on the last one."""

    events: Sequence[AuditEvent]
    next_before: int | None


def read_page(rows: AuditEventQuerySet, *, before: int | None, size: int) -> Page:
    """Read the `size` newest events that are older than `before`, in one query."""
    events = list(rows.older_than(before)[: size + 1])
    has_more = len(events) > size
    return Page(events[:size], events[size - 1].id if has_more else None)


def parse_id(text: str) -> int:
    """Return the id that a text spells.

    :raises MalformedCursor: if it spells none that a database could hold.
    """
    if not _ID.fullmatch(text) or int(text) > _GREATEST_ID:
        raise MalformedCursor(text)
    return int(text)


def encode_cursor(event_id: int) -> str:
    """Return a position as clients get it: nothing to count with, so that its meaning can change."""
    return base64.urlsafe_b64encode(str(event_id).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int:
    """Return the id in a cursor.

    :raises MalformedCursor: if it is none of ours.
    """
    try:
        event_id = parse_id(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise MalformedCursor(cursor) from error
    if encode_cursor(event_id) != cursor:
        raise MalformedCursor(cursor)
    return event_id
