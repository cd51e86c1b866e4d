"""allauth, bent to keyportal's rules: nobody signs up but by invitation or by a domain that is verified."""

from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import clear_authentication_records
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal.flows.connect import connect
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess, Provider
from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from requests import RequestException

from accounts import throttles
from accounts.actions import InvitationNotUsable, TeamArchived, accept_invitation, pending_invitation
from accounts.actions.joining import Place, PlaceGone, join_by_domain, place_for
from accounts.activity import NO_ADDRESS
from accounts.entry import is_still_connected
from accounts.factors import passkey_origin, tell
from accounts.models import Invitation, User
from accounts.password_hashing import HashingBusy
from accounts.providers import held_to_it, is_address_taken, not_connected, provider_failed
from accounts.recent import ask_again, is_sign_in_recent
from accounts.security import note_addresses, verified_addresses
from audit.context import ANONYMOUS, happening_in, set_actor
from keyportal.encryption import decrypt, encrypt
from keyportal.names import MAX_LENGTH, is_plain

INVITATION_SESSION_KEY = "invitation_token_digest"
FIRST_STEP_SESSION_KEY = "sign_in_began_with"
# How people can show that it is still them.
WAYS = {
    "reauthenticate": "Use your password",
    "mfa_reauthenticate:webauthn": "Use a passkey",
    "mfa_reauthenticate": "Use a code",
    "provider": "Use a connected account",
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return str(getattr(request, "client_address", "")) or NO_ADDRESS

    def is_safe_url(self, url: str | None) -> bool:
        """Let `next` lead to this portal only: ALLOWED_HOSTS names this machine too, whatever listens there."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, str]]:
        """Offer what this person has, the most convenient first; allauth knows of no provider, so it comes last."""
        by_id = {way["id"]: way["url"] for way in super().get_reauthentication_methods(user)}
        if user.is_authenticated and SocialAccount.objects.filter(user=user).exists():
            by_id["provider"] = reverse("sign-in-again")
        if not passkey_origin():
            by_id.pop("mfa_reauthenticate:webauthn", None)
        return [{"id": way, "description": WAYS[way], "url": by_id[way]} for way in WAYS if way in by_id]

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt, before it costs a hash."""
        email = str(credentials.get("email", "")).strip().lower()
        if EmailAddress.objects.filter(email=email, verified=True).exists():
            # For these allauth looks in one table, for all others in two: the time would tell.
            list(User.objects.filter(email=email).iterator())
        self._login_failed_rl_usage = throttles.consume_sign_in(request, email)
        if self._login_failed_rl_usage is None:
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        try:
            user: User | None = super().authenticate(request, **credentials)
        except HashingBusy:
            self._rollback_login_failed_rl_usage()
            raise
        if user is not None:
            throttles.remember_place(request, user.email)
        return user

    def pre_login(self, request: HttpRequest, user: User, **how: Any) -> HttpResponseBase | None:
        """Remember what a sign-in began with, which may wait for its second step."""
        request.session[FIRST_STEP_SESSION_KEY] = user.get_session_auth_hash()
        response: HttpResponseBase | None = super().pre_login(request, user, **how)
        return response

    def login(self, request: HttpRequest, user: User) -> None:
        """Open the session, unless the first step of the sign-in opens none any more."""
        if not _does_first_step_hold(request, user):
            clear_authentication_records(request)
            messages.info(request, "How you sign in was changed meanwhile. Sign in again.")
            raise ImmediateHttpResponse(redirect("account_login"))
        super().login(request, user)

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: Any) -> None:
        throttles.forgive(request, str(credentials["email"]).lower())

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send nothing: what keyportal mails is written to the outbox, together with what it is about."""
        raise NotImplementedError(template_prefix)


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc] # allauth is not typed
    error_messages: ClassVar[dict[str, str]] = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code does not fit, or was used before. Wait for the next one.",
    }

    def encrypt(self, text: str) -> str:
        return encrypt(text, purpose="second_factor")

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text, purpose="second_factor")

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Make passkeys for the configured name: a request's Host is the sender's word, not ours."""
        return {"id": urlsplit(settings.KEYPORTAL_URL).hostname or "", "name": "keyportal"}


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth is not typed
    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Provider:
        return held_to_it(super().get_provider(request, provider, client_id))

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Provider,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Tell a provider that failed from one that said no."""
        if isinstance(exception, RequestException):
            raise ImmediateHttpResponse(provider_failed(request, provider, exception))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return _invitation(request, sociallogin) is not None or _place(sociallogin) is not None

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Take the name from the provider, and never the address; keep which addresses it vouches for."""
        note_addresses(sociallogin)
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
            self._prepare_joining(request, sociallogin)
            return
        if is_address_taken(invitation.email):
            raise ImmediateHttpResponse(not_connected(request))
        sociallogin.user.email = invitation.email
        sociallogin.email_addresses = [EmailAddress(email=invitation.email, primary=True, verified=False)]

    def _prepare_joining(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Let a new account have the address by which it joins an organization, unless that has an account."""
        if sociallogin.is_existing:
            return
        place = _place(sociallogin)
        if place is None or place.is_taken:
            raise ImmediateHttpResponse(not_connected(request))
        sociallogin.user.email = place.address
        sociallogin.email_addresses = [EmailAddress(email=place.address, primary=True, verified=True)]

    def _connect(self, request: Any, sociallogin: SocialLogin) -> HttpResponseBase:
        """Add another way in, unless the session may have been left open by the account's owner."""
        if request.user.is_authenticated and not is_sign_in_recent(request):
            messages.info(request, "Confirm that it is you, then connect the account once more.")
            return ask_again(request.user, back_to=reverse("socialaccount_connections"))
        is_known = sociallogin.is_existing
        with transaction.atomic():
            response: HttpResponseBase = connect(request, sociallogin)
            if sociallogin.is_existing and not is_known:
                what = f"An account at {sociallogin.provider.name} was connected, and can sign you in"
                tell(request.user, what, at=timezone.now())
        return response

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account and use the invitation up, both or neither."""
        invitation = _invitation(request, sociallogin)
        # Someone else may have used it since the sign-in began; its own page says so.
        used_up = ImmediateHttpResponse(redirect("invitation-accept"))
        if invitation is None and (place := _place(sociallogin)):
            return self._join(request, sociallogin, place)
        if invitation is None:
            raise used_up
        try:
            with transaction.atomic(), happening_in(invitation.organization_id):
                user: User = super().save_user(request, sociallogin, form)
                accept_invitation(invitation=invitation, user=user, at=timezone.now())
        except (InvitationNotUsable, TeamArchived) as error:
            raise used_up from error
        # The page that they came from is the invitation's, which has just been used up.
        sociallogin.state["next"] = reverse("overview")
        return user

    def _join(self, request: HttpRequest, sociallogin: SocialLogin, place: Place) -> User:
        """Make the account and put it into the default team of its domain's organization, both or neither."""
        set_actor(replace(ANONYMOUS, label="verified domain"))
        try:
            with transaction.atomic(), happening_in(place.team.organization_id):
                # No form: an account that joins has the address that the provider vouched for, and no other.
                user: User = super().save_user(request, sociallogin, None)
                join_by_domain(user=user, at=timezone.now())
        except (IntegrityError, PlaceGone) as error:
            raise ImmediateHttpResponse(redirect("account_login")) from error
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("socialaccount_connections")


def _does_first_step_hold(request: HttpRequest, user: User) -> bool:
    """Say whether the password is still the one that was given, and the provider's account still connected."""
    begun_with = request.session.pop(FIRST_STEP_SESSION_KEY, "")
    records = get_authentication_records(request, user)
    return constant_time_compare(begun_with, user.get_session_auth_hash()) and is_still_connected(user, records)


def _place(sociallogin: SocialLogin) -> Place | None:
    """Return where the person of a sign-in may join without an invitation."""
    return place_for(verified_addresses(sociallogin.account))


def _invitation(request: HttpRequest, sociallogin: SocialLogin) -> Invitation | None:
    """Return the invitation from whose page this sign-in was begun, if it is still good.

    The session may know of one that somebody opened earlier on the same machine: that is none for a sign-in which
    began anywhere else.
    """
    return invitation_of(request) if sociallogin.state.get("next") == reverse("invitation-accept") else None


def invitation_of(request: HttpRequest) -> Invitation | None:
    """Return the invitation whose link was opened in this session, if it is still good."""
    digest = request.session.get(INVITATION_SESSION_KEY, "")
    try:
        return pending_invitation(digest, at=timezone.now())
    except InvitationNotUsable:
        return None
