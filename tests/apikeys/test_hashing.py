import logging
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import verify_secret
from pytest_django import Settings

from apikeys import digests, hashing
from apikeys.hashing import Check, check, digest_fingerprint, is_known, make_digest, needs_rehash, runs

pytestmark = pytest.mark.pure

KEY = "kp_sk_live_a1B2c3D4_Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji3nszId"
OTHER = "kp_sk_live_a1B2c3D4_Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji000000"
ID = UUID(int=1)
SALT_AND_TAG = "$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE"


@pytest.fixture(autouse=True)
def fresh_process(settings: Settings) -> Iterator[None]:
    # The least that argon2 allows, and patience: what is tested here is who runs it, and when.
    settings.KEYPORTAL_ARGON2 = {"memory_kib": 64, "time": 1, "parallelism": 1}
    settings.KEYPORTAL_ARGON2_PERMITS = 2
    settings.KEYPORTAL_ARGON2_QUEUE = 8
    settings.KEYPORTAL_ARGON2_WAIT_MS = 10_000
    hashing.forget_all()
    yield
    hashing.forget_all()


class Gate:
    """An argon2 that begins when asked and ends when it is let."""

    def __init__(self, ending: Callable[[], bool] = lambda: True) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()
        self.ending = ending

    def __call__(self, *_: object) -> bool:
        self.begun.release()
        assert self.opened.wait(10)
        return self.ending()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(hashing, "verify_secret", gate)
    yield gate
    gate.opened.set()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def written(memory_kib: object, passes: object, lanes: object) -> str:
    return f"$argon2id$v=19$m={memory_kib},t={passes},p={lanes}{SALT_AND_TAG}"


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_flight() -> int:
    return len(hashing._process._in_flight)


def fill_the_permits(gate: Gate, clients: ThreadPoolExecutor, digest: str) -> list[Future[Check]]:
    running = [clients.submit(check, f"first-{n}", key_id=ID, digest=digest) for n in range(2)]
    for _ in running:
        assert gate.begun.acquire(timeout=10)
    return running


def test_digest_is_argon2id_with_the_settings_cost_a_new_salt_and_a_long_tag(
    settings: Settings,
) -> None:
    settings.KEYPORTAL_ARGON2 = {"memory_kib": 19456, "time": 2, "parallelism": 1}
    digest = make_digest(KEY)
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", digest)
    assert digest != make_digest(KEY)
    assert argon2.PasswordHasher().verify(digest, KEY)
    assert check(KEY, key_id=ID, digest=digest) is Check.MATCH


def test_digest_is_over_the_whole_key() -> None:
    digest = make_digest(KEY)
    assert check(KEY.replace("live", "test"), key_id=ID, digest=digest) is Check.MISMATCH
    assert check(KEY[:-1], key_id=ID, digest=digest) is Check.MISMATCH


@pytest.mark.parametrize("error", [HashingError("no memory"), MemoryError(), RuntimeError("no thread")])
def test_make_digest_says_when_argon2_cannot_run(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(hashing, "hash_secret", fail)
    with pytest.raises(hashing.HashingUnavailable) as refusal:
        make_digest(KEY)
    assert KEY not in str(refusal.value)


def test_argon2_runs_on_its_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(*_: object) -> bytes:
        seen.append(threading.current_thread().name)
        return b""

    monkeypatch.setattr(hashing, "hash_secret", note)
    monkeypatch.setattr(hashing, "verify_secret", note)
    make_digest(KEY)
    check(KEY, key_id=ID, digest=written(64, 1, 1))
    assert [name.split("_")[0] for name in seen] == ["argon2", "argon2"]


@pytest.mark.parametrize(("text", "verdict"), [(KEY, Check.MATCH), (OTHER, Check.MISMATCH)])
def test_a_verdict_is_remembered(text: str, verdict: Check) -> None:
    digest = make_digest(KEY)
    assert [check(text, key_id=ID, digest=digest) for _ in range(5)] == [verdict] * 5
    assert runs() == 1


@pytest.mark.parametrize("text", [KEY, OTHER])
def test_a_verdict_counts_only_for_its_row_and_digest(text: str) -> None:
    digest, rehashed = make_digest(KEY), make_digest(KEY)
    verdict = check(text, key_id=ID, digest=digest)
    assert check(text, key_id=uuid4(), digest=digest) is verdict
    assert runs() == 2
    assert check(text, key_id=ID, digest=rehashed) is verdict
    assert runs() == 3


def test_a_match_is_worth_nothing_once_the_row_holds_another_keys_digest() -> None:
    assert check(KEY, key_id=ID, digest=make_digest(KEY)) is Check.MATCH
    assert check(KEY, key_id=ID, digest=make_digest(OTHER)) is Check.MISMATCH


def test_a_mismatch_is_worth_nothing_once_the_row_holds_the_right_digest() -> None:
    assert check(KEY, key_id=ID, digest=make_digest(OTHER)) is Check.MISMATCH
    assert check(KEY, key_id=ID, digest=make_digest(KEY)) is Check.MATCH


def test_a_mismatch_is_forgotten_after_a_minute_on_the_monotonic_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    process = hashing._Process(clock=lambda: now)
    monkeypatch.setattr(hashing, "_process", process)
    digest = make_digest(KEY)
    for moment, count in ((1000.0, 1), (1059.9, 1), (1060.0, 2), (1061.0, 2)):
        now = moment
        assert check(OTHER, key_id=ID, digest=digest) is Check.MISMATCH
        assert runs() == count


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "MAX_REMEMBERED", 3)
    monkeypatch.setattr(hashing, "_verify", lambda text, _: Check.MATCH if "good" in text else Check.MISMATCH)
    hashing.forget_all()
    for n in range(10):
        check(f"good-{n}", key_id=ID, digest=written(64, 1, 1))
        check(f"bad-{n}", key_id=ID, digest=written(64, 1, 1))
    assert [is_known(f"good-{n}") for n in range(10)] == [False] * 7 + [True] * 3
    assert len(hashing._process._mismatches) == 3


def test_is_known_only_after_a_match() -> None:
    digest = make_digest(KEY)
    assert not is_known(KEY)
    check(OTHER, key_id=ID, digest=digest)
    check(KEY, key_id=ID, digest=digest)
    assert is_known(KEY)
    assert not is_known(OTHER)


def test_64_threads_with_one_text_cause_one_run(clients: ThreadPoolExecutor) -> None:
    digest = make_digest(KEY)
    together = threading.Barrier(64)

    def ask() -> Check:
        together.wait(10)
        return check(KEY, key_id=ID, digest=digest)

    for _ in range(20):
        hashing.forget_all()
        answers = [clients.submit(ask) for _ in range(64)]
        assert {answer.result(10) for answer in answers} == {Check.MATCH}
        assert (runs(), in_flight()) == (1, 0)


def test_64_threads_join_the_run_that_is_under_way(gate: Gate, clients: ThreadPoolExecutor) -> None:
    digest = make_digest(KEY)
    answers = [clients.submit(check, KEY, key_id=ID, digest=digest) for _ in range(64)]
    assert gate.begun.acquire(timeout=10)
    assert not gate.begun.acquire(timeout=0.2)
    gate.opened.set()
    assert {answer.result(10) for answer in answers} == {Check.MATCH}
    assert (runs(), in_flight()) == (1, 0)


def test_a_run_that_ended_just_before_the_lock_was_taken_is_not_repeated() -> None:
    digest = make_digest(KEY)
    process = hashing._process
    claim = hashing._Claim(process.mac(KEY), ID, digest_fingerprint(digest))
    assert process.recall(claim) is None
    check(KEY, key_id=ID, digest=digest)
    assert process.decide(claim, KEY, digest) is Check.MATCH
    assert runs() == 1


def test_full_at_once_if_as_many_wait_as_may(gate: Gate, clients: ThreadPoolExecutor, settings: Settings) -> None:
    settings.KEYPORTAL_ARGON2_QUEUE = 3
    digest = make_digest(KEY)
    running = fill_the_permits(gate, clients, digest)
    waiting = [clients.submit(check, f"queued-{n}", key_id=ID, digest=digest) for n in range(3)]
    wait_until(lambda: in_flight() == 5)
    before = time.monotonic()
    assert check("one too many", key_id=ID, digest=digest) is Check.FULL
    assert time.monotonic() - before < 1
    joined = clients.submit(check, "queued-0", key_id=ID, digest=digest)  # adds no run, so there is room
    gate.opened.set()
    assert {answer.result(10) for answer in [*running, *waiting, joined]} == {Check.MATCH}
    assert (runs(), in_flight()) == (5, 0)
    assert check("one too many", key_id=ID, digest=digest) is Check.MATCH


def test_busy_if_no_permit_comes_free_in_time_and_the_retry_finds_the_verdict(
    gate: Gate, clients: ThreadPoolExecutor, settings: Settings
) -> None:
    digest = make_digest(KEY)
    running = fill_the_permits(gate, clients, digest)
    settings.KEYPORTAL_ARGON2_WAIT_MS = 50
    before = time.monotonic()
    assert check(KEY, key_id=ID, digest=digest) is Check.BUSY
    assert 0.05 <= time.monotonic() - before < 1
    assert in_flight() == 3
    gate.opened.set()
    assert {answer.result(10) for answer in running} == {Check.MATCH}
    wait_until(lambda: in_flight() == 0)
    assert check(KEY, key_id=ID, digest=digest) is Check.MATCH
    assert runs() == 3


def test_one_waiter_giving_up_wrongs_no_other(gate: Gate, clients: ThreadPoolExecutor, settings: Settings) -> None:
    digest = make_digest(KEY)
    fill_the_permits(gate, clients, digest)
    settings.KEYPORTAL_ARGON2_WAIT_MS = 50
    impatient = clients.submit(check, KEY, key_id=ID, digest=digest)
    assert impatient.result(10) is Check.BUSY
    settings.KEYPORTAL_ARGON2_WAIT_MS = 10_000
    patient = [clients.submit(check, KEY, key_id=ID, digest=digest) for _ in range(8)]
    gate.opened.set()
    assert {answer.result(10) for answer in patient} == {Check.MATCH}
    wait_until(lambda: in_flight() == 0)
    assert runs() == 3


def test_a_running_check_is_awaited_however_long_it_takes(gate: Gate, clients: ThreadPoolExecutor) -> None:
    digest = make_digest(KEY)
    answer = clients.submit(check, KEY, key_id=ID, digest=digest)
    assert gate.begun.acquire(timeout=10)
    time.sleep(0.2)
    assert not answer.done()
    gate.opened.set()
    assert answer.result(10) is Check.MATCH


@pytest.mark.parametrize(
    "error", [VerificationError("Memory allocation error"), MemoryError(), ValueError("anything"), OSError()]
)
def test_undecidable_for_everyone_if_argon2_fails_and_nothing_is_kept(
    gate: Gate, clients: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> bool:
        raise error

    gate.ending = fail
    digest = make_digest(KEY)
    answers = [clients.submit(check, KEY, key_id=ID, digest=digest) for _ in range(8)]
    assert gate.begun.acquire(timeout=10)
    wait_until(lambda: in_flight() == 1)
    gate.opened.set()
    assert {answer.result(10) for answer in answers} == {Check.UNDECIDABLE}
    assert in_flight() == 0
    assert {record.getMessage() for record in caplog.records} == {f"argon2 failed: {type(error).__name__}"}
    assert all(record.exc_info is None for record in caplog.records)
    gate.ending = lambda: True
    assert check(KEY, key_id=ID, digest=digest) is Check.MATCH


def test_undecidable_and_no_stale_run_if_a_thread_dies_of_something_else(
    gate: Gate, clients: ThreadPoolExecutor
) -> None:
    def fail() -> bool:
        raise KeyboardInterrupt

    gate.ending = fail
    digest = make_digest(KEY)
    answer = clients.submit(check, KEY, key_id=ID, digest=digest)
    gate.opened.set()
    assert answer.result(10) is Check.UNDECIDABLE
    assert in_flight() == 0


def test_undecidable_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    digest = make_digest(KEY)
    hashing.forget_all()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert check(KEY, key_id=ID, digest=digest) is Check.UNDECIDABLE
        assert in_flight() == 0
    assert caplog.messages == ["argon2 failed: RuntimeError"]
    # The executor kept the run that it could not start; it comes round now, and does no harm.
    assert check(KEY, key_id=ID, digest=digest) is Check.MATCH
    wait_until(lambda: runs() == 2)
    assert in_flight() == 0


def test_a_run_that_comes_round_late_leaves_its_successor_on_the_table() -> None:
    process = hashing._process
    claim = hashing._Claim(b"mac", ID, b"fingerprint")
    given_up, successor = hashing._Run(), hashing._Run()
    process._in_flight[claim] = successor
    process._end(given_up, claim)
    assert process._in_flight == {claim: successor}


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "x",
        "\ud800",
        "$" * 10_000,
        written(64, 1, 1) + "\n",
        written(64, 1, 1)[:-1],
        written(64, 1, 1).replace("argon2id", "argon2i"),
        written(64, 1, 1).replace("argon2id", "argon2d"),
        written(64, 1, 1).replace("v=19", "v=16"),
        written(64, 1, "١"),
        written("9" * 5000, 1, 1),
        written(0, 1, 1),
        written(-64, 1, 1),
        written(65_537, 1, 1),
        written(4_294_967_295, 1, 1),
        written(64, 9, 1),
        written(64, 4_294_967_295, 1),
        written(1024, 1, 5),
        "pbkdf2_sha256$600000$salt$hash",
    ],
)
def test_a_corrupt_or_monstrous_digest_is_refused_in_5_ms_without_running(digest: str) -> None:
    took = []
    for _ in range(5):
        before = time.perf_counter()
        assert check(KEY, key_id=ID, digest=digest) is Check.UNDECIDABLE
        took.append(time.perf_counter() - before)
    assert min(took) < 0.005
    assert (runs(), in_flight()) == (0, 0)


def test_undecidable_if_argon2_itself_refuses_the_parameters() -> None:
    assert check(KEY, key_id=ID, digest=written(8, 1, 4)) is Check.UNDECIDABLE  # RFC 9106 §3.1: m >= 8p


def test_what_settings_ask_for_is_within_the_cap(settings: Settings) -> None:
    settings.KEYPORTAL_ARGON2 = {"memory_kib": 70_000, "time": 9, "parallelism": 5}
    digest = make_digest(KEY)
    assert check(KEY, key_id=ID, digest=digest) is Check.MATCH
    assert hashing._may_run(written(70_000, 9, 5))
    assert not hashing._may_run(written(70_001, 9, 5))


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "é", "x" * 1_000_000, KEY + "\0"])
def test_any_text_is_a_mismatch_and_no_exception(text: str) -> None:
    digest = make_digest(KEY)
    assert check(text, key_id=ID, digest=digest) is Check.MISMATCH


@pytest.mark.parametrize(
    ("digest", "is_weaker"),
    [
        (written(19456, 2, 1), False),
        (written(19457, 3, 2), False),
        (written(19455, 2, 1), True),
        (written(65536, 1, 1), True),
        ("", False),
    ],
)
def test_needs_rehash_if_any_parameter_is_below_the_settings(settings: Settings, digest: str, is_weaker: bool) -> None:
    settings.KEYPORTAL_ARGON2 = {"memory_kib": 19456, "time": 2, "parallelism": 1}
    assert needs_rehash(digest) is is_weaker


@pytest.mark.parametrize(("text", "verdict", "argon2_runs"), [(KEY, Check.MATCH, 0), (OTHER, Check.MISMATCH, 1)])
def test_digest_of_another_package_is_checked_and_a_wrong_secret_takes_as_long_as_any(
    monkeypatch: pytest.MonkeyPatch, text: str, verdict: Check, argon2_runs: int
) -> None:
    seen: list[str] = []

    def note(*arguments: Any) -> bool:
        seen.append(threading.current_thread().name)
        return verify_secret(*arguments)

    monkeypatch.setattr(hashing, "verify_secret", note)
    for _ in range(3):
        assert check(text, key_id=ID, digest=digests.of_text(KEY)) is verdict
    assert (len(seen), runs()) == (argon2_runs, 1)
    assert all(name.startswith("argon2") for name in seen)


def test_digest_of_another_package_is_always_replaced() -> None:
    dear = f"django:argon2{written(102_400, 2, 8)}"
    for digest in (digests.of_text(KEY), dear):
        assert hashing.is_foreign(digest)
        assert needs_rehash(digest)
    assert not hashing.is_foreign(make_digest(KEY))
    assert not needs_rehash(dear.replace("m=102400", "m=999999"))


def test_fingerprints_tell_digests_apart() -> None:
    assert digest_fingerprint("a") == digest_fingerprint("a")
    assert digest_fingerprint("a") != digest_fingerprint("b")
    assert len(digest_fingerprint("a")) == 32


def test_no_text_outlives_its_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"kp_sk_live_a1B2c3D4_{uuid4().hex}"  # no constant, so that references can be counted
    digest = make_digest(text)
    held = sys.getrefcount(text)
    assert check(text, key_id=ID, digest=digest) is Check.MATCH
    assert check(text, key_id=uuid4(), digest=make_digest(OTHER)) is Check.MISMATCH
    wait_until(lambda: sys.getrefcount(text) == held)
    process = hashing._process
    kept = repr([process._matches, process._mismatches, process._in_flight, vars(process)])
    assert process.mac(text) in process._matches
    assert text not in kept
    assert text[-32:] not in kept + caplog.text


def test_another_process_would_remember_under_another_key() -> None:
    mac = hashing._process.mac(KEY)
    assert hashing._process.mac(KEY) == mac
    hashing.forget_all()
    assert hashing._process.mac(KEY) != mac


def test_a_forked_child_begins_anew_and_its_threads_work() -> None:
    script = textwrap.dedent(f"""
        import os
        from uuid import UUID
        from django.conf import settings
        settings.configure(
            KEYPORTAL_ARGON2={{"memory_kib": 64, "time": 1, "parallelism": 1}},
            KEYPORTAL_ARGON2_PERMITS=2, KEYPORTAL_ARGON2_QUEUE=8, KEYPORTAL_ARGON2_WAIT_MS=5000,
        )
        from apikeys import hashing
        text, key_id = {KEY!r}, UUID(int=1)
        digest = hashing.make_digest(text)
        assert hashing.check(text, key_id=key_id, digest=digest) is hashing.Check.MATCH
        mac = hashing._process.mac(text)
        hashing._process._lock.acquire()  # as another thread may have at that moment
        if child := os.fork():
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert not hashing.is_known(text)
        assert hashing._process.mac(text) != mac
        assert hashing.runs() == 0
        assert hashing.check(text, key_id=key_id, digest=digest) is hashing.Check.MATCH
        assert hashing.runs() == 1
    """)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
