"""From a call's address to its view, without the middlewares that only pages need."""

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeVar

from django.conf import settings
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver
from ninja.operation import PathView

from keyportal.http import PortalRequest, Problem, problem_response

_OPEN = "is_open_to_pages"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def open_to_pages(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint as one that web pages may call with a publishable key; nothing else is shared with them."""
    setattr(endpoint, _OPEN, True)
    return endpoint


def is_open_to_pages(endpoint: Callable[..., Any]) -> bool:
    return hasattr(endpoint, _OPEN)


def methods_open_to_pages(request: PortalRequest) -> frozenset[str]:
    """Return the methods of a request's address whose endpoints are marked as open to pages."""
    try:
        return _open_methods(_resolve(settings.ROOT_URLCONF, request.path_info).func)
    except Resolver404:
        return frozenset()


@lru_cache(maxsize=512)
def _open_methods(view: Callable[..., Any]) -> frozenset[str]:
    # A view that ninja made keeps its endpoints, one or more a method, to itself.
    kept = [cell.cell_contents for cell in getattr(view, "__closure__", None) or ()]
    for path_view in (found for found in kept if isinstance(found, PathView)):
        is_open = [found for found in path_view.operations if is_open_to_pages(found.view_func)]
        return frozenset(method for operation in is_open for method in operation.methods)
    # One that is served as a view of its own is read, and nothing more.
    return frozenset({"GET"} if is_open_to_pages(view) else ())


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
