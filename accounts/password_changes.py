"""What follows from a new password: the person's other sessions end, and they are told."""

from typing import Any

from allauth.account import signals
from django.http import HttpRequest
from django.utils import timezone

from accounts.actions.sessions import end_sessions
from accounts.mailing import outbox
from accounts.models import User


def start() -> None:
    """Listen for passwords that were changed, or reset by a link, wherever that was done."""
    signals.password_changed.connect(_changed, dispatch_uid="accounts.password_changed")
    signals.password_reset.connect(_changed, dispatch_uid="accounts.password_reset_ends_sessions")


def _changed(request: HttpRequest, user: User, **_: Any) -> None:
    at = timezone.now()
    outbox.put("password_changed", to=user, context={"at": at}, at=at)
    # Whoever knew the old one may have left a session open, or a command line with a token.
    end_sessions(user=user, at=at, but=request.session.session_key)
