"""A Redis that is gone, silent, emptied, or has rubbish in it: each process then goes by what it has counted itself."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from apikeys import keyformat
from tests.faults.conftest import Tell
from tests.faults.house import House, until
from tests.faults.load import Call
from tests.services import RedisServer

pytestmark = pytest.mark.every_database

FAILURES = 8
# Redis is not waited for by any request; this is a busy machine's doing.
AT_ONCE_SECONDS = 1.0
# It is left alone for five seconds once it has failed, and a busy machine is late.
SHARED_AGAIN_SECONDS = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def store(server: RedisServer) -> Iterator["redis.Redis"]:
    with closing(redis.Redis.from_url(server.url)) as store:
        store.flushall()
        yield store


@pytest.fixture
def sharing(house: House, server: RedisServer, store: "redis.Redis") -> House:
    """The portal with that Redis, and with both keys verified in its one process."""
    house.serve_anew(REDIS_URL=server.url, KEYPORTAL_FAILURES_PER_SOURCE=str(FAILURES))
    assert [house.verdict(key).status for key in house.texts[:2]] == [200, 200]
    return house


def fail(house: House, source: str) -> Call:
    """Call with a key of nobody, from an address of this machine."""
    bogus = keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live").reveal()
    return house.call("GET /v1/whoami", bogus, source=source)


def check_limited(house: House, source: str, *, before: int = 0) -> list[Call]:
    """Check that a source is refused once it has failed as often as it may, and that good keys are let in all along."""
    calls = []
    for _ in range(FAILURES - before):
        calls.append(fail(house, source))
        calls.append(house.call("GET /v1/whoami", house.key, source=source))
    over = [fail(house, source) for _ in range(3)]
    assert [call.status for call in calls] == [401, 200] * (FAILURES - before)
    _check_over(over)
    assert house.call("GET /v1/whoami", house.key, source=source).status == 200
    return [*calls, *over]


def _check_over(calls: list[Call]) -> None:
    assert {(call.status, call.code) for call in calls} == {(429, "too_many_failures")}
    assert all(0 < int(call.retry_after) <= 60 for call in calls)


def wait_until_shared(house: House, store: "redis.Redis") -> None:
    """Fail until Redis is told of it, each time from elsewhere: who is refused unread is no news."""
    sources = (f"127.0.2.{number}" for number in range(1, 255))

    def is_told() -> bool:
        assert fail(house, next(sources)).status == 401
        time.sleep(0.2)
        return bool(names_in(store))

    until(is_told, seconds=SHARED_AGAIN_SECONDS, what="failures are shared")


def names_in(store: "redis.Redis") -> list[bytes]:
    return list(store.scan_iter("keyportal:failures:*"))


def test_redis_that_is_gone_leaves_local_limits(
    sharing: House, server: RedisServer, store: "redis.Redis", tell: Tell
) -> None:
    server.stop()
    try:
        calls = check_limited(sharing, "127.0.0.31")
    finally:
        server.start()

    tell("the slowest answer, seconds", round(max(call.seconds for call in calls), 3))
    assert max(call.seconds for call in calls) < AT_ONCE_SECONDS
    wait_until_shared(sharing, store)


def test_silent_redis_leaves_local_limits_and_holds_up_nobody(
    sharing: House, server: RedisServer, store: "redis.Redis", tell: Tell
) -> None:
    server.signal(signal.SIGSTOP)
    try:
        calls = check_limited(sharing, "127.0.0.33")
        with sharing.under_load(clients=4, most=400) as load:
            load.join()
    finally:
        server.signal(signal.SIGCONT)

    calls += load.calls
    tell("the slowest answer, seconds", round(max(call.seconds for call in calls), 3))
    assert {call.status for call in load.calls} == {200}
    assert max(call.seconds for call in calls) < AT_ONCE_SECONDS
    # What was on its way to it may have arrived after all.
    store.flushall()
    wait_until_shared(sharing, store)


def test_flushed_redis_opens_nothing(sharing: House, store: "redis.Redis") -> None:
    source = "127.0.0.35"
    check_limited(sharing, source)
    until(lambda: names_in(store), seconds=SHARED_AGAIN_SECONDS, what="failures are shared")

    store.flushall()

    _check_over([fail(sharing, source) for _ in range(5)])
    assert sharing.call("GET /v1/whoami", sharing.key, source=source).status == 200


FORGERIES: dict[str, Callable[["redis.Redis", bytes], object]] = {
    "text": lambda store, name: store.set(name, "\u2028 rubbish '; --"),
    "nothing": lambda store, name: store.set(name, ""),
    "negative": lambda store, name: store.set(name, -(10**6)),
    "most negative": lambda store, name: store.set(name, -(2**63)),
    "huge": lambda store, name: store.set(name, 10**15),
    "as much as it holds": lambda store, name: store.set(name, 2**63 - 1),
    "for ever": lambda store, name: store.set(name, FAILURES * 2, px=10**12),
    "long": lambda store, name: store.set(name, "9" * 1_000_000),
    "list": lambda store, name: store.rpush(name, "1", "2"),
    "hash": lambda store, name: store.hset(name, "count", "1"),
}


def test_forged_entries_open_nothing_and_lock_no_good_key_out(sharing: House, store: "redis.Redis") -> None:
    for number, (kind, forge) in enumerate(FORGERIES.items(), start=41):
        source = f"127.0.0.{number}"
        store.flushall()
        assert fail(sharing, source).status == 401
        until(lambda: len(names_in(store)) >= 1, seconds=SHARED_AGAIN_SECONDS, what="a failure is shared")
        for name in names_in(store):
            store.delete(name)
            forge(store, name)

        calls = [fail(sharing, source) for _ in range(FAILURES - 1)]
        over = [fail(sharing, source) for _ in range(3)]

        assert {call.status for call in calls} <= {401, 429}, kind
        _check_over([call for call in [*calls, *over] if call.status == 429])
        assert {call.status for call in over} == {429}, kind
        assert sharing.call("GET /v1/whoami", sharing.key, source=source).status == 200, kind
        # Who has nothing to do with it fails as often as before.
        assert fail(sharing, f"127.0.1.{number}").status == 401, kind
