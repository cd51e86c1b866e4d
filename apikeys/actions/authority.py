"""Who may issue and end which keys, and grant what."""

from collections.abc import Collection
from datetime import datetime

from accounts.models import Organization, Project, Team
from accounts.principals import Principal
from apikeys.actions.refusals import (
    ExpiryNotGrantable,
    PermissionNotGrantable,
    ScopeNotAllowed,
)
from apikeys.models import ApiKey
from apikeys.permissions import ALL, Role, may_issue_scope
from apikeys.rules import rules_of


def may_revoke(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a caller may end a key: whoever could issue it as an admin, or did issue it and is still there."""
    if api_key.organization_id != principal.organization_id:
        return False
    team_id = api_key.place_team_id
    is_here = principal.role_in(team_id) is not None
    return (is_own(principal, api_key) and is_here) or principal.administers(team_id)


def is_own(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a key acts as the caller does: for the same service account, or for the same person."""
    if principal.service_account_id or api_key.service_account_id:
        return api_key.service_account_id == principal.service_account_id
    return api_key.issuer_id == principal.user_id


def authority_over(principal: Principal, place: Organization | Team | Project) -> tuple[str, Role]:
    """Return the scope that keys of a place have, and the caller's role there, if it may issue them."""
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
    if role is None or is_elsewhere or not may_issue_scope(scope, role):
        raise ScopeNotAllowed
    return scope, role


def _is_outside(principal: Principal, scope: str, place: Organization | Team | Project) -> bool:
    """Say whether a place lies outside of the key that asks: a project's key issues for that project alone."""
    return principal.project_id is not None and (scope != "project" or place.pk != principal.project_id)


def check_grant(principal: Principal, role: Role, permissions: Collection[str], expires_at: datetime | None) -> None:
    refused = rules_of(principal.organization_id).catalogue.not_grantable(permissions, role)
    if principal.permissions is not None:
        # A key hands on nothing that it does not hold; `*` would grow with its issuer, so it never hands that on.
        refused |= {name for name in permissions if name not in principal.permissions or name == ALL}
    if refused:
        raise PermissionNotGrantable(refused)
    if principal.expires_at and (expires_at is None or expires_at > principal.expires_at):
        raise ExpiryNotGrantable
