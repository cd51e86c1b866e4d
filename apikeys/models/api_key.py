"""The API key as it is stored: everything about it but the secret."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, ServiceAccount, Team, User
from apikeys.models.queries import ApiKeyQuerySet


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
    # For whom it acts instead of for its issuer.
    service_account = models.ForeignKey(ServiceAccount, models.PROTECT, related_name="api_keys", null=True, blank=True)
    # Where it was brought along from, if it was not issued here.
    imported_from = models.CharField(max_length=20, blank=True)
    # When that was. It counts as unused since then, however old it is.
    imported_at = models.DateTimeField(null=True, blank=True)
    # What its digest was then, as SHA-256: its first use replaces the digest, and it may be imported once more.
    imported_fingerprint = models.CharField(max_length=64, blank=True)
    # The web pages that may use a publishable key, as origins (RFC 6454 §6.2).
    allowed_origins = models.JSONField(default=list, blank=True)
    # The networks it may come from, in CIDR notation; from everywhere, if there are none.
    networks = models.JSONField(default=list, blank=True)
    per_second = models.PositiveIntegerField(null=True, blank=True)
    per_minute = models.PositiveIntegerField(null=True, blank=True)
    per_day = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(User, models.PROTECT, related_name="revoked_keys", null=True, blank=True)
    revoke_reason = models.CharField(max_length=200, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # When the key was seen where keys must not be, such as in a URL.
    exposed_at = models.DateTimeField(null=True, blank=True)
    # When a secret key was seen coming from a browser, where its secret is everyone's.
    in_browser_at = models.DateTimeField(null=True, blank=True)
    # The key whose place this one takes. One key has one successor, whoever asks at once.
    predecessor = models.OneToOneField("self", models.PROTECT, related_name="successor", null=True, blank=True)
    # The rotation of a key that has a successor: when it was begun, and from when this key is refused. It is brought
    # forward to `settle_seconds` after the successor's first use, which was noted at `settled_at`.
    rotated_at = models.DateTimeField(null=True, blank=True)
    retires_at = models.DateTimeField(null=True, blank=True)
    settle_seconds = models.PositiveIntegerField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # When it was used again after it had retired: someone still has it who should not.
    reappeared_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="api_key_newest"),
            models.Index(fields=["organization", "expires_at"], name="api_key_by_expiry"),
            models.Index(fields=["organization", "last_used_at"], name="api_key_by_last_use"),
            # These lead to what is rare among many. Their conditions have no parameter, as SQLite could not match one.
            models.Index(fields=["organization", "scope"], name="api_key_by_scope"),
            models.Index(fields=["organization", "created_at"], name="api_key_by_creation"),
            models.Index(
                fields=["organization", "expires_at"],
                condition=Q(revoked_at=None, retires_at=None),
                name="api_key_running",
            ),
            models.Index(
                fields=["organization", "retires_at"],
                condition=Q(revoked_at=None, retires_at__isnull=False),
                name="api_key_retiring",
            ),
            models.Index(
                fields=["organization", "revoked_at"], condition=Q(revoked_at__isnull=False), name="api_key_revoked"
            ),
            models.Index(
                fields=["organization"],
                condition=Q(disabled_at__isnull=False) | Q(exposed_at__isnull=False) | Q(in_browser_at__isnull=False),
                name="api_key_marked",
            ),
            models.Index(fields=["reappeared_at"], condition=Q(reappeared_at__isnull=False), name="api_key_reappeared"),
            models.Index(
                fields=["organization", "created_at"], condition=Q(last_used_at=None), name="api_key_never_used"
            ),
            models.Index(
                fields=["organization", "imported_at"],
                condition=Q(last_used_at=None, imported_at__isnull=False),
                name="api_key_unused_import",
            ),
            # Of publishable keys alone: else SQLite, whose keys are of few kinds, takes it for whatever asks what is
            # not revoked, and looks through all of them.
            models.Index(fields=["revoked_at"], condition=Q(kind="publishable"), name="api_key_by_kind"),
            models.Index(
                fields=["imported_from", "prefix"], condition=Q(imported_at__isnull=False), name="api_key_imported"
            ),
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
            models.CheckConstraint(
                condition=Q(imported_from="", imported_at=None) | ~Q(imported_from="") & Q(imported_at__isnull=False),
                name="api_key_imported_from_somewhere",
            ),
            models.CheckConstraint(
                condition=Q(retires_at=None) | Q(rotated_at__isnull=False, settle_seconds__isnull=False),
                name="api_key_retires_after_rotation",
            ),
            models.CheckConstraint(
                condition=Q(service_account=None) | ~Q(scope="org"), name="api_key_account_is_of_a_team"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    def state_at(self, at: datetime) -> str:
        """Return `revoked`, `retired`, `expired`, `disabled` or `active`: the first of them that holds."""
        if self.is_revoked:
            return "revoked"
        if self.retires_at and self.retires_at <= at:
            return "retired"
        if self.expires_at and self.expires_at <= at:
            return "expired"
        return "disabled" if self.disabled_at else "active"

    def is_rotating_at(self, at: datetime) -> bool:
        """Say whether this key works beside its successor."""
        return self.retires_at is not None and self.state_at(at) in {"active", "disabled"}

    @property
    def ends_at(self) -> datetime | None:
        """When it ends by the clock: it expires, or retires after a rotation."""
        return min(filter(None, (self.expires_at, self.retires_at)), default=None)

    @property
    def place(self) -> Organization | Team | Project:
        """What the key is for; the row must have been read with its places."""
        return self.project or self.team or self.organization

    @property
    def place_team_id(self) -> UUID | None:
        """The team whose roles rule over this key; None for the organization."""
        return self.project.team_id if self.project else self.team_id
