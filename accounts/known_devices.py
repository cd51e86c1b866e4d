"""Telling people of a sign-in from a browser or program that was not seen with their account before.

A browser is known by a cookie that has nothing to do with its session and outlives it. A command line keeps no
cookies: it is known by what it calls itself and the network it comes from.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.devices import device_of
from accounts.mailing import outbox
from accounts.models import Device, User
from keyportal.http import SIGN_IN_PREFIX, client_address

COOKIE = "keyportal_device"
# The longest that browsers keep a cookie (RFC 6265bis §5.5); each sign-in begins it anew.
COOKIE_SECONDS = 400 * 24 * 3600
TOKEN_LENGTH = 43


def start() -> None:
    """Listen for sign-ins, by whatever way."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.known_devices")


class DeviceMiddleware:
    """Give a browser from which somebody has signed in the cookie by which it is known the next time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if token := getattr(request, "device_token", ""):
            response.set_cookie(
                COOKIE,
                token,
                max_age=COOKIE_SECONDS,
                httponly=True,
                samesite="Lax",
                secure=settings.IS_HTTPS,
            )
        return response


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    remember(user=user, token=_token(request), request=request, at=timezone.now())


@transaction.atomic
def remember(*, user: User, token: str, request: HttpRequest, at: datetime) -> None:
    """Note from what somebody signed in, and tell them if it was never seen; a new account's first is no news."""
    # One at a time for each person, so that two of their sign-ins are not both the first.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    digest = hashlib.sha256(token.encode()).hexdigest()
    device = Device.objects.filter(user=user, token_digest=digest).first()
    if device:
        device.last_seen_at = at
        device.save(update_fields=["last_seen_at"])
        return
    is_first = not Device.objects.filter(user=user).exists()
    Device.objects.create(user=user, token_digest=digest, created_at=at, last_seen_at=at)
    if not is_first:
        _tell(user, request, at)


def _tell(user: User, request: HttpRequest, at: datetime) -> None:
    told = {
        "device": device_of(request.headers.get("User-Agent", "")),
        "address": client_address(request),
        "at": at,
        "link": outbox.link("session-list"),
        "password_link": outbox.link("account_reset_password") if user.has_usable_password() else "",
    }
    outbox.put("new_sign_in", to=user, context=told, at=at)


def _token(request: HttpRequest) -> str:
    """Return what a device is known by; a browser that has nothing yet gets something to keep."""
    if request.path_info.startswith(SIGN_IN_PREFIX):
        return f"program {_network(client_address(request))} {request.headers.get('User-Agent', '')}"
    token = request.COOKIES.get(COOKIE, "")
    if len(token) != TOKEN_LENGTH:
        token = secrets.token_urlsafe(32)
    request.device_token = token  # type: ignore[attr-defined] # for the middleware, which has the response
    return token


def _network(address: str) -> str:
    """Return the network of a client whose provider changes its address now and then."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""  # A unix socket's peer has none.
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 64}", strict=False))
