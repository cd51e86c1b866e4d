"""Taking a connected account away."""

from datetime import datetime

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction

from accounts.actions.refusals import Refused
from accounts.factors import passkey_origin, tell
from accounts.models import User
from accounts.providers import provider_ids


class NotConnected(Refused):
    """The account is not connected, or is somebody else's."""

    code = "not_found"
    sentence = "This account is not connected any more."


class OnlyWayIn(Refused):
    """There would be no way to sign in."""

    sentence = "This is your only way in. Connect another account or add a passkey first, then disconnect this one."


@transaction.atomic
def disconnect_account(*, user: User, account_id: int, at: datetime) -> SocialAccount:
    """Let an account of a provider sign its person in no more.

    Two at once wait for each other, as for the removal of a passkey, so that both cannot count on what the other takes.

    :raises NotConnected: if the person has no such account.
    :raises OnlyWayIn: if nothing would be left to sign in with.
    """
    current = User.objects.select_for_update().get(pk=user.pk)
    account = SocialAccount.objects.filter(user=current, pk=account_id).first()
    if account is None:
        raise NotConnected
    if not _has_other_way_in(current, account):
        raise OnlyWayIn
    account.delete()
    tell(current, f"An account at {account.provider} was disconnected", at=at)
    return account


def _has_other_way_in(user: User, account: SocialAccount) -> bool:
    """Say whether a password, a passkey, or an account of a provider that is switched on would be left."""
    others = SocialAccount.objects.filter(user=user, provider__in=provider_ids()).exclude(pk=account.pk)
    passkeys = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN)
    return user.has_usable_password() or others.exists() or (bool(passkey_origin()) and passkeys.exists())
