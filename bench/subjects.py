"""What is measured, and how each of them is prepared and served: all by the same gunicorn settings."""

import json
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.load import write_credentials
from bench.processes import ROOT, Server, run
from tests.services import PREPARE, SERVE, PostgresCluster, free_port, new_database

PYTHON = sys.executable
RIVALS_PYTHON = str(ROOT / ".venv" / "bench" / "bin" / "python")
SERVE_OTHERS = ("-m", "gunicorn", "-c", "bench/gunicorn.py")
# How many processes and threads every subject gets; SQLite has one writer, and so one process.
MANY = {"WEB_CONCURRENCY": "2", "WEB_THREADS": "4"}
ONE = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "8"}
# Only where hundreds of keys have to be made and warmed: warm, argon2 is not run at all.
CHEAP_ARGON2 = {"KEYPORTAL_ARGON2_MEMORY_KIB": "64", "KEYPORTAL_ARGON2_TIME": "1"}


@dataclass(frozen=True, slots=True)
class Rival:
    """Something a Django team would otherwise install: a module of `bench.rivals`."""

    name: str
    module: str
    environment: dict[str, str] = field(default_factory=dict)


RIVALS = (
    Rival("DRF TokenAuthentication", "drf_tokens"),
    Rival("django-rest-knox", "knox_tokens"),
    Rival("djangorestframework-api-key", "api_keys"),
    Rival("djangorestframework-api-key, identifying", "api_keys", {"BENCH_IDENTIFY": "1"}),
    Rival("argon2 on every request", "argon2_each"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that runs, and the file of credentials that it accepts."""

    name: str
    server: Server
    credentials: Path
    path: str = "/v1/whoami"

    @property
    def url(self) -> str:
        return self.server.url + self.path


class Portal:
    """A keyportal that is prepared and seeded; any number of servers can run on its data."""

    def __init__(self, directory: Path, environment: dict[str, str], *, keys: int = 1, rows: int = 0) -> None:
        directory.mkdir()
        self.directory = directory
        self.environment = environment | {"KEYPORTAL_DATA_DIR": str(directory / "data")}
        if "DATABASE_URL" in environment:
            self.environment["SECRET_KEY"] = secrets.token_urlsafe(50)
        seeded = directory / "seed.json"
        run([PYTHON, *PREPARE], self.environment)
        run([PYTHON, "-m", "bench.seed", str(seeded), f"--keys={keys}", f"--rows={rows}"], self.environment)
        found = json.loads(seeded.read_text(encoding="utf-8"))
        self.keys: list[str] = found["keys"]
        self.revoked: str = found["revoked"]
        self.plan: list[str] = found["plan"]
        self.unique_indexes: list[str] = found["unique_indexes"]
        self.statement = seeded.with_suffix(".statement")

    def server(self, application: str = "", **environment: str) -> Server:
        """Return keyportal itself as `make run` serves it, or another WSGI application in its place."""
        port = free_port()
        command = [PYTHON, *SERVE[:-1], application or SERVE[-1]]
        settings = self.environment | environment | {"PORT": str(port)}
        return Server(command, settings, port, self.directory / f"{port}.log")

    def other(self, module: str, **environment: str) -> Server:
        """Return *bare* or *ceiling*, on the same database."""
        port = free_port()
        settings = self.other_environment() | environment | {"PORT": str(port)}
        command = [PYTHON, *SERVE_OTHERS, f"bench.served.{module}:application"]
        return Server(command, settings, port, self.directory / f"{port}.log")

    def other_environment(self) -> dict[str, str]:
        """Return what a module of `bench.served` needs to know."""
        url = f"sqlite://{self.directory / 'data' / 'keyportal.sqlite3'}"
        return {"DATABASE_URL": url} | self.environment | {"BENCH_STATEMENT": str(self.statement)}

    def credentials(self, count: int = 1) -> Path:
        """Return a file of so many good keys."""
        values = [f"Bearer {key}" for key in self.keys[:count]]
        return write_credentials(self.directory / f"{count}.credentials", values)


class Bench:
    """A directory, a PostgreSQL and all that was started: on leaving, none of it is left."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        temporary = tempfile.TemporaryDirectory(prefix="keyportal-bench-", ignore_cleanup_errors=True)
        self.directory = Path(self._stack.enter_context(temporary))
        self.postgres = PostgresCluster(is_durable=True)
        self._stack.callback(self.postgres.stop)
        try:
            self.postgres.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def portal(
        self,
        name: str,
        *,
        on_sqlite: bool = False,
        keys: int = 1,
        rows: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Portal:
        """Prepare a keyportal with data of its own."""
        served = ONE if on_sqlite else MANY | {"DATABASE_URL": new_database(self.postgres.url)}
        return Portal(self.directory / name, served | dict(environment or {}), keys=keys, rows=rows)

    def rival(self, rival: Rival, *, probes: bool) -> Subject:
        """Prepare a rival with a database of its own on the same PostgreSQL."""
        port = free_port()
        environment = MANY | rival.environment | {"PORT": str(port), "DATABASE_URL": new_database(self.postgres.url)}
        if probes:
            environment["BENCH_PROBE"] = "1"
        credential = run([RIVALS_PYTHON, "-m", f"bench.rivals.{rival.module}"], environment).strip()
        command = [RIVALS_PYTHON, *SERVE_OTHERS, f"bench.rivals.{rival.module}:application"]
        server = Server(command, environment, port, self.directory / f"{port}.log")
        return Subject(rival.name, server, write_credentials(self.directory / f"{port}.credentials", [credential]))


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start servers, and end every one of them, whatever happens."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        yield
