"""What a worker has in hand when it ends: asked to, recycled, or killed."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest

from audit import uses
from tests.faults.conftest import Tell
from tests.faults.house import House, until
from tests.faults.load import REFUSED, Call, Load

pytestmark = pytest.mark.every_database

# A flush takes its time too, and a busy machine is late.
LATE_SECONDS = 0.7


@contextmanager
def uses_held_up(house: House) -> Iterator[None]:
    """Let nobody write uses, so that they gather: SQLite's one writer is busy, or the table is locked."""
    if house.cluster:
        with psycopg.connect(house.url) as connection:
            connection.execute("LOCK TABLE audit_key_use IN SHARE ROW EXCLUSIVE MODE")
            yield
    else:
        path = house.portal.data_dir / "keyportal.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


def refused(calls: list[Call]) -> list[tuple[int, str, int]]:
    """Return what was not answered with 200: for a good key there is nothing of that while workers come and go."""
    return [(call.status, call.code, call.attempts) for call in calls if call.status != 200]


def test_sigterm_loses_none_of_a_thousand_buffered_uses(house: House, tell: Tell) -> None:
    house.serve(WEB_CONCURRENCY="2")

    with ThreadPoolExecutor(1) as pool:
        with uses_held_up(house):
            with house.under_load(clients=8, most=1_000) as load:
                load.join()
            buffered = len(house.missing(load.calls))
            stopped = pool.submit(house.stop)
            # By then the workers have stopped serving, and wait to write.
            time.sleep(0.5)
            assert not stopped.done()
        freed_at = time.monotonic()
        stopped.result()

    tell("buffered at SIGTERM", buffered)
    tell("seconds from the lock's end to the portal's", round(time.monotonic() - freed_at, 2))
    assert (len(load.calls), refused(load.calls)) == (1_000, [])
    assert buffered > 900
    assert house.missing(load.calls) == []


def test_killed_worker_loses_at_most_one_interval_of_uses_and_doubles_none(house: House, tell: Tell) -> None:
    house.serve_anew()
    # Few enough that no batch is full before its second is over.
    with house.under_load(clients=2) as load:
        time.sleep(2.8)
        [pid] = house.portal.worker_pids
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        until(lambda: _last(load).status == 200 and _last(load).started > killed_at + 0.5, seconds=20, what="back")

    # The killed one may have answered for as long as it takes to end a process.
    house.wait_until_recorded([call for call in load.calls if call.started > killed_at + 0.1])
    lost = house.missing(load.calls)
    oldest = killed_at - min((call.ended for call in lost), default=killed_at)
    tell("uses lost", f"{len(lost)} of {len(load.calls)}, the oldest {oldest:.2f} s before the kill")
    assert oldest < uses.FLUSH_SECONDS + LATE_SECONDS
    assert {call.status for call in load.calls} <= {200, 0}


def _last(load: Load) -> Call:
    return load.calls[-1]


@pytest.mark.parametrize("point", ["before the commit of uses", "after the commit of uses"])
def test_worker_killed_while_writing_uses_doubles_none(house: House, point: str) -> None:
    house.serve()
    for _ in range(20):
        assert house.whoami().status == 200
    house.order(point)
    house.whoami()
    until(lambda: house.is_carried_out, seconds=20, what="a worker died")
    until(lambda: house.whoami().status == 200, seconds=20, what="another answers")
    last = house.whoami()
    house.wait_until_recorded([last])


def test_commit_that_was_not_confirmed_doubles_no_use(house: House) -> None:
    house.serve_anew()
    house.order("commit unconfirmed")
    calls = [house.whoami() for _ in range(20)]
    until(lambda: house.is_carried_out, seconds=20, what="a batch was written without a confirmation")

    calls.append(house.whoami())

    house.wait_until_recorded(calls)
    assert {call.status for call in calls} == {200}
    # Sent again, the batch was known, and not refused for the ids that were there already.
    assert house.metric("keyportal_uses_lost_total") == 0


def test_reload_under_load_fails_no_good_key_and_loses_no_use(house: House, tell: Tell) -> None:
    house.serve_anew(WEB_CONCURRENCY="2")
    seen = {*house.portal.worker_pids}
    with house.under_load() as load:
        for _ in range(3):
            time.sleep(0.7)
            os.kill(house.portal.pid, signal.SIGHUP)
            until(lambda: seen.isdisjoint(house.portal.worker_pids), seconds=20, what="new workers alone")
            _with_workers(seen, house)
        time.sleep(0.5)

    _check(house, load.calls, tell)
    # Two to begin with, and at least one new one by each reload.
    assert len(seen) >= 5


def test_recycling_under_load_fails_no_good_key_and_loses_no_use(house: House, tell: Tell) -> None:
    """Where all workers reach their number at once, nobody listens until the first successor does.

    gunicorn starts one only when the other has ended. A client whose connection was refused has sent nothing,
    and comes again.
    """
    recycling = "--max-requests=150 --max-requests-jitter=150"
    house.serve_anew(WEB_CONCURRENCY="3", GUNICORN_CMD_ARGS=recycling)
    seen = {*house.portal.worker_pids}
    with house.under_load(most=6_000) as load:
        until(lambda: len(_with_workers(seen, house)) >= 8, seconds=40, what="five were recycled")

    away = [call for call in load.calls if call.code == REFUSED]
    tell("refused connections", len(away))
    assert len(away) < len(load.calls) / 2
    _check(house, [call for call in load.calls if call.code != REFUSED], tell)


def _with_workers(seen: set[int], house: House) -> set[int]:
    """Add the workers of this moment to those that were seen."""
    seen.update(house.portal.worker_pids)
    return seen


def _check(house: House, calls: list[Call], tell: Tell) -> None:
    """Of good keys each call was answered with 200, and each answer is on record.

    A client may send a call again whose connection was closed before any byte of an answer; nothing else is excused.
    """
    again = sum(call.attempts - 1 for call in calls)
    tell("calls", f"{len(calls)}, {again} of them sent again, the longest {max(call.seconds for call in calls):.2f} s")
    assert refused(calls) == []
    house.wait_until_recorded(calls)
