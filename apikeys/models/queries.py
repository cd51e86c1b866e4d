"""What is asked of keys."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

from django.db import connection, models
from django.db.models import ExpressionWrapper, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from accounts.models import OrganizationMembership, Role, TeamMembership
from accounts.principals import Principal
from audit.uses import LastUse

if TYPE_CHECKING:
    from apikeys.models.api_key import ApiKey

EXPIRES_SOON = timedelta(days=14)
UNUSED_AFTER = timedelta(days=90)
USE_RESOLUTION = timedelta(minutes=1)
# How long a call with a key waits for SQLite's one writer, where it writes at all.
NOTE_WAIT_MS = 50

# What verification reads, in its one query.
PRESENTED = (
    "id",
    "name",
    "label",
    "digest",
    "kind",
    "scope",
    "environment",
    "permissions",
    "organization_id",
    "organization__suspended_at",
    "ruling_team_id",
    "project_id",
    "issuer_id",
    "issuer__email",
    "issuer__is_active",
    "organization_role",
    "team_role",
    "service_account_id",
    "service_account__name",
    "service_account__role",
    "service_account__stopped_at",
    "organization__permission_catalogue",
    "organization__network_policy",
    "project__environments",
    "allowed_origins",
    "networks",
    "per_second",
    "per_minute",
    "per_day",
    "created_at",
    "expires_at",
    "revoked_at",
    "retires_at",
    "disabled_at",
    "exposed_at",
    "reappeared_at",
    "in_browser_at",
    "is_unused_successor",
)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def presented(self, prefix: str) -> models.QuerySet["ApiKey", dict[str, Any]]:
        """Read, in one statement, a key and all that decides whether it is good now: its issuer's roles included."""
        rows = (
            self.filter(prefix=prefix)
            .with_roles()
            .annotate(
                is_unused_successor=ExpressionWrapper(
                    Q(predecessor__isnull=False, last_used_at=None), output_field=models.BooleanField()
                )
            )
            .values(*PRESENTED)
        )
        return cast("models.QuerySet[ApiKey, dict[str, Any]]", rows)

    def with_roles(self) -> Self:
        """Read along the roles that the issuer has now in the organization, and in the team that rules over the key."""
        organization_roles = OrganizationMembership.objects.filter(
            organization=OuterRef("organization_id"), user=OuterRef("issuer_id")
        )
        team_roles = TeamMembership.objects.filter(
            team=OuterRef("ruling_team_id"), membership__user=OuterRef("issuer_id")
        )
        return self.annotate(
            ruling_team_id=Coalesce("team_id", "project__team_id"),
            organization_role=Subquery(organization_roles.values("role")[:1]),
            team_role=Subquery(team_roles.values("role")[:1]),
        )

    def ids_of(self, prefixes: Collection[str]) -> dict[str, UUID]:
        """Return the ids of the keys that have such prefixes, in one query."""
        return dict(self.filter(prefix__in=prefixes).values_list("prefix", "pk"))

    def visible_to(self, principal: Principal) -> Self:
        """Keys the caller may manage (T1): those whose scope they could issue, and their own.

        A super admin sees the organization's keys, a team admin the team's and its projects', a developer those
        of the team's projects. A key sees what is inside its own scope, as far as its issuer's role reaches.
        """
        keys = self.filter(organization_id=principal.organization_id)
        if not principal.is_super_admin:
            keys = keys.filter(_within_roles(principal))
        if principal.project_id:
            return keys.filter(project_id=principal.project_id)
        if principal.is_key and principal.team_id:
            return keys.filter(Q(team_id=principal.team_id) | Q(project__team_id=principal.team_id))
        return keys

    def active(self, *, at: datetime) -> Self:
        """Keys that have not ended: neither revoked nor retired nor expired."""
        is_in_time = Q(expires_at=None) | Q(expires_at__gt=at)
        return self.filter(is_in_time, Q(retires_at=None) | Q(retires_at__gt=at), revoked_at=None)

    def expired(self, *, at: datetime) -> Self:
        return self.filter(Q(retires_at=None) | Q(retires_at__gt=at), revoked_at=None, expires_at__lte=at)

    def revoked(self, *, at: datetime) -> Self:
        """Keys that were ended, or retired after a rotation."""
        return self.filter(~Q(revoked_at=None) | Q(retires_at__lte=at))

    def needing_attention(self, *, at: datetime) -> Self:
        """Active keys that someone should look at: disabled, exposed, about to expire, or long unused."""
        return self.active(at=at).filter(
            ~Q(disabled_at=None)
            | ~Q(exposed_at=None)
            | ~Q(in_browser_at=None)
            | ~Q(predecessor__reappeared_at=None)
            | Q(expires_at__lte=at + EXPIRES_SOON)
            | Q(last_used_at__lt=at - UNUSED_AFTER)
            | Q(last_used_at=None, created_at__lt=at - UNUSED_AFTER)
        )

    def matching(self, text: str) -> Self:
        """Keys whose name, label, issuer, team or project contains a text."""
        return self.filter(
            Q(name__icontains=text)
            | Q(label__contains=text)
            | Q(issuer__email__icontains=text)
            | Q(issuer__name__icontains=text)
            | Q(team__name__icontains=text)
            | Q(project__name__icontains=text)
        )

    def issued_by_form(self, issuer_id: UUID, issue_id: UUID | None) -> Self:
        return self.filter(issuer_id=issuer_id, issue_id=issue_id) if issue_id else self.none()

    def with_places(self) -> Self:
        """Read along what a row of the table names, so that a page costs the same with 1 and 25 keys."""
        return self.select_related(
            "organization", "team", "project__team", "issuer", "revoked_by", "service_account", "predecessor"
        )

    def most_urgent_first(self) -> Self:
        """Keys seen where they must not be, then by how soon they end."""
        return self.order_by(F("exposed_at").desc(nulls_last=True), F("expires_at").asc(nulls_last=True), "-id")

    def newest_first(self) -> Self:
        """UUIDv7 is ordered by time, so the primary key's index serves the order."""
        return self.order_by("-id")

    def before(self, key_id: UUID | None) -> Self:
        return self.filter(id__lt=key_id) if key_id else self

    def mark_used(self, newest: Mapping[UUID, LastUse]) -> int:
        """Move the times of last use forward, never backwards, and at most once a minute a key; return of how many.

        It waits for nobody: a row that someone is writing to is left as it is. The caller holds a transaction.
        """
        latest = max(use.at for use in newest.values())
        is_due = Q(last_used_at=None) | Q(last_used_at__lte=latest - USE_RESOLUTION)
        due = self.filter(is_due, pk__in=newest).order_by("pk").select_for_update(skip_locked=True)
        moved = 0
        for key_id, last_used_at in due.values_list("pk", "last_used_at"):
            use = newest[key_id]
            if last_used_at is None or last_used_at <= use.at - USE_RESOLUTION:
                moved += self.filter(pk=key_id).update(last_used_at=use.at, last_used_ip=use.address)
        return moved

    def mark_first_use(self, key_id: UUID, *, digest: str, at: datetime) -> bool:
        """Note the first use of a key with this digest; return whether the key still has it."""
        with without_waiting():
            if self.filter(pk=key_id, digest=digest, last_used_at=None).update(last_used_at=at):
                return True
        return self.filter(pk=key_id, digest=digest).exists()

    def upgrade_digest(self, key_id: UUID, *, old: str, new: str) -> int:
        """Replace a digest by a costlier one of the same key, unless someone else did so meanwhile."""
        with without_waiting():
            return self.filter(pk=key_id, digest=old).update(digest=new)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let SQLite refuse almost at once what it would else wait seconds for: the lock that another writer holds."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    # Past Django's cursor, since this is no query: it asks the library, and reads no file.
    raw = connection.connection
    [patience] = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(f"PRAGMA busy_timeout = {NOTE_WAIT_MS}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")


def _within_roles(principal: Principal) -> Q:
    as_admin = principal.team_ids_as(Role.TEAM_ADMIN)
    as_developer = principal.team_ids_as(Role.DEVELOPER)
    own_in_team = own_keys(principal) & Q(team_id__in=as_developer)
    return Q(team_id__in=as_admin) | Q(project__team_id__in=as_admin | as_developer) | own_in_team


def own_keys(principal: Principal) -> Q:
    """Keys that act as the caller does: for the same service account, or for the same person and for no account."""
    if principal.service_account_id:
        return Q(service_account_id=principal.service_account_id)
    return Q(issuer_id=principal.user_id, service_account_id=None)
