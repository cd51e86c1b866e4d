"""Changing a key to something that can do less."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from apikeys import actions
from apikeys.flows import ORGANIZATION, PUBLISHABLE, SECRET
from apikeys.forms.editing import EditKeyForm
from apikeys.forms.fields import LIMITS
from apikeys.models import ApiKey
from apikeys.views.ending import has_ended
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_edit(request: MemberRequest, key_id: UUID) -> HttpResponse:
    """Narrow a key; what would widen it is refused, and a successor with just that is offered."""
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal).with_places(), pk=key_id)
    if not actions.may_revoke(request.principal, api_key):
        raise PermissionDenied("Only its issuer or an admin of its team changes this key.")
    at = timezone.now()
    if has_ended(request, api_key, at=at):
        return redirect("key-detail", api_key.pk)
    form = EditKeyForm(posted(request), api_key=api_key)
    if not form.is_valid():
        return _form(request, form)
    try:
        actions.narrow_key(principal=request.principal, api_key=api_key, change=form.change(), at=at)
    except actions.WideningRefused as refused:
        # Before the error: a field that has one loses what was asked for.
        successor_url = _successor_url(form)
        form.add_error(form.field_of(refused), str(refused))
        return _form(request, form, successor_url=successor_url)
    except actions.Refused as refused:
        form.add_error(None, str(refused))
        return _form(request, form)
    messages.success(request, f"{form.cleaned_data['name']} changed. It holds from its next request on.")
    return redirect("key-detail", api_key.pk)


def _form(request: MemberRequest, form: EditKeyForm, *, successor_url: str = "") -> HttpResponse:
    return form_page(
        request,
        "apikeys/key_edit.html",
        form,
        api_key=form.api_key,
        permission_groups=[] if form.is_publishable else form.groups(),
        successor_url=successor_url,
    )


def _successor_url(form: EditKeyForm) -> str:
    """Return the issue form, filled in with what the key was to become."""
    api_key, data = form.api_key, form.cleaned_data
    flow = ORGANIZATION if api_key.scope == ApiKey.Scope.ORG else PUBLISHABLE if form.is_publishable else SECRET
    wanted = {
        "name": data["name"],
        "scope": api_key.scope if flow is SECRET else None,
        "team": api_key.team_id,
        "project": api_key.project_id,
        "environment": api_key.environment,
        "service_account": api_key.service_account_id,
        "permissions": ",".join(data.get("permissions", [])),
        "expiry": "date" if data["expires_on"] else "never",
        "expires_on": data["expires_on"],
        "networks": "\n".join(data["networks"]),
        "allowed_origins": "\n".join(data.get("allowed_origins", [])),
    } | {name: data[name] for name in LIMITS}
    return f"{reverse(flow.url_name)}?{urlencode({name: str(value) for name, value in wanted.items() if value})}"
