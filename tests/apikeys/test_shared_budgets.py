import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from django.conf import settings

from apikeys import budgets, shared_budgets
from apikeys.shared_budgets import Share, _name
from tests.apikeys.logbook import Logbook
from tests.services import RedisServer, free_port

pytestmark = pytest.mark.pure
SOURCE = ("source", "192.0.2.1")
LIMIT = 5


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


class Process:
    """A process with budgets of its own; tests ask for the exchange that its thread would do."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.budgets, self.now = budgets.Budgets(), 100.0
        self.share = Share(url, clock=lambda: self.now)
        self._patch = monkeypatch
        monkeypatch.setattr(Share, "_run", lambda _: None)

    def fails(self, times: int) -> None:
        for _ in range(times):
            self.budgets._by_name["source"].charge(SOURCE[1])
            self.share.tell(*SOURCE)
        self._patch.setattr(budgets, "current", lambda: self.budgets)
        self.share.exchange()

    @property
    def is_refused(self) -> bool:
        return self.budgets._by_name["source"].seconds_left(SOURCE[1], LIMIT) > 0


def test_source_that_spent_its_budget_elsewhere_is_known_by_its_next_failure(
    store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Process(server.url, monkeypatch), Process(server.url, monkeypatch)
    one.fails(LIMIT)
    assert (one.is_refused, other.is_refused) == (True, False)
    other.fails(1)
    assert other.is_refused


def test_counter_ends_with_its_window_and_names_nobody(
    store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Process(server.url, monkeypatch).fails(2)
    [name] = store.keys()
    assert store.get(name) == b"2"
    assert 0 < store.pttl(name) <= 60_000
    assert b"192.0.2.1" not in name
    assert settings.SECRET_KEY.encode() not in name


@pytest.mark.parametrize("forged", [b"swordfish", b"-1000000", b"9" * 40, b""])
def test_forged_counter_never_opens_and_is_replaced(
    store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch, forged: bytes
) -> None:
    store.set(_name(*SOURCE), forged)
    process = Process(server.url, monkeypatch)
    process.fails(LIMIT)
    assert process.is_refused
    process.fails(1)
    assert 0 < store.pttl(_name(*SOURCE)) <= 60_000


def test_forged_list_is_removed(store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store.lpush(_name(*SOURCE), "x")
    store.expire(_name(*SOURCE), 10**9)
    process = Process(server.url, monkeypatch)
    process.fails(1)
    assert store.keys() == []
    process.fails(1)
    assert store.get(_name(*SOURCE)) == b"1"


def test_forged_count_refuses_for_a_window_at_most(
    store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set(_name(*SOURCE), 10**9, ex=10**6)
    process = Process(server.url, monkeypatch)
    process.fails(1)
    assert 0 < process.budgets._by_name["source"].seconds_left(SOURCE[1], LIMIT) <= 60
    assert 0 < store.pttl(_name(*SOURCE)) <= 60_000


def test_flushed_redis_takes_nothing_back(
    store: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(server.url, monkeypatch)
    process.fails(LIMIT)
    store.flushall()
    process.fails(1)
    assert process.is_refused


class Away:
    """A Redis that is none: nobody listens, nobody answers, or what answers is something else."""

    def __init__(self, says: bytes | None, *, listens: bool = True) -> None:
        self.port = free_port()
        self.url = f"redis://:hunter2@127.0.0.1:{self.port}/0"
        self._says, self.visits = says, 0
        self._visitors: list[socket.socket] = []
        self._listener: socket.socket | None = None
        if listens:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._thread = threading.Thread(target=self._serve)
            self._thread.start()

    def _serve(self) -> None:
        while self._listener:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            self._visitors.append(visitor)
            if self._says is not None:
                visitor.sendall(self._says)

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            for used in (listener, *self._visitors):
                used.close()


@pytest.mark.parametrize(
    ("says", "listens"),
    [(None, False), (None, True), (b"HTTP/1.1 400 Bad Request\r\n\r\n", True), (b"\xff\r\n" * 99, True)],
    ids=["down", "silent", "http", "bytes"],
)
def test_redis_that_is_none_is_left_alone_and_each_process_counts_for_itself(
    monkeypatch: pytest.MonkeyPatch, logbook: Logbook, says: bytes | None, listens: bool
) -> None:
    with closing(Away(says, listens=listens)) as away:
        process = Process(away.url, monkeypatch)
        started = time.perf_counter()
        process.fails(LIMIT)
        assert time.perf_counter() - started < 1
        assert process.is_refused
        visits = away.visits
        process.fails(3)
        assert away.visits == visits
        process.now += shared_budgets.REST_SECONDS
        process.fails(1)
        assert away.visits == visits + listens
    lines = logbook.events("budgets.not_shared")
    assert len(lines) <= 1
    assert "hunter2" not in logbook.text


def test_numbers_that_were_not_asked_for_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Away(b":1\r\n" * 100)) as away:
        process = Process(away.url, monkeypatch)
        process.fails(LIMIT)
        assert process.is_refused


def test_redis_that_comes_back_is_used_again(monkeypatch: pytest.MonkeyPatch, logbook: Logbook) -> None:
    server = RedisServer()
    process = Process(server.url, monkeypatch)
    process.fails(1)
    with contextlib.ExitStack() as stack:
        stack.callback(server.start().stop)
        process.fails(1)
        process.now += shared_budgets.REST_SECONDS
        process.fails(1)
        client = stack.enter_context(closing(redis.Redis.from_url(server.url)))
        assert client.get(_name(*SOURCE)) == b"1"
    assert len(logbook.events("budgets.not_shared")) == len(logbook.events("budgets.shared_again")) == 1


def test_thread_shares_by_itself_and_a_stopped_redis_holds_up_nobody(store: redis.Redis, server: RedisServer) -> None:
    share = Share(server.url)
    share.tell(*SOURCE)
    wait_for_count(store, b"1")
    server.signal(signal.SIGSTOP)
    try:
        started = time.perf_counter()
        for _ in range(100):
            share.tell(*SOURCE)
        assert time.perf_counter() - started < 0.5
    finally:
        server.signal(signal.SIGCONT)


def wait_for_count(store: redis.Redis, count: bytes) -> None:
    end = time.monotonic() + 10
    while store.get(_name(*SOURCE)) != count:
        assert time.monotonic() < end
        time.sleep(0.01)
