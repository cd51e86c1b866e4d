"""The one JSON API: its authentication, its problems and its OpenAPI document."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser
from ninja.security.http import HttpAuthBase
from ninja.utils import check_csrf

from accounts.api.projects import router as projects_router
from accounts.api.service_accounts import router as service_accounts_router
from accounts.api.tokens import router as tokens_router
from accounts.narrowing import META_NAME, narrowed
from accounts.password_hashing import HashingBusy
from accounts.principals import Principal
from apikeys.actions import Refused
from apikeys.api.catalogue import router as catalogue_router
from apikeys.api.handing import router as handing_router
from apikeys.api.key_format import router as key_format_router
from apikeys.api.keys import router as keys_router
from apikeys.api.policies import router as policies_router
from apikeys.api.rotating import router as rotating_router
from apikeys.api.whoami import router as whoami_router
from apikeys.hashing import HashingUnavailable
from audit.api import router as audit_router
from keyportal import errors
from keyportal.dispatch import is_open_to_pages, open_to_pages
from keyportal.http import ApiRequest, Problem, problem_response

VERSION = "0.1.0"
DESCRIPTION = (
    "Send an API key as `Authorization: Bearer <key>`. A call from a browser's session works too, with its CSRF "
    "token. Refusals are `application/problem+json` (RFC 9457) with a stable `code`."
)


# What a member may be called for an answer to repeat it: all of ours, and their misspellings, but no secret.
_REPEATABLE = re.compile(r"[A-Za-z_-]{1,40}|[0-9]{1,3}")
# A body may have as many wrong members as fit into it, and the answer must not be many times as long.
_MOST_ERRORS = 20


class StrictParser(Parser):
    """JSON as RFC 8259 and RFC 7493 have it, so that no two readers of a body can read it differently.

    Python's own also takes UTF-16, and of two members with one name the last. NaN is left to the fields, none of
    which takes it.
    """

    def parse_body(self, request: HttpRequest) -> Any:
        return json.loads(request.body.decode("utf-8"), object_pairs_hook=_members)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member occurs twice")
    return members


class PrincipalAuth(HttpAuthBase):
    """Take the principal that a middleware found, check a session's CSRF token, and apply `X-Project-Id`."""

    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Principal:
        principal: Principal | None = getattr(request, "principal", None)
        if principal is None:
            raise Problem("missing_credentials")
        # A browser sends a session's cookie by itself, and a token only if a page that knows it does.
        is_by_cookie = not principal.is_key and not getattr(request, "is_by_token", False)
        if is_by_cookie and check_csrf(request):
            raise Problem("csrf_failed")
        if principal.is_key and (project_id := request.META.get(META_NAME)) is not None:
            principal = narrowed(principal, project_id)
            request.principal = principal  # type: ignore[attr-defined] # ApiRequest declares it
        return principal


class PortalAPI(NinjaAPI):
    """NinjaAPI whose document says of a refusal what it is: problem+json."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Return the document, which is the same object each time: nobody may change it."""
        return self._document(self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)

    # To make it takes a good part of a second, anyone may ask for it, and it is only another if the code is.
    @lru_cache(maxsize=4)  # noqa: B019 - there is one API, which lives as long as the process
    def _document(self, path_prefix: str) -> OpenAPISchema:
        document = super().get_openapi_schema(path_prefix=path_prefix)
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, answer in operation["responses"].items():
                    if int(status) >= 400:
                        answer["content"] = {"application/problem+json": answer["content"]["application/json"]}
        return document


def plain(endpoint: Callable[[ApiRequest], HttpResponse]) -> Callable[[ApiRequest], HttpResponse]:
    """Serve an endpoint that takes nothing and answers by itself as a view of its own, as ninja would.

    What ninja does for endpoints that take more would be a fifth of what the whole call costs.
    """
    authenticate = PrincipalAuth()

    @require_GET
    def view(request: ApiRequest) -> HttpResponse:
        try:
            authenticate(request)
        except Problem as problem:
            return problem_response(request, problem)
        return endpoint(request)

    return open_to_pages(view) if is_open_to_pages(endpoint) else view


api = PortalAPI(
    title="keyportal",
    version=VERSION,
    description=DESCRIPTION,
    docs_url=None,
    openapi_url="/openapi.json",
    auth=PrincipalAuth(),
    parser=StrictParser(),
)
api.add_router("", whoami_router)
api.add_router("", key_format_router)
api.add_router("", keys_router)
api.add_router("", rotating_router)
api.add_router("", policies_router)
api.add_router("", catalogue_router)
api.add_router("", handing_router)
api.add_router("", projects_router)
api.add_router("", service_accounts_router)
api.add_router("", audit_router)
api.add_router("", tokens_router)


@api.exception_handler(Problem)
def on_problem(request: ApiRequest, problem: Problem) -> HttpResponse:
    return problem_response(request, problem)


@api.exception_handler(Refused)
def on_refused(request: ApiRequest, refused: Refused) -> HttpResponse:
    # A field that only the action could judge is named as any other that is wrong.
    names_field = refused.code in {"invalid_field", "widening_refused"}
    errors = [{"field": refused.field, "message": str(refused)}] if names_field else []
    return problem_response(request, Problem(refused.code, str(refused), errors))


@api.exception_handler(HashingUnavailable)
def on_hashing_unavailable(request: ApiRequest, error: HashingUnavailable) -> HttpResponse:
    return problem_response(request, Problem("unavailable"))


@api.exception_handler(HashingBusy)
def on_hashing_busy(request: ApiRequest, error: HashingBusy) -> HttpResponse:
    return errors.busy(request)


@api.exception_handler(Http404)
def on_not_found(request: ApiRequest, error: Http404) -> HttpResponse:
    return problem_response(request, Problem("not_found"))


@api.exception_handler(BadRequest)
@api.exception_handler(SuspiciousOperation)
def on_bad_request(request: ApiRequest, error: Exception) -> HttpResponse:
    """The body is too long, or not all of it came."""
    return errors.bad_request(request, error)


@api.exception_handler(HttpError)
def on_http_error(request: ApiRequest, error: HttpError) -> HttpResponse:
    """ninja raises it for a body that is no JSON."""
    detail = "The body is not well-formed JSON: UTF-8 without a byte order mark, and no member twice."
    return problem_response(request, Problem("invalid_request", detail))


@api.exception_handler(ValidationError)
def on_invalid_field(request: ApiRequest, error: ValidationError) -> HttpResponse:
    """Name each field and what is wrong with it, without repeating what was sent: it may hold a secret."""
    found = [{"field": _field(item["loc"]), "message": str(item["msg"])} for item in error.errors[:_MOST_ERRORS]]
    return problem_response(request, Problem("invalid_field", errors=found))


def _field(location: tuple[str | int, ...]) -> str:
    """Return `permissions.0` for ninja's `("body", "body", "permissions", 0)`: where the client put it."""
    known = {"body", "query", "path", "header"}
    names = [str(part) for index, part in enumerate(location) if not (index < 2 and part in known)]
    return ".".join(name if _REPEATABLE.fullmatch(name) else "…" for name in names) or "body"
