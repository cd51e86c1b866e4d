"""Joining without an invitation: by an address of an organization's domain, and by the groups at a provider."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import QuerySet

from accounts.actions.membership import tell_role, withdraw_invitations
from accounts.actions.people import add_to_team
from accounts.models import (
    GroupRole,
    OrganizationDomain,
    OrganizationMembership,
    Role,
    Team,
    TeamMembership,
    User,
)
from accounts.security import domain_of

# Who a person is told has changed their role, beside what a person did.
_BY = "the groups at your provider"
# A provider that tells of more addresses than anyone has is not asked about them all.
MAX_ADDRESSES = 50


class PlaceGone(Exception):
    """The organization's domain, or the team that people of it join, is not what it was a moment ago."""


@dataclass(frozen=True, slots=True)
class Place:
    """The team that someone without an account may join, and the address that lets them."""

    team: Team
    address: str

    @property
    def is_taken(self) -> bool:
        """Whether the address has an account, which belongs to whoever can sign in to it and to nobody else."""
        if User.objects.filter(email=self.address).exists():
            return True
        return bool(EmailAddress.objects.filter(email__iexact=self.address).exists())


def place_for(addresses: Sequence[str]) -> Place | None:
    """Return where people with these addresses may join by themselves; the first one that is a way in counts.

    :param addresses: those that a provider has verified.
    """
    of_domain = {domain_of(address): address for address in reversed(addresses[:MAX_ADDRESSES])}
    domains = OrganizationDomain.objects.filter(
        name__in=of_domain,
        verified_at__isnull=False,
        organization__suspended_at=None,
        organization__default_team__isnull=False,
        organization__default_team__archived_at=None,
    ).select_related("organization__default_team__organization")
    teams = {domain.name: domain.organization.default_team for domain in domains}
    for address in addresses[:MAX_ADDRESSES]:
        if team := teams.get(domain_of(address)):
            return Place(team, of_domain[domain_of(address)])
    return None


@transaction.atomic
def join_by_domain(*, user: User, at: datetime) -> TeamMembership:
    """Put a new account into the team that people of its address's domain join, as a developer.

    The caller has made the account in this transaction, with an address that a provider has verified.

    :raises PlaceGone: if there is no such team any more.
    """
    place = place_for([user.email])
    if place is None:
        raise PlaceGone
    return add_to_team(team=place.team, user=user, role=Role.DEVELOPER, at=at)


@transaction.atomic
def follow_groups(*, user: User, groups: Mapping[str, Collection[str]], at: datetime) -> None:
    """Put a person into the teams that their groups are mapped to, and out of others that a group put them into.

    What someone was given by hand stays as it is, and so does an auditor, who is in no team. Nobody joins an
    organization by a group.

    :param groups: what each provider said at the last sign-in there.
    """
    memberships = OrganizationMembership.objects.filter(user=user).exclude(role=Role.AUDITOR).select_related("user")
    for membership in memberships.order_by("pk"):
        wanted = _wanted(membership.organization_id, groups)
        # Before the membership is locked: who accepts an invitation holds that first, and then needs the membership.
        for team_id in _from_group(membership).exclude(team__in=list(wanted)).values_list("team_id", flat=True):
            withdraw_invitations(membership.pk, team_id=team_id)
        _follow(membership, wanted, at)


def _wanted(organization_id: UUID, groups: Mapping[str, Collection[str]]) -> dict[UUID, Role]:
    """Return the highest role in each team that a person's groups are mapped to."""
    wanted: dict[UUID, Role] = {}
    for row in GroupRole.objects.filter(team__organization=organization_id):
        is_admin = row.role == Role.TEAM_ADMIN
        if row.group in groups.get(row.provider, ()) and (is_admin or row.team_id not in wanted):
            wanted[row.team_id] = Role(row.role)
    return wanted


def _from_group(membership: OrganizationMembership) -> QuerySet[TeamMembership]:
    return TeamMembership.objects.filter(membership=membership, is_from_group=True)


def _follow(membership: OrganizationMembership, wanted: Mapping[UUID, Role], at: datetime) -> None:
    locked = OrganizationMembership.objects.select_for_update(of=("self",), no_key=True).filter(pk=membership.pk)
    if locked.exclude(role=Role.AUDITOR).first() is None:
        return  # who left, or became an auditor, a moment ago
    rows = TeamMembership.objects.select_for_update(of=("self",)).select_related("team").filter(membership=membership)
    held = {row.team_id: row for row in rows.order_by("pk")}
    for team_id, row in held.items():
        if row.is_from_group and team_id not in wanted:
            row.delete()
            tell_role(membership.user, row.team, None, _BY, at)
        elif row.is_from_group and row.role != wanted[team_id]:
            row.role = wanted[team_id]
            row.save(update_fields=["role"])
            tell_role(membership.user, row.team, wanted[team_id], _BY, at)
    for team_id in wanted.keys() - held.keys():
        TeamMembership.objects.create(
            team_id=team_id, membership=membership, role=wanted[team_id], is_from_group=True, created_at=at
        )
