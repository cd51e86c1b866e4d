"""What every test stands on: one database, chosen with `--db`; loopback only; real portals, a real browser.

`pytest --db=sqlite` runs everything but the tests marked `postgresql`. `pytest --db=postgresql` runs those
that use the database once more, on a private cluster, and those marked `postgresql` or `every_database`.
"""

import importlib.util
import ipaddress
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

from tests import services

# Fixtures of the domain. They import models, so they are loaded once Django is ready.
DOMAIN_FIXTURES = ("tests.cast",)

# Workers share the cores with browsers and portals: how long an example took says nothing about the code.
hypothesis.settings.register_profile("keyportal", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("keyportal")

# How the process that starts everything tells xdist's workers.
TEST_DIRECTORY = "KEYPORTAL_TEST_DIRECTORY"
POSTGRESQL_URL = "KEYPORTAL_TEST_POSTGRESQL"

# What a developer may have set for a portal of their own.
FOREIGN_VARIABLES = (
    "ALLOWED_HOSTS",
    "DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
    "EMAIL_URL",
    "HOST",
    "LOG_LEVEL",
    "PORT",
    "REDIS_URL",
    "SECRET_KEY",
    "TRUSTED_PROXIES",
    "WEB_CONCURRENCY",
    "WEB_THREADS",
)

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser, too, reaches nothing but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
BROWSER_FIXTURES = {"browser", "browser_type", "context", "new_context", "page"}
PORTAL_FIXTURES = {"portal", "demo_portal"}
# The folders of tests that have to cover the code: each app's own, and who may do what.
COVERING = {"accounts", "apikeys", "audit", "keyportal", "matrix"}
# Those whose tests mostly wait. Begun with, and by one worker, since xdist hands out the first tests in one piece, they
# leave the cores to the others; at the end there would be nobody to use them.
WAITING = {"faults", "hosts"}
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "live_server"}


# The database, chosen before the settings are read


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--db", choices=["sqlite", "postgresql"], default="sqlite", help="the database of the tests")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.help or config.option.version:
        return
    if not hasattr(config, "workerinput"):
        _start_services(config)
    _set_environment(config)
    _adjust_settings()
    import django

    django.setup()
    for name in DOMAIN_FIXTURES:
        if importlib.util.find_spec(name):
            config.pluginmanager.import_plugin(name)


def _start_services(config: pytest.Config) -> None:
    # So that whoever ends the tests with this signal does not leave the services behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in [*os.environ]:
        if name.startswith("KEYPORTAL_") or name in FOREIGN_VARIABLES:
            del os.environ[name]
    directory = tempfile.mkdtemp(prefix="keyportal-tests-")
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    os.environ[TEST_DIRECTORY] = directory
    if config.option.db == "postgresql" and services.find_program("initdb"):
        cluster = services.PostgresCluster()
        config.add_cleanup(cluster.stop)
        cluster.start()
        os.environ[POSTGRESQL_URL] = cluster.url


def _set_environment(config: pytest.Config) -> None:
    directory = Path(os.environ[TEST_DIRECTORY], os.environ.get("PYTEST_XDIST_WORKER", "main"))
    (directory / "static").mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "keyportal.settings",
        "KEYPORTAL_DATA_DIR": str(directory),
        "SECRET_KEY": "the tests sign nothing that anyone else would believe",
        # The least that argon2 accepts; portals in processes of their own keep the product's parameters.
        "KEYPORTAL_ARGON2_MEMORY_KIB": "8",
        "KEYPORTAL_ARGON2_TIME": "1",
        "KEYPORTAL_ARGON2_PARALLELISM": "1",
        # Playwright leaves an event loop marked as running in the main thread, for which Django would refuse
        # the ORM to every later test of the same process. No code of keyportal is asynchronous.
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    }
    if config.option.db == "postgresql" and POSTGRESQL_URL in os.environ:
        os.environ["DATABASE_URL"] = os.environ[POSTGRESQL_URL]


def _adjust_settings() -> None:
    """Change what would only cost time, or needs a step of `prepare`, in the process of the tests."""
    # That of the product is a table, which tests without a database do not have; what has to hold across processes
    # is tested with it.
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    database = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # A file, as in a portal: in memory, SQLite has no write-ahead log and locks differently.
        database.setdefault("TEST", {})["NAME"] = str(Path(os.environ["KEYPORTAL_DATA_DIR"], "test.sqlite3"))


# Which tests run on it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _uses(item, BROWSER_FIXTURES):
            item.add_marker("browser")
    kept = [item for item in items if _is_meant_for(item, config.option.db)]
    kept.sort(key=_place_in_line)
    config.hook.pytest_deselected(items=[item for item in items if not _is_meant_for(item, config.option.db)])
    items[:] = kept


def _place_in_line(item: pytest.Item) -> tuple[bool, ...]:
    """Return what to sort by: who waits, then the quick ones, so that what they find is known soon.

    Those that are measured come before all others: what is computed once in a process is computed where it is seen.
    """
    return (
        _folder_of(item) not in WAITING,
        not _is_measured(item),
        _uses(item, PORTAL_FIXTURES),
        _uses(item, BROWSER_FIXTURES),
    )


def _is_meant_for(item: pytest.Item, database: str) -> bool:
    only = {name for name in ("sqlite", "postgresql") if item.get_closest_marker(name)}
    if only or item.get_closest_marker("every_database"):
        return database in (only or {database})
    return database == "sqlite" or (_touches_the_database(item) and not _uses(item, BROWSER_FIXTURES | PORTAL_FIXTURES))


def _touches_the_database(item: pytest.Item) -> bool:
    is_marked = item.get_closest_marker("django_db") is not None
    return is_marked or _uses(item, DATABASE_FIXTURES)


def _uses(item: pytest.Item, fixtures: set[str]) -> bool:
    return not fixtures.isdisjoint(getattr(item, "fixturenames", ()))


def _folder_of(item: pytest.Item) -> str:
    return item.path.relative_to(services.ROOT / "tests").parts[0]


# Which of them have to cover the code


def _is_measured(item: pytest.Item) -> bool:
    """Say whether a test counts for coverage.

    To measure takes nearly as long as the tests themselves. A sweep passes through everything and looks at one thing;
    a branch that only it reaches has a test of its own to get. On PostgreSQL nearly everything runs a
    second time, so what is measured there is what SQLite cannot do, and audit, which writes statements for each.
    """
    if item.config.option.db == "sqlite":
        return _folder_of(item) in COVERING
    return _folder_of(item) == "audit" or (_folder_of(item) in COVERING and bool(item.get_closest_marker("postgresql")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    plugin = item.config.pluginmanager.getplugin("_cov")
    if plugin is None or plugin.cov_controller is None or _is_measured(item):
        return (yield)
    plugin.cov_controller.pause()
    try:
        return (yield)
    finally:
        plugin.cov_controller.resume()


@pytest.fixture(scope="session", autouse=True)
def its_server(pytestconfig: pytest.Config) -> None:
    """Skip, or fail where CI is set, what PostgreSQL was chosen for where there is none."""
    if pytestconfig.option.db == "postgresql" and POSTGRESQL_URL not in os.environ:
        services.require("initdb")


# Tests reach this machine only


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    def guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def guard(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
                self.close()
                raise RuntimeError(f"A test tried to connect to {address!r}; tests reach this machine only")
            return connect(self, address)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# The audit log cannot be changed, and a transactional test has to leave it empty


@pytest.fixture(scope="session", autouse=True)
def flush_despite_triggers() -> Iterator[None]:
    """Let the flush after a transactional test, and nothing else, pass the triggers of append-only tables."""
    # Django's own hook for the flush has no public name, and so no type.
    case: Any = TransactionTestCase
    flush = case._fixture_teardown

    def teardown(self: TransactionTestCase) -> None:
        with ExitStack() as stack:
            for connection in connections.all(initialized_only=True):
                stack.enter_context(_without_triggers(connection))
            flush(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "_fixture_teardown", teardown)
        yield


@contextmanager
def _without_triggers(connection: BaseDatabaseWrapper) -> Iterator[None]:
    if connection.vendor == "postgresql":
        found = "SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal"
        lift, restore = "ALTER TABLE {0} DISABLE TRIGGER USER", "ALTER TABLE {0} ENABLE TRIGGER USER"
    else:
        found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        lift, restore = 'DROP TRIGGER "{0}"', "{1}"
    with connection.cursor() as cursor:
        cursor.execute(found)
        rows = cursor.fetchall()
        for row in rows:
            cursor.execute(lift.format(*row))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for row in rows:
                cursor.execute(restore.format(*row))


# Portals and the browser


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[services.Portal]:
    """A keyportal of this test's own, new and without users, on the database of this run."""
    yield from _running(services.Portal(tmp_path / "portal", database_url=_database_url()))


@pytest.fixture(scope="session")
def demo_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Portal]:
    """A keyportal with the demo's data, which tests share: they look, and change only what they made."""
    directory = tmp_path_factory.mktemp("demo")
    yield from _running(services.Portal(directory, database_url=_database_url(), is_demo=True))


def _database_url() -> str:
    return services.new_database(os.environ[POSTGRESQL_URL]) if POSTGRESQL_URL in os.environ else ""


def _running(portal: services.Portal) -> Iterator[services.Portal]:
    try:
        yield portal.start()
    finally:
        # As Ctrl-C does; on SIGTERM it would wait for the browser to close its connection.
        portal.stop(number=signal.SIGINT)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    chromium = services.require("chromium")
    return {**browser_type_launch_args, "executable_path": str(chromium), "args": [*CHROMIUM_FLAGS]}
