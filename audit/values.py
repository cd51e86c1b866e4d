"""From any value of a field to what JSON, and the text of both databases, can hold. Pure."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def as_json(value: object) -> Any:
    """Return a value as JSON holds it: times in UTC as ISO 8601, collections as lists, the rest as text."""
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {as_text(str(name)): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((as_json(item) for item in value), key=str)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return as_text(str(value))


def as_text(text: str) -> str:
    """Return a text that can be stored, whatever a client sent.

    PostgreSQL holds neither NUL nor half a surrogate pair, and a sign-in with such a name must not fail
    because it cannot be written down.
    """
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
