"""Rotation: a key gets a successor, and goes on working until that one is seen to work, or for a time.

What must never happen is that a client is left with nothing that works. So the successor's secret can be had again for
as long as nobody has used it, and never once somebody has; and the old key ends early only where someone wants that.
Keys are locked from the old to the new, and what settles a rotation locks the old one alone, so nobody waits in a ring.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID, uuid5

from django.db import transaction

from accounts.principals import Principal
from apikeys import hashing, keyformat, notices, shapes
from apikeys.actions.authority import check_rotation, check_successor_scope, may_revoke
from apikeys.actions.conformity import check_policy, longest_end
from apikeys.actions.refusals import (
    ExtensionNotPossible,
    KeyAlreadyIssued,
    KeyNotActive,
    NotRotating,
    RotationNotAllowed,
    SuccessorInUse,
)
from apikeys.keyformat import Key
from apikeys.limits import Limits
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.networks import is_within
from apikeys.permissions import ALL
from apikeys.rules import Rules, is_issuer_gone, rules_of

Reason = Literal["routine", "leaked"]
SETTLE_SECONDS = 3600
MAX_SETTLE_SECONDS = 30 * 86_400
DEADLINE = timedelta(days=7)
LEAST_DEADLINE, MAX_DEADLINE = timedelta(minutes=1), timedelta(days=30)
MAX_LIFETIME = timedelta(days=1825)
# What the record says of a key that was ended because it leaked.
LEAKED = "It leaked. Its successor takes its place."
# And of a successor that could do more than the key it was to replace, or acted for someone else.
OUTGROWN = "Nobody had used it, and the key it was to replace has changed since. Another takes its place."
_ENDED = {"revoked", "retired", "expired"}


class Rotated(NamedTuple):
    """A successor and its key, which is never stored; `is_new` is False where only its secret was replaced."""

    successor: ApiKey
    key: Key
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was asked for, and by whom."""

    principal: Principal
    at: datetime
    is_leak: bool
    settle_seconds: int
    deadline: timedelta
    issue_id: UUID | None
    is_form: bool


@dataclass(frozen=True, slots=True)
class _Case:
    """What there is to rotate, once it is known that it may be."""

    old: ApiKey
    unused: ApiKey | None  # the successor whose secret is to be replaced
    ended: ApiKey | None  # the one that makes room for another
    wanted: ApiKey  # what a new one would be, without its secret


class _Minted(NamedTuple):
    key: Key
    digest: str


def rotate_key(
    *,
    principal: Principal,
    api_key: ApiKey,
    at: datetime,
    reason: Reason = "routine",
    settle_seconds: int = SETTLE_SECONDS,
    deadline: timedelta = DEADLINE,
    idempotency_key: str | None = None,
    form_id: UUID | None = None,
) -> Rotated:
    """Give a key its successor, which has the same name, place, permissions and limits, and another secret.

    One key has one successor: asked again, this replaces the secret of one that was never used; if that one could do
    more than the key can now, it is revoked and another made. Not atomic as a whole, because argon2 must not run while
    a transaction is open: all that is written is.

    :param reason: `routine` lets the key work on for a time, `leaked` ends it now.
    :param settle_seconds: how long it goes on once its successor was used.
    :param deadline: how long it goes on at most; counted anew where only a secret is replaced, but no longer than 30
        days after the rotation was begun.
    :param idempotency_key: names a request that may come again because its answer was lost; without it, nobody gets
        another secret for the successor of a leaked key.
    :param form_id: names a form, so that one sent twice never shows a key that is replaced already.
    :raises RotationNotAllowed: if the caller may not rotate this key.
    :raises PermissionNotGrantable: if the caller would hold more than it may grant; and so on, as `issue_key`.
    :raises ScopeNotAllowed: if whoever stands behind a new successor may not issue keys of its scope any more.
    :raises PolicyForbids: if the organization's policy allows no new key like it.
    :raises KeyNotActive: if the key has ended or is disabled, or its successor is disabled.
    :raises SuccessorInUse: if its successor was used, so that replacing the secret would lock someone out.
    :raises KeyAlreadyIssued: if this form has had its answer.
    """
    name = str(form_id) if form_id else idempotency_key
    wish = _Wish(
        principal=principal,
        at=at,
        is_leak=reason == "leaked",
        settle_seconds=settle_seconds,
        deadline=deadline,
        # Within the name space of the key: the same name for another key is another request.
        issue_id=uuid5(api_key.pk, name) if name else None,
        is_form=form_id is not None,
    )
    # First without a lock, so that nobody who is refused costs a run of argon2.
    _checked(ApiKey.objects.all(), api_key.pk, wish)
    minted = _mint(api_key)
    with transaction.atomic():
        # No successor slips by a policy that is changed meanwhile; whoever changes one locks in this order too.
        rules_of(api_key.organization_id, is_locked=True)
        case = _checked(ApiKey.objects.select_for_update(of=("self",)), api_key.pk, wish)
        _end_or_retire(case, wish)
        successor = _replaced(case.unused, minted, wish) if case.unused else _new(case, minted, wish)
        is_new = case.unused is None
        notices.key_rotated(case.old, successor, principal, is_leak=wish.is_leak, is_new=is_new, at=at)
    hashing.remember(minted.key.reveal(), key_id=successor.pk, digest=successor.digest, prefix=successor.prefix)
    return Rotated(successor, minted.key, is_new=is_new)


def _mint(api_key: ApiKey) -> _Minted:
    label = shapes.kind_label(api_key.kind, api_key.scope)
    key = keyformat.mint(shapes.current(), kind_label=label, environment=api_key.environment)
    return _Minted(key, hashing.make_digest(key.reveal()))


def _checked(keys: ApiKeyQuerySet, key_id: UUID, wish: _Wish) -> _Case:
    """Return what is to be rotated.

    :raises Refused: if it cannot be, or not by this caller.
    """
    old = keys.with_places().with_roles().get(pk=key_id)
    successor = keys.filter(predecessor=old).first()
    rules = rules_of(old.organization_id)
    # Of two requests at once, the one that is served later may have come first: what the other made is no longer life.
    made_at = max(wish.at, successor.created_at) if successor else wish.at
    wanted = _wanted(old, rules, wish, made_at)
    check_rotation(
        wish.principal,
        old,
        rules,
        permissions=wanted.permissions,
        expires_at=wanted.expires_at,
        is_leak=wish.is_leak,
    )
    is_replaceable = _is_replaceable(old, successor, wish)
    if successor and is_replaceable and _is_covered(successor, wanted):
        return _Case(old, successor, None, wanted)
    check_successor_scope(wish.principal, old, rules)
    # A successor that could not be used where the old key is would let that one retire with nothing in its place.
    check_policy(
        rules,
        permissions=wanted.permissions,
        expires_at=wanted.expires_at,
        created_at=made_at,
        networks=wanted.networks,
    )
    return _Case(old, None, successor, wanted)


def _wanted(old: ApiKey, rules: Rules, wish: _Wish, made_at: datetime) -> ApiKey:
    """Return what a new successor would be now, without a secret and not saved."""
    is_publishable = old.kind == ApiKey.Kind.PUBLISHABLE
    return ApiKey(
        name=old.name,
        kind=old.kind,
        scope=old.scope,
        environment=old.environment,
        permissions=sorted(rules.catalogue.publishable) if is_publishable else old.permissions,
        organization_id=old.organization_id,
        team=old.team,
        project=old.project,
        issuer_id=wish.principal.user_id if is_issuer_gone(old) else old.issuer_id,
        service_account=old.service_account,
        allowed_origins=old.allowed_origins,
        networks=old.networks,
        per_second=old.per_second,
        per_minute=old.per_minute,
        per_day=old.per_day,
        created_at=made_at,
        expires_at=_ends_at(old, rules, made_at),
    )


def _is_covered(successor: ApiKey, wanted: ApiKey) -> bool:
    """Say whether a successor acts for whom a new one would, and can do no more: not from elsewhere, longer or oftener.

    The old key may have been narrowed or handed over since the successor was made, which follows neither.
    """
    acts_for_the_same = (successor.issuer_id, successor.service_account_id) == (
        wanted.issuer_id,
        wanted.service_account_id,
    )
    return (
        acts_for_the_same
        and (ALL in wanted.permissions or set(successor.permissions) <= set(wanted.permissions))
        and set(successor.allowed_origins) <= set(wanted.allowed_origins)
        and _comes_from_no_more(successor, wanted)
        and _ends_no_later(successor, wanted)
        and _limits(wanted).covers(_limits(successor))
    )


def _comes_from_no_more(successor: ApiKey, wanted: ApiKey) -> bool:
    if not wanted.networks:
        return True
    return bool(successor.networks) and all(is_within(network, wanted.networks) for network in successor.networks)


def _ends_no_later(successor: ApiKey, wanted: ApiKey) -> bool:
    if wanted.expires_at is None:
        return True
    return successor.expires_at is not None and successor.expires_at <= wanted.expires_at


def _limits(api_key: ApiKey) -> Limits:
    return Limits(api_key.per_second, api_key.per_minute, api_key.per_day)


def _is_replaceable(old: ApiKey, successor: ApiKey | None, wish: _Wish) -> bool:
    """Say whether there is a successor that nobody has used, whose secret can be replaced.

    :raises Refused: if it is neither to be replaced nor to make room.
    """
    is_again = wish.issue_id is not None and successor is not None and successor.issue_id == wish.issue_id
    if is_again and wish.is_form:
        raise KeyAlreadyIssued
    has_lost_its_answer = is_again and wish.is_leak and old.is_revoked
    is_active = old.state_at(wish.at) == "active"
    if not (is_active or has_lost_its_answer):
        raise KeyNotActive(_only_active(old, wish.at))
    if successor is None or successor.state_at(wish.at) in _ENDED:
        # One that has ended makes room, or its predecessor could never be rotated again.
        if not is_active:
            raise KeyNotActive(_only_active(old, wish.at))
        return False
    if successor.last_used_at or successor.rotated_at:
        raise SuccessorInUse
    if successor.disabled_at:
        raise KeyNotActive("Its successor is disabled. Enable it or revoke it, then rotate again.")
    return True


def _only_active(old: ApiKey, at: datetime) -> str:
    return f"The key is {old.state_at(at)}, and only one that works can be rotated."


def _ends_at(old: ApiKey, rules: Rules, at: datetime) -> datetime | None:
    """Return when a new successor ends: after as long a life as the old key was given, as far as the policy allows."""
    span = min(old.expires_at - old.created_at, MAX_LIFETIME) if old.expires_at else None
    return longest_end(rules, wanted=at + span if span else None, at=at)


def _end_or_retire(case: _Case, wish: _Wish) -> None:
    """Write into the old key how long it works."""
    old, at = case.old, wish.at
    if old.is_revoked:
        return
    if case.unused is None:
        old.rotated_at, old.settle_seconds, old.settled_at = at, wish.settle_seconds, None
    if wish.is_leak:
        old.revoked_at, old.revoked_by_id, old.revoke_reason, old.retires_at = at, wish.principal.person_id, LEAKED, at
    else:
        promised = old.retires_at if case.unused and old.retires_at else at
        old.retires_at = max(promised, _latest(old, at + wish.deadline))
    fields = ["rotated_at", "settle_seconds", "settled_at", "retires_at", "revoked_at", "revoked_by", "revoke_reason"]
    old.save(update_fields=fields)


def _latest(old: ApiKey, wanted: datetime) -> datetime:
    """Return until when a key can work on beside its successor: 30 days at most, and never past its own expiry."""
    limit = old.rotated_at + MAX_DEADLINE if old.rotated_at else None
    return min(filter(None, (wanted, limit, old.expires_at)))


def _new(case: _Case, minted: _Minted, wish: _Wish) -> ApiKey:
    if case.ended:
        _make_room(case.ended, wish)
    successor = case.wanted
    successor.predecessor, successor.issue_id = case.old, wish.issue_id
    successor.prefix, successor.label, successor.digest = minted.key.prefix, minted.key.label, minted.digest
    successor.save(force_insert=True)
    return successor


def _make_room(ended: ApiKey, wish: _Wish) -> None:
    """Let a successor go, whose predecessor gets another; nothing of it works afterwards."""
    ended.predecessor, ended.issue_id = None, None
    fields = ["predecessor", "issue_id"]
    if ended.state_at(wish.at) not in _ENDED:
        ended.revoked_at, ended.revoked_by_id, ended.revoke_reason = wish.at, wish.principal.person_id, OUTGROWN
        fields += ["revoked_at", "revoked_by", "revoke_reason"]
    ended.save(update_fields=fields)


def _replaced(successor: ApiKey, minted: _Minted, wish: _Wish) -> ApiKey:
    """Give the successor, which nobody has used, another secret; whoever has the one before has nothing."""
    successor.prefix, successor.label, successor.digest = minted.key.prefix, minted.key.label, minted.digest
    successor.issue_id = wish.issue_id
    successor.save(update_fields=["prefix", "label", "digest", "issue_id"])
    return successor


def settle_rotations(successor_ids: Collection[UUID], *, at: datetime) -> int:
    """Let the predecessors of keys that were used retire once the time to settle is over; return how many now do.

    Called after each batch of uses with all keys in it, so what was missed once is found at the next use.
    """
    due = ApiKey.objects.awaiting_use_of(successor_ids, at=at).values_list("pk", flat=True)
    return sum(_settle(key_id, at) for key_id in list(due))


@transaction.atomic
def _settle(key_id: UUID, at: datetime) -> bool:
    old = ApiKey.objects.select_for_update().get(pk=key_id)
    # It may have been ended, extended or settled since.
    if old.settled_at or not old.is_rotating_at(at) or old.retires_at is None or old.settle_seconds is None:
        return False
    old.settled_at = at
    old.retires_at = min(old.retires_at, at + timedelta(seconds=old.settle_seconds))
    old.save(update_fields=["settled_at", "retires_at"])
    return True


@transaction.atomic
def end_rotation(*, principal: Principal, api_key: ApiKey, at: datetime) -> ApiKey:
    """Let a key that has a successor retire now, for good.

    :raises RotationNotAllowed: if the caller may not.
    :raises NotRotating: if no rotation of it is under way.
    """
    old = _rotating(principal, api_key, at)
    old.retires_at = at
    old.save(update_fields=["retires_at"])
    return old


@transaction.atomic
def extend_rotation(*, principal: Principal, api_key: ApiKey, until: datetime, at: datetime) -> ApiKey:
    """Let a key that has a successor work on until a moment, whether that one is used before or not.

    :param until: at most 30 days after the rotation was begun, and not past the key's own expiry.
    :raises RotationNotAllowed: if the caller may not.
    :raises NotRotating: if no rotation of it is under way.
    :raises ExtensionNotPossible: if the moment is too late, or no later than now.
    """
    old = _rotating(principal, api_key, at)
    latest = latest_retirement(old)
    if old.retires_at is None or old.rotated_at is None or not old.retires_at < until <= latest:
        raise ExtensionNotPossible(
            f"Choose a time after {old.retires_at:%Y-%m-%d %H:%M} and no later than {latest:%Y-%m-%d %H:%M} UTC."
        )
    # Also where the successor is used only later: what was promised is not brought forward again.
    seconds = -(-(until - old.rotated_at) // timedelta(seconds=1))
    old.retires_at, old.settle_seconds = until, max(old.settle_seconds or 0, seconds)
    old.save(update_fields=["retires_at", "settle_seconds"])
    return old


def latest_retirement(old: ApiKey) -> datetime:
    """Return until when the rotation of a key can be extended."""
    return _latest(old, datetime.max.replace(tzinfo=old.created_at.tzinfo))


def _rotating(principal: Principal, api_key: ApiKey, at: datetime) -> ApiKey:
    """Return a key whose rotation is under way, locked."""
    old = ApiKey.objects.select_for_update(of=("self",)).with_places().get(pk=api_key.pk)
    if principal.key_id == old.pk or not may_revoke(principal, old):
        # A key that has leaked must not keep itself alive.
        raise RotationNotAllowed("Its issuer or an admin of its team decides when this key retires; not the key.")
    if not old.is_rotating_at(at):
        raise NotRotating
    return old
