"""The principal: what a request turned out to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.http import HttpRequest

from accounts.models import OrganizationMembership, Role
from audit.context import Actor
from keyportal.http import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person acting in one organization, or a key acting for its issuer inside its scope.

    `team_roles` are the roles that hold now: all of a person's teams, or the one place of a key.
    `permissions` is None for a person, whose role alone decides.
    """

    user_id: UUID
    user_label: str
    organization_id: UUID
    is_super_admin: bool = False
    # A person who reads all of the organization and changes nothing.
    is_auditor: bool = False
    team_roles: Mapping[UUID, str] = field(default_factory=dict)
    # The rest is what a key has.
    key_id: UUID | None = None
    key_label: str = ""
    scope: str = ""
    environment: str = ""
    team_id: UUID | None = None
    project_id: UUID | None = None
    permissions: frozenset[str] | None = None
    expires_at: datetime | None = None
    # For whom the key acts instead of for its issuer.
    service_account_id: UUID | None = None
    service_account_name: str = ""
    # Where the key may come from; from everywhere, if there are none.
    networks: tuple[str, ...] = ()
    # How many requests it may make in a second, a minute and a day; None if it has no limits.
    limits: tuple[int | None, int | None, int | None] | None = None

    @property
    def is_key(self) -> bool:
        return self.key_id is not None

    @property
    def person_id(self) -> UUID | None:
        """Who is to be named as having done something: nobody, where a key acts for a service account."""
        return None if self.service_account_id else self.user_id

    @property
    def organization_role(self) -> Role | None:
        """The role held in the organization itself; a key has its issuer's."""
        if self.is_super_admin:
            return Role.SUPER_ADMIN
        return Role.AUDITOR if self.is_auditor else None

    def role_in(self, team_id: UUID | None) -> str | None:
        """Return the role held in a team, or in the organization for None; None where there is no role."""
        if self.is_key and self.scope != "org" and team_id != self.team_id:
            return None
        if self.is_super_admin:
            return Role.SUPER_ADMIN.value
        return self.team_roles.get(team_id) if team_id else None

    def require(self, permission: str) -> None:
        """Stop a key that lacks a permission; a person's rights are decided by what they can see.

        :raises Problem: `insufficient_scope`, with the challenge of RFC 6750 §3.1.
        """
        if self.permissions is not None and permission not in self.permissions:
            raise Problem(
                "insufficient_scope",
                f"This needs the permission {permission}, which this key does not have, or its issuer no longer does.",
                headers={
                    "WWW-Authenticate": f'Bearer realm="keyportal", error="insufficient_scope", scope="{permission}"'
                },
            )

    def as_actor(self) -> Actor:
        """Return who the audit log shall say it was."""
        if self.is_key:
            return Actor(
                kind="api_key",
                id=self.key_id,
                label=self.key_label,
                issuer_id=self.service_account_id or self.user_id,
                issuer_label=self.service_account_name or self.user_label,
            )
        return Actor(kind="user", id=self.user_id, label=self.user_label)


def principal_of(membership: OrganizationMembership) -> Principal:
    """Return the principal of a person who acts in an organization."""
    return Principal(
        user_id=membership.user_id,
        user_label=membership.user.email,
        organization_id=membership.organization_id,
        is_super_admin=membership.is_super_admin,
        is_auditor=membership.is_auditor,
        team_roles={} if membership.is_auditor else membership.team_roles,
    )


def acting(request: HttpRequest) -> Principal:
    """Return the principal of a request that is known to have one."""
    principal: Principal = request.principal  # type: ignore[attr-defined] # set by the two middlewares
    return principal
