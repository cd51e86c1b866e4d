"""Going to a provider to sign in there, and coming back."""

from typing import Any
from urllib.parse import urlencode

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.internal.flows.signup import clear_pending_signup
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView, OAuth2View
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import MultipleObjectsReturned, PermissionDenied
from django.http import Http404, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from requests import RequestException

from accounts.middleware import organization_not_required
from accounts.providers import configured, not_configured, provider_failed
from accounts.rights import Right, holds
from keyportal.http import MemberRequest, PageRequest

# allauth takes wishes for the provider from the address too, and so from whoever made a link to it.
OURS = ("process", "next")


@login_not_required
@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def provider_login(request: PageRequest, kind: str, provider_id: str = "") -> HttpResponseBase:
    """Send someone to a provider, or, where no form of ours was posted, ask whether they want to go."""
    request.GET = QueryDict(urlencode({name: request.GET[name] for name in OURS if name in request.GET}))
    return _attempt(OAuth2LoginView, request, _provider(request, kind, provider_id))


@login_not_required
@organization_not_required
@never_cache
@require_GET
def provider_callback(request: PageRequest, kind: str, provider_id: str = "") -> HttpResponseBase:
    return _attempt(OAuth2CallbackView, request, _provider(request, kind, provider_id))


@require_GET
def sign_in_methods(request: MemberRequest) -> HttpResponse:
    """Show which providers are switched on, with the address that each has to send people back to."""
    if not holds(request.principal, Right.SECURITY_CHANGE):
        raise PermissionDenied("Only a super admin sees how sign-in is set up. Ask one.")
    context = {"configured": configured(request), "not_configured": not_configured()}
    return render(request, "accounts/sign_in_methods.html", context)


@login_not_required
@require_GET
def sign_up_closed(request: PageRequest) -> HttpResponse:
    """Where allauth sends people to choose an address by themselves, which nobody does here."""
    clear_pending_signup(request)
    return redirect("account_login")


def _provider(request: PageRequest, kind: str, provider_id: str) -> OAuth2Provider:
    """Return a provider that is switched on; one of another kind is none by this address."""
    try:
        provider = get_adapter().get_provider(request, provider_id or kind)
    except (SocialApp.DoesNotExist, MultipleObjectsReturned) as error:
        raise Http404 from error
    if (provider.id, provider.sub_id) != (kind, provider_id or kind):
        raise Http404
    return provider


def _attempt(view_class: type[OAuth2View], request: PageRequest, provider: Any) -> HttpResponseBase:
    try:
        response: HttpResponseBase = view_class.adapter_view(provider.get_oauth2_adapter(request))(request)
    except RequestException as error:
        return provider_failed(request, provider, error)
    return response
