"""Ending keys, for a time or for good, and marking what should lead to it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.principals import Principal
from apikeys.actions.authority import may_revoke
from apikeys.actions.refusals import KeyAlreadyRevoked, RevokeNotAllowed
from apikeys.models import ApiKey


@transaction.atomic
def revoke_key(*, principal: Principal | None, api_key: ApiKey, at: datetime, reason: str = "") -> ApiKey:
    """End a key for good; the next request anywhere is refused.

    :param principal: who asks; None is the operator at the machine, who may end any key.
    :raises RevokeNotAllowed: if the caller neither issued it nor administers its place.
    :raises KeyAlreadyRevoked: if someone revoked it first.
    """
    # Only the key is locked: its places and people are read along, and are nobody's to hold here.
    current = ApiKey.objects.select_for_update(of=("self",)).with_places().get(pk=api_key.pk)
    if principal and not may_revoke(principal, current):
        raise RevokeNotAllowed
    if current.is_revoked:
        raise KeyAlreadyRevoked
    current.revoked_at, current.revoke_reason = at, reason.strip()[:200]
    current.revoked_by_id = principal.user_id if principal else None
    current.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
    return current


@transaction.atomic
def disable_key(*, api_key: ApiKey, at: datetime) -> None:
    """Let a key be refused without ending it."""
    current = ApiKey.objects.select_for_update().get(pk=api_key.pk)
    current.disabled_at = at
    current.save(update_fields=["disabled_at"])


@transaction.atomic
def note_reappearance(*, key_id: UUID, at: datetime) -> None:
    """Remember that a key was used after it had been replaced; only the first time counts."""
    current = ApiKey.objects.select_for_update().get(pk=key_id)
    if current.reappeared_at is None:
        current.reappeared_at = at
        current.save(update_fields=["reappeared_at"])


@transaction.atomic
def mark_exposed(*, key_id: UUID, at: datetime) -> None:
    """Remember that a key was seen where keys must not be; only the first time counts."""
    current = ApiKey.objects.select_for_update().get(pk=key_id)
    if current.exposed_at is None:
        current.exposed_at = at
        current.save(update_fields=["exposed_at"])
