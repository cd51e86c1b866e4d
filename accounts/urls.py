"""Addresses of people, teams and projects, and those of allauth's pages that keyportal has."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from allauth.account import views as account
from allauth.socialaccount import views as social
from allauth.urls import build_provider_urlpatterns
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, re_path
from requests import RequestException

from accounts.middleware import organization_not_required
from accounts.recent import recent_sign_in_required
from accounts.views import entrance, invitations, service_accounts, teams

log = structlog.get_logger("accounts")
View = Callable[..., HttpResponseBase]


def tolerant(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Answer with allauth's own page where a provider cannot be reached."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            tolerant(pattern.url_patterns)
        else:
            pattern.callback = _attempted(pattern.callback)
    return patterns


def _attempted(view: View) -> View:
    @wraps(view)
    def attempted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except RequestException:
            log.exception("provider.unreachable")
            return render(request, "socialaccount/authentication_error.html", status=503)

    return organization_not_required(attempted)


urlpatterns = [
    path("setup/", entrance.setup_needed, name="setup-needed"),
    path("setup/<str:token>/", entrance.setup, name="setup"),
    path("invitations/", invitations.invitation_accept, name="invitation-accept"),
    path("invitations/<str:token>/", invitations.invitation_open, name="invitation-open"),
    path("teams/", teams.team_list, name="team-list"),
    path("teams/new/", teams.team_create, name="team-create"),
    path("teams/<uuid:team_id>/invite/", invitations.invitation_create, name="invitation-create"),
    path(
        "teams/<uuid:team_id>/service-accounts/new/",
        service_accounts.service_account_create,
        name="service-account-create",
    ),
    path(
        "service-accounts/<uuid:account_id>/edit/", service_accounts.service_account_edit, name="service-account-edit"
    ),
    path("projects/", teams.project_list, name="project-list"),
    path("projects/new/", teams.project_create, name="project-create"),
    path("organization/switch/", entrance.organization_switch, name="organization-switch"),
    path("theme/", entrance.theme_set, name="theme-set"),
    path("account/confirm/", entrance.sign_in_again, name="sign-in-again"),
    path("account/sign-in/", organization_not_required(account.login), name="account_login"),
    path("account/sign-out/", organization_not_required(account.logout), name="account_logout"),
    path("account/inactive/", organization_not_required(account.account_inactive), name="account_inactive"),
    path("account/reauthenticate/", organization_not_required(account.reauthenticate), name="account_reauthenticate"),
    path(
        "account/password/change/", organization_not_required(account.password_change), name="account_change_password"
    ),
    path(
        "account/password/set/",
        organization_not_required(recent_sign_in_required()(account.password_set)),
        name="account_set_password",
    ),
    path("account/password/reset/", organization_not_required(account.password_reset), name="account_reset_password"),
    path("account/password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        organization_not_required(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "account/password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/connections/", organization_not_required(social.connections), name="socialaccount_connections"),
    path("account/connections/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/connections/error/", social.login_error, name="socialaccount_login_error"),
    path("account/connections/signup/", organization_not_required(social.signup), name="socialaccount_signup"),
    *tolerant(build_provider_urlpatterns()),
]
