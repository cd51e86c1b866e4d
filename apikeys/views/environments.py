"""Keys of which environments a project accepts."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.models import Project
from accounts.rights import Right, holds
from apikeys.forms.settings import EnvironmentsForm
from apikeys.models import ApiKey
from apikeys.policing import USED_TODAY
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def project_environments(request: MemberRequest, project_id: UUID) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    project = get_object_or_404(projects, pk=project_id)
    if not holds(request.principal, Right.PROJECTS_MANAGE, project.team_id):
        raise PermissionDenied("Only an admin of its team says which keys a project accepts.")
    form = EnvironmentsForm(posted(request), initial={"environments": project.environments})
    if form.is_valid():
        accepted = form.cleaned_data["environments"]
        try:
            actions.change_project_environments(principal=request.principal, project=project, environments=accepted)
        except actions.NotAllowed as refused:
            # It was moved to another team a moment ago.
            raise PermissionDenied(str(refused)) from refused
        messages.success(request, f"{project.name} accepts: {Project.Environments(accepted).label.lower()}.")
        return redirect("project-detail", project.pk)
    return form_page(
        request, "apikeys/project_environments.html", form, project=project, refused=_refused(request, project)
    )


def _refused(request: MemberRequest, project: Project) -> list[tuple[str, int, int]]:
    """Return, for each environment, how many working keys the project has, and how many were used within a day."""
    at = timezone.now()
    keys = ApiKey.objects.visible_to(request.principal).filter(project=project).active(at=at)
    return [
        (
            environment.label,
            keys.filter(environment=environment).count(),
            keys.filter(environment=environment, last_used_at__gte=at - USED_TODAY).count(),
        )
        for environment in ApiKey.Environment
    ]
