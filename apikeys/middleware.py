"""Calls with a key: from the header to `request.principal`, or to a problem."""

from collections.abc import Callable

import structlog
from django.db import Error
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from apikeys import actions
from apikeys.authentication import keys_in_query, path_without_keys, presented_key
from apikeys.models import USE_RESOLUTION, ApiKey
from apikeys.verification import Outcome, VerifiedKey, verify
from audit.context import set_actor
from keyportal.http import PUBLIC_API_PATHS, ApiRequest, Problem, is_api, is_machine, problem_response

log = structlog.get_logger("apikeys")
MAX_MARKED = 3


class ApiKeyMiddleware:
    """Answer, before anything else is done for a call, whose it is; a browser's own call is left to its session."""

    def __init__(self, get_response: Callable[[ApiRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: ApiRequest) -> HttpResponseBase:
        if not is_api(request):
            # Someone looks for a key by pasting it. The label finds it, and is all that history should keep.
            return redirect(path_without_keys(request)) if keys_in_query(request) else self.get_response(request)
        try:
            refuse_exposed(request)
            if is_machine(request) and request.path_info not in PUBLIC_API_PATHS:
                authenticate(request)
        except Problem as problem:
            return problem_response(request, problem)
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        return response


def refuse_exposed(request: ApiRequest) -> None:
    """Refuse keys in the query string, and mark as exposed those that are real; each may cost a run of argon2.

    :raises Problem: `key_in_query`.
    """
    exposed = keys_in_query(request)
    for text in exposed[:MAX_MARKED]:
        verification = verify(text, at=timezone.now())
        log.warning("api_key.exposed", prefix=verification.prefix, code=verification.outcome.value)
        if verification.key:
            set_actor(verification.key.principal().as_actor())
            actions.mark_exposed(key_id=verification.key.id, at=timezone.now())
    if exposed:
        raise Problem("key_in_query")


def authenticate(request: ApiRequest) -> None:
    """Give the request its principal.

    :raises Problem: with the code that says why not.
    """
    at = timezone.now()
    try:
        text = presented_key(request)
    except Problem as problem:
        log.info("api_key.auth_failed", prefix="", code=problem.code)
        raise
    verification = verify(text, at=at)
    request.log_fields["prefix"] = verification.prefix
    if verification.outcome is not Outcome.ACCEPTED or verification.key is None:
        log.info("api_key.auth_failed", prefix=verification.prefix, code=verification.outcome.value)
        raise Problem(verification.outcome.value)
    request.api_key = verification.key
    request.principal = verification.key.principal()
    set_actor(request.principal.as_actor())
    _mark_used(verification.key, request)


def _mark_used(key: VerifiedKey, request: ApiRequest) -> None:
    """Note the use, at most once a minute a key; a note that cannot be written does not fail the request."""
    at = timezone.now()
    if key.last_used_at and at - key.last_used_at < USE_RESOLUTION:
        return
    try:
        ApiKey.objects.mark_used(key.id, at=at, address=request.client_address or None)
    except Error:
        log.exception("api_key.use_not_recorded", prefix=key.label)
