"""What reached PostgreSQL, by its own log: the truth about queries, whatever the application believes."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.services import PostgresCluster

# In the database of a portal: what the benchmark itself asks for is in another.
_LINE = re.compile(r"^@(?P<backend>\d+) portal_\S+ LOG:  (?:statement|execute [^:]*): (?P<statement>.*)$")
# The one statement that verification makes.
_READS_KEY = re.compile(r'^SELECT .*"apikeys_apikey".*"prefix" = ')
_SETTLED_SECONDS = 3.0


@dataclass(slots=True)
class Counted:
    """Statements by their first word: of the connections that verify keys, and of all others."""

    of_requests: Counter[str] = field(default_factory=Counter)
    of_others: Counter[str] = field(default_factory=Counter)


def counted(lines: list[str]) -> Counted:
    """Tell the statements in a log apart: a connection that reads keys serves requests, another records uses."""
    found = [(match["backend"], match["statement"]) for line in lines if (match := _LINE.match(line))]
    serving = {backend for backend, statement in found if _READS_KEY.search(statement)}
    result = Counted()
    for backend, statement in found:
        words = result.of_requests if backend in serving else result.of_others
        words[statement.split(maxsplit=1)[0].upper()] += 1
    return result


@contextmanager
def logged(postgres: PostgresCluster) -> Iterator[list[str]]:
    """Let PostgreSQL log every statement; the list is filled at the end, once all that follows was written too."""
    log, lines = postgres.directory / "log", list[str]()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_line_prefix = '@%p %d '")
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.5)
        start = log.stat().st_size
        try:
            yield lines
            time.sleep(_SETTLED_SECONDS)
        finally:
            connection.execute("ALTER SYSTEM RESET log_statement")
            connection.execute("SELECT pg_reload_conf()")
        with log.open(encoding="utf-8", errors="replace") as file:
            file.seek(start)
            lines += file.read().splitlines()
