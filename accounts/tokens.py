"""Bearer tokens of people: what a command line sends instead of a browser's session (T7).

A token is a short JWT (RFC 7519) of allauth.headless that names a session, and is worth what that session is worth:
it ends with it, and knows when and how its person signed in. Who they are in the organization is read anew with each
call, so that a role that was taken away is gone on the next one.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from allauth.account.authentication import get_authentication_records
from allauth.headless.tokens.strategies.jwt import internal as jwt
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import Error

from accounts.activity import note_request
from accounts.entry import obstacle
from accounts.models import OrganizationMembership, User
from accounts.principals import principal_of
from audit.context import set_actor
from keyportal.http import ApiRequest, Problem

log = structlog.get_logger("accounts")
ORGANIZATION_HEADER = "X-Organization-Id"
_META_NAME = "HTTP_X_ORGANIZATION_ID"


def is_token(text: str) -> bool:
    """Say whether a credential has the form of a token: three parts between dots (RFC 7515 §7.1), as no key has."""
    return text.count(".") == 2


def authenticate_person(request: ApiRequest, token: str) -> None:
    """Give a request the session, the user and the principal of a token's person.

    :raises Problem: `invalid_token`; `forbidden`, if they are in no organization; `not_found`, for one that is not
        theirs; the code of what their organization asks of a sign-in; `unavailable`, if the database cannot say.
    """
    try:
        user, session = _person_and_session(token)
        request.user, request.session = user, session
        membership = _membership(user, request.META.get(_META_NAME))
    except Error as error:
        raise Problem("unavailable") from error
    if code := obstacle(membership, get_authentication_records(request, user)):
        raise Problem(code)
    set_actor(principal_of(membership).as_actor())
    request.member = membership
    request.principal = principal_of(membership)
    request.is_by_token = True
    note_request(request)


def _person_and_session(token: str) -> tuple[User, SessionBase]:
    """Return whose token it is, if its signature, its end and its session all hold.

    allauth's own check of the same returns the user alone, and the session is what says how they signed in.
    """
    payload = jwt.decode_token(token, "access")
    session = jwt.get_token_session(payload) if payload else None
    user = jwt.validate_token_user(payload, session) if session else None
    if user is None or session is None:
        log.info("token.auth_failed", code="invalid_token")
        raise Problem("invalid_token")
    return user, session


def hold_session(refresh_token: str) -> None:
    """Let exchanges of a refresh token wait for each other, and for the end of its session: one takes it.

    allauth reads a session, and writes it anew with the next one's name. The caller has begun a transaction.
    """
    payload = jwt.decode_token(refresh_token, "refresh")
    session_key = jwt.session_key_from_sid(payload["sid"]) if payload else None
    list(Session.objects.select_for_update().filter(session_key=session_key or ""))


def _membership(user: User, organization_id: str | None) -> OrganizationMembership:
    """Return what a person is in the organization that the header names, or in their first one."""
    memberships = memberships_of(user)
    if not memberships:
        raise Problem("forbidden", "You are in no organization any more. Ask an admin for an invitation.")
    if organization_id is None:
        return memberships[0]
    wanted = _uuid(organization_id)
    found = next((membership for membership in memberships if membership.organization_id == wanted), None)
    if found is None:
        raise Problem("not_found", f"The organization of {ORGANIZATION_HEADER} is none of yours.")
    return found


def memberships_of(user: Any) -> Sequence[OrganizationMembership]:
    """Return what a person is in each of their organizations, by the organizations' names."""
    memberships = OrganizationMembership.objects.filter(user=user).select_related("organization", "user")
    return list(memberships.order_by("organization__name", "id"))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        message = "Send the id of one of your organizations."
        raise Problem("invalid_field", errors=[{"field": ORGANIZATION_HEADER, "message": message}]) from error
