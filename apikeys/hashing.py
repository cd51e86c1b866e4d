"""Digests of keys, and this process's memory of what matched: the only place that knows the algorithm.

A digest is argon2id over the whole key text (RFC 9106 §4 for the choice of argon2id, its 128-bit salt and
256-bit tag; the cost is a setting). It is spent once per key and process: what was found is remembered under
a keyed BLAKE2b of the text (RFC 7693 §2.9) with a random key of this process, so that neither memory nor a dump
of it holds a key, and it counts only for the row and the digest it was found with. All argon2 runs on a few
threads of its own, because both its memory and its time are a lever for whoever sends bogus keys: threads bound
what runs, a queue bounds what waits, and who waits too long is told so.

Keys that were brought along from elsewhere have the digests of `digests` until they are used; these are checked on the
same threads.
"""

import base64
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import cached_property, lru_cache
from threading import Event, Lock
from typing import NamedTuple
from uuid import UUID

from argon2.exceptions import HashingError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret
from cachetools import LRUCache, TTLCache
from django.conf import settings

from apikeys import digests
from keyportal import metrics

SALT_BYTES = 16
TAG_BYTES = 32
MAX_REMEMBERED = 10_000  # texts in each of the two caches, about 300 bytes each
MISMATCH_SECONDS = 60  # how long a mismatch is remembered
_NOBODY = UUID(int=0)

logger = logging.getLogger(__name__)

# What make_digest writes, and nothing else: a 16-byte salt and a 32-byte tag in base64 without padding.
_DIGEST = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})"
    r"\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}"
)


class Check(Enum):
    """What a text turned out to be to a digest."""

    MATCH = "match"
    MISMATCH = "mismatch"
    BUSY = "busy"  # no thread became free in time; the run will be made all the same: ask again
    FULL = "full"  # as many as may wait are waiting: ask again
    UNDECIDABLE = "undecidable"  # digest corrupt or beyond the cap, or argon2 failed: neither yes nor no


_hits = {verdict: metrics.DIGEST_CACHE_HITS.labels(verdict.value) for verdict in (Check.MATCH, Check.MISMATCH)}


class HashingUnavailable(RuntimeError):
    """No digest could be made now; nothing is wrong with the key."""


class _Cost(NamedTuple):
    """Parameters of argon2: memory in KiB, passes, lanes (RFC 9106 §3.1)."""

    memory_kib: int
    time: int
    parallelism: int


_CAP = _Cost(memory_kib=65_536, time=8, parallelism=4)


class _Claim(NamedTuple):
    """This text against that digest of that row, without the text."""

    text_mac: bytes
    key_id: UUID
    fingerprint: bytes
    prefix: str = ""


class _Run:
    """One argon2 run that any number of threads may wait for."""

    __slots__ = ("finished", "started", "verdict")

    def __init__(self) -> None:
        self.started = Event()
        self.finished = Event()
        self.verdict = Check.UNDECIDABLE

    def outcome(self, wait_seconds: float) -> Check:
        """Return the verdict, or BUSY if the run does not begin in time; once begun it is awaited."""
        if not self.started.wait(wait_seconds):
            return Check.BUSY
        self.finished.wait()
        return self.verdict


class _Process:
    """What one process remembers and runs. A forked child starts anew, as threads do not survive a fork."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.runs = 0
        self._mac_key = secrets.token_bytes(32)
        self._lock = Lock()  # guards everything below
        self._matches: LRUCache[bytes, _Claim] = LRUCache(MAX_REMEMBERED)
        self._mismatches: TTLCache[bytes, _Claim] = TTLCache(MAX_REMEMBERED, MISMATCH_SECONDS, timer=clock)
        self._in_flight: dict[_Claim, _Run] = {}
        self._executor: ThreadPoolExecutor | None = None

    @cached_property
    def dummy_digest(self) -> str:
        """A digest that no text has, with the cost that new ones get."""
        cost = _wanted()
        salt, tag = (_base64(secrets.token_bytes(length)) for length in (SALT_BYTES, TAG_BYTES))
        return f"$argon2id$v=19$m={cost.memory_kib},t={cost.time},p={cost.parallelism}${salt}${tag}"

    def mac(self, text: str) -> bytes:
        return hashlib.blake2b(_encoded(text), key=self._mac_key, digest_size=32).digest()

    def remember_match(self, claim: _Claim) -> None:
        with self._lock:
            self._remember(claim, Check.MATCH)

    def forget_match(self, text: str) -> None:
        with self._lock:
            self._matches.pop(self.mac(text), None)

    def is_idle(self) -> bool:
        with self._lock:
            return len(self._in_flight) < settings.KEYPORTAL_ARGON2_PERMITS

    def matched(self, text: str) -> _Claim | None:
        text_mac = self.mac(text)
        with self._lock:
            return self._matches.get(text_mac)

    def recall(self, claim: _Claim) -> Check | None:
        with self._lock:
            return self._recall(claim)

    def _recall(self, claim: _Claim) -> Check | None:
        if self._matches.get(claim.text_mac) == claim:
            return Check.MATCH
        return Check.MISMATCH if self._mismatches.get(claim.text_mac) == claim else None

    def decide(self, claim: _Claim, text: str, digest: str) -> Check:
        """Join the run for this claim, or begin it; FULL if as many as may wait are waiting."""
        with self._lock:
            # Asked again under the lock: the run may have ended since, and must not be repeated.
            if known := self._recall(claim):
                return known
            run = self._in_flight.get(claim) or self._begin(claim, text, digest)
        if run is None:
            return Check.FULL
        # A run nobody waits for any more is carried out all the same: the retry after BUSY finds its verdict.
        return run.outcome(settings.KEYPORTAL_ARGON2_WAIT_MS / 1000)

    def _begin(self, claim: _Claim, text: str, digest: str) -> _Run | None:
        """Queue a run, if the queue has room. The caller holds the lock."""
        if len(self._in_flight) >= settings.KEYPORTAL_ARGON2_PERMITS + settings.KEYPORTAL_ARGON2_QUEUE:
            return None
        run = _Run()
        if len(self._in_flight) < settings.KEYPORTAL_ARGON2_PERMITS:
            # A thread is free, and only the processor may let it wait: there is nothing to give up for.
            run.started.set()
        self._in_flight[claim] = run
        metrics.ARGON2_QUEUE.set(len(self._in_flight))
        try:
            self._threads().submit(self._carry_out, run, claim, text, digest)
        except Exception as error:  # noqa: BLE001 - no thread to be had; nobody may wait for this run for ever
            _log_failure(error)
            self._end(run, claim)
        return run

    def _carry_out(self, run: _Run, claim: _Claim, text: str, digest: str) -> None:
        run.started.set()
        try:
            run.verdict = _verify(text, digest)
        finally:
            with self._lock:
                self.runs += 1
                metrics.ARGON2_RUNS.inc()
                self._remember(claim, run.verdict)
                self._end(run, claim)

    def _remember(self, claim: _Claim, verdict: Check) -> None:
        if verdict is Check.MATCH:
            self._matches[claim.text_mac] = claim
        elif verdict is Check.MISMATCH:
            self._mismatches[claim.text_mac] = claim

    def _end(self, run: _Run, claim: _Claim) -> None:
        """Take a run off the table and let go of all who wait for it. The caller holds the lock."""
        # A run given up as unstartable may still come round, and must leave its successor's place alone.
        if self._in_flight.get(claim) is run:
            del self._in_flight[claim]
            metrics.ARGON2_QUEUE.set(len(self._in_flight))
        run.started.set()
        run.finished.set()

    def digest(self, text: str) -> str:
        with self._lock:
            threads = self._threads()
        return threads.submit(_digest, text).result()

    def _threads(self) -> ThreadPoolExecutor:
        """Return the executor, made on first use and so after any fork. The caller holds the lock."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(settings.KEYPORTAL_ARGON2_PERMITS, thread_name_prefix="argon2")
        return self._executor


_process = _Process()


def make_digest(text: str) -> str:
    """Return a new digest of a key, with the cost from settings and a random salt.

    Takes tens of milliseconds, and waits for a thread as long as it must: call it before a transaction, not
    in one.

    :raises HashingUnavailable: if argon2 cannot run now.
    """
    try:
        return _process.digest(text)
    except (HashingError, MemoryError, RuntimeError) as error:  # RuntimeError: no thread to be had
        raise HashingUnavailable("argon2 cannot run now, for want of memory or threads") from error


def check(text: str, *, key_id: UUID, digest: str, prefix: str = "") -> Check:
    """Return whether the text is the key of this row, from memory or by argon2.

    Never raises for bad input. Only MATCH and MISMATCH say anything about the text; on all others the caller must
    neither let it in nor call it wrong.
    """
    process = _process
    claim = _Claim(process.mac(text), key_id, digest_fingerprint(digest), prefix)
    if known := process.recall(claim):
        _hits[known].inc()
        return known
    if not _may_run(digest):
        return Check.UNDECIDABLE
    return process.decide(claim, text, digest)


def remember(text: str, *, key_id: UUID, digest: str, prefix: str) -> None:
    """Prime the memory with a key that was just issued, so that its first use here costs no argon2."""
    process = _process
    process.remember_match(_Claim(process.mac(text), key_id, digest_fingerprint(digest), prefix))


def forget(text: str) -> None:
    """Forget that a text ever matched, because it does so no longer."""
    _process.forget_match(text)


def is_idle() -> bool:
    """Return whether argon2 could run at once."""
    return _process.is_idle()


def spend(text: str) -> None:
    """Take as long over a text that no key has as over one with a wrong secret, and remember it as long."""
    check(text, key_id=_NOBODY, digest=_process.dummy_digest)


def is_known(text: str) -> bool:
    """Return whether this process saw the text match some digest; says nothing of the one stored now."""
    return _process.matched(text) is not None


def known_prefix(text: str) -> str | None:
    """Return the prefix with which this process saw the text match: then its form need not be looked at again."""
    claim = _process.matched(text)
    return claim.prefix if claim else None


def mac(text: str) -> bytes:
    """Return what stands for a text in this process's memory, and nowhere else."""
    return _process.mac(text)


@lru_cache(1024)
def digest_fingerprint(digest: str) -> bytes:
    """Return 32 bytes that stand for one stored digest, salt included."""
    return hashlib.sha256(_encoded(digest)).digest()


def needs_rehash(digest: str) -> bool:
    """Return whether a digest costs less than settings ask for, in any parameter; no, if it is unreadable.

    One that another package made is always replaced.
    """
    cost = _cost_of(digest)
    if cost is None:
        return is_foreign(digest)
    return any(have < want for have, want in zip(cost, _wanted(), strict=True))


def is_foreign(digest: str) -> bool:
    """Return whether a digest is one that another package made, and that can be checked here."""
    return digests.matcher(digest) is not None


def runs() -> int:
    """Return how many texts this process has put to argon2. Digests made are not counted."""
    return _process.runs


def forget_all() -> None:
    """Begin anew: a new random key, empty memory, new threads. For forked children, and for tests."""
    global _process  # noqa: PLW0603 - one value for the whole process is the point
    _process = _Process()


def _encoded(text: str) -> bytes:
    # A lone surrogate must not raise here; such a text is refused by its format, or matches nothing.
    return text.encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode("ascii")


def _wanted() -> _Cost:
    return _Cost(**settings.KEYPORTAL_ARGON2)


@lru_cache(1024)
def _cost_of(digest: str) -> _Cost | None:
    """Return the parameters written in a digest, or None if it is none of ours."""
    match = _DIGEST.fullmatch(digest)
    return _Cost(*map(int, match.groups())) if match else None


def _may_run(digest: str) -> bool:
    """Return whether a stored digest can be checked and is within the cap, so that a forged row cannot stop a host.

    What settings themselves ask for is always within it.
    """
    cost = _cost_of(digest)
    if cost is None:
        return is_foreign(digest)
    return all(have <= max(cap, want) for have, cap, want in zip(cost, _CAP, _wanted(), strict=True))


def _digest(text: str) -> str:
    cost, salt = _wanted(), secrets.token_bytes(SALT_BYTES)
    return hash_secret(_encoded(text), salt, cost.time, cost.memory_kib, cost.parallelism, TAG_BYTES, Type.ID).decode(
        "ascii"
    )


def _verify(text: str, digest: str) -> Check:
    """Run argon2, or what made the digest. Whatever goes wrong in it, memory included, is no verdict."""
    try:
        if has_digest := digests.matcher(digest):
            if has_digest(_encoded(text)):
                return Check.MATCH
            # A plain hash is over at once: that would tell which prefixes some key has.
            digest = _process.dummy_digest
        verify_secret(digest.encode("ascii"), _encoded(text), Type.ID)
    except VerifyMismatchError:
        return Check.MISMATCH
    except Exception as error:  # noqa: BLE001 - a waiting request needs an answer, not another thread's exception
        _log_failure(error)
        return Check.UNDECIDABLE
    return Check.MATCH


def _log_failure(error: Exception) -> None:
    # The name alone: a traceback's frames hold the key's text, and some log processors print them.
    logger.error("argon2 failed: %s", type(error).__name__)


os.register_at_fork(after_in_child=forget_all)
