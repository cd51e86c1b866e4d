"""Keys as JSON. A key's secret is in one answer only, that of issuing it."""

from contextlib import suppress
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from accounts.recent import is_sign_in_recent
from apikeys import actions
from apikeys.api.fields import decode, encode, found, refuse_if_given, refuse_unknown, revealed, visible_key, wanted
from apikeys.models import ApiKey
from apikeys.rules import rules_of
from apikeys.schemas import IssuedKey, KeyItem, KeyPage, KeyRequest, PageQuery, UsePage, UsesQuery
from apikeys.use_rows import read_page, uses_of
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["keys"])


@router.post(
    "/api-keys",
    response=answers(201, IssuedKey, 404),
    operation_id="issue_api_key",
    summary="Issue an API key",
)
def issue_api_key(request: ApiRequest, body: KeyRequest, response: HttpResponse) -> Status[ApiKey]:
    """Issue a key and return it whole, once. Needs `keys:write`; from a browser's session, a recent sign-in.

    A key hands on nothing that it does not hold, and issues none that outlives it or is of another environment.
    """
    request.principal.require("keys:write")
    if not request.principal.is_key and not is_sign_in_recent(request):
        raise Problem("recent_sign_in_required")
    at = timezone.now()
    refuse_unknown(rules_of(request.principal.organization_id).catalogue, body.permissions or [])
    api_key, key = actions.issue_key(
        principal=request.principal,
        name=body.name,
        place=_place(request.principal, body),
        kind=body.kind,
        environment=body.environment,
        permissions=_permissions(body),
        service_account=_service_account(request.principal, body.service_account_id),
        allowed_origins=body.allowed_origins,
        networks=body.networks,
        limits=body.limits(),
        expires_at=body.ends_at(at),
        at=at,
    )
    response["Cache-Control"] = "no-store"
    response["Location"] = f"/v1/api-keys/{api_key.pk}"
    return Status(201, revealed(api_key, key))


def _permissions(body: KeyRequest) -> list[str]:
    """Return what was asked for; where nothing was, a secret key gets to see its projects, as T7's body wants."""
    return body.permissions if body.permissions is not None else [] if body.kind == "publishable" else ["projects:read"]


def _service_account(principal: Principal, account_id: UUID | None) -> ServiceAccount | None:
    if account_id is None:
        return None
    return found(ServiceAccount.objects.visible_to(principal).filter(pk=account_id).first(), "service account")


def _place(principal: Principal, body: KeyRequest) -> Organization | Team | Project:
    """Return what the key shall be for; what the caller cannot see does not exist."""
    if body.scope == "org":
        refuse_if_given("team_id", body.team_id)
        refuse_if_given("project_id", body.project_id)
        return Organization.objects.get(pk=principal.organization_id)
    if body.scope == "team":
        refuse_if_given("project_id", body.project_id)
        team_id = wanted("team_id", body.team_id or principal.team_id)
        team = Team.objects.visible_to(principal).filter(pk=team_id).first()
        return found(team, "team")
    refuse_if_given("team_id", body.team_id)
    project_id = wanted("project_id", body.project_id or principal.project_id)
    project = Project.objects.visible_to(principal).select_related("team").filter(pk=project_id).first()
    return found(project, "project")


@router.get("/api-keys", response=answers(200, KeyPage, 404), operation_id="list_api_keys", summary="List API keys")
def list_api_keys(
    request: ApiRequest,
    query: Query[PageQuery],
) -> dict[str, object]:
    """Return the keys that the caller may manage, newest first, ended ones included. Needs `keys:read`."""
    request.principal.require("keys:read")
    visible = ApiKey.objects.visible_to(request.principal).with_places().with_roles().newest_first()
    keys = list(visible.before(decode(query.cursor) if query.cursor else None)[: query.limit + 1])
    has_more = len(keys) > query.limit
    return {"items": keys[: query.limit], "next_cursor": encode(keys[query.limit - 1].pk) if has_more else None}


@router.get(
    "/api-keys/{uuid:key_id}",
    response=answers(200, KeyItem, 404),
    operation_id="get_api_key",
    summary="Get an API key",
)
def get_api_key(request: ApiRequest, key_id: UUID) -> ApiKey:
    """Return one key that the caller may manage; any other is 404. Needs `keys:read`."""
    request.principal.require("keys:read")
    return visible_key(request, key_id)


@router.get(
    "/api-keys/{uuid:key_id}/uses",
    response=answers(200, UsePage, 404),
    operation_id="list_api_key_uses",
    summary="List the uses of an API key",
)
def list_api_key_uses(request: ApiRequest, key_id: UUID, query: Query[UsesQuery]) -> dict[str, object]:
    """Return who used a key, or tried to, newest first, a second after it was. Needs `keys:read`.

    Refusals of its prefix with another secret are among them.
    """
    request.principal.require("keys:read")
    is_refused = query.outcome == "refused" if query.outcome else None
    rows = uses_of(visible_key(request, key_id)).matching(since=query.since, until=query.until, is_refused=is_refused)
    page = read_page(rows, before=decode(query.cursor) if query.cursor else None, size=query.limit)
    return {"items": page.uses, "next_cursor": encode(page.next_before) if page.next_before else None}


@router.delete(
    "/api-keys/{uuid:key_id}",
    response=answers(204, None, 404),
    operation_id="revoke_api_key",
    summary="Revoke an API key",
)
def revoke_api_key(request: ApiRequest, key_id: UUID) -> Status[None]:
    """End a key for good; the next request with it is refused. Doing it again changes nothing. Needs `keys:write`."""
    request.principal.require("keys:write")
    api_key = visible_key(request, key_id)
    with suppress(actions.KeyAlreadyRevoked):
        # The caller wants it ended, and it has ended.
        actions.revoke_key(principal=request.principal, api_key=api_key, at=timezone.now())
    return Status(204, None)
