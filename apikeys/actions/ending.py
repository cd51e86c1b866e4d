"""Ending keys, for a time or for good, and marking what should lead to it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.principals import Principal
from apikeys import notices, shapes
from apikeys.actions.authority import may_revoke
from apikeys.actions.refusals import KeyAlreadyRevoked, KeyNotActive, RevokeNotAllowed
from apikeys.models import ApiKey


@transaction.atomic
def revoke_key(*, principal: Principal | None, api_key: ApiKey, at: datetime, reason: str = "") -> ApiKey:
    """End a key for good; the next request anywhere is refused.

    :param principal: who asks; None is the operator at the machine, who may end any key.
    :raises RevokeNotAllowed: if the caller neither issued it nor administers its place.
    :raises KeyAlreadyRevoked: if someone revoked it first.
    """
    current = _locked(api_key, principal)
    if current.is_revoked:
        raise KeyAlreadyRevoked
    _revoke(current, principal, at, reason)
    return current


@transaction.atomic
def revoke_with_issuer(*, principal: Principal, api_key: ApiKey, at: datetime, reason: str) -> None:
    """End a key of somebody who goes for good, whatever they may still do in its place, unless it is seen to already.

    :param principal: its issuer, who asks for it.
    """
    current = _locked(api_key, None)
    if not current.is_revoked and current.service_account_id is None:
        _revoke(current, principal, at, reason)


def _revoke(current: ApiKey, principal: Principal | None, at: datetime, reason: str) -> None:
    current.revoked_at, current.revoke_reason = at, kept_reason(reason)
    current.revoked_by_id = principal.person_id if principal else None
    current.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
    notices.key_revoked(current, principal, reason=current.revoke_reason, at=at)


@transaction.atomic
def disable_key(*, api_key: ApiKey, at: datetime, principal: Principal | None = None) -> ApiKey:
    """Let a key be refused until it is enabled again; one that is disabled already stays so.

    :param principal: who asks; None is the operator at the machine, or a policy.
    :raises RevokeNotAllowed: if the caller could not end it either.
    :raises KeyNotActive: if it has ended.
    """
    current = _locked(api_key, principal)
    if current.state_at(at) not in {"active", "disabled"}:
        raise KeyNotActive
    if current.disabled_at is None:
        current.disabled_at = at
        current.save(update_fields=["disabled_at"])
    return current


@transaction.atomic
def enable_key(*, api_key: ApiKey, at: datetime, principal: Principal | None = None) -> ApiKey:
    """Let a disabled key work again; one that works goes on.

    :raises RevokeNotAllowed: if the caller could not end it either.
    :raises KeyNotActive: if it has ended meanwhile.
    """
    current = _locked(api_key, principal)
    if current.state_at(at) not in {"active", "disabled"}:
        raise KeyNotActive
    if current.disabled_at is not None:
        current.disabled_at = None
        current.save(update_fields=["disabled_at"])
    return current


def kept_reason(reason: str) -> str:
    """Return a reason as it is stored: without the key that it may hold, whole or cut off at the end."""
    return shapes.mask(reason.strip())[:200]


def _locked(api_key: ApiKey, principal: Principal | None) -> ApiKey:
    """Return a key that its caller may end, locked. Its places and people are read along, and nobody's to hold."""
    current = ApiKey.objects.select_for_update(of=("self",)).with_places().get(pk=api_key.pk)
    if principal and not may_revoke(principal, current):
        raise RevokeNotAllowed
    return current


@transaction.atomic
def note_reappearance(*, key_id: UUID, at: datetime) -> None:
    """Remember that a key was used after it had been replaced; only the first time counts.

    It waits for nobody: where the row is being written to, the next such use is as good.
    """
    current = ApiKey.objects.select_for_update(skip_locked=True).filter(pk=key_id).first()
    if current and current.reappeared_at is None:
        current.reappeared_at = at
        current.save(update_fields=["reappeared_at"])


@transaction.atomic
def mark_seen_in_browser(*, key_id: UUID, at: datetime) -> None:
    """Remember that a secret key came from a browser, whose user can read it; only the first time counts.

    It waits for nobody: where the row is being written to, the next such use is as good.
    """
    current = ApiKey.objects.select_for_update(skip_locked=True).filter(pk=key_id).first()
    if current and current.in_browser_at is None:
        current.in_browser_at = at
        current.save(update_fields=["in_browser_at"])


@transaction.atomic
def mark_exposed(*, key_id: UUID, at: datetime) -> None:
    """Remember that a key was seen where keys must not be; only the first time counts."""
    current = ApiKey.objects.select_for_update().get(pk=key_id)
    if current.exposed_at is None:
        current.exposed_at = at
        current.save(update_fields=["exposed_at"])
