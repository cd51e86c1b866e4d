"""The public names of what happens, with one sentence each. `docs/audit-events.md` is checked against them.

Names are added, never renamed: people filter, export and alert by them.
"""

import re
from collections.abc import Iterable, Mapping

EVENTS: dict[str, str] = {}
TABLES: set[str] = set()

_NAME = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
_TABLE = re.compile(r"[a-z][a-z_]*")
NAME_LENGTH = 100
TABLE_LENGTH = 63


class UnknownEvent(LookupError):
    """An event or table was named that nobody registered, so that nobody could look it up or filter by it."""


def register(sentences: Mapping[str, str], *, tables: Iterable[str] = ()) -> None:
    """Add event names, `noun.past_tense`, with the sentence that documents each, and the tables they concern.

    :raises ValueError: if a name has not that form, or was registered with another sentence.
    """
    for name, sentence in sentences.items():
        if len(name) > NAME_LENGTH or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no event name: write noun.past_tense in lower case.")
        if EVENTS.setdefault(name, sentence) != sentence:
            raise ValueError(f"{name!r} is registered already, with another sentence.")
    for table in tables:
        if len(table) > TABLE_LENGTH or not _TABLE.fullmatch(table):
            raise ValueError(f"{table!r} is no table name: write a plural noun in lower case.")
        TABLES.add(table)


def require(event: str, table: str) -> None:
    """Let a row be written only under names that were registered.

    :raises UnknownEvent: if either was not.
    """
    if event not in EVENTS:
        raise UnknownEvent(f"Register the event {event!r} with audit.events.register() or track(), and document it.")
    if table not in TABLES:
        raise UnknownEvent(f"Register the table {table!r} with audit.events.register(…, tables=…) or track().")


def as_table() -> str:
    """Return the registry as the table of `docs/audit-events.md`."""
    rows = [f"| `{name}` | {EVENTS[name]} |" for name in sorted(EVENTS)]
    return "\n".join(["| event | what happened |", "|---|---|", *rows])
