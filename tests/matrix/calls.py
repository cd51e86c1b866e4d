"""Making a call, seeing what it wrote, and undoing it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from tests.matrix.world import Caller

_WRITE = re.compile(r'\s*(INSERT|UPDATE|DELETE)(?:\s+INTO|\s+FROM)?\s+"?(\w+)', re.IGNORECASE)
# Who looked, and what the browser was told, are written whatever the answer is.
_ASIDE = {"django_session", "usersessions_usersession"}


@dataclass(frozen=True)
class Answer:
    """What came back, and how many rows of which tables were written for it."""

    response: Any
    written: Counter[str]

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def has_changed_nothing(self) -> bool:
        return not self.written

    def body(self) -> Any:
        """Return what it says, less what is another for every request."""
        said = self.response.json()
        return {name: value for name, value in said.items() if name not in {"request_id", "instance"}}


def attempt(caller: Caller, method: str, path: str, body: object = None, **sent: Any) -> Answer:
    """Make a call, and undo whatever it did."""
    if body is not None:
        sent |= {"data": json.dumps(body), "content_type": "application/json"}
    with transaction.atomic():
        with _writes() as written:
            response = caller.call(method, path, **sent)
        transaction.set_rollback(True)
    return Answer(response, written)


@contextmanager
def _writes() -> Iterator[Counter[str]]:
    """Count the rows that are written meanwhile, by table; what is undone again counts too."""
    found: Counter[str] = Counter()

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        write = _WRITE.match(sql)
        if write and write[2] not in _ASIDE:
            # An INSERT says only later how many rows it made.
            found[write[2]] += 1 if write[1].upper() == "INSERT" else max(context["cursor"].rowcount, 0)
        return result

    with connection.execute_wrapper(note):
        yield found
    for table in [table for table, rows in found.items() if not rows]:
        del found[table]
