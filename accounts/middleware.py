"""Who is looking at a page, in which organization, and who may look at all."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from accounts.adapters import invitation_of
from accounts.models import OrganizationMembership, User
from accounts.obstacles import obstacle_of, obstacle_page
from accounts.password_hashing import HashingBusy
from accounts.principals import principal_of
from audit.context import Actor, set_actor
from keyportal.errors import busy
from keyportal.http import (
    PUBLIC_API_PATHS,
    SIGN_IN_PREFIX,
    MemberRequest,
    PageRequest,
    Problem,
    is_api,
    problem_response,
)

ORGANIZATION_SESSION_KEY = "organization_id"
View = Callable[..., HttpResponseBase]
V = TypeVar("V", bound=View)


def organization_not_required(view: V) -> V:
    """Mark a view that works for people who are in no organization, or whom theirs does not let in for now."""
    view.organization_required = False  # type: ignore[attr-defined] # a mark, as Django's `login_required` is
    return view


class MemberMiddleware:
    """Give a signed-in person's request its membership and principal, and tell the audit log who acts."""

    def __init__(self, get_response: Callable[[MemberRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: MemberRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            set_actor(Actor(kind="user", id=request.user.pk, label=request.user.email))
            load_membership(request)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Ask for patience where too many passwords are being hashed at this moment."""
        return busy(request) if isinstance(exception, HashingBusy) else None


def load_membership(request: MemberRequest) -> None:
    """Read the person's memberships; the session says in which organization they are acting."""
    request.memberships = list(
        OrganizationMembership.objects.filter(user=request.user)
        .select_related("organization", "user")
        .order_by("organization__name", "id")
    )
    chosen = request.session.get(ORGANIZATION_SESSION_KEY)
    for membership in sorted(request.memberships, key=lambda m: str(m.organization_id) != chosen)[:1]:
        request.member = membership
        request.principal = principal_of(membership)


class SignInRequiredMiddleware:
    """Every page asks for a sign-in, unless its view is marked as public; for the API that is a problem."""

    def __init__(self, get_response: Callable[[MemberRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: MemberRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: PageRequest, view: View, _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        # `login_not_required` is Django's mark, which allauth puts on its own views too.
        if not getattr(view, "login_required", True):
            return None
        if is_api(request):
            is_open = request.path_info in PUBLIC_API_PATHS or request.path_info.startswith(SIGN_IN_PREFIX)
            return None if is_open else _api_refusal(cast(MemberRequest, request))
        if not request.user.is_authenticated:
            return _ask_for_sign_in(request)
        if not getattr(view, "organization_required", True):
            return None
        if not hasattr(request, "member"):
            context = {"has_invitation": invitation_of(request) is not None}
            return render(request, "accounts/no_organization.html", context, status=403)
        return _obstacle_page(cast(MemberRequest, request))


def _obstacle_page(request: MemberRequest) -> HttpResponseBase | None:
    code = obstacle_of(request)
    return obstacle_page(request, code) if code else None


def _api_refusal(request: MemberRequest) -> HttpResponseBase | None:
    """Return why a session's call is not let through, as a problem; None if it is."""
    if not hasattr(request, "member"):
        return problem_response(request, Problem("missing_credentials"))
    code = obstacle_of(request)
    return problem_response(request, Problem(code)) if code else None


def _ask_for_sign_in(request: PageRequest) -> HttpResponseBase:
    """Send people to the sign-in page; a newcomer who opened the bare address learns about the set-up link."""
    if not User.objects.exists():
        return redirect("setup-needed")
    # A fragment or a form's target is no place to come back to: htmx says which page it was asked from.
    page = request.htmx.current_url_abs_path if request.htmx else None
    return redirect_to_login(page or request.get_full_path())
