"""Ending a key, for a time or for good."""

from datetime import datetime, timedelta
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
from apikeys.forms.ending import RevokeKeyForm, WayBackForm
from apikeys.models import ApiKey
from apikeys.use_rows import blast_radius
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted, safe_next

USED_RECENTLY = timedelta(hours=24)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_revoke(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = _endable(request, key_id)
    at = timezone.now()
    is_used_recently = bool(api_key.last_used_at and at - api_key.last_used_at < USED_RECENTLY)
    form = RevokeKeyForm(
        posted(request),
        api_key=api_key,
        is_used_recently=is_used_recently,
        initial={"next": _way_back(request, api_key)},
    )
    if not form.is_valid():
        return form_page(
            request,
            "apikeys/key_revoke.html",
            form,
            api_key=api_key,
            is_used_recently=is_used_recently,
            radius=blast_radius(api_key, at=at),
            successor=_successor_of(api_key, at),
        )
    try:
        actions.revoke_key(principal=request.principal, api_key=api_key, at=at, reason=form.cleaned_data["reason"])
        messages.success(request, f"{api_key.name} revoked at {at:%H:%M} UTC. It has been refused since.")
    except actions.KeyAlreadyRevoked:
        messages.info(request, f"{api_key.name} was revoked before. It is refused.")
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-list")))


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_disable(request: MemberRequest, key_id: UUID) -> HttpResponse:
    """Refuse a key until it is enabled again: for when one is not sure what would break."""
    api_key = _endable(request, key_id)
    at = timezone.now()
    if has_ended(request, api_key, at=at):
        return redirect("key-detail", api_key.pk)
    form = WayBackForm(posted(request), initial={"next": _way_back(request, api_key)})
    if not form.is_valid():
        return form_page(
            request,
            "apikeys/key_disable.html",
            form,
            api_key=api_key,
            radius=blast_radius(api_key, at=at),
            successor=_successor_of(api_key, at),
        )
    try:
        actions.disable_key(principal=request.principal, api_key=api_key, at=at)
        messages.success(
            request, f"{api_key.name} disabled at {at:%H:%M} UTC. It is refused until someone enables it again."
        )
    except actions.KeyNotActive as refused:
        messages.info(request, str(refused))
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-list")))


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_enable(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = _endable(request, key_id)
    at = timezone.now()
    if has_ended(request, api_key, at=at):
        return redirect("key-detail", api_key.pk)
    form = WayBackForm(posted(request), initial={"next": _way_back(request, api_key)})
    if not form.is_valid():
        return form_page(request, "apikeys/key_enable.html", form, api_key=api_key)
    try:
        actions.enable_key(principal=request.principal, api_key=api_key, at=at)
        messages.success(request, f"{api_key.name} enabled at {at:%H:%M} UTC. It works again.")
    except actions.KeyNotActive as refused:
        messages.info(request, str(refused))
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-list")))


def has_ended(request: MemberRequest, api_key: ApiKey, *, at: datetime) -> bool:
    """Say whether there is nothing to change about a key any more, and then tell who wanted to."""
    if api_key.state_at(at) in {"active", "disabled"}:
        return False
    messages.info(request, actions.KeyNotActive.sentence)
    return True


def _endable(request: MemberRequest, key_id: UUID) -> ApiKey:
    """Return a key that the person may end, and so may disable and enable."""
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal).with_places(), pk=key_id)
    if not actions.may_revoke(request.principal, api_key):
        raise PermissionDenied("Only its issuer or an admin of its team revokes, disables and enables this key.")
    return api_key


def _successor_of(api_key: ApiKey, at: datetime) -> ApiKey | None:
    """Return the key that took this one's place and works on when this one ends: whoever rotated it has that."""
    successor = ApiKey.objects.filter(predecessor=api_key).first()
    return successor if successor and successor.state_at(at) == "active" else None


def _way_back(request: MemberRequest, api_key: ApiKey) -> str:
    return request.htmx.current_url_abs_path or reverse("key-detail", args=[api_key.pk])
