"""What every app says over HTTP: problem details, request types and the client's address."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, JsonResponse

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from accounts.models import OrganizationMembership, User
    from accounts.principals import Principal
    from apikeys.presented import PresentedKey

API_PREFIX = "/v1/"
# The reference is a page, though it lives beside what it describes.
API_DOCS_PATH = "/v1/docs"
# What watches the portal asks these, and not a person: no session, no key.
PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
# Where people sign in for a token: a page's call, as it takes the sessions that only pages have.
SIGN_IN_PREFIX = "/v1/auth/"
PUBLIC_API_PATHS = frozenset({"/v1/openapi.json", "/v1/key-format"})
CHALLENGE = 'Bearer realm="keyportal"'


class PortalRequest(HttpRequest):
    """Any request, once it has been given its id and the address it came from."""

    request_uuid: UUID
    request_id: str  # the same, as text
    client_address: str
    # What the request's one log line says beside the usual, such as the prefix of the key.
    log_fields: dict[str, str]


class PageRequest(PortalRequest):
    """A page request, of anyone."""

    htmx: "HtmxDetails"


class MemberRequest(PageRequest):
    """A page request of a signed-in person who is acting in one of their organizations."""

    user: "User"
    member: "OrganizationMembership"
    memberships: "list[OrganizationMembership]"
    principal: "Principal"


class ApiRequest(PortalRequest):
    """A `/v1/` request whose caller is known; `api_key` is there if the caller is a key."""

    principal: "Principal"
    # There is one, once the secret was right, whatever its state.
    api_key: "PresentedKey"
    # What the answer tells of the key's limits, if it has any.
    limit_headers: Mapping[str, str]
    # Whether a browser says that it sent this; known once the call is known to stand on its own.
    is_from_browser: bool
    # Whose session a person's call belongs to, be it a browser's or a token's; `is_by_token` says which.
    user: "User"
    member: "OrganizationMembership"
    is_by_token: bool


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A documented refusal: its status, its title, and what the caller should do about it."""

    status: int
    title: str
    advice: str


# Codes are public: they are added, never renamed.
PROBLEMS: Mapping[str, ProblemType] = {
    "missing_credentials": ProblemType(
        401, "No API key was sent", "Send the key in the header `Authorization: Bearer <key>`."
    ),
    "invalid_key": ProblemType(
        401,
        "This API key is not valid",
        "The key is mistyped, cut off or unknown here. Copy it again from your secret store; "
        "if it is lost, issue a new one.",
    ),
    "invalid_token": ProblemType(
        401,
        "This token is not valid",
        "It has ended, its session was signed out, or it is mistyped. Exchange the refresh token, or sign in again.",
    ),
    "invalid_credentials": ProblemType(
        401, "The sign-in failed", "The email address, the password or the code is wrong. Check them, and try again."
    ),
    "too_many_sign_ins": ProblemType(
        429, "Too many sign-ins failed", "Stop what sends them, and try again after the seconds in `Retry-After`."
    ),
    "too_many_failures": ProblemType(
        429,
        "Too many requests with a wrong key came from here",
        "Stop what sends them, and try again after the seconds in `Retry-After`. "
        "Keys that were good here lately go on working meanwhile.",
    ),
    "key_revoked": ProblemType(
        401, "This API key was revoked", "Revocation is final. Issue a new key and replace this one."
    ),
    "key_retired": ProblemType(
        401,
        "This API key has a successor and has retired",
        "It was rotated, and the time in which both worked is over. Use its successor; if that is lost, rotate it too.",
    ),
    "key_expired": ProblemType(401, "This API key has expired", "Issue a new key and replace this one."),
    "key_disabled": ProblemType(
        401,
        "This API key is disabled",
        "It is refused until someone enables it again. Ask an admin of its team, or issue a new key.",
    ),
    "issuer_gone": ProblemType(
        401,
        "The issuer of this API key has left",
        "A key acts with its issuer's role, and that person has none here any more. "
        "Have an admin hand it to a service account, or issue a new key.",
    ),
    "service_account_stopped": ProblemType(
        401,
        "The service account of this API key was stopped",
        "All keys of the account ended with it, for good. Issue a new key, for another account or a person.",
    ),
    "social_sign_in_required": ProblemType(
        403,
        "The organization asks for a sign-in through a provider",
        "Sign in again through a provider that is connected to your account, not with a password or a passkey.",
    ),
    "domain_not_allowed": ProblemType(
        403,
        "The organization does not take sign-ins with this address",
        "Sign in with a verified address of one of the organization's domains; its page in the portal names them.",
    ),
    "second_factor_required": ProblemType(
        403,
        "The organization asks for a second factor",
        "Set one up in the portal, under your account, then send the request again.",
    ),
    "organization_suspended": ProblemType(
        401, "The organization of this API key is suspended", "Ask the organization's super admin."
    ),
    "invalid_request": ProblemType(
        400,
        "The request is not well-formed",
        "Send exactly one credential, in the Authorization header, and a well-formed body.",
    ),
    "key_in_query": ProblemType(
        400,
        "The API key was sent in the URL",
        "URLs are logged along the way, so the key is marked as exposed. "
        "Send it in the Authorization header, and replace it.",
    ),
    "insufficient_scope": ProblemType(
        403,
        "This API key may not do that",
        "The detail names the permission that is missing. Issue a key that has it.",
    ),
    "network_not_allowed": ProblemType(
        403,
        "This API key may not come from this address",
        "The key, or its organization, names the networks that it may come from. Call from one of them, "
        "or ask an admin to add this one.",
    ),
    "secret_key_in_browser": ProblemType(
        403,
        "This API key must not be in a browser",
        "It is a secret key and came from a web page, whose visitors can all read it. Replace it, revoke it, and use a "
        "publishable key in the page; or call from a server, without the headers `Origin` and `Sec-Fetch-Site`.",
    ),
    "origin_not_allowed": ProblemType(
        403,
        "Pages of this origin may not use this API key",
        "A publishable key names the origins whose pages may use it. "
        "Use the key of this page, or issue one that names this origin.",
    ),
    "project_archived": ProblemType(
        403,
        "The project is archived",
        "Nothing is wrong with the key: its project takes no calls, and gets no new keys, until an admin of the team "
        "restores it.",
    ),
    "team_archived": ProblemType(
        403,
        "The team is archived",
        "Nothing is wrong with the key: its team takes no calls, and gets no new keys, until a super admin restores "
        "it.",
    ),
    "project_has_account_keys": ProblemType(
        409,
        "Keys of the project act for service accounts of its team",
        "Service accounts do not go along to another team. Revoke those keys first.",
    ),
    "environment_not_accepted": ProblemType(
        403,
        "The project does not accept keys of this environment",
        "The environment, live or test, is part of the key. Use a key of the environment that the project accepts.",
    ),
    "scope_not_allowed": ProblemType(
        403,
        "You may not issue keys of this scope",
        "Organization keys need a super admin, team keys an admin of the team, project keys a member of its team.",
    ),
    "permission_not_grantable": ProblemType(
        403,
        "You may not grant these permissions",
        "Nobody can grant more than their own role allows right now.",
    ),
    "expiry_not_grantable": ProblemType(
        403,
        "A key cannot issue a key that outlives it",
        "Give an expiry no later than the calling key's own.",
    ),
    "environment_not_grantable": ProblemType(
        403,
        "A key issues keys of its own environment only",
        "Use a key of the environment that the new key is for, or issue it in the portal.",
    ),
    "limits_not_grantable": ProblemType(
        403,
        "A key cannot issue a key that may make more requests",
        "Give each limit that the calling key has, and none higher than its own.",
    ),
    "rate_limited": ProblemType(
        429,
        "This API key has made too many requests",
        "The key is good. Try again after the seconds in `Retry-After`, and spread requests as the header "
        "`RateLimit` says.",
    ),
    "quota_exceeded": ProblemType(
        429,
        "The daily quota of this API key is used up",
        "The key is good, and works again from midnight UTC, after the seconds in `Retry-After`. "
        "If that is too few requests a day, ask for a key with a higher quota.",
    ),
    "network_not_grantable": ProblemType(
        403,
        "A key cannot issue a key that may come from elsewhere",
        "Give networks that lie within the calling key's own.",
    ),
    "service_account_not_usable": ProblemType(
        403,
        "No key can act for this service account",
        "It has to be of the key's team, running, and with a steward in the team; its role may not be above yours.",
    ),
    "policy_forbids": ProblemType(
        403,
        "The organization's policy does not allow such a key",
        "The detail says which rule. Ask for a key within it, or a super admin to change the policy.",
    ),
    "key_already_issued": ProblemType(409, "This form has issued its key before", "Look for it in the list of keys."),
    "key_already_revoked": ProblemType(409, "This API key was revoked before", "Revocation is final."),
    "widening_refused": ProblemType(
        409,
        "A key is only ever narrowed",
        "It may be renamed, and allowed less. Issue a successor for more, and retire this one.",
    ),
    "selection_changed": ProblemType(
        409,
        "Other keys pass the filter now than in the preview",
        "Nothing was done. Ask for the preview again, look at it, and send its digest.",
    ),
    "keys_remain": ProblemType(409, "Keys still work because of this account", "Hand them over or revoke them first."),
    "key_not_active": ProblemType(
        409, "This API key has ended", "There is nothing to change about it. Issue a new one where it is still wanted."
    ),
    "name_taken": ProblemType(409, "There is one of this name already", "Choose another name."),
    "steward_not_in_team": ProblemType(
        409,
        "The steward is not in the team",
        "Who answers for a service account has to be a member of its team. Name one who is.",
    ),
    "service_account_already_stopped": ProblemType(
        409,
        "This service account was stopped before",
        "Stopping is final. Create another one where it is still wanted.",
    ),
    "successor_in_use": ProblemType(
        409,
        "This API key has a successor that is in use",
        "Its secret is not replaced, since that would lock out whoever uses it. Rotate the successor instead, "
        "or end this key.",
    ),
    "not_rotating": ProblemType(
        409, "No rotation of this API key is under way", "It has no successor that it works beside, or it has ended."
    ),
    "csrf_failed": ProblemType(
        403,
        "The request did not prove that it came from our own page",
        "Send the session's X-CSRFToken header.",
    ),
    "forbidden": ProblemType(403, "You may not do that", "Ask an admin of the team."),
    "recent_sign_in_required": ProblemType(
        403, "A recent sign-in is needed", "Confirm your sign-in in the browser, then send the request again."
    ),
    "not_found": ProblemType(404, "There is no such thing here", "Check the id, and whose key you are using."),
    "method_not_allowed": ProblemType(
        405, "This address does not take that method", "The reference lists the methods of each address."
    ),
    "invalid_field": ProblemType(
        422, "A field is not valid", "The member `errors` names each field and what is wrong."
    ),
    "verification_unavailable": ProblemType(
        503,
        "The key could not be checked just now",
        "Nothing is known to be wrong with it. Try again shortly.",
    ),
    "unavailable": ProblemType(503, "The portal cannot answer just now", "Try again shortly."),
    "internal_error": ProblemType(
        500, "Something broke on our side", "Tell the operator the request id; the log has the rest."
    ),
}


@dataclass
class Problem(Exception):
    """A refusal on its way to the caller, as RFC 9457 problem details."""

    code: str
    detail: str = ""
    errors: list[dict[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)


class ProblemResponse(JsonResponse):
    """Problem details on their way out, with the code for whoever records the answer."""

    code: str


def problem_response(request: HttpRequest, problem: Problem) -> ProblemResponse:
    """Render a problem (RFC 9457), with the challenge that RFC 6750 §3 wants on a 401 and a scope's 403.

    `instance` names the occurrence by its request id and not by its path, since a path may hold a secret.
    """
    kind = PROBLEMS[problem.code]
    request_id = getattr(request, "request_id", "")
    body: dict[str, Any] = {
        "type": f"{settings.KEYPORTAL_URL}/v1/docs#{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail or kind.advice,
        "instance": f"urn:uuid:{request_id}",
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.errors:
        body["errors"] = problem.errors
    response = ProblemResponse(body, status=kind.status, content_type="application/problem+json")
    response.code = problem.code
    response["Cache-Control"] = "no-store"
    if kind.status == 401:
        error = "" if problem.code == "missing_credentials" else ', error="invalid_token"'
        response["WWW-Authenticate"] = CHALLENGE + error
    if kind.status == 503:
        response["Retry-After"] = "1"
    for name, value in problem.headers.items():
        response[name] = value
    return response


def is_api(request: HttpRequest) -> bool:
    """Say whether a request is for the JSON API."""
    return request.path_info.startswith(API_PREFIX) and request.path_info != API_DOCS_PATH


def is_machine(request: HttpRequest) -> bool:
    """Say whether a call stands on its own, with a key or with nothing, and belongs to no browser's session."""
    if not is_api(request):
        return request.path_info in PROBE_PATHS
    if request.path_info.startswith(SIGN_IN_PREFIX):
        return False
    if "HTTP_AUTHORIZATION" in request.META or "HTTP_COOKIE" not in request.META:
        return True
    return settings.SESSION_COOKIE_NAME not in request.COOKIES


def client_address(request: HttpRequest) -> str:
    """Return the address a request came from.

    That is the TCP peer, unless the peer is a trusted proxy: then the right-most address of
    X-Forwarded-For that is not itself a trusted proxy. A name that is no address ends the walk.
    """
    peer, forwarded = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    return _client_address(str(peer), str(forwarded), tuple(settings.TRUSTED_PROXIES))


@lru_cache(maxsize=1024)
def _client_address(peer: str, forwarded: str, proxies: tuple[str, ...]) -> str:
    parsed = _parsed(peer)
    address = str(parsed) if parsed else peer
    for candidate in reversed(forwarded.split(",")):
        parsed = _parsed(candidate.strip())
        if not _is_trusted(address, proxies) or parsed is None:
            break
        address = str(parsed)
    return address


def _is_trusted(address: str, proxies: Sequence[str]) -> bool:
    parsed = _parsed(address)
    if parsed is None:
        # A unix socket's peer has no address; nobody but our own proxy can be behind one.
        return address == "" and "unix" in proxies
    return any(parsed in ipaddress.ip_network(network) for network in proxies if network != "unix")


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, or None for what is none; one of IPv4 is such, also where a socket of IPv6 reports it."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed
