"""What an organization asks of a sign-in before it lets someone in.

It is asked with every request, so that a rule holds on the next one of a session that is open already.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db.models import QuerySet

from accounts.models import OrganizationMembership, User
from accounts.security import FACTORS, SecurityPolicy, verified_addresses

SOCIAL_SIGN_IN_REQUIRED = "social_sign_in_required"
DOMAIN_NOT_ALLOWED = "domain_not_allowed"
SECOND_FACTOR_REQUIRED = "second_factor_required"
OBSTACLES = (SOCIAL_SIGN_IN_REQUIRED, DOMAIN_NOT_ALLOWED, SECOND_FACTOR_REQUIRED)
Records = Sequence[Mapping[str, Any]]


def obstacle(membership: OrganizationMembership, records: Records, *, policy: SecurityPolicy | None = None) -> str:
    """Return the code of what keeps a person out of an organization for now; empty, if nothing does.

    It costs no query where nothing is asked, and one for each thing that is. The membership must have been read with
    its organization and user.

    :param records: how the session's person has proved who they are, as allauth keeps it.
    :param policy: what is asked, where that is not what the organization asks now.
    """
    asked = SecurityPolicy.of(membership.organization) if policy is None else policy
    if asked == SecurityPolicy():
        return ""
    if asked.require_social or asked.domains:
        account = _account(membership, records)
        if asked.require_social and account is None:
            return SOCIAL_SIGN_IN_REQUIRED
        if asked.domains and not _has_taken_address(membership, account, asked):
            return DOMAIN_NOT_ALLOWED
    if asked.asks_second_factor_of(membership) and not _has_second_factor(membership):
        return SECOND_FACTOR_REQUIRED
    return ""


def _account(membership: OrganizationMembership, records: Records) -> SocialAccount | None:
    """Return the provider's account through which the session was opened, if it is still connected.

    A session's records begin with its sign-in, and confirming it by password only adds one: the newest of a provider
    is what opened it.
    """
    newest = _newest_of_provider(records)
    return _accounts_of(membership.user_id, newest).first() if newest else None


def is_still_connected(user: User, records: Records) -> bool:
    """Say whether the provider's account by which someone proved who they are is theirs still, if there was one."""
    newest = _newest_of_provider(records)
    return newest is None or _accounts_of(user.pk, newest).exists()


def _newest_of_provider(records: Records) -> Mapping[str, Any] | None:
    return next((record for record in reversed(records) if record.get("method") == "socialaccount"), None)


def _accounts_of(user_id: UUID, record: Mapping[str, Any]) -> QuerySet[SocialAccount]:
    provider, uid = record.get("provider", ""), record.get("uid", "")
    accounts: QuerySet[SocialAccount] = SocialAccount.objects.filter(user=user_id, provider=provider, uid=uid)
    return accounts


def _has_taken_address(
    membership: OrganizationMembership, account: SocialAccount | None, asked: SecurityPolicy
) -> bool:
    """Say whether the address that counts is of a domain that is asked for.

    Through a provider, that is any address which the provider has verified, and never the account's own here, which
    may be the one that was invited. With a password or a passkey it is the account's own, once it is verified.
    """
    if account is not None:
        return asked.takes_any(verified_addresses(account))
    email = membership.user.email
    if not asked.takes(email):
        return False
    return bool(EmailAddress.objects.filter(user=membership.user_id, email=email, verified=True).exists())


def _has_second_factor(membership: OrganizationMembership) -> bool:
    """A passkey counts, also where it is all that is asked for at the sign-in."""
    return bool(Authenticator.objects.filter(user=membership.user_id, type__in=FACTORS).exists())
