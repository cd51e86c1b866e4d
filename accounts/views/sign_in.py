"""How a person signs in: their password, and the accounts elsewhere that are connected."""

from allauth.account import views as account
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from accounts.actions import Refused
from accounts.actions.connecting import disconnect_account
from accounts.adapters import invitation_of
from accounts.connected import connected_accounts, manager_of
from accounts.forms.connections import DisconnectForm
from accounts.middleware import organization_not_required
from accounts.recent import ask_again, is_sign_in_recent
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_status, posted


@organization_not_required
@require_http_methods(["GET", "POST"])
def sign_in_methods(request: MemberRequest) -> HttpResponse:
    """Show the ways in; a form takes one of the connected accounts away."""
    if request.method == "POST" and not is_sign_in_recent(request):
        return ask_again(request.user, back_to=request.path)
    form = DisconnectForm(posted(request), user=request.user)
    if form.is_valid():
        try:
            disconnect_account(user=request.user, account_id=form.cleaned_data["account"].pk, at=timezone.now())
        except Refused as refused:
            form.add_error(None, str(refused))
        else:
            messages.info(request, "Account disconnected. It can no longer sign you in.")
            return redirect("socialaccount_connections")
    connected = connected_accounts(request)
    context = {"form": form, "connected": connected, "manager": manager_of(request.user, connected)}
    return render(request, "socialaccount/connections.html", context, status=form_status(form))


class SignInView(account.LoginView):  # type: ignore[misc] # allauth is not typed
    def get_initial(self) -> dict[str, object]:
        """Fill in the address that the page of an invitation has just shown, for who comes from there."""
        initial: dict[str, object] = super().get_initial()
        is_from_invitation = self.request.GET.get("next") == reverse("invitation-accept")
        invitation = invitation_of(self.request) if is_from_invitation else None
        return initial | ({"login": invitation.email} if invitation else {})


sign_in = organization_not_required(SignInView.as_view())


class PasswordChangeView(account.PasswordChangeView):  # type: ignore[misc] # allauth is not typed
    @transaction.atomic
    def form_valid(self, form: BaseForm) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        return response


_change = PasswordChangeView.as_view()


@organization_not_required
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
def password_change(request: MemberRequest) -> HttpResponseBase:
    """Take another password, and end the other sessions with it."""
    if not request.user.has_usable_password():
        return _managed_elsewhere(request)
    response: HttpResponseBase = _change(request)
    return response


class PasswordResetFromKeyView(account.PasswordResetFromKeyView):  # type: ignore[misc] # allauth is not typed
    @transaction.atomic
    def form_valid(self, form: BaseForm) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        return response


_reset_from_key = PasswordResetFromKeyView.as_view()


@login_not_required
@organization_not_required
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
def password_reset_from_key(request: PageRequest, uidb36: str, key: str) -> HttpResponseBase:
    """Take a new password from the holder of a mailed link, likewise."""
    response: HttpResponseBase = _reset_from_key(request, uidb36=uidb36, key=key)
    return response


@organization_not_required
@require_GET
def password_set(request: MemberRequest) -> HttpResponse:
    """Say why there is nothing to set: an account has a password from its beginning, or signs in elsewhere."""
    return redirect("account_change_password") if request.user.has_usable_password() else _managed_elsewhere(request)


def _managed_elsewhere(request: MemberRequest) -> HttpResponse:
    manager = manager_of(request.user, connected_accounts(request)) or "your provider"
    messages.info(request, f"You have no password here: {manager} manages how you sign in.")
    return redirect("socialaccount_connections")
