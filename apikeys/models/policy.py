"""What an organization demands of its keys."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Organization, Role
from apikeys.permissions import Role as KeyRole


class Policy(models.Model):
    """The rules of one organization for its keys; without a row, the defaults below hold.

    The networks that keys may come from are on the organization, since every verification reads them.
    """

    LEAST_ROLES: ClassVar = [
        (Role.DEVELOPER.value, Role.DEVELOPER.label),
        (Role.TEAM_ADMIN.value, Role.TEAM_ADMIN.label),
        (Role.SUPER_ADMIN.value, Role.SUPER_ADMIN.label),
    ]

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="policy")
    # In days.
    max_lifetime = models.PositiveIntegerField(null=True, blank=True)
    is_expiry_required = models.BooleanField(default=False)
    # Who may issue keys of a scope; never less than T4 asks for.
    team_issuers = models.CharField(max_length=16, choices=LEAST_ROLES[1:], default=Role.TEAM_ADMIN)
    project_issuers = models.CharField(max_length=16, choices=LEAST_ROLES, default=Role.DEVELOPER)
    # Sets of permissions of which no key may hold all.
    never_together = models.JSONField(default=list, blank=True)
    # In days without a use.
    warn_unused_after = models.PositiveIntegerField(null=True, blank=True, default=90)
    disable_unused_after = models.PositiveIntegerField(null=True, blank=True)
    # No key is disabled for that before this moment.
    disable_unused_from = models.DateTimeField(null=True, blank=True)
    # In days since it was issued.
    rotate_after = models.PositiveIntegerField(null=True, blank=True, default=90)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(team_issuers__in=["team_admin", "super_admin"])
                & Q(project_issuers__in=["developer", "team_admin", "super_admin"]),
                name="policy_issuers_known",
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.organization}"

    @property
    def issuers(self) -> dict[str, KeyRole]:
        """The least role that issues keys of each scope."""
        return {
            "org": KeyRole.SUPER_ADMIN,
            "team": KeyRole(self.team_issuers),
            "project": KeyRole(self.project_issuers),
        }
