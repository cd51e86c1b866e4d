"""Bringing keys along from elsewhere: who has one goes on with it, though only its digest is known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from accounts.actions import Refused
from accounts.models import Organization, Project, Team
from accounts.principals import Principal
from apikeys import foreign, hashing
from apikeys.actions.authority import authority_over, check_environment, check_grant
from apikeys.models import ApiKey
from apikeys.rules import Rules, rules_of

# How many prefixes are asked for at once; SQLite takes at most 999 parameters in its oldest builds.
_PREFIXES_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One key that is to be brought along: what is known of it, who stands behind it, and what it shall be for."""

    where: str  # it stood, for the report
    source: str
    prefix: str
    digest: str = field(repr=False)  # in the stored form of `digests`
    name: str
    principal: Principal
    place: Organization | Team | Project
    environment: str
    permissions: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    is_revoked: bool = False
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: the keys that are new, and how many were there already."""

    new: list[ApiKey]
    known: int


class NotImportable(Exception):
    """Some of the keys cannot be had here, so none was taken; `reasons` say why, by where they stood."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(f"{len(reasons)} keys cannot be imported")
        self.reasons = dict(reasons)


@transaction.atomic
def import_keys(
    *, organization: Organization, keys: Sequence[Incoming], at: datetime, is_trial: bool = False
) -> Imported:
    """Take over keys of another system with their digests: all of them, or none.

    One that was imported before is left as it is, so that the same list may come twice. Nobody gets more than they
    could issue: each key's principal must be allowed its place and its permissions. An organization's policy does not
    bind what is older than it.

    :param is_trial: whether to look only, and leave everything as it is.
    :raises NotImportable: if one of them cannot be had.
    """
    stored = {row.prefix: row for row in _stored(keys)}
    if reasons := _obstacles(keys, stored, rules_of(organization.pk), organization, at):
        raise NotImportable(reasons)
    new = [_row(key, organization, at) for key in keys if key.prefix not in stored]
    if not is_trial:
        for row in new:
            row.save(force_insert=True)
        foreign.look_again()
    return Imported(new, len(keys) - len(new))


def _stored(keys: Sequence[Incoming]) -> Iterator[ApiKey]:
    prefixes = sorted({key.prefix for key in keys})
    for start in range(0, len(prefixes), _PREFIXES_AT_ONCE):
        yield from ApiKey.objects.filter(prefix__in=prefixes[start : start + _PREFIXES_AT_ONCE])


def _obstacles(
    keys: Sequence[Incoming], stored: Mapping[str, ApiKey], rules: Rules, organization: Organization, at: datetime
) -> dict[str, str]:
    """Return why some keys cannot be had, by where they stood."""
    reasons: dict[str, str] = {}
    first: dict[str, str] = {}
    for key in keys:
        if key.prefix in first:
            reason = f"begins with the same characters as the key at {first[key.prefix]}"
        elif row := stored.get(key.prefix):
            reason = "" if _is_same(row, key, organization) else "begins with the same characters as another key here"
        else:
            reason = _refusal(key, rules, at)
        first.setdefault(key.prefix, key.where)
        if reason:
            reasons[key.where] = reason
    return reasons


def _is_same(row: ApiKey, key: Incoming, organization: Organization) -> bool:
    """Say whether a key was imported before, though its first use has replaced its digest since."""
    is_from_there = (row.imported_from, row.organization_id) == (key.source, organization.pk)
    return is_from_there and row.imported_fingerprint == _fingerprint(key)


def _fingerprint(key: Incoming) -> str:
    return hashing.digest_fingerprint(key.digest).hex()


def _refusal(key: Incoming, rules: Rules, at: datetime) -> str:
    if key.created_at > at:
        return "was made in the future"
    if key.expires_at and key.expires_at <= key.created_at:
        return "expired before it was made"
    try:
        _, role = authority_over(key.principal, key.place, rules)
        check_grant(key.principal, role, key.permissions, key.expires_at, rules)
        check_environment(key.principal, key.place, key.environment)
    except Refused as refused:
        return f"{key.principal.user_label} could not issue it: {refused}"
    return ""


def _row(key: Incoming, organization: Organization, at: datetime) -> ApiKey:
    place = key.place
    return ApiKey(
        name=key.name,
        prefix=key.prefix,
        label=key.prefix,
        digest=key.digest,
        kind=ApiKey.Kind.SECRET,
        scope=_scope_of(place),
        environment=key.environment,
        permissions=sorted(set(key.permissions)),
        organization=organization,
        team=place if isinstance(place, Team) else None,
        project=place if isinstance(place, Project) else None,
        issuer_id=key.principal.user_id,
        imported_from=key.source,
        imported_at=at,
        imported_fingerprint=_fingerprint(key),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=at if key.is_revoked else None,
        revoke_reason=f"It was revoked before it was imported from {key.source}." if key.is_revoked else "",
        disabled_at=at if key.is_disabled else None,
    )


def _scope_of(place: Organization | Team | Project) -> str:
    match place:
        case Organization():
            return ApiKey.Scope.ORG
        case Team():
            return ApiKey.Scope.TEAM
        case _:
            return ApiKey.Scope.PROJECT
