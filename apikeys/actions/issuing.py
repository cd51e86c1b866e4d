"""Issuing a key."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Organization, Project, Team
from accounts.principals import Principal
from apikeys import hashing, keyformat, shapes
from apikeys.actions.authority import authority_over, check_grant
from apikeys.actions.refusals import (
    EnvironmentNotGrantable,
    KeyAlreadyIssued,
)
from apikeys.keyformat import Key
from apikeys.models import ApiKey

KIND_LABELS = {"org": "org", "team": "sk", "project": "sk"}
MAX_EXPIRES_IN_DAYS = 1825


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
    scope, role = authority_over(principal, place)
    check_grant(principal, role, permissions, expires_at)
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
