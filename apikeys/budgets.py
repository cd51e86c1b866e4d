"""How many failures are borne before a request is refused unread: step 3 of the table in the architecture.

Only failures are charged, and only to who failed: to the source, and to the source at one prefix. A prefix is
public, so what is charged to it alone must lock nobody out who has proved the key: that budget does not count for
sources that have, here or, as the records of use tell, anywhere. What was verified in this process is never asked here
at all.

Each budget is a window of a minute that begins with its first failure, on the monotonic clock. Its table is bounded,
and a record leaves it only when its window ends, so that nobody can push out their own; who comes when it is full is
not charged, since so many sources at once are not stopped by counting each.
"""

import ipaddress
import math
import os
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from functools import lru_cache
from threading import Lock

from cachetools import LRUCache
from django.conf import settings

WINDOW_SECONDS = 60.0
MAX_RECORDS = 4_000  # in each table, about 400 bytes each
CLEARING_SECONDS = 1.0  # how often a full table is looked through for windows that have ended
DUMMY_EVERY_SECONDS = 2.0

# What a wrong secret is charged to; a prefix that no key has; and a text that waited for argon2 in vain. That one may
# be good, and is known to be once its run has ended; until then a flood of such texts must not keep argon2 and the
# threads that wait for it busy, and many good keys of one source must not count as a flood.
FAILED = frozenset({"source", "source_and_prefix", "prefix"})
OF_NOBODY = frozenset({"source"})
UNDECIDED = frozenset({"source_and_prefix", "prefix"})


class Budget:
    """Failures in the present window, by subject: a source, a source at a prefix, or a prefix."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._records: dict[Hashable, tuple[int, float]] = {}  # failures, and when the window ends
        self._next_clearing_at = -math.inf

    def seconds_left(self, subject: Hashable, limit: int) -> float:
        """Return for how long a subject has used up its failures; 0 if it has not."""
        with self._lock:
            failures, ends_at = self._record(subject)
            return ends_at - self._clock() if failures >= limit else 0.0

    def charge(self, subject: Hashable, failures: int = 1) -> None:
        with self._lock:
            if self._has_room(subject):
                before, ends_at = self._record(subject)
                self._records[subject] = (before + failures, ends_at)

    def learn(self, subject: Hashable, failures: int, seconds_left: float) -> None:
        """Take over what all processes together have counted, where it is more; no window that runs gets longer."""
        with self._lock:
            if not self._has_room(subject):
                return
            before, ends_at = self._record(subject)
            if failures > before:
                left = min(max(seconds_left, 0.0), WINDOW_SECONDS)
                self._records[subject] = (failures, min(ends_at, self._clock() + left))

    def __len__(self) -> int:
        return len(self._records)

    def _has_room(self, subject: Hashable) -> bool:
        """Say whether a subject can be recorded. The caller holds the lock."""
        if subject in self._records or len(self._records) < MAX_RECORDS:
            return True
        now = self._clock()
        if now < self._next_clearing_at:
            return False
        self._next_clearing_at = now + CLEARING_SECONDS
        self._records = {place: record for place, record in self._records.items() if record[1] > now}
        return len(self._records) < MAX_RECORDS

    def _record(self, subject: Hashable) -> tuple[int, float]:
        """Return a record whose window is running, a new one if need be. The caller holds the lock."""
        now = self._clock()
        record = self._records.get(subject)
        return record if record and record[1] > now else (0, now + WINDOW_SECONDS)


class Budgets:
    """All that one process knows of failures. A forked child starts anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_name = {name: Budget(clock) for name in ("source", "source_and_prefix", "prefix")}
        self._lock = Lock()  # guards what follows
        self._proved: LRUCache[tuple[str, str], bool] = LRUCache(MAX_RECORDS)
        self._next_dummy_at = -math.inf

    def refusal(self, source: str, prefix: str) -> tuple[str, int] | None:
        """Return which budget is used up and for how many seconds, or None if the request may be looked at."""
        for name, subject, limit in self._asked(source, prefix):
            if (left := self._by_name[name].seconds_left(subject, limit)) > 0:
                return name, math.ceil(left)
        return None

    def charge(self, source: str, prefix: str, *, budgets: Collection[str] = FAILED) -> None:
        """Count a failure: of all budgets, or of those that are named."""
        for name, subject, _limit in self._asked(source, prefix):
            if name not in budgets:
                continue
            self._by_name[name].charge(subject)
            if _listener:
                _listener(name, subject)

    def learn(self, budget: str, subject: Hashable, *, failures: int, seconds_left: float) -> None:
        """Take over what all processes together have counted, where it is more."""
        self._by_name[budget].learn(subject, failures, seconds_left)

    def prove(self, source: str, prefix: str) -> None:
        """Remember that a source has shown the key of a prefix."""
        with self._lock:
            self._proved[network(source), prefix] = True

    def may_run_dummy(self) -> bool:
        """Say whether a text of nobody may cost a run of argon2 now, so that refusing it takes as long as any."""
        with self._lock:
            now = self._clock()
            if now < self._next_dummy_at:
                return False
            self._next_dummy_at = now + DUMMY_EVERY_SECONDS
            return True

    def _asked(self, source: str, prefix: str) -> Iterator[tuple[str, Hashable, int]]:
        origin = network(source)
        yield "source", origin, settings.KEYPORTAL_FAILURES_PER_SOURCE
        yield "source_and_prefix", (origin, prefix), settings.KEYPORTAL_FAILURES_PER_SOURCE_AND_PREFIX
        with self._lock:
            is_proved = (origin, prefix) in self._proved
        if not is_proved:
            yield "prefix", prefix, settings.KEYPORTAL_FAILURES_PER_PREFIX


@lru_cache(maxsize=1024)
def network(source: str) -> str:
    """Return what one sender can hardly leave: an IPv4 address, or the /64 of an IPv6 one (RFC 4291 §2.5.4)."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


_process = Budgets()
_listener: Callable[[str, Hashable], None] | None = None


def listen(listener: Callable[[str, Hashable], None] | None) -> None:
    """Have each charge told, by the name of its budget and its subject, to who shares them with other processes."""
    global _listener  # noqa: PLW0603 - one value for the whole process is the point
    _listener = listener


def current() -> Budgets:
    """Return what this process knows of failures."""
    return _process


def forget_all() -> None:
    """Begin anew, for forked children and for tests."""
    global _process  # noqa: PLW0603 - one value for the whole process is the point
    _process = Budgets()


os.register_at_fork(after_in_child=forget_all)
