"""What keys may do: the catalogue, what a role may grant, `effective = key ∩ role now`. Pure.

A key never holds more than its issuer's role allows at the moment of the request: demote the person and the
key falls with them. Names are public: added, never renamed.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

# A role that grants nothing, whatever else is held.
AUDITOR: Final = "auditor"
ALL: Final = "*"  # whatever the issuer's role allows, now


class Role(StrEnum):
    """What a person is in a team (developer, team admin) or the organization (super admin), least first.

    A member of the organization without a team has no role, written None, and may grant nothing.
    """

    DEVELOPER = "developer"
    TEAM_ADMIN = "team_admin"
    SUPER_ADMIN = "super_admin"

    @property
    def rank(self) -> int:
        return tuple(Role).index(self)

    # Without these four, roles would compare as strings, and "super_admin" < "team_admin".
    def __lt__(self, other: str) -> bool:
        return self.rank < Role(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Role(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Role(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Role(other).rank


@dataclass(frozen=True, slots=True)
class Permission:
    """One allowed action, `resource:action`, and the least role that may grant it."""

    name: str
    sentence: str
    least_role: Role = Role.DEVELOPER

    @property
    def resource(self) -> str:
        return self.name.partition(":")[0]

    @property
    def action(self) -> str:
        return self.name.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Group:
    """The permissions on one resource, for a form."""

    resource: str
    title: str
    permissions: tuple[Permission, ...]


class NotACatalogueEntry(ValueError):
    """A permission cannot be added to a catalogue; the sentence says why."""


# What keyportal's own endpoints ask for. Nobody adds to these, and no publishable key ever holds one.
OWN_RESOURCES: Final = frozenset({"projects", "keys", "service_accounts", "audit", "org"})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}:[a-z][a-z0-9_-]{0,39}")
MAX_ADDED: Final = 100

_ENTRIES = (
    Permission("projects:read", "See the projects of its scope."),
    Permission("keys:read", "See API keys: label, scope, permissions, and who used them from where; never the secret."),
    Permission("keys:write", "Issue, rotate, disable and revoke API keys.", Role.TEAM_ADMIN),
    Permission("keys:rotate_self", "Rotate itself: get its own successor, to store that in its place."),
    Permission("service_accounts:read", "See service accounts and their stewards."),
    Permission("service_accounts:write", "Create and stop service accounts.", Role.TEAM_ADMIN),
    Permission("audit:read", "Read and filter the audit log.", Role.TEAM_ADMIN),
    Permission("analysis:create", "Send data to be analysed."),
    Permission("analysis:read", "Read analyses and their results."),
    Permission("scan:trigger", "Start a scan."),
    Permission("scan:read", "Read scans and their findings."),
    Permission("report:download", "Download finished reports."),
    Permission("deployments:read", "See deployments and their state."),
    Permission("deployments:write", "Create and change deployments.", Role.TEAM_ADMIN),
    Permission("deployments:delete", "Delete deployments.", Role.TEAM_ADMIN),
    Permission("operations:read", "Follow running and finished operations."),
    Permission("org:read", "Read the organization, its policies and its catalogue.", Role.SUPER_ADMIN),
    Permission("org:write", "Change the organization's policies and its catalogue.", Role.SUPER_ADMIN),
    Permission("webhook:receive", "Deliver events to inbound webhooks."),
)
# What publishable keys get, unless the organization says otherwise.
PUBLISHABLE: Final = frozenset({"analysis:create", "analysis:read"})
# Enough to look at everything and to change nothing.
_READING_ACTIONS: Final = frozenset({"read", "download"})

_ISSUERS: Final[Mapping[str, Role]] = MappingProxyType(
    {"org": Role.SUPER_ADMIN, "team": Role.TEAM_ADMIN, "project": Role.DEVELOPER}
)
_NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "projects": "projects",
        "keys": "API keys",
        "service_accounts": "service accounts",
        "audit": "the audit log",
        "analysis": "analyses",
        "scan": "scans",
        "report": "reports",
        "deployments": "deployments",
        "operations": "operations",
        "org": "the organization",
        "webhook": "webhooks",
    }
)
# What is no action on a resource, and so a phrase by itself.
_WHOLE_PHRASES: Final[Mapping[str, str]] = MappingProxyType({"keys:rotate_self": "rotate itself"})
# Where it is not the action itself.
_VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {"keys:write": "manage", "service_accounts:write": "manage", "org:write": "change"}
)
_SCOPES: Final[Mapping[str, str]] = MappingProxyType({"org": "organization", "team": "team", "project": "project"})


@dataclass(frozen=True)
class Catalogue:
    """The permissions that there are in an organization: the built-in ones and those it added.

    `publishable` are the names that its publishable keys get, all of them and no others.
    """

    entries: tuple[Permission, ...] = _ENTRIES
    publishable: frozenset[str] = PUBLISHABLE

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Catalogue":
        """Return the catalogue that an organization has stored: `{"added": […], "publishable": […]}`, both optional."""
        if not stored:
            return BUILT_IN
        added = [
            Permission(entry["name"], entry["sentence"], Role(entry["least_role"])) for entry in stored.get("added", [])
        ]
        resources = list(dict.fromkeys(entry.resource for entry in (*_ENTRIES, *added)))
        entries = sorted((*_ENTRIES, *added), key=lambda entry: resources.index(entry.resource))
        return cls(tuple(entries), frozenset(stored.get("publishable", PUBLISHABLE)))

    def as_stored(self) -> dict[str, Any]:
        """Return what `of` reads: what the organization added, and what it publishes."""
        added = [
            {"name": entry.name, "sentence": entry.sentence, "least_role": entry.least_role.value}
            for entry in self.added
        ]
        return {"added": added, "publishable": sorted(self.publishable)}

    @cached_property
    def by_name(self) -> Mapping[str, Permission]:
        return {entry.name: entry for entry in self.entries}

    @property
    def added(self) -> tuple[Permission, ...]:
        """What the organization added, in its order."""
        return tuple(entry for entry in self.entries if entry not in _ENTRIES)

    @property
    def may_be_publishable(self) -> tuple[Permission, ...]:
        """What an organization may give to publishable keys: nothing that reaches keyportal itself."""
        return tuple(entry for entry in self.entries if entry.name in PUBLISHABLE or entry in self.added)

    def adding(self, entry: Permission) -> "Catalogue":
        """Return this catalogue with one permission more, or with another sentence and role for one that was added.

        :raises NotACatalogueEntry: if the name is none, is built in, or belongs to keyportal's own endpoints.
        """
        if not _NAME.fullmatch(entry.name):
            raise NotACatalogueEntry("A permission is resource:action, in lower-case letters, digits, _ and -.")
        if entry.name in BUILT_IN.by_name:
            raise NotACatalogueEntry("This permission is built in.")
        if entry.resource in OWN_RESOURCES:
            raise NotACatalogueEntry(f"What begins with {entry.resource}: belongs to keyportal's own endpoints.")
        others = [other for other in self.added if other.name != entry.name]
        if len(others) >= MAX_ADDED:
            raise NotACatalogueEntry(f"An organization adds at most {MAX_ADDED} permissions.")
        return self._with([*others, entry], self.publishable)

    def without(self, name: str) -> "Catalogue":
        """Return this catalogue without a permission that was added; keys that have it can do it no more."""
        return self._with([entry for entry in self.added if entry.name != name], self.publishable - {name})

    def publishing(self, names: Collection[str]) -> "Catalogue":
        """Return this catalogue with these as the permissions of publishable keys.

        :raises NotACatalogueEntry: if one of them may not be published.
        """
        allowed = {entry.name for entry in self.may_be_publishable}
        if refused := sorted(set(names) - allowed):
            raise NotACatalogueEntry(f"Publishable keys may not have: {', '.join(refused)}.")
        return self._with(self.added, names)

    def _with(self, added: Iterable[Permission], publishable: Collection[str]) -> "Catalogue":
        entries = [
            {"name": entry.name, "sentence": entry.sentence, "least_role": entry.least_role.value} for entry in added
        ]
        return Catalogue.of({"added": entries, "publishable": sorted(publishable)})

    def grantable(self, role: Role | None) -> frozenset[str]:
        """Return the names of all permissions that this role may give to a key."""
        if role is None:
            return frozenset()
        return frozenset(entry.name for entry in self.entries if role >= entry.least_role)

    def effective(self, granted: Collection[str], role: Role | None, *, is_publishable: bool = False) -> frozenset[str]:
        """Return what a key may do now: what it was granted and its issuer's present role allows.

        `*` becomes all that the role allows; names that are not in the catalogue vanish, and from a publishable key
        whatever is published no more.
        """
        allowed = self.grantable(role)
        if is_publishable:
            return allowed & self.publishable & frozenset(granted)
        return allowed if ALL in granted else allowed.intersection(granted)

    def not_grantable(self, granted: Iterable[str], role: Role | None) -> set[str]:
        """Return the names that this role may not grant, unknown ones included; empty means that all is well.

        `*` may be granted by any role, as it never means more than that role.
        """
        allowed = self.grantable(role) if role is None else self.grantable(role) | {ALL}
        return set(granted) - allowed

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return, sorted, the names that are neither in the catalogue nor `*`."""
        return sorted(set(names) - self.by_name.keys() - {ALL})

    def reading(self) -> frozenset[str]:
        """Return the permissions that let a key look at things and change nothing."""
        return frozenset(entry.name for entry in self.entries if entry.action in _READING_ACTIONS)

    def by_resource(self) -> tuple[Group, ...]:
        """Return the catalogue in groups, in its own order."""
        return tuple(
            Group(resource, _title(resource), tuple(permissions))
            for resource, permissions in groupby(self.entries, key=lambda entry: entry.resource)
        )

    def describe(
        self, *, permissions: Collection[str], scope_title: str, scope: str, environment: str, expires_phrase: str
    ) -> str:
        """Say in plain words what a key can and cannot do, as plain text that a template must escape.

        :param scope_title: name of the organization, team or project; empty while none is chosen.
        :param scope: `org`, `team` or `project`; empty while none is chosen.
        :param environment: `live`, `test` or empty.
        :param expires_phrase: how long, to end the sentence with: "until 18 February 2027", "with no expiry", or
            empty.
        """
        chosen = [entry for entry in self.entries if entry.name in permissions]
        if not chosen and ALL not in permissions:
            return "Can do nothing yet: choose at least one permission."
        can, cannot = self._powers(chosen, has_all=ALL in permissions)
        place = (_place(scope, scope_title), f"({environment})" if environment else "", expires_phrase)
        missing = "" if scope else " Choose a scope."
        return f"{' '.join(('Can', can, *filter(None, place)))}. Cannot {cannot}.{missing}"

    def _powers(self, chosen: Sequence[Permission], *, has_all: bool) -> tuple[str, str]:
        """Return what follows "Can" and "Cannot"; whichever of the two lists is the shorter is told in full."""
        missing = [entry for entry in self.entries if entry not in chosen]
        if has_all:
            return "do everything its issuer's role allows", "do more than its issuer may at that moment"
        if not missing:
            return "do everything there is a permission for", "do more than its issuer's role allows"
        if len(missing) <= 3:
            return "do almost everything", _listed(_phrases(missing, "or"), "or")
        return _listed(_phrases(chosen, "and"), "and"), _listed([*_withheld(chosen), "do anything else"], "or")


BUILT_IN: Final = Catalogue()


def role_now(*, account: str | None, organization: str | None, team: str | None) -> Role | None:
    """Return the role with which a key acts: its service account's (T21), or that of its issuer where it acts (T5).

    :param account: the role of the service account that it acts for, if it does.
    :param organization: its issuer's role in the organization, if they are in it; an auditor's keys may do nothing.
    :param team: its issuer's role in the team that rules over it, if they are in it.
    """
    if account:
        return Role(account)
    if organization == Role.SUPER_ADMIN:
        return Role.SUPER_ADMIN
    return Role(team) if team and organization not in {None, AUDITOR} else None


def may_issue_scope(scope: str, role: Role | None, *, issuers: Mapping[str, Role] = _ISSUERS) -> bool:
    """Return whether this role may issue keys of this scope; whose team it is, is for the caller to know.

    :param issuers: the least role of each scope, where the organization's policy asks for more than T4.
    """
    least = issuers.get(scope)
    return role is not None and least is not None and role >= max(least, _ISSUERS[scope])


def _withheld(chosen: Sequence[Permission]) -> list[str]:
    """Return the kinds of action of which nothing at all was chosen."""
    names = {entry.name for entry in chosen}
    actions = {entry.action for entry in chosen if entry.name not in _VERBS}
    kinds = (("read", {"read"}), ("write", {"write", "create"}), ("delete", {"delete"}))
    withheld = [kind for kind, among in kinds if not actions & among]
    return withheld if "keys:write" in names else [*withheld, "manage keys"]


def _phrases(permissions: Iterable[Permission], word: str) -> list[str]:
    """Return "trigger and read scans" and the like; resources with the same actions share a phrase."""
    chosen = list(permissions)
    nouns: dict[str, list[str]] = {}
    plain = [entry for entry in chosen if entry.name not in _WHOLE_PHRASES]
    for resource, group in groupby(plain, key=lambda entry: entry.resource):
        verbs = _listed([_VERBS.get(entry.name, entry.action.replace("_", " ")) for entry in group], word)
        nouns.setdefault(verbs, []).append(_noun(resource))
    phrases = [f"{verbs} {_listed(named, word)}" for verbs, named in nouns.items()]
    return phrases + [_WHOLE_PHRASES[entry.name] for entry in chosen if entry.name in _WHOLE_PHRASES]


def _listed(items: Sequence[str], word: str) -> str:
    """Join items as English does, with a comma before the last where an item itself holds the word."""
    if len(items) < 2:
        return items[0]
    comma = "," if any(f" {word} " in item for item in items) else ""
    return f"{', '.join(items[:-1])}{comma} {word} {items[-1]}"


def _place(scope: str, title: str) -> str:
    noun = _SCOPES.get(scope, "")
    if not noun:
        return ""
    return f"in {noun} {title}" if title else f"in the {noun} you choose"


def _title(resource: str) -> str:
    noun = _noun(resource).removeprefix("the ")
    return noun[0].upper() + noun[1:]


def _noun(resource: str) -> str:
    return _NOUNS.get(resource) or resource.replace("_", " ").replace("-", " ")
