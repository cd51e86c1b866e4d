"""Every write to keys."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Organization, Project, Team
from accounts.principals import Principal
from apikeys import hashing, keyformat, shapes
from apikeys.keyformat import Key
from apikeys.models import ApiKey
from apikeys.permissions import ALL, Role, may_issue_scope, not_grantable

KIND_LABELS = {"org": "org", "team": "sk", "project": "sk"}
MAX_EXPIRES_IN_DAYS = 1825


class ScopeNotAllowed(Exception):
    """The caller's role may not issue keys of this scope there."""


class PermissionNotGrantable(Exception):
    """The caller may not grant some of these permissions; `names` are they."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = sorted(names)


class ExpiryNotGrantable(Exception):
    """A key would issue another that outlives it."""


class EnvironmentNotGrantable(Exception):
    """A key would issue another for an environment that is not its own."""


class KeyAlreadyIssued(Exception):
    """The form was sent twice: its key exists, and was shown."""


class KeyAlreadyRevoked(Exception):
    """Someone revoked it first."""


class RevokeNotAllowed(Exception):
    """The caller sees the key but may not end it."""


def issue_key(
    *,
    principal: Principal,
    name: str,
    place: Organization | Team | Project,
    environment: str,
    permissions: Collection[str],
    expires_at: datetime | None,
    at: datetime,
    issue_id: UUID | None = None,
) -> tuple[ApiKey, Key]:
    """Issue a key for an organization, team or project; return its row and the key, which is never stored.

    Not atomic as a whole, because argon2 must not run while a transaction is open: the row and its audit row are.

    :param issue_id: names the form that asks, so that one sent twice issues once.
    :raises ScopeNotAllowed: if the caller's role may not issue for this place (T4).
    :raises PermissionNotGrantable: if the caller may not grant one of the permissions now.
    :raises ExpiryNotGrantable: if the caller is a key that would be outlived.
    :raises EnvironmentNotGrantable: if the caller is a key of another environment.
    :raises KeyAlreadyIssued: if this form of the issuer's has issued its key.
    """
    scope, role = _authority(principal, place)
    _check_grant(principal, role, permissions, expires_at)
    if principal.is_key and environment != principal.environment:
        raise EnvironmentNotGrantable
    if ApiKey.objects.issued_by_form(principal.user_id, issue_id).exists():
        raise KeyAlreadyIssued
    key = keyformat.mint(shapes.current(), kind_label=KIND_LABELS[scope], environment=environment)
    api_key = ApiKey(
        issue_id=issue_id,
        name=name.strip(),
        prefix=key.prefix,
        label=key.label,
        digest=hashing.make_digest(key.reveal()),
        kind=ApiKey.Kind.SECRET,
        scope=scope,
        environment=environment,
        permissions=sorted(set(permissions)),
        organization_id=principal.organization_id,
        team=place if isinstance(place, Team) else None,
        project=place if isinstance(place, Project) else None,
        issuer_id=principal.user_id,
        created_at=at,
        expires_at=expires_at,
    )
    try:
        with transaction.atomic():
            api_key.save(force_insert=True)
    except IntegrityError as error:
        if ApiKey.objects.issued_by_form(principal.user_id, issue_id).exists():
            raise KeyAlreadyIssued from error
        raise
    hashing.remember(key.reveal(), key_id=api_key.pk, digest=api_key.digest, prefix=key.prefix)
    return api_key, key


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
def mark_exposed(*, key_id: UUID, at: datetime) -> None:
    """Remember that a key was seen where keys must not be; only the first time counts."""
    current = ApiKey.objects.select_for_update().get(pk=key_id)
    if current.exposed_at is None:
        current.exposed_at = at
        current.save(update_fields=["exposed_at"])


def may_revoke(principal: Principal, api_key: ApiKey) -> bool:
    """Say whether a caller may end a key: whoever could issue it as an admin, or did issue it and is still there."""
    if api_key.organization_id != principal.organization_id:
        return False
    team_id = api_key.place_team_id
    is_own = api_key.issuer_id == principal.user_id and principal.role_in(team_id) is not None
    return is_own or principal.administers(team_id)


def _authority(principal: Principal, place: Organization | Team | Project) -> tuple[str, Role]:
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


def _check_grant(principal: Principal, role: Role, permissions: Collection[str], expires_at: datetime | None) -> None:
    refused = not_grantable(permissions, role)
    if principal.permissions is not None:
        # A key hands on nothing that it does not hold; `*` would grow with its issuer, so it never hands that on.
        refused |= {name for name in permissions if name not in principal.permissions or name == ALL}
    if refused:
        raise PermissionNotGrantable(refused)
    if principal.expires_at and (expires_at is None or expires_at > principal.expires_at):
        raise ExpiryNotGrantable
