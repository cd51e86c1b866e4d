"""System checks: what must be true of an installation before it serves anybody."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name for it

from apikeys import shapes

# In this order, each of them depending on the ones before it.
GUARDS = (
    "keyportal.middleware.RequestContextMiddleware",
    "apikeys.middleware.ApiKeyMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "apikeys.middleware.KeyInQueryMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.MemberMiddleware",
    "accounts.middleware.SignInRequiredMiddleware",
)


def start() -> None:
    register(check_guards, Tags.security)
    register(check_key_shapes)
    register(check_public_address, Tags.security, deploy=True)


def check_guards(**_: Any) -> list[CheckMessage]:
    """Every middleware that guards pages and keys is there, in its order."""
    found = [name for name in settings.MIDDLEWARE if name in GUARDS]
    if found == list(GUARDS):
        return []
    return [Error(f"MIDDLEWARE must have, in this order: {', '.join(GUARDS)}", id="keyportal.E001")]


def check_key_shapes(**_: Any) -> list[CheckMessage]:
    """Keys can be made and read in every shape that is set."""
    try:
        shapes.accepted()
    except ValueError as error:
        return [Error(f"{error}.", id="keyportal.E002")]
    return []


def check_public_address(**_: Any) -> list[CheckMessage]:
    """Keys and passwords cross no network in the clear."""
    public = urlsplit(settings.KEYPORTAL_URL)
    if public.scheme == "https" or _is_loopback(public.hostname or ""):
        return []
    hint = "Serve it behind a proxy with TLS, and set KEYPORTAL_URL to the https address."
    return [Warning("Keys and passwords would cross the network in the clear.", hint=hint, id="keyportal.W001")]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
