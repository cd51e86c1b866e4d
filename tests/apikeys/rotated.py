"""Rotations as tests make them."""

from typing import Any

from accounts.principals import Principal
from apikeys import hashing
from apikeys.actions import rotate_key
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit.context import audit_context
from tests.cast import NOON, Issued, Person


def rotate(by: Person | Principal, issued: Issued, **changes: Any) -> Issued:
    """Rotate a key as someone, and return its successor as another process meets it."""
    principal = by if isinstance(by, Principal) else by.principal
    wanted: dict[str, Any] = {"at": NOON} | changes
    with audit_context(actor=principal.as_actor(), at=wanted["at"]):
        successor, key, _ = rotate_key(principal=principal, api_key=issued.row, **wanted)
    hashing.forget_all()
    return Issued(successor, key)


def outcome(issued: Issued, at: Any = NOON, source: str = "") -> Outcome:
    return verify(issued.text, at=at, source=source).outcome


def fresh(issued: Issued) -> ApiKey:
    return ApiKey.objects.get(pk=issued.row.pk)
