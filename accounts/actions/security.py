"""How an organization's people have to sign in, which domains and groups bring whom where."""

import hashlib
import json
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.crypto import constant_time_compare

from accounts import entry
from accounts.actions.refusals import NameTaken, NotAllowed, Refused
from accounts.entry import DOMAIN_NOT_ALLOWED, SECOND_FACTOR_REQUIRED, SOCIAL_SIGN_IN_REQUIRED, Records
from accounts.models import GroupRole, Organization, OrganizationDomain, OrganizationMembership, Role, Team
from accounts.principals import Principal
from accounts.rights import Right, holds
from accounts.security import SecurityPolicy


class SecurityHasChanged(Refused):
    """A policy was to be turned on, and the one that it would replace is not that of the preview any more."""

    code = "selection_changed"
    sentence = "Someone else has changed this meanwhile. Look at what would change now."


class LocksYouOut(Refused):
    """Whoever turns a rule on has to fulfil it, or nobody might be left who can turn it off."""

    sentence = "You would lock yourself out."


class TeamNotUsable(Refused):
    """The team is put away, or is none of the organization's."""

    code, field = "not_found", "default_team"
    sentence = "There is no such team here any more. Choose another one."


class DomainNotClaimed(Exception):
    """No super admin of the organization has said that the domain is theirs."""


class DomainTaken(Exception):
    """The domain was verified for another organization."""


_LOCKED_OUT_BY = {
    SOCIAL_SIGN_IN_REQUIRED: "You did not sign in through a provider yourself. Do that first, so that this rule "
    "does not lock you out.",
    DOMAIN_NOT_ALLOWED: "You are not signed in with a verified address of these domains yourself. Do that first, or "
    "add yours, so that this rule does not lock you out.",
    SECOND_FACTOR_REQUIRED: "You have no second factor yourself. Set one up first, so that this rule does not lock "
    "you out.",
}


@transaction.atomic
def change_security(
    *,
    principal: Principal,
    policy: SecurityPolicy,
    default_team: Team | None,
    records: Records,
    expected: str | None = None,
) -> Organization:
    """Say how people have to sign in, and which team people of the organization's domains join.

    It holds on the next request of every session and token. Keys go on: they act with a role, and not a sign-in.

    :param records: the sign-in of the caller, who cannot lock themselves out.
    :param expected: the digest of what the caller saw; None from who saw nothing.
    :raises NotAllowed: unless the caller is a super admin, and no key.
    :raises SecurityHasChanged: if something else is said by now than the caller saw.
    :raises LocksYouOut: if the caller's own sign-in would not do.
    :raises TeamNotUsable: if people cannot join the team.
    """
    _require(principal)
    organization = Organization.objects.select_for_update(no_key=True).get(pk=principal.organization_id)
    if expected is not None and not constant_time_compare(expected, security_digest(organization)):
        raise SecurityHasChanged
    require_way_in(principal=principal, policy=policy, records=records)
    if default_team and default_team.pk != organization.default_team_id:
        _require_usable(principal, default_team)
    organization.security_policy, organization.default_team = policy.as_stored(), default_team
    organization.save(update_fields=["security_policy", "default_team"])
    return organization


def security_digest(organization: Organization) -> str:
    """Return what stands for all that `change_security` would replace."""
    said = [SecurityPolicy.of(organization).as_stored(), str(organization.default_team_id)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def require_way_in(*, principal: Principal, policy: SecurityPolicy, records: Records) -> None:
    """:raises LocksYouOut: if a policy would keep out the person who is about to turn it on."""
    memberships = OrganizationMembership.objects.select_related("organization", "user")
    membership = memberships.get(organization=principal.organization_id, user=principal.user_id)
    if code := entry.obstacle(membership, records, policy=policy):
        raise LocksYouOut(_LOCKED_OUT_BY[code])


@transaction.atomic
def claim_domain(*, principal: Principal, name: str, at: datetime) -> OrganizationDomain:
    """Say that a mail domain, in its normal form, is the organization's; it counts once the operator verified it.

    :raises NotAllowed: as `change_security` does.
    :raises NameTaken: if it was said before.
    """
    _require(principal)
    try:
        with transaction.atomic():
            return OrganizationDomain.objects.create(
                organization_id=principal.organization_id, name=name, created_at=at
            )
    except IntegrityError as error:
        raise NameTaken("This domain is in the list already.") from error


@transaction.atomic
def release_domain(*, principal: Principal, domain: OrganizationDomain) -> None:
    """Give a domain up: nobody joins by it any more. Who joined stays.

    :raises NotAllowed: as `change_security` does.
    """
    _require(principal)
    found = OrganizationDomain.objects.select_for_update().filter(pk=domain.pk, organization=principal.organization_id)
    for current in found:
        current.delete()


@transaction.atomic
def verify_domain(*, organization: Organization, name: str, at: datetime) -> OrganizationDomain:
    """Say, as the operator, that a domain is an organization's indeed; once is enough.

    :raises DomainNotClaimed: if the organization has not said that it is.
    :raises DomainTaken: if it was verified for another one.
    """
    current = OrganizationDomain.objects.select_for_update().filter(organization=organization, name=name).first()
    if current is None:
        raise DomainNotClaimed
    if current.verified_at:
        return current
    current.verified_at = at
    try:
        with transaction.atomic():
            current.save(update_fields=["verified_at"])
    except IntegrityError as error:
        raise DomainTaken from error
    return current


@transaction.atomic
def map_group(*, principal: Principal, team: Team, provider: str, group: str, role: Role, at: datetime) -> GroupRole:
    """Let people of a provider's group be something in a team, from their next sign-in there on.

    :raises NotAllowed: as `change_security` does.
    :raises TeamNotUsable: if people cannot join the team.
    :raises NameTaken: if the group is something in the team already.
    """
    _require(principal)
    _require_usable(principal, team)
    try:
        with transaction.atomic():
            return GroupRole.objects.create(team=team, provider=provider, group=group, role=role, created_at=at)
    except IntegrityError as error:
        raise NameTaken("This group is mapped to that team already. Remove that first, to change it.") from error


@transaction.atomic
def unmap_group(*, principal: Principal, group_role: GroupRole) -> None:
    """Let a group be nothing in its team any more; whoever it put there leaves at their next sign-in.

    :raises NotAllowed: as `change_security` does.
    """
    _require(principal)
    found = GroupRole.objects.select_for_update(of=("self",)).filter(
        pk=group_role.pk, team__organization=principal.organization_id
    )
    for current in found:
        current.delete()


def _require(principal: Principal) -> None:
    if not holds(principal, Right.SECURITY_CHANGE):
        raise NotAllowed("Only a super admin changes how people sign in. Ask one for it.")


def _require_usable(principal: Principal, team: Team) -> None:
    # Locked, so that it is not put away meanwhile.
    current = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if current.organization_id != principal.organization_id or current.archived_at:
        raise TeamNotUsable
