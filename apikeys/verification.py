"""From a presented text to a verdict: steps 2 and 4 to 7 of the table in the architecture.

The row is read on every request, so a revocation, a demotion and an expiry hold on the very next one; the
verified-digest cache only ever says that a text matches a digest.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from django.db import Error, InterfaceError, OperationalError, connection

from accounts.principals import Principal
from apikeys import hashing, keyformat, shapes
from apikeys.models import ApiKey
from apikeys.permissions import Role, effective

log = structlog.get_logger("apikeys.verification")


class Outcome(StrEnum):
    """How a verification ended; every value but `accepted` is the code of a problem."""

    ACCEPTED = "accepted"
    INVALID_KEY = "invalid_key"
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    KEY_DISABLED = "key_disabled"
    ISSUER_GONE = "issuer_gone"
    ORGANIZATION_SUSPENDED = "organization_suspended"
    UNAVAILABLE = "verification_unavailable"


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """The row of a key whose secret was right, whatever its state, and what its issuer may do now."""

    id: UUID
    name: str
    label: str
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
    last_used_at: datetime | None

    def principal(self) -> Principal:
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


@dataclass(frozen=True, slots=True)
class Verification:
    """A verdict. `key` is there once the secret was right; `prefix` once the text had the form of a key."""

    outcome: Outcome
    prefix: str = ""
    key: VerifiedKey | None = None


def verify(text: str, *, at: datetime) -> Verification:
    """Return what a presented text is worth at a moment. A refusal is a value; nothing here raises for bad input."""
    try:
        prefix = keyformat.parse(text, shapes.accepted()).prefix
    except keyformat.MalformedKey:
        return Verification(Outcome.INVALID_KEY)
    try:
        row = _read(prefix)
    except Error:
        log.exception("verification.database_failed", prefix=prefix)
        return Verification(Outcome.UNAVAILABLE, prefix)
    if row is None:
        return Verification(Outcome.INVALID_KEY, prefix)
    match hashing.check(text, key_id=row["id"], digest=row["digest"]):
        case hashing.Check.MATCH:
            _upgrade_digest(text, row)
            return Verification(_state(row, at), prefix, _verified(row))
        case hashing.Check.MISMATCH:
            return Verification(Outcome.INVALID_KEY, prefix)
        case undecided:
            log.error("verification.undecided", prefix=prefix, reason=undecided.value)
            return Verification(Outcome.UNAVAILABLE, prefix)


def issuer_role(prefix: str) -> Role | None:
    """Return the role that the issuer of a stored key has where it acts, now; None if they have none."""
    row = _read(prefix)
    return _role(row) if row else None


def _read(prefix: str) -> dict[str, Any] | None:
    """Read the row; a connection that was dropped while idle costs one more try, and no probe before each read."""
    try:
        return _read_once(prefix)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        return _read_once(prefix)


def _read_once(prefix: str) -> dict[str, Any] | None:
    # Tells Django that this connection needs no `SELECT 1` first: the retry above does what the probe is for.
    connection.health_check_done = True  # type: ignore[attr-defined] # django-stubs leave it out
    return next(iter(ApiKey.objects.presented(prefix)), None)


def _state(row: dict[str, Any], at: datetime) -> Outcome:
    """Return why a key whose secret is right is refused, if it is; asked only then, so that strangers learn nothing."""
    if row["revoked_at"]:
        return Outcome.KEY_REVOKED
    if row["expires_at"] and row["expires_at"] <= at:
        return Outcome.KEY_EXPIRED
    if row["disabled_at"]:
        return Outcome.KEY_DISABLED
    if _is_issuer_gone(row):
        return Outcome.ISSUER_GONE
    return Outcome.ORGANIZATION_SUSPENDED if row["organization__suspended_at"] else Outcome.ACCEPTED


def _is_issuer_gone(row: dict[str, Any]) -> bool:
    """A member of the organization still stands behind an organization key, though it can do nothing any more."""
    if not row["issuer__is_active"] or row["organization_role"] is None:
        return True
    return row["scope"] != "org" and _role(row) is None


def _role(row: dict[str, Any]) -> Role | None:
    """Return the issuer's role where the key acts, now (T5)."""
    if row["organization_role"] == Role.SUPER_ADMIN:
        return Role.SUPER_ADMIN
    return Role(row["team_role"]) if row["organization_role"] and row["team_role"] else None


def _verified(row: dict[str, Any]) -> VerifiedKey:
    role = _role(row)
    return VerifiedKey(
        id=row["id"],
        name=row["name"],
        label=row["label"],
        kind=row["kind"],
        scope=row["scope"],
        environment=row["environment"],
        granted=tuple(row["permissions"]),
        permissions=effective(row["permissions"], role),
        organization_id=row["organization_id"],
        team_id=row["ruling_team_id"],
        project_id=row["project_id"],
        issuer_id=row["issuer_id"],
        issuer_email=row["issuer__email"],
        role=role,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


def _upgrade_digest(text: str, row: dict[str, Any]) -> None:
    """Store a costlier digest where settings ask for one; the request goes on, whether that works or not."""
    if not hashing.needs_rehash(row["digest"]):
        return
    try:
        new = hashing.make_digest(text)
        ApiKey.objects.upgrade_digest(row["id"], old=row["digest"], new=new)
    except (hashing.HashingUnavailable, Error):
        log.exception("verification.upgrade_failed", label=row["label"])
