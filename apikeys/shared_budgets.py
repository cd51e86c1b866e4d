"""Failure budgets that all processes and hosts share, where Redis is configured.

No request waits for Redis: a failure is charged in this process at once and told to Redis a moment later, by a
thread of its own, and the answer says what all have counted. So a source that has spent its budget anywhere is known
wherever it fails once more. A Redis that is gone, slow or talks rubbish is left alone for a while; meanwhile each
process goes by its own count, which Redis' never replaces but only raises.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Hashable
from threading import Event, Lock, Thread
from typing import Any

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apikeys import budgets

TIMEOUT_SECONDS = 0.05
# How long failures gather before they are told, so that a flood is told in few words.
GATHER_SECONDS = 0.02
REST_SECONDS = 5.0
MAX_GATHERED = 10_000
AT_ONCE = 500
WINDOW_MS = int(budgets.WINDOW_SECONDS * 1000)

log = structlog.get_logger("apikeys.shared_budgets")
Subject = tuple[str, Hashable]


class Share:
    """What this process tells Redis and learns from it. A forked child starts anew, with a thread of its own."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._clock = clock
        self._rests_until = 0.0
        self._is_away = False
        self._wake = Event()
        self._lock = Lock()  # guards the next two
        self._gathered: Counter[Subject] = Counter()
        self._thread: Thread | None = None

    def tell(self, budget: str, subject: Hashable) -> None:
        """Have a failure told soon. It is counted in this process already, so what finds no room is no loss there."""
        with self._lock:
            if (budget, subject) in self._gathered or len(self._gathered) < MAX_GATHERED:
                self._gathered[budget, subject] += 1
            if self._thread is None:
                self._thread = self._begin()
        self._wake.set()

    def _begin(self) -> Thread | None:
        """Start the thread; where there is none to be had, the next failure tries again."""
        thread = Thread(target=self._run, name="budgets", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("budgets.no_thread", reason=str(error))  # noqa: TRY400 - the sentence says it all
            return None
        return thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(GATHER_SECONDS)
            self.exchange()

    def exchange(self) -> None:
        """Tell what has gathered and learn what all have counted, unless Redis is being left alone."""
        with self._lock:
            gathered, self._gathered = self._gathered, Counter()
        told = list(gathered.items())
        if self._clock() < self._rests_until:
            return
        try:
            for start in range(0, len(told), AT_ONCE):
                self._exchange(told[start : start + AT_ONCE])
        except Exception as error:  # noqa: BLE001 - whatever Redis does, verification goes on by this process' count
            self._rest(error)
        else:
            if self._is_away:
                log.info("budgets.shared_again")
            self._is_away = False

    def _exchange(self, told: list[tuple[Subject, int]]) -> None:
        names = [_name(*subject) for subject, _ in told]
        with self._client.pipeline(transaction=False) as commands:
            for name, (_, failures) in zip(names, told, strict=True):
                commands.incrby(name, failures)
                commands.pttl(name)
            answers: list[Any] = commands.execute(raise_on_error=False)
            for name, (subject, _), total, left in zip(names, told, answers[::2], answers[1::2], strict=True):
                if not (isinstance(total, int) and isinstance(left, int)):
                    # Somebody put something else there.
                    commands.delete(name)
                    continue
                if not 0 <= left <= WINDOW_MS:
                    commands.pexpire(name, WINDOW_MS)
                seconds_left = left / 1000 if 0 <= left <= WINDOW_MS else budgets.WINDOW_SECONDS
                budgets.current().learn(*subject, failures=total, seconds_left=seconds_left)
            commands.execute()

    def _rest(self, error: Exception) -> None:
        self._rests_until = self._clock() + REST_SECONDS
        if not self._is_away:
            # Its name alone: the text may repeat the address, and with it a password.
            log.warning("budgets.not_shared", reason=type(error).__name__)
        self._is_away = True
        self._client.close()


def _name(budget: str, subject: Hashable) -> str:
    """Return the name of a counter, which tells whoever reads Redis no address and no prefix."""
    key = hashlib.sha256(settings.SECRET_KEY.encode()).digest()
    mac = hashlib.blake2b(repr(subject).encode("utf-8", "surrogatepass"), key=key, digest_size=16)
    return f"keyportal:failures:{budget}:{mac.hexdigest()}"


_share: Share | None = None


def start() -> None:
    """Share the failures of this process and of those it forks, if there is a Redis to share them through."""
    global _share  # noqa: PLW0603 - one value for the whole process is the point
    if settings.REDIS_URL:
        _share = Share(settings.REDIS_URL)
        budgets.listen(_tell)


def _tell(budget: str, subject: Hashable) -> None:
    if _share:
        _share.tell(budget, subject)


def _start_anew() -> None:
    if _share:
        start()


os.register_at_fork(after_in_child=_start_anew)
