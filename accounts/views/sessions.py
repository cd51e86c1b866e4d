"""Where a person is signed in, and ending that."""

from dataclasses import dataclass

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.actions.sessions import end_session, end_sessions, open_sessions
from accounts.activity import NO_ADDRESS
from accounts.devices import device_of, is_command_line
from accounts.middleware import organization_not_required
from keyportal.http import MemberRequest


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as its page shows it. The page never gets to know a session's key."""

    session: UserSession
    is_current: bool

    @property
    def device(self) -> str:
        return device_of(self.session.user_agent)

    @property
    def is_command_line(self) -> bool:
        return is_command_line(self.session.user_agent)

    @property
    def address(self) -> str:
        return "" if self.session.ip == NO_ADDRESS else str(self.session.ip)


@organization_not_required
@require_GET
def session_list(request: MemberRequest) -> HttpResponse:
    current = request.session.session_key
    rows = [
        SessionRow(session, session.session_key == current)
        for session in open_sessions(request.user, at=timezone.now())
    ]
    rows.sort(key=lambda row: not row.is_current)
    return render(request, "accounts/session_list.html", {"rows": rows})


@organization_not_required
@require_POST
def session_end(request: MemberRequest, session_id: int) -> HttpResponse:
    session = get_object_or_404(UserSession, pk=session_id, user_id=request.user.pk)
    if session.session_key == request.session.session_key:
        # Its page offers no such button; ending what this very answer is kept in would break it.
        return redirect("account_logout")
    end_session(user=request.user, session=session)
    messages.success(request, f"{device_of(session.user_agent)} is signed out.")
    return redirect("session-list")


@organization_not_required
@require_POST
def session_end_others(request: MemberRequest) -> HttpResponse:
    count = end_sessions(user=request.user, at=timezone.now(), but=request.session.session_key)
    messages.success(request, f"{count} other session{'s' if count != 1 else ''} signed out. You stay signed in here.")
    return redirect("session-list")
