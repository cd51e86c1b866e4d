"""Pages about teams and projects. Those of one team or project show its keys, and so are in `apikeys`."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.forms import ProjectForm, TeamForm
from accounts.models import Project, Role, Team
from accounts.rights import Right, holds, only_reads, reach
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team and what the person who is looking is in it."""

    team: Team
    my_role: str


@require_GET
def team_list(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.visible_to(request.principal).with_counts().archived_last()
    rows = [TeamRow(team, _role_title(request.principal.role_in(team.pk))) for team in teams]
    context = {
        "teams": rows,
        "may_create": holds(request.principal, Right.TEAMS_CREATE),
        "only_reads": only_reads(request.principal),
    }
    return render(request, "accounts/team_list.html", context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def team_create(request: MemberRequest) -> HttpResponse:
    if not holds(request.principal, Right.TEAMS_CREATE):
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
    projects = Project.objects.visible_to(request.principal).select_related("team").archived_last()
    may_create = bool(reach(request.principal, Right.PROJECTS_MANAGE))
    context = {"projects": projects, "may_create": may_create, "advice": _without_projects(request)}
    return render(request, "accounts/project_list.html", context)


def _without_projects(request: MemberRequest) -> str:
    """Say to who creates no projects themselves why they see none."""
    if only_reads(request.principal):
        return "Projects of all teams appear here. Auditors create none."
    if reach(request.principal, Right.PROJECT_KEYS_ISSUE):
        return "Your team has no project yet. Ask its admin to create one."
    return "Projects of your teams appear here. Ask a team admin to add you to a team."


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def project_create(request: MemberRequest) -> HttpResponse:
    teams = Team.objects.where(request.principal, Right.PROJECTS_MANAGE).unarchived().by_name()
    if not teams and holds(request.principal, Right.TEAMS_CREATE):
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
        except actions.TeamArchived as refused:
            form.add_error("team", str(refused))
    return form_page(request, "accounts/project_form.html", form)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def team_rename(request: MemberRequest, team_id: UUID) -> HttpResponse:
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not holds(request.principal, Right.TEAM_CHANGE, team.pk):
        raise PermissionDenied("Only an admin of the team renames it.")
    form = TeamForm(posted(request), initial={"name": team.name})
    if form.is_valid():
        try:
            actions.rename_team(principal=request.principal, team=team, name=form.cleaned_data["name"])
            return redirect("team-detail", team.pk)
        except actions.NameTaken:
            form.add_error("name", "There is a team of this name already. Choose another name.")
    return _rename_page(request, form, team, reverse("team-detail", args=[team.pk]))


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def project_rename(request: MemberRequest, project_id: UUID) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    project = get_object_or_404(projects, pk=project_id)
    if not holds(request.principal, Right.PROJECTS_MANAGE, project.team_id):
        raise PermissionDenied("Only an admin of its team renames a project.")
    form = TeamForm(posted(request), initial={"name": project.name})
    if form.is_valid():
        try:
            actions.rename_project(principal=request.principal, project=project, name=form.cleaned_data["name"])
            return redirect("project-detail", project.pk)
        except actions.NameTaken:
            form.add_error("name", "The team has a project of this name already. Choose another name.")
        except actions.NotAllowed as refused:
            # It was moved to another team a moment ago.
            raise PermissionDenied(str(refused)) from refused
    return _rename_page(request, form, project, reverse("project-detail", args=[project.pk]))


def _rename_page(request: MemberRequest, form: TeamForm, place: Team | Project, back_url: str) -> HttpResponse:
    noun = "team" if isinstance(place, Team) else "project"
    return form_page(request, "accounts/place_rename.html", form, place=place, noun=noun, back_url=back_url)


def _role_title(role: str | None) -> str:
    return Role(role).label if role else ""
