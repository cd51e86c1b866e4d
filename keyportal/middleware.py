"""What happens to every request: an id, an address, one log line."""

import re
import time
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django_htmx.http import HttpResponseClientRedirect
from uuid_utils.compat import uuid7

from audit.context import ANONYMOUS, audit_context
from keyportal import metrics
from keyportal.dispatch import method_not_allowed
from keyportal.http import (
    PROBE_PATHS,
    PageRequest,
    PortalRequest,
    client_address,
    is_api,
)
from keyportal.logs import RequestLine

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
        request.request_uuid = uuid7()
        request.request_id = str(request.request_uuid)
        request.client_address = client_address(request)
        request.log_fields = {}
        started = time.perf_counter()
        with audit_context(actor=ANONYMOUS, request_id=request.request_id, address=request.client_address or None):
            response = self.get_response(request)
        response["X-Request-Id"] = request.request_id
        _set_length(response)
        seconds = time.perf_counter() - started
        kind = "probe" if request.path_info in PROBE_PATHS else "api" if is_api(request) else "page"
        metrics.observe_request(kind, response.status_code, seconds)
        RequestLine(
            method=request.method or "",
            route=request.resolver_match.route if request.resolver_match else None,
            status=response.status_code,
            milliseconds=round(seconds * 1000, 1),
            address=request.client_address,
            request_id=request.request_id,
            prefix=request.log_fields.get("prefix"),
        ).write()
        return response


def _drop_malformed_session(request: HttpRequest) -> None:
    """Take a session from a request that none of ours can be: PostgreSQL refuses a query with NUL in it, for one."""
    if "HTTP_COOKIE" not in request.META:
        return
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
    """Say as a problem that an address of the API does not take a method, to a browser's session too."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: PortalRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_refused = response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and is_api(request)
        return method_not_allowed(request, response) if is_refused else response


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
