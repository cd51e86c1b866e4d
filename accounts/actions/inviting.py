"""Inviting people, and accepting."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from accounts.actions.authority import require
from accounts.actions.people import add_to_organization, add_to_team
from accounts.actions.refusals import (
    AlreadyMember,
    AuditorInTeam,
    InvitationNotUsable,
    NotAllowed,
    TeamArchived,
    WrongAccount,
)
from accounts.mailing import outbox
from accounts.models import (
    Invitation,
    InvitationQuerySet,
    Organization,
    OrganizationMembership,
    Role,
    Team,
    TeamMembership,
    User,
)
from accounts.principals import Principal, principal_of
from accounts.rights import Right, holds

INVITATION_LASTS = timedelta(days=7)


@transaction.atomic
def invite(*, principal: Principal, team: Team, email: str, role: Role, at: datetime) -> tuple[Invitation, str]:
    """Keep a place in a team for an address, and mail it a link.

    It replaces an earlier invitation that nobody has accepted.

    :return: the invitation, and the token of another link to hand over, which is not stored.

    :raises NotAllowed: unless the caller may invite people into the team.
    :raises AlreadyMember: if the address belongs to someone in the team.
    :raises AuditorInTeam: if it belongs to an auditor; who may not see that learns of it only from them.
    :raises TeamArchived: if the team is.
    """
    require(principal, Right.MEMBERS_MANAGE, team)
    email = email.strip().lower()
    if TeamMembership.objects.filter(team=team, membership__user__email=email).exists():
        raise AlreadyMember
    members = OrganizationMembership.objects.filter(organization=team.organization_id, user__email=email)
    if holds(principal, Right.PEOPLE_SEE) and members.filter(role=Role.AUDITOR).exists():
        raise AuditorInTeam
    # One at a time for each team, so that two invitations of one address cannot both find no earlier one.
    if Team.objects.select_for_update(no_key=True).get(pk=team.pk).archived_at:
        raise TeamArchived
    earlier = Invitation.objects.filter(team=team, email=email)
    kept = Invitation(organization_id=team.organization_id, team=team, email=email, role=role)
    return _sent_anew(kept, earlier, principal, at)


@transaction.atomic
def invite_to_organization(*, principal: Principal, email: str, role: Role, at: datetime) -> tuple[Invitation, str]:
    """Keep the place of a super admin or an auditor in the caller's organization for an address, as `invite` does.

    :raises NotAllowed: unless the caller says in person who is in the organization, and as what.
    :raises AlreadyMember: if the address belongs to someone in the organization.
    """
    if not holds(principal, Right.PEOPLE_MANAGE):
        raise NotAllowed
    email = email.strip().lower()
    if OrganizationMembership.objects.filter(organization=principal.organization_id, user__email=email).exists():
        raise AlreadyMember
    organization = Organization.objects.select_for_update(no_key=True).get(pk=principal.organization_id)
    earlier = Invitation.objects.filter(organization=organization, team=None, email=email)
    kept = Invitation(organization=organization, team=None, email=email, role=role)
    return _sent_anew(kept, earlier, principal, at)


@transaction.atomic
def invite_as_operator(*, organization: Organization, email: str, role: Role, at: datetime) -> tuple[Invitation, str]:
    """Keep the place of a super admin or an auditor for an address in the name of the operator, who has no account."""
    email = email.strip().lower()
    earlier = Invitation.objects.filter(organization=organization, team=None, email=email)
    kept = Invitation(organization=organization, team=None, email=email, role=role)
    return _sent_anew(kept, earlier, None, at)


@transaction.atomic
def resend_invitation(*, principal: Principal, invitation: Invitation, at: datetime) -> tuple[Invitation, str]:
    """Mail another link, good for another 7 days; those that there were are void.

    From now on the place stands and falls with the right of whoever sent it again.

    :raises InvitationNotUsable: if it was accepted or withdrawn meanwhile.
    :raises NotAllowed: unless the caller could invite there.
    :raises TeamArchived: if it is to a team that is.
    """
    current = _open(principal, invitation)
    if current.team and current.team.archived_at:
        raise TeamArchived
    token = _renew(current, principal, at)
    current.save(update_fields=["token_digest", "mailed_token_digest", "invited_by", "expires_at"])
    return current, token


@transaction.atomic
def withdraw_invitation(*, principal: Principal, invitation: Invitation) -> None:
    """Void an invitation that nobody has accepted.

    :raises InvitationNotUsable: if it was accepted or withdrawn meanwhile.
    :raises NotAllowed: unless the caller could invite there.
    """
    _open(principal, invitation).delete()


def may_manage_invitation(principal: Principal, invitation: Invitation) -> bool:
    """Say whether a caller could make an invitation, and so may send it again or withdraw it."""
    if invitation.organization_id != principal.organization_id:
        return False
    if invitation.team_id:
        return holds(principal, Right.MEMBERS_MANAGE, invitation.team_id)
    return holds(principal, Right.PEOPLE_MANAGE)


def _sent_anew(
    kept: Invitation, earlier: InvitationQuerySet, principal: Principal | None, at: datetime
) -> tuple[Invitation, str]:
    # The newest link is the one that counts: who asks for another has lost the first, or sent it astray.
    for replaced in earlier.select_for_update(of=("self",)).filter(accepted_at=None):
        replaced.delete()
    kept.created_at = at
    token = _renew(kept, principal, at)
    kept.save(force_insert=True)
    return kept, token


def _renew(invitation: Invitation, principal: Principal | None, at: datetime) -> str:
    """Give an invitation new tokens and its full time, and mail one of them; return the other."""
    token, mailed = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    invitation.token_digest, invitation.mailed_token_digest = token_digest(token), token_digest(mailed)
    invitation.invited_by_id = principal.user_id if principal else None
    invitation.expires_at = at + INVITATION_LASTS
    told = {"organization": invitation.organization, "invitation": invitation}
    outbox.put(
        "invitation", to=invitation.email, context=told | {"link": outbox.link("invitation-open", mailed)}, at=at
    )
    return token


def _open(principal: Principal, invitation: Invitation) -> Invitation:
    """Return an invitation as it is stored now, locked, if the caller may decide on it."""
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("team", "organization", "invited_by")
    current = rows.filter(pk=invitation.pk, accepted_at=None).first()
    if current is None:
        raise InvitationNotUsable
    if not may_manage_invitation(principal, current):
        raise NotAllowed
    return current


@transaction.atomic
def accept_invitation(*, invitation: Invitation, user: User, at: datetime) -> None:
    """Put the invited person into the team or organization and use the invitation up.

    :raises InvitationNotUsable: if it was used or withdrawn, has expired, or its inviter may no longer invite.
    :raises WrongAccount: if the account is another address's.
    :raises AlreadyMember: if they are in the team, or in the organization to which it is.
    :raises AuditorInTeam: if they are an auditor, and it is to a team.
    :raises TeamArchived: if it is to a team that was put away meanwhile.
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
        if current.team.archived_at:
            raise TeamArchived
        add_to_team(team=current.team, user=user, role=Role(current.role), at=at)
    else:
        _join(current, user, at)
    current.accepted_at = at
    current.save(update_fields=["accepted_at"])


def find_invitation(token: str, *, at: datetime) -> Invitation:
    """Return the pending invitation that a link's token stands for.

    :raises InvitationNotUsable: as `pending_invitation` does.
    """
    return pending_invitation(token_digest(token), at=at)


def pending_invitation(digest: str, *, at: datetime) -> Invitation:
    """Return the invitation with this digest of one of its tokens, the mailed one or that which was handed over.

    :raises InvitationNotUsable: if there is none, or none any more, or its inviter may no longer invite.
    """
    invitations = Invitation.objects.pending(at=at).select_related("team__organization", "organization", "invited_by")
    invitation = invitations.filter(Q(token_digest=digest) | Q(mailed_token_digest=digest)).first()
    if invitation is None or not _may_still_invite(invitation):
        raise InvitationNotUsable
    return invitation


def _join(invitation: Invitation, user: User, at: datetime) -> None:
    """Take the place in the organization; who came into it meanwhile may become its super admin, and no auditor."""
    organization, role = invitation.organization, Role(invitation.role)
    membership = add_to_organization(organization=organization, user=user, role=role, at=at)
    if membership.role != role:
        raise AlreadyMember


def _may_still_invite(invitation: Invitation) -> bool:
    """Say whether who invited could still do so: a link must not outlive the right to make it."""
    if invitation.invited_by_id is None:
        return True
    memberships = OrganizationMembership.objects.select_related("user").filter(
        organization=invitation.organization_id, user=invitation.invited_by_id, user__is_active=True
    )
    membership = memberships.first()
    return membership is not None and may_manage_invitation(principal_of(membership), invitation)


def token_digest(token: str) -> str:
    """A fast hash is enough for 256 random bits: there is nothing to guess from."""
    return hashlib.sha256(token.encode()).hexdigest()
