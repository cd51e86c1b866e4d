"""What keys may do: the catalogue, what a role may grant, `effective = key ∩ role now`. Pure.

A key never holds more than its issuer's role allows at the moment of the request: demote the person and the
key falls with them. Names are public: added, never renamed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import groupby
from types import MappingProxyType
from typing import Final

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
    may_be_publishable: bool = False

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


_ENTRIES = (
    Permission("projects:read", "See the projects of its scope."),
    Permission("keys:read", "See API keys: label, scope, permissions, and who used them from where; never the secret."),
    Permission("keys:write", "Issue and revoke API keys.", Role.TEAM_ADMIN),
    Permission("audit:read", "Read and filter the audit log.", Role.TEAM_ADMIN),
    Permission("analysis:create", "Send data to be analysed.", may_be_publishable=True),
    Permission("analysis:read", "Read analyses and their results.", may_be_publishable=True),
    Permission("scan:trigger", "Start a scan."),
    Permission("scan:read", "Read scans and their findings."),
    Permission("report:download", "Download finished reports."),
    Permission("deployments:read", "See deployments and their state."),
    Permission("deployments:write", "Create and change deployments.", Role.TEAM_ADMIN),
    Permission("deployments:delete", "Delete deployments.", Role.TEAM_ADMIN),
    Permission("operations:read", "Follow running and finished operations."),
    Permission("org:read", "Read the organization, its teams and its settings.", Role.SUPER_ADMIN),
    Permission("webhook:receive", "Deliver events to inbound webhooks."),
)
CATALOGUE: Final[Mapping[str, Permission]] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
PUBLISHABLE: Final = frozenset(entry.name for entry in _ENTRIES if entry.may_be_publishable)

_ISSUERS: Final[Mapping[str, Role]] = MappingProxyType(
    {"org": Role.SUPER_ADMIN, "team": Role.TEAM_ADMIN, "project": Role.DEVELOPER}
)
_NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "projects": "projects",
        "keys": "API keys",
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
_VERBS: Final[Mapping[str, str]] = MappingProxyType({"keys:write": "manage"})  # where it is not the action itself
_SCOPES: Final[Mapping[str, str]] = MappingProxyType({"org": "organization", "team": "team", "project": "project"})


@cache
def grantable(role: Role | None) -> frozenset[str]:
    """Return the names of all permissions that this role may give to a key."""
    if role is None:
        return frozenset()
    return frozenset(entry.name for entry in CATALOGUE.values() if role >= entry.least_role)


def effective(granted: Collection[str], role: Role | None) -> frozenset[str]:
    """Return what a key may do now: what it was granted and its issuer's present role allows.

    `*` becomes all that the role allows; names that are not in the catalogue vanish.
    """
    allowed = grantable(role)
    return allowed if ALL in granted else allowed.intersection(granted)


def not_grantable(granted: Iterable[str], role: Role | None) -> set[str]:
    """Return the names that this role may not grant, unknown ones included; empty means that all is well.

    `*` may be granted by any role, as it never means more than that role.
    """
    allowed = grantable(role) if role is None else grantable(role) | {ALL}
    return set(granted) - allowed


def unknown(names: Iterable[str]) -> list[str]:
    """Return, sorted, the names that are neither in the catalogue nor `*`."""
    return sorted(set(names) - CATALOGUE.keys() - {ALL})


def may_issue_scope(scope: str, role: Role | None) -> bool:
    """Return whether this role may issue keys of this scope; whose team it is, is for the caller to know."""
    least = _ISSUERS.get(scope)
    return role is not None and least is not None and role >= least


def by_resource() -> tuple[Group, ...]:
    """Return the catalogue in groups, in its own order."""
    return tuple(
        Group(resource, _title(resource), tuple(permissions))
        for resource, permissions in groupby(CATALOGUE.values(), key=lambda entry: entry.resource)
    )


def describe(
    *, permissions: Collection[str], scope_title: str, scope: str, environment: str, expires_phrase: str
) -> str:
    """Say in plain words what a key can and cannot do, as plain text that a template must escape.

    :param scope_title: name of the organization, team or project; empty while none is chosen.
    :param scope: `org`, `team` or `project`; empty while none is chosen.
    :param environment: `live`, `test` or empty.
    :param expires_phrase: how long, to end the sentence with: "until 18 February 2027", "with no expiry", or
        empty.
    """
    chosen = [entry for entry in CATALOGUE.values() if entry.name in permissions]
    if not chosen and ALL not in permissions:
        return "Can do nothing yet: choose at least one permission."
    can, cannot = _powers(chosen, has_all=ALL in permissions)
    place = (_place(scope, scope_title), f"({environment})" if environment else "", expires_phrase)
    return f"{' '.join(('Can', can, *filter(None, place)))}. Cannot {cannot}."


def _powers(chosen: Sequence[Permission], *, has_all: bool) -> tuple[str, str]:
    """Return what follows "Can" and "Cannot"; whichever of the two lists is the shorter is told in full."""
    missing = [entry for entry in CATALOGUE.values() if entry not in chosen]
    if has_all:
        return "do everything its issuer's role allows", "do more than its issuer may at that moment"
    if not missing:
        return "do everything there is a permission for", "do more than its issuer's role allows"
    if len(missing) <= 3:
        return "do almost everything", _listed(_phrases(missing, "or"), "or")
    return _listed(_phrases(chosen, "and"), "and"), _listed([*_withheld(chosen), "do anything else"], "or")


def _withheld(chosen: Sequence[Permission]) -> list[str]:
    """Return the kinds of action of which nothing at all was chosen."""
    actions = {entry.action for entry in chosen if entry.name != "keys:write"}
    kinds = (("read", {"read"}), ("write", {"write", "create"}), ("delete", {"delete"}))
    withheld = [kind for kind, among in kinds if not actions & among]
    return withheld if CATALOGUE["keys:write"] in chosen else [*withheld, "manage keys"]


def _phrases(permissions: Iterable[Permission], word: str) -> list[str]:
    """Return "trigger and read scans" and the like; resources with the same actions share a phrase."""
    nouns: dict[str, list[str]] = {}
    for resource, group in groupby(permissions, key=lambda entry: entry.resource):
        verbs = _listed([_VERBS.get(entry.name, entry.action) for entry in group], word)
        nouns.setdefault(verbs, []).append(_NOUNS[resource])
    return [f"{verbs} {_listed(named, word)}" for verbs, named in nouns.items()]


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
    noun = _NOUNS[resource].removeprefix("the ")
    return noun[0].upper() + noun[1:]
