"""Two hosts: gunicorn masters on two ports, with a database, a Redis and a secret in common and nothing else."""

import os
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests import services
from tests.conftest import POSTGRESQL_URL
from tests.hosts.pair import Pair
from tests.services import RedisServer

Tell = Callable[[str, object], None]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Pair]:
    pair = Pair(
        tmp_path_factory.mktemp("hosts"),
        database_url=services.new_database(os.environ[POSTGRESQL_URL]),
        secret_key=secrets.token_urlsafe(50),
        redis_url=redis_server.url,
    )
    try:
        yield pair.furnish()
    finally:
        pair.stop()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Say what was measured: `pytest -rP` shows it, and a report keeps it."""

    def tell(name: str, value: object) -> None:
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201 - pytest keeps it, and shows it where a test failed or -rP was said

    return tell
