"""*Ceiling*: a bare Django view that makes keyportal's one query in its cheapest form, and returns the same JSON.

The statement is keyportal's own, handed over in BENCH_STATEMENT by `bench.seed`. There are no model instances, no
probe, no check of the key, no log and no record: all that keyportal does beyond this is what it costs. On PostgreSQL
it is a prepared statement on Django's connection; BENCH_CURSOR=1 sends it by Django's own cursor instead.
"""

import json
import os
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bench.database import databases

DATABASES = databases()
if "postgresql" in DATABASES["default"]["ENGINE"]:
    # Without it psycopg prepares nothing, even where it is asked to.
    DATABASES["default"]["OPTIONS"] = {"prepare_threshold": 0}
settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(50),
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES=DATABASES,
    USE_TZ=True,
    TIME_ZONE="UTC",
)
django.setup(set_prefix=False)

SQL, NAMES = json.loads(Path(os.environ["BENCH_STATEMENT"]).read_text(encoding="utf-8"))
Row = tuple[Any, ...]


def _by_cursor(prefix: str) -> Row:
    with connection.cursor() as cursor:
        cursor.execute(SQL, [prefix])
        row: Row = cursor.fetchone()
    return row


def _by_prepared_statement(prefix: str) -> Row:
    from psycopg import Cursor

    connection.ensure_connection()
    with Cursor(connection.connection) as cursor:
        row: Row | None = cursor.execute(SQL, [prefix], prepare=True).fetchone()
    assert row
    return row


def _by_sqlite(prefix: str) -> Row:
    connection.ensure_connection()
    row: Row = connection.connection.execute(SQL.replace("%s", "?"), [prefix]).fetchone()
    return row


@cache
def _reading() -> Callable[[str], Row]:
    if connection.vendor == "sqlite":
        return _by_sqlite
    return _by_cursor if os.environ.get("BENCH_CURSOR") else _by_prepared_statement


def _id(value: UUID | str | None) -> str | None:
    # SQLite keeps it as 32 hexadecimal digits.
    return None if value is None else str(value if isinstance(value, UUID) else UUID(value))


def _time(value: datetime | str | None) -> str | None:
    if value is None:
        return None
    return (value if isinstance(value, str) else value.isoformat()).replace(" ", "T").removesuffix("+00:00") + "Z"


def whoami(request: HttpRequest) -> HttpResponse:
    prefix = request.META["HTTP_AUTHORIZATION"].rsplit("_", 2)[1]
    row = dict(zip(NAMES, _reading()(prefix), strict=True))
    granted = row["permissions"] if isinstance(row["permissions"], list) else json.loads(row["permissions"])
    return HttpResponse(
        json.dumps(
            {
                "kind": "api_key",
                "organization_id": _id(row["organization_id"]),
                "team_id": _id(row["ruling_team_id"]),
                "project_id": _id(row["project_id"]),
                "issuer": {"id": _id(row["issuer_id"]), "email": row["issuer__email"]},
                "role": row["organization_role"],
                "key": {
                    "id": _id(row["id"]),
                    "name": row["name"],
                    "label": row["label"],
                    "kind": row["kind"],
                    "scope": row["scope"],
                    "environment": row["environment"],
                    "granted": granted,
                    "permissions": granted,
                    "created_at": _time(row["created_at"]),
                    "expires_at": _time(row["expires_at"]),
                },
            }
        ).encode(),
        content_type="application/json",
    )


urlpatterns = [path("v1/whoami", whoami)]
application = WSGIHandler()
