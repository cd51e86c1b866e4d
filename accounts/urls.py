"""Addresses of people, teams and projects, and those of allauth's pages that keyportal has."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account import views as account
from allauth.socialaccount import views as social
from allauth.urls import build_provider_urlpatterns
from django.db import transaction
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path

from accounts.middleware import organization_not_required
from accounts.recent import recent_sign_in_required
from accounts.views import entrance, invitations, teams

View = Callable[..., HttpResponseBase]


def whole(view: View) -> View:
    """Let a view of allauth write all or nothing, the audit rows included."""

    @wraps(view)
    def atomic_view(*args: Any, **kwargs: Any) -> HttpResponseBase:
        with transaction.atomic():
            return view(*args, **kwargs)

    return organization_not_required(atomic_view)


def whole_post(view: View) -> View:
    """The same where only a POST writes, so that showing the form never waits for a writer."""
    atomic_view = whole(view)

    @wraps(view)
    def posted(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = atomic_view if request.method == "POST" else view
        return chosen(request, *args, **kwargs)

    return organization_not_required(posted)


def whole_all(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Wrap the views of the providers: their callbacks sign people in, connect and create accounts on a GET."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            whole_all(pattern.url_patterns)
        else:
            pattern.callback = whole(pattern.callback)
    return patterns


urlpatterns = [
    path("setup/", entrance.setup_needed, name="setup-needed"),
    path("setup/<str:token>/", entrance.setup, name="setup"),
    path("invitations/<str:token>/", invitations.invitation_accept, name="invitation-accept"),
    path("teams/", teams.team_list, name="team-list"),
    path("teams/new/", teams.team_create, name="team-create"),
    path("teams/<uuid:team_id>/", teams.team_detail, name="team-detail"),
    path("teams/<uuid:team_id>/invite/", invitations.invitation_create, name="invitation-create"),
    path("projects/", teams.project_list, name="project-list"),
    path("projects/new/", teams.project_create, name="project-create"),
    path("organization/switch/", entrance.organization_switch, name="organization-switch"),
    path("theme/", entrance.theme_set, name="theme-set"),
    path("account/confirm/", entrance.sign_in_again, name="sign-in-again"),
    path("account/sign-in/", whole_post(account.login), name="account_login"),
    path("account/sign-out/", whole_post(account.logout), name="account_logout"),
    path("account/inactive/", organization_not_required(account.account_inactive), name="account_inactive"),
    path("account/reauthenticate/", whole_post(account.reauthenticate), name="account_reauthenticate"),
    path("account/password/change/", whole_post(account.password_change), name="account_change_password"),
    path(
        "account/password/set/", whole_post(recent_sign_in_required(account.password_set)), name="account_set_password"
    ),
    path("account/password/reset/", whole_post(account.password_reset), name="account_reset_password"),
    path("account/password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        whole(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "account/password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/connections/", whole_post(social.connections), name="socialaccount_connections"),
    path("account/connections/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/connections/error/", social.login_error, name="socialaccount_login_error"),
    path("account/connections/signup/", whole_post(social.signup), name="socialaccount_signup"),
    *whole_all(build_provider_urlpatterns()),
]
