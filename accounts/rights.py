"""Who may do what: the one table from which pages, endpoints, their tests and docs/roles.md are made.

A right is asked for in a team, or in the organization. What a key may do is narrowed further by its permissions and
its scope. What everyone may do with their own account and the keys they issued is in no table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from uuid import UUID

from accounts.roles import Role

if TYPE_CHECKING:
    from accounts.principals import Principal


class Right(StrEnum):
    """What can be allowed, as `thing.verb`."""

    ORGANIZATION_SEE = "organization.see"
    ORGANIZATION_CHANGE = "organization.change"
    SECURITY_CHANGE = "security.change"
    POLICIES_CHANGE = "policies.change"
    PERMISSIONS_CHANGE = "permissions.change"
    PEOPLE_SEE = "people.see"
    PEOPLE_MANAGE = "people.manage"
    TEAMS_CREATE = "teams.create"
    TEAMS_ARCHIVE = "teams.archive"
    ORGANIZATION_KEYS_MANAGE = "organization_keys.manage"
    AUDIT_SEE = "audit.see"
    TEAM_SEE = "team.see"
    TEAM_CHANGE = "team.change"
    MEMBERS_MANAGE = "members.manage"
    PROJECTS_MANAGE = "projects.manage"
    SERVICE_ACCOUNTS_MANAGE = "service_accounts.manage"
    TEAM_KEYS_SEE = "team_keys.see"
    TEAM_KEYS_MANAGE = "team_keys.manage"
    PROJECT_KEYS_SEE = "project_keys.see"
    PROJECT_KEYS_ISSUE = "project_keys.issue"
    TEAM_AUDIT_SEE = "team_audit.see"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a right lets one do, in words, and which roles have it."""

    sentence: str
    roles: frozenset[Role]
    is_of_team: bool = False
    # Whether a key may have it too, inside its scope and with the permission that the endpoint names.
    is_for_keys: bool = True


_SUPER = frozenset({Role.SUPER_ADMIN})
_READERS = _SUPER | {Role.AUDITOR}
_ADMINS = _SUPER | {Role.TEAM_ADMIN}
_TEAM = _ADMINS | {Role.DEVELOPER}

RULES: Final[Mapping[Right, Rule]] = MappingProxyType(
    {
        Right.ORGANIZATION_SEE: Rule("See the organization's own keys; by API, its policies.", _READERS),
        Right.ORGANIZATION_CHANGE: Rule("Change the organization's name and settings.", _SUPER, is_for_keys=False),
        Right.SECURITY_CHANGE: Rule(
            "Change how people have to sign in, its domains and groups.", _SUPER, is_for_keys=False
        ),
        Right.POLICIES_CHANGE: Rule("Change the policies of keys.", _SUPER),
        Right.PERMISSIONS_CHANGE: Rule("Change the permissions that keys can have.", _SUPER),
        Right.PEOPLE_SEE: Rule("See who is in the organization.", _READERS, is_for_keys=False),
        Right.PEOPLE_MANAGE: Rule(
            "Invite people into the organization, change what they are in it, remove them.", _SUPER, is_for_keys=False
        ),
        Right.TEAMS_CREATE: Rule("Create teams.", _SUPER),
        Right.TEAMS_ARCHIVE: Rule("Archive and restore teams.", _SUPER, is_for_keys=False),
        Right.ORGANIZATION_KEYS_MANAGE: Rule("Issue, rotate and end keys of the organization.", _SUPER),
        Right.AUDIT_SEE: Rule("Read the audit log of the whole organization.", _READERS),
        Right.TEAM_SEE: Rule("See a team, its people, projects and service accounts.", _READERS | _TEAM, True),
        Right.TEAM_CHANGE: Rule("Rename a team.", _ADMINS, True, is_for_keys=False),
        Right.MEMBERS_MANAGE: Rule(
            "Invite people into a team, change what they are in it, remove them.", _ADMINS, True, is_for_keys=False
        ),
        Right.PROJECTS_MANAGE: Rule("Create, rename, archive and move projects of a team.", _ADMINS, True),
        Right.SERVICE_ACCOUNTS_MANAGE: Rule("Create, change and stop service accounts of a team.", _ADMINS, True),
        Right.TEAM_KEYS_SEE: Rule("See the keys of a team.", _READERS | _ADMINS, True),
        Right.TEAM_KEYS_MANAGE: Rule(
            "Issue keys of a team; rotate and end those of the team and its projects.", _ADMINS, True
        ),
        Right.PROJECT_KEYS_SEE: Rule("See the keys of a team's projects.", _READERS | _TEAM, True),
        Right.PROJECT_KEYS_ISSUE: Rule(
            "Issue keys of a team's projects; rotate and end the keys that one issued there.", _TEAM, True
        ),
        Right.TEAM_AUDIT_SEE: Rule("Read the audit log of a team.", _READERS | _ADMINS, True),
    }
)


@dataclass(frozen=True, slots=True)
class Reach:
    """Where someone has a right: in all of their organization, or in some of its teams; false for nowhere."""

    is_everywhere: bool = False
    team_ids: frozenset[UUID] = frozenset()

    def __bool__(self) -> bool:
        return self.is_everywhere or bool(self.team_ids)


_EVERYWHERE, _NOWHERE = Reach(is_everywhere=True), Reach()


def reach(principal: "Principal", right: Right) -> Reach:
    """Return where a caller has a right, within their organization; for a key, within its scope too."""
    rule = RULES[right]
    if principal.is_key and not rule.is_for_keys:
        return _NOWHERE
    is_narrow = principal.is_key and principal.scope != "org"
    if principal.organization_role in rule.roles and not is_narrow:
        return _EVERYWHERE
    if not rule.is_of_team:
        return _NOWHERE
    team_ids = {principal.team_id} if is_narrow else principal.team_roles
    return Reach(team_ids=frozenset(team_id for team_id in team_ids if team_id and _is_held(principal, rule, team_id)))


def holds(principal: "Principal", right: Right, team_id: UUID | None = None) -> bool:
    """Say whether a caller has a right: in a team of their organization, or in the organization itself for None."""
    found = reach(principal, right)
    return found.is_everywhere or team_id in found.team_ids


def only_reads(principal: "Principal") -> bool:
    """Say whether a caller sees all of the organization and may issue no key in it: an auditor."""
    return holds(principal, Right.ORGANIZATION_SEE) and not reach(principal, Right.PROJECT_KEYS_ISSUE)


def _is_held(principal: "Principal", rule: Rule, team_id: UUID) -> bool:
    return principal.role_in(team_id) in rule.roles


def as_table() -> str:
    """Return the table of docs/roles.md: what each role may do, in Markdown."""
    roles = [Role.SUPER_ADMIN, Role.AUDITOR, Role.TEAM_ADMIN, Role.DEVELOPER, Role.MEMBER]
    lines = [
        f"| Right | What it allows | {' | '.join(role.label for role in roles)} | Keys |",
        f"|---|---|{':-:|' * len(roles)}:-:|",
    ]
    for right, rule in RULES.items():
        cells = [("team" if _is_of_a_team(role) else "yes") if role in rule.roles else "" for role in roles]
        lines.append(f"| `{right}` | {rule.sentence} | {' | '.join(cells)} | {'yes' if rule.is_for_keys else ''} |")
    return "\n".join(lines)


def _is_of_a_team(role: Role) -> bool:
    return role in {Role.TEAM_ADMIN, Role.DEVELOPER}
