"""The table of keys: all that a person may manage, and those of one project."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from accounts.models import Project
from accounts.rights import Right, holds, only_reads
from apikeys import shapes
from apikeys.first_steps import AUDITOR, why_no_key
from apikeys.flows import ORGANIZATION, PUBLISHABLE, SECRET
from apikeys.listing import key_table
from apikeys.models import ApiKey
from apikeys.snippets import browser_snippets
from apikeys.views.access import may_end_any, may_issue, may_issue_for_projects
from keyportal.http import MemberRequest


class KindTab(NamedTuple):
    title: str
    url: str
    is_current: bool


@require_GET
@vary_on_headers("HX-Request")
def key_list(request: MemberRequest) -> HttpResponse:
    keys = ApiKey.objects.visible_to(request.principal)
    context = key_table(
        request, keys, at=timezone.now(), is_everything=holds(request.principal, Right.ORGANIZATION_SEE)
    )
    context |= {
        "may_issue": may_issue(request),
        "advice": why_no_key(request.principal),
        "has_export": True,
        "may_bulk": may_end_any(request),
        "kind_tabs": _integrations_tabs(request),
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/key_list.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


@require_GET
@vary_on_headers("HX-Request")
def sdk_key_list(request: MemberRequest) -> HttpResponse:
    keys = ApiKey.objects.visible_to(request.principal).filter(kind=ApiKey.Kind.PUBLISHABLE)
    context = key_table(request, keys, at=timezone.now()) | _sdk_keys(reverse(PUBLISHABLE.url_name))
    context |= {
        "kind_tabs": _integrations_tabs(request),
        "may_issue": may_issue_for_projects(request),
        "advice": why_no_key(request.principal),
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/key_list.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


@require_GET
@vary_on_headers("HX-Request")
def organization_keys(request: MemberRequest) -> HttpResponse:
    """The keys that reach the whole organization."""
    if not holds(request.principal, Right.ORGANIZATION_SEE):
        raise PermissionDenied("Only a super admin manages keys of the organization. Ask one for it.")
    keys = ApiKey.objects.visible_to(request.principal).filter(scope=ApiKey.Scope.ORG)
    context = key_table(request, keys, at=timezone.now())
    context |= {
        "may_issue": holds(request.principal, Right.ORGANIZATION_KEYS_MANAGE),
        "advice": AUDITOR,
        "issue_url": reverse(ORGANIZATION.url_name),
        "issue_title": ORGANIZATION.title,
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/organization_keys.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


@require_GET
@vary_on_headers("HX-Request")
def project_detail(request: MemberRequest, project_id: UUID) -> HttpResponse:
    project = _project(request, project_id)
    query = urlencode({"scope": "project", "project": str(project.pk)})
    extra = {"issue_url": f"{reverse(SECRET.url_name)}?{query}"}
    return _project_keys(request, project, ApiKey.Kind.SECRET, extra)


@require_GET
@vary_on_headers("HX-Request")
def project_sdk_keys(request: MemberRequest, project_id: UUID) -> HttpResponse:
    project = _project(request, project_id)
    extra = _sdk_keys(f"{reverse(PUBLISHABLE.url_name)}?{urlencode({'project': str(project.pk)})}")
    return _project_keys(request, project, ApiKey.Kind.PUBLISHABLE, extra)


def _project(request: MemberRequest, project_id: UUID) -> Project:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    return get_object_or_404(projects, pk=project_id)


def _project_keys(
    request: MemberRequest, project: Project, kind: ApiKey.Kind, extra: Mapping[str, object]
) -> HttpResponse:
    keys = ApiKey.objects.visible_to(request.principal).filter(project=project, kind=kind)
    context = key_table(request, keys, at=timezone.now()) | {
        "project": project,
        "may_change": holds(request.principal, Right.PROJECTS_MANAGE, project.team_id),
        "may_issue": not project.archived_at and holds(request.principal, Right.PROJECT_KEYS_ISSUE, project.team_id),
        "advice": AUDITOR if only_reads(request.principal) else "",
        "kind_tabs": _kind_tabs(
            request, reverse("project-detail", args=[project.pk]), reverse("project-sdk-keys", args=[project.pk])
        ),
        **extra,
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/project_detail.html"
    return render(request, template, context, status=200 if context["is_valid"] else 422)


def _sdk_keys(issue_url: str) -> dict[str, object]:
    """Return what a page of SDK keys says besides: how to issue one, and how a page uses it."""
    prefix = shapes.publishable_prefix()
    return {
        "is_sdk": True,
        "issue_url": issue_url,
        "issue_title": PUBLISHABLE.title,
        # The first puts the key into a page; the others are for keys that one has at hand.
        "snippet": browser_snippets(f"{prefix}…", url=settings.KEYPORTAL_URL, prefix=prefix)[0],
    }


def _integrations_tabs(request: MemberRequest) -> list[KindTab]:
    return _kind_tabs(request, reverse("key-list"), reverse("sdk-key-list"))


def _kind_tabs(request: MemberRequest, api_keys_url: str, sdk_keys_url: str) -> list[KindTab]:
    pages = (("API keys", api_keys_url), ("SDK keys", sdk_keys_url))
    return [KindTab(title, url, request.path == url) for title, url in pages]
