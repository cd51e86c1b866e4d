"""What the audit log is told about keys."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import structlog
from django.db import Error, transaction
from django.http.response import HttpResponseBase
from django.utils import timezone

from apikeys import actions, shapes
from apikeys.models import ApiKey, Policy
from audit.signals import uses_written
from audit.tracking import Change, Place, track
from audit.uses import LastUse, Use, ask_owners_of, is_everyones, plain_address, plain_text
from keyportal.dispatch import route_of
from keyportal.http import ApiRequest

log = structlog.get_logger("apikeys")
USER_AGENT_LENGTH = 200
# The outcome of a record that was written before its call was carried out, and stays where that never ended.
BEGUN = "begun"


def start() -> None:
    """Watch the keys, and what is written of their uses.

    Uses (`last_used_*`) and digests upgraded on use are no changes to a key.
    """
    track(
        ApiKey,
        table="api_keys",
        noun="api_key",
        label=lambda api_key: api_key.label,
        place=_place,
        fields=[
            "name",
            "label",
            "kind",
            "scope",
            "environment",
            "permissions",
            "organization",
            "team",
            "project",
            "issuer",
            "service_account",
            "imported_from",
            "allowed_origins",
            "networks",
            "per_second",
            "per_minute",
            "per_day",
            "expires_at",
            "revoked_at",
            "revoked_by",
            "revoke_reason",
            "disabled_at",
            "exposed_at",
            "in_browser_at",
            "predecessor",
            "rotated_at",
            "retires_at",
            "settle_seconds",
            "settled_at",
            "reappeared_at",
        ],
        event=_event,
        creation=lambda api_key: "api_key.imported" if api_key.imported_from else None,
        sentences={
            "api_key.imported": "A key was brought along from another system; it works as it did there.",
            "api_key.revoked": "A key was ended for good; it has been refused since.",
            "api_key.disabled": "A key was disabled; it is refused while it is.",
            "api_key.enabled": "A key that was disabled works again.",
            "api_key.exposed": "A key was seen where keys must not be, such as in a URL.",
            "api_key.seen_in_browser": "A secret key came from a browser, where its secret is everyone's.",
            "api_key.handed_over": "A key acts for a service account from now on, and no longer for its issuer.",
            "api_key.bulk_disabled": "All keys of a filter were disabled at once; each has an event of its own too.",
            "api_key.bulk_revoked": "All keys of a filter were revoked at once; each has an event of its own too.",
            "api_key.exported": "A list of keys was handed out as a file; its changes tell what was asked for.",
            "api_key.rotated": "A key got a successor; it works until it retires.",
            "api_key.secret_replaced": "The secret of a successor that nobody had used was replaced by another.",
            "api_key.grandfathered": "A key does not meet a policy that is new; it works until the date for such keys.",
            "api_key.settled": "The successor of a key was used, so the key retires soon after.",
            "api_key.retirement_moved": "The moment at which a rotated key retires was moved.",
            "api_key.retired_key_used": "A key was used again after it had retired; it was refused.",
        },
    )
    track(
        Policy,
        table="policies",
        noun="policy",
        label=lambda policy: policy.organization.name,
        place=lambda policy: Place(policy.organization_id),
        fields=[
            "organization",
            "max_lifetime",
            "is_expiry_required",
            "team_issuers",
            "project_issuers",
            "never_together",
            "warn_unused_after",
            "disable_unused_after",
            "disable_unused_from",
            "rotate_after",
        ],
    )
    uses_written.connect(note_last_uses, dispatch_uid="apikeys.note_last_uses")
    ask_owners_of(ApiKey.objects.ids_of)


def note_last_uses(newest: Mapping[UUID, LastUse], **_: Any) -> None:
    """Move the time of last use of the keys of a batch forward, in the batch's own transaction.

    What follows for rotations is written after it, in transactions of their own: a batch waits for nobody.
    """
    ApiKey.objects.mark_used(newest)
    transaction.on_commit(partial(_settle, list(newest)), robust=True)


def _settle(key_ids: list[UUID]) -> None:
    """Let what the keys of a batch replace retire soon. What fails is tried again after their next use."""
    try:
        actions.settle_rotations(key_ids, at=timezone.now())
    except Error as error:
        log.error("rotation.not_settled", reason=type(error).__name__)  # noqa: TRY400 - the name says it all


def use_of(request: ApiRequest, at: datetime, response: HttpResponseBase | None, *, outcome: str = "") -> Use:
    """Return the record of a call, whose status is 0 as long as it has no answer."""
    api_key = getattr(request, "api_key", None)
    if api_key and api_key.is_publishable:
        is_everyones(api_key.id)
    is_refused = not hasattr(request, "principal")
    return Use(
        id=request.request_uuid,
        at=at,
        outcome=outcome or getattr(response, "code", "accepted"),
        is_refused=is_refused,
        status=response.status_code if response else 0,
        prefix=request.log_fields.get("prefix", ""),
        key_id=api_key.id if api_key else None,
        label=api_key.label if api_key else "",
        organization_id=api_key.organization_id if api_key else None,
        method=plain_text(request.method or "", 16),
        route=route_of(request),
        address=plain_address(request.client_address),
        user_agent=_user_agent(str(request.META.get("HTTP_USER_AGENT", ""))),
    )


@lru_cache(maxsize=1024)
def _user_agent(text: str) -> str:
    """Return what a client calls itself; a key that was put there by mistake is cut down to its label."""
    return plain_text(shapes.mask(text[:1000]), USER_AGENT_LENGTH)


def _place(api_key: ApiKey) -> Place:
    return Place(api_key.organization_id, api_key.place_team_id, api_key.project_id)


# The first of these fields that changed names the event.
_NAMED = {
    "revoked_at": "api_key.revoked",
    "service_account_id": "api_key.handed_over",
    "exposed_at": "api_key.exposed",
    "in_browser_at": "api_key.seen_in_browser",
    "reappeared_at": "api_key.retired_key_used",
    "label": "api_key.secret_replaced",
    "rotated_at": "api_key.rotated",
    "settled_at": "api_key.settled",
    "retires_at": "api_key.retirement_moved",
}


def _event(changes: Mapping[str, Change]) -> str | None:
    disabled = changes.get("disabled_at")
    if disabled and "revoked_at" not in changes:
        return "api_key.disabled" if disabled.after else "api_key.enabled"
    return next((event for field, event in _NAMED.items() if field in changes), None)
