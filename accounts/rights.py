"""Who may do what: the one table from which pages, endpoints, their tests and docs/roles.md are made.

A right is asked for in a team, or in the organization. What a key may do is narrowed further by its permissions and
its scope; what may be done to one's own keys and account is everyone's and stands at the end of the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from accounts.models import Role
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
        Right.ORGANIZATION_SEE: Rule("See all teams, projects and keys of the organization.", _READERS),
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
        Right.PROJECT_KEYS_ISSUE: Rule("Issue keys of a team's projects, and end one's own.", _TEAM, True),
        Right.TEAM_AUDIT_SEE: Rule("Read the audit log of a team.", _READERS | _ADMINS, True),
    }
)


def holds(principal: Principal, right: Right, team_id: UUID | None = None) -> bool:
    """Say whether a caller has a right, in a team of their organization where it is asked for in one."""
    rule = RULES[right]
    if principal.is_key and not rule.is_for_keys:
        return False
    if principal.is_auditor:
        return Role.AUDITOR in rule.roles
    role = principal.role_in(team_id if rule.is_of_team else None)
    return role is not None and role in rule.roles
