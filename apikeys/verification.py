"""From a presented text to a verdict: steps 2 to 7 of the table in the architecture.

The row is read on every request, so a revocation, a demotion and an expiry hold on the very next one; the
verified-digest cache only ever says that a text matches a digest.
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from threading import Lock

import structlog
from cachetools import TTLCache
from django.db import Error, InterfaceError, OperationalError, connection

from apikeys import budgets, foreign, hashing, keyformat, presented, shapes
from apikeys.models import ApiKey
from apikeys.presented import PresentedKey
from audit.models import KeyUse
from audit.uses import plain_address
from keyportal import metrics

AT_ONCE_SECONDS = 0.5
log = structlog.get_logger("apikeys.verification")


class Outcome(StrEnum):
    """How a verification ended; every value but `accepted` is the code of a problem."""

    ACCEPTED = "accepted"
    INVALID_KEY = "invalid_key"
    TOO_MANY_FAILURES = "too_many_failures"
    KEY_REVOKED = "key_revoked"
    KEY_RETIRED = "key_retired"
    KEY_EXPIRED = "key_expired"
    KEY_DISABLED = "key_disabled"
    ISSUER_GONE = "issuer_gone"
    SERVICE_ACCOUNT_STOPPED = "service_account_stopped"
    ORGANIZATION_SUSPENDED = "organization_suspended"
    NETWORK_NOT_ALLOWED = "network_not_allowed"
    PROJECT_ARCHIVED = "project_archived"
    TEAM_ARCHIVED = "team_archived"
    ENVIRONMENT_NOT_ACCEPTED = "environment_not_accepted"
    UNAVAILABLE = "verification_unavailable"


@dataclass(frozen=True, slots=True)
class Verification:
    """A verdict. `key` is there once the secret was right; `prefix` once the text had the form of a key."""

    outcome: Outcome
    prefix: str = ""
    key: PresentedKey | None = None
    retry_after: int = 0  # seconds, with `too_many_failures`


def verify(text: str, *, at: datetime, source: str = "", is_use: bool = True) -> Verification:
    """Return what a presented text is worth at a moment. A refusal is a value; nothing here raises for bad input.

    :param source: the address it came from, to which a failure is charged.
    :param is_use: whether a key that is good is let in by this alone. Who may refuse it yet says no, and has its first
        use noted by `note_first_use` once it is let in.
    """
    verification = _verify(text, at=at, source=source)
    if is_use and verification.outcome is Outcome.ACCEPTED:
        verification = note_first_use(text, verification, at=at, source=source)
    _counters[verification.outcome].inc()
    return verification


_counters = {outcome: metrics.VERIFICATIONS.labels(outcome.value) for outcome in Outcome}


def _verify(text: str, *, at: datetime, source: str) -> Verification:
    prefix = hashing.known_prefix(text)
    if prefix is None:
        try:
            prefix = keyformat.parse(text, shapes.accepted()).prefix
        except keyformat.MalformedKey:
            return _verify_foreign(text, at, source)
        if refusal := _refusal(source, prefix):
            return _refused(prefix, *refusal)
    return _verify_at(text, prefix, at, source)


def _refused(prefix: str, budget: str, seconds: int) -> Verification:
    metrics.LIMITER_REFUSALS.labels(budget).inc()
    return Verification(Outcome.TOO_MANY_FAILURES, prefix, retry_after=seconds)


def _verify_foreign(text: str, at: datetime, source: str) -> Verification:
    """Return what a text is worth that is none of our keys: it may be one that was imported, in its old form.

    Until there is a row for it, nothing of the text is told to anyone: what is no key here may be a secret elsewhere.
    """
    try:
        prefixes = foreign.candidates(text)
        if refusal := next(filter(None, (_refusal(source, prefix) for prefix in prefixes)), None):
            return _refused("", *refusal)
        prefix = foreign.prefix_among(prefixes)
    except Error as error:
        _say_once("verification.database_failed", prefix="", reason=type(error).__name__)
        return Verification(Outcome.UNAVAILABLE)
    if prefix:
        return _verify_at(text, prefix, at, source)
    return _of_nobody(text, "", source) if prefixes else Verification(Outcome.INVALID_KEY)


def _verify_at(text: str, prefix: str, at: datetime, source: str) -> Verification:
    """Return what a text is worth against the row that its prefix names."""
    if revoked := _revoked.get(text):
        return Verification(Outcome.KEY_REVOKED, prefix, revoked)
    try:
        found = _read(prefix, at)
    except Error as error:
        _say_once("verification.database_failed", prefix=prefix, reason=type(error).__name__)
        return Verification(Outcome.UNAVAILABLE, prefix)
    if found is None:
        return _of_nobody(text, prefix, source)
    key, now = found
    match hashing.check(text, key_id=key.id, digest=key.digest, prefix=prefix):
        case hashing.Check.MATCH:
            budgets.current().prove(source, prefix)
            if key.is_cheap and hashing.is_idle():
                _upgrade_digest(text, key)
            return _of_its_holder(text, key, prefix, source, now)
        case hashing.Check.MISMATCH:
            hashing.forget(text)
            budgets.current().charge(source, prefix)
            return Verification(Outcome.INVALID_KEY, prefix)
        case hashing.Check.BUSY:
            budgets.current().charge(source, prefix, budgets=budgets.UNDECIDED)
            return Verification(Outcome.UNAVAILABLE, prefix)
        case hashing.Check.FULL:
            return Verification(Outcome.UNAVAILABLE, prefix)
        case _:
            # Its digest is corrupt, or argon2 fails: something that an operator has to mend.
            _say_once("verification.undecidable", prefix=prefix)
            return Verification(Outcome.UNAVAILABLE, prefix)


def _refusal(source: str, prefix: str) -> tuple[str, int] | None:
    """Return the budget that is used up and for how many seconds, if one is.

    That of a prefix counts for no source that has shown its key before, though it was to another process: the records
    of use tell, and are asked once a minute.
    """
    refusal = budgets.current().refusal(source, prefix)
    if refusal is None or refusal[0] != "prefix" or not _records_asked.is_due(prefix):
        return refusal
    try:
        addresses = KeyUse.objects.addresses_let_in(prefix)
    except Error as error:
        _say_once("verification.records_failed", prefix=prefix, reason=type(error).__name__)
        return refusal
    for address in addresses:
        budgets.current().prove(address, prefix)
    return budgets.current().refusal(source, prefix)


class _OnceAMinute:
    """What was done within the last minute, by name."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._done: TTLCache[str, bool] = TTLCache(1000, 60)

    def is_due(self, name: str) -> bool:
        with self._lock:
            if name in self._done:
                return False
            self._done[name] = True
            return True

    def forget_all(self) -> None:
        with self._lock:
            self._done.clear()


_records_asked = _OnceAMinute()
_said = _OnceAMinute()


def _say_once(event: str, *, prefix: str, **facts: str) -> None:
    """Log what an operator has to mend, once a minute for a key: each request has its own line besides."""
    if _said.is_due(f"{event} {prefix}"):
        log.error(event, prefix=prefix, **facts)


def _of_nobody(text: str, prefix: str, source: str) -> Verification:
    """Refuse an unknown prefix: at the rate of who looks for one patiently, it takes as long as a wrong secret."""
    hashing.forget(text)
    budgets.current().charge(source, prefix, budgets=budgets.OF_NOBODY)
    if budgets.current().may_run_dummy():
        hashing.spend(text)
    return Verification(Outcome.INVALID_KEY, prefix)


def _of_its_holder(text: str, key: PresentedKey, prefix: str, source: str, at: datetime) -> Verification:
    outcome = _state(key, source, at)
    if outcome is Outcome.KEY_REVOKED:
        _revoked.remember(text, key, at)
    return Verification(outcome, prefix, key)


def note_first_use(text: str, accepted: Verification, *, at: datetime, source: str) -> Verification:
    """Note at once that a successor is in use, so that no retry of its rotation replaces its secret any more.

    Where that cannot be noted, the key is not let in: who believed it works would be locked out by such a retry.

    :param accepted: the verdict on the text; that on any key but an unused successor is returned as it is.
    """
    key, prefix = accepted.key, accepted.prefix
    if key is None or not key.is_unused_successor:
        return accepted
    try:
        is_still_it = ApiKey.objects.mark_first_use(key.id, prefix=prefix, at=at, address=plain_address(source))
    except Error as error:
        _say_once("verification.first_use_not_noted", prefix=key.label, reason=type(error).__name__)
        return replace(accepted, outcome=Outcome.UNAVAILABLE)
    if is_still_it:
        return accepted
    # It was replaced by another text since it was read.
    hashing.forget(text)
    return Verification(Outcome.INVALID_KEY, prefix)


class _Revoked:
    """Keys that were seen revoked, for a minute: it is final, so a client that goes on with one costs no query."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: TTLCache[bytes, PresentedKey] = TTLCache(1000, hashing.MISMATCH_SECONDS)
        self._is_empty = True  # so that good keys need not ask

    def get(self, text: str) -> PresentedKey | None:
        if self._is_empty:
            return None
        with self._lock:
            found = self._keys.get(hashing.mac(text))
            self._is_empty = not self._keys
            return found

    def remember(self, text: str, key: PresentedKey, at: datetime) -> None:
        with self._lock:
            # Who meets it here again need not note again that it came back.
            self._keys[hashing.mac(text)] = key if key.reappeared_at else replace(key, reappeared_at=at)
            self._is_empty = False

    def forget_all(self) -> None:
        with self._lock:
            self._keys.clear()


_revoked = _Revoked()


def forget_all() -> None:
    """Begin anew, for tests."""
    for memory in (_revoked, _records_asked, _said):
        memory.forget_all()


def _read(prefix: str, at: datetime) -> tuple[PresentedKey, datetime] | None:
    """Read the key; a connection that was dropped while idle costs one more try, and no probe before each read."""
    started = time.monotonic()
    try:
        return presented.read(prefix, at=at)
    except (OperationalError, InterfaceError):
        # A dropped connection is noticed at once. Who has waited for a silent server does not wait again.
        if connection.in_atomic_block or time.monotonic() - started > AT_ONCE_SECONDS:
            raise
        connection.close()
        return presented.read(prefix, at=at)


def _state(key: PresentedKey, source: str, at: datetime) -> Outcome:
    """Return why a key whose secret is right is refused, if it is; asked only then, so that strangers learn nothing."""
    if key.is_revoked:
        return Outcome.KEY_REVOKED
    if key.ends_at and key.ends_at <= at:
        return Outcome.KEY_RETIRED if key.retires_at == key.ends_at else Outcome.KEY_EXPIRED
    if obstacle := _obstacle(key):
        return obstacle
    if key.is_bound_to_networks and not key.may_come_from(source, at):
        return Outcome.NETWORK_NOT_ALLOWED
    return Outcome.ACCEPTED


@lru_cache(presented.MAX_REMEMBERED)
def _obstacle(key: PresentedKey) -> Outcome | None:
    """Return what keeps a key from being let in, beside its end and where it comes from; the same for the same row."""
    found = (
        (Outcome.KEY_DISABLED, key.is_disabled),
        (Outcome.SERVICE_ACCOUNT_STOPPED, key.is_service_account_stopped),
        (Outcome.ISSUER_GONE, key.is_issuer_gone),
        (Outcome.ORGANIZATION_SUSPENDED, key.is_organization_suspended),
        (Outcome.PROJECT_ARCHIVED, key.is_project_archived),
        (Outcome.TEAM_ARCHIVED, key.is_team_archived),
        (Outcome.ENVIRONMENT_NOT_ACCEPTED, not key.is_environment_accepted),
    )
    return next((outcome for outcome, holds in found if holds), None)


def _upgrade_digest(text: str, key: PresentedKey) -> None:
    """Store a costlier digest; the request goes on, whether that works or not."""
    try:
        new = hashing.make_digest(text)
        ApiKey.objects.upgrade_digest(key.id, old=key.digest, new=new)
    except (hashing.HashingUnavailable, Error):
        log.exception("verification.upgrade_failed", label=key.label)
