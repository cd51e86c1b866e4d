"""What the endpoints have in common: rows that the caller sees, bad fields, and cursors."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from apikeys import shapes
from apikeys.keyformat import Key
from apikeys.models import ApiKey
from apikeys.permissions import Catalogue
from apikeys.policing import Terms
from apikeys.rules import Rules
from keyportal.http import ApiRequest, Problem
from keyportal.names import KEY_PASTED

T = TypeVar("T")


def visible_key(request: ApiRequest, key_id: UUID) -> ApiKey:
    keys = ApiKey.objects.visible_to(request.principal).with_places().with_roles()
    return found(keys.filter(pk=key_id).first(), "key")


def revealed(api_key: ApiKey, key: Key) -> ApiKey:
    """Return a key with all that its description needs, and with its text, for the one answer that shows it."""
    row = ApiKey.objects.with_places().with_roles().get(pk=api_key.pk)
    row.key = key.reveal()  # type: ignore[attr-defined] # `IssuedKey` reads it there
    return row


def found(row: T | None, noun: str) -> T:
    if row is None:
        raise Problem("not_found", f"There is no such {noun} in the scope of the caller.")
    return row


def wanted(field: str, value: UUID | None) -> UUID:
    if value is None:
        raise invalid(field, "This scope needs it.")
    return value


def wanted_text(field: str, text: str) -> str:
    if not text.strip():
        raise invalid(field, "This is needed.")
    if shapes.holds_key(text):
        raise invalid(field, KEY_PASTED)
    return text


def refuse_unknown(catalogue: Catalogue, names: list[str]) -> None:
    """Say which names are no permissions by their places, without repeating them: one may be a pasted secret."""
    message = "There is no such permission. The reference lists those there are."
    places = [place for place, name in enumerate(names) if catalogue.unknown([name])]
    if places:
        raise Problem("invalid_field", errors=[{"field": f"permissions.{n}", "message": message} for n in places])


def refuse_unknown_sets(rules: Rules, sets: Sequence[Sequence[str]]) -> None:
    """Say which sets have a name that is no permission, likewise by their places.

    What the policy names already it may go on naming, though the permission was removed since.
    """
    named = Terms.of(rules).named
    message = "There is no such permission. The list of permissions has those there are."
    places = [place for place, names in enumerate(sets) if not named.issuperset(rules.catalogue.unknown(names))]
    if places:
        raise Problem("invalid_field", errors=[{"field": f"never_together.{n}", "message": message} for n in places])


def refuse_if_given(field: str, value: UUID | None) -> None:
    if value is not None:
        raise invalid(field, "This scope does not take it.")


def invalid(field: str, message: str) -> Problem:
    return Problem("invalid_field", errors=[{"field": field, "message": message}])


def encode(key_id: UUID) -> str:
    return base64.urlsafe_b64encode(key_id.bytes).rstrip(b"=").decode()


def decode(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise invalid("cursor", "Send `next_cursor` of the page before as it is.") from error
