"""allauth, bent to keyportal's rules: nobody signs up but by invitation, and no address opens an account."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal.flows.connect import connect
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.actions import InvitationNotUsable, accept_invitation, pending_invitation
from accounts.models import Invitation, User
from accounts.recent import ask_again, is_sign_in_recent
from audit.context import happening_in
from keyportal.encryption import decrypt, encrypt
from keyportal.names import MAX_LENGTH, is_plain

INVITATION_SESSION_KEY = "invitation_token_digest"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return str(getattr(request, "client_address", ""))

    def is_safe_url(self, url: str | None) -> bool:
        """Let `next` lead to this portal only: ALLOWED_HOSTS names this machine too, whatever listens there."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Build the link from configuration: a request's Host is the sender's word, not ours."""
        uid, _, rest = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": rest})
        return f"{settings.KEYPORTAL_URL}{path}"


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc] # allauth is not typed
    def encrypt(self, text: str) -> str:
        return encrypt(text, purpose="second_factor")

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text, purpose="second_factor")


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return _invitation(request, sociallogin) is not None

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Take the name from the provider, and never the address."""
        user: User = sociallogin.user
        name = data.get("name") or " ".join(filter(None, [data.get("first_name"), data.get("last_name")]))
        # What a provider calls someone is no reason to turn them away: what cannot be a name is left out.
        user.name = name[:MAX_LENGTH] if is_plain(name[:MAX_LENGTH]) else ""
        user.created_at = timezone.now()
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Connect here, as one with its audit row; let in who is known; make others' accounts as they were invited."""
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            raise ImmediateHttpResponse(self._connect(request, sociallogin))
        invitation = None if sociallogin.is_existing else _invitation(request, sociallogin)
        if invitation is None:
            return
        if User.objects.filter(email=invitation.email).exists():
            messages.error(
                request,
                f"{invitation.email} has an account here. Sign in to it first, accept the invitation, "
                "and connect the other account under “Sign-in methods”.",
            )
            raise ImmediateHttpResponse(redirect("account_login"))
        sociallogin.user.email = invitation.email
        sociallogin.email_addresses = [EmailAddress(email=invitation.email, primary=True, verified=False)]

    def _connect(self, request: Any, sociallogin: SocialLogin) -> HttpResponseBase:
        """Add another way in, unless the session may have been left open by the account's owner."""
        if request.user.is_authenticated and not is_sign_in_recent(request):
            messages.info(request, "Confirm that it is you, then connect the account once more.")
            return ask_again(request.user, back_to=reverse("socialaccount_connections"))
        with transaction.atomic():
            response: HttpResponseBase = connect(request, sociallogin)
        return response

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account and use the invitation up, both or neither."""
        invitation = _invitation(request, sociallogin)
        # Someone else may have used it since the sign-in began; its own page says so.
        used_up = ImmediateHttpResponse(redirect("invitation-accept"))
        if invitation is None:
            raise used_up
        try:
            with transaction.atomic(), happening_in(invitation.organization_id):
                user: User = super().save_user(request, sociallogin, form)
                accept_invitation(invitation=invitation, user=user, at=timezone.now())
        except InvitationNotUsable as error:
            raise used_up from error
        # The page that they came from is the invitation's, which has just been used up.
        sociallogin.state["next"] = reverse("overview")
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("socialaccount_connections")


def _invitation(request: HttpRequest, sociallogin: SocialLogin) -> Invitation | None:
    """Return the invitation from whose page this sign-in was begun, if it is still good.

    The session may know of one that somebody opened earlier on the same machine: that is none for a sign-in which
    began anywhere else.
    """
    if sociallogin.state.get("next") != reverse("invitation-accept"):
        return None
    digest = request.session.get(INVITATION_SESSION_KEY, "")
    try:
        return pending_invitation(digest, at=timezone.now())
    except InvitationNotUsable:
        return None
