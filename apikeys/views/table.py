"""The table of keys: all that a person may manage, and those of one project."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from accounts.models import Project
from apikeys.flows import ORGANIZATION
from apikeys.listing import key_table
from apikeys.models import ApiKey
from apikeys.views.access import may_issue
from keyportal.http import MemberRequest


@require_GET
@vary_on_headers("HX-Request")
def key_list(request: MemberRequest) -> HttpResponse:
    keys = ApiKey.objects.visible_to(request.principal)
    context = key_table(request, keys, at=timezone.now(), is_everything=request.principal.is_super_admin)
    context |= {"may_issue": may_issue(request), "has_export": True}
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/key_list.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


@require_GET
@vary_on_headers("HX-Request")
def organization_keys(request: MemberRequest) -> HttpResponse:
    """The keys that reach the whole organization, for those who may issue them."""
    if not request.principal.is_super_admin:
        raise PermissionDenied("Only a super admin manages keys of the organization. Ask one for it.")
    keys = ApiKey.objects.visible_to(request.principal).filter(scope=ApiKey.Scope.ORG)
    context = key_table(request, keys, at=timezone.now())
    context |= {"may_issue": True, "issue_url": reverse(ORGANIZATION.url_name), "issue_title": ORGANIZATION.title}
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/organization_keys.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


@require_GET
@vary_on_headers("HX-Request")
def project_detail(request: MemberRequest, project_id: UUID) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    project = get_object_or_404(projects, pk=project_id)
    keys = ApiKey.objects.visible_to(request.principal).filter(project=project)
    context = key_table(request, keys, at=timezone.now()) | {
        "project": project,
        "may_change": request.principal.administers(project.team_id),
        # Who sees a project is in its team, and so may issue its keys.
        "may_issue": True,
        "issue_url": f"{reverse('key-issue')}?{urlencode({'scope': 'project', 'project': str(project.pk)})}",
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/project_detail.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)
