"""The teams of an organization, who is in them as what, and their projects."""

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from uuid_utils.compat import uuid7

from accounts.models.organizations import Organization, OrganizationMembership
from accounts.rights import Right, reach
from accounts.roles import Role

if TYPE_CHECKING:
    from accounts.principals import Principal


class TeamQuerySet(models.QuerySet["Team"]):
    def where(self, principal: "Principal", right: Right) -> Self:
        """Teams in which this caller has a right."""
        found, teams = reach(principal, right), self.filter(organization_id=principal.organization_id)
        return teams if found.is_everywhere else teams.filter(id__in=found.team_ids)

    def visible_to(self, principal: "Principal") -> Self:
        return self.where(principal, Right.TEAM_SEE)

    def with_counts(self) -> Self:
        return self.annotate(
            member_count=models.Count("memberships", distinct=True),
            project_count=models.Count("projects", distinct=True),
        )

    def unarchived(self) -> Self:
        """Teams that can get something new."""
        return self.filter(archived_at=None)

    def by_name(self) -> Self:
        return self.order_by(Lower("name"), "id")

    def archived_last(self) -> Self:
        """By name, and then those that were put away, by when."""
        return self.order_by(F("archived_at").asc(nulls_first=True), Lower("name"), "id")


class Team(models.Model):
    """A group of people in an organization, who own projects together."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="teams")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("organization", Lower("name"), name="team_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name


class TeamMembership(models.Model):
    """A member of the organization in one of its teams."""

    ROLES: ClassVar = [
        (Role.TEAM_ADMIN.value, Role.TEAM_ADMIN.label),
        (Role.DEVELOPER.value, Role.DEVELOPER.label),
    ]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    # The membership and not the person, so that who leaves the organization leaves its teams with it.
    membership = models.ForeignKey(OrganizationMembership, models.CASCADE, related_name="team_memberships")
    role = models.CharField(max_length=16, choices=ROLES)
    created_at = models.DateTimeField()
    # Whether a group at a provider put the person here: then every sign-in there says anew if and as what.
    is_from_group = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "membership"], name="team_membership_unique"),
            models.CheckConstraint(
                condition=Q(role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]), name="team_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.membership.user} in {self.team}"


class GroupRole(models.Model):
    """What people of a group at a provider are in a team, as the provider's claim says at each sign-in."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="group_roles")
    # The id under which settings name the provider.
    provider = models.CharField(max_length=50)
    group = models.CharField(max_length=200)
    role = models.CharField(max_length=16, choices=TeamMembership.ROLES)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "provider", "group"], name="group_role_unique"),
            models.CheckConstraint(condition=Q(role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]), name="group_role_role"),
        ]

    def __str__(self) -> str:
        return f"{self.group} at {self.provider} in {self.team}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def where(self, principal: "Principal", right: Right) -> Self:
        """Projects of the teams in which this caller has a right; at most the one that a key is bound to."""
        found, projects = reach(principal, right), self.filter(team__organization_id=principal.organization_id)
        if principal.project_id:
            projects = projects.filter(id=principal.project_id)
        return projects if found.is_everywhere else projects.filter(team_id__in=found.team_ids)

    def visible_to(self, principal: "Principal") -> Self:
        return self.where(principal, Right.TEAM_SEE)

    def unarchived(self) -> Self:
        """Projects that can get something new; those of an archived team are archived too."""
        return self.filter(archived_at=None)

    def by_name(self) -> Self:
        return self.order_by(Lower("team__name"), Lower("name"), "id")

    def archived_last(self) -> Self:
        """By name, and then those that were put away, by when."""
        return self.order_by(F("archived_at").asc(nulls_first=True), Lower("team__name"), Lower("name"), "id")


class Project(models.Model):
    """What keys are for: an application or service of a team."""

    class Environments(models.TextChoices):
        """Keys of which environments a project accepts."""

        ANY = "any", "Live and test"
        LIVE = "live", "Live only"
        TEST = "test", "Test only"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=100)
    environments = models.CharField(max_length=8, choices=Environments.choices, default=Environments.ANY)
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("team", Lower("name"), name="project_name_unique")]

    def __str__(self) -> str:
        return self.name

    def accepts(self, environment: str) -> bool:
        """Say whether keys of an environment reach this project."""
        return self.environments in {self.Environments.ANY, environment}
