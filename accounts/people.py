"""Who is in an organization: what each person is there, and how they sign in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db.models import Q, QuerySet

from accounts.factors import KINDS
from accounts.models import OrganizationMembership, TeamMembership
from accounts.roles import Role

OF_A_TEAM = frozenset({Role.TEAM_ADMIN, Role.DEVELOPER})


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A member of the organization, as the page of its people shows them."""

    membership: OrganizationMembership
    teams: Sequence[TeamMembership]
    has_second_factor: bool
    ways_in: Sequence[str]

    @property
    def role(self) -> str:
        """What they are in the organization itself; a member may be more in teams."""
        return str(self.membership.get_role_display())


def members(organization_id: UUID, *, text: str = "", role: str = "") -> QuerySet[OrganizationMembership]:
    """Return who is in an organization, by address.

    :param text: part of a name or an address.
    :param role: what they are in the organization, or in one of its teams.
    """
    found = OrganizationMembership.objects.filter(organization=organization_id).select_related("user")
    if text:
        found = found.filter(Q(user__name__icontains=text) | Q(user__email__icontains=text))
    if role in OF_A_TEAM:
        in_team = TeamMembership.objects.filter(team__organization=organization_id, role=role)
        found = found.filter(pk__in=in_team.values("membership"))
    elif role:
        found = found.filter(role=role)
    return found.order_by("user__email", "pk")


def rows_of(memberships: Iterable[OrganizationMembership], providers: Mapping[str, str]) -> list[PersonRow]:
    """Return the rows of a page, in as many queries for one person as for many.

    :param providers: what the configured providers are called, by what their accounts are stored under.
    """
    page = list(memberships)
    user_ids = [membership.user_id for membership in page]
    teams: dict[UUID, list[TeamMembership]] = {membership.pk: [] for membership in page}
    in_teams = TeamMembership.objects.filter(membership__in=teams).select_related("team")
    for in_team in in_teams.order_by("team__name", "pk"):
        teams[in_team.membership_id].append(in_team)
    factors = Authenticator.objects.filter(user__in=user_ids, type__in=KINDS).values_list("user_id", "type")
    with_factor, with_passkey = set(), set()
    for user_id, kind in factors:
        with_factor.add(user_id)
        if kind == Authenticator.Type.WEBAUTHN:
            with_passkey.add(user_id)
    connected: dict[UUID, list[str]] = {user_id: [] for user_id in user_ids}
    for user_id, provider in SocialAccount.objects.filter(user__in=user_ids).values_list("user_id", "provider"):
        connected[user_id].append(providers.get(provider, provider))
    return [
        PersonRow(
            membership,
            teams[membership.pk],
            membership.user_id in with_factor,
            _ways_in(membership, sorted(set(connected[membership.user_id])), membership.user_id in with_passkey),
        )
        for membership in page
    ]


def _ways_in(membership: OrganizationMembership, connected: Sequence[str], has_passkey: bool) -> list[str]:
    password = ["Password"] if membership.user.has_usable_password() else []
    return [*password, *(["Passkey"] if has_passkey else []), *connected]
