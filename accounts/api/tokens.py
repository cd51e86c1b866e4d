"""Signing in without a browser: tokens for command lines, through allauth.headless.

Each endpoint hands its call to allauth's own view, so that throttles, second factors and signals are those of the
sign-in page, and puts its answer into the words of this API.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.headless import app_settings
from allauth.headless.account.views import LoginView, ReauthenticateView, SessionView
from allauth.headless.constants import Client, Flow
from allauth.headless.mfa.views import AuthenticateView
from allauth.headless.mfa.views import ReauthenticateView as ReauthenticateByCodeView
from allauth.headless.tokens.views import RefreshTokenView
from django.contrib.sessions.backends.base import UpdateError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Field, Router, Schema, Status
from pydantic import SecretStr

from accounts.passwords import MAX_LENGTH
from accounts.tokens import hold_session
from keyportal.http import Problem
from keyportal.schemas import answers

router = Router(tags=["tokens"], auth=None)
View = Callable[..., HttpResponse]
# Nothing is known here of when a throttle opens again; none is closed for longer.
_RETRY_SECONDS = "300"

# allauth looks at the token of these itself, which the document says as of all others.
_TAKES_TOKEN: dict[str, Any] = {"security": [{"PrincipalAuth": []}]}

_log_in: View = LoginView.as_api_view(client=Client.APP)
_second_factor: View = AuthenticateView.as_api_view(client=Client.APP)
_confirm_by_password: View = ReauthenticateView.as_api_view(client=Client.APP)
_confirm_by_code: View = ReauthenticateByCodeView.as_api_view(client=Client.APP)
_refresh: View = RefreshTokenView.as_api_view(client=Client.APP)
_session: View = SessionView.as_api_view(client=Client.APP)


class Credentials(Schema):
    email: str = Field(max_length=254)
    password: SecretStr = Field(max_length=MAX_LENGTH)


class SecondFactor(Schema):
    flow: str = Field(max_length=64, description="What the sign-in answered with.")
    code: str = Field(max_length=32, description="Of the authenticator app, or a recovery code.")


class Refresh(Schema):
    refresh_token: SecretStr = Field(max_length=2048)


class Confirmation(Schema):
    """One of the two."""

    password: SecretStr | None = Field(None, max_length=MAX_LENGTH)
    code: str | None = Field(None, max_length=32, description="Of the authenticator app, or a recovery code.")


class Tokens(Schema):
    access_token: str = Field(description="Send it as `Authorization: Bearer <token>`.")
    refresh_token: str = Field(description="Good for one exchange, at `POST /v1/auth/token/refresh`.")
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme (RFC 6749 §7.1)
    expires_in: int = Field(description="Seconds until the access token ends.")


class SecondFactorNeeded(Schema):
    """The password was right, and the account has a second factor."""

    flow: str = Field(description="Send it with the code to `POST /v1/auth/token/second-factor`.")
    ways: list[str] = Field(description="What the account has: `totp`, `recovery_codes`, `webauthn` (a browser's).")


@router.post(
    "/auth/token",
    response={202: SecondFactorNeeded} | answers(200, Tokens),
    operation_id="create_token",
    summary="Sign in for a token",
)
def create_token(request: HttpRequest, body: Credentials) -> Status[Any]:  # noqa: ARG001 - checked; allauth reads it
    """Exchange email and password for a token; with a second factor, for the next step (202)."""
    answer = _asked(_log_in, request)
    if answer.status == HTTPStatus.UNAUTHORIZED and (pending := answer.pending(Flow.MFA_AUTHENTICATE)):
        return Status(202, {"flow": answer.meta["session_token"], "ways": pending["types"]})
    if answer.status != HTTPStatus.OK:
        raise Problem("invalid_credentials")
    return Status(200, answer.tokens())


@router.post(
    "/auth/token/second-factor",
    response=answers(200, Tokens),
    operation_id="create_token_by_second_factor",
    summary="Finish a sign-in with a code",
)
def create_token_by_second_factor(request: HttpRequest, body: SecondFactor) -> dict[str, Any]:
    """Exchange a code for a token. A code is good once, and so is a flow; a sign-in takes at most 15 minutes."""
    answer = _asked(_second_factor, request, session_token=body.flow)
    if answer.status != HTTPStatus.OK:
        raise Problem("invalid_credentials", "The code is wrong or was used, or the sign-in has expired. Begin anew.")
    return answer.tokens()


@router.post(
    "/auth/token/refresh", response=answers(200, Tokens), operation_id="refresh_token", summary="Get the next token"
)
def refresh_token(request: HttpRequest, body: Refresh) -> dict[str, Any]:
    """Exchange a refresh token for the next pair, as long as its session lasts."""
    with transaction.atomic():
        hold_session(body.refresh_token.get_secret_value())
        answer = _asked(_refresh, request)
    if answer.status != HTTPStatus.OK:
        raise Problem("invalid_token")
    return answer.tokens()


@router.post(
    "/auth/token/confirm",
    response=answers(204, None),
    operation_id="confirm_sign_in",
    summary="Confirm that it is you",
    openapi_extra=_TAKES_TOKEN,
)
def confirm_sign_in(request: HttpRequest, body: Confirmation) -> Status[None]:
    """Make the sign-in of the sent token recent again, for 15 minutes, with the password or a code."""
    if (body.password is None) == (body.code is None):
        message = "Send either `password` or `code`."
        raise Problem("invalid_field", errors=[{"field": "password", "message": message}])
    answer = _asked(_confirm_by_password if body.code is None else _confirm_by_code, request)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise Problem("invalid_token")
    if answer.status != HTTPStatus.OK:
        raise Problem("invalid_credentials")
    return Status(204, None)


@router.delete(
    "/auth/token",
    response=answers(204, None),
    operation_id="end_token",
    summary="Sign out",
    openapi_extra=_TAKES_TOKEN,
)
def end_token(request: HttpRequest) -> Status[None]:
    """End the session of the sent token: it and its refresh tokens are refused from now on."""
    if app_settings.TOKEN_STRATEGY.get_session_token(request) is None:
        raise Problem("invalid_token")
    _asked(_session, request)
    return Status(204, None)


class _Answer:
    """What allauth answered."""

    def __init__(self, response: HttpResponse) -> None:
        self.status = response.status_code
        found = json.loads(response.content) if response.content else {}
        self.data, self.meta = found.get("data") or {}, found.get("meta") or {}
        self.codes = {error.get("code") for error in found.get("errors") or []}

    def pending(self, flow: str) -> dict[str, Any] | None:
        """Return the step that a sign-in waits at, if it is this one."""
        flows = self.data.get("flows", [])
        return next((found for found in flows if found["id"] == flow and found.get("is_pending")), None)

    def tokens(self) -> dict[str, Any]:
        found = self.meta if "access_token" in self.meta else self.data
        return {
            "access_token": found["access_token"],
            "refresh_token": found["refresh_token"],
            "expires_in": app_settings.JWT_ACCESS_TOKEN_EXPIRES_IN,
        }


def _asked(view: View, request: HttpRequest, *, session_token: str = "") -> _Answer:
    """Return allauth's answer to a call.

    :param session_token: the session that the call goes on with, where it is no token's. Whatever the client sent as
        such itself does not count: it could be the session of a browser.
    :raises Problem: `too_many_sign_ins`, if a throttle refuses it; `invalid_token`, if its session ends meanwhile.
    """
    request.META.pop("HTTP_X_SESSION_TOKEN", None)
    if session_token:
        request.META.pop("HTTP_AUTHORIZATION", None)
        request.META["HTTP_X_SESSION_TOKEN"] = session_token
    # Django reads the headers out of META once.
    request.__dict__.pop("headers", None)
    own = request.user, request.session
    try:
        response = view(request)
    except ImmediateHttpResponse as immediate:
        response = immediate.response
    except UpdateError as error:
        # The session was ended while it was asked. allauth puts the request's own back, and has not come to that.
        request.user, request.session = own
        raise Problem("invalid_token") from error
    answer = _Answer(response)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or "too_many_login_attempts" in answer.codes:
        raise Problem("too_many_sign_ins", headers={"Retry-After": _RETRY_SECONDS})
    return answer
