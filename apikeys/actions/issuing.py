"""Issuing a key."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from apikeys import hashing, keyformat, notices, shapes
from apikeys.actions.authority import (
    authority_over,
    check_environment,
    check_grant,
    check_limits,
    check_networks,
    check_service_account,
    locked_place,
    published_permissions,
)
from apikeys.actions.conformity import check_policy
from apikeys.actions.refusals import KeyAlreadyIssued
from apikeys.keyformat import Key
from apikeys.limits import Limits
from apikeys.models import ApiKey
from apikeys.policing import MAX_LIFETIME
from apikeys.rules import rules_of

MAX_EXPIRES_IN_DAYS = MAX_LIFETIME


def issue_key(
    *,
    principal: Principal,
    name: str,
    place: Organization | Team | Project,
    environment: str,
    permissions: Collection[str],
    expires_at: datetime | None,
    at: datetime,
    kind: str = ApiKey.Kind.SECRET,
    service_account: ServiceAccount | None = None,
    allowed_origins: Collection[str] = (),
    networks: Collection[str] = (),
    limits: Limits | None = None,
    issue_id: UUID | None = None,
) -> tuple[ApiKey, Key]:
    """Issue a key for an organization, team or project; return its row and the key, which is never stored.

    Not atomic as a whole, because argon2 must not run while a transaction is open: the row and its audit row are.

    :param permissions: of a publishable key, they are the organization's locked set, and none need be given.
    :param service_account: for whom it acts instead of for its issuer (T21).
    :param allowed_origins: the web pages that may use a publishable key.
    :param networks: where it may come from; from everywhere, if there are none.
    :param limits: how many requests it may make, as `limits.checked` returns them.
    :param issue_id: names the form that asks, so that one sent twice issues once.
    :raises ScopeNotAllowed: if the caller's role may not issue for this place (T4).
    :raises PermissionNotGrantable: if the caller may not grant one of the permissions now.
    :raises ExpiryNotGrantable: if the caller is a key that would be outlived.
    :raises EnvironmentNotGrantable: if the caller is a key of another environment.
    :raises EnvironmentNotAccepted: if the project takes no keys of this environment.
    :raises KindNotAllowed: if it is no project that a publishable key is for.
    :raises NetworkNotGrantable: if the caller is a key that is bound to networks, and the new one would not be.
    :raises LimitsNotGrantable: if the caller is a key with limits, and the new one could make more requests.
    :raises ServiceAccountNotUsable: if it is stopped, of another team, without a steward, or above the caller.
    :raises PolicyForbids: if the organization's policy does.
    :raises KeyAlreadyIssued: if this form of the issuer's has issued its key.
    """
    rules = rules_of(principal.organization_id)
    scope, role = authority_over(principal, place, rules)
    if kind == ApiKey.Kind.PUBLISHABLE:
        permissions = published_permissions(scope, permissions, rules)
    check_grant(principal, role, permissions, expires_at, rules)
    check_environment(principal, place, environment)
    check_networks(principal, networks)
    check_limits(principal, limits)
    check_policy(rules, permissions=permissions, expires_at=expires_at, created_at=at, networks=networks)
    service_account_id = check_service_account(principal, place, role, service_account)
    if ApiKey.objects.issued_by_form(principal.user_id, issue_id).exists():
        raise KeyAlreadyIssued
    key = keyformat.mint(shapes.current(), kind_label=shapes.kind_label(kind, scope), environment=environment)
    api_key = ApiKey(
        issue_id=issue_id,
        name=name.strip(),
        prefix=key.prefix,
        label=key.label,
        digest=hashing.make_digest(key.reveal()),
        kind=kind,
        scope=scope,
        environment=environment,
        permissions=sorted(set(permissions)),
        organization_id=principal.organization_id,
        team=place if isinstance(place, Team) else None,
        project=place if isinstance(place, Project) else None,
        issuer_id=principal.user_id,
        service_account_id=service_account_id,
        allowed_origins=list(allowed_origins),
        networks=list(networks),
        **(limits or Limits())._asdict(),
        created_at=at,
        expires_at=expires_at,
    )
    try:
        with transaction.atomic():
            # Asked once more, since argon2 took its time: no key slips by a policy that was changed meanwhile, nor into
            # a place that was put away or moved to another team.
            rules = rules_of(principal.organization_id, is_locked=True)
            place = locked_place(place)
            _, role = authority_over(principal, place, rules)
            check_service_account(principal, place, role, service_account)
            check_policy(rules, permissions=permissions, expires_at=expires_at, created_at=at, networks=networks)
            api_key.save(force_insert=True)
            notices.key_issued(api_key, principal, at=at)
    except IntegrityError as error:
        if ApiKey.objects.issued_by_form(principal.user_id, issue_id).exists():
            raise KeyAlreadyIssued from error
        raise
    hashing.remember(key.reveal(), key_id=api_key.pk, digest=api_key.digest, prefix=key.prefix)
    return api_key, key
