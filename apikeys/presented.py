"""Reading a presented key: its row and all that decides whether it is good now, in one statement built once.

The ORM describes the statement and how its values become Python's; only the describing is not done again for
each request, because it would cost more than all the rest of a verification.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import FloatField, Func

from accounts.principals import Principal
from apikeys import hashing
from apikeys import limits as limiting
from apikeys.limits import Limits
from apikeys.models import PRESENTED, ApiKey
from apikeys.networks import NetworkPolicy, is_inside
from apikeys.permissions import AUDITOR, Catalogue, Role, role_now
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
    retires_at: datetime | None = None
    reappeared_at: datetime | None = None
    in_browser_at: datetime | None = None
    service_account_id: UUID | None = None
    service_account_name: str = ""
    allowed_origins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    network_policy: NetworkPolicy | None = None
    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None
    is_revoked: bool = False
    is_disabled: bool = False
    is_issuer_gone: bool = False
    is_service_account_stopped: bool = False
    is_organization_suspended: bool = False
    is_environment_accepted: bool = True
    is_project_archived: bool = False
    is_team_archived: bool = False
    is_unused_successor: bool = False

    @cached_property
    def ends_at(self) -> datetime | None:
        """When it ends by the clock: it expires, or retires after a rotation."""
        return min(filter(None, (self.expires_at, self.retires_at)), default=None)

    @cached_property
    def limits(self) -> Limits | None:
        """How many requests it may make; None if there are no limits, which costs no more than this to know."""
        return limiting.of_row(self.per_second, self.per_minute, self.per_day)

    @cached_property
    def is_bound_to_networks(self) -> bool:
        return bool(self.networks) or self.network_policy is not None

    @cached_property
    def is_publishable(self) -> bool:
        return self.kind == ApiKey.Kind.PUBLISHABLE

    def may_come_from(self, address: str, at: datetime) -> bool:
        """Say whether its own networks and its organization's let it come from an address."""
        if self.networks and not is_inside(address, self.networks):
            return False
        policy = self.network_policy
        return policy is None or policy.allows(address, created_at=self.created_at, at=at)

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
            service_account_id=self.service_account_id,
            service_account_name=self.service_account_name,
            networks=self.networks,
            limits=self.limits,
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


def read(prefix: str, *, at: datetime) -> tuple[PresentedKey, datetime] | None:
    """Return the key that has a prefix, read now, and what time it is for it; None if there is none.

    Expiry goes by the clock of the database's host, so that it is one for all hosts. SQLite has that of this host,
    which is `at`.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    # Not Django's `connection`, which looks for the thread's own at each name that is asked of it.
    own: Any = connections[DEFAULT_DB_ALIAS]
    # Tells Django that this connection needs no `SELECT 1` first: whoever reads tries once more instead.
    own.health_check_done = True
    sql = _statement(own.vendor).sql
    row: tuple[Any, ...] | None
    if own.vendor != "postgresql":
        row = _read_sqlite(own, sql, prefix)
        return (_understood(own.vendor, row), at) if row else None
    with own.patience(READ_SECONDS):
        row = own.read_row(sql, [prefix])
    return (_understood(own.vendor, row[:-1]), server_time(row[-1], at)) if row else None


def server_time(epoch: float, _at: datetime) -> datetime:
    """Return the time that the database's host has. Tests, whose time stands still, put their own in its place."""
    return datetime.fromtimestamp(epoch, UTC)


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


class _ServerEpoch(Func):
    """The time of the database's host, in seconds since 1970: cheaper to read than a date."""

    template = "extract(epoch from statement_timestamp())::float8"
    arity = 0
    output_field = FloatField()


@cache
def _statement(_vendor: str) -> _Statement:
    rows = ApiKey.objects.presented("")
    if connection.vendor == "postgresql":
        # Last, so that it can be cut off from what stays the same as long as nobody writes to the row.
        rows = rows.values(*PRESENTED, server_epoch=_ServerEpoch())
    compiler = rows.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    if list(parameters) != [""]:
        raise RuntimeError("The prefix must be the statement's one parameter.")
    converters = compiler.get_converters([column[0] for column in compiler.select or []])
    # What comes after the row's own values is no part of it.
    own = [(place, *how) for place, how in converters.items() if place < len(PRESENTED)]
    return _Statement(sql, own)


@lru_cache(MAX_REMEMBERED)
def _understood(vendor: str, row: tuple[Any, ...]) -> PresentedKey:
    """Return what a row's values mean: always the same for the same values, so most of the time it is remembered."""
    values = list(row)
    for place, converters, expression in _statement(vendor).converters:
        for convert in converters:
            values[place] = convert(values[place], expression, connection)
    found = dict(zip(PRESENTED, values, strict=True))
    role = role_now(
        account=found["service_account__role"], organization=found["organization_role"], team=found["team_role"]
    )
    kind = found["kind"]
    catalogue = Catalogue.of(found["organization__permission_catalogue"])
    return PresentedKey(
        id=found["id"],
        name=found["name"],
        label=found["label"],
        digest=found["digest"],
        kind=kind,
        scope=found["scope"],
        environment=found["environment"],
        granted=tuple(found["permissions"]),
        permissions=catalogue.effective(found["permissions"], role, is_publishable=kind == ApiKey.Kind.PUBLISHABLE),
        organization_id=found["organization_id"],
        team_id=found["ruling_team_id"],
        project_id=found["project_id"],
        issuer_id=found["issuer_id"],
        issuer_email=found["issuer__email"],
        role=role,
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        exposed_at=found["exposed_at"],
        retires_at=found["retires_at"],
        reappeared_at=found["reappeared_at"],
        in_browser_at=found["in_browser_at"],
        service_account_id=found["service_account_id"],
        service_account_name=found["service_account__name"] or "",
        allowed_origins=tuple(found["allowed_origins"]),
        networks=tuple(found["networks"]),
        network_policy=NetworkPolicy.of(found["organization__network_policy"]),
        per_second=found["per_second"],
        per_minute=found["per_minute"],
        per_day=found["per_day"],
        is_revoked=found["revoked_at"] is not None,
        is_disabled=found["disabled_at"] is not None,
        is_issuer_gone=_is_issuer_gone(found, role),
        is_service_account_stopped=found["service_account__stopped_at"] is not None,
        is_organization_suspended=found["organization__suspended_at"] is not None,
        is_environment_accepted=found["project__environments"] in {None, "any", found["environment"]},
        is_project_archived=found["project__archived_at"] is not None,
        is_team_archived=found["team__archived_at"] is not None,
        is_unused_successor=bool(found["is_unused_successor"]),
    )


def _is_issuer_gone(found: dict[str, Any], role: Role | None) -> bool:
    """A member of the organization still stands behind an organization key, though it can do nothing any more.

    A key of a service account needs its issuer no longer.
    """
    if found["service_account_id"]:
        return False
    if not found["issuer__is_active"] or found["organization_role"] in {None, AUDITOR}:
        return True
    return found["scope"] != "org" and role is None
