"""One portal that every fault of a database happens to, and all that is known of it from outside."""

import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.faults.load import Call, Client, Load
from tests.services import Portal, PostgresCluster, new_database

_PASSWORD = "violet-harbor-7-pears-at-dusk"
# What waits for something polls it this often.
_POLL_SECONDS = 0.02
# How long uses may take to be written once nothing is in the way: about a second, and what a busy machine adds.
WRITTEN_SECONDS = 20.0


def until(condition: Callable[[], object], *, seconds: float, what: str) -> float:
    """Wait until something holds, and return how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"After {seconds:g} seconds still not: {what}"
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started


class House:
    """A portal with a cluster of its own, or with SQLite; its keys, and how many requests were sent to it."""

    def __init__(self, directory: Path, cluster: PostgresCluster | None) -> None:
        self.directory = directory
        self.cluster = cluster
        self.metrics_token = secrets.token_urlsafe(24)
        self.portal = Portal(
            directory / "portal",
            database_url=new_database(cluster.url) if cluster else "",
            KEYPORTAL_METRICS_TOKEN=self.metrics_token,
            FAULTS_DIRECTORY=str(directory),
        )
        self.portal.application = "tests.faults.breakable_wsgi"
        self.texts: list[str] = []
        self.sent = 0
        self._usual = dict(self.portal.environment)
        self._serves: dict[str, str] | None = None

    @property
    def url(self) -> str:
        return self.portal.environment.get("DATABASE_URL", "")

    # Serving

    def furnish(self) -> "House":
        """Serve for the first time, with an organization and two keys that may do everything."""
        self.serve()
        self.portal.manage("create_admin", "alice@orchard.example", "--organization", "Orchard", typed=f"{_PASSWORD}\n")
        for name in ("first", "second"):
            issued = self.portal.manage("issue_key", f"--name={name}", "--scope=org", "--permissions=*")
            self.texts.append(issued.stdout.strip())
        return self

    def serve(self, **environment: str) -> Portal:
        """Serve with settings, by processes that know nothing yet where others were asked for before."""
        if self._serves != environment:
            self.stop()
            self.portal.environment = {**self._usual, **environment}
            self.portal.start()
            self._serves = environment
        return self.portal

    def serve_anew(self, **environment: str) -> Portal:
        """Serve by processes that know nothing yet."""
        self.stop()
        return self.serve(**environment)

    def stop(self) -> None:
        self._serves = None
        self.portal.stop()

    @property
    def is_served(self) -> bool:
        return self._serves is not None

    def order(self, point: str) -> None:
        """Have something break at a point, once."""
        path = self.directory / "order"
        path.with_suffix(".new").write_text(point, encoding="utf-8")
        path.with_suffix(".new").rename(path)

    @property
    def is_carried_out(self) -> bool:
        return not (self.directory / "order").exists()

    def set_clock(self, seconds: int) -> None:
        """Have the portal's clock go wrong by so much."""
        path = self.directory / "clock"
        path.with_suffix(".new").write_text(str(seconds), encoding="ascii")
        path.with_suffix(".new").rename(path)

    def forget_orders(self) -> None:
        for name in ("order", "clock"):
            (self.directory / name).unlink(missing_ok=True)

    # Calling

    @property
    def key(self) -> str:
        return self.texts[0]

    def call(
        self, target: str, key: str = "", body: dict[str, Any] | None = None, *, source: str = "127.0.0.1"
    ) -> Call:
        """Call once over a connection of its own."""
        with closing(Client(self.portal.port, source=source)) as client:
            called = client.call(target, key, body)
        self.sent += called.attempts
        return called

    def whoami(self, key: str = "") -> Call:
        return self.call("GET /v1/whoami", key or self.key)

    def verdict(self, key: str) -> Call:
        """Return what is said of a key, asking again where a busy machine had no time to verify it."""
        found: list[Call] = []

        def is_said() -> bool:
            found.append(self.whoami(key))
            return found[-1].code != "verification_unavailable"

        until(is_said, seconds=20, what="there is time to verify a key")
        return found[-1]

    def ask_issue(self, name: str = "issued under fire") -> Call:
        wanted = {"name": name, "scope": "org", "permissions": ["keys:read"], "environment": "live"}
        return self.call("POST /v1/api-keys", self.key, wanted)

    def issue(self) -> tuple[str, str]:
        """Issue a key over HTTP and return its id and text."""
        called = self.ask_issue()
        assert called.status == 201, called
        self.texts.append(called.body["key"])
        return called.body["id"], called.body["key"]

    def ask_revoke(self, key_id: str) -> Call:
        return self.call(f"DELETE /v1/api-keys/{key_id}", self.key)

    @contextmanager
    def under_load(self, *, clients: int = 4, most: int = 20_000) -> Iterator[Load]:
        """Call with the two first keys while the block runs."""
        load = Load(self.portal.port, self.texts[:2], clients=clients, most=most)
        try:
            with load:
                yield load
        finally:
            self.sent += load.attempts

    def metric(self, name: str) -> float:
        """Return a metric, as an operator's Prometheus reads it; of no use is recorded that it did."""
        with closing(Client(self.portal.port)) as client:
            connection = client._connection
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self.metrics_token}"})
            text = connection.getresponse().read().decode()
        found = re.findall(rf"^{name}(?:\{{.*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
        return sum(map(float, found))

    # Looking

    @contextmanager
    def database(self) -> Iterator["Rows"]:
        """Open the database past the portal, in one transaction that is committed."""
        connection: Any
        if self.cluster:
            connection = psycopg.connect(self.url)
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        else:
            connection = sqlite3.connect(self.portal.data_dir / "keyportal.sqlite3", timeout=15)
        with closing(connection):
            yield Rows(connection, is_postgresql=self.cluster is not None)
            connection.commit()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database() as rows:
            return rows.of(statement, *values)

    def recorded(self) -> set[UUID]:
        """Return the ids of all requests that are on record by themselves."""
        return {as_id(found) for (found,) in self.rows("SELECT id FROM audit_key_use")}

    def missing(self, calls: Collection[Call]) -> list[Call]:
        """Return the answered calls that are not on record."""
        recorded = self.recorded()
        return [call for call in calls if call.status and UUID(call.request_id) not in recorded]

    def wait_until_recorded(self, calls: Collection[Call], *, seconds: float = WRITTEN_SECONDS) -> float:
        """Wait until all answered calls are on record, and return how long that took."""
        return until(lambda: not self.missing(calls), seconds=seconds, what="each answered call is on record")

    def key_rows(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT id, label, revoked_at FROM apikeys_apikey")

    def minted(self) -> list[str]:
        """Return all keys that the portal ever made, also those whose makers died before they showed them."""
        path = self.directory / "minted"
        return path.read_text(encoding="ascii").split() if path.exists() else []


class Rows:
    """A connection to either database, for statements written with %s."""

    def __init__(self, connection: Any, *, is_postgresql: bool) -> None:
        self.connection = connection
        self.is_postgresql = is_postgresql

    def of(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        found = self._execute(statement, values)
        return [tuple(row) for row in found.fetchall()]

    def change(self, statement: str, *values: object) -> int:
        """Change rows and return how many."""
        return int(self._execute(statement, values).rowcount)

    def _execute(self, statement: str, values: Sequence[object]) -> Any:
        if self.is_postgresql:
            return self.connection.execute(statement, values or None)
        return self.connection.execute(statement.replace("%s", "?"), values)


def as_id(found: object) -> UUID:
    """Return an id as PostgreSQL and SQLite have it."""
    return found if isinstance(found, UUID) else UUID(str(found))
