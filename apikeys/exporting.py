"""Keys as CSV and JSON, a few hundred at a time, so that any number of them needs the same memory."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from apikeys.models import ApiKey, ApiKeyQuerySet

CHUNK = 500
# A spreadsheet takes a cell that begins so for a formula, and runs it (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
Row = Mapping[str, object]


def csv_lines(keys: ApiKeyQuerySet, *, at: datetime) -> Iterator[str]:
    """Yield the file as RFC 4180 has it, formula-safe: such a cell begins with an apostrophe."""
    yield _line(_COLUMNS)
    for row in rows_of(keys, at=at):
        yield _line(_safe(_text(row[name])) for name in _COLUMNS)


def json_lines(keys: ApiKeyQuerySet, *, at: datetime) -> Iterator[str]:
    """Yield the file as one array, a key on each line."""
    opening = "["
    for row in rows_of(keys, at=at):
        yield f"{opening}\n{json.dumps(row, default=_text, ensure_ascii=False)}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def rows_of(keys: ApiKeyQuerySet, *, at: datetime) -> Iterator[Row]:
    """Yield what is told of each key, the newest first."""
    last = None
    while some := list(keys.with_places().newest_first().before(last)[:CHUNK]):
        yield from (_row(api_key, at) for api_key in some)
        last = some[-1].pk


def _row(api_key: ApiKey, at: datetime) -> Row:
    team = api_key.project.team if api_key.project else api_key.team
    return {
        "id": str(api_key.pk),
        "name": api_key.name,
        "label": api_key.label,
        "kind": api_key.kind,
        "scope": api_key.scope,
        "team": team.name if team else "",
        "project": api_key.project.name if api_key.project else "",
        "environment": api_key.environment,
        "permissions": api_key.permissions,
        "issuer": api_key.issuer.email,
        "service_account": api_key.service_account.name if api_key.service_account else "",
        "state": api_key.state_at(at),
        "created_at": api_key.created_at,
        "expires_at": api_key.expires_at,
        "retires_at": api_key.retires_at,
        "disabled_at": api_key.disabled_at,
        "revoked_at": api_key.revoked_at,
        "last_used_at": api_key.last_used_at,
        "last_used_ip": api_key.last_used_ip,
        "imported_from": api_key.imported_from,
    }


_COLUMNS = (
    "id",
    "name",
    "label",
    "kind",
    "scope",
    "team",
    "project",
    "environment",
    "permissions",
    "issuer",
    "service_account",
    "state",
    "created_at",
    "expires_at",
    "retires_at",
    "disabled_at",
    "revoked_at",
    "last_used_at",
    "last_used_ip",
    "imported_from",
)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterator[str] | tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
