"""Inviting people, and accepting."""

from dataclasses import replace
from smtplib import SMTPException
from uuid import UUID

import structlog
from allauth.socialaccount.adapter import get_adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.adapters import INVITATION_SESSION_KEY
from accounts.forms import InvitationForm, RegisterForm
from accounts.middleware import ORGANIZATION_SESSION_KEY, organization_not_required
from accounts.models import Invitation, Team, User
from accounts.views.entrance import sign_in
from audit.context import ANONYMOUS, set_actor
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_page, form_status, fragment, posted

log = structlog.get_logger("accounts")


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def invitation_create(request: MemberRequest, team_id: UUID) -> HttpResponse:
    """Invite someone; the answer shows the link once, to hand over where no mail arrives."""
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not request.principal.administers(team.pk):
        raise PermissionDenied("Only an admin of the team invites people into it.")
    form = InvitationForm(posted(request))
    if form.is_valid():
        try:
            invitation, token = actions.invite(
                principal=request.principal, team=team, at=timezone.now(), **form.cleaned_data
            )
            return _invitation_sent(request, invitation, token)
        except actions.AlreadyMember:
            form.add_error("email", "This person is in the team already.")
    return form_page(request, "accounts/invitation_form.html", form, team=team)


def _invitation_sent(request: MemberRequest, invitation: Invitation, token: str) -> HttpResponse:
    link = f"{settings.KEYPORTAL_URL}{reverse('invitation-open', args=[token])}"
    context = {
        "invitation": invitation,
        "link": link,
        "is_mailed": _mail_invitation(invitation, link),
        "done_url": reverse("team-detail", args=[invitation.team_id]),
    }
    return render(request, fragment("accounts/invitation_sent.html", request), context)


def _mail_invitation(invitation: Invitation, link: str) -> bool:
    """Mail the link; a mail server that is away costs the mail, not the invitation, and the page says so."""
    context = {"invitation": invitation, "link": link, "organization": invitation.organization}
    subject = render_to_string("accounts/email/invitation_subject.txt", context).strip()
    try:
        send_mail(
            subject,
            render_to_string("accounts/email/invitation_message.txt", context),
            None,
            [invitation.email],
        )
    except (SMTPException, OSError, ValueError):
        log.exception("invitation.mail_failed", invitation=str(invitation.pk))
        return False
    return True


@login_not_required
@organization_not_required
@never_cache
@require_GET
def invitation_open(request: PageRequest, token: str) -> HttpResponse:
    """Take the token out of the address: it goes no further than this, into no history and no provider's link."""
    try:
        invitation = actions.find_invitation(token, at=timezone.now())
    except actions.InvitationNotUsable:
        return render(request, "accounts/invitation_invalid.html", status=410)
    request.session[INVITATION_SESSION_KEY] = invitation.token_digest
    return redirect("invitation-accept")


@login_not_required
@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def invitation_accept(request: PageRequest) -> HttpResponse:
    """Show who invites whom to what, and take the invitation: signed in, with a new account, or by a provider."""
    try:
        digest = request.session.get(INVITATION_SESSION_KEY, "")
        invitation = actions.pending_invitation(digest, at=timezone.now())
    except actions.InvitationNotUsable:
        return render(request, "accounts/invitation_invalid.html", status=410)
    if request.user.is_authenticated:
        return _accept_signed_in(request, invitation, request.user)
    form = RegisterForm(posted(request), email=invitation.email)
    if form.is_valid():
        set_actor(replace(ANONYMOUS, label="invitation link"))
        try:
            user = actions.register_invited(invitation=invitation, at=timezone.now(), **form.cleaned_data)
        except actions.AccountExists:
            form.add_error(None, "There is an account with this address already. Sign in below to accept.")
        except actions.InvitationNotUsable:
            return render(request, "accounts/invitation_invalid.html", status=410)
        else:
            sign_in(request, user)
            return _welcome(request, invitation)
    context = {
        "invitation": invitation,
        "form": form,
        "providers": get_adapter().list_providers(request),
        "login_url": f"{reverse('account_login')}?next={request.path}",
    }
    return render(request, "accounts/invitation_accept.html", context, status=form_status(form))


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
        except actions.InvitationNotUsable:
            return render(request, "accounts/invitation_invalid.html", status=410)
    status = 403 if request.method == "POST" else 200
    return render(request, "accounts/invitation_accept.html", context, status=status)


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session.pop(INVITATION_SESSION_KEY, None)
    request.session[ORGANIZATION_SESSION_KEY] = str(invitation.organization_id)
    return redirect("overview")
