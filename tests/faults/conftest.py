"""One portal for all faults of a database, on a server of its own; what must hold is looked at after each."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests import services
from tests.faults.house import House
from tests.faults.invariants import left_in_files_of, violations
from tests.services import PostgresCluster

Tell = Callable[[str, object], None]
_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[PostgresCluster | None]:
    """A PostgreSQL that may be stopped, which no other test may use; None on SQLite."""
    if pytestconfig.option.db != "postgresql":
        yield None
        return
    services.require("initdb")
    cluster = PostgresCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def whole_house(tmp_path_factory: pytest.TempPathFactory, cluster: PostgresCluster | None) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("faults"), cluster)
    try:
        yield house.furnish()
        house.stop()
        if cluster:
            cluster.halt("fast")
            assert left_in_files_of(house) == []
    finally:
        house.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let the fixture below know that its test failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def house(whole_house: House, request: pytest.FixtureRequest) -> Iterator[House]:
    """The portal, for one fault; after it, whatever it was, what must hold does."""
    yield whole_house
    whole_house.forget_orders()
    found = violations(whole_house)
    if found or request.node.stash.get(_FAILED, False):
        # What is left of it is not for the next test.
        whole_house.stop()
    assert found == []


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Say what was measured: `pytest -rP` shows it, and a report keeps it."""

    def tell(name: str, value: object) -> None:
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201 - pytest keeps it, and shows it where a test failed or -rP was said

    return tell
