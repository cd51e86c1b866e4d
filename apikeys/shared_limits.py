"""Limits that all processes and hosts share, where Redis is configured.

Only a request whose key has a limit asks Redis, in one round trip for all its windows, done by a thread of its own
that asks for whoever waits at the same time in one go. It waits for an answer, but not for trouble: a Redis that is
gone, slow or talks rubbish is left alone for a while, and each process goes on with what it knew, counting for itself.
What it counted then is made known when Redis is back, so an emptied Redis opens nothing either.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from uuid import UUID

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, NoScriptError
from redis.retry import Retry

from apikeys import limits
from apikeys.limits import Limits, Usage

TIMEOUT_SECONDS = 0.05
# How long a request waits where no timeout helps: a resolver that hangs, or bytes that come one by one.
WAIT_SECONDS = 0.5
REST_SECONDS = 5.0
AT_ONCE = 100

# The same as `Usage.seen_at` and `Usage.charged`, by the clock of Redis, since those of many hosts differ. What a
# process knows better counts too: Redis may have been away or emptied. Numbers stay below 2^53, so doubles are exact.
_SCRIPT = """
local SECOND, MINUTE, DAY = 1000000, 60000000, 86400000000
local per_second, per_minute, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function parse(text)
  if type(text) ~= 'string' or #text > 100 then return nil end
  local at, second, minute, day, today = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not at then return nil end
  return {at = tonumber(at), second = tonumber(second), minute = tonumber(minute),
          day = tonumber(day), today = tonumber(today)}
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * SECOND + tonumber(time[2])
local stored = parse(redis.pcall('GET', KEYS[1]))
if stored and stored.at > now and stored.at <= now + MINUTE then now = stored.at end
local day = math.floor(now / DAY)
local second, minute, today = 0, 0, 0

local function left(filled, elapsed, limit, window)
  return math.max(math.min(filled, limit * window) - elapsed * limit, 0)
end

local function count(usage)
  if not usage then return end
  if usage.at <= now + MINUTE then
    local elapsed = math.max(now - usage.at, 0)
    second = math.max(second, left(usage.second, elapsed, per_second, SECOND))
    minute = math.max(minute, left(usage.minute, elapsed, per_minute, MINUTE))
  end
  if usage.day == day then today = math.max(today, math.min(usage.today, per_day)) end
end

count(stored)
local in_second, in_minute, in_day = second, minute, today
count(parse(ARGV[4]))
local is_news = second > in_second or minute > in_minute or today > in_day

local fits = (per_second == 0 or second + SECOND <= per_second * SECOND)
  and (per_minute == 0 or minute + MINUTE <= per_minute * MINUTE)
  and (per_day == 0 or today < per_day)
if not fits and not is_news then return {0, now, second, minute, day, today} end

if fits then
  if per_second > 0 then second = second + SECOND end
  if per_minute > 0 then minute = minute + MINUTE end
  if per_day > 0 then today = today + 1 end
end
local lasts = MINUTE
if per_day > 0 then lasts = lasts + (day + 1) * DAY - now end
local text = string.format('%.0f %.0f %.0f %.0f %.0f', now, second, minute, day, today)
redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', math.ceil(lasts / 1000)))
return {fits and 1 or 0, now, second, minute, day, today}
"""
_DIGEST = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

log = structlog.get_logger("apikeys.shared_limits")
Answer = tuple[bool, Usage]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    key_id: UUID
    limits: Limits
    known: Usage
    answer: "SimpleQueue[Answer | None]" = field(default_factory=SimpleQueue)


class Share:
    """What this process asks Redis. A forked child starts anew, with a thread of its own."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._clock = clock
        self._asked: SimpleQueue[_Question] = SimpleQueue()
        self._lock = Lock()  # guards what follows
        self._rests_until = 0.0
        self._is_away = False
        self._is_busy = False
        self._thread: Thread | None = None

    def ask(self, key_id: UUID, key_limits: Limits, known: Usage) -> Answer | None:
        """Count a request of a key for all processes; None if Redis cannot be asked just now."""
        if not self._may_ask():
            return None
        question = _Question(key_id, key_limits, known)
        self._asked.put(question)
        try:
            return question.answer.get(timeout=WAIT_SECONDS)
        except Empty:
            self._rest("TimeoutError")
            return None

    def _may_ask(self) -> bool:
        with self._lock:
            now = self._clock()
            if now < self._rests_until:
                return False
            if self._is_away:
                if self._is_busy:
                    return False  # The thread still waits for what it was told to.
                # One request finds out for all whether it is back.
                self._rests_until = now + REST_SECONDS
            if self._thread is None:
                self._thread = self._begin()
            return self._thread is not None

    def _begin(self) -> Thread | None:
        """Start the thread; where there is none to be had, the next request tries again."""
        thread = Thread(target=self._run, name="limits", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("limits.no_thread", reason=str(error))  # noqa: TRY400 - the sentence says it all
            return None
        return thread

    def _run(self) -> None:
        while True:
            asked = [self._asked.get()]
            while len(asked) < AT_ONCE and not self._asked.empty():
                asked.append(self._asked.get())
            self._is_busy = True
            answers = self._answers(asked)
            self._is_busy = False
            for question, answer in zip(asked, answers, strict=True):
                question.answer.put(answer)

    def _answers(self, asked: Sequence[_Question]) -> Sequence[Answer | None]:
        answers: Sequence[Answer | None]
        try:
            answers = self._exchange(asked)
        except Exception as error:  # noqa: BLE001 - whatever Redis does, requests go on by this process' count
            self._client.close()
            # Its name alone: the text may repeat the address, and with it a password.
            self._rest(type(error).__name__)
            return [None] * len(asked)
        self._is_back()
        return answers

    def _exchange(self, asked: Sequence[_Question]) -> list[Answer]:
        found = self._send(asked)
        if any(isinstance(answer, NoScriptError) for answer in found):
            # Those that ran already are counted once more, which happens once in the life of a Redis.
            self._client.script_load(_SCRIPT)
            found = self._send(asked)
        return [_understood(answer, question.limits) for answer, question in zip(found, asked, strict=True)]

    def _send(self, asked: Sequence[_Question]) -> list[object]:
        with self._client.pipeline(transaction=False) as commands:
            for question in asked:
                allowed = (limit or 0 for limit in question.limits)
                known = " ".join(map(str, question.known))
                commands.evalsha(_DIGEST, 1, name_of(question.key_id), *allowed, known)
            return commands.execute(raise_on_error=False)

    def _rest(self, reason: str) -> None:
        with self._lock:
            self._rests_until = self._clock() + REST_SECONDS
            was_away, self._is_away = self._is_away, True
        if not was_away:
            log.warning("limits.not_shared", reason=reason)

    def _is_back(self) -> None:
        if not self._is_away:
            return
        with self._lock:
            self._rests_until, self._is_away = 0.0, False
        log.info("limits.shared_again")


def name_of(key_id: UUID) -> str:
    """Return the name under which Redis keeps what a key has used."""
    return f"keyportal:limits:{key_id}"


def _understood(answer: object, key_limits: Limits) -> Answer:
    """Return what the script said.

    :raises Exception: if it failed, or something else than a Redis answered.
    """
    if isinstance(answer, Exception):
        raise answer
    if not isinstance(answer, list) or len(answer) != 6 or not all(type(number) is int for number in answer):
        raise InvalidResponse
    usage = Usage(*answer[1:])
    if answer[0] not in {0, 1} or not usage.is_possible(key_limits):
        raise InvalidResponse
    return bool(answer[0]), usage


_share: Share | None = None


def start() -> None:
    """Share the limits of this process and of those it forks, if there is a Redis to share them through."""
    global _share  # noqa: PLW0603 - one value for the whole process is the point
    if settings.REDIS_URL:
        _share = Share(settings.REDIS_URL)
        limits.share(_share.ask)


def _start_anew() -> None:
    if _share:
        start()


os.register_at_fork(after_in_child=_start_anew)
