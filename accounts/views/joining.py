"""Opening an invitation's link, and accepting."""

from dataclasses import replace

from allauth.socialaccount.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts import actions, throttles
from accounts.adapters import INVITATION_SESSION_KEY
from accounts.forms import RegisterForm
from accounts.middleware import ORGANIZATION_SESSION_KEY, organization_not_required
from accounts.models import Invitation, User
from accounts.views.entrance import sign_in
from audit.context import ANONYMOUS, set_actor
from keyportal.http import PageRequest
from keyportal.pages import form_status, posted

# Said whether or not the address had an account: who was only handed the link may not be its reader.
ANSWERED = "If this address was new, its account is ready. Sign in to go on."


@login_not_required
@organization_not_required
@never_cache
@require_GET
def invitation_open(request: PageRequest, token: str) -> HttpResponse:
    """Take the token out of the address: it goes no further than this, into no history and no provider's link."""
    try:
        actions.find_invitation(token, at=timezone.now())
    except actions.InvitationNotUsable:
        return render(request, "accounts/invitation_invalid.html", status=410)
    request.session[INVITATION_SESSION_KEY] = actions.token_digest(token)
    return redirect("invitation-accept")


@login_not_required
@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def invitation_accept(request: PageRequest) -> HttpResponse:
    """Show who invites whom to what, and take the invitation: signed in, with a new account, or by a provider."""
    digest = request.session.get(INVITATION_SESSION_KEY, "")
    try:
        invitation = actions.pending_invitation(digest, at=timezone.now())
        _require_open(invitation)
        if request.user.is_authenticated:
            return _accept_signed_in(request, invitation, request.user)
        return _accept_as_newcomer(request, invitation, is_mailed=digest == invitation.mailed_token_digest)
    except actions.InvitationNotUsable:
        return render(request, "accounts/invitation_invalid.html", status=410)
    except actions.TeamArchived as refused:
        context = {"invitation": invitation, "refused": str(refused)}
        return render(request, "accounts/invitation_accept.html", context, status=403)


def _require_open(invitation: Invitation) -> None:
    """:raises TeamArchived: if it is to a team that was put away, before anyone fills in a form for nothing."""
    if invitation.team and invitation.team.archived_at:
        raise actions.TeamArchived


def _accept_as_newcomer(request: PageRequest, invitation: Invitation, *, is_mailed: bool) -> HttpResponse:
    throttles.consume_registration(request)
    form = RegisterForm(posted(request), email=invitation.email)
    if form.is_valid():
        set_actor(replace(ANONYMOUS, label="invitation link"))
        if not is_mailed:
            return _register_unproven(request, invitation, form)
        try:
            user = actions.register_invited(invitation=invitation, at=timezone.now(), **form.cleaned_data)
        except actions.AccountExists:
            form.add_error(None, "There is an account with this address already. Sign in below to accept.")
        else:
            sign_in(request, user)
            return _welcome(request, invitation)
    context = {
        "invitation": invitation,
        "form": form,
        "is_mailed": is_mailed,
        "providers": get_adapter().list_providers(request),
        "login_url": _login_url(),
    }
    return render(request, "accounts/invitation_accept.html", context, status=form_status(form))


def _register_unproven(request: PageRequest, invitation: Invitation, form: RegisterForm) -> HttpResponse:
    """Answer whoever has only the link that was handed over, which says nothing about who reads the address."""
    actions.register_unproven(invitation=invitation, at=timezone.now(), **form.cleaned_data)
    messages.info(request, ANSWERED)
    return redirect(_login_url())


def _login_url() -> str:
    return f"{reverse('account_login')}?next={reverse('invitation-accept')}"


def _accept_signed_in(request: PageRequest, invitation: Invitation, user: User) -> HttpResponse:
    context = {"invitation": invitation, "form": None, "is_wrong_user": user.email != invitation.email}
    if request.method == "POST":
        try:
            actions.accept_invitation(invitation=invitation, user=user, at=timezone.now())
            return _welcome(request, invitation)
        except actions.WrongAccount:
            context["is_wrong_user"] = True
        except actions.AlreadyMember:
            messages.info(request, f"You are in {invitation.place} already.")
            return _welcome(request, invitation)
        except actions.AuditorInTeam:
            messages.info(request, f"You are an auditor of {invitation.organization}, and auditors are in no team.")
            return _welcome(request, invitation)
    status = 403 if request.method == "POST" else 200
    return render(request, "accounts/invitation_accept.html", context, status=status)


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session.pop(INVITATION_SESSION_KEY, None)
    request.session[ORGANIZATION_SESSION_KEY] = str(invitation.organization_id)
    return redirect("overview")
