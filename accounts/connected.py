"""With which providers a person signs in."""

from dataclasses import dataclass

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount

from accounts.models import User
from keyportal.http import MemberRequest


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """A person's account elsewhere that lets them in here."""

    pk: int
    provider: str  # its name, as its button says it
    label: str  # what the account is called there


def connected_accounts(request: MemberRequest) -> list[ConnectedAccount]:
    """Return the accounts that the signed-in person has connected, also those of providers that are switched off."""
    listed = {getattr(found, "sub_id", found.id): found for found in get_adapter().list_providers(request)}
    connected = []
    for account in SocialAccount.objects.filter(user=request.user).order_by("provider", "pk"):
        provider = listed.get(account.provider)
        label = provider.wrap_account(account).to_str() if provider else account.uid
        connected.append(ConnectedAccount(account.pk, provider.name if provider else account.provider, str(label)))
    return connected


def manager_of(user: User, connected: list[ConnectedAccount]) -> str:
    """Return the name of the provider that manages how someone signs in; none, for who has a password here."""
    if user.has_usable_password() or not connected:
        return ""
    return " and ".join(dict.fromkeys(account.provider for account in connected))
