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
from django.utils.crypto import salted_hmac

from accounts.models import Project, Team, User
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
_MOVED_KIND = (*_KIND, "issuer_id")


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


@dataclass(frozen=True, slots=True)
class MovePreview:
    """What becomes of a project's live keys in another team: how many would be refused, lose something, stay.

    :param shown: the newest of those that a move weighs on, and where there is room, of the others.
    :param for_accounts: how many act for service accounts, which hold the move back.
    :param digest: stands for all of it, so that nothing else is done than was shown.
    """

    refused: int
    narrowed: int
    unchanged: int
    shown: Sequence[PersonKey]
    for_accounts: int
    digest: str

    @property
    def count(self) -> int:
        return self.refused + self.narrowed + self.unchanged

    @property
    def more(self) -> int:
        return self.count - len(self.shown)


def preview_move(project: Project, team: Team, principal: Principal, *, at: datetime, most: int = 25) -> MovePreview:
    """Weigh each kind of key of a project once; no more keys are read than are named."""
    catalogue = rules_of(principal.organization_id).catalogue
    live = ApiKey.objects.active(at=at).filter(project=project)
    keys = live.acting_for_issuer().with_roles().newest_first()
    roles = dict(team.memberships.values_list("membership__user_id", "role"))
    refused, narrowed, unchanged = _Affected(most), _Affected(most), _Affected(most)
    said = []
    kinds = keys.order_by().values_list(*_MOVED_KIND, "issuer__is_active", "organization_role", "team_role")
    for *kind, is_active, organization_role, team_role, count in kinds.annotate(count=Count("pk")):
        after = Roles(organization_role, roles.get(kind[-1]))
        found = _weighed(kind[:-1], catalogue, Roles(organization_role, team_role), after, is_active=is_active)
        (refused if found.is_refused else narrowed if found.lost else unchanged).add(kind, count)
        said.append(repr((kind, count, found.effective, found.lost, found.is_refused)))
    _name(keys, refused, narrowed, unchanged, columns=_MOVED_KIND)
    named = [*refused.named, *narrowed.named, *unchanged.named][:most]
    weighed = {key.api_key.pk: key for key in after_move(ApiKey.objects.filter(pk__in=named), team, principal)}
    for_accounts = live.exclude(service_account=None).count()
    said = [str(project.pk), str(project.team_id), str(team.pk), str(for_accounts), *sorted(said)]
    return MovePreview(
        refused.count,
        narrowed.count,
        unchanged.count,
        [weighed[pk] for pk in named if pk in weighed],
        for_accounts,
        salted_hmac("keyportal.moving", "\n".join(said), algorithm="sha256").hexdigest(),
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

    def __init__(self, most: int = KEYS_NAMED) -> None:
        self.most = most
        self.kinds: set[str] = set()
        self.count = 0
        self.named: list[UUID] = []

    def add(self, kind: Sequence[Any], count: int) -> None:
        self.kinds.add(repr(kind))
        self.count += count

    @property
    def is_named(self) -> bool:
        return len(self.named) >= min(self.count, self.most)


def _weighed(kind: Sequence[Any], catalogue: Catalogue, before: Roles, after: Roles, *, is_active: bool) -> PersonKey:
    """Weigh what stands for all keys of a kind."""
    permissions, key_kind, scope, _ = kind
    sample = ApiKey(permissions=permissions, kind=key_kind, scope=scope, issuer=User(is_active=is_active))
    return _person_key(sample, catalogue, _effective(sample, catalogue, before), after)


def _name(keys: ApiKeyQuerySet, *groups: _Affected, columns: Sequence[str] = _KIND) -> None:
    """Find the newest few of each group, without reading on once there are enough."""
    if all(group.is_named for group in groups):
        return
    for pk, *kind in keys.values_list("pk", *columns).iterator(chunk_size=100):
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
