"""What people are in a team and an organization, and leaving them.

Every request reads the roles anew, so each of these holds on the very next one: of a session, and of every key that
acts for the person.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.actions.refusals import LastSuperAdmin, NotAllowed, NotAMember
from accounts.mailing import outbox
from accounts.models import Invitation, Organization, OrganizationMembership, Role, Team, TeamMembership, User
from accounts.principals import Principal
from accounts.rights import Right, holds


@transaction.atomic
def change_team_role(
    *, principal: Principal, team_membership: TeamMembership, role: Role, at: datetime
) -> TeamMembership:
    """Make someone an admin or a developer of a team.

    :raises NotAllowed: unless the caller is a person who administers the team and is not below the member.
    :raises NotAMember: if they left first.
    """
    current = _in_team(principal, team_membership)
    if current.role != role:
        current.role = role
        current.save(update_fields=["role"])
        tell_role(current.membership.user, current.team, role, principal.user_label, at)
    return current


@transaction.atomic
def remove_from_team(*, principal: Principal, team_membership: TeamMembership, at: datetime) -> None:
    """Take someone out of a team; they stay in the organization, and in its other teams.

    :raises NotAllowed: as `change_team_role` does.
    :raises NotAMember: if they left first.
    """
    # Before the membership is locked: who accepts an invitation holds that first, and then needs the membership.
    # Whoever may not do this has withdrawn nothing either, as all of it is one transaction.
    withdraw_invitations(team_membership.membership_id, team_id=team_membership.team_id)
    current = _in_team(principal, team_membership)
    current.delete()
    tell_role(current.membership.user, current.team, None, principal.user_label, at)


@transaction.atomic
def change_organization_role(
    *, principal: Principal, membership: OrganizationMembership, role: Role, at: datetime
) -> OrganizationMembership:
    """Make someone a super admin, an auditor, or no more than a member. An auditor leaves all teams.

    :raises NotAllowed: unless the caller is a super admin, and no key.
    :raises NotAMember: if they left first.
    :raises LastSuperAdmin: if there would be none left.
    """
    # Before the membership is locked, as in a team. Who may still come into a team is not kept out of it.
    if role == Role.AUDITOR:
        withdraw_invitations(membership.pk)
    elif role == Role.MEMBER:
        withdraw_invitations(membership.pk, team_id=None)
    current = _in_organization(principal, membership)
    if role != Role.SUPER_ADMIN:
        _require_another_super_admin(current)
    if role == Role.AUDITOR:
        for in_team in current.team_memberships.select_related("team", "membership__user"):
            in_team.delete()
    if current.role != role:
        current.role = role
        current.save(update_fields=["role"])
        tell_role(current.user, current.organization, role, principal.user_label, at)
    return current


@transaction.atomic
def remove_from_organization(*, principal: Principal, membership: OrganizationMembership, at: datetime) -> None:
    """Take someone out of the organization and all of its teams.

    :raises NotAllowed: unless the caller is a super admin, and no key.
    :raises NotAMember: if they left first.
    :raises LastSuperAdmin: if there would be none left.
    """
    # Before the membership is locked, as in a team.
    withdraw_invitations(membership.pk)
    current = _in_organization(principal, membership)
    _require_another_super_admin(current)
    current.delete()
    tell_role(current.user, current.organization, None, principal.user_label, at)


def may_change(principal: Principal, team_membership: TeamMembership) -> bool:
    """Say whether a caller may change or end a membership; it must have been read with its team and membership.

    Nobody touches someone above them: what a super admin is in a team is for super admins to say.
    """
    team = team_membership.team
    if team.organization_id != principal.organization_id:
        return False
    is_above = team_membership.membership.is_super_admin and not holds(principal, Right.PEOPLE_MANAGE)
    return holds(principal, Right.MEMBERS_MANAGE, team.pk) and not is_above


def tell_role(user: User, place: Organization | Team, role: Role | None, by: str, at: datetime) -> None:
    """Write to a person what they are somewhere from now on, or that they are there no more."""
    told = {"place": place.name, "role": role.label.lower() if role else "", "by": by, "at": at}
    outbox.put("role_changed", to=user, context=told | {"link": outbox.link("overview")}, at=at)


def _in_team(principal: Principal, team_membership: TeamMembership) -> TeamMembership:
    """Return the membership as it is stored now, locked, if the caller may change it."""
    rows = TeamMembership.objects.select_for_update(of=("self",)).select_related("team", "membership__user")
    current = rows.filter(pk=team_membership.pk).first()
    if current is None:
        raise NotAMember
    if not may_change(principal, current):
        raise NotAllowed
    return current


def _in_organization(principal: Principal, membership: OrganizationMembership) -> OrganizationMembership:
    """Return the membership as it is stored now, if the caller may change it; one change at a time."""
    is_here = membership.organization_id == principal.organization_id
    if not is_here or not holds(principal, Right.PEOPLE_MANAGE):
        raise NotAllowed("Only a super admin changes who is in the organization, and as what.")
    # The organization is locked, so that two super admins who demote each other at once do not both succeed.
    Organization.objects.select_for_update(no_key=True).get(pk=membership.organization_id)
    rows = OrganizationMembership.objects.select_for_update(of=("self",)).select_related("user", "organization")
    current = rows.filter(pk=membership.pk).first()
    if current is None:
        raise NotAMember
    return current


def is_only_super_admin(membership: OrganizationMembership) -> bool:
    """Say whether nobody else would be left who administers the organization."""
    admins = OrganizationMembership.objects.filter(
        organization=membership.organization_id, role=Role.SUPER_ADMIN, user__is_active=True
    )
    return membership.is_super_admin and not admins.exclude(pk=membership.pk).exists()


def _require_another_super_admin(membership: OrganizationMembership) -> None:
    if is_only_super_admin(membership):
        raise LastSuperAdmin


def withdraw_invitations(membership_id: UUID, **place: UUID | None) -> None:
    """Void the links that would bring who leaves back in.

    :param place: `team_id` of the one that they leave, or None for those to the organization itself; otherwise all.
    """
    membership = OrganizationMembership.objects.select_related("user").filter(pk=membership_id).first()
    if membership is None:
        return  # who left first, as the caller is about to find out
    invitations = Invitation.objects.select_for_update(of=("self",)).filter(accepted_at=None)
    here = invitations.filter(email=membership.user.email, organization=membership.organization_id)
    for invitation in here.filter(**place):
        invitation.delete()
