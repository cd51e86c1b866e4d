"""Ways in: set-up, signing in again, and what a session remembers."""

from dataclasses import replace
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.internal.flows.login import record_authentication
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import actions
from accounts.context import THEMES
from accounts.forms import SetUpForm
from accounts.middleware import ORGANIZATION_SESSION_KEY, organization_not_required
from accounts.models import User
from accounts.setup_link import is_setup_token
from audit.context import ANONYMOUS, set_actor
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_status, posted, safe_next

# A set-up and an invitation sign in by themselves, without a password typed into the sign-in form.
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@login_not_required
@require_GET
def setup_needed(request: PageRequest) -> HttpResponse:
    """Tell who opens a portal that nobody has set up where its set-up link is."""
    if User.objects.exists():
        return redirect("account_login")
    return render(request, "accounts/setup_needed.html")


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def setup(request: PageRequest, token: str) -> HttpResponse:
    if not is_setup_token(token) or User.objects.exists():
        return render(request, "accounts/setup_done.html", status=410)
    form = SetUpForm(posted(request))
    if not form.is_valid():
        return render(request, "accounts/setup.html", {"form": form}, status=form_status(form))
    set_actor(replace(ANONYMOUS, label="set-up link"))
    try:
        membership = actions.set_up(**form.cleaned_data, at=timezone.now())
    except actions.AlreadySetUp:
        return render(request, "accounts/setup_done.html", status=410)
    sign_in(request, membership.user)
    return redirect("overview")


def sign_in(request: HttpRequest, user: User) -> None:
    """Open a session for someone who chose their password a moment ago."""
    login(request, user, backend=BACKEND)
    record_authentication(request, user, method="password")


@organization_not_required
@require_GET
def sign_in_again(request: MemberRequest) -> HttpResponse:
    """Where people without a password prove anew who they are: at the provider that knows them."""
    back_to = safe_next(request, request.GET.get("next"), reverse("overview"))
    connected = set(SocialAccount.objects.filter(user=request.user).values_list("provider", flat=True))
    providers = [
        provider
        for provider in get_adapter().list_providers(request)
        if connected & {provider.id, getattr(provider, "sub_id", provider.id)}
    ]
    return render(
        request,
        "accounts/sign_in_again.html",
        {
            "providers": providers,
            "next": back_to,
            "reauthentication_alternatives": [
                {**way, "url": f"{way['url']}?{urlencode({'next': back_to})}"}
                for way in get_account_adapter().get_reauthentication_methods(request.user)
                if way["url"] != request.path
            ],
        },
    )


@organization_not_required
@require_POST
def organization_switch(request: MemberRequest) -> HttpResponse:
    chosen = request.POST.get("organization", "")
    if chosen not in {str(membership.organization_id) for membership in request.memberships}:
        raise Http404
    request.session[ORGANIZATION_SESSION_KEY] = chosen
    return redirect("overview")


@login_not_required
@require_POST
def theme_set(request: PageRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, so that the server can render it; anything else means the system's."""
    response = redirect(safe_next(request, request.POST.get("next"), reverse("overview")))
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=365 * 24 * 3600, samesite="Lax", secure=settings.IS_HTTPS)
    else:
        response.delete_cookie("theme")
    return response
