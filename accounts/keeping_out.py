"""Whom a policy of sign-ins would keep out of an organization until they do something about it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount

from accounts.entry import DOMAIN_NOT_ALLOWED, SECOND_FACTOR_REQUIRED, SOCIAL_SIGN_IN_REQUIRED
from accounts.models import Organization, OrganizationMembership, Role, TeamMembership, User
from accounts.security import ADMINS, FACTORS, SecurityPolicy, verified_addresses

# How many people the preview names of each rule.
EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class KeptOut:
    """What keeps people out, and who they are, by name."""

    code: str
    people: tuple[User, ...]

    @property
    def examples(self) -> tuple[User, ...]:
        return self.people[:EXAMPLES]

    @property
    def more(self) -> int:
        return len(self.people) - len(self.examples)


def kept_out(organization: Organization, policy: SecurityPolicy) -> list[KeptOut]:
    """Return who could not fulfil a policy now, by rule; it costs as many queries for one person as for many.

    Who merely has to sign in again, in a way that they have already, is not among them.
    """
    memberships = list(
        OrganizationMembership.objects.filter(organization=organization, user__is_active=True)
        .select_related("user")
        .order_by("user__email")
    )
    found = _by_rule(organization, memberships, policy)
    return [KeptOut(code, people) for code, people in found if people]


def _by_rule(
    organization: Organization, memberships: list[OrganizationMembership], policy: SecurityPolicy
) -> Iterator[tuple[str, tuple[User, ...]]]:
    is_theirs = {"user__memberships__organization": organization}
    accounts = list(SocialAccount.objects.filter(**is_theirs)) if policy.require_social or policy.domains else []
    if policy.require_social:
        connected = {account.user_id for account in accounts}
        yield SOCIAL_SIGN_IN_REQUIRED, _without(memberships, connected)
    if policy.domains:
        taken = {account.user_id for account in accounts if policy.takes_any(verified_addresses(account))}
        if not policy.require_social:
            addresses = EmailAddress.objects.filter(**is_theirs, primary=True, verified=True)
            taken |= {address.user_id for address in addresses if policy.takes(address.email)}
        yield DOMAIN_NOT_ALLOWED, _without(memberships, taken)
    if policy.second_factor:
        asked = _asked_for_second_factor(organization, memberships, policy)
        factors = Authenticator.objects.filter(**is_theirs, type__in=FACTORS)
        yield SECOND_FACTOR_REQUIRED, _without(asked, set(factors.values_list("user_id", flat=True)))


def _asked_for_second_factor(
    organization: Organization, memberships: list[OrganizationMembership], policy: SecurityPolicy
) -> list[OrganizationMembership]:
    if policy.second_factor != ADMINS:
        return memberships
    rows = TeamMembership.objects.filter(team__organization=organization, role=Role.TEAM_ADMIN)
    admins = set(rows.values_list("membership_id", flat=True))
    return [membership for membership in memberships if membership.is_super_admin or membership.pk in admins]


def _without(memberships: list[OrganizationMembership], user_ids: Collection[UUID]) -> tuple[User, ...]:
    return tuple(membership.user for membership in memberships if membership.user_id not in user_ids)
