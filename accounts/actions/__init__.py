"""Every write to people, organizations, teams, projects and service accounts."""

from accounts.actions.inviting import (
    INVITATION_LASTS,
    accept_invitation,
    find_invitation,
    invite,
    pending_invitation,
    register_invited,
    token_digest,
)
from accounts.actions.membership import (
    change_organization_role,
    change_team_role,
    may_change,
    remove_from_organization,
    remove_from_team,
)
from accounts.actions.people import add_to_organization, add_to_team, create_organization, create_user, set_up
from accounts.actions.places import change_project_environments, create_project, create_team
from accounts.actions.refusals import (
    AccountExists,
    AlreadyMember,
    AlreadySetUp,
    InvitationNotUsable,
    LastSuperAdmin,
    NameTaken,
    NotAllowed,
    NotAMember,
    Refused,
    ServiceAccountAlreadyStopped,
    StewardNotInTeam,
    WrongAccount,
)
from accounts.actions.service_accounts import (
    change_steward,
    create_service_account,
    rename_service_account,
    stop_service_account,
)

__all__ = [
    "INVITATION_LASTS",
    "AccountExists",
    "AlreadyMember",
    "AlreadySetUp",
    "InvitationNotUsable",
    "LastSuperAdmin",
    "NameTaken",
    "NotAMember",
    "NotAllowed",
    "Refused",
    "ServiceAccountAlreadyStopped",
    "StewardNotInTeam",
    "WrongAccount",
    "accept_invitation",
    "add_to_organization",
    "add_to_team",
    "change_organization_role",
    "change_project_environments",
    "change_steward",
    "change_team_role",
    "create_organization",
    "create_project",
    "create_service_account",
    "create_team",
    "create_user",
    "find_invitation",
    "invite",
    "may_change",
    "pending_invitation",
    "register_invited",
    "remove_from_organization",
    "remove_from_team",
    "rename_service_account",
    "set_up",
    "stop_service_account",
    "token_digest",
]
