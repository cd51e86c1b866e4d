"""Inviting people: into a team or the organization, once more, and no longer. Accepting is in `joining`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions, throttles
from accounts.forms import InvitationForm
from accounts.forms.inviting import OrganizationInvitationForm
from accounts.mailing import outbox
from accounts.models import Invitation, Team
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from accounts.roles import Role
from keyportal.http import MemberRequest
from keyportal.pages import form_page, fragment, posted

CONSOLE = "django.core.mail.backends.console.EmailBackend"
ADMINS_ONLY = "Only an admin of the team invites people into it."
SUPER_ADMINS_ONLY = "Only a super admin invites people into the organization."
NOT_OPEN = "This invitation was accepted or withdrawn meanwhile."


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def invitation_create(request: MemberRequest, team_id: UUID) -> HttpResponse:
    """Invite someone into a team; the answer shows a link once, to hand over where no mail arrives."""
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not holds(request.principal, Right.MEMBERS_MANAGE, team.pk):
        raise PermissionDenied(ADMINS_ONLY)
    form = InvitationForm(posted(request))
    if form.is_valid():
        email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
        throttles.consume_mail(request, "invite", email)
        at = timezone.now()
        replaced = _open_of(email, at, team=team)
        try:
            return _sent(
                request,
                *actions.invite(principal=request.principal, team=team, email=email, role=role, at=at),
                replaced=replaced,
            )
        except actions.AlreadyMember:
            form.add_error("email", "This person is in the team already.")
        except (actions.AuditorInTeam, actions.TeamArchived) as refused:
            form.add_error("email", str(refused))
    return form_page(request, "accounts/invitation_form.html", form, team=team)


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def people_invite(request: MemberRequest) -> HttpResponse:
    """Invite a super admin or an auditor, as `invitation_create` does."""
    if not holds(request.principal, Right.PEOPLE_MANAGE):
        raise PermissionDenied(SUPER_ADMINS_ONLY)
    form = OrganizationInvitationForm(posted(request))
    if form.is_valid():
        email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
        at = timezone.now()
        throttles.consume_mail(request, "invite", email)
        replaced = _open_of(email, at, organization=request.principal.organization_id, team=None)
        try:
            return _sent(
                request,
                *actions.invite_to_organization(principal=request.principal, email=email, role=role, at=at),
                replaced=replaced,
            )
        except actions.AlreadyMember:
            form.add_error("email", "This person is in the organization already. Change their role instead.")
    return form_page(request, "accounts/people_invite.html", form)


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def invitation_resend(request: MemberRequest, invitation_id: UUID) -> HttpResponse:
    invitation = _invitation(request, invitation_id)
    if request.method == "POST":
        throttles.consume_mail(request, "invite", invitation.email)
        try:
            return _sent(
                request,
                *actions.resend_invitation(principal=request.principal, invitation=invitation, at=timezone.now()),
            )
        except actions.InvitationNotUsable:
            return _is_gone(request, invitation)
        except actions.TeamArchived as refused:
            messages.info(request, str(refused))
            return redirect(_back(invitation))
    template = fragment("accounts/invitation_resend.html", request)
    return render(request, template, {"invitation": invitation, "back_url": _back(invitation)})


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def invitation_withdraw(request: MemberRequest, invitation_id: UUID) -> HttpResponse:
    invitation = _invitation(request, invitation_id)
    if request.method == "POST":
        try:
            actions.withdraw_invitation(principal=request.principal, invitation=invitation)
        except actions.InvitationNotUsable:
            return _is_gone(request, invitation)
        messages.success(request, f"The invitation of {invitation.email} is withdrawn. Its links are void.")
        return redirect(_back(invitation))
    template = fragment("accounts/invitation_withdraw.html", request)
    return render(request, template, {"invitation": invitation, "back_url": _back(invitation)})


def _invitation(request: MemberRequest, invitation_id: UUID) -> Invitation:
    """Return an invitation that nobody has accepted, of a place whose people the caller manages."""
    rows = Invitation.objects.visible_to(request.principal).filter(accepted_at=None)
    invitation = get_object_or_404(rows.select_related("team", "organization", "invited_by"), pk=invitation_id)
    if not actions.may_manage_invitation(request.principal, invitation):
        raise PermissionDenied(ADMINS_ONLY if invitation.team_id else SUPER_ADMINS_ONLY)
    return invitation


def _open_of(email: str, at: datetime, **place: Any) -> Invitation | None:
    """Return the invitation of an address that another one to the same place is about to replace."""
    return Invitation.objects.pending(at=at).filter(email=email.strip().lower(), **place).first()


def _sent(
    request: MemberRequest, invitation: Invitation, token: str, *, replaced: Invitation | None = None
) -> HttpResponse:
    context = {
        "invitation": invitation,
        "link": outbox.link("invitation-open", token),
        "delivery": _delivery(),
        "replaced": replaced,
        "done_url": _back(invitation),
    }
    return render(request, fragment("accounts/invitation_sent.html", request), context)


def _delivery() -> str:
    """Say where a mail goes: to its reader, or only to a page or the console of who runs the portal."""
    if settings.KEYPORTAL_DEMO:
        return "demo"
    return "console" if settings.EMAIL_BACKEND == CONSOLE else "mail"


def _is_gone(request: MemberRequest, invitation: Invitation) -> HttpResponse:
    messages.info(request, NOT_OPEN)
    return redirect(_back(invitation))


def _back(invitation: Invitation) -> str:
    """Return the page where the invitation is listed: that of its team, or that of all people."""
    return reverse("team-detail", args=[invitation.team_id]) if invitation.team_id else reverse("people-list")
