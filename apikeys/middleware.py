"""Calls with a key: from the header to `request.principal` and the view, or to a problem; and the record of it."""

from collections.abc import Callable
from datetime import datetime
from typing import cast

import structlog
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.exception import convert_exception_to_response
from django.db import Error
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import http_date

from accounts.tokens import authenticate_person, is_token
from apikeys import actions, cors, limits, recording
from apikeys.authentication import keys_in_query, path_without_keys, presented_key
from apikeys.limits import QUOTA_EXCEEDED, RATE_LIMITED
from apikeys.models import EXPIRES_SOON, without_waiting
from apikeys.presented import PresentedKey
from apikeys.verification import Outcome, Verification, note_first_use, verify
from audit import uses
from audit.context import set_actor
from keyportal.dispatch import call_view
from keyportal.http import (
    PROBE_PATHS,
    PUBLIC_API_PATHS,
    ApiRequest,
    Problem,
    is_api,
    is_machine,
    problem_response,
)

log = structlog.get_logger("apikeys")
MAX_MARKED = 3
LIMIT_CODES = {RATE_LIMITED, QUOTA_EXCEEDED}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}  # RFC 9110 §9.2.1


class KeyInQueryMiddleware:
    """Keep keys out of addresses also where a browser's session is the caller: on pages, and in its own calls."""

    def __init__(self, get_response: Callable[[ApiRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: ApiRequest) -> HttpResponseBase:
        if not is_api(request):
            # Someone looks for a key by pasting it. The label finds it, and is all that history should keep.
            return redirect(path_without_keys(request)) if keys_in_query(request) else self.get_response(request)
        try:
            refuse_exposed(request)
        except Problem as problem:
            return problem_response(request, problem)
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        return response


class ApiKeyMiddleware:
    """Answer every call that stands on its own, here and completely, past all that pages and sessions need.

    What comes from a browser's session goes on to the middlewares below.
    """

    def __init__(self, get_response: Callable[[ApiRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        # What a view raises becomes a response here, so that it is recorded as any other.
        self.call_view = cast("Callable[[ApiRequest], HttpResponseBase]", convert_exception_to_response(call_view))  # type: ignore[arg-type] # call_view asks for the id and address that each request has

    def __call__(self, request: ApiRequest) -> HttpResponseBase:
        if settings.SECURE_SSL_REDIRECT and request.path_info not in PROBE_PATHS and not request.is_secure():
            # Django's middleware redirects it.
            return self.get_response(request)
        if not is_machine(request):
            return self.get_response(request)
        request.is_from_browser = cors.is_from_browser(request.META)
        response = self._answer(request)
        if request.is_from_browser:
            cors.share(request, response)
        return response

    def _answer(self, request: ApiRequest) -> HttpResponseBase:
        if request.path_info in PROBE_PATHS:
            return _protected(self.call_view(request))
        at = timezone.now()
        try:
            refuse_exposed(request)
            if request.path_info in PUBLIC_API_PATHS:
                return _protected(self.call_view(request))
            if request.is_from_browser and (answer := cors.preflight(request)):
                return _protected(answer)
            text = _presented(request)
            if is_token(text):
                authenticate_person(request, text)
                return _protected(self.call_view(request))
            authenticate(request, text, at)
        except Problem as problem:
            refusal = problem_response(request, problem)
            if problem.code in LIMIT_CODES:
                # The key is good, and its client should know all the same when it ends.
                _announce_end(refusal, request.api_key, at)
            return _protected(_recorded(request, at, refusal))
        if uses.is_synchronous() and request.method not in SAFE_METHODS:
            response = self._recorded_before(request, at)
        else:
            response = _recorded(request, at, self.call_view(request))
        _announce_end(response, request.api_key, at)
        if request.api_key.limits:
            _announce_limits(response, request)
        return _protected(response)

    def _recorded_before(self, request: ApiRequest, at: datetime) -> HttpResponseBase:
        """Let a call change nothing unless it is on record: first without its end, which is then put in."""
        try:
            uses.write_now(recording.use_of(request, at, None, outcome=recording.BEGUN))
        except uses.UseNotRecorded:
            return problem_response(request, Problem("unavailable"))
        response = self.call_view(request)
        uses.complete_now(recording.use_of(request, at, response))
        return response


def _recorded(request: ApiRequest, at: datetime, response: HttpResponseBase) -> HttpResponseBase:
    """Record an answer, and return it; a problem instead, where nothing may be answered that is not on record."""
    use = recording.use_of(request, at, response)
    if not uses.is_synchronous():
        uses.record(use)
        return response
    try:
        uses.write_now(use)
    except uses.UseNotRecorded:
        return problem_response(request, Problem("unavailable"))
    return response


def _protected(response: HttpResponseBase) -> HttpResponseBase:
    """Add what a response to a program needs of the headers that protect pages."""
    headers = response.headers if isinstance(response, HttpResponse) else response
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    if settings.SECURE_SSL_REDIRECT and settings.SECURE_HSTS_SECONDS:
        headers["Strict-Transport-Security"] = _transport_security()
    return response


def _announce_end(response: HttpResponseBase, api_key: PresentedKey, at: datetime) -> None:
    """Tell a client when its key ends, and in the last days so that tools notice it (RFC 8594 §3)."""
    if api_key.ends_at is None:
        return
    moment = http_date(api_key.ends_at.timestamp())
    response["Key-Expires"] = moment
    if api_key.ends_at - at <= EXPIRES_SOON:
        response["Sunset"] = moment


def _announce_limits(response: HttpResponseBase, request: ApiRequest) -> None:
    """Tell a client how it stands with the limits of its key, whatever the answer is."""
    for name, value in request.limit_headers.items():
        response[name] = value


def _transport_security() -> str:
    """Return what Django's own middleware says of it on pages (RFC 6797 §6.1)."""
    parts = [f"max-age={settings.SECURE_HSTS_SECONDS}"]
    parts += ["includeSubDomains"] * settings.SECURE_HSTS_INCLUDE_SUBDOMAINS
    parts += ["preload"] * settings.SECURE_HSTS_PRELOAD
    return "; ".join(parts)


def refuse_exposed(request: ApiRequest) -> None:
    """Refuse keys in the query string, and mark as exposed those that are real; each may cost a run of argon2.

    :raises Problem: `key_in_query`; `invalid_request` for a query that cannot be looked through; `unavailable`.
    """
    try:
        exposed = keys_in_query(request)
    except SuspiciousOperation as error:
        # More fields than anyone sends, and no key among what could be looked at.
        raise Problem("invalid_request", "The query has too many fields.") from error
    for text in exposed[:MAX_MARKED]:
        at = timezone.now()
        # Refused whatever it is, so that nothing is in use by this.
        verification = verify(text, at=at, source=request.client_address, is_use=False)
        log.warning("api_key.exposed", prefix=verification.prefix, code=verification.outcome.value)
        request.log_fields.setdefault("prefix", verification.prefix)
        if verification.key:
            request.api_key = verification.key
            set_actor(verification.key.actor)
            _mark_exposed(verification.key, at)
    if exposed:
        raise Problem("key_in_query")


def _mark_exposed(api_key: PresentedKey, at: datetime) -> None:
    """Mark a key as exposed, once.

    :raises Problem: `unavailable`, if that cannot be written.
    """
    if api_key.exposed_at:
        return
    try:
        actions.mark_exposed(key_id=api_key.id, at=at)
    except Error as error:
        log.error("api_key.exposure_not_recorded", prefix=api_key.label, reason=type(error).__name__)  # noqa: TRY400 - the name says it all
        raise Problem("unavailable") from error


def _note_reappearance(api_key: PresentedKey, at: datetime) -> None:
    """Remember, once, that a key is used though its rotation has ended: that is an incident, and no reason to wait.

    Not of a publishable key: pages that browsers have kept go on with it for a while, and everyone can read it anyway.
    """
    if api_key.is_publishable or api_key.reappeared_at or not api_key.retires_at:
        return
    if not (api_key.is_revoked or api_key.retires_at <= at):
        return
    set_actor(api_key.actor)
    try:
        with without_waiting():
            actions.note_reappearance(key_id=api_key.id, at=at)
    except Error as error:
        log.error("api_key.reappearance_not_recorded", prefix=api_key.label, reason=type(error).__name__)  # noqa: TRY400 - the name says it all


def _note_browser(api_key: PresentedKey, at: datetime) -> None:
    """Remember, once, that a secret key came from a browser; that it is refused does not wait for this."""
    if api_key.is_publishable or api_key.in_browser_at or api_key.is_revoked:
        return
    set_actor(api_key.actor)
    try:
        with without_waiting():
            actions.mark_seen_in_browser(key_id=api_key.id, at=at)
    except Error as error:
        log.error("api_key.browser_not_recorded", prefix=api_key.label, reason=type(error).__name__)  # noqa: TRY400 - the name says it all


def _presented(request: ApiRequest) -> str:
    try:
        return presented_key(request)
    except Problem as problem:
        log.info("api_key.auth_failed", prefix="", code=problem.code)
        raise


def authenticate(request: ApiRequest, text: str, at: datetime) -> None:
    """Give the request the principal of the key that a text is.

    :raises Problem: with the code that says why not.
    """
    verification = verify(text, at=at, source=request.client_address, is_use=False)
    request.log_fields["prefix"] = verification.prefix
    if verification.key:
        request.api_key = verification.key
        _note_reappearance(verification.key, at)
        if request.is_from_browser:
            _note_browser(verification.key, at)
    if verification.outcome is not Outcome.ACCEPTED or verification.key is None:
        raise _failed(verification)
    if request.is_from_browser:
        _check_page(request, verification.key)
    if verification.key.limits:
        _charge(request, verification.key, at)
    if verification.key.is_unused_successor:
        _note_first_use(request, text, verification, at)
    request.principal = verification.key.principal
    set_actor(verification.key.actor)


def _failed(verification: Verification) -> Problem:
    log.info("api_key.auth_failed", prefix=verification.prefix, code=verification.outcome.value)
    wait = {"Retry-After": str(verification.retry_after)} if verification.retry_after else {}
    return Problem(verification.outcome.value, headers=wait)


def _note_first_use(request: ApiRequest, text: str, verification: Verification, at: datetime) -> None:
    """Note that a successor is in use, now that nothing refuses it any more.

    :raises Problem: `verification_unavailable`, if that cannot be noted; `invalid_key`, if it was replaced meanwhile.
    """
    noted = note_first_use(text, verification, at=at, source=request.client_address)
    if noted.key is None:
        # The text is nobody's now, and its refusal is on no key's record.
        del request.api_key
    if noted.outcome is not Outcome.ACCEPTED:
        raise _failed(noted)


def _check_page(request: ApiRequest, api_key: PresentedKey) -> None:
    """Refuse a good key that must not come from a browser, or not from this page.

    :raises Problem: `secret_key_in_browser`, `origin_not_allowed`.
    """
    try:
        cors.check_page(request, api_key)
    except Problem as problem:
        log.warning("api_key.auth_failed", prefix=request.log_fields["prefix"], code=problem.code)
        raise


def _charge(request: ApiRequest, api_key: PresentedKey, at: datetime) -> None:
    """Count a request of a key that has limits.

    :raises Problem: `rate_limited`, `quota_exceeded`.
    """
    state = limits.charge(api_key, at=at)
    if state is None:
        return
    if state.code:
        raise Problem(state.code, headers=state.headers)
    request.limit_headers = state.headers
