"""Closing an account whose keys have been seen to."""

from datetime import datetime

from django.db import transaction

from accounts import actions as people
from accounts.models import OrganizationMembership, User
from accounts.principals import principal_of
from apikeys import notices
from apikeys.actions.ending import revoke_with_issuer
from apikeys.actions.refusals import KeysRemain
from apikeys.models import ApiKey, ApiKeyQuerySet

ENDED = "The account of its issuer was deleted."


def keys_standing_with(user: User, *, at: datetime) -> ApiKeyQuerySet:
    """Return the keys that work because of a person, in all of their organizations, and would stop with them."""
    organizations = OrganizationMembership.objects.filter(user=user).values("organization")
    keys = ApiKey.objects.active(at=at).acting_for_issuer().filter(issuer=user)
    return keys.filter(organization__in=organizations)


@transaction.atomic
def delete_account(*, user: User, at: datetime, revoke_keys: bool = False) -> None:
    """Delete an account at its owner's wish: the keys that stand with it end first, handed over or revoked.

    :param revoke_keys: revoke those that there still are.
    :raises KeysRemain: if there are some, and they shall not be revoked.
    :raises LastSuperAdmin: as `close_account` does.
    """
    people.lock_organizations(user)
    remaining = list(keys_standing_with(user, at=at).order_by("pk"))
    if remaining and not revoke_keys:
        raise KeysRemain
    memberships = OrganizationMembership.objects.filter(user=user).select_related("user", "organization")
    principals = {membership.organization_id: principal_of(membership) for membership in memberships}
    with notices.together():
        for api_key in remaining:
            revoke_with_issuer(principal=principals[api_key.organization_id], api_key=api_key, at=at, reason=ENDED)
    people.close_account(user=user, at=at)
