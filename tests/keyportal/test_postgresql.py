import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from keyportal.postgresql import patience
from keyportal.postgresql.base import DEFAULT_SECONDS, GRACE_SECONDS, DatabaseWrapper, ServerSilent
from tests.services import free_port

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1::int + %%'"


def at(port: int, **options: Any) -> DatabaseWrapper:
    """Return the backend for a server on a loopback port, as settings.py would set it up."""
    return DatabaseWrapper(
        {
            "NAME": "portal",
            "USER": "keyportal",
            "PASSWORD": "swordfish",
            "HOST": "127.0.0.1",
            "PORT": port,
            "OPTIONS": {"connect_timeout": 5, **options},
            "TIME_ZONE": None,
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
            "AUTOCOMMIT": True,
        },
        alias="other",
    )


@pytest.fixture
def wrapper() -> Iterator[Any]:
    """A connection of this test's own to the tests' database, in no transaction."""
    own: Any = connections.create_connection("default")
    # A fault of one test would else be in the options of the next.
    own.settings_dict = {**own.settings_dict, "OPTIONS": {**own.settings_dict["OPTIONS"]}}
    connections["own"] = own
    yield own
    own.close()
    del connections["own"]


def query(own: Any, statement: str = "SELECT 1") -> Any:
    with own.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def change(own: Any, statement: str) -> None:
    with own.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def stopped(own: Any) -> Iterator[int]:
    """Stop the server's process behind a connection: its machine goes on acknowledging what is sent to it."""
    pid = query(own, "SELECT pg_backend_pid()")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def timed(least: float, most: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert least <= time.monotonic() - start < most


@contextmanager
def silence() -> Iterator[int]:
    """Listen on a port, take what comes and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# A server that does not answer


@pytest.mark.postgresql
@pytest.mark.django_db
def test_statement_of_a_silent_server_ends(wrapper: Any) -> None:
    with stopped(wrapper), patience(wrapper, 0.5), timed(0.5, 2):
        with pytest.raises(OperationalError, match=r"did not answer within 0\.5 seconds") as caught:
            query(wrapper)
        assert isinstance(caught.value.__cause__, ServerSilent)
        assert wrapper.connection.closed


@pytest.mark.postgresql
@pytest.mark.django_db
def test_next_statement_after_silence_has_a_new_connection(wrapper: Any) -> None:
    with stopped(wrapper) as pid, patience(wrapper, 0.5):
        with pytest.raises(OperationalError):
            query(wrapper)
        assert query(wrapper, "SELECT pg_backend_pid()") != pid
    assert query(wrapper) == 1


@pytest.mark.postgresql
@pytest.mark.django_db
def test_late_answer_is_nobodys(wrapper: Any) -> None:
    with stopped(wrapper), patience(wrapper, 0.5), pytest.raises(OperationalError):
        query(wrapper, "SELECT 'late'")
    # The server has woken up, and answers into a connection that is gone.
    assert query(wrapper, "SELECT 'next'") == "next"


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("way", ["read_row", "chunked_cursor", "executemany", "copy"])
def test_every_way_to_ask_ends(wrapper: Any, way: str) -> None:
    def ask() -> None:
        if way == "read_row":
            wrapper.read_row("SELECT %s::int", [1])
        elif way == "executemany":
            with wrapper.cursor() as cursor:
                cursor.executemany("SELECT %s::int", [[1], [2]])
        elif way == "copy":
            with wrapper.cursor() as cursor, cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
                list(copy)
        else:
            with wrapper.chunked_cursor() as cursor:
                cursor.execute("SELECT %s::int", [1])

    ask()
    with stopped(wrapper), patience(wrapper, 0.5), timed(0.5, 2), pytest.raises((OperationalError, ServerSilent)):
        ask()


@pytest.mark.postgresql
@pytest.mark.django_db
def test_transaction_of_a_silent_server_ends_and_the_next_one_works(wrapper: Any) -> None:
    with (
        stopped(wrapper),
        patience(wrapper, 0.5),
        timed(0.5, 2),
        pytest.raises(OperationalError),
        transaction.atomic(using="own"),
    ):
        query(wrapper)
    with transaction.atomic(using="own"):
        assert query(wrapper) == 1


@pytest.mark.postgresql
@pytest.mark.django_db
def test_nothing_more_is_asked_in_a_transaction_that_lost_its_connection(wrapper: Any) -> None:
    query(wrapper)
    # A new connection would carry out half of a transaction whose other half is gone.
    with stopped(wrapper), patience(wrapper, 0.5), suppress(OperationalError), transaction.atomic(using="own"):
        for _ in range(2):
            with pytest.raises(OperationalError):
                query(wrapper)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_connection_that_was_cut_is_replaced_at_once(wrapper: Any) -> None:
    pid = query(wrapper, "SELECT pg_backend_pid()")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(OperationalError):
        query(wrapper)
    assert query(wrapper, "SELECT pg_backend_pid()") != pid


@pytest.mark.postgresql
@pytest.mark.django_db
def test_health_check_of_a_silent_server_is_short(wrapper: Any) -> None:
    query(wrapper)
    with stopped(wrapper), timed(2, 4):
        assert not wrapper.is_usable()


@pytest.mark.pure
def test_connecting_to_a_server_that_never_speaks_ends() -> None:
    with silence() as port, timed(2, 4):
        own = at(port, connect_timeout=2)
        with pytest.raises(psycopg.OperationalError):
            own.get_new_connection(own.get_connection_params())


@pytest.mark.postgresql
@pytest.mark.django_db
def test_request_that_met_silence_ends_without_a_new_connection(wrapper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopped(wrapper), patience(wrapper, 0.5), pytest.raises(OperationalError):
        query(wrapper)
    monkeypatch.setattr(wrapper, "connect", lambda: pytest.fail("It connected."))
    # What Django does at the end of each request and at the start of the next one.
    wrapper.close_if_unusable_or_obsolete()
    assert wrapper.connection is None


@pytest.mark.pure
@pytest.mark.parametrize("usual", [5, 0])
def test_patience_bounds_connecting_too(usual: int) -> None:
    own = at(1, connect_timeout=usual)
    with patience(own, 2):
        assert own.get_connection_params()["connect_timeout"] == 2
    with patience(own, math.inf):
        assert own.get_connection_params()["connect_timeout"] == usual
    assert own.get_connection_params()["connect_timeout"] == usual


# A server that is well


@pytest.mark.postgresql
@pytest.mark.django_db
def test_servers_own_timeout_comes_first(wrapper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wrapper.settings_dict["OPTIONS"], "options", "-c statement_timeout=300ms")
    with timed(0.3, 1), pytest.raises(OperationalError, match="statement timeout"):
        query(wrapper, "SELECT pg_sleep(10)")
    assert query(wrapper) == 1


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("timeout", "seconds"), [("10s", 10 + GRACE_SECONDS), ("1min", 60 + GRACE_SECONDS), ("0", DEFAULT_SECONDS)]
)
def test_patience_follows_the_servers_timeout(
    wrapper: Any, monkeypatch: pytest.MonkeyPatch, timeout: str, seconds: float
) -> None:
    monkeypatch.setitem(wrapper.settings_dict["OPTIONS"], "options", f"-c statement_timeout={timeout}")
    wrapper.ensure_connection()
    assert wrapper.connection.limits.usual == seconds


@pytest.mark.postgresql
@pytest.mark.django_db
def test_patience_ends_with_its_block_and_can_be_for_ever(wrapper: Any) -> None:
    with patience(wrapper, math.inf):
        with patience(wrapper, 0.2), pytest.raises(OperationalError):
            query(wrapper, "SELECT pg_sleep(0.5)")
        assert query(wrapper, "SELECT pg_sleep(0.5)") == ""
    assert query(wrapper, "SELECT pg_sleep(0.5)") == ""


@pytest.mark.sqlite
@pytest.mark.django_db
def test_patience_leaves_sqlite_as_it_is() -> None:
    with patience(connection, 2):
        assert query(connection) == 1


@pytest.mark.postgresql
@pytest.mark.django_db
def test_notifications_may_be_awaited_for_as_long_as_was_asked(wrapper: Any) -> None:
    wrapper.ensure_connection()
    with patience(wrapper, 5), timed(0.2, 2):
        assert list(wrapper.connection.notifies(timeout=0.2)) == []
    assert query(wrapper) == 1


@pytest.mark.postgresql
@pytest.mark.django_db
def test_isolation_level_is_the_one_that_is_set(wrapper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wrapper.settings_dict["OPTIONS"], "isolation_level", psycopg.IsolationLevel.SERIALIZABLE)
    with transaction.atomic(using="own"):
        assert query(wrapper, "SHOW transaction_isolation") == "serializable"


@pytest.mark.pure
def test_isolation_level_that_is_none_is_refused() -> None:
    own = at(free_port(), isolation_level=99)
    with pytest.raises(ImproperlyConfigured, match="isolation_level is not one of"):
        own.get_new_connection(own.get_connection_params())


# Statements that are prepared


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(("threshold", "prepared"), [(5, 1), (None, 0)])
def test_frequent_statement_is_prepared_unless_that_is_switched_off(
    wrapper: Any, monkeypatch: pytest.MonkeyPatch, threshold: int | None, prepared: int
) -> None:
    monkeypatch.setitem(wrapper.settings_dict["OPTIONS"], "prepare_threshold", threshold)
    for number in range(8):
        assert wrapper.read_row("SELECT %s::int + 1", [number]) == (number + 1,)
    assert query(wrapper, PREPARED) == prepared


@pytest.mark.postgresql
@pytest.mark.django_db
def test_read_row_is_a_query_like_any_other(wrapper: Any) -> None:
    seen = []

    def wrapped(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((sql, params))
        return execute(sql, params, many, context)

    wrapper.ensure_connection()
    with CaptureQueriesContext(wrapper) as queries, wrapper.execute_wrapper(wrapped):
        assert wrapper.read_row("SELECT %s::text", ["x"]) == ("x",)
        assert wrapper.read_row("SELECT %s::text WHERE false", ["x"]) is None
    assert [entry["sql"] for entry in queries] == ["SELECT $1::text", "SELECT $1::text WHERE false"]
    assert seen == [("SELECT %s::text", ["x"]), ("SELECT %s::text WHERE false", ["x"])]
    with pytest.raises(OperationalError):
        wrapper.read_row("SELECT pg_terminate_backend(pg_backend_pid()), %s::int", [1])
    assert wrapper.read_row("SELECT %s::int", [1]) == (1,)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_no_other_statement_is_kept_to_be_counted(wrapper: Any) -> None:
    for number in range(8):
        query(wrapper, f"SELECT {number % 2}")
        wrapper.read_row("SELECT %s::int + 1", [number])
    assert wrapper.connection.prepare_threshold is None
    assert query(wrapper, "SELECT count(*) FROM pg_prepared_statements") == 1
    # psycopg has no public word for this; that it is empty is the point.
    assert len(wrapper.connection._prepared._counts) == 0


@pytest.mark.postgresql
@pytest.mark.django_db
def test_row_is_read_though_a_migration_changed_a_column_of_it(wrapper: Any) -> None:
    change(wrapper, "CREATE TABLE changing AS SELECT 'x'::varchar(8) AS name")
    try:
        for _ in range(8):
            assert wrapper.read_row("SELECT name FROM changing WHERE name = %s", ["x"]) == ("x",)
        change(wrapper, "ALTER TABLE changing ALTER name TYPE varchar(16)")
        with pytest.raises(NotSupportedError, match="cached plan"), transaction.atomic(using="own"):
            wrapper.read_row("SELECT name FROM changing WHERE name = %s", ["x"])
        assert wrapper.read_row("SELECT name FROM changing WHERE name = %s", ["x"]) == ("x",)
    finally:
        change(wrapper, "DROP TABLE changing")


@pytest.mark.postgresql
@pytest.mark.django_db
def test_times_that_are_read_are_in_utc(wrapper: Any) -> None:
    row = wrapper.read_row("SELECT %s::timestamptz", ["2026-03-01 12:00+01"])
    assert row[0].isoformat() == "2026-03-01T11:00:00+00:00"
