"""How many requests a key may make, where it was given limits; most have none, and cost nothing here.

Requests per second and per minute are a leaky bucket each (the generic cell rate algorithm, ITU-T I.371 Annex A):
after a pause as long as the window, all of it may come at once; from then on each request makes room again after its
share of the window. The day is a plain count, anew at midnight UTC. A request is charged to all of them or, if one is
spent, to none: who is refused loses nothing by it, and waits no longer for having asked.

All is counted in whole requests and microseconds, so nothing is rounded. A limit keeps a client within what was agreed;
it is no security boundary, and whatever goes wrong with counting refuses nobody.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import NamedTuple, Protocol
from uuid import UUID

SECOND = 1_000_000  # in microseconds, as all times here
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
MAX_LIMIT = 1_000_000
# Keys that this process remembers, about 400 bytes each. Who comes when all are taken has the one that was used least
# lately forgotten, which then begins anew.
MAX_RECORDS = 20_000
OUT_OF_RANGE = f"Give a whole number from 1 to {MAX_LIMIT:,}."
RATE_LIMITED, QUOTA_EXCEEDED = "rate_limited", "quota_exceeded"


class InvalidLimits(ValueError):
    """Limits that nobody can mean; `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


class Limits(NamedTuple):
    """Requests that a key may make in a second, in a minute and in a day (UTC); None is as many as it likes."""

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None

    def covers(self, other: "Limits | None") -> bool:
        """Say whether other limits allow no more than these, window by window."""
        wanted = other or Limits()
        return all(own is None or (asked is not None and asked <= own) for own, asked in zip(self, wanted, strict=True))


def checked(per_second: int | None, per_minute: int | None, per_day: int | None) -> Limits | None:
    """Return limits as someone asks for them; None if they ask for none.

    :raises InvalidLimits: if one is out of range, or a longer time allows less than a shorter one.
    """
    limits = Limits(per_second, per_minute, per_day)
    least = 1
    for name, limit in limits._asdict().items():
        if limit is None:
            continue
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidLimits(name, OUT_OF_RANGE)
        if limit < least:
            raise InvalidLimits(name, f"Give at least {least:,}: a shorter time allows that many already.")
        least = limit
    return limits if any(limits) else None


def of_row(per_second: int | None, per_minute: int | None, per_day: int | None) -> Limits | None:
    """Return the limits of a stored key; None, which is quick to ask for, if it has none."""
    return Limits(per_second, per_minute, per_day) if per_second or per_minute or per_day else None


class Usage(NamedTuple):
    """What a key has used at a time. The buckets are full at limit times window, and each request fills one window."""

    at: int = 0
    second: int = 0
    minute: int = 0
    day: int = 0  # days since 1970
    today: int = 0

    def seen_at(self, now: int, limits: Limits) -> "Usage":
        """Return what of it still counts later on; also if the clock went back, a window is the longest it counts."""
        if self.at > now + MINUTE:
            second = minute = 0
        else:
            # Threads read the clock before they get here, so one may come a little late.
            now = max(now, self.at)
            second = _left(self.second, now - self.at, limits.per_second, SECOND)
            minute = _left(self.minute, now - self.at, limits.per_minute, MINUTE)
        day = now // DAY
        return Usage(now, second, minute, day, min(self.today, limits.per_day or 0) if day == self.day else 0)

    def charged(self, limits: Limits) -> "Usage | None":
        """Return it with one more request, or None if that is one too many."""
        if _spent(self, limits):
            return None
        return self._replace(
            second=self.second + SECOND if limits.per_second else 0,
            minute=self.minute + MINUTE if limits.per_minute else 0,
            today=self.today + 1 if limits.per_day else 0,
        )

    def is_over(self, now: int) -> bool:
        """Say whether nothing of it counts any more, whatever the limits."""
        return not -MINUTE <= now - self.at < MINUTE and (self.today == 0 or self.day != now // DAY)

    def is_possible(self, limits: Limits) -> bool:
        """Say whether requests within limits can have led to it."""
        second, minute = (limits.per_second or 0) * SECOND, (limits.per_minute or 0) * MINUTE
        within = 0 <= self.second <= second and 0 <= self.minute <= minute and 0 <= self.today <= (limits.per_day or 0)
        return within and self.at >= 0 and self.day == self.at // DAY


def _left(filled: int, elapsed: int, limit: int | None, window: int) -> int:
    """Return how full a bucket is after a time; a limit that was lowered since makes it full, and no more than that."""
    return max(min(filled, (limit or 0) * window) - elapsed * (limit or 0), 0)


class Standing(NamedTuple):
    """How a key stands with one of its limits: how many requests it has left, and seconds until there is one more."""

    name: str
    remaining: int
    seconds: int


def _standings(usage: Usage, limits: Limits) -> list[Standing]:
    found = []
    if limits.per_second:
        found.append(_standing("second", usage.second, limits.per_second, SECOND))
    if limits.per_minute:
        found.append(_standing("minute", usage.minute, limits.per_minute, MINUTE))
    if limits.per_day:
        left = DAY - usage.at % DAY
        found.append(Standing("day", max(limits.per_day - usage.today, 0), math.ceil(left / SECOND)))
    return found


def _standing(name: str, filled: int, limit: int, window: int) -> Standing:
    remaining = max(limit * window - filled, 0) // window
    missing = filled - (limit - remaining - 1) * window
    return Standing(name, remaining, max(-(-missing // (limit * SECOND)), 1))


def _spent(usage: Usage, limits: Limits) -> list[Standing]:
    return [standing for standing in _standings(usage, limits) if not standing.remaining]


@dataclass(frozen=True, slots=True)
class LimitState:
    """What became of a request: `code` names the refusal, or is empty; `headers` belong on its answer either way."""

    code: str
    headers: dict[str, str] = field(default_factory=dict)


def state_of(usage: Usage, limits: Limits, *, is_charged: bool) -> LimitState:
    """Say what a key is to be told, after draft-ietf-httpapi-ratelimit-headers-10 and RFC 9110 §10.2.3."""
    standings = _standings(usage, limits)
    told = ", ".join(f'"{name}";r={remaining};t={seconds}' for name, remaining, seconds in standings)
    headers = {"RateLimit-Policy": policy_of(limits), "RateLimit": told}
    if is_charged:
        return LimitState("", headers)
    spent = [standing for standing in standings if not standing.remaining]
    # Who comes back has to find room in all of them.
    headers["Retry-After"] = str(max((standing.seconds for standing in spent), default=1))
    is_over_quota = any(standing.name == "day" for standing in spent)
    return LimitState(QUOTA_EXCEEDED if is_over_quota else RATE_LIMITED, headers)


@lru_cache(maxsize=1024)
def policy_of(limits: Limits) -> str:
    """Return limits as the header `RateLimit-Policy` tells them."""
    windows = (("second", 1), ("minute", 60), ("day", 86_400))
    named = zip(windows, limits, strict=True)
    return ", ".join(f'"{name}";q={limit};w={seconds}' for (name, seconds), limit in named if limit)


class Counts:
    """What one process has counted, by the id of the key, or learned from those it shares with."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._usages: dict[UUID, Usage] = {}  # the one that was charged least lately first
        self._next_clearing_at = 0

    def charge(self, key_id: UUID, limits: Limits, now: int) -> LimitState:
        with self._lock:
            seen = self._usages.get(key_id, Usage()).seen_at(now, limits)
            charged = seen.charged(limits)
            if charged:
                self._keep(key_id, charged, now)
        return state_of(charged or seen, limits, is_charged=charged is not None)

    def learn(self, key_id: UUID, usage: Usage, now: int) -> None:
        """Take over what was counted for all processes, unless something newer is known."""
        with self._lock:
            known = self._usages.get(key_id)
            if known is None or known.at <= usage.at or known.at > now + MINUTE:
                self._keep(key_id, usage, now)

    def known(self, key_id: UUID) -> Usage:
        return self._usages.get(key_id, Usage())

    def __len__(self) -> int:
        return len(self._usages)

    def _keep(self, key_id: UUID, usage: Usage, now: int) -> None:
        """Remember, and forget what does not count any more. The caller holds the lock."""
        self._usages.pop(key_id, None)
        self._usages[key_id] = usage
        if not now < self._next_clearing_at <= now + MINUTE:
            self._next_clearing_at = now + MINUTE
            self._usages = {key: kept for key, kept in self._usages.items() if not kept.is_over(now)}
        if len(self._usages) > MAX_RECORDS:
            del self._usages[next(iter(self._usages))]


class Limited(Protocol):
    """A key that has limits, or none."""

    @property
    def id(self) -> UUID: ...

    @property
    def limits(self) -> Limits | None: ...


# Asks all processes together: a key, its limits and what is known of it here; None if they cannot be asked.
Ask = Callable[[UUID, Limits, Usage], tuple[bool, Usage] | None]

_process = Counts()
_ask: Ask | None = None


def charge(key: Limited, *, at: datetime) -> LimitState | None:
    """Count a request with a key, and say whether it is within its limits; None if it has none.

    Never raises, and takes no longer than `shared_limits` waits for Redis.
    """
    limits = key.limits
    if limits is None:
        return None
    now = (at - EPOCH) // MICROSECOND
    answer = _ask(key.id, limits, _process.known(key.id)) if _ask else None
    if answer is None:
        return _process.charge(key.id, limits, now)
    is_charged, usage = answer
    # So that nobody begins anew when Redis goes away.
    _process.learn(key.id, usage, now)
    return state_of(usage, limits, is_charged=is_charged)


def share(ask: Ask | None) -> None:
    """Have requests counted for all processes together; with None, for this process alone."""
    global _ask  # noqa: PLW0603 - one value for the whole process is the point
    _ask = ask


def current() -> Counts:
    """Return what this process has counted."""
    return _process


def forget_all() -> None:
    """Begin anew, for forked children and for tests."""
    global _process  # noqa: PLW0603 - one value for the whole process is the point
    _process = Counts()


os.register_at_fork(after_in_child=forget_all)
