"""Service accounts: parts of a team that are no person."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models import OuterRef, Q
from django.db.models.functions import Lower
from uuid_utils.compat import uuid7

from accounts.models.people import User
from accounts.models.teams import Team, TeamMembership
from accounts.rights import Right, reach
from accounts.roles import Role

if TYPE_CHECKING:
    from accounts.principals import Principal


class ServiceAccountQuerySet(models.QuerySet["ServiceAccount"]):
    def visible_to(self, principal: "Principal") -> Self:
        """Service accounts of the caller's teams, or of the whole organization; none for a key of one project."""
        if principal.project_id:
            return self.none()
        return self._where(principal, Right.TEAM_SEE)

    def _where(self, principal: "Principal", right: Right) -> Self:
        found, accounts = reach(principal, right), self.filter(team__organization_id=principal.organization_id)
        return accounts if found.is_everywhere else accounts.filter(team_id__in=found.team_ids)

    def with_stewards(self) -> Self:
        """Read along whether the steward is in the team now, as `is_steward_there`."""
        there = _stewards(OuterRef("team"), OuterRef("steward"))
        return self.select_related("team", "steward").annotate(is_steward_there=models.Exists(there))

    def usable_by(self, principal: "Principal") -> Self:
        """Those for which the caller can issue a key: running, with a steward, and of no greater role than theirs."""
        running = self.visible_to(principal).with_stewards().filter(stopped_at=None, is_steward_there=True)
        accounts = running.filter(team__archived_at=None)
        # A key acts as its account, so that issuing one takes the right to issue what an account of that role could.
        admins, developers = (reach(principal, right) for right in (Right.TEAM_KEYS_MANAGE, Right.PROJECT_KEYS_ISSUE))
        if admins.is_everywhere:
            return accounts
        as_admin = Q(team_id__in=admins.team_ids)
        return accounts.filter(as_admin | Q(team_id__in=developers.team_ids, role=Role.DEVELOPER))

    def by_name(self) -> Self:
        return self.order_by(Lower("team__name"), Lower("name"), "id")


def _stewards(team: Any, user: Any) -> models.QuerySet[TeamMembership]:
    """Return the membership by which a person may be the steward of a team's service accounts, if they have one."""
    return TeamMembership.objects.filter(team=team, membership__user=user, membership__user__is_active=True)


class ServiceAccount(models.Model):
    """A part of a team that is no person: keys that act for it outlive whoever issued them. It cannot sign in."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=100)
    # What its keys may do at most, as a person of this role in the team.
    role = models.CharField(max_length=16, choices=TeamMembership.ROLES, default=Role.DEVELOPER)
    # Who answers for it: a member of the team, or it gets no more keys.
    steward = models.ForeignKey(User, models.PROTECT, related_name="service_accounts")
    created_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    objects = ServiceAccountQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("team", Lower("name"), name="service_account_name_unique"),
            models.CheckConstraint(
                condition=Q(role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]), name="service_account_role"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_steward(self) -> bool:
        """Whether its steward is in the team now; asks the database."""
        return _stewards(self.team_id, self.steward_id).exists()
