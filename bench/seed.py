"""The data that is measured on, made inside a prepared keyportal: `python -m bench.seed OUT --keys 500 --rows 1000000`.

It writes OUT, a JSON file for the harness: the keys, a revoked key, and the statement that verification runs.
"""

import argparse
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")
django.setup(set_prefix=False)

from django.db import connection  # noqa: E402 - what follows needs the apps to be loaded

from accounts import actions as people  # noqa: E402 - as above
from accounts.models import Organization, OrganizationMembership, Project, Role  # noqa: E402 - as above
from accounts.principals import Principal, principal_of  # noqa: E402 - as above
from apikeys import actions, hashing, keyformat, shapes  # noqa: E402 - as above
from apikeys.models import PRESENTED, ApiKey  # noqa: E402 - as above
from audit.context import audit_context  # noqa: E402 - as above

GRANTED = ["keys:read", "projects:read"]
# As many as PostgreSQL inserts in one statement without a long silence.
BATCH = 100_000


def main() -> None:
    """Make an organization with its people, a project and its keys; write what the harness needs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--rows", type=int, default=0, help="rows of keys that nobody uses, PostgreSQL only")
    options = parser.parse_args()
    # Whole seconds are written as JSON in one way only, by keyportal and by the ceiling.
    at = datetime.now(UTC).replace(microsecond=0)
    principal, project = _place(at)
    with audit_context(actor=principal.as_actor(), at=at):
        row, key = _issue(principal, project, at)
        revoked_row, revoked = _issue(principal, project, at)
        actions.revoke_key(principal=principal, api_key=revoked_row, at=at)
    keys = [key.reveal(), *_more(row, options.keys - 1)]
    _fill(row, options.rows)
    sql, names = _statement()
    made = {
        "keys": keys,
        "revoked": revoked.reveal(),
        "plan": _plan(sql, key.prefix),
        "unique_indexes": _unique_indexes(),
    }
    options.out.write_text(json.dumps(made), encoding="utf-8")
    options.out.with_suffix(".statement").write_text(json.dumps([sql, names]), encoding="utf-8")


def _place(at: datetime) -> tuple[Principal, Project]:
    organization: Organization = people.create_organization(name="Northwind", at=at)
    user = people.create_user(email="alice@example.com", password=None, name="Alice", at=at)
    people.add_to_organization(organization=organization, user=user, role=Role.SUPER_ADMIN, at=at)
    principal = principal_of(OrganizationMembership.objects.get(user=user))
    team = people.create_team(principal=principal, name="Payments", at=at)
    return principal, people.create_project(principal=principal, team=team, name="Checkout", at=at)


def _issue(principal: Principal, project: Project, at: datetime) -> tuple[ApiKey, keyformat.Key]:
    return actions.issue_key(
        principal=principal,
        name="checkout-service",
        place=project,
        environment="live",
        permissions=GRANTED,
        expires_at=None,
        at=at,
    )


def _more(row: ApiKey, count: int) -> list[str]:
    """Copy an issued key's row under new keys, each with a digest of its own."""
    keys = [keyformat.mint(shapes.current(), kind_label="sk", environment="live") for _ in range(count)]
    fields = [field.attname for field in ApiKey._meta.concrete_fields]
    values = {name: getattr(row, name) for name in fields if name not in {"id", "prefix", "label", "digest"}}
    ApiKey.objects.bulk_create(
        [ApiKey(prefix=key.prefix, label=key.label, digest=hashing.make_digest(key.reveal()), **values) for key in keys]
    )
    return [key.reveal() for key in keys]


def _fill(row: ApiKey, count: int) -> None:
    """Copy a row many times over in the database itself; prefixes are spread as real ones are."""
    if not count:
        return
    prefix = "substr(translate(encode(sha256(n::text::bytea), 'base64'), '+/', 'xy'), 1, 8)"
    new = {"id": "gen_random_uuid()", "prefix": prefix, "label": f"'kp_sk_live_' || {prefix}"}
    names = [field.column for field in ApiKey._meta.concrete_fields if field.column]
    columns, values = ", ".join(f'"{name}"' for name in names), ", ".join(new.get(n, f'"{n}"') for n in names)
    table = connection.ops.quote_name(ApiKey._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for first in range(0, count, BATCH):
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, generate_series(%s, %s) AS n "
                "WHERE id = %s ON CONFLICT DO NOTHING",
                [first + 1, min(first + BATCH, count), row.pk],
            )
        # As autovacuum would, but now, and not in the middle of a measurement.
        cursor.execute(f"VACUUM ANALYZE {table}")


def _statement() -> tuple[str, Sequence[str]]:
    """Return what verification runs, as the ORM describes it, and the names of what it returns."""
    sql, parameters = ApiKey.objects.presented("").query.sql_with_params()
    if parameters != ("",):
        raise SystemExit("The prefix is no longer the one parameter of the statement.")
    return sql, PRESENTED


def _plan(sql: str, prefix: str) -> list[str]:
    """Return the database's own plan for the statement."""
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN (COSTS OFF) "
    with connection.cursor() as cursor:
        cursor.execute(explain + sql, [prefix])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return [str(row[-1]) for row in rows]


def _unique_indexes() -> list[str]:
    """Return the names of the unique indexes over the prefix alone."""
    table = ApiKey._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                'SELECT il.name FROM pragma_index_list(%s) AS il WHERE il."unique" AND '
                "(SELECT group_concat(name) FROM pragma_index_info(il.name)) = 'prefix'",
                [table],
            )
            return [name for (name,) in cursor.fetchall()]
        constraints = connection.introspection.get_constraints(cursor, table)
    return [name for name, found in constraints.items() if found["unique"] and found["columns"] == ["prefix"]]


if __name__ == "__main__":
    main()
