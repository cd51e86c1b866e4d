"""The API key as it is stored: everything about it but the secret."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, cast
from uuid import UUID

from django.db import connection, models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from uuid_utils.compat import uuid7

from accounts.models import Organization, OrganizationMembership, Project, Role, Team, TeamMembership, User
from accounts.principals import Principal
from audit.uses import LastUse

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
    "created_at",
    "expires_at",
    "revoked_at",
    "disabled_at",
    "exposed_at",
)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def presented(self, prefix: str) -> models.QuerySet["ApiKey", dict[str, Any]]:
        """Read, in one statement, a key and all that decides whether it is good now: its issuer's roles included."""
        organization_roles = OrganizationMembership.objects.filter(
            organization=OuterRef("organization_id"), user=OuterRef("issuer_id")
        )
        team_roles = TeamMembership.objects.filter(
            team=OuterRef("ruling_team_id"), membership__user=OuterRef("issuer_id")
        )
        rows = (
            self.filter(prefix=prefix)
            .annotate(
                ruling_team_id=Coalesce("team_id", "project__team_id"),
                organization_role=Subquery(organization_roles.values("role")[:1]),
                team_role=Subquery(team_roles.values("role")[:1]),
            )
            .values(*PRESENTED)
        )
        return cast("models.QuerySet[ApiKey, dict[str, Any]]", rows)

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
        """Keys that have not ended: neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)

    def expired(self, *, at: datetime) -> Self:
        return self.filter(revoked_at=None, expires_at__lte=at)

    def revoked(self) -> Self:
        return self.exclude(revoked_at=None)

    def needing_attention(self, *, at: datetime) -> Self:
        """Active keys that someone should look at: disabled, exposed, about to expire, or long unused."""
        return self.active(at=at).filter(
            ~Q(disabled_at=None)
            | ~Q(exposed_at=None)
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
        return self.select_related("organization", "team", "project__team", "issuer", "revoked_by")

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
    own_in_team = Q(issuer_id=principal.user_id) & Q(team_id__in=as_developer)
    return Q(team_id__in=as_admin) | Q(project__team_id__in=as_admin | as_developer) | own_in_team


class ApiKey(models.Model):
    """One key of a customer of this installation. Written by `actions` only; never saved as a whole row."""

    class Kind(models.TextChoices):
        SECRET = "secret", "Secret"
        PUBLISHABLE = "publishable", "Publishable"

    class Scope(models.TextChoices):
        ORG = "org", "Organization"
        TEAM = "team", "Team"
        PROJECT = "project", "Project"

    class Environment(models.TextChoices):
        LIVE = "live", "Live"
        TEST = "test", "Test"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)
    label = models.CharField(max_length=64, db_index=True)
    digest = models.CharField(max_length=200)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.SECRET)
    scope = models.CharField(max_length=16, choices=Scope.choices)
    environment = models.CharField(max_length=16, choices=Environment.choices, default=Environment.LIVE)
    permissions = models.JSONField(default=list)
    # The form or request that issued it, so that the same one sent twice issues one key.
    issue_id = models.UUIDField(null=True, blank=True, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="api_keys")
    team = models.ForeignKey(Team, models.PROTECT, related_name="api_keys", null=True, blank=True)
    project = models.ForeignKey(Project, models.PROTECT, related_name="api_keys", null=True, blank=True)
    issuer = models.ForeignKey(User, models.PROTECT, related_name="issued_keys")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(User, models.PROTECT, related_name="revoked_keys", null=True, blank=True)
    revoke_reason = models.CharField(max_length=200, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # When the key was seen where keys must not be, such as in a URL.
    exposed_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="api_key_newest"),
            models.Index(fields=["organization", "expires_at"], name="api_key_by_expiry"),
            models.Index(fields=["organization", "last_used_at"], name="api_key_by_last_use"),
        ]
        constraints: ClassVar = [
            # Not `unique=True`: Django would add an index for LIKE, which PostgreSQL may then choose for the one query.
            models.UniqueConstraint(fields=["prefix"], name="api_key_prefix_unique"),
            models.UniqueConstraint(fields=["issuer", "issue_id"], name="api_key_issued_once"),
            models.CheckConstraint(
                condition=Q(scope="org", team=None, project=None)
                | Q(scope="team", team__isnull=False, project=None)
                | Q(scope="project", team=None, project__isnull=False),
                name="api_key_scope_has_its_place",
            ),
            models.CheckConstraint(
                condition=Q(kind="secret") | Q(kind="publishable", scope="project"),
                name="api_key_publishable_is_of_a_project",
            ),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__gt=F("created_at")), name="api_key_expires_later"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    def state_at(self, at: datetime) -> str:
        """Return `revoked`, `expired`, `disabled` or `active`: the first of them that holds."""
        if self.is_revoked:
            return "revoked"
        if self.expires_at and self.expires_at <= at:
            return "expired"
        return "disabled" if self.disabled_at else "active"

    @property
    def place(self) -> Organization | Team | Project:
        """What the key is for; the row must have been read with its places."""
        return self.project or self.team or self.organization

    @property
    def place_team_id(self) -> UUID | None:
        """The team whose roles rule over this key; None for the organization."""
        return self.project.team_id if self.project else self.team_id
