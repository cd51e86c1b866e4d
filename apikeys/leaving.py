"""What a person's keys can still do: all of it stands and falls with what the person is here.

A key never holds more than its issuer's role allows at the moment of the request, so that nothing has to be changed
about the keys of someone who leaves or is demoted. But someone has to be told, and to decide what becomes of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Count

from accounts.models import Team, User
from accounts.principals import Principal
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.permissions import ALL, AUDITOR, Catalogue, role_now
from apikeys.rules import rules_of


class Roles(NamedTuple):
    """What an issuer is in the organization of a key, and in the team that rules over it."""

    organization: str | None
    team: str | None


# What becomes of the roles behind a key, of the team that rules over it, if something is done to a person.
Change = Callable[[UUID | None, Roles], Roles]


# How many keys are named of those that a change weighs on.
KEYS_NAMED = 5
# What tells what becomes of a key, beside its issuer's roles.
_KIND = ("permissions", "kind", "scope", "ruling_team_id")


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


@dataclass(frozen=True, slots=True)
class Cost:
    """How many keys a change weighs on, and the newest few of them."""

    count: int
    keys: Sequence[PersonKey]

    @property
    def more(self) -> int:
        return self.count - len(self.keys)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a change weighs on, of so many keys: which it would have refused, and which would lose something."""

    live_count: int
    refused: Cost
    narrowed: Cost


def live_keys_of(person: User, principal: Principal, *, at: datetime) -> ApiKeyQuerySet:
    """Return the keys that act for a person, where the caller manages keys, newest first."""
    return _live(ApiKey.objects.administered_by(principal), person, at)


def seen_keys_of(person: User, principal: Principal, *, at: datetime) -> ApiKeyQuerySet:
    """Return the keys that act for a person, where the caller sees keys, newest first."""
    return _live(ApiKey.objects.overseen_by(principal), person, at)


def _live(keys: ApiKeyQuerySet, person: User, at: datetime) -> ApiKeyQuerySet:
    mine = keys.filter(issuer=person).acting_for_issuer().active(at=at)
    return mine.with_places().with_roles().newest_first()


def now(keys: Iterable[ApiKey], principal: Principal) -> list[PersonKey]:
    """Return what keys may do now, against what they were granted."""
    catalogue = rules_of(principal.organization_id).catalogue
    return [_person_key(key, catalogue, set(key.permissions) - {ALL}, roles_of(key)) for key in keys]


def after(keys: Iterable[ApiKey], principal: Principal, change: Change) -> list[PersonKey]:
    """Return what keys could do after a change to their issuer, against what they may do now."""
    catalogue = rules_of(principal.organization_id).catalogue
    return [
        _person_key(
            key,
            catalogue,
            _effective(key, catalogue, roles_of(key)),
            change(key.place_team_id, roles_of(key)),
        )
        for key in keys
    ]


def costs(keys: ApiKeyQuerySet, principal: Principal, change: Change) -> Costs:
    """Return what a change to the one issuer of keys would cost them; no more keys are read than are named.

    Someone with very many keys has few that differ in what counts here, so that each such kind is weighed once.
    """
    catalogue = rules_of(principal.organization_id).catalogue
    refused, narrowed, live_count = _Affected(), _Affected(), 0
    kinds = keys.order_by().values_list(*_KIND, "issuer__is_active", "organization_role", "team_role")
    for *kind, is_active, organization_role, team_role, count in kinds.annotate(count=Count("pk")):
        live_count += count
        roles = Roles(organization_role, team_role)
        found = _weighed(kind, catalogue, roles, change(kind[-1], roles), is_active=is_active)
        if found.is_affected:
            (refused if found.is_refused else narrowed).add(kind, count)
    _name(keys, refused, narrowed)
    rows = keys.filter(pk__in=[*refused.named, *narrowed.named])
    shown = after(rows, principal, change) if refused.count or narrowed.count else []
    return Costs(
        live_count,
        Cost(refused.count, [key for key in shown if key.is_refused]),
        Cost(narrowed.count, [key for key in shown if not key.is_refused]),
    )


def after_move(keys: ApiKeyQuerySet, team: Team, principal: Principal) -> list[PersonKey]:
    """Return what the keys of a project could do if it were another team's, against what they may do now."""
    catalogue = rules_of(principal.organization_id).catalogue
    roles = dict(team.memberships.values_list("membership__user_id", "role"))
    return [
        _person_key(
            key,
            catalogue,
            _effective(key, catalogue, roles_of(key)),
            Roles(roles_of(key).organization, roles.get(key.issuer_id)),
        )
        for key in keys.with_places().with_roles()
    ]


class _Affected:
    """Keys that a change weighs on alike: which kinds, how many, and the ids of the newest."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.count = 0
        self.named: list[UUID] = []

    def add(self, kind: Sequence[Any], count: int) -> None:
        self.kinds.add(repr(kind))
        self.count += count

    @property
    def is_named(self) -> bool:
        return len(self.named) >= min(self.count, KEYS_NAMED)


def _weighed(kind: Sequence[Any], catalogue: Catalogue, before: Roles, after: Roles, *, is_active: bool) -> PersonKey:
    """Weigh what stands for all keys of a kind."""
    permissions, key_kind, scope, _ = kind
    sample = ApiKey(permissions=permissions, kind=key_kind, scope=scope, issuer=User(is_active=is_active))
    return _person_key(sample, catalogue, _effective(sample, catalogue, before), after)


def _name(keys: ApiKeyQuerySet, *groups: _Affected) -> None:
    """Find the newest few of each group, without reading on once there are enough."""
    if all(group.is_named for group in groups):
        return
    for pk, *kind in keys.values_list("pk", *_KIND).iterator(chunk_size=100):
        for group in groups:
            if repr(kind) in group.kinds and not group.is_named:
                group.named.append(pk)
        if all(group.is_named for group in groups):
            return


def roles_of(api_key: ApiKey) -> Roles:
    """Return the roles behind a key now; it must have been read `with_roles`."""
    return Roles(
        api_key.organization_role,  # type: ignore[attr-defined] # annotated by `with_roles`
        api_key.team_role,  # type: ignore[attr-defined] # annotated by `with_roles`
    )


def in_team(team_id: UUID, role: str | None) -> Change:
    """The person gets another role in a team, or none: they leave it."""

    def change(ruling_team_id: UUID | None, now: Roles) -> Roles:
        return Roles(now.organization, role) if ruling_team_id == team_id else now

    return change


def in_organization(role: str | None) -> Change:
    """The person gets another role in the organization, or none: they leave it. That, or an auditor, is in no team."""

    def change(_ruling_team_id: UUID | None, now: Roles) -> Roles:
        return Roles(role, now.team if role not in {None, AUDITOR} else None)

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
    if roles.organization in {None, AUDITOR} or not api_key.issuer.is_active:
        return True
    role = role_now(account=None, organization=roles.organization, team=roles.team)
    return api_key.scope != ApiKey.Scope.ORG and role is None
