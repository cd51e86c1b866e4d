"""Places that are kept for people who were invited."""

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7

from accounts.models.organizations import Organization
from accounts.models.people import User
from accounts.models.teams import Team
from accounts.rights import Right, holds, reach
from accounts.roles import Role

if TYPE_CHECKING:
    from accounts.principals import Principal


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def visible_to(self, principal: "Principal") -> Self:
        """Invitations to the teams that a caller sees, and to the organization for who sees its people."""
        found = reach(principal, Right.TEAM_SEE)
        rows = self.filter(organization_id=principal.organization_id)
        rows = rows if found.is_everywhere else rows.filter(Q(team_id__in=found.team_ids) | Q(team=None))
        return rows if holds(principal, Right.PEOPLE_SEE) else rows.exclude(team=None)

    def pending(self, *, at: datetime) -> Self:
        return self.filter(accepted_at=None, expires_at__gt=at)


class Invitation(models.Model):
    """A place in an organization, and mostly in a team, kept for an email address until its link is used.

    The links' tokens are stored as hashes. Only the one that was mailed shows that whoever uses it reads the address.
    """

    # What people are invited as: to a team, or to the organization alone.
    ROLES: ClassVar = [
        (Role.SUPER_ADMIN.value, Role.SUPER_ADMIN.label),
        (Role.AUDITOR.value, Role.AUDITOR.label),
        (Role.TEAM_ADMIN.value, Role.TEAM_ADMIN.label),
        (Role.DEVELOPER.value, Role.DEVELOPER.label),
    ]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    team = models.ForeignKey(Team, models.CASCADE, related_name="invitations", null=True, blank=True)
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=ROLES)
    token_digest = models.CharField(max_length=64, unique=True)
    mailed_token_digest = models.CharField(max_length=64, unique=True, null=True, blank=True)
    # Nobody, if it was the operator of the installation.
    invited_by = models.ForeignKey(User, models.CASCADE, related_name="+", null=True, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(team=None, role__in=[Role.SUPER_ADMIN, Role.AUDITOR])
                | Q(team__isnull=False, role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]),
                name="invitation_role_is_of_its_place",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=models.F("created_at")), name="invitation_expires_later"),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.place}"

    @property
    def place(self) -> Organization | Team:
        """What the invitation is to; the row must have been read with it."""
        return self.team or self.organization
