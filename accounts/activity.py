"""When and from where a session was last used: noted at most once a minute, and never at a request's expense."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from allauth.usersessions.models import UserSession
from cachetools import LRUCache
from django.db import DatabaseError
from django.http.response import HttpResponseBase
from django.utils import timezone

from keyportal.http import PageRequest, PortalRequest

log = structlog.get_logger("accounts")
EVERY = timedelta(minutes=1)
# Behind a socket that passes no address on, there is none; the column has to hold one.
NO_ADDRESS = "::"
AGENT_LENGTH = 200

# Which sessions this process has seen, and when: the others cost a query.
_seen: LRUCache[str, datetime] = LRUCache(maxsize=10_000)
_lock = threading.Lock()


def forget_all() -> None:
    """Forget which sessions were noted; their next requests read it anew."""
    with _lock:
        _seen.clear()


def note(*, user_id: UUID, session_key: str, address: str, user_agent: str, at: datetime) -> None:
    """Note that a session was used. A database that cannot be written to costs the note, and not the request."""
    with _lock:
        if session_key in _seen and _seen[session_key] > at - EVERY:
            return
        _seen[session_key] = at
    told = {"ip": address or NO_ADDRESS, "user_agent": user_agent[:AGENT_LENGTH], "last_seen_at": at}
    try:
        session, is_new = UserSession.objects.get_or_create(
            session_key=session_key, defaults={"user_id": user_id, "created_at": at, **told}
        )
        if not is_new and session.last_seen_at <= at - EVERY:
            # Of many processes that saw it, one writes; and a session that was ended meanwhile stays so.
            UserSession.objects.filter(pk=session.pk, last_seen_at__lte=at - EVERY).update(**told)
    except DatabaseError:
        log.exception("session.use_not_noted")


def note_request(request: PortalRequest) -> None:
    """Note that the session of a request was used, by its cookie or by a token, if it is a person's."""
    if request.user.is_authenticated and request.session.session_key:
        note(
            user_id=request.user.pk,
            session_key=request.session.session_key,
            address=request.client_address,
            user_agent=request.headers.get("User-Agent", ""),
            at=timezone.now(),
        )


class ActivityMiddleware:
    """Note that a signed-in person's session was used, once the answer is there."""

    def __init__(self, get_response: Callable[[PageRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: PageRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # Asked afterwards: the view may have opened the session, given it another key, or ended it.
        note_request(request)
        return response
