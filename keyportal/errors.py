"""The pages, and for the API the problem details, of requests that went wrong."""

import sys
from http import HTTPStatus

import structlog
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis import RedisError

from keyportal.http import Problem, is_api, problem_response

WRONG_HOST = "The portal does not answer under this host name. Its operator sets the right one with KEYPORTAL_URL."
# No throttle of a way in is closed for longer.
THROTTLED_SECONDS = "300"
BUSY_SECONDS = "5"
log = structlog.get_logger("keyportal.errors")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    # The name alone: its sentence may repeat the Host or the path that the client sent.
    log.warning("request.bad", reason=type(exception).__name__)
    reason = WRONG_HOST if isinstance(exception, DisallowedHost) else ""
    return _answer(request, "invalid_request", HTTPStatus.BAD_REQUEST, reason=reason)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, "forbidden", HTTPStatus.FORBIDDEN, reason=str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, "not_found", HTTPStatus.NOT_FOUND)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    # What follows the dash may be the Referer or Origin that the client sent.
    log.warning("request.csrf_failed", reason=reason.partition(" - ")[0])
    return _answer(
        request,
        "csrf_failed",
        HTTPStatus.FORBIDDEN,
        reason="The form was open for too long, or cookies are off. Go back, reload the page and send it again.",
    )


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Answer a throttled way in. It says nothing of the account: not even whether there is one."""
    response = _answer(request, "too_many_sign_ins", HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = THROTTLED_SECONDS
    response["Cache-Control"] = "no-store"
    return response


def busy(request: HttpRequest) -> HttpResponse:
    """Answer where a password could not be checked for want of a turn, which says nothing about the password."""
    if is_api(request):
        return problem_response(request, Problem("unavailable"))
    response = render(request, "503.html", status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = BUSY_SECONDS
    response["Cache-Control"] = "no-store"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 where the database or Redis is away: then nobody knows, and trying again helps."""
    exception = sys.exception()
    log.error("request.failed", exc_info=exception)
    if isinstance(exception, OperationalError | InterfaceError | RedisError):
        return _answer(request, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
    return _answer(request, "internal_error", HTTPStatus.INTERNAL_SERVER_ERROR)


def _answer(request: HttpRequest, code: str, status: HTTPStatus, *, reason: str = "") -> HttpResponse:
    if is_api(request):
        return problem_response(request, Problem(code))
    # A fragment's error is shown by the page that asked for it, so the whole page is never swapped in.
    template = f"{500 if status >= 500 else status.value}.html"
    # No context processors on 500: what they would ask may be what is broken.
    context_request = None if status >= 500 else request
    response = render(
        context_request,
        template,
        {"reason": reason, "request_id": getattr(request, "request_id", "")},
        status=status,
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = "1"
    return response
