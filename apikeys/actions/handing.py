"""Handing keys to service accounts, so that they outlive whoever issued them."""

from datetime import datetime

from django.db import transaction

from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from apikeys import limits, notices
from apikeys.actions.authority import (
    authority_over,
    check_environment,
    check_grant,
    check_limits,
    check_networks,
    check_service_account,
    locked_place,
    may_revoke,
)
from apikeys.actions.refusals import (
    HandOverNotAllowed,
    KeyNotActive,
    NotForServiceAccounts,
    ServiceAccountNotUsable,
)
from apikeys.models import ApiKey
from apikeys.permissions import ALL, Role
from apikeys.rules import rules_of


@transaction.atomic
def hand_to_service_account(
    *, principal: Principal, api_key: ApiKey, service_account: ServiceAccount, at: datetime
) -> ApiKey:
    """Let a key act for a service account instead of for its issuer, from its next request on.

    The caller stands behind what it can do then, as if they had issued it for the account now.

    :raises HandOverNotAllowed: if the caller neither issued it nor administers its place.
    :raises KeyNotActive: if it was revoked, has expired or has retired.
    :raises NotForServiceAccounts: if it was granted `*`, which would grow with the account's role.
    :raises ServiceAccountNotUsable: as `issue_key` does, and if it acts for an account already.
    :raises Refused: what `issue_key` raises, if the caller could not issue such a key there now.
    """
    current = ApiKey.objects.select_for_update(of=("self",)).with_places().get(pk=api_key.pk)
    if not may_revoke(principal, current):
        raise HandOverNotAllowed
    if current.state_at(at) not in {"active", "disabled"}:
        raise KeyNotActive
    if current.service_account_id:
        raise ServiceAccountNotUsable("The key acts for a service account already.")
    if ALL in current.permissions:
        raise NotForServiceAccounts
    # Locked, so that its project does not move to another team than the account's meanwhile.
    place = locked_place(current.place)
    role = _role_to_issue(principal, current, place)
    account = ServiceAccount.objects.get(pk=service_account.pk)
    current.service_account_id = check_service_account(principal, place, role, account)
    current.save(update_fields=["service_account"])
    notices.key_handed_over(current, principal, at=at)
    return current


def _role_to_issue(principal: Principal, api_key: ApiKey, place: Organization | Team | Project) -> Role:
    """Return the caller's role where the key is for, if they could issue it as it is, now."""
    rules = rules_of(api_key.organization_id)
    _, role = authority_over(principal, place, rules)
    check_grant(principal, role, api_key.permissions, api_key.expires_at, rules)
    check_environment(principal, place, api_key.environment)
    check_networks(principal, api_key.networks)
    check_limits(principal, limits.of_row(api_key.per_second, api_key.per_minute, api_key.per_day))
    return role
