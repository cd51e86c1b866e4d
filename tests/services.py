"""Private services for the tests, on free loopback ports: a PostgreSQL cluster, and whole keyportals."""

import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent

# What `make run` does once everything is installed; tests/test_gates.py holds the Makefile to it.
PREPARE = ("manage.py", "prepare")
SERVE = ("-m", "gunicorn", "-c", "keyportal/gunicorn.py", "keyportal.wsgi")

# The first name is what Debian calls it; the others are what the same program is called elsewhere.
_OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome")}
# All else a portal of the tests is told on purpose.
_INHERITED = {"PATH", "HOME", "LANG", "TMPDIR", "TZ"}
_START_SECONDS = 60
_STOP_SECONDS = 30


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers_http(port: int) -> bool:
    """Say whether a server on a loopback port answers; a socket that only listens has no worker behind it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def find_program(name: str) -> Path | None:
    """Return where a program is, looking for PostgreSQL's also where Debian keeps them, the newest first."""
    for candidate in (name, *_OTHER_NAMES.get(name, ())):
        # Servers are where only root's PATH leads, and anyone may run them.
        if found := shutil.which(candidate) or shutil.which(candidate, path="/usr/sbin"):
            return Path(found)
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    return max(versions, key=lambda path: int(path.parts[-3]), default=None)


def require(name: str) -> Path:
    """Return where a program is, or skip the test that needs it; where CI is set, fail it."""
    # Here, since the benchmark uses this module too, and runs without what the tests need.
    import pytest

    if found := find_program(name):
        return found
    sentence = f"{name} is not installed"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    raise pytest.skip.Exception(sentence)


class PostgresCluster:
    """A PostgreSQL server of the tests' own, with nothing of value in it and gone when they end.

    PostgreSQL refuses to run as root; it then runs as the user `postgres`, as Debian's packages have it.
    Unless it is `is_durable`, a crash of the machine may lose what it holds, which makes the tests fast.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="keyportal-postgresql-"))
        self.port = free_port()
        # Another user of this machine could reach the port, and a superuser may start programs.
        self._password = secrets.token_urlsafe(24)
        self._is_running = False
        self._is_durable = is_durable

    @property
    def pid(self) -> int:
        """The id of the server's first process."""
        return int((self.directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])

    @property
    def url(self) -> str:
        return f"postgresql://keyportal:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the cluster and start it; it answers when this returns."""
        password_file = self.directory / "password"
        password_file.write_text(self._password, encoding="ascii")
        if os.geteuid() == 0:
            for path in (self.directory, password_file):
                shutil.chown(path, "postgres", "postgres")
        self._run(
            "initdb",
            "--username=keyportal",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            # A test that waits for a lock it will never get says so, instead of hanging.
            "lock_timeout": "30s",
            # Each of the tests' processes may have some dozens of threads that want one at once.
            "max_connections": "400",
        }
        if not self._is_durable:
            settings |= dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit"), "off")
        with (self.directory / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.start_again()

    def start_again(self) -> None:
        """Start the server on what it has; it takes connections when this returns."""
        self._run("pg_ctl", "start", "--wait", f"--log={self.directory / 'log'}")
        self._is_running = True

    def halt(self, mode: str) -> None:
        """Stop the server and keep what it has: `fast` ends its sessions, `immediate` is as good as a crash."""
        self._run("pg_ctl", "stop", f"--mode={mode}", "--wait")
        self._is_running = False

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all its processes: SIGSTOP makes a server that accepts and never answers."""
        first = self.pid
        # The first process first, so that there are no more than are listed.
        os.kill(first, number)
        for pid in _children(first):
            with suppress(ProcessLookupError):  # It has ended since.
                os.kill(pid, number)

    def stop(self) -> None:
        """Stop the server and remove all of it; more than once does no harm."""
        if self._is_running:
            self._run("pg_ctl", "stop", "--mode=immediate", "--wait")
            self._is_running = False
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        program = find_program(name)
        assert program, f"{name} is not installed"
        is_root = os.geteuid() == 0
        # To a file, since the server inherits it, and a pipe would stay open as long as the server runs.
        output = self.directory / f"{name}.out"
        with output.open("wb") as file:
            result = subprocess.run(
                [program, f"--pgdata={self.directory / 'data'}", *arguments],
                check=False,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                user="postgres" if is_root else None,
                group="postgres" if is_root else None,
                extra_groups=[] if is_root else None,
                # A developer's own PGHOST, PGDATA and the like are not for this server.
                env={key: value for key, value in os.environ.items() if not key.startswith("PG")},
            )
        if result.returncode:
            raise RuntimeError(f"{name} ended with status {result.returncode}:\n{output.read_text(errors='replace')}")


def _children(pid: int) -> list[int]:
    """Return the ids of the processes that one has started, as Linux tells them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the name, which may itself hold spaces and parentheses, come the state and the parent's id.
            parent = path.read_text(encoding="latin-1").rpartition(")")[2].split()[1]
        except OSError:
            continue  # It has ended since.
        if int(parent) == pid:
            found.append(int(path.parent.name))
    return sorted(found)


def new_database(server_url: str) -> str:
    """Make an empty database on a PostgreSQL server and return its URL."""
    name = f"portal_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


class RedisServer:
    """A Redis of the tests' own, which keeps nothing on disk; it can stop and start again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisServer":
        program = require("redis-server")
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + _START_SECONDS
        while not self.answers():
            assert self._process.poll() is None, "Redis ended at once."
            assert time.monotonic() < end, "Redis did not start."
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"PING\r\n")
                return probe.recv(7) == b"+PONG\r\n"
            except OSError:
                return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes a server that accepts and never answers."""
        assert self._process, "It does not run."
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it; more than once does no harm."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class SignIn:
    email: str
    password: str


class Portal:
    """A real keyportal in processes of its own: prepared and served exactly as `make run` does it.

    It has the product's own defaults, whatever the environment of the tests says, and lives in `directory`:
    its data in there in `data dir` (the space is on purpose), what it prints beside that.
    """

    def __init__(self, directory: Path, *, database_url: str = "", is_demo: bool = False, **environment: str) -> None:
        self.directory = directory
        self.data_dir = directory / "data dir"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in _INHERITED},
            "PORT": str(self.port),
            "KEYPORTAL_DATA_DIR": str(self.data_dir),
            # Output arrives line by line, so that a test sees what was said up to now.
            "PYTHONUNBUFFERED": "1",
        }
        if database_url:
            self.environment |= {"DATABASE_URL": database_url, "SECRET_KEY": secrets.token_urlsafe(50)}
        if is_demo:
            self.environment["KEYPORTAL_DEMO"] = "1"
        self.environment |= environment
        self._stdout = directory / "stdout"
        self._stderr = directory / "stderr"
        self._process: subprocess.Popen[bytes] | None = None
        # Served as one, a demo prints no mails, in which most tests look for links.
        self.is_served_as_demo = False
        # A test that breaks it on purpose has a module of its own, around the same.
        self.application = SERVE[-1]

    def start(self) -> "Portal":
        """Prepare and serve; it answers when this returns. Once stopped, it can start on its data again."""
        assert self._process is None, "It runs already."
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            prepared = subprocess.run(
                [sys.executable, *PREPARE],
                check=False,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
            environment = dict(self.environment)
            # Only an empty database is filled: started again, a demo goes on with what it has.
            self.environment.pop("KEYPORTAL_DEMO", None)
            if not self.is_served_as_demo:
                environment.pop("KEYPORTAL_DEMO", None)
            if prepared.returncode:
                raise RuntimeError(f"`prepare` ended with status {prepared.returncode}:\n{self.log_text()}")
            self._process = subprocess.Popen(
                [sys.executable, *SERVE[:-1], self.application],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                # A group of its own: Ctrl-C ends the tests, and they end the portal.
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Stop it with a signal and return its exit status, or None if it did not run."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    @property
    def pid(self) -> int:
        """The id of gunicorn's master process."""
        assert self._process, "It does not run."
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The ids of the processes that answer, the oldest first."""
        return _children(self.pid)

    def log_text(self) -> str:
        """Return everything it has written so far: what it printed, its mails and its log."""
        return self._stdout.read_text(encoding="utf-8") + self._stderr.read_text(encoding="utf-8")

    @property
    def setup_link(self) -> str:
        """The latest one-time link that it printed for setting up the first account."""
        links = re.findall(rf"{re.escape(self.url)}/setup/\S+", self._stdout.read_text(encoding="utf-8"))
        assert links, f"No set-up link was printed:\n{self.log_text()}"
        return str(links[-1])

    @property
    def sign_ins(self) -> list[SignIn]:
        """The sign-ins that a demo printed, in its order: super admin, team admin, developer."""
        printed = self._stdout.read_text(encoding="utf-8")
        return [SignIn(*found) for found in re.findall(r"([^\s@]+@[^\s@]+\.[a-z]+)\s+(\S+)", printed)]

    def manage(self, *arguments: str, typed: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a management command as an operator of this portal would, and return what came of it."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            check=False,
            cwd=ROOT,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
        )
        if check and result.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} ended with status {result.returncode}:\n{result.stderr}")
        return result

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < end:
            if answers_http(self.port):
                return
            time.sleep(0.05)
        raise RuntimeError(f"keyportal did not start:\n{self.log_text()}")
