"""Inviting people, and accepting."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import transaction

from accounts.actions.authority import require_admin
from accounts.actions.people import add_to_organization, add_to_team, create_user
from accounts.actions.refusals import AlreadyMember, InvitationNotUsable, WrongAccount
from accounts.models import Invitation, OrganizationMembership, Role, Team, TeamMembership, User
from accounts.principals import Principal
from audit.context import happening_in

INVITATION_LASTS = timedelta(days=7)


@transaction.atomic
def invite(*, principal: Principal, team: Team, email: str, role: Role, at: datetime) -> tuple[Invitation, str]:
    """Keep a place in a team for an address; return the invitation and its link's token, which is not stored.

    It replaces an earlier one that nobody has accepted.

    :raises NotAllowed: unless the caller administers the team.
    :raises AlreadyMember: if the address belongs to someone in the team.
    """
    require_admin(principal, team)
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
        organization_id=team.organization_id,
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
def accept_invitation(*, invitation: Invitation, user: User, at: datetime) -> None:
    """Put the invited person into the team or organization and use the invitation up.

    :raises InvitationNotUsable: if it was used or withdrawn, has expired, or its inviter may no longer invite.
    :raises WrongAccount: if the account is another address's.
    :raises AlreadyMember: if they are in the team.
    """
    invitations = Invitation.objects.select_for_update(of=("self",)).select_related(
        "team__organization", "organization"
    )
    current = invitations.filter(pk=invitation.pk).first()
    if current is None or current.accepted_at or current.expires_at <= at or not _may_still_invite(current):
        raise InvitationNotUsable
    if user.email != current.email:
        raise WrongAccount
    if current.team:
        add_to_team(team=current.team, user=user, role=Role(current.role), at=at)
    else:
        add_to_organization(organization=current.organization, user=user, role=Role(current.role), at=at)
    current.accepted_at = at
    current.save(update_fields=["accepted_at"])


@transaction.atomic
def register_invited(*, invitation: Invitation, name: str, password: str, at: datetime) -> User:
    """Make the account of an invited person and put them into the team, or do neither.

    :raises InvitationNotUsable: if the invitation was used or has expired.
    :raises AccountExists: if the address has an account; its owner signs in to accept.
    """
    with happening_in(invitation.organization_id):
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
    invitations = Invitation.objects.pending(at=at).select_related("team__organization", "organization", "invited_by")
    invitation = invitations.filter(token_digest=digest).first()
    if invitation is None or not _may_still_invite(invitation):
        raise InvitationNotUsable
    return invitation


def _may_still_invite(invitation: Invitation) -> bool:
    """Say whether who invited is still there and an admin: a link must not outlive the right to make it."""
    membership = OrganizationMembership.objects.filter(
        organization_id=invitation.organization_id, user=invitation.invited_by_id, user__is_active=True
    ).first()
    if membership is None:
        return False
    is_admin = invitation.team_id is not None and membership.team_roles.get(invitation.team_id) == Role.TEAM_ADMIN
    return membership.is_super_admin or is_admin


def token_digest(token: str) -> str:
    """A fast hash is enough for 256 random bits: there is nothing to guess from."""
    return hashlib.sha256(token.encode()).hexdigest()
