"""Rotating a key: the dialog, the one response that shows its successor, and how the rotation ends."""

from http import HTTPStatus
from typing import Literal, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.recent import recent_sign_in_required
from apikeys import actions, hashing
from apikeys.forms.ending import WayBackForm
from apikeys.forms.rotating import ExtendRotationForm, RotateKeyForm
from apikeys.models import ApiKey
from apikeys.rotations import still_users
from apikeys.views.revealing import reveal
from keyportal.http import MemberRequest
from keyportal.pages import form_page, fragment, posted, safe_next

# What the address of the form can fill in.
PREFILLED = ("reason", "settle", "deadline")


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required(keep=PREFILLED)
def key_rotate(request: MemberRequest, key_id: UUID) -> HttpResponse:
    """Show the form; on its POST, reveal the successor in this very response and nowhere else."""
    visible = ApiKey.objects.visible_to(request.principal).with_places().with_roles()
    api_key = get_object_or_404(visible, pk=key_id)
    if not actions.may_rotate(request.principal, api_key):
        raise PermissionDenied("Only its issuer, or an admin whose role is not below the key's, rotates this key.")
    initial = {name: request.GET[name] for name in PREFILLED if name in request.GET}
    form = RotateKeyForm(posted(request), initial=initial)
    if not form.is_valid():
        return _rotate_form(request, api_key, form)
    try:
        rotated = _rotate(request, api_key, form)
    except actions.KeyAlreadyIssued:
        return _already_rotated(request, api_key)
    except actions.Refused as refused:
        form.add_error(None, str(refused))
        return _rotate_form(request, api_key, form)
    except hashing.HashingUnavailable:
        form.add_error(None, "The portal is busy just now, and nothing was changed. Try again in a moment.")
        response = _rotate_form(request, api_key, form)
        response.status_code, response["Retry-After"] = HTTPStatus.SERVICE_UNAVAILABLE, "1"
        return response
    return reveal(request, rotated.successor, rotated.key)


def _rotate(request: MemberRequest, api_key: ApiKey, form: RotateKeyForm) -> actions.Rotated:
    data = form.cleaned_data
    return actions.rotate_key(
        principal=request.principal,
        api_key=api_key,
        reason=cast(Literal["routine", "leaked"], data["reason"]),
        settle_seconds=form.settle_seconds,
        deadline=form.time_left,
        form_id=data["form_id"],
        at=timezone.now(),
    )


def _rotate_form(request: MemberRequest, api_key: ApiKey, form: RotateKeyForm) -> HttpResponse:
    return form_page(request, "apikeys/key_rotate.html", form, api_key=api_key, successor=_successor_of(api_key))


def _successor_of(api_key: ApiKey) -> ApiKey | None:
    return ApiKey.objects.filter(predecessor=api_key).first()


def _already_rotated(request: MemberRequest, api_key: ApiKey) -> HttpResponse:
    """Answer a form that was sent twice, by a reload or the back button: the successor exists and was shown."""
    successor = _successor_of(api_key)
    # Where the old key was ended, only its successor can be rotated.
    to_rotate = successor if api_key.is_revoked else api_key
    context = {"api_key": api_key, "successor": successor, "to_rotate": to_rotate}
    return render(request, fragment("apikeys/key_already_rotated.html", request), context, status=409)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def rotation_end(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = _rotated_key(request, key_id)
    at = timezone.now()
    form = WayBackForm(posted(request), initial={"next": _way_back(request, api_key)})
    if not form.is_valid():
        context = {"successor": _successor_of(api_key), "users": still_users(api_key).users}
        return form_page(request, "apikeys/rotation_end.html", form, api_key=api_key, **context)
    try:
        actions.end_rotation(principal=request.principal, api_key=api_key, at=at)
        messages.success(request, f"{api_key.label}… retired at {at:%H:%M} UTC. It has been refused since.")
    except actions.NotRotating as refused:
        messages.info(request, str(refused))
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-detail", args=[api_key.pk])))


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def rotation_extend(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = _rotated_key(request, key_id)
    at, latest = timezone.now(), actions.latest_retirement(api_key)
    form = ExtendRotationForm(posted(request), initial={"next": _way_back(request, api_key)})
    if not form.is_valid():
        return form_page(request, "apikeys/rotation_extend.html", form, api_key=api_key, latest=latest)
    try:
        until = form.until(api_key.retires_at or at, latest=latest)
        old = actions.extend_rotation(principal=request.principal, api_key=api_key, until=until, at=at)
        messages.success(request, f"{old.label}… works until {old.retires_at:%Y-%m-%d %H:%M} UTC.")
    except (actions.NotRotating, actions.ExtensionNotPossible) as refused:
        messages.info(request, str(refused))
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-detail", args=[api_key.pk])))


def _rotated_key(request: MemberRequest, key_id: UUID) -> ApiKey:
    """Return a key whose rotation the person decides on."""
    visible = ApiKey.objects.visible_to(request.principal).with_places()
    api_key = get_object_or_404(visible, pk=key_id, rotated_at__isnull=False)
    if not actions.may_revoke(request.principal, api_key):
        raise PermissionDenied("Only its issuer or an admin of its team decides when this key retires.")
    return api_key


def _way_back(request: MemberRequest, api_key: ApiKey) -> str:
    return request.htmx.current_url_abs_path or reverse("key-detail", args=[api_key.pk])
