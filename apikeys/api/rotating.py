"""Rotation as JSON: for whoever looks after a key, and for CI that rotates its own."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from ninja import Field, Header, Router, Schema, Status
from pydantic import ConfigDict, model_validator

from accounts.recent import is_sign_in_recent
from apikeys import actions
from apikeys.actions.rotating import (
    DEADLINE,
    LEAST_DEADLINE,
    MAX_DEADLINE,
    MAX_SETTLE_SECONDS,
    SETTLE_SECONDS,
)
from apikeys.api.fields import revealed, visible_key
from apikeys.models import ApiKey
from apikeys.rotations import lineage, still_users
from apikeys.schemas import IssuedKey, KeyItem
from audit.api import Time
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["keys"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A name for this request, new for each rotation and the same when it is sent again because its "
        "answer was lost: then the same successor comes back with a "
        "secret made afresh; another one, if the old key was allowed less since.",
    ),
]


class SelfRotateRequest(Schema):
    """How long the calling key works on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    settle_seconds: int = Field(
        SETTLE_SECONDS,
        ge=0,
        le=MAX_SETTLE_SECONDS,
        strict=True,
        description="How long the old key works on once its successor was used.",
    )
    deadline_seconds: int = Field(
        int(DEADLINE.total_seconds()),
        ge=int(LEAST_DEADLINE.total_seconds()),
        le=int(MAX_DEADLINE.total_seconds()),
        strict=True,
        description="How long the old key works on at most, whether its successor was used or not.",
    )

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=self.deadline_seconds)


class RotateRequest(SelfRotateRequest):
    """Why a key is replaced, and how long it works on."""

    reason: Literal["routine", "leaked"] = Field(
        "routine", description="`routine`: the old key works on for a time. `leaked`: it ends now, for good."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        given = self.model_fields_set & {"settle_seconds", "deadline_seconds"}
        if self.reason == "leaked" and given:
            raise ValueError("A key that leaked ends now: send neither settle_seconds nor deadline_seconds.")
        return self


class RotatedKey(IssuedKey):
    """A successor, whole: this is the only time that `key` is shown."""

    predecessor_retires_at: datetime | None = Field(
        description="When the old key is refused, unless it is earlier because its successor was used."
    )

    @staticmethod
    def resolve_predecessor_retires_at(api_key: ApiKey) -> datetime | None:
        return api_key.predecessor.ends_at if api_key.predecessor else None


class ExtendRequest(Schema):
    """Until when the old key is to work on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    retires_at: Time = Field(
        description="ISO 8601 with its zone; at most 30 days after the rotation was begun, and not past its expiry."
    )


class StillUserItem(Schema):
    """A client that has used the old key since it was rotated."""

    address: str | None
    user_agent: str = Field(description="What the client calls itself. It may be any text: escape it.")
    method: str
    route: str = Field(description="The address without its ids.")
    last_seen_at: datetime
    uses: int = Field(description="How often it was let in.")
    refusals: int = Field(description="How often it was refused.")


class RotationItem(Schema):
    """The rotation of a key: until when it works, and who still uses it."""

    rotated_at: datetime
    retires_at: datetime | None
    settle_seconds: int | None
    settled_at: datetime | None = Field(description="When it was noted that the successor is in use.")
    reappeared_at: datetime | None = Field(description="When the key was used again after it had ended: an incident.")
    lineage: list[UUID] = Field(description="All generations of the key, oldest first.")
    users: list[StillUserItem] = Field(description="Who has used it since it was rotated, latest first.")
    has_all_users: bool = Field(description="Whether these are all, as far as uses are kept.")


@router.post(
    "/api-keys/{uuid:key_id}/rotate",
    response={200: RotatedKey} | answers(201, RotatedKey, 404, 409),
    operation_id="rotate_api_key",
    summary="Rotate an API key",
)
def rotate_api_key(
    request: ApiRequest,
    key_id: UUID,
    body: RotateRequest,
    response: HttpResponse,
    idempotency_key: IdempotencyKey = None,
) -> Status[ApiKey]:
    """Give a key its successor and return that whole, once. Needs `keys:write`; a person, a recent sign-in.

    201 with a new successor. 200 where the key had one that nobody has used: it is the same, with another secret, and
    the one before is worth nothing. 409 (`successor_in_use`) once it was used: then rotate the successor. After
    `leaked`, only a request with the same `Idempotency-Key` gets another secret.
    """
    request.principal.require("keys:write")
    if not request.principal.is_key and not is_sign_in_recent(request):
        raise Problem("recent_sign_in_required")
    return _rotated(request, visible_key(request, key_id), body, body.reason, response, idempotency_key)


@router.post(
    "/api-keys/self/rotate",
    response={200: RotatedKey} | answers(201, RotatedKey, 404, 409),
    operation_id="rotate_calling_key",
    summary="Rotate the calling API key",
)
def rotate_calling_key(
    request: ApiRequest, body: SelfRotateRequest, response: HttpResponse, idempotency_key: IdempotencyKey = None
) -> Status[ApiKey]:
    """Give the calling key its successor and return that whole, once. Needs `keys:rotate_self`.

    The calling key works on until its successor was used and the time to settle is over, or until the deadline. If the
    answer is lost, send the request again: as long as nobody has used the successor, it comes back with a secret made
    afresh (200). There is no `leaked` here: were that answer lost, nothing would work any more.
    """
    request.principal.require("keys:rotate_self")
    if request.principal.key_id is None:
        raise Problem("forbidden", "Only a key rotates itself. Name the key: /v1/api-keys/{key_id}/rotate.")
    api_key = ApiKey.objects.get(pk=request.principal.key_id)
    return _rotated(request, api_key, body, "routine", response, idempotency_key)


def _rotated(
    request: ApiRequest,
    api_key: ApiKey,
    body: SelfRotateRequest,
    reason: Literal["routine", "leaked"],
    response: HttpResponse,
    idempotency_key: str | None,
) -> Status[ApiKey]:
    rotated = actions.rotate_key(
        principal=request.principal,
        api_key=api_key,
        reason=reason,
        settle_seconds=body.settle_seconds,
        deadline=body.deadline,
        idempotency_key=idempotency_key,
        at=timezone.now(),
    )
    response["Cache-Control"] = "no-store"
    response["Location"] = f"/v1/api-keys/{rotated.successor.pk}"
    return Status(201 if rotated.is_new else 200, revealed(rotated.successor, rotated.key))


@router.get(
    "/api-keys/{uuid:key_id}/rotation",
    response=answers(200, RotationItem, 404, 409),
    operation_id="get_api_key_rotation",
    summary="Say who still uses a rotated API key",
)
def get_api_key_rotation(request: ApiRequest, key_id: UUID) -> dict[str, object]:
    """Return until when a key that has a successor works, and who has used it since. Needs `keys:read`."""
    request.principal.require("keys:read")
    old = visible_key(request, key_id)
    if old.rotated_at is None:
        raise actions.NotRotating
    users = still_users(old)
    return {
        "rotated_at": old.rotated_at,
        "retires_at": old.retires_at,
        "settle_seconds": old.settle_seconds,
        "settled_at": old.settled_at,
        "reappeared_at": old.reappeared_at,
        "lineage": [generation.pk for generation in lineage(old)],
        "users": users.users,
        "has_all_users": users.is_all,
    }


@router.post(
    "/api-keys/{uuid:key_id}/rotation/end",
    response=answers(200, KeyItem, 404, 409),
    operation_id="end_api_key_rotation",
    summary="Let a rotated API key retire now",
)
def end_api_key_rotation(request: ApiRequest, key_id: UUID) -> ApiKey:
    """Let a key that has a successor retire now, for good; the next request with it is refused. Needs `keys:write`."""
    request.principal.require("keys:write")
    actions.end_rotation(principal=request.principal, api_key=visible_key(request, key_id), at=timezone.now())
    return visible_key(request, key_id)


@router.post(
    "/api-keys/{uuid:key_id}/rotation/extend",
    response=answers(200, KeyItem, 404, 409),
    operation_id="extend_api_key_rotation",
    summary="Let a rotated API key work on for longer",
)
def extend_api_key_rotation(request: ApiRequest, key_id: UUID, body: ExtendRequest) -> ApiKey:
    """Move the moment at which a key that has a successor retires; using the successor does not bring it forward again.

    Needs `keys:write`. No key extends its own time.
    """
    request.principal.require("keys:write")
    actions.extend_rotation(
        principal=request.principal, api_key=visible_key(request, key_id), until=body.retires_at, at=timezone.now()
    )
    return visible_key(request, key_id)
