"""allauth, bent to keyportal's rules: nobody signs up but by invitation, and no address opens an account."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts.actions import InvitationNotUsable, accept_invitation
from accounts.models import Invitation, User
from accounts.recent import ask_again, is_sign_in_recent

INVITATION_SESSION_KEY = "invitation_token_digest"
NAME_LENGTH = User._meta.get_field("name").max_length


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return str(getattr(request, "client_address", ""))

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Build the link from configuration: a request's Host is the sender's word, not ours."""
        uid, _, rest = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": rest})
        return f"{settings.KEYPORTAL_URL}{path}"


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return _invitation(request) is not None

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Take the name from the provider, and the address from the invitation, never from the provider."""
        user: User = sociallogin.user
        name = data.get("name") or " ".join(filter(None, [data.get("first_name"), data.get("last_name")]))
        user.name = name[:NAME_LENGTH]
        user.created_at = timezone.now()
        if invitation := _invitation(request):
            user.email = invitation.email
            sociallogin.email_addresses = [EmailAddress(email=invitation.email, primary=True, verified=False)]
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Stop before a sign-up for an address that has an account: its owner signs in to accept.

        Stop, too, before another way in is added to an account by a session that may have been left open.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            return self._require_recent_sign_in(request)
        if sociallogin.is_existing:
            return None
        invitation = _invitation(request)
        if invitation and User.objects.filter(email=invitation.email).exists():
            messages.error(
                request,
                f"{invitation.email} has an account here. Sign in to it first, accept the invitation, "
                "and connect the other account under “Sign-in methods”.",
            )
            raise ImmediateHttpResponse(redirect("account_login"))
        return None

    def _require_recent_sign_in(self, request: Any) -> None:
        if not is_sign_in_recent(request):
            messages.info(request, "Confirm that it is you, then connect the account once more.")
            raise ImmediateHttpResponse(ask_again(request.user, back_to=reverse("socialaccount_connections")))

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account and use the invitation up, both or neither."""
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            invitation = _invitation(request)
            if invitation is None:
                raise InvitationNotUsable
            accept_invitation(invitation=invitation, user=user, at=timezone.now())
        # The page that they came from is the invitation's, which has just been used up.
        sociallogin.state["next"] = reverse("overview")
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("socialaccount_connections")


def _invitation(request: HttpRequest) -> Invitation | None:
    """Return the invitation whose page this browser came from, if it is still good."""
    digest = request.session.get(INVITATION_SESSION_KEY, "")
    return Invitation.objects.pending(at=timezone.now()).filter(token_digest=digest).first()
