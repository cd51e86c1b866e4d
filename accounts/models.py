"""Who there is: people, organizations, teams, projects, and who may do what in them."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models, transaction
from django.db.models import OuterRef, Q
from django.db.models.functions import Lower
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

if TYPE_CHECKING:
    from accounts.principals import Principal


class Role(models.TextChoices):
    """What a person is somewhere. `member` belongs to an organization and may do nothing in it by that alone."""

    SUPER_ADMIN = "super_admin", "Super admin"
    TEAM_ADMIN = "team_admin", "Team admin"
    DEVELOPER = "developer", "Developer"
    MEMBER = "member", "Member"


class UserManager(BaseUserManager["User"]):
    """Makes people; email addresses are kept in lower case, so that no two differ only in case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save and return a new person; without a password they can only sign in through a provider."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. The email address is the login."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_is_lower_case")
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in a transaction: Django and allauth save people wherever they like, and an audit row goes along."""
        with transaction.atomic():
            super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        return self.name or self.email


class Installation(models.Model):
    """The one row that says this installation has been set up; its key makes a second set-up impossible."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    set_up_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="installation_is_one")]

    def __str__(self) -> str:
        return f"set up at {self.set_up_at:%Y-%m-%d}"


class Organization(models.Model):
    """The tenant. Nobody sees across organizations."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    suspended_at = models.DateTimeField(null=True, blank=True)
    # What `apikeys` reads with every key: the permissions that there are, and the networks that keys may come from.
    permission_catalogue = models.JSONField(default=dict, blank=True)
    network_policy = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name


class OrganizationMembership(models.Model):
    """A person in an organization, as its super admin or as a member."""

    ROLES: ClassVar = [
        (Role.SUPER_ADMIN.value, Role.SUPER_ADMIN.label),
        (Role.MEMBER.value, Role.MEMBER.label),
    ]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=ROLES)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "user"], name="organization_membership_unique"),
            models.CheckConstraint(
                condition=Q(role__in=[Role.SUPER_ADMIN, Role.MEMBER]), name="organization_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    @property
    def is_super_admin(self) -> bool:
        return self.role == Role.SUPER_ADMIN

    @cached_property
    def team_roles(self) -> dict[UUID, str]:
        """The person's role in each team, read once per request."""
        return dict(self.team_memberships.values_list("team_id", "role"))


class TeamQuerySet(models.QuerySet["Team"]):
    def visible_to(self, principal: "Principal") -> Self:
        """Teams that this caller is in; all of the organization for a super admin or an organization key."""
        teams = self.filter(organization_id=principal.organization_id)
        return teams if principal.sees_organization else teams.filter(id__in=principal.team_ids)

    def administered_by(self, principal: "Principal") -> Self:
        """Teams in which this caller may invite people and make projects."""
        teams = self.visible_to(principal)
        return teams if principal.is_super_admin else teams.filter(id__in=principal.team_ids_as(Role.TEAM_ADMIN))

    def with_counts(self) -> Self:
        return self.annotate(
            member_count=models.Count("memberships", distinct=True),
            project_count=models.Count("projects", distinct=True),
        )

    def by_name(self) -> Self:
        return self.order_by(Lower("name"), "id")


class Team(models.Model):
    """A group of people in an organization, who own projects together."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="teams")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField()

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

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "membership"], name="team_membership_unique"),
            models.CheckConstraint(
                condition=Q(role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]), name="team_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.membership.user} in {self.team}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, principal: "Principal") -> Self:
        """Projects of the caller's teams, of the whole organization, or the one a project key is bound to."""
        projects = self.filter(team__organization_id=principal.organization_id)
        if principal.project_id:
            return projects.filter(id=principal.project_id)
        return projects if principal.sees_organization else projects.filter(team_id__in=principal.team_ids)

    def by_name(self) -> Self:
        return self.order_by(Lower("team__name"), Lower("name"), "id")


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

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("team", Lower("name"), name="project_name_unique")]

    def __str__(self) -> str:
        return self.name

    def accepts(self, environment: str) -> bool:
        """Say whether keys of an environment reach this project."""
        return self.environments in {self.Environments.ANY, environment}


class ServiceAccountQuerySet(models.QuerySet["ServiceAccount"]):
    def visible_to(self, principal: "Principal") -> Self:
        """Service accounts of the caller's teams, or of the whole organization; none for a key of one project."""
        accounts = self.filter(team__organization_id=principal.organization_id)
        if principal.project_id:
            return accounts.none()
        return accounts if principal.sees_organization else accounts.filter(team_id__in=principal.team_ids)

    def with_stewards(self) -> Self:
        """Read along whether the steward is in the team now, as `is_steward_there`."""
        there = _stewards(OuterRef("team"), OuterRef("steward"))
        return self.select_related("team", "steward").annotate(is_steward_there=models.Exists(there))

    def usable_by(self, principal: "Principal") -> Self:
        """Those for which the caller can issue a key: running, with a steward, and of no greater role than theirs."""
        accounts = self.visible_to(principal).with_stewards().filter(stopped_at=None, is_steward_there=True)
        if principal.is_super_admin:
            return accounts
        as_admin = Q(team_id__in=principal.team_ids_as(Role.TEAM_ADMIN))
        return accounts.filter(as_admin | Q(team_id__in=principal.team_ids, role=Role.DEVELOPER))

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


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def pending(self, *, at: datetime) -> Self:
        return self.filter(accepted_at=None, expires_at__gt=at)


class Invitation(models.Model):
    """A place in a team, kept for an email address until its link is used. The link's token is stored as a hash."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=TeamMembership.ROLES)
    token_digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(role__in=[Role.TEAM_ADMIN, Role.DEVELOPER]), name="invitation_role"),
            models.CheckConstraint(condition=Q(expires_at__gt=models.F("created_at")), name="invitation_expires_later"),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.team}"
