"""Pages about people, teams and projects."""

from dataclasses import dataclass
from smtplib import SMTPException
from uuid import UUID

import structlog
from allauth.account.internal.flows.login import record_authentication
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.core.mail import send_mail
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.adapters import INVITATION_SESSION_KEY
from accounts.context import THEMES
from accounts.forms import InvitationForm, ProjectForm, RegisterForm, SetUpForm, TeamForm
from accounts.middleware import ORGANIZATION_SESSION_KEY, organization_not_required
from accounts.models import Invitation, Project, Role, Team, User
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_page, form_status, fragment, safe_next

log = structlog.get_logger("accounts")
# Invitation links and set-up are sign-ins by themselves, without a password typed into the sign-in form.
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team and what the person who is looking is in it."""

    team: Team
    my_role: str


def setup_token() -> str:
    """Return the token of the set-up link: the same on every host, and void as soon as a user exists."""
    return salted_hmac("keyportal.setup", "the first super admin", algorithm="sha256").hexdigest()


@login_not_required
@require_GET
def setup_needed(request: PageRequest) -> HttpResponse:
    """Tell who opens a portal that nobody has set up where its set-up link is."""
    if User.objects.exists():
        return redirect("account_login")
    return render(request, "accounts/setup_needed.html")


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def setup(request: PageRequest, token: str) -> HttpResponse:
    if not constant_time_compare(token, setup_token()) or User.objects.exists():
        return render(request, "accounts/setup_done.html", status=410)
    form = SetUpForm(request.POST or None)
    if not form.is_valid():
        return render(request, "accounts/setup.html", {"form": form}, status=form_status(form))
    try:
        membership = actions.set_up(**form.cleaned_data, at=timezone.now())
    except actions.AlreadySetUp:
        return render(request, "accounts/setup_done.html", status=410)
    sign_in(request, membership.user)
    return redirect("overview")


def sign_in(request: HttpRequest, user: User) -> None:
    """Open a session for someone who chose their password a moment ago."""
    login(request, user, backend=BACKEND)
    record_authentication(request, user, method="password")


@require_GET
def team_list(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.visible_to(request.principal).with_counts().by_name()
    rows = [TeamRow(team, _role_title(request.principal.role_in(team.pk))) for team in teams]
    context = {"teams": rows, "may_create": request.principal.is_super_admin, "section": "teams"}
    return render(request, "accounts/team_list.html", context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def team_create(request: MemberRequest) -> HttpResponse:
    if not request.principal.is_super_admin:
        raise PermissionDenied("Only a super admin creates teams. Ask one for it.")
    form = TeamForm(request.POST or None)
    if form.is_valid():
        try:
            team = actions.create_team(principal=request.principal, name=form.cleaned_data["name"], at=timezone.now())
            return redirect("team-detail", team.pk)
        except actions.NameTaken:
            form.add_error("name", "There is a team of this name already. Choose another name.")
    return form_page(request, "accounts/team_form.html", form, section="teams")


@require_GET
def team_detail(request: MemberRequest, team_id: UUID) -> HttpResponse:
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    members = team.memberships.select_related("membership__user").order_by("-role", "membership__user__email")
    may_manage = _may_manage(request, team)
    invitations = team.invitations.pending(at=timezone.now()).select_related("invited_by").order_by("-created_at")
    context = {
        "team": team,
        "members": members,
        "projects": team.projects.by_name(),
        "invitations": invitations if may_manage else [],
        "may_manage": may_manage,
        "section": "teams",
    }
    return render(request, "accounts/team_detail.html", context)


@require_GET
def project_list(request: MemberRequest) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team").by_name()
    may_create = Team.objects.administered_by(request.principal).exists()
    context = {"projects": projects, "may_create": may_create, "section": "projects"}
    return render(request, "accounts/project_list.html", context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def project_create(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.administered_by(request.principal).by_name()
    if not teams:
        raise PermissionDenied("A project belongs to a team, and you are the admin of none. Ask a super admin.")
    form = ProjectForm(request.POST or None, teams=teams, initial={"team": request.GET.get("team")})
    if form.is_valid():
        try:
            project = actions.create_project(principal=request.principal, at=timezone.now(), **form.cleaned_data)
            return redirect("project-detail", project.pk)
        except actions.NameTaken:
            form.add_error("name", "The team has a project of this name already. Choose another name.")
    return form_page(request, "accounts/project_form.html", form, section="projects")


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def invitation_create(request: MemberRequest, team_id: UUID) -> HttpResponse:
    """Invite someone; the answer shows the link once, to hand over where no mail arrives."""
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not _may_manage(request, team):
        raise PermissionDenied("Only an admin of the team invites people into it.")
    form = InvitationForm(request.POST or None)
    if form.is_valid():
        try:
            invitation, token = actions.invite(
                principal=request.principal, team=team, at=timezone.now(), **form.cleaned_data
            )
            return _invitation_sent(request, invitation, token)
        except actions.AlreadyMember:
            form.add_error("email", "This person is in the team already.")
    return form_page(request, "accounts/invitation_form.html", form, team=team, section="teams")


def _invitation_sent(request: MemberRequest, invitation: Invitation, token: str) -> HttpResponse:
    link = f"{settings.KEYPORTAL_URL}{reverse('invitation-accept', args=[token])}"
    context = {
        "invitation": invitation,
        "link": link,
        "is_mailed": _mail_invitation(invitation, link),
        "done_url": reverse("team-detail", args=[invitation.team_id]),
        "section": "teams",
    }
    return render(request, fragment("accounts/invitation_sent.html", request), context)


def _mail_invitation(invitation: Invitation, link: str) -> bool:
    """Mail the link; a mail server that is away costs the mail, not the invitation, and the page says so."""
    context = {"invitation": invitation, "link": link, "organization": invitation.team.organization}
    subject = render_to_string("accounts/email/invitation_subject.txt", context).strip()
    try:
        send_mail(
            subject,
            render_to_string("accounts/email/invitation_message.txt", context),
            None,
            [invitation.email],
        )
    except (SMTPException, OSError):
        log.exception("invitation.mail_failed", invitation=str(invitation.pk))
        return False
    return True


@login_not_required
@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def invitation_accept(request: PageRequest, token: str) -> HttpResponse:
    """Show who invites whom to what, and take the invitation: signed in, with a new account, or by a provider."""
    try:
        invitation = actions.find_invitation(token, at=timezone.now())
    except actions.InvitationNotUsable:
        return render(request, "accounts/invitation_invalid.html", status=410)
    # The provider's answer comes back to another address; the session says which invitation it was for.
    request.session[INVITATION_SESSION_KEY] = invitation.token_digest
    if request.user.is_authenticated:
        return _accept_signed_in(request, invitation, request.user)
    form = RegisterForm(request.POST or None, email=invitation.email)
    if form.is_valid():
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
            messages.info(request, f"You are in {invitation.team} already.")
            return _welcome(request, invitation)
        except actions.InvitationNotUsable:
            return render(request, "accounts/invitation_invalid.html", status=410)
    status = 403 if request.method == "POST" else 200
    return render(request, "accounts/invitation_accept.html", context, status=status)


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session.pop(INVITATION_SESSION_KEY, None)
    request.session[ORGANIZATION_SESSION_KEY] = str(invitation.team.organization_id)
    return redirect("overview")


@organization_not_required
@require_GET
def sign_in_again(request: MemberRequest) -> HttpResponse:
    """Where people without a password prove anew who they are: at the provider that knows them."""
    connected = set(SocialAccount.objects.filter(user=request.user).values_list("provider", flat=True))
    providers = [
        provider
        for provider in get_adapter().list_providers(request)
        if connected & {provider.id, getattr(provider, "sub_id", provider.id)}
    ]
    return render(
        request,
        "accounts/sign_in_again.html",
        {
            "providers": providers,
            "next": safe_next(request, request.GET.get("next"), reverse("overview")),
            "section": "account",
        },
    )


@require_POST
def organization_switch(request: MemberRequest) -> HttpResponse:
    chosen = request.POST.get("organization", "")
    if chosen not in {str(membership.organization_id) for membership in request.memberships}:
        raise Http404
    request.session[ORGANIZATION_SESSION_KEY] = chosen
    return redirect("overview")


@login_not_required
@require_POST
def theme_set(request: PageRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, so that the server can render it; anything else means the system's."""
    response = redirect(safe_next(request, request.POST.get("next"), reverse("overview")))
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=365 * 24 * 3600, samesite="Lax", secure=settings.IS_HTTPS)
    else:
        response.delete_cookie("theme")
    return response


def _may_manage(request: MemberRequest, team: Team) -> bool:
    return request.principal.role_in(team.pk) in {Role.SUPER_ADMIN, Role.TEAM_ADMIN}


def _role_title(role: str | None) -> str:
    return Role(role).label if role else ""
