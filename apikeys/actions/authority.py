"""Who may issue and end which keys, and grant what."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from accounts.actions import TeamArchived, locked_project
from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from accounts.rights import Right, holds
from apikeys.actions.refusals import (
    EnvironmentNotAccepted,
    EnvironmentNotGrantable,
    ExpiryNotGrantable,
    KindNotAllowed,
    LimitsNotGrantable,
    NetworkNotGrantable,
    PermissionNotGrantable,
    ProjectArchived,
    RotationNotAllowed,
    ScopeNotAllowed,
    ServiceAccountNotUsable,
)
from apikeys.limits import Limits, of_row
from apikeys.models import ApiKey
from apikeys.networks import is_within
from apikeys.permissions import ALL, Role, may_issue_scope
from apikeys.rules import Rules, is_issuer_gone, role_of

# What it takes to issue keys of a scope.
RIGHT_TO_ISSUE = {
    "org": Right.ORGANIZATION_KEYS_MANAGE,
    "team": Right.TEAM_KEYS_MANAGE,
    "project": Right.PROJECT_KEYS_ISSUE,
}


def may_revoke(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a caller may end a key: whoever could issue it as an admin, or did issue it and is still there."""
    if api_key.organization_id != principal.organization_id:
        return False
    team_id = api_key.place_team_id
    if team_id is None:
        return holds(principal, Right.ORGANIZATION_KEYS_MANAGE)
    may_end_own = holds(principal, Right.PROJECT_KEYS_ISSUE, team_id)
    return (is_own(principal, api_key) and may_end_own) or holds(principal, Right.TEAM_KEYS_MANAGE, team_id)


def is_own(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a key acts as the caller does: for the same service account, or for the same person."""
    if principal.service_account_id or api_key.service_account_id:
        return api_key.service_account_id == principal.service_account_id
    return api_key.issuer_id == principal.user_id


def authority_over(principal: Principal, place: Organization | Team | Project, rules: Rules) -> tuple[str, Role]:
    """Return the scope that keys of a place have, and the caller's role there, if it may issue them.

    :raises ScopeNotAllowed: if it may not.
    :raises ProjectArchived: if the place is a project that was put away.
    :raises TeamArchived: if it is such a team.
    """
    match place:
        case Organization():
            scope, team_id, organization_id = "org", None, place.pk
        case Team():
            scope, team_id, organization_id = "team", place.pk, place.organization_id
        case _:
            scope, team_id, organization_id = "project", place.team_id, place.team.organization_id
    held = principal.role_in(team_id)
    role = Role(held) if held else None
    is_elsewhere = organization_id != principal.organization_id or _is_outside(principal, scope, place)
    if role is None or is_elsewhere or not holds(principal, RIGHT_TO_ISSUE[scope], team_id):
        raise ScopeNotAllowed
    # The organization's policy may ask for more than the right does.
    if not may_issue_scope(scope, role, issuers=rules.policy.issuers):
        raise ScopeNotAllowed
    _require_unarchived(place)
    return scope, role


def _require_unarchived(place: Organization | Team | Project) -> None:
    """Let a place that was put away get no new keys."""
    if isinstance(place, Project) and place.archived_at:
        raise ProjectArchived
    if isinstance(place, Team) and place.archived_at:
        raise TeamArchived


def locked_place(place: Organization | Team | Project) -> Organization | Team | Project:
    """Return a team or project as it is stored now, and as it stays for the running transaction."""
    match place:
        case Project():
            return locked_project(place)
        case Team():
            return Team.objects.select_for_update(no_key=True).get(pk=place.pk)
        case _:
            return place


def _is_outside(principal: Principal, scope: str, place: Organization | Team | Project) -> bool:
    """Say whether a place lies outside of the key that asks: a project's key issues for that project alone."""
    return principal.project_id is not None and (scope != "project" or place.pk != principal.project_id)


def published_permissions(scope: str, permissions: Collection[str], rules: Rules) -> frozenset[str]:
    """Return what a publishable key gets: the organization's locked set (S2), whoever issues it.

    :raises KindNotAllowed: if it is for no project.
    :raises PermissionNotGrantable: if others were asked for.
    """
    if scope != ApiKey.Scope.PROJECT:
        raise KindNotAllowed
    locked = rules.catalogue.publishable
    if refused := set(permissions) - locked:
        raise PermissionNotGrantable(refused)
    return locked


def check_grant(
    principal: Principal, role: Role, permissions: Collection[str], expires_at: datetime | None, rules: Rules
) -> None:
    """Let nobody grant what they do not hold.

    :raises PermissionNotGrantable: if the caller may not grant one of the permissions now.
    :raises ExpiryNotGrantable: if the caller is a key that would be outlived.
    """
    refused = rules.catalogue.not_grantable(permissions, role)
    if principal.permissions is not None:
        # A key hands on nothing that it does not hold; `*` would grow with its issuer, so it never hands that on.
        refused |= {name for name in permissions if name not in principal.permissions or name == ALL}
    if refused:
        raise PermissionNotGrantable(refused, of_key=principal.is_key)
    if principal.expires_at and (expires_at is None or expires_at > principal.expires_at):
        raise ExpiryNotGrantable


def check_environment(principal: Principal, place: Organization | Team | Project, environment: str) -> None:
    """Let a key issue keys of its own environment, and a project have keys of those that it accepts.

    :raises EnvironmentNotGrantable: if the caller is a key of another environment.
    :raises EnvironmentNotAccepted: if the project takes no keys of this one.
    """
    if principal.is_key and environment != principal.environment:
        raise EnvironmentNotGrantable
    if isinstance(place, Project) and not place.accepts(environment):
        raise EnvironmentNotAccepted


def check_networks(principal: Principal, networks: Collection[str]) -> None:
    """Let no key issue one that may come from where it may not come from itself.

    :raises NetworkNotGrantable: if it would.
    """
    held = principal.networks
    if held and not (networks and all(is_within(network, held) for network in networks)):
        raise NetworkNotGrantable


def check_limits(principal: Principal, limits: Limits | None) -> None:
    """Let no key issue one that may make more requests than it may itself.

    :raises LimitsNotGrantable: if it would.
    """
    if principal.limits and not Limits(*principal.limits).covers(limits):
        raise LimitsNotGrantable


def check_service_account(
    principal: Principal, place: Organization | Team | Project, role: Role, account: ServiceAccount | None
) -> UUID | None:
    """Return for which account a new key acts; a key that acts for one issues keys for that one alone.

    :raises ServiceAccountNotUsable: if the account is stopped, of another team, without a steward, or its role above
        the caller's.
    """
    if principal.service_account_id:
        if account and account.pk != principal.service_account_id:
            raise ServiceAccountNotUsable("A key that acts for a service account issues keys for that one alone.")
        account = ServiceAccount.objects.get(pk=principal.service_account_id)
    if account is None:
        return None
    team_id = place.team_id if isinstance(place, Project) else place.pk
    if account.team_id != team_id:
        raise ServiceAccountNotUsable("The service account belongs to another team than the key would.")
    if role < account.role:
        raise ServiceAccountNotUsable("The service account has a greater role than you have there.")
    if account.stopped_at:
        raise ServiceAccountNotUsable("The service account was stopped.")
    if not account.has_steward:
        raise ServiceAccountNotUsable("The service account has no steward in its team. Name one first.")
    return account.pk


def may_rotate(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a caller may give a key its successor: its issuer, or an admin there whose role is not below its own.

    The key must have been read with its places and `with_roles`.
    """
    if principal.key_id == api_key.pk:
        return True
    if not may_revoke(principal, api_key) or _is_outside(principal, api_key.scope, api_key.place):
        return False
    held, acting = principal.role_in(api_key.place_team_id), role_of(api_key)
    return is_own(principal, api_key) or acting is None or (held is not None and Role(held) >= acting)


def check_rotation(
    principal: Principal,
    api_key: ApiKey,
    rules: Rules,
    *,
    permissions: Collection[str],
    expires_at: datetime | None,
    is_leak: bool,
) -> None:
    """Let nobody get hold of more by a rotation than they could grant.

    A key that may rotate itself gets what it has, and no other key more than it holds.

    :param permissions: those of a new successor, as `expires_at` is its end.
    :raises Refused: if the caller may not rotate the key, or no key like it can be had any more.
    """
    if not may_rotate(principal, api_key):
        raise RotationNotAllowed
    if (account := api_key.service_account) and (account.stopped_at or not account.has_steward):
        raise ServiceAccountNotUsable("Its service account was stopped, or has no steward in its team.")
    is_itself = principal.key_id == api_key.pk
    if is_itself and is_leak:
        raise RotationNotAllowed("A key does not end itself: were the answer lost, nothing would work any more.")
    if is_issuer_gone(api_key) and (ALL in api_key.permissions or principal.service_account_id):
        raise RotationNotAllowed("The issuer of this key has left. Issue a new key in its place.")
    if principal.is_key and not (is_itself and "keys:rotate_self" in (principal.permissions or ())):
        check_environment(principal, api_key.place, api_key.environment)
        check_networks(principal, api_key.networks)
        check_limits(principal, of_row(api_key.per_second, api_key.per_minute, api_key.per_day))
    elif not is_issuer_gone(api_key):
        return
    role = principal.role_in(api_key.place_team_id)
    if role is None:
        raise RotationNotAllowed
    check_grant(principal, Role(role), permissions, expires_at, rules)


def check_successor_scope(principal: Principal, api_key: ApiKey, rules: Rules) -> None:
    """Let a key have a new successor only where whoever will stand behind that one could issue it now.

    A service account stands behind its own keys, whoever issues them.

    :raises ScopeNotAllowed: if T4 or the organization's policy asks for a greater role.
    :raises ProjectArchived: if it is of a project that was put away.
    :raises TeamArchived: if it is of such a team.
    """
    _require_unarchived(api_key.place)
    if api_key.service_account_id:
        return
    held = principal.role_in(api_key.place_team_id)
    taken_over = Role(held) if held else None
    role = taken_over if is_issuer_gone(api_key) else role_of(api_key)
    if not may_issue_scope(api_key.scope, role, issuers=rules.policy.issuers):
        raise ScopeNotAllowed("The role behind this key does not allow new keys of this scope there any more.")
