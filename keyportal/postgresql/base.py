"""Django's PostgreSQL backend, with a deadline on everything that waits for the server.

`statement_timeout` is kept by the server, and `tcp_user_timeout` by its machine: a server process that is stopped,
or a proxy that swallows what it takes, acknowledges every packet and answers none, and a thread would wait for good.
"""

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError
from django.db.backends.postgresql import base as django_base
from django.db.backends.postgresql.psycopg_any import register_tzloader
from django.db.backends.utils import CursorWrapper
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout  # what `Connection.wait` documents that it raises
from psycopg.pq import Format

Result = TypeVar("Result")

# How much longer than the server's own statement_timeout we wait, so that on a healthy one that comes first.
GRACE_SECONDS = 2.0
# Where the server has no such timeout, because nobody set one or a pooler dropped it.
DEFAULT_SECONDS = 12.0
# A probe asks for nothing that takes time.
PROBE_SECONDS = 2.0


class ServerSilent(psycopg.OperationalError):
    """The server took a statement and did not answer in time. The connection is closed.

    Django raises it as its own `OperationalError` with this as the cause. Whether the statement was carried out
    is unknown, as it is whenever a connection is lost.
    """


class Limits:
    """How long the connections of one wrapper wait: usually, and while someone asks for something else."""

    __slots__ = ("asked", "usual")

    def __init__(self) -> None:
        self.usual = DEFAULT_SECONDS
        self.asked: float | None = None


class Patience:
    """The context manager of `keyportal.postgresql.patience`; a class, since verification enters it each time."""

    __slots__ = ("_before", "_limits", "_seconds")

    def __init__(self, limits: Limits, seconds: float) -> None:
        self._limits, self._seconds = limits, seconds

    def __enter__(self) -> None:
        self._before = self._limits.asked
        self._limits.asked = self._seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limits.asked = self._before


class PreparedCursor(psycopg.Cursor[Any]):
    """A cursor that sends a statement and its values apart, and has a frequent statement prepared.

    Elsewhere nothing is: psycopg would keep the text of a connection's latest hundred statements to count them,
    and in the texts of Django's cursors are the values, of a whole batch at times, so that none comes twice.
    """

    def execute(self, *args: Any, **kwargs: Any) -> Self:
        connection: Any = self.connection
        connection.prepare_threshold = connection.threshold
        try:
            return super().execute(*args, **kwargs)
        finally:
            connection.prepare_threshold = None


class Connection(psycopg.Connection[Any]):
    """A connection whose every wait, in the one place where psycopg waits, has an end."""

    limits: Limits
    # How often a statement of `PreparedCursor` comes before it is prepared; None is never.
    threshold: int | None
    # The cursor of `read_row`, which is worth keeping: what it knows of values and columns serves again.
    reader: PreparedCursor | None = None

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        """Do as psycopg does, for so long; what it asks to be bounded itself, stays so.

        :raises ServerSilent: if the server did not answer in time. What it may yet send would be taken for the
            answer to the next statement, so the connection is closed. It is not cancelled, which would be
            another wait for the same server; its statement_timeout ends what it may be doing.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = self.limits.asked or self.limits.usual
        try:
            return super().wait(gen, interval, seconds)
        except _WaitTimeout:
            self.close()
            raise ServerSilent(f"the database did not answer within {seconds:g} seconds") from None


class DatabaseWrapper(django_base.DatabaseWrapper):
    """Django's, over such connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = Limits()

    def patience(self, seconds: float) -> Patience:
        return Patience(self._limits, seconds)

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        # libpq takes 0 for "as long as it takes".
        usual = float(params.get("connect_timeout") or math.inf)
        if (asked := self._limits.asked) and asked < usual:
            # psycopg takes whole seconds, and no fewer than two.
            params["connect_timeout"] = asked
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        """Connect as Django does; it has no way to be told of another class.

        It makes no pool: Django refuses one by itself where connections are kept, as they are here.
        """
        options = self.settings_dict["OPTIONS"]
        try:
            self.isolation_level = psycopg.IsolationLevel(
                options.get("isolation_level", psycopg.IsolationLevel.READ_COMMITTED)
            )
        except ValueError as error:
            raise ImproperlyConfigured(f"isolation_level is not one of psycopg.IsolationLevel: {error}") from error
        connection = Connection.connect(**{**conn_params, "prepare_threshold": None})
        connection.limits, connection.threshold = self._limits, conn_params["prepare_threshold"]
        if "isolation_level" in options:
            connection.isolation_level = self.isolation_level
        return connection

    def init_connection_state(self) -> None:
        """Prepare a new connection, and learn how long its server lets a statement run."""
        super().init_connection_state()
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float")
            [timeout] = cursor.fetchone()
        if not self.get_autocommit():
            self.connection.commit()
        self._limits.usual = timeout + GRACE_SECONDS if timeout else DEFAULT_SECONDS

    def ensure_connection(self) -> None:
        """Connect if there is no connection, or only one that an error has closed.

        Django would keep that one until the request ends, and fail whatever comes after the error.
        """
        if self.errors_occurred and self._is_lost():
            self.close()
        super().ensure_connection()

    def close_if_unusable_or_obsolete(self) -> None:
        """Let go, between requests, of a connection that is of no more use.

        Django asks it first in which mode it is, for which one that was lost would be made anew.
        """
        if self.errors_occurred and self._is_lost():
            self.close()
        else:
            super().close_if_unusable_or_obsolete()

    def _is_lost(self) -> bool:
        """Say whether an error has closed the connection. In a transaction it stays: half of that would be gone."""
        return not self.in_atomic_block and self.connection is not None and self.connection.closed

    def is_usable(self) -> bool:
        with self.patience(PROBE_SECONDS):
            return bool(super().is_usable())

    def read_row(self, sql: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the first row of a frequent statement, or None; the cheapest way to read one.

        Its cursor sends a statement and its values apart, so that it is parsed only once on each connection, after it
        has come `prepare_threshold` times. There is no health check, which would be a round trip before each read:
        whoever uses this tries once more after a connection was lost.
        """
        try:
            return self._read_row(sql, params)
        except NotSupportedError:
            # "cached plan must not change result type": a migration has changed a column since it was prepared.
            if self.in_atomic_block:
                raise
            self.close()
            return self._read_row(sql, params)

    def _read_row(self, sql: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
        self.ensure_connection()
        connection = self.connection
        if connection.reader is None:
            connection.reader = self._new_prepared_cursor()
        cursor = self._wrapped(connection.reader)
        cursor.execute(sql, params)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row

    def _wrapped(self, cursor: Any) -> CursorWrapper:
        """Return Django's own over a cursor: with its execute wrappers, its log of queries and its errors."""
        self.validate_thread_sharing()
        return self.make_debug_cursor(cursor) if self.queries_logged else self.make_cursor(cursor)

    def _new_prepared_cursor(self) -> PreparedCursor:
        cursor = PreparedCursor(self.connection)
        loader = self.connection.adapters.get_loader(django_base.TIMESTAMPTZ_OID, Format.TEXT)
        if self.timezone != loader.timezone:
            register_tzloader(self.timezone, cursor)
        return cursor
