"""Handing a key to a service account, as JSON."""

from uuid import UUID

from django.utils import timezone
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from accounts.models import ServiceAccount
from apikeys import actions
from apikeys.api.fields import found, visible_key
from apikeys.models import ApiKey
from apikeys.schemas import KeyItem
from keyportal.http import ApiRequest
from keyportal.schemas import answers

router = Router(tags=["keys"])


class HandOverRequest(Schema):
    """For whom the key shall act. A member that is not listed here is refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    service_account_id: UUID = Field(description="An account of the key's team that can get keys.")


@router.post(
    "/api-keys/{uuid:key_id}/hand-over",
    response=answers(200, KeyItem, 404, 409),
    operation_id="hand_over_api_key",
    summary="Hand an API key to a service account",
)
def hand_over_api_key(request: ApiRequest, key_id: UUID, body: HandOverRequest) -> ApiKey:
    """Let a key act for a service account instead of for its issuer, from its next request on. Needs `keys:write`.

    The caller must be able to issue such a key now. A key that was granted `*` cannot be handed over.
    """
    request.principal.require("keys:write")
    api_key = visible_key(request, key_id)
    accounts = ServiceAccount.objects.visible_to(request.principal)
    account = found(accounts.filter(pk=body.service_account_id).first(), "service account")
    actions.hand_to_service_account(
        principal=request.principal, api_key=api_key, service_account=account, at=timezone.now()
    )
    return ApiKey.objects.with_places().with_roles().get(pk=key_id)
