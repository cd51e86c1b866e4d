"""Ending a key."""

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from apikeys import actions
from apikeys.forms.ending import RevokeKeyForm
from apikeys.models import ApiKey
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted, safe_next

USED_RECENTLY = timedelta(hours=24)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_revoke(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal).with_places(), pk=key_id)
    if not actions.may_revoke(request.principal, api_key):
        raise PermissionDenied("Only its issuer or an admin of its team revokes this key.")
    at = timezone.now()
    is_used_recently = bool(api_key.last_used_at and at - api_key.last_used_at < USED_RECENTLY)
    default_next = request.htmx.current_url_abs_path or reverse("key-detail", args=[api_key.pk])
    form = RevokeKeyForm(
        posted(request),
        api_key=api_key,
        is_used_recently=is_used_recently,
        initial={"next": default_next},
    )
    if not form.is_valid():
        return form_page(
            request,
            "apikeys/key_revoke.html",
            form,
            api_key=api_key,
            is_used_recently=is_used_recently,
        )
    try:
        actions.revoke_key(principal=request.principal, api_key=api_key, at=at, reason=form.cleaned_data["reason"])
        messages.success(request, f"{api_key.name} revoked at {at:%H:%M} UTC. It has been refused since.")
    except actions.KeyAlreadyRevoked:
        messages.info(request, f"{api_key.name} was revoked before. It is refused.")
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-list")))
