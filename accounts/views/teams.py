"""Pages about teams and projects. Those of one team or project show its keys, and so are in `apikeys`."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.forms import ProjectForm, TeamForm
from accounts.models import Project, Role, Team
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team and what the person who is looking is in it."""

    team: Team
    my_role: str


@require_GET
def team_list(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.visible_to(request.principal).with_counts().by_name()
    rows = [TeamRow(team, _role_title(request.principal.role_in(team.pk))) for team in teams]
    context = {"teams": rows, "may_create": request.principal.is_super_admin}
    return render(request, "accounts/team_list.html", context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def team_create(request: MemberRequest) -> HttpResponse:
    if not request.principal.is_super_admin:
        raise PermissionDenied("Only a super admin creates teams. Ask one for it.")
    form = TeamForm(posted(request))
    if form.is_valid():
        try:
            team = actions.create_team(principal=request.principal, name=form.cleaned_data["name"], at=timezone.now())
            return redirect("team-detail", team.pk)
        except actions.NameTaken:
            form.add_error("name", "There is a team of this name already. Choose another name.")
    return form_page(request, "accounts/team_form.html", form)


@require_GET
def project_list(request: MemberRequest) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team").by_name()
    may_create = request.principal.is_super_admin or Team.objects.administered_by(request.principal).exists()
    context = {"projects": projects, "may_create": may_create}
    return render(request, "accounts/project_list.html", context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def project_create(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.administered_by(request.principal).by_name()
    if not teams and request.principal.is_super_admin:
        messages.info(request, "A project belongs to a team, and there is none yet. Create the team first.")
        return redirect("team-create")
    if not teams:
        raise PermissionDenied("A project belongs to a team, and you are the admin of none. Ask a super admin.")
    form = ProjectForm(posted(request), teams=teams, initial={"team": request.GET.get("team")})
    if form.is_valid():
        try:
            project = actions.create_project(principal=request.principal, at=timezone.now(), **form.cleaned_data)
            return redirect("project-detail", project.pk)
        except actions.NameTaken:
            form.add_error("name", "The team has a project of this name already. Choose another name.")
    return form_page(request, "accounts/project_form.html", form)


def _role_title(role: str | None) -> str:
    return Role(role).label if role else ""
