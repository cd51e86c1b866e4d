"""What happens to every request: an id, an address, one log line; and the wrappers for pages only."""

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxMiddleware
from uuid_utils.compat import uuid7

from audit.context import ANONYMOUS, audit_context
from keyportal.http import (
    PageRequest,
    PortalRequest,
    Problem,
    client_address,
    is_api,
    is_machine,
    problem_response,
)

log = structlog.get_logger("keyportal.request")
GetResponse = Callable[[HttpRequest], HttpResponseBase]
_SESSION_KEY = re.compile(r"[a-z0-9]{8,40}")
# RFC 9110 §8.6: these answers have no content, and so no length of it.
_WITHOUT_CONTENT = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


class RequestContextMiddleware:
    """Give a request its id and address, and write the one line that says how it went.

    The line names the route, never the path: a path may hold an invitation's token or a pasted key.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: PortalRequest) -> HttpResponseBase:
        _drop_malformed_session(request)
        request.request_id = str(uuid7())
        request.client_address = client_address(request)
        request.log_fields = {}
        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request.request_id),
            audit_context(actor=ANONYMOUS, request_id=request.request_id, address=request.client_address or None),
        ):
            response = self.get_response(request)
            response["X-Request-Id"] = request.request_id
            _set_length(response)
            log.info(
                "request",
                method=request.method,
                route=request.resolver_match.route if request.resolver_match else None,
                status=response.status_code,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
                address=request.client_address,
                **request.log_fields,
            )
        return response


def _drop_malformed_session(request: HttpRequest) -> None:
    """Take a session from a request that none of ours can be: PostgreSQL refuses a query with NUL in it, for one."""
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if session_key is not None and not _SESSION_KEY.fullmatch(session_key):
        del request.COOKIES[settings.SESSION_COOKIE_NAME]


def _set_length(response: HttpResponseBase) -> None:
    """Say how long an answer is: else the server would send pieces, and clients could not keep the connection."""
    if not isinstance(response, HttpResponse) or response.status_code in _WITHOUT_CONTENT:
        return
    if "Content-Length" not in response:
        response["Content-Length"] = str(len(response.content))


class ApiMethodMiddleware:
    """Say as a problem that an address of the API does not take a method, where ninja says it in plain text."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED or not is_api(request):
            return response
        allowed = ", ".join(sorted(response["Allow"].split(", ")))
        return problem_response(request, Problem("method_not_allowed", headers={"Allow": allowed}))


class PagesOnly:
    """A middleware that a call with a key passes by, since only pages and sessions need it."""

    wrapped: Callable[[GetResponse], Any]

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.inner = self.wrapped(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request) if is_machine(request) else self.inner(request)
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        if is_machine(request) or not hasattr(self.inner, "process_view"):
            return None
        response: HttpResponseBase | None = self.inner.process_view(request, view, args, kwargs)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if is_machine(request) or not hasattr(self.inner, "process_exception"):
            return None
        response: HttpResponseBase | None = self.inner.process_exception(request, exception)
        return response


class PagesCSP(PagesOnly):
    wrapped = CSPMiddleware


class PagesSessions(PagesOnly):
    wrapped = SessionMiddleware


class PagesCommon(PagesOnly):
    wrapped = CommonMiddleware


class PagesCsrf(PagesOnly):
    wrapped = CsrfViewMiddleware


class PagesAuthentication(PagesOnly):
    wrapped = AuthenticationMiddleware


class PagesMessages(PagesOnly):
    wrapped = MessageMiddleware


class PagesXFrameOptions(PagesOnly):
    wrapped = XFrameOptionsMiddleware


class PagesHtmx(PagesOnly):
    wrapped = HtmxMiddleware


class HtmxRedirectMiddleware:
    """Let the browser follow a redirect that htmx would: a lost session shows the sign-in page, not a piece of it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: PageRequest) -> HttpResponseBase:
        # Asked before the view: after a password, allauth goes on with an earlier request in this one's place, and
        # answers this one all the same.
        is_htmx = not is_api(request) and bool(request.htmx)
        response = self.get_response(request)
        if not is_htmx or "Location" not in response:
            return response
        redirect = HttpResponseClientRedirect(response["Location"])
        redirect.cookies = response.cookies
        return redirect
