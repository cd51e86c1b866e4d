import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import redis

from apikeys import limits, shared_limits
from apikeys.limits import MINUTE, SECOND, Counts, InvalidLimits, Limits, LimitState, Usage, checked, of_row
from apikeys.shared_limits import Share, name_of
from tests.apikeys.logbook import Logbook
from tests.services import ROOT, RedisServer, free_port

pytestmark = pytest.mark.pure
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 3, tzinfo=UTC)


@dataclass
class Key:
    """What stands in for a key of the database."""

    limits: Limits | None
    id: UUID = field(default_factory=uuid4)

    def calls(self, at: datetime = NOON, times: int = 1) -> list[str]:
        """Return what the key is answered: empty where it is let in, or the code."""
        return [self.call(at).code for _ in range(times)]

    def call(self, at: datetime = NOON) -> LimitState:
        state = limits.charge(self, at=at)
        assert state is not None
        return state


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    limits.forget_all()
    yield
    limits.share(None)


def later(**by: float) -> datetime:
    return NOON + timedelta(**by)


OK, LIMITED, SPENT = "", "rate_limited", "quota_exceeded"


# Windows


def test_key_without_limits_is_not_counted() -> None:
    assert limits.charge(Key(None), at=NOON) is None
    assert len(limits.current()) == 0


@pytest.mark.parametrize(("given", "share"), [(Limits(per_second=4), 0.25), (Limits(per_minute=4), 15)])
def test_window_is_spent_at_once_and_makes_room_share_by_share(given: Limits, share: float) -> None:
    key = Key(given)
    assert key.calls(NOON, 5) == [OK] * 4 + [LIMITED]
    just_before, exactly = later(seconds=share, microseconds=-1), later(seconds=share)
    assert key.calls(just_before) == [LIMITED]
    assert key.calls(exactly, 2) == [OK, LIMITED]
    assert key.calls(later(seconds=3 * share), 3) == [OK, OK, LIMITED]


def test_pause_as_long_as_the_window_gives_all_of_it_and_no_more() -> None:
    key = Key(Limits(per_minute=10))
    key.calls(NOON, 10)
    assert Counter(key.calls(later(seconds=60), 20)) == {OK: 10, LIMITED: 10}
    assert Counter(key.calls(later(days=300), 20)) == {OK: 10, LIMITED: 10}


@pytest.mark.parametrize("limit", [1, 3, 7, 1_000, 999_983, limits.MAX_LIMIT])
def test_rate_is_exact_whatever_does_not_divide(limit: int) -> None:
    full = Usage(int(NOON.timestamp()) * SECOND, minute=limit * MINUTE)
    given = Limits(per_minute=limit)
    share = -(-MINUTE // limit)
    assert full.seen_at(full.at + share - 1, given).charged(given) is None
    assert full.seen_at(full.at + share, given).charged(given) is not None
    assert full.seen_at(full.at + MINUTE, given).minute == 0
    assert full.seen_at(full.at + MINUTE - share, given).minute > 0


def test_day_ends_at_midnight_utc() -> None:
    key = Key(Limits(per_day=3))
    assert key.calls(NOON, 4) == [OK, OK, OK, SPENT]
    assert key.calls(MIDNIGHT - timedelta(microseconds=1)) == [SPENT]
    assert key.calls(MIDNIGHT, 4) == [OK, OK, OK, SPENT]


def test_refusal_counts_against_nothing_and_extends_no_wait() -> None:
    key = Key(Limits(per_second=1, per_minute=3, per_day=4))
    assert key.calls(NOON, 500) == [OK] + [LIMITED] * 499
    assert [key.calls(later(seconds=number), 50)[:2] for number in (1, 2)] == [[OK, LIMITED]] * 2
    assert key.calls(later(seconds=3), 50) == [LIMITED] * 50
    assert key.calls(later(seconds=20), 50) == [OK] + [SPENT] * 49


def test_first_limit_that_is_spent_refuses_and_the_day_has_the_last_word() -> None:
    key = Key(Limits(per_minute=2, per_day=2))
    assert key.calls(NOON, 3) == [OK, OK, SPENT]
    assert key.call(NOON).headers["Retry-After"] == str(12 * 3600)


def test_keys_are_counted_apart() -> None:
    one, other = Key(Limits(per_minute=1)), Key(Limits(per_minute=1))
    assert (one.calls(), other.calls(), one.calls()) == ([OK], [OK], [LIMITED])


def test_limit_that_is_changed_holds_from_the_next_request() -> None:
    key = Key(Limits(per_minute=100))
    key.calls(NOON, 80)
    key.limits = Limits(per_minute=10)
    assert key.calls(NOON) == [LIMITED]
    assert Counter(key.calls(later(seconds=60), 11)) == {OK: 10, LIMITED: 1}
    key.limits = Limits(per_minute=12, per_day=1)
    assert key.calls(later(seconds=60), 2) == [OK, SPENT]


@pytest.mark.parametrize("back", [timedelta(microseconds=3), timedelta(seconds=30), timedelta(hours=5)])
def test_clock_that_goes_back_never_locks_a_key_out_for_longer_than_a_window(back: timedelta) -> None:
    key = Key(Limits(per_minute=2))
    key.calls(NOON, 3)
    assert OK in key.calls(NOON - back + timedelta(seconds=61), 1) + key.calls(NOON - back + timedelta(seconds=91), 1)


def test_clock_read_out_of_turn_gives_no_request_twice() -> None:
    key = Key(Limits(per_minute=60, per_day=100))
    codes = [
        code for number in range(400) for code in key.calls(later(seconds=number * 0.01 - (0.5 if number % 2 else 0)))
    ]
    assert codes.count(OK) == 60 + 3


def test_clock_read_out_of_turn_at_midnight_gives_no_quota_twice() -> None:
    key, just_before = Key(Limits(per_day=2)), MIDNIGHT - timedelta(microseconds=1)
    assert key.calls(just_before) == [OK]
    assert [*key.calls(MIDNIGHT), *key.calls(just_before), *key.calls(MIDNIGHT, 2)] == [OK, OK, SPENT, SPENT]


# What the client is told


def test_headers_name_each_limit_what_is_left_and_when_there_is_more() -> None:
    key = Key(Limits(per_second=2, per_minute=100, per_day=1000))
    first, second, third = (key.call() for _ in range(3))
    policy = '"second";q=2;w=1, "minute";q=100;w=60, "day";q=1000;w=86400'
    assert first.headers == {
        "RateLimit-Policy": policy,
        "RateLimit": '"second";r=1;t=1, "minute";r=99;t=1, "day";r=999;t=43200',
    }
    assert second.headers["RateLimit"] == '"second";r=0;t=1, "minute";r=98;t=1, "day";r=998;t=43200'
    assert third.headers == {
        "RateLimit-Policy": policy,
        "RateLimit": '"second";r=0;t=1, "minute";r=98;t=1, "day";r=998;t=43200',
        "Retry-After": "1",
    }


def test_only_limits_that_are_set_are_told() -> None:
    state = Key(Limits(per_minute=60)).call()
    assert state.headers == {"RateLimit-Policy": '"minute";q=60;w=60', "RateLimit": '"minute";r=59;t=1'}


@pytest.mark.parametrize(
    ("given", "at"),
    [
        (Limits(per_second=1), NOON),
        (Limits(per_second=1000), NOON),
        (Limits(per_minute=1), NOON),
        (Limits(per_minute=7), NOON),
        (Limits(per_minute=59), later(seconds=0.25)),
        (Limits(per_day=1), NOON),
        (Limits(per_day=2), MIDNIGHT - timedelta(microseconds=1)),
        (Limits(1, 2, 3), NOON),
        (Limits(5, 5, 5), NOON),
    ],
)
def test_who_waits_as_told_is_let_in(given: Limits, at: datetime) -> None:
    key = Key(given)
    state = key.call(at)
    while not state.code:
        state = key.call(at)
    wait = int(state.headers["Retry-After"])
    assert wait >= 1
    assert key.calls(at + timedelta(seconds=wait)) == [OK]


# The value


def test_limits_are_whole_numbers_in_range_and_longer_times_allow_no_less() -> None:
    assert checked(None, None, None) is None
    assert checked(1, None, limits.MAX_LIMIT) == Limits(1, None, limits.MAX_LIMIT)
    assert checked(5, 5, 5) == Limits(5, 5, 5)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ((0, None, None), "per_second"),
        ((None, -1, None), "per_minute"),
        ((None, None, limits.MAX_LIMIT + 1), "per_day"),
        ((10, 9, None), "per_minute"),
        ((10, None, 9), "per_day"),
        ((1, 10, 9), "per_day"),
    ],
)
def test_limits_that_nobody_can_mean_are_refused(given: tuple[int | None, ...], wrong: str) -> None:
    with pytest.raises(InvalidLimits) as caught:
        checked(*given)
    assert caught.value.field == wrong


def test_row_without_limits_has_none() -> None:
    assert of_row(None, None, None) is None
    assert of_row(None, 0, None) is None
    assert of_row(None, 7, None) == Limits(per_minute=7)


@pytest.mark.parametrize(
    ("own", "asked", "is_covered"),
    [
        (Limits(), None, True),
        (Limits(), Limits(1, 1, 1), True),
        (Limits(per_minute=60), Limits(per_minute=60), True),
        (Limits(per_minute=60), Limits(1, 59, 7), True),
        (Limits(per_minute=60), Limits(per_minute=61), False),
        (Limits(per_minute=60), Limits(per_second=1), False),
        (Limits(per_minute=60), None, False),
    ],
)
def test_limits_cover_what_allows_no_more(own: Limits, asked: Limits | None, is_covered: bool) -> None:
    assert own.covers(asked) is is_covered


# Memory


def test_windows_that_have_ended_leave() -> None:
    counts, given = Counts(), Limits(per_minute=5)
    for _ in range(50):
        counts.charge(uuid4(), given, MINUTE * 1000)
    daily = uuid4()
    counts.charge(daily, Limits(per_day=5), MINUTE * 1000)
    last = uuid4()
    counts.charge(last, given, MINUTE * 1002)
    assert len(counts) == 2
    assert counts.known(daily).today == 1
    counts.charge(last, given, MINUTE * 1002 + limits.DAY)
    assert len(counts) == 1


def test_table_is_bounded_and_forgets_who_was_there_least_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RECORDS", 100)
    counts, given = Counts(), Limits(per_day=2)
    busy = uuid4()
    for number in range(500):
        counts.charge(uuid4(), given, MINUTE + number)
        counts.charge(busy, Limits(per_day=1000), MINUTE + number)
    assert len(counts) == 100
    assert counts.known(busy).today == 500


def test_refused_request_leaves_no_record_of_its_own() -> None:
    key = Key(Limits(per_day=1))
    key.calls(NOON, 100)
    assert len(limits.current()) == 1


def test_count_is_exact_under_32_threads() -> None:
    key = Key(Limits(per_minute=500, per_day=500))
    with ThreadPoolExecutor(32) as pool:
        codes = list(pool.map(lambda _: key.call().code, range(3200)))
    assert Counter(codes) == {OK: 500, SPENT: 2700}


# Redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(server.url)) as client:
        client.flushall()
        yield client


def used_today(store: redis.Redis, key: Key) -> int:
    """Return how many requests of today Redis has on record for a key."""
    record = store.get(name_of(key.id))
    assert isinstance(record, bytes)
    return int(record.split()[-1])


class Process:
    """A process that shares its limits: each has counts of its own."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.share, self.counts = Share(url, clock=clock), Counts()

    def calls(self, key: Key, times: int = 1) -> list[str]:
        """Call now, since Redis goes by its own clock."""
        return [self.call(key).code for _ in range(times)]

    def call(self, key: Key) -> LimitState:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "_process", self.counts)
            limits.share(self.share.ask)
            state = limits.charge(key, at=datetime.now(UTC))
        assert state is not None
        return state


def test_processes_share_what_a_key_has_used(store: redis.Redis, server: RedisServer) -> None:
    one, other, key = Process(server.url), Process(server.url), Key(Limits(per_day=5))
    assert one.calls(key, 3) == [OK] * 3
    assert other.calls(key, 3) == [OK, OK, SPENT]
    assert one.calls(key) == [SPENT]
    assert store.keys() == [name_of(key.id).encode()]


def test_shared_answer_tells_the_same_as_one_process_would(store: redis.Redis, server: RedisServer) -> None:
    process, key = Process(server.url), Key(Limits(per_minute=2, per_day=1000))
    first, _, third = (process.call(key) for _ in range(3))
    assert first.headers["RateLimit-Policy"] == '"minute";q=2;w=60, "day";q=1000;w=86400'
    assert first.headers["RateLimit"].startswith('"minute";r=1;t=30, "day";r=999;t=')
    assert third.code == LIMITED
    assert third.headers["RateLimit"].startswith('"minute";r=0;t=30, "day";r=998;t=')
    assert third.headers["Retry-After"] == "30"


def test_script_counts_as_this_process_does(store: redis.Redis, server: RedisServer) -> None:
    """The rule is written twice, so both are asked about the same hours by the same clock."""
    given, key_id = Limits(per_second=3, per_minute=7, per_day=30), uuid4()
    script = shared_limits._SCRIPT.replace("redis.call('TIME')", "{ARGV[5], ARGV[6]}")
    counts, start = Counts(), int((MIDNIGHT - timedelta(minutes=4)).timestamp()) * SECOND
    codes, asked = set(), [limit or 0 for limit in given]
    for number in range(400):
        now = start + number * 1_234_567 - (number % 3) * 200_001
        local = counts.charge(key_id, given, now)
        time_of_redis = (now // SECOND, now % SECOND)
        is_charged, *usage = store.eval(script, 1, name_of(key_id), *asked, "", *time_of_redis)
        shared = limits.state_of(Usage(*usage), given, is_charged=bool(is_charged))
        assert local == shared
        codes.add(shared.code)
    assert codes == {OK, LIMITED, SPENT}


def test_shared_count_is_exact_under_32_threads(store: redis.Redis, server: RedisServer) -> None:
    processes, key = [Process(server.url) for _ in range(2)], Key(Limits(per_day=500))
    with ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(lambda number: processes[number % 2].share.ask(key.id, Limits(per_day=500), Usage()), range(1000))
        )
    assert None not in answers
    assert sum(answer[0] for answer in answers if answer) == 500


_CALL = """
import django, os, sys
from datetime import UTC, datetime
from uuid import UUID
django.setup()
from apikeys import limits, shared_limits
from tests.apikeys.test_limits import Key
shared_limits.start()
key = Key(limits.Limits(per_day=100), UUID(sys.argv[1]))
codes = key.calls(datetime.now(UTC))
pid = os.fork()  # gunicorn preloads, and forks its workers; here it is in the middle of its work
codes = (codes if pid else []) + key.calls(datetime.now(UTC), 60)
print(codes.count(""), flush=True)
os.waitpid(pid, 0) if pid else os._exit(0)
"""


def test_real_processes_and_their_forks_share_a_quota(store: redis.Redis, server: RedisServer) -> None:
    key_id = str(uuid4())
    environment = {"DJANGO_SETTINGS_MODULE": "keyportal.settings", "REDIS_URL": server.url, "SECRET_KEY": "x" * 50}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _CALL, key_id], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    let_in = [int(line) for process in started for line in process.communicate(timeout=30)[0].split()]
    assert len(let_in) == 4
    assert sum(let_in) == 100


def test_record_in_redis_leaves_with_its_windows(store: redis.Redis, server: RedisServer) -> None:
    process, quick, daily = Process(server.url), Key(Limits(per_second=5)), Key(Limits(per_day=5))
    process.calls(quick)
    process.calls(daily)
    assert 0 < store.pttl(name_of(quick.id)) <= 60_000
    left_of_today = 86_400_000 - int(time.time() * 1000) % 86_400_000
    assert left_of_today < store.pttl(name_of(daily.id)) <= 86_460_000
    process.calls(daily, 9)
    assert used_today(store, daily) == 5


def test_unlimited_key_asks_nobody(store: redis.Redis, server: RedisServer) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("Redis was asked.")

    limits.share(fail)
    assert limits.charge(Key(None), at=NOON) is None


RUBBISH: dict[str, Callable[[redis.Redis, str], object]] = {
    "text": lambda store, name: store.set(name, "rubbish '; --"),
    "empty": lambda store, name: store.set(name, ""),
    "bytes": lambda store, name: store.set(name, b"\xff\x00" * 30),
    "long": lambda store, name: store.set(name, "9" * 1_000_000),
    "negative": lambda store, name: store.set(name, "-1 -1 -1 -1 -1"),
    "far ahead": lambda store, name: store.set(name, f"{9 * 10**15} {9 * 10**15} {9 * 10**15} 104166 9"),
    "huge": lambda store, name: store.set(name, " ".join(["9" * 18] * 5)),
    "list": lambda store, name: store.rpush(name, "1", "2"),
    "hash": lambda store, name: store.hset(name, "count", "1"),
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_in_redis_is_as_good_as_nothing_and_is_replaced(
    store: redis.Redis, server: RedisServer, logbook: Logbook, kind: str
) -> None:
    process, key = Process(server.url), Key(Limits(per_second=1000, per_minute=1000, per_day=3))
    RUBBISH[kind](store, name_of(key.id))
    assert process.calls(key, 4) == [OK, OK, OK, SPENT]
    assert used_today(store, key) == 3
    assert logbook.events("limits.not_shared") == []


def test_emptied_redis_gives_nothing_back(store: redis.Redis, server: RedisServer) -> None:
    one, other, key = Process(server.url), Process(server.url), Key(Limits(per_minute=3, per_day=1000))
    one.calls(key, 3)
    store.flushall()
    store.script_flush()
    assert one.calls(key) == [LIMITED]
    # The refusal told it to the others.
    assert other.calls(key) == [LIMITED]
    assert used_today(store, key) == 3


def test_refusal_writes_nothing_to_redis_that_is_there(store: redis.Redis, server: RedisServer) -> None:
    process, key = Process(server.url), Key(Limits(per_second=2, per_minute=3, per_day=1000))
    process.calls(key, 2)
    record = store.get(name_of(key.id))
    assert process.calls(key, 5) == [LIMITED] * 5
    assert store.get(name_of(key.id)) == record


class NoRedis:
    """Something else where Redis should be: it says what it is told to, or nothing, to whoever connects."""

    def __init__(self, says: bytes, *, drips: bool = False) -> None:
        self._says, self._drips, self._is_over = says, drips, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://:hunter2@127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.visits = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.ExitStack() as visitors:
            while True:
                try:
                    visitor, _ = self._listener.accept()
                except OSError:
                    return
                visitors.enter_context(closing(visitor))
                self.visits += 1
                visitor.sendall(self._says)
                with contextlib.suppress(OSError):  # Nobody listens any longer.
                    while self._drips and not self._is_over.wait(0.01):
                        visitor.sendall(b"+")

    def close(self) -> None:
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


SAYINGS = {
    "silence": b"",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": b"\xff\r\n" * 99,
    "numbers": b":1\r\n" * 100,
    "fine": b"+OK\r\n" * 100,
    "lists": b"*6\r\n:1\r\n:-5\r\n:7\r\n:7\r\n:7\r\n:7\r\n" * 50,
    "errors": b"-ERR unknown command\r\n" * 100,
}


def check_counted_alone(process: Process, *, seconds: float) -> None:
    key = Key(Limits(per_day=20))
    started = time.perf_counter()
    assert process.calls(key, 22) == [OK] * 20 + [SPENT] * 2
    assert time.perf_counter() - started < seconds


@pytest.mark.parametrize("says", SAYINGS)
def test_what_is_no_redis_is_left_alone_for_a_while(logbook: Logbook, says: str) -> None:
    now = [100.0]
    with closing(NoRedis(SAYINGS[says])) as other:
        process = Process(other.url, clock=lambda: now[0])
        check_counted_alone(process, seconds=1)
        assert other.visits == 1
        now[0] += shared_limits.REST_SECONDS
        check_counted_alone(process, seconds=1)
        assert other.visits == 2
    assert len(logbook.events("limits.not_shared")) == 1
    assert "hunter2" not in logbook.text


def test_bytes_that_come_one_by_one_hold_up_one_request_and_not_for_long(logbook: Logbook) -> None:
    now = [100.0]
    with closing(NoRedis(b"", drips=True)) as other:
        process = Process(other.url, clock=lambda: now[0])
        check_counted_alone(process, seconds=shared_limits.WAIT_SECONDS + 1)
        now[0] += shared_limits.REST_SECONDS
        check_counted_alone(process, seconds=shared_limits.WAIT_SECONDS)
    [line] = logbook.events("limits.not_shared")
    assert line["reason"] == "TimeoutError"


def test_stopped_redis_holds_up_nobody_and_is_used_again(
    store: redis.Redis, server: RedisServer, logbook: Logbook
) -> None:
    now = [100.0]
    process, key = Process(server.url, clock=lambda: now[0]), Key(Limits(per_minute=1000, per_day=10))
    assert process.calls(key, 4) == [OK] * 4
    server.signal(signal.SIGSTOP)
    try:
        started = time.perf_counter()
        # It goes on from what was shared, and knows of nobody else's requests.
        assert process.calls(key, 4) == [OK] * 4
        assert time.perf_counter() - started < 0.5
    finally:
        server.signal(signal.SIGCONT)
    now[0] += shared_limits.REST_SECONDS
    assert process.calls(key, 3) == [OK, OK, SPENT]
    assert used_today(store, key) == 10
    assert len(logbook.events("limits.not_shared")) == len(logbook.events("limits.shared_again")) == 1


def test_redis_that_is_gone_and_comes_back_learns_what_was_counted_meanwhile(logbook: Logbook) -> None:
    server, now = RedisServer(), [100.0]
    one, other = (Process(server.url, clock=lambda: now[0]) for _ in range(2))
    key = Key(Limits(per_day=10))
    assert one.calls(key, 6) == [OK] * 6
    with contextlib.ExitStack() as stack:
        stack.callback(server.start().stop)
        now[0] += shared_limits.REST_SECONDS
        assert one.calls(key) == [OK]
        assert other.calls(key, 4) == [OK] * 3 + [SPENT]
        server.stop()
        now[0] += shared_limits.REST_SECONDS
        assert (one.calls(key, 4)) == [OK] * 3 + [SPENT]
        assert other.calls(key) == [SPENT]


def test_restarted_redis_is_asked_over_a_new_connection(logbook: Logbook) -> None:
    server = RedisServer().start()
    try:
        process, key = Process(server.url), Key(Limits(per_day=10))
        process.calls(key)
        server.stop()
        server.start()
        process.calls(key)
        with closing(redis.Redis.from_url(server.url)) as store:
            assert used_today(store, key) == 2
    finally:
        server.stop()


def test_many_at_once_are_not_held_up_by_a_redis_that_is_gone() -> None:
    process = Process(f"redis://127.0.0.1:{free_port()}/0")
    key = Key(Limits(per_day=100))
    limits.share(process.share.ask)
    started = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        codes = list(pool.map(lambda _: key.call().code, range(640)))
    assert time.perf_counter() - started < 2
    assert Counter(codes) == {OK: 100, SPENT: 540}
