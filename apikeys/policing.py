"""What a policy asks of keys, and which keys fall short of it: asked before a policy is changed, and while it is."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.db.models import Q
from django.utils.crypto import salted_hmac

from accounts.models import Role
from apikeys.models import ApiKey
from apikeys.networks import is_inside, is_narrower
from apikeys.permissions import ALL, role_now
from apikeys.permissions import Role as KeyRole
from apikeys.rules import Rules

# In days.
MAX_LIFETIME = 1825
MAX_UNUSED = 3650
# Sets of permissions that never go together, and permissions in one of them.
MAX_SETS = 50
MAX_IN_SET = 20
GRACE = timedelta(days=30)
USED_TODAY = timedelta(days=1)
EXAMPLES = 20


class Rule(StrEnum):
    """A part of a policy that keys can fall short of."""

    LIFETIME = "lifetime"
    EXPIRY = "expiry"
    SCOPE = "scope"
    TOGETHER = "together"
    NETWORKS = "networks"
    UNUSED = "unused"


# Keys that break one of these end on the date for existing keys.
ENDING = frozenset({Rule.LIFETIME, Rule.EXPIRY, Rule.SCOPE, Rule.TOGETHER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All that a policy says, as a value; the defaults are those of an organization that has said nothing."""

    max_lifetime: int | None = None
    is_expiry_required: bool = False
    team_issuers: str = Role.TEAM_ADMIN.value
    project_issuers: str = Role.DEVELOPER.value
    never_together: tuple[tuple[str, ...], ...] = ()
    networks: tuple[str, ...] = ()
    warn_unused_after: int | None = 90
    disable_unused_after: int | None = None
    rotate_after: int | None = 90

    @classmethod
    def of(cls, rules: Rules) -> "Terms":
        policy = rules.policy
        stored = {name: getattr(policy, name) for name in cls.stored_names()}
        together = tuple(tuple(names) for names in policy.never_together)
        networks = rules.networks.networks if rules.networks else ()
        return cls(**stored | {"never_together": together}, networks=networks)

    @staticmethod
    def stored_names() -> tuple[str, ...]:
        """Return the names of what the policy's row holds: all but the networks, which are the organization's."""
        return tuple(name for name in Terms.__slots__ if name != "networks")

    @property
    def named(self) -> frozenset[str]:
        """The permissions that it names; one that was removed since is named still."""
        return frozenset(name for names in self.never_together for name in names)

    @property
    def digest(self) -> str:
        """What names exactly these terms; it cannot be made up."""
        text = json.dumps([self.as_stored(), self.networks], sort_keys=True)
        return salted_hmac("apikeys.policing", text, algorithm="sha256").hexdigest()

    def as_stored(self) -> dict[str, Any]:
        """Return the values of the policy's row."""
        values = {name: value for name, value in asdict(self).items() if name != "networks"}
        return values | {"never_together": [list(names) for names in self.never_together]}


class Weighed(Protocol):
    """What is asked of a key to tell which rules it breaks; a row read `with_roles` has it."""

    @property
    def scope(self) -> Any: ...
    @property
    def permissions(self) -> Any: ...
    @property
    def created_at(self) -> Any: ...
    @property
    def imported_at(self) -> Any: ...
    @property
    def expires_at(self) -> Any: ...
    @property
    def disabled_at(self) -> Any: ...
    @property
    def last_used_at(self) -> Any: ...
    @property
    def last_used_ip(self) -> Any: ...


class _Facts(NamedTuple):
    """The columns of a key that `Weighed` names, read without the rest."""

    id: UUID
    scope: str
    permissions: list[str]
    created_at: datetime
    imported_at: datetime | None
    expires_at: datetime | None
    disabled_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None
    organization_role: str | None
    team_role: str | None


@dataclass(slots=True)
class Effect:
    """The keys that a rule touches: how many, how many of them were used within a day, and the newest few."""

    rule: Rule
    keys: int = 0
    used_today: int = 0
    ids: list[UUID] = field(default_factory=list)
    examples: list[ApiKey] = field(default_factory=list)

    def count(self, key: _Facts, at: datetime) -> None:
        self.keys += 1
        self.used_today += bool(key.last_used_at and key.last_used_at >= at - USED_TODAY)
        if len(self.ids) < EXAMPLES:
            self.ids.append(key.id)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change of policy would touch; `ending` are the keys that would get the date as their end."""

    before: Terms
    after: Terms
    existing_from: datetime
    effects: list[Effect]
    ending: list[UUID]
    ending_used_today: int


def normal_sets(sets: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Return sets of permissions in their one form: each sorted, none twice, none that another makes needless."""
    found = {frozenset(names) for names in sets}
    return tuple(sorted(tuple(sorted(names)) for names in found if not any(other < names for other in found)))


def stricter(before: Terms, after: Terms) -> Terms:
    """Return what one policy demands beyond another; what stays as it is, or is loosened, demands nothing."""
    defaults = Terms()
    return Terms(
        max_lifetime=_less(after.max_lifetime, before.max_lifetime),
        is_expiry_required=after.is_expiry_required and not before.is_expiry_required,
        team_issuers=_greater(after.team_issuers, before.team_issuers) or defaults.team_issuers,
        project_issuers=_greater(after.project_issuers, before.project_issuers) or defaults.project_issuers,
        never_together=tuple(
            names for names in after.never_together if not any(set(old) <= set(names) for old in before.never_together)
        ),
        networks=after.networks if is_narrower(after.networks, before.networks) else (),
        disable_unused_after=_less(after.disable_unused_after, before.disable_unused_after),
    )


def _less(after: int | None, before: int | None) -> int | None:
    return after if after is not None and (before is None or after < before) else None


def _greater(after: str, before: str) -> str:
    return after if KeyRole(after) > KeyRole(before) else ""


def outlasts(max_lifetime: int | None, created_at: datetime, expires_at: datetime | None) -> bool:
    """Say whether a key lives longer than so many days."""
    if max_lifetime is None:
        return False
    return expires_at is None or expires_at - created_at > timedelta(days=max_lifetime)


def held_together(sets: Sequence[Sequence[str]], permissions: Collection[str]) -> Sequence[str]:
    """Return the first set of permissions of which a key holds all; `*` holds every one."""
    return next((names for names in sets if ALL in permissions or set(names) <= set(permissions)), ())


def idle_since(key: Weighed) -> datetime:
    """Return when a key was last used, or came here if it never was."""
    since: datetime = key.last_used_at or key.imported_at or key.created_at
    return since


def broken(terms: Terms, key: Weighed, *, at: datetime) -> Iterator[Rule]:
    """Yield the rules that a key breaks."""
    if outlasts(terms.max_lifetime, key.created_at, key.expires_at):
        yield Rule.LIFETIME
    if terms.is_expiry_required and key.expires_at is None:
        yield Rule.EXPIRY
    if _is_above_its_issuer(terms, key):
        yield Rule.SCOPE
    if held_together(terms.never_together, key.permissions):
        yield Rule.TOGETHER
    if terms.networks and key.last_used_ip and not is_inside(key.last_used_ip, terms.networks):
        yield Rule.NETWORKS
    if terms.disable_unused_after and not key.disabled_at and is_idle(key, terms.disable_unused_after, at=at):
        yield Rule.UNUSED


def is_idle(key: Weighed, days: int, *, at: datetime) -> bool:
    """Say whether a key has not been used for so many days."""
    return idle_since(key) < at - timedelta(days=days)


def _is_above_its_issuer(terms: Terms, key: Any) -> bool:
    """Say whether whoever issued a key could not do so under these terms.

    Who has no role any more is no longer asked: such a key is refused, or a service account's steward answers for it.
    """
    demanded = {"team": terms.team_issuers, "project": terms.project_issuers}.get(key.scope)
    usual = {"team": Role.TEAM_ADMIN, "project": Role.DEVELOPER}.get(key.scope)
    role = role_now(account=None, organization=key.organization_role, team=key.team_role)
    return demanded is not None and demanded != usual and role is not None and role < demanded


def preview(organization_id: UUID, before: Terms, after: Terms, *, existing_from: datetime, at: datetime) -> Preview:
    """Return what a change would touch now: keys that go on beyond the date and break a rule that is new or stricter.

    The change asks the same, so that it touches exactly these.
    """
    terms = stricter(before, after)
    effects = {rule: Effect(rule) for rule in Rule if _demands(terms, rule)}
    ending: list[UUID] = []
    ending_used_today = 0
    for key in _lasting(organization_id, existing_from, at) if effects else ():
        rules = set(broken(terms, key, at=at))
        for rule in rules:
            effects[rule].count(key, at)
        if rules & ENDING:
            ending.append(key.id)
            ending_used_today += bool(key.last_used_at and key.last_used_at >= at - USED_TODAY)
    return Preview(before, after, existing_from, list(effects.values()), ending, ending_used_today)


def with_examples(found: Preview) -> Preview:
    """Read the keys that a preview shows by name."""
    wanted = {key_id for effect in found.effects for key_id in effect.ids}
    rows = ApiKey.objects.with_places().in_bulk(wanted)
    for effect in found.effects:
        effect.examples = [rows[key_id] for key_id in effect.ids if key_id in rows]
    return found


def is_beyond(key: Weighed, moment: datetime) -> bool:
    """Say whether a key goes on after a moment."""
    return key.expires_at is None or key.expires_at > moment


def _demands(terms: Terms, rule: Rule) -> bool:
    """Say whether terms have a rule at all."""
    defaults = Terms()
    names = {
        Rule.LIFETIME: ("max_lifetime",),
        Rule.EXPIRY: ("is_expiry_required",),
        Rule.SCOPE: ("team_issuers", "project_issuers"),
        Rule.TOGETHER: ("never_together",),
        Rule.NETWORKS: ("networks",),
        Rule.UNUSED: ("disable_unused_after",),
    }
    return any(getattr(terms, name) != getattr(defaults, name) for name in names[rule])


def _lasting(organization_id: UUID, existing_from: datetime, at: datetime) -> Iterator[_Facts]:
    """Yield the keys of an organization that have not ended and go on beyond a moment, newest first."""
    keys = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=existing_from), organization_id=organization_id)
    rows = keys.active(at=at).with_roles().newest_first().values_list(*_Facts._fields)
    return map(_Facts._make, rows.iterator(chunk_size=2000))
