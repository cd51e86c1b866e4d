"""Passwords that are reset: by whoever reads the mail of the account's address."""

from datetime import datetime

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.db import transaction
from uuid_utils.compat import uuid7

from accounts.actions.sessions import end_sessions
from accounts.mailing import outbox
from accounts.models import Device, EmailChange, User
from accounts.recording import record_own, record_reset_request


def ask_for_reset(*, email: str, user: User | None, at: datetime) -> None:
    """Mail a link for choosing another password; for nobody, do the same and send nothing.

    The link works once, and ends with a sign-in, a change of address and a while later by itself.
    """
    recipient = user or User(pk=uuid7(), email=email)
    with transaction.atomic():
        record_reset_request(user)
        with transaction.atomic():
            told = {"password_reset_url": _link(recipient), "minutes": settings.PASSWORD_RESET_TIMEOUT // 60}
            outbox.put("password_reset", to=recipient, context=told, at=at)
            if user is None:
                transaction.set_rollback(True)


def _link(user: User) -> str:
    token = default_token_generator.make_token(user)
    return outbox.link("account_reset_password_from_key", user_pk_to_url_str(user), token)


@transaction.atomic
def reset_password(*, user: User, at: datetime, but: str | None = None) -> None:
    """Save the new password that a person has been given, whose link shows that they read their address.

    If that was never shown before, somebody else may have made the account to lie in wait: then whatever opened it
    goes, and only the new password is left.

    :param but: the key of the session in which this happens. It has the old password's mark, which ends it as it is.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    user.save(update_fields=["password", "has_short_password"])
    addresses = EmailAddress.objects.filter(user=user, email=user.email)
    if not addresses.filter(verified=True).exists():
        _take_over(user, at, but)
        addresses.update(verified=True)
        EmailAddress.objects.filter(user=user, verified=False).delete()


def _take_over(user: User, at: datetime, but: str | None) -> None:
    end_sessions(user=user, at=at, but=but)
    for model in (Authenticator, SocialAccount, Device, EmailChange):
        # One by one, so that each leaves its row in the audit log.
        for row in model.objects.filter(user=user):
            row.delete()
    record_own("user.address_proven", user)
