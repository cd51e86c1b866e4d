"""Every write to people, organizations, teams and projects."""

import hashlib
import secrets
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from accounts.models import (
    Installation,
    Invitation,
    Organization,
    OrganizationMembership,
    Project,
    Role,
    Team,
    TeamMembership,
    User,
)
from accounts.principals import Principal
from audit.context import happening_in

INVITATION_LASTS = timedelta(days=7)


class NotAllowed(Exception):
    """The caller's role does not allow this."""


class AlreadySetUp(Exception):
    """There are users already, so the set-up link is void."""


class NameTaken(Exception):
    """Another team of the organization, or project of the team, has this name."""


class AccountExists(Exception):
    """There is an account with this email address; its owner signs in instead."""


class AlreadyMember(Exception):
    """The person is in this team already."""


class InvitationNotUsable(Exception):
    """The invitation was used, has expired, or was never made."""


class WrongAccount(Exception):
    """The invitation is for another email address."""


@transaction.atomic
def set_up(*, organization_name: str, email: str, password: str, at: datetime) -> OrganizationMembership:
    """Make the first organization and its super admin, once in the life of an installation.

    :raises AlreadySetUp: if there is a user, or another set-up is won by someone else at this moment.
    """
    if User.objects.exists():
        raise AlreadySetUp
    try:
        with transaction.atomic():
            Installation.objects.create(set_up_at=at)
    except IntegrityError as error:
        raise AlreadySetUp from error
    organization = create_organization(name=organization_name, at=at)
    with happening_in(organization.pk):
        user = create_user(email=email, password=password, at=at)
    return add_to_organization(organization=organization, user=user, role=Role.SUPER_ADMIN, at=at)


@transaction.atomic
def create_organization(*, name: str, at: datetime) -> Organization:
    return Organization.objects.create(name=name.strip(), created_at=at)


@transaction.atomic
def create_user(*, email: str, password: str | None, at: datetime, name: str = "") -> User:
    """Make an account; without a password its owner signs in through a provider.

    :raises AccountExists: if the address has an account, in whatever case it is written.
    """
    if User.objects.filter(email__iexact=email.strip()).exists():
        raise AccountExists
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name.strip(), created_at=at)
    except IntegrityError as error:
        raise AccountExists from error
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
    return user


@transaction.atomic
def add_to_organization(*, organization: Organization, user: User, role: Role, at: datetime) -> OrganizationMembership:
    """Give a person a role in an organization; one who is a member already keeps the greater role."""
    membership, is_new = OrganizationMembership.objects.select_for_update().get_or_create(
        organization=organization, user=user, defaults={"role": role, "created_at": at}
    )
    if not is_new and role == Role.SUPER_ADMIN and not membership.is_super_admin:
        membership.role = role
        membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def add_to_team(*, team: Team, user: User, role: Role, at: datetime) -> TeamMembership:
    """Put a person into a team, and into its organization where they are not in it yet.

    :raises AlreadyMember: if they are in the team.
    """
    membership = add_to_organization(organization=team.organization, user=user, role=Role.MEMBER, at=at)
    team_membership, is_new = TeamMembership.objects.get_or_create(
        team=team, membership=membership, defaults={"role": role, "created_at": at}
    )
    if not is_new:
        raise AlreadyMember
    return team_membership


@transaction.atomic
def create_team(*, principal: Principal, name: str, at: datetime) -> Team:
    """Make a team in the caller's organization.

    :raises NotAllowed: unless the caller is its super admin.
    :raises NameTaken: if there is one of this name.
    """
    if not principal.is_super_admin:
        raise NotAllowed
    try:
        with transaction.atomic():
            return Team.objects.create(organization_id=principal.organization_id, name=name.strip(), created_at=at)
    except IntegrityError as error:
        raise NameTaken from error


@transaction.atomic
def create_project(*, principal: Principal, team: Team, name: str, at: datetime) -> Project:
    """Make a project in a team.

    :raises NotAllowed: unless the caller administers the team.
    :raises NameTaken: if the team has one of this name.
    """
    _require_admin(principal, team)
    try:
        with transaction.atomic():
            return Project.objects.create(team=team, name=name.strip(), created_at=at)
    except IntegrityError as error:
        raise NameTaken from error


@transaction.atomic
def invite(*, principal: Principal, team: Team, email: str, role: Role, at: datetime) -> tuple[Invitation, str]:
    """Keep a place in a team for an address; return the invitation and its link's token, which is not stored.

    It replaces an earlier one that nobody has accepted.

    :raises NotAllowed: unless the caller administers the team.
    :raises AlreadyMember: if the address belongs to someone in the team.
    """
    _require_admin(principal, team)
    email = email.strip().lower()
    if TeamMembership.objects.filter(team=team, membership__user__email=email).exists():
        raise AlreadyMember
    # One at a time for each team, so that two invitations of one address cannot both find no earlier one.
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    # The newest link is the one that counts: who asks for another has lost the first, or sent it astray.
    for earlier in Invitation.objects.select_for_update().filter(team=team, email=email, accepted_at=None):
        earlier.delete()
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        team=team,
        email=email,
        role=role,
        token_digest=token_digest(token),
        invited_by_id=principal.user_id,
        created_at=at,
        expires_at=at + INVITATION_LASTS,
    )
    return invitation, token


@transaction.atomic
def accept_invitation(*, invitation: Invitation, user: User, at: datetime) -> TeamMembership:
    """Put the invited person into the team and use the invitation up.

    :raises InvitationNotUsable: if it was used, has expired, or its inviter may no longer invite.
    :raises WrongAccount: if the account is another address's.
    :raises AlreadyMember: if they are in the team.
    """
    invitations = Invitation.objects.select_for_update(of=("self",)).select_related("team__organization")
    current = invitations.get(pk=invitation.pk)
    if current.accepted_at or current.expires_at <= at or not _may_still_invite(current):
        raise InvitationNotUsable
    if user.email != current.email:
        raise WrongAccount
    team_membership = add_to_team(team=current.team, user=user, role=Role(current.role), at=at)
    current.accepted_at = at
    current.save(update_fields=["accepted_at"])
    return team_membership


@transaction.atomic
def register_invited(*, invitation: Invitation, name: str, password: str, at: datetime) -> User:
    """Make the account of an invited person and put them into the team, or do neither.

    :raises InvitationNotUsable: if the invitation was used or has expired.
    :raises AccountExists: if the address has an account; its owner signs in to accept.
    """
    with happening_in(invitation.team.organization_id):
        user = create_user(email=invitation.email, password=password, name=name, at=at)
    accept_invitation(invitation=invitation, user=user, at=at)
    return user


def find_invitation(token: str, *, at: datetime) -> Invitation:
    """Return the pending invitation that a link's token stands for.

    :raises InvitationNotUsable: as `pending_invitation` does.
    """
    return pending_invitation(token_digest(token), at=at)


def pending_invitation(digest: str, *, at: datetime) -> Invitation:
    """Return the invitation with this digest of its token.

    :raises InvitationNotUsable: if there is none, or none any more, or its inviter may no longer invite.
    """
    invitations = Invitation.objects.pending(at=at).select_related("team__organization", "invited_by")
    invitation = invitations.filter(token_digest=digest).first()
    if invitation is None or not _may_still_invite(invitation):
        raise InvitationNotUsable
    return invitation


def _may_still_invite(invitation: Invitation) -> bool:
    """Say whether who invited is still there and an admin: a link must not outlive the right to make it."""
    team = invitation.team
    membership = OrganizationMembership.objects.filter(
        organization_id=team.organization_id, user=invitation.invited_by_id, user__is_active=True
    ).first()
    if membership is None:
        return False
    return membership.is_super_admin or membership.team_roles.get(team.pk) == Role.TEAM_ADMIN


def token_digest(token: str) -> str:
    """A fast hash is enough for 256 random bits: there is nothing to guess from."""
    return hashlib.sha256(token.encode()).hexdigest()


def _require_admin(principal: Principal, team: Team) -> None:
    # A super admin's role reaches no further than their organization.
    if team.organization_id != principal.organization_id or not principal.administers(team.pk):
        raise NotAllowed
