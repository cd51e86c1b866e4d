"""Ending sessions: those of browsers, and those of command lines, whose tokens fall with them."""

from collections.abc import Iterable
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction

from accounts.devices import device_of
from accounts.models import User
from accounts.recording import record_session_end


def open_sessions(user: User, *, at: datetime) -> list[UserSession]:
    """Return a person's sessions that still open the portal, those used last first."""
    sessions = UserSession.objects.filter(user_id=user.pk).order_by("-last_seen_at", "-pk")
    alive = Session.objects.filter(session_key__in=sessions.values("session_key"), expire_date__gt=at)
    keys = set(alive.values_list("session_key", flat=True))
    return [session for session in sessions if session.session_key in keys]


@transaction.atomic
def end_session(*, user: User, session: UserSession) -> None:
    """Sign one session of a person out, wherever it is: its next request is nobody's."""
    _end(user, [session])


@transaction.atomic
def end_sessions(*, user: User, at: datetime, but: str | None = None) -> int:
    """Sign out all sessions of a person; return how many there were.

    :param but: the key of the session that goes on, if one does.
    """
    ended = [session for session in open_sessions(user, at=at) if session.session_key != but]
    _end(user, ended)
    return len(ended)


def _end(user: User, sessions: Iterable[UserSession]) -> None:
    for session in sessions:
        Session.objects.filter(session_key=session.session_key).delete()
        session.delete()
        record_session_end(user, device_of(session.user_agent), session.ip)
