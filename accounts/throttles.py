"""How often a way in may be tried, from where and for whom.

allauth counts in the cache, which all processes share. What it counts a wrong password for is decided here: tightly for
an account from one address, loosely for an account from anywhere, and then not where its owner has signed in lately.
So nobody guesses on, from however many addresses, and nobody keeps somebody else out by guessing wrongly.
"""

import hashlib
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import RateLimitUsage
from django.core.cache import cache
from django.http import HttpRequest

APP = "allauth.account"
FROM_HERE, FROM_ANYWHERE = "login_failed", "login_failed_anywhere"
# How long an address where someone signed in is known as theirs.
KNOWN_SECONDS = 30 * 24 * 3600


def consume_sign_in(request: HttpRequest, email: str) -> RateLimitUsage | None:
    """Count an attempt at a password; return what to take back if it turns out right, or None for one too many.

    An address that has an account and one that has none are counted alike.
    """
    counted = _consume(request, FROM_HERE, _from_here(request, email))
    is_known = cache.get(_known(request, email)) is not None
    if counted is None or is_known:
        return counted
    anywhere = _consume(request, FROM_ANYWHERE, email)
    return anywhere and RateLimitUsage([*counted.usage, *anywhere.usage])


def remember_place(request: HttpRequest, email: str) -> None:
    """Know the place from now on from which someone has signed in: others' failures elsewhere do not count here."""
    cache.set(_known(request, email), 1, KNOWN_SECONDS)


def forgive(request: HttpRequest, email: str) -> None:
    """Forget the failures at an account whose owner has chosen another password by a mailed link."""
    for action, key in ((FROM_HERE, _from_here(request, email)), (FROM_ANYWHERE, email)):
        ratelimit.clear(request, app=APP, action=action, key=key)


def consume_registration(request: HttpRequest) -> None:
    """Count an attempt to register.

    :raises ImmediateHttpResponse: with the page that says when to come back, if there were too many.
    """
    _require(request, "signup")


def consume_mail(request: HttpRequest, action: str, email: str) -> None:
    """Count a mail to an address that a signed-in person has typed, which may be that of somebody who wants none.

    :param action: `invite` or `manage_email`.
    :raises ImmediateHttpResponse: likewise, if they had too many mailed, or the address was mailed too often.
    """
    _require(request, action, email.strip().lower())


def _require(request: HttpRequest, action: str, key: str | None = None) -> None:
    if _consume(request, action, key) is None:
        raise ImmediateHttpResponse(ratelimit.respond_429(request))


def _consume(request: HttpRequest, action: str, key: str | None = None) -> RateLimitUsage | None:
    return ratelimit.consume(request, app=APP, action=action, key=key)


def _from_here(request: HttpRequest, email: str) -> str:
    return f"{_place(request)} {email}"


def _known(request: HttpRequest, email: str) -> str:
    return f"known-place:{hashlib.sha256(_from_here(request, email).encode()).hexdigest()}"


def _place(request: HttpRequest) -> Any:
    return ratelimit.truncate_ip(get_adapter().get_client_ip(request))
