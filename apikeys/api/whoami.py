"""Who the caller is."""

from functools import lru_cache

from django.http import HttpResponse
from ninja import Router

from apikeys import schemas
from apikeys.presented import MAX_REMEMBERED, PresentedKey
from apikeys.schemas import Whoami
from keyportal.dispatch import open_to_pages
from keyportal.http import ApiRequest
from keyportal.schemas import answers

router = Router(tags=["keys"])


@router.get("/whoami", response=answers(200, Whoami, 404), operation_id="whoami", summary="Say who the caller is")
@open_to_pages
def whoami(request: ApiRequest) -> HttpResponse:
    """Return which key this is, its scope, permissions, issuer and expiry. Any good key may ask, from pages too."""
    principal, api_key = request.principal, getattr(request, "api_key", None)
    is_narrowed = api_key is None or principal is not api_key.principal
    body = schemas.whoami(principal, api_key) if is_narrowed else _whoami(api_key)
    # Already what the schema says, so it is not validated once more.
    return HttpResponse(body, content_type="application/json; charset=utf-8")


@lru_cache(MAX_REMEMBERED)
def _whoami(api_key: PresentedKey) -> bytes:
    """Remember what is the same for as long as the key's row is."""
    return schemas.whoami(api_key.principal, api_key)
