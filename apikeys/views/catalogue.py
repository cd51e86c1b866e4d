"""Settings → Permissions: what keys of the organization can be granted, and what publishable keys get."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.models import Role
from accounts.recent import recent_sign_in_required
from accounts.rights import Right
from apikeys import actions
from apikeys.forms.settings import PermissionForm, PublishableForm
from apikeys.models import ApiKey
from apikeys.permissions import Catalogue, NotACatalogueEntry, Permission
from apikeys.rules import rules_of
from apikeys.views.policies import require_settings
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@dataclass(frozen=True, slots=True)
class PermissionRow:
    """A permission as the list shows it."""

    entry: Permission
    role: str
    is_added: bool
    is_published: bool


@require_GET
def permission_list(request: MemberRequest) -> HttpResponse:
    require_settings(request, Right.PERMISSIONS_CHANGE)
    catalogue = rules_of(request.principal.organization_id).catalogue
    groups = [
        (group.title, [_row(catalogue, entry) for entry in group.permissions]) for group in catalogue.by_resource()
    ]
    return render(request, "apikeys/permission_list.html", {"groups": groups, "added": len(catalogue.added)})


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def permission_add(request: MemberRequest) -> HttpResponse:
    require_settings(request, Right.PERMISSIONS_CHANGE)
    form = PermissionForm(posted(request))
    if form.is_valid():
        entry, is_published = form.permission(), form.cleaned_data["is_published"]
        try:
            actions.add_permission(principal=request.principal, entry=entry, is_published=is_published)
            messages.success(request, f"{entry.name} can be granted to keys now.")
            return redirect("permission-list")
        except NotACatalogueEntry as error:
            form.add_error("name", str(error))
    return form_page(request, "apikeys/permission_form.html", form)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def permission_change(request: MemberRequest, name: str) -> HttpResponse:
    require_settings(request, Right.PERMISSIONS_CHANGE)
    form = PermissionForm(posted(request), entry=_added(request, name))
    if form.is_valid():
        try:
            entry = form.permission()
            actions.change_permission(
                principal=request.principal, name=name, sentence=entry.sentence, least_role=entry.least_role
            )
        except actions.NoSuchPermission as refused:
            raise Http404 from refused
        messages.success(request, f"{name} changed. It holds from the next request of every key.")
        return redirect("permission-list")
    return form_page(request, "apikeys/permission_form.html", form)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def permission_remove(request: MemberRequest, name: str) -> HttpResponse:
    require_settings(request, Right.PERMISSIONS_CHANGE)
    entry = _added(request, name)
    if request.method == "POST":
        try:
            actions.remove_permission(principal=request.principal, name=name)
        except actions.NoSuchPermission as refused:
            raise Http404 from refused
        messages.success(request, f"{name} removed. No key can do it any more.")
        return redirect("permission-list")
    keys = ApiKey.objects.filter(organization_id=request.principal.organization_id).active(at=timezone.now())
    template = "apikeys/_permission_remove.html" if request.htmx else "apikeys/permission_remove.html"
    return render(request, template, {"entry": entry, "held_by": keys.granted(name).count()})


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def permission_publish(request: MemberRequest) -> HttpResponse:
    require_settings(request, Right.PERMISSIONS_CHANGE)
    form = PublishableForm(posted(request), catalogue=rules_of(request.principal.organization_id).catalogue)
    if form.is_valid():
        try:
            actions.publish_permissions(principal=request.principal, names=form.cleaned_data["permissions"])
            messages.success(request, "Changed what publishable keys can do.")
            return redirect("permission-list")
        except NotACatalogueEntry as error:
            form.add_error("permissions", str(error))
    return form_page(request, "apikeys/permission_publish.html", form)


def _added(request: MemberRequest, name: str) -> Permission:
    """Return a permission that was added; built-in ones are nobody's to change."""
    catalogue = rules_of(request.principal.organization_id).catalogue
    entry = catalogue.by_name.get(name)
    if entry is None or entry not in catalogue.added:
        raise Http404
    return entry


def _row(catalogue: Catalogue, entry: Permission) -> PermissionRow:
    role = Role(entry.least_role.value).label
    return PermissionRow(entry, role, entry in catalogue.added, entry.name in catalogue.publishable)
