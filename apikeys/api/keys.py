"""Keys as JSON. A key's secret is in one answer only, that of issuing it."""

from contextlib import suppress
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from accounts.recent import is_sign_in_recent
from apikeys import actions, finding
from apikeys.api.fields import (
    decode,
    encode,
    found,
    refuse_if_given,
    refuse_unknown,
    revealed,
    visible_key,
    wanted,
    wanted_text,
)
from apikeys.filters import KeyFilter
from apikeys.finding import Cursor, search_of
from apikeys.forms.filters import KeyFilterForm
from apikeys.models import ApiKey
from apikeys.rules import rules_of
from apikeys.schemas import (
    BulkRequest,
    BulkResult,
    IssuedKey,
    KeyChangeRequest,
    KeyItem,
    KeyPage,
    KeyRequest,
    KeysQuery,
    UsePage,
    UsesQuery,
)
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
    refuse_unknown(rules_of(request.principal.organization_id).catalogue, body.permissions)
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


@router.post(
    "/api-keys/{uuid:key_id}/disable",
    response=answers(200, KeyItem, 404, 409),
    operation_id="disable_api_key",
    summary="Disable an API key",
)
def disable_api_key(request: ApiRequest, key_id: UUID) -> ApiKey:
    """Let a key be refused with `key_disabled` until it is enabled. Needs `keys:write`."""
    request.principal.require("keys:write")
    api_key = visible_key(request, key_id)
    actions.disable_key(principal=request.principal, api_key=api_key, at=timezone.now())
    return visible_key(request, key_id)


@router.post(
    "/api-keys/{uuid:key_id}/enable",
    response=answers(200, KeyItem, 404, 409),
    operation_id="enable_api_key",
    summary="Enable an API key",
)
def enable_api_key(request: ApiRequest, key_id: UUID) -> ApiKey:
    """Let a disabled key work again. Doing it again changes nothing. Needs `keys:write`."""
    request.principal.require("keys:write")
    api_key = visible_key(request, key_id)
    actions.enable_key(principal=request.principal, api_key=api_key, at=timezone.now())
    return visible_key(request, key_id)


@router.post(
    "/api-keys/bulk",
    response=answers(200, BulkResult, 404, 409),
    operation_id="end_api_keys",
    summary="Disable or revoke API keys by a filter",
)
def end_api_keys(request: ApiRequest, body: BulkRequest) -> dict[str, object]:
    """Preview, and with `dry_run: false` and its digest end, all keys that pass a filter: all of them, or none.

    At most 10,000 at once, in one transaction. Where other keys pass by now than in the dry run, or in other states,
    nothing is done (`selection_changed`). Needs `keys:write`; from a browser's session, a recent sign-in.
    """
    request.principal.require("keys:write")
    if not request.principal.is_key and not is_sign_in_recent(request):
        raise Problem("recent_sign_in_required")
    at = timezone.now()
    asked = _bulk_filter(body)
    selection = actions.preview_bulk(principal=request.principal, asked=asked, at=at)
    changed = 0
    if not body.dry_run:
        changed = actions.end_keys(
            principal=request.principal,
            asked=asked,
            action=actions.BulkAction(body.action),
            expected=body.expected,
            reason=wanted_text("reason", body.reason),
            at=at,
        )
    return {"action": body.action, "dry_run": body.dry_run, "changed": changed} | {
        name: getattr(selection, name) for name in _TOLD
    }


_TOLD = ("count", "used_today", "of_service_accounts", "disabled", "not_allowed", "ended", "digest")


def _bulk_filter(body: BulkRequest) -> KeyFilter:
    form = KeyFilterForm({name: value for name, value in body.filter.model_dump().items() if value not in ("", None)})
    if not form.is_valid():
        errors = [item | {"field": f"filter.{item['field']}"} for item in _form_errors(form)]
        raise Problem("invalid_field", errors=errors)
    return form.filter


def _permissions(body: KeyRequest) -> list[str]:
    """Return what was asked for. The default, which T7's body wants, is not meant for a publishable key."""
    is_default = "permissions" not in body.model_fields_set
    return [] if body.kind == "publishable" and is_default else body.permissions


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
def list_api_keys(request: ApiRequest, query: Query[KeysQuery]) -> dict[str, object]:
    """Return the keys that the caller may manage, newest first, ended ones included. Needs `keys:read`."""
    request.principal.require("keys:read")
    form = KeyFilterForm(request.GET)
    if not form.is_valid():
        raise Problem("invalid_field", errors=_form_errors(form))
    policy = rules_of(request.principal.organization_id).policy
    search = search_of(request.principal, form.filter, at=timezone.now(), unused_after=policy.warn_unused_after)
    cursor = Cursor(before=decode(query.cursor) if query.cursor else None)
    page = finding.read_page(search, cursor, size=query.limit)
    return {"items": page.keys, "next_cursor": encode(page.keys[-1].pk) if page.has_older else None}


def _form_errors(form: KeyFilterForm) -> list[dict[str, str]]:
    """Return what is wrong with which parameter, without repeating what was sent: it may hold a secret."""
    return [{"field": name, "message": str(message)} for name, said in form.errors.items() for message in said]


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


@router.patch(
    "/api-keys/{uuid:key_id}",
    response=answers(200, KeyItem, 404, 409),
    operation_id="narrow_api_key",
    summary="Narrow an API key",
)
def narrow_api_key(request: ApiRequest, key_id: UUID, body: KeyChangeRequest) -> ApiKey:
    """Rename a key, or allow it less; what is left out stays. More is `widening_refused`. Needs `keys:write`."""
    request.principal.require("keys:write")
    api_key = visible_key(request, key_id)
    refuse_unknown(rules_of(api_key.organization_id).catalogue, body.permissions or [])
    actions.narrow_key(principal=request.principal, api_key=api_key, change=body.change(api_key), at=timezone.now())
    return visible_key(request, key_id)


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
