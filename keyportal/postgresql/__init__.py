"""Django's PostgreSQL backend, less its trust that a server which has taken a statement will ever answer."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

_AS_IT_IS = nullcontext()


def patience(connection: Any, seconds: float) -> AbstractContextManager[None]:
    """Bound, while it lasts, how long each statement and each new connection may wait for the server.

    `math.inf` is for ever: for a migration. A new connection gets two seconds at least, which is libpq's own bound.
    Other databases than PostgreSQL are in this process, or bound themselves, and are left as they are.
    """
    return connection.patience(seconds) if connection.vendor == "postgresql" else _AS_IT_IS
