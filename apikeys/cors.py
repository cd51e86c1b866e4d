"""Calls from web pages: which keys may come from one, and what it may read of the answer (the Fetch standard, §3.3)."""

from collections.abc import Mapping
from threading import Lock
from time import monotonic

import structlog
from django.db import Error
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from apikeys.models import ApiKey
from apikeys.presented import PresentedKey
from keyportal.dispatch import methods_open_to_pages
from keyportal.http import ApiRequest, Problem

SECRET_KEY_IN_BROWSER, ORIGIN_NOT_ALLOWED = "secret_key_in_browser", "origin_not_allowed"
# For how long a process goes by the origins that it read.
READ_EVERY_SECONDS = 5
# So many different lists of origins are read; most keys of one page share theirs.
MOST_LISTS = 20_000
# What a page may read of an answer's headers, beside those that any page may.
_EXPOSED = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Key-Expires, Sunset"
_PREFLIGHT = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}
log = structlog.get_logger("apikeys.cors")


def is_from_browser(meta: Mapping[str, str]) -> bool:
    """Say whether a browser sent a request: no page can leave both of these headers out, or write them itself.

    A page's own address may be kept from us (`Origin: null`), and an extension has none (`Sec-Fetch-Site: none`).
    """
    return bool(meta.get("HTTP_ORIGIN") or meta.get("HTTP_SEC_FETCH_SITE"))


def check_page(request: ApiRequest, api_key: PresentedKey) -> None:
    """Refuse a good key that is not for the page which sent it.

    Where a browser names no origin, the page is the portal's own, or an extension: for a publishable key, which is
    public anyway, that is as good as a server.

    :raises Problem: `secret_key_in_browser`, `origin_not_allowed`.
    """
    if not api_key.is_publishable:
        raise Problem(SECRET_KEY_IN_BROWSER)
    origin = request.META.get("HTTP_ORIGIN")
    if origin and origin not in api_key.allowed_origins:
        raise Problem(ORIGIN_NOT_ALLOWED)


def preflight(request: ApiRequest) -> HttpResponse | None:
    """Answer a browser that asks whether a page may make a call; None if it may not, or if nobody asked.

    No key comes with the question, so that it is about all of them: the call itself is refused if its own does not
    allow the origin.
    """
    origin = request.META.get("HTTP_ORIGIN")
    wanted = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
    if request.method != "OPTIONS" or "HTTP_AUTHORIZATION" in request.META or not origin or not wanted:
        return None
    methods = methods_open_to_pages(request)
    if wanted not in methods or not _live.have(origin):
        return None
    response = HttpResponse(status=204, headers=_PREFLIGHT)
    del response["Content-Type"]
    response["Access-Control-Allow-Origin"] = origin
    response["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
    return response


def share(request: ApiRequest, response: HttpResponseBase) -> None:
    """Let a page read the answer to its call, a refusal too, where the endpoint and the key's origins allow it."""
    if request.method not in methods_open_to_pages(request):
        return
    patch_vary_headers(response, ["Origin"])
    origin = request.META.get("HTTP_ORIGIN")
    if origin and _may_read(request, origin):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = _EXPOSED


def _may_read(request: ApiRequest, origin: str) -> bool:
    api_key: PresentedKey | None = getattr(request, "api_key", None)
    if api_key is None:
        # Nobody's key: who may ask at all may know that.
        return _live.have(origin)
    return api_key.is_publishable and origin in api_key.allowed_origins


class _LiveOrigins:
    """The origins that some good publishable key allows, read at most every few seconds, whoever asks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.forget()

    def have(self, origin: str) -> bool:
        # Who comes while they are read for the first time waits; later ones go by what was read before.
        if monotonic() >= self._next and self._lock.acquire(blocking=not self._next):
            try:
                self._read()
            finally:
                self._lock.release()
        return origin in self._origins

    def forget(self) -> None:
        self._origins: frozenset[str] = frozenset()
        self._next = 0.0

    def _read(self) -> None:
        if monotonic() < self._next:
            return  # Someone else has, meanwhile.
        try:
            lists = ApiKey.objects.live_origins(at=timezone.now(), most=MOST_LISTS)
        except Error as error:
            # What was read last grants nothing: each call is decided by its own key.
            log.error("cors.origins_not_read", reason=type(error).__name__)  # noqa: TRY400 - the name says it all
        else:
            self._origins = frozenset(origin for found in lists for origin in found)
            if len(lists) == MOST_LISTS:
                log.error("cors.too_many_origins", most=MOST_LISTS)
        self._next = monotonic() + READ_EVERY_SECONDS


_live = _LiveOrigins()


def forget_all() -> None:
    """Begin anew, for tests."""
    _live.forget()
