"""Changing one's address: it takes a link from the old mailbox and one from the new."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from accounts.actions.inviting import token_digest
from accounts.actions.refusals import Refused
from accounts.actions.sessions import end_sessions
from accounts.mailing import outbox
from accounts.models import EmailChange, User

EMAIL_CHANGE_LASTS = timedelta(hours=24)


class EmailChangeNotUsable(Refused):
    """The link was used up, replaced, cancelled, or is too old."""

    code = "not_found"
    sentence = "This link no longer works. Ask for the change again."


class EmailTaken(Refused):
    """Someone has made an account with the new address since the change was asked for."""

    code, field = "name_taken", "new_email"
    sentence = "There is an account with the new address by now, so yours keeps the old one."


@dataclass(frozen=True, slots=True)
class EmailConfirmation:
    """What a link of one of the two mails stands for."""

    change: EmailChange
    is_old: bool

    @property
    def is_confirmed(self) -> bool:
        return bool(self.change.old_confirmed_at if self.is_old else self.change.new_confirmed_at)

    @property
    def is_complete(self) -> bool:
        return bool(self.change.old_confirmed_at and self.change.new_confirmed_at)


@transaction.atomic
def ask_for_email_change(*, user: User, new_email: str, at: datetime) -> EmailChange:
    """Mail a link to the old address and one to the new; an earlier wish of the same person is replaced.

    Whether the new address has an account is not told: then its owner is mailed instead of a link.
    """
    current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    email = new_email.strip().lower()
    EmailChange.objects.filter(user=current).delete()
    old, new = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    change = EmailChange.objects.create(
        user=current,
        new_email=email,
        old_token_digest=token_digest(old),
        new_token_digest=token_digest(new),
        created_at=at,
        expires_at=at + EMAIL_CHANGE_LASTS,
    )
    told = {"old_email": current.email, "new_email": email, "expires_at": change.expires_at}
    outbox.put(
        "email_change_approve", to=current, context={**told, "link": outbox.link("email-confirm-open", old)}, at=at
    )
    if owner := User.objects.filter(email=email).first():
        outbox.put("email_change_taken", to=owner, context=told, at=at)
    else:
        told |= {"link": outbox.link("email-confirm-open", new)}
        outbox.put("email_change_confirm", to=email, context=told, at=at)
    return change


@transaction.atomic
def cancel_email_change(*, user: User) -> None:
    """Drop a wish for another address; both links are void."""
    EmailChange.objects.filter(user=user).delete()


def find_email_confirmation(digest: str, *, at: datetime) -> EmailConfirmation:
    """Return what the digest of a link's token stands for.

    :raises EmailChangeNotUsable: if it stands for nothing any more, or the account is closed.
    """
    changes = EmailChange.objects.filter(expires_at__gt=at, user__is_active=True).select_related("user")
    for name in ("old", "new"):
        if change := changes.filter(**{f"{name}_token_digest": digest}).first():
            return EmailConfirmation(change, is_old=name == "old")
    raise EmailChangeNotUsable


@transaction.atomic
def confirm_email(*, digest: str, at: datetime, session_key: str | None = None) -> EmailConfirmation:
    """Note that the holder of a mailbox agrees; once both did, the account has the new address.

    :param session_key: the session in which this happens. It goes on, if it is the person's; their others end.
    :raises EmailChangeNotUsable: as `find_email_confirmation` does.
    :raises EmailTaken: if someone else has the address by now.
    """
    found = find_email_confirmation(digest, at=at)
    # The person first, as everywhere: who asks for another change meanwhile waits, or was first.
    user = User.objects.select_for_update(no_key=True).get(pk=found.change.user_id)
    change = EmailChange.objects.select_for_update().filter(pk=found.change.pk).first()
    if change is None:
        raise EmailChangeNotUsable
    field = "old_confirmed_at" if found.is_old else "new_confirmed_at"
    setattr(change, field, getattr(change, field) or at)
    change.save(update_fields=[field])
    confirmation = EmailConfirmation(change, found.is_old)
    if confirmation.is_complete:
        _change_email(user, change, at=at, session_key=session_key)
    return confirmation


def _change_email(user: User, change: EmailChange, *, at: datetime, session_key: str | None) -> None:
    told = {"old_email": user.email, "new_email": change.new_email, "at": at}
    outbox.put("email_changed", to=user, context=told, at=at)
    user.email = change.new_email
    try:
        with transaction.atomic():
            user.save(update_fields=["email"])
            EmailAddress.objects.filter(user=user).delete()
            EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    except IntegrityError as error:
        raise EmailTaken from error
    change.delete()
    outbox.put("email_changed", to=user, context=told, at=at)
    end_sessions(user=user, at=at, but=session_key)
