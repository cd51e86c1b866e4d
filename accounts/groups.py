"""The groups that people are in at a provider, and the teams that these put them into, asked anew at each sign-in."""

from typing import Any

from allauth.account.signals import user_logged_in
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.db.models.signals import post_delete
from django.utils import timezone

from accounts.actions.joining import follow_groups
from accounts.models import User
from accounts.security import groups_claims, groups_of
from audit.context import SYSTEM, audit_context, current


def start() -> None:
    """Listen for sign-ins through a provider, which are over by then, second factor and all."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.groups_at_sign_in")
    post_delete.connect(_disconnected, sender=SocialAccount, dispatch_uid="accounts.groups_disconnected")


def _signed_in(user: User, sociallogin: SocialLogin | None = None, **_: Any) -> None:
    if sociallogin is not None:
        follow(user)


def _disconnected(instance: SocialAccount, **_: Any) -> None:
    follow(instance.user)


def follow(user: User) -> None:
    """Let what the providers said last hold for a person's teams; nobody but the system does that.

    A provider that is not configured any more says nothing.
    """
    claims = groups_claims()
    accounts = SocialAccount.objects.filter(user=user, provider__in=claims)
    groups: dict[str, frozenset[str]] = {}
    for account in accounts:
        told = groups_of(account, claims[account.provider])
        groups[account.provider] = groups.get(account.provider, frozenset()) | told
    context = current()
    with audit_context(actor=SYSTEM, request_id=context.request_id, address=context.address, at=context.at):
        follow_groups(user=user, groups=groups, at=timezone.now())
