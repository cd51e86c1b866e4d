"""From a call's address to its view, without the middlewares that only pages need."""

from functools import lru_cache
from http import HTTPStatus

from django.conf import settings
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver

from keyportal.http import PortalRequest, Problem, problem_response


def call_view(request: PortalRequest) -> HttpResponseBase:
    """Answer a request with its view.

    :raises Http404: if there is none at its address.
    """
    request.resolver_match = match = _resolve(settings.ROOT_URLCONF, request.path_info)
    response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
    if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return method_not_allowed(request, response)
    return response


def method_not_allowed(request: PortalRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Say as a problem that an address of the API does not take a method, where ninja says it in plain text."""
    allowed = ", ".join(sorted(response["Allow"].split(", ")))
    return problem_response(request, Problem("method_not_allowed", headers={"Allow": allowed}))


def route_of(request: PortalRequest) -> str:
    """Return the pattern of a request's address, which names no object; empty if there is no such address."""
    if match := request.resolver_match:
        return match.route
    try:
        return _resolve(settings.ROOT_URLCONF, request.path_info).route
    except Resolver404:
        return ""


@lru_cache(maxsize=512)
def _resolve(urlconf: str, path: str) -> ResolverMatch:
    # Finding the view anew takes as long as verifying the key. What is found is never changed.
    return get_resolver(urlconf).resolve(path)
