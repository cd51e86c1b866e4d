"""What an organization asks of its people's sign-in, and which addresses a provider has vouched for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import DomainNameValidator

from accounts.models import Organization, OrganizationMembership, Role

# Of whom a second factor is asked.
NOBODY, ADMINS, ALL = "", "admins", "all"
# Recovery codes are a way back in, and no factor of their own.
FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
MAX_DOMAINS = 100
OIDC = "openid_connect"
DEFAULT_GROUPS_CLAIM = "groups"
_ADDRESSES = "verified_addresses"
_is_domain = DomainNameValidator(accept_idna=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityPolicy:
    """How people have to sign in to be let into an organization; nothing is asked by default.

    `domains` are those that the address of a sign-in has to be of, in lower case; all of them, if there are none.
    """

    require_social: bool = False
    domains: tuple[str, ...] = ()
    second_factor: str = NOBODY

    @classmethod
    def of(cls, organization: Organization) -> "SecurityPolicy":
        stored: Mapping[str, Any] = organization.security_policy
        return cls(
            require_social=bool(stored.get("require_social")),
            domains=tuple(stored.get("domains", ())),
            second_factor=stored.get("second_factor", NOBODY),
        )

    def as_stored(self) -> dict[str, Any]:
        """Return what is asked, and nothing of what is not."""
        said = {
            "require_social": self.require_social,
            "domains": sorted(self.domains),
            "second_factor": self.second_factor,
        }
        return {name: value for name, value in said.items() if value}

    def takes(self, address: str) -> bool:
        """Say whether an address is of a domain that is asked for; a subdomain is another domain."""
        return not self.domains or domain_of(address) in self.domains

    def takes_any(self, addresses: Sequence[str]) -> bool:
        return any(self.takes(address) for address in addresses)

    def asks_more_than(self, other: "SecurityPolicy") -> bool:
        """Say whether anything is stricter than in another policy."""
        ranks = (NOBODY, ADMINS, ALL)
        has_fewer_domains = self.domains and (not other.domains or not set(other.domains) <= set(self.domains))
        return bool(
            has_fewer_domains
            or self.require_social > other.require_social
            or ranks.index(self.second_factor) > ranks.index(other.second_factor)
        )

    def asks_second_factor_of(self, membership: OrganizationMembership) -> bool:
        """Admins are super admins and those who are the admin of a team; an auditor is none."""
        if self.second_factor != ADMINS:
            return self.second_factor == ALL
        return membership.is_super_admin or Role.TEAM_ADMIN in membership.team_roles.values()


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()


def normal_domain(text: str) -> str:
    """Return a mail domain as it is stored.

    :raises ValueError: with a sentence, if it is none.
    """
    domain = text.strip().lower().removeprefix("@").rstrip(".")
    try:
        _is_domain(domain)
    except ValidationError as error:
        sentence = "Write a domain such as example.com; one with letters beyond ASCII in its form for DNS (xn--…)."
        raise ValueError(sentence) from error
    return domain


def note_addresses(sociallogin: SocialLogin) -> None:
    """Keep, with the account of a sign-in through a provider, the addresses that the provider says it has verified.

    Providers say it each in their own way, and allauth knows them all at this moment only. Some write their yes as a
    text, so that a no would count as one: only what reads as true does.
    """
    verified = [entry.email.lower() for entry in sociallogin.email_addresses if str(entry.verified).lower() == "true"]
    addresses = [address for address in verified if _speaks_for(sociallogin.account, address)]
    # Set anew, whatever the provider itself may call by this name.
    sociallogin.account.extra_data = {**sociallogin.account.extra_data, _ADDRESSES: addresses}


def _speaks_for(account: SocialAccount, address: str) -> bool:
    """Say whether a provider knows who reads an address now.

    Google has verified also what is no mailbox of its own, once, and does not hear when that becomes somebody else's:
    it speaks for Gmail, and for accounts of a Workspace, which have the claim `hd`.
    """
    return account.provider != "google" or bool(account.extra_data.get("hd")) or domain_of(address) == "gmail.com"


def verified_addresses(account: SocialAccount) -> tuple[str, ...]:
    """Return the addresses that an account's provider vouched for at its last sign-in, the primary one first."""
    return tuple(account.extra_data.get(_ADDRESSES, ()))


def groups_claims() -> dict[str, str]:
    """Return the claim that lists a person's groups, by the id of each provider that may have one."""
    apps = settings.SOCIALACCOUNT_PROVIDERS.get(OIDC, {}).get("APPS", [])
    return {app["provider_id"]: app["settings"].get("groups_claim", DEFAULT_GROUPS_CLAIM) for app in apps}


def groups_of(account: SocialAccount, claim: str) -> frozenset[str]:
    """Return the groups that a provider named at an account's last sign-in; a claim that is absent names none.

    The ID token comes first (OpenID Connect Core 1.0 §2), since the user info may be asked for by anyone with the
    access token.
    """
    told = [account.extra_data.get(source) or {} for source in ("id_token", "userinfo")]
    named = next((claims[claim] for claims in told if claim in claims), ())
    groups = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return frozenset(group for group in groups if isinstance(group, str))
