"""Organizations, and who is in them as what."""

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

from accounts.models.people import User
from accounts.roles import Role


class Organization(models.Model):
    """The tenant. Nobody sees across organizations."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    # What addresses and command lines call it.
    slug = models.SlugField(max_length=50, unique=True)
    # What stands in place of a logo; empty for the first letter of the name.
    logo_initials = models.CharField(max_length=2, blank=True)
    created_at = models.DateTimeField()
    suspended_at = models.DateTimeField(null=True, blank=True)
    # What `apikeys` reads with every key: the permissions that there are, and the networks that keys may come from.
    permission_catalogue = models.JSONField(default=dict, blank=True)
    network_policy = models.JSONField(default=dict, blank=True)
    # How its people have to sign in, as `accounts.security` understands it.
    security_policy = models.JSONField(default=dict, blank=True)
    # The team that people of its verified domains join by themselves.
    default_team = models.ForeignKey("accounts.Team", models.PROTECT, related_name="+", null=True, blank=True)

    def __str__(self) -> str:
        return self.name

    @property
    def initials(self) -> str:
        return self.logo_initials or self.name[:1].upper()


class OrganizationDomain(models.Model):
    """A mail domain that an organization says is its own; it counts once the operator has verified that."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253)
    created_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="organization_domain_unique"),
            # Two may ask for a domain, and one has it.
            models.UniqueConstraint(
                fields=["name"], condition=Q(verified_at__isnull=False), name="organization_domain_has_one_owner"
            ),
            models.CheckConstraint(condition=Q(name=Lower("name")), name="organization_domain_is_lower_case"),
        ]

    def __str__(self) -> str:
        return self.name


class OrganizationMembership(models.Model):
    """A person in an organization, as its super admin, its auditor or as a member."""

    ROLES: ClassVar = [
        (Role.SUPER_ADMIN.value, Role.SUPER_ADMIN.label),
        (Role.AUDITOR.value, Role.AUDITOR.label),
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
                condition=Q(role__in=[Role.SUPER_ADMIN, Role.AUDITOR, Role.MEMBER]),
                name="organization_membership_role",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    @property
    def is_super_admin(self) -> bool:
        return self.role == Role.SUPER_ADMIN

    @property
    def is_auditor(self) -> bool:
        return self.role == Role.AUDITOR

    @cached_property
    def team_roles(self) -> dict[UUID, str]:
        """The person's role in each team, read once per request."""
        return dict(self.team_memberships.values_list("team_id", "role"))
