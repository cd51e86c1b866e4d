"""Reading a presented key: its row and all that decides whether it is good now, in one statement built once.

The ORM describes the statement and how its values become Python's; only the describing is not done again for
each request, because it would cost more than all the rest of a verification.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections

from accounts.principals import Principal
from apikeys import hashing
from apikeys.models import PRESENTED, ApiKey
from apikeys.permissions import Role, effective
from audit.context import Actor

# Rows whose meaning is remembered, about 4 kB each.
MAX_REMEMBERED = 1024
# How long a server may take over the one read of a verification.
READ_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class PresentedKey:
    """A key as it is stored, and what its issuer may do now. It says nothing about the text that was presented."""

    id: UUID
    name: str
    label: str
    digest: str = field(repr=False)
    kind: str
    scope: str
    environment: str
    granted: tuple[str, ...]
    permissions: frozenset[str]
    organization_id: UUID
    team_id: UUID | None
    project_id: UUID | None
    issuer_id: UUID
    issuer_email: str
    role: Role | None
    created_at: datetime
    expires_at: datetime | None
    exposed_at: datetime | None
    is_revoked: bool = False
    is_disabled: bool = False
    is_issuer_gone: bool = False
    is_organization_suspended: bool = False

    @cached_property
    def principal(self) -> Principal:
        """Who a request with this key is."""
        return Principal(
            user_id=self.issuer_id,
            user_label=self.issuer_email,
            organization_id=self.organization_id,
            is_super_admin=self.role == Role.SUPER_ADMIN,
            team_roles={self.team_id: self.role} if self.team_id and self.role else {},
            key_id=self.id,
            key_label=self.label,
            scope=self.scope,
            environment=self.environment,
            team_id=self.team_id,
            project_id=self.project_id,
            permissions=self.permissions,
            expires_at=self.expires_at,
        )

    @cached_property
    def is_cheap(self) -> bool:
        """Whether its digest costs less than settings ask for."""
        return hashing.needs_rehash(self.digest)

    @cached_property
    def actor(self) -> Actor:
        """Who the audit log shall say it was."""
        return self.principal.as_actor()


class _Statement(NamedTuple):
    sql: str
    converters: Sequence[tuple[int, Sequence[Callable[..., Any]], Any]]


def read(prefix: str) -> PresentedKey | None:
    """Return the key that has a prefix, read now; None if there is none.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    # Not Django's `connection`, which looks for the thread's own at each name that is asked of it.
    own: Any = connections[DEFAULT_DB_ALIAS]
    # Tells Django that this connection needs no `SELECT 1` first: whoever reads tries once more instead.
    own.health_check_done = True
    sql = _statement(own.vendor).sql
    row: tuple[Any, ...] | None
    if own.vendor == "postgresql":
        with own.patience(READ_SECONDS):
            row = own.read_row(sql, [prefix])
    else:
        row = _read_sqlite(own, sql, prefix)
    return _understood(own.vendor, row) if row else None


def _read_sqlite(own: Any, sql: str, prefix: str) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None
    if own.queries_logged:
        with own.cursor() as cursor:
            row = cursor.execute(sql, [prefix]).fetchone()
        return row
    # Past Django's cursor, which writes the statement anew each time, with SQLite's own marks for parameters.
    own.ensure_connection()
    with own.wrap_database_errors:
        row = own.connection.execute(_with_question_marks(sql), [prefix]).fetchone()
    return row


@cache
def _with_question_marks(sql: str) -> str:
    return sql.replace("%s", "?")


@cache
def _statement(_vendor: str) -> _Statement:
    compiler = ApiKey.objects.presented("").query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    if list(parameters) != [""]:
        raise RuntimeError("The prefix must be the statement's one parameter.")
    converters = compiler.get_converters([column[0] for column in compiler.select or []])
    return _Statement(sql, [(place, found, expression) for place, (found, expression) in converters.items()])


@lru_cache(MAX_REMEMBERED)
def _understood(vendor: str, row: tuple[Any, ...]) -> PresentedKey:
    """Return what a row's values mean: always the same for the same values, so most of the time it is remembered."""
    values = list(row)
    for place, converters, expression in _statement(vendor).converters:
        for convert in converters:
            values[place] = convert(values[place], expression, connection)
    found = dict(zip(PRESENTED, values, strict=True))
    role = _role(found)
    return PresentedKey(
        id=found["id"],
        name=found["name"],
        label=found["label"],
        digest=found["digest"],
        kind=found["kind"],
        scope=found["scope"],
        environment=found["environment"],
        granted=tuple(found["permissions"]),
        permissions=effective(found["permissions"], role),
        organization_id=found["organization_id"],
        team_id=found["ruling_team_id"],
        project_id=found["project_id"],
        issuer_id=found["issuer_id"],
        issuer_email=found["issuer__email"],
        role=role,
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        exposed_at=found["exposed_at"],
        is_revoked=found["revoked_at"] is not None,
        is_disabled=found["disabled_at"] is not None,
        is_issuer_gone=_is_issuer_gone(found, role),
        is_organization_suspended=found["organization__suspended_at"] is not None,
    )


def _role(found: dict[str, Any]) -> Role | None:
    """Return the issuer's role where the key acts, now (T5)."""
    if found["organization_role"] == Role.SUPER_ADMIN:
        return Role.SUPER_ADMIN
    return Role(found["team_role"]) if found["organization_role"] and found["team_role"] else None


def _is_issuer_gone(found: dict[str, Any], role: Role | None) -> bool:
    """A member of the organization still stands behind an organization key, though it can do nothing any more."""
    if not found["issuer__is_active"] or found["organization_role"] is None:
        return True
    return found["scope"] != "org" and role is None
