"""A PostgreSQL that is restarted, and one that accepts and never answers, both under load."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from apikeys import presented
from tests.faults.conftest import Tell
from tests.faults.house import House, until
from tests.faults.load import Call, Load
from tests.services import PostgresCluster

pytestmark = pytest.mark.postgresql

# Two are asked for. A machine that does other things besides gets as many again.
RECOVERY_SECONDS = 4.0
# A read, and a connection that was tried meanwhile; with what a busy machine adds.
PATIENCE_SECONDS = 2 * presented.READ_SECONDS + 1


def cluster_of(house: House) -> PostgresCluster:
    assert house.cluster
    return house.cluster


def check_honest(calls: list[Call]) -> None:
    """While the database is away nobody knows whose key is good, and that is what is said: come again."""
    found = {(call.status, call.code, call.retry_after) for call in calls if call.status != 200}
    assert found <= {(503, "verification_unavailable", "1"), (503, "unavailable", "1")}


def recovered_after(load: Load, free_at: float) -> float:
    """Return how long after a moment the last call ended that was not answered with 200."""
    return max([0.0, *(call.ended - free_at for call in load.calls if call.status != 200)])


def wait_for(load: Load, *, since: float, count: int = 40) -> None:
    """Wait until so many calls in a row, of those that began since then, were answered with 200."""

    def are_good() -> bool:
        latest = load.calls[-count:]
        return latest[0].started > since and all(call.status == 200 for call in latest)

    until(are_good, seconds=20, what="keys are good again")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restarted_server_costs_503_for_the_gap_and_no_longer(house: House, mode: str, tell: Tell) -> None:
    cluster = cluster_of(house)
    house.serve()
    with house.under_load() as load:
        time.sleep(0.7)
        cluster.halt(mode)
        gone_at = time.monotonic()
        try:
            time.sleep(1.2)
        finally:
            back_at = time.monotonic()
            cluster.start_again()
        free_at = time.monotonic()
        wait_for(load, since=free_at)

    during = [call for call in load.calls if gone_at < call.started and call.ended < back_at]
    tell("calls while it was gone", len(during))
    tell("seconds until all were good again", round(recovered_after(load, free_at), 2))
    check_honest(load.calls)
    # No row was read, so nobody was let in.
    assert {call.status for call in during} == {503}
    assert len(during) > 20
    assert recovered_after(load, free_at) < RECOVERY_SECONDS
    _check_counted(house, load, mode)


def _check_counted(house: House, load: Load, mode: str) -> None:
    """Each use was written once the server was back, though the connection that wrote them was lost."""
    let_in = [call for call in load.calls if call.status == 200]
    if mode == "fast":
        house.wait_until_recorded(let_in)
        return
    # The tests' cluster does not write its log through, so a crash may cost it what it confirmed a moment before.
    house.wait_until_recorded([call for call in let_in if call.started > load.calls[-1].ended - 0.5])


@contextmanager
def silent(cluster: PostgresCluster) -> Iterator[None]:
    """Stop all processes of the server: its machine takes connections and packets, and nobody answers."""
    cluster.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal_all(signal.SIGCONT)


def test_silent_server_costs_503_within_the_patience_and_threads_recover(house: House, tell: Tell) -> None:
    cluster = cluster_of(house)
    house.serve()
    with house.under_load(clients=2) as load:
        time.sleep(0.5)
        with silent(cluster):
            silent_at = time.monotonic()
            healthy = []
            while time.monotonic() < silent_at + PATIENCE_SECONDS + 1:
                healthy.append(house.call("GET /healthz"))
                time.sleep(0.1)
            ready = house.call("GET /readyz")
            told_at = time.monotonic()
        free_at = time.monotonic()
        wait_for(load, since=free_at)

    during = [call for call in load.calls if silent_at < call.started and call.ended < told_at]
    slowest = max(call.seconds for call in load.calls)
    tell("the slowest answer, seconds", round(slowest, 2))
    tell("the slowest /healthz, seconds", round(max(call.seconds for call in healthy), 3))
    tell("seconds until all were good again", round(recovered_after(load, free_at), 2))
    check_honest(load.calls)
    assert {call.status for call in during} == {503}
    assert slowest < PATIENCE_SECONDS
    assert {call.status for call in healthy} == {200}
    assert max(call.seconds for call in healthy) < 1
    assert ready.status == 503
    assert recovered_after(load, free_at) < RECOVERY_SECONDS
    house.wait_until_recorded([call for call in load.calls if call.status == 200])


def test_silent_server_holds_no_thread_that_more_clients_than_threads_wait_for(house: House, tell: Tell) -> None:
    cluster = cluster_of(house)
    house.serve(WEB_THREADS="2")
    with house.under_load(clients=6) as load:
        time.sleep(0.5)
        with silent(cluster):
            time.sleep(3)
        free_at = time.monotonic()
        wait_for(load, since=free_at)

    tell("seconds until all were good again", round(recovered_after(load, free_at), 2))
    check_honest(load.calls)
    assert recovered_after(load, free_at) < RECOVERY_SECONDS


def test_full_disk_of_the_server_lets_keys_in_and_says_why_one_is_not_revoked(house: House) -> None:
    """A PostgreSQL that has no room answers writes with `disk_full`, here by triggers on what keyportal writes."""
    house.serve()
    key_id, key = house.issue()
    with _without_room(house):
        calls = [house.whoami() for _ in range(30)]
        refused = house.ask_revoke(key_id)
        calls.append(house.whoami(key))
        time.sleep(1.5)
        calls.append(house.whoami())

    assert {call.status for call in calls} == {200}
    assert (refused.status, refused.code, refused.retry_after) == (503, "unavailable", "1")
    house.wait_until_recorded([*calls, refused])
    assert house.ask_revoke(key_id).status == 204
    assert house.whoami(key).code == "key_revoked"


@contextmanager
def _without_room(house: House) -> Iterator[None]:
    tables = ("audit_key_use", "apikeys_apikey")
    body = "BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END"
    with house.database() as rows:
        rows.change(f"CREATE FUNCTION have_no_room() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        for table in tables:
            rows.change(
                f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION have_no_room()"
            )
    try:
        yield
    finally:
        with house.database() as rows:
            for table in tables:
                rows.change(f"DROP TRIGGER no_room ON {table}")
            rows.change("DROP FUNCTION have_no_room")
