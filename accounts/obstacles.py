"""What someone sees whom an organization does not let in for now: what it asks, and the way on."""

from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base import Provider
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django_htmx.http import HttpResponseClientRedirect

from accounts.entry import obstacle
from accounts.security import SecurityPolicy
from keyportal.http import ApiRequest, MemberRequest


def obstacle_of(request: MemberRequest | ApiRequest) -> str:
    """Return the code of what keeps a session's person out of the organization that they act in; empty, if nothing."""
    return obstacle(request.member, get_authentication_records(request, request.user))


def obstacle_page(request: MemberRequest, code: str) -> HttpResponseBase:
    """Say what is asked instead of showing a page; a fragment's place is taken by the page that asked for it."""
    overview = reverse("overview")
    if request.htmx:
        response: HttpResponseBase = HttpResponseClientRedirect(request.htmx.current_url_abs_path or overview)
    else:
        response = render(request, "accounts/entry_obstacle.html", _context(request, code, overview), status=403)
    add_never_cache_headers(response)
    return response


def _context(request: MemberRequest, code: str, overview: str) -> dict[str, Any]:
    return {
        "code": code,
        "organization": request.member.organization,
        "domains": SecurityPolicy.of(request.member.organization).domains,
        "others": [membership for membership in request.memberships if membership.pk != request.member.pk],
        "providers": connected_providers(request),
        # A form's target is no place to come back to.
        "next": request.get_full_path() if request.method == "GET" else overview,
    }


def connected_providers(request: HttpRequest) -> list[Provider]:
    """Return the providers through which a request's person can sign in."""
    connected = set(SocialAccount.objects.filter(user=request.user).values_list("provider", flat=True))
    return [provider for provider in get_adapter().list_providers(request) if provider.sub_id in connected]
