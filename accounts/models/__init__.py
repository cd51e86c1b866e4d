"""Who there is: people, organizations, teams, projects, and who may do what in them."""

from accounts.models.invitations import Invitation, InvitationQuerySet
from accounts.models.mail import OutgoingMail
from accounts.models.organizations import Organization, OrganizationDomain, OrganizationMembership
from accounts.models.people import LEAST_AS_ONLY_FACTOR, Device, EmailChange, Installation, User
from accounts.models.service_accounts import ServiceAccount, ServiceAccountQuerySet
from accounts.models.teams import (
    GroupRole,
    Project,
    ProjectQuerySet,
    Team,
    TeamMembership,
    TeamQuerySet,
)
from accounts.roles import Role

__all__ = [
    "LEAST_AS_ONLY_FACTOR",
    "Device",
    "EmailChange",
    "GroupRole",
    "Installation",
    "Invitation",
    "InvitationQuerySet",
    "Organization",
    "OrganizationDomain",
    "OrganizationMembership",
    "OutgoingMail",
    "Project",
    "ProjectQuerySet",
    "Role",
    "ServiceAccount",
    "ServiceAccountQuerySet",
    "Team",
    "TeamMembership",
    "TeamQuerySet",
    "User",
]
