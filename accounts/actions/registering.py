"""Making the accounts of people who were invited."""

from contextlib import suppress
from datetime import datetime

from django.db import transaction
from uuid_utils.compat import uuid7

from accounts.actions.inviting import accept_invitation, pending_invitation
from accounts.actions.people import new_user, save_user
from accounts.actions.refusals import AccountExists
from accounts.models import Invitation, User
from audit.context import happening_in


def register_invited(*, invitation: Invitation, name: str, password: str, at: datetime) -> User:
    """Make the account of someone who has the mailed link, and put them into their place, or do neither.

    The link was mailed to their address, so they read it.

    :raises InvitationNotUsable: if the invitation was used or has expired.
    :raises AccountExists: if the address has an account; its owner signs in to accept.
    """
    user = new_user(email=invitation.email, password=password, name=name, at=at)
    with transaction.atomic():
        with happening_in(invitation.organization_id):
            save_user(user, is_verified=True)
        accept_invitation(invitation=invitation, user=user, at=at)
    return user


def register_unproven(*, invitation: Invitation, name: str, password: str, at: datetime) -> None:
    """Make an account for someone who was only handed the link, if the address has none; do as much if it has one.

    They may not be who reads the address, so nothing tells whether it has an account: not the answer, nor the time
    that it takes. The invitation stays, to be accepted by whoever signs in.

    :raises InvitationNotUsable: if the invitation was used or has expired.
    """
    user = new_user(email=invitation.email, password=password, name=name, at=at)
    with transaction.atomic(), happening_in(invitation.organization_id):
        pending_invitation(invitation.token_digest, at=at)
        if User.objects.filter(email=invitation.email).exists():
            _save_and_undo(user)
            return
        # Someone else may be making it at this moment, which is all the same.
        with suppress(AccountExists):
            save_user(user)


def _save_and_undo(user: User) -> None:
    """Write what a new account takes, under an address that nobody has, and take it back."""
    user.email = f"{uuid7().hex}@invalid"
    with transaction.atomic():
        save_user(user)
        transaction.set_rollback(True)
