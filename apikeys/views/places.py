"""Putting teams and projects away, bringing them back, and moving projects: what becomes of the keys is shown first."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions as people
from accounts.models import Project, Team
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from apikeys import actions, leaving
from apikeys.forms.leaving import ConfirmForm
from apikeys.forms.places import MoveForm
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.use_rows import DAY
from keyportal.http import MemberRequest
from keyportal.pages import form_page, form_status, fragment, posted

SUPER_ADMINS_ONLY = "Only a super admin archives and restores teams. Ask one for it."
ADMINS_ONLY = "Only an admin of its team archives, restores and moves a project."


@dataclass(frozen=True, slots=True)
class Weight:
    """How many live keys archiving or restoring a place weighs on, and how many of them were used in the last day."""

    keys: int
    used_today: int
    projects: int = 0


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def team_archive(request: MemberRequest, team_id: UUID) -> HttpResponse:
    team, at = _team(request, team_id), timezone.now()
    of_team = Q(team=team) | Q(project__team=team, project__archived_at=None)
    weight = _weight(ApiKey.objects.filter(of_team), at, projects=team.projects.unarchived().count())
    return _page(
        request,
        team,
        weight,
        "archive",
        lambda: people.archive_team(principal=request.principal, team=team, at=at),
    )


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def team_restore(request: MemberRequest, team_id: UUID) -> HttpResponse:
    team, at = _team(request, team_id), timezone.now()
    projects = team.projects.exclude(archived_at=None).count()
    weight = _weight(ApiKey.objects.filter(team=team), at, projects=projects)
    return _page(request, team, weight, "restore", lambda: people.restore_team(principal=request.principal, team=team))


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def project_archive(request: MemberRequest, project_id: UUID) -> HttpResponse:
    project, at = _project(request, project_id), timezone.now()
    return _page(
        request,
        project,
        _weight(ApiKey.objects.filter(project=project), at),
        "archive",
        lambda: people.archive_project(principal=request.principal, project=project, at=at),
    )


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def project_restore(request: MemberRequest, project_id: UUID) -> HttpResponse:
    project, at = _project(request, project_id), timezone.now()
    return _page(
        request,
        project,
        _weight(ApiKey.objects.filter(project=project), at),
        "restore",
        lambda: people.restore_project(principal=request.principal, project=project),
    )


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required(keep=["team"])
def project_move(request: MemberRequest, project_id: UUID) -> HttpResponse:
    """Ask where to, then show what becomes of the keys there, and on the post of that preview do it."""
    project, at = _project(request, project_id), timezone.now()
    teams = Team.objects.where(request.principal, Right.PROJECTS_MANAGE).unarchived().exclude(pk=project.team_id)
    asked = request.POST if request.method == "POST" else request.GET or None
    form = MoveForm(asked, teams=teams.by_name())
    team = form.cleaned_data["team"] if form.is_valid() else None
    if team and request.method == "POST":
        moved = _is_done(
            form,
            lambda: actions.move_project(
                principal=request.principal,
                project=project,
                team=team,
                at=at,
                expected=request.POST.get("digest", ""),
            ),
        )
        if moved:
            messages.success(request, f"{project} is a project of {team} now.")
            return redirect("project-detail", project.pk)
    preview = leaving.preview_move(project, team, request.principal, at=at) if team else None
    context = {"form": form, "project": project, "team": team, "preview": preview, "teams": teams}
    return render(request, fragment("apikeys/project_move.html", request), context, status=form_status(form))


def _page(
    request: MemberRequest, place: Team | Project, weight: Weight, deed: str, act: Callable[[], object]
) -> HttpResponse:
    """Show what a deed weighs on, and do it where that is confirmed."""
    form, noun = ConfirmForm(posted(request)), "team" if isinstance(place, Team) else "project"
    back_url = reverse(f"{noun}-detail", args=[place.pk])
    if form.is_valid() and _is_done(form, act):
        messages.success(request, f"{place} is {deed}d. {_told(deed, weight)}")
        return redirect(back_url)
    context = {"place": place, "noun": noun, "weight": weight, "back_url": back_url}
    return form_page(request, f"apikeys/place_{deed}.html", form, **context)


def _told(deed: str, weight: Weight) -> str:
    if deed == "archive":
        return "Its keys have been refused since."
    if weight.projects:
        return "Its own keys work again. Its projects are still archived: restore each on its page, listed below."
    return "Its keys work again."


def _is_done(form: Form, act: Callable[[], object]) -> bool:
    """Carry out what a form asks for; if it is refused, say why in the form."""
    try:
        act()
    except people.Refused as refused:
        form.add_error(None, str(refused))
    return not form.errors


def _weight(keys: ApiKeyQuerySet, at: datetime, *, projects: int = 0) -> Weight:
    live = keys.active(at=at)
    return Weight(live.count(), live.filter(last_used_at__gte=at - DAY).count(), projects)


def _team(request: MemberRequest, team_id: UUID) -> Team:
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not holds(request.principal, Right.TEAMS_ARCHIVE, team.pk):
        raise PermissionDenied(SUPER_ADMINS_ONLY)
    return team


def _project(request: MemberRequest, project_id: UUID) -> Project:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    project = get_object_or_404(projects, pk=project_id)
    if not holds(request.principal, Right.PROJECTS_MANAGE, project.team_id):
        raise PermissionDenied(ADMINS_ONLY)
    return project
