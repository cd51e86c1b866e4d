"""What a person's keys can still do: all of it stands and falls with what the person is here.

A key never holds more than its issuer's role allows at the moment of the request, so that nothing has to be changed
about the keys of someone who leaves or is demoted. But someone has to be told, and to decide what becomes of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from accounts.models import User
from accounts.principals import Principal
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.permissions import ALL, Catalogue, role_now
from apikeys.rules import rules_of


class Roles(NamedTuple):
    """What an issuer is in the organization of a key, and in the team that rules over it."""

    organization: str | None
    team: str | None


# What becomes of the roles behind a key if something is done to a person.
Change = Callable[[ApiKey], Roles]


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A key, what it may do, and what it has lost or would lose."""

    api_key: ApiKey
    effective: Sequence[str]
    lost: Sequence[str]
    is_refused: bool

    @property
    def is_affected(self) -> bool:
        return self.is_refused or bool(self.lost)

    @property
    def is_everything(self) -> bool:
        """Whether it was granted whatever its issuer may do, so that no list says what it has lost."""
        return ALL in self.api_key.permissions

    @property
    def scope_title(self) -> str:
        return str(self.api_key.place)


def live_keys_of(person: User, principal: Principal, *, at: datetime) -> ApiKeyQuerySet:
    """Return the keys that act for a person, where the caller administers, newest first."""
    keys = ApiKey.objects.administered_by(principal).filter(issuer=person).acting_for_issuer().active(at=at)
    return keys.with_places().with_roles().newest_first()


def now(keys: Iterable[ApiKey], principal: Principal) -> list[PersonKey]:
    """Return what keys may do now, against what they were granted."""
    catalogue = rules_of(principal.organization_id).catalogue
    return [_person_key(key, catalogue, set(key.permissions) - {ALL}, roles_of(key)) for key in keys]


def after(keys: Iterable[ApiKey], principal: Principal, change: Change) -> list[PersonKey]:
    """Return what keys could do after a change to their issuer, against what they may do now."""
    catalogue = rules_of(principal.organization_id).catalogue
    return [_person_key(key, catalogue, _effective(key, catalogue, roles_of(key)), change(key)) for key in keys]


def roles_of(api_key: ApiKey) -> Roles:
    """Return the roles behind a key now; it must have been read `with_roles`."""
    return Roles(
        api_key.organization_role,  # type: ignore[attr-defined] # annotated by `with_roles`
        api_key.team_role,  # type: ignore[attr-defined] # annotated by `with_roles`
    )


def in_team(team_id: UUID, role: str | None) -> Change:
    """The person gets another role in a team, or none: they leave it."""

    def change(api_key: ApiKey) -> Roles:
        return Roles(roles_of(api_key).organization, role) if api_key.place_team_id == team_id else roles_of(api_key)

    return change


def in_organization(role: str | None) -> Change:
    """The person gets another role in the organization, or none: they leave it, and all of its teams."""

    def change(api_key: ApiKey) -> Roles:
        return Roles(role, roles_of(api_key).team if role else None)

    return change


def _person_key(api_key: ApiKey, catalogue: Catalogue, before: Iterable[str], roles: Roles) -> PersonKey:
    effective = _effective(api_key, catalogue, roles)
    return PersonKey(api_key, sorted(effective), sorted(set(before) - effective), _is_refused(api_key, roles))


def _effective(api_key: ApiKey, catalogue: Catalogue, roles: Roles) -> frozenset[str]:
    role = role_now(account=None, organization=roles.organization, team=roles.team)
    is_publishable = api_key.kind == ApiKey.Kind.PUBLISHABLE
    return catalogue.effective(api_key.permissions, role, is_publishable=is_publishable)


def _is_refused(api_key: ApiKey, roles: Roles) -> bool:
    """Say whether a key is refused because its issuer is gone, as its verification does."""
    if roles.organization is None or not api_key.issuer.is_active:
        return True
    role = role_now(account=None, organization=roles.organization, team=roles.team)
    return api_key.scope != ApiKey.Scope.ORG and role is None
