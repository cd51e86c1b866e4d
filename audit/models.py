"""The audit log: rows that are written once. The database refuses anything else, see migration 0002."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, ClassVar, NoReturn, Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from audit.events import EVENTS, NAME_LENGTH, TABLE_LENGTH


class AuditRowsAreImmutable(TypeError):
    """Somebody tried to change or delete an audit row."""

    def __init__(self) -> None:
        super().__init__("Audit rows are never changed or deleted. Record what happened now instead.")


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def for_place(
        self,
        organization_id: UUID,
        *,
        team_ids: Collection[UUID] | None = None,
        project_ids: Collection[UUID] | None = None,
        actor_id: UUID | None = None,
    ) -> Self:
        """Return the organization's events, all of them unless teams or projects are given.

        Then it is those of these teams, of these projects, or done by this actor.
        """
        rows = self.filter(organization_id=organization_id)
        if team_ids is None and project_ids is None:
            return rows
        inside = Q(team_id__in=team_ids or ()) | Q(project_id__in=project_ids or ())
        return rows.filter(inside if actor_id is None else inside | Q(actor_id=actor_id))

    def matching(
        self,
        *,
        target_table: str = "",
        action: str = "",
        actor: str = "",
        label: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Self:
        """Return the events that meet every condition given: `since` ≤ at < `until`, parts of the labels."""
        conditions: dict[str, Any] = {
            "target_table": target_table,
            "action": action,
            "actor_label__icontains": actor,
            "target_label__icontains": label,
            "at__gte": since,
            "at__lt": until,
        }
        return self.filter(**{lookup: value for lookup, value in conditions.items() if value})

    def older_than(self, event_id: int | None) -> Self:
        """Return the events before one, or all of them if none is given."""
        return self if event_id is None else self.filter(id__lt=event_id)

    def update(self, **_kwargs: Any) -> NoReturn:
        raise AuditRowsAreImmutable

    def delete(self) -> NoReturn:
        raise AuditRowsAreImmutable

    def bulk_update(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise AuditRowsAreImmutable


class AuditEvent(models.Model):
    """One thing that happened. `id` is the sequence; the rest is copied, to outlive what it names."""

    class Action(models.TextChoices):
        CREATE = "create", "Create"
        UPDATE = "update", "Update"
        DELETE = "delete", "Delete"
        # No row changed: a sign-in, a refusal, an export.
        EVENT = "event", "Event"

    class ActorKind(models.TextChoices):
        USER = "user", "User"
        API_KEY = "api_key", "API key"
        SERVICE_ACCOUNT = "service_account", "Service account"
        SYSTEM = "system", "System"
        ANONYMOUS = "anonymous", "Anonymous"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    organization_id = models.UUIDField(null=True)
    team_id = models.UUIDField(null=True)
    project_id = models.UUIDField(null=True)
    actor_kind = models.CharField(max_length=20, choices=ActorKind.choices)
    actor_id = models.UUIDField(null=True)
    # Labels are as long as they are: a change must not fail because its description is cut to a width.
    actor_label = models.TextField(blank=True)
    issuer_id = models.UUIDField(null=True)
    issuer_label = models.TextField(blank=True)
    target_table = models.CharField(max_length=TABLE_LENGTH)
    target_id = models.CharField(max_length=64, blank=True)
    target_label = models.TextField(blank=True)
    action = models.CharField(max_length=10, choices=Action.choices)
    event = models.CharField(max_length=NAME_LENGTH)
    # What changed, by field, as [before, after].
    changes = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        db_table = "audit_event"
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["organization_id", "-id"], name="audit_event_newest"),
            models.Index(fields=["organization_id", "target_table", "action", "-id"], name="audit_event_by_table"),
            models.Index(fields=["organization_id", "actor_id", "-id"], name="audit_event_by_actor"),
            models.Index(fields=["organization_id", "at"], name="audit_event_by_time"),
            models.Index(fields=["team_id", "-id"], name="audit_event_by_team"),
            models.Index(fields=["project_id", "-id"], name="audit_event_by_project"),
            models.Index(fields=["target_table", "target_id", "-id"], name="audit_event_by_target"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(action__in=["create", "update", "delete", "event"]),
                name="audit_event_action_known",
            ),
            models.CheckConstraint(
                condition=Q(actor_kind__in=["user", "api_key", "service_account", "system", "anonymous"]),
                name="audit_event_actor_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.target_label}".rstrip()

    def save(self, *_args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditRowsAreImmutable
        super().save(force_insert=True, using=kwargs.get("using"))

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise AuditRowsAreImmutable

    @property
    def sentence(self) -> str:
        """What the event's name means, or nothing for a name that a later version has dropped."""
        return EVENTS.get(self.event, "")


class KeyUseQuerySet(models.QuerySet["KeyUse"]):
    def of_prefix(self, prefix: str) -> Self:
        """Uses of the key that has this prefix, and refusals of texts that claimed it."""
        return self.filter(prefix=prefix)

    def addresses_let_in(self, prefix: str) -> set[str]:
        """Return from where a key was let in of late."""
        latest = self.of_prefix(prefix).filter(is_refused=False).newest_first()
        return {address for address in latest.values_list("address", flat=True)[:1000] if address}

    def newest_first(self) -> Self:
        """UUIDv7 is ordered by time, so one index on prefix and id serves the order."""
        return self.order_by("-id")

    def before(self, use_id: UUID | None) -> Self:
        return self.filter(id__lt=use_id) if use_id else self

    def matching(
        self, *, since: datetime | None = None, until: datetime | None = None, is_refused: bool | None = None
    ) -> Self:
        """Return the uses that meet every condition given: `since` ≤ at < `until`.

        The ids bound what the index has to look at: one is made as the request comes, or within the minute that
        its row stands for.
        """
        rows = self
        if since:
            rows = rows.filter(at__gte=since, id__gte=_least_id(since - _SLACK))
        if until:
            rows = rows.filter(at__lt=until, id__lt=_least_id(until + _SLACK))
        return rows if is_refused is None else rows.filter(is_refused=is_refused)


_SLACK = timedelta(minutes=2)


def _least_id(at: datetime) -> UUID:
    """Return the least UUIDv7 of a moment (RFC 9562 §5.7)."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)


class KeyUse(models.Model):
    """One request with a key, or one that was refused; `id` is the request's own id.

    A row whose `count` is more than one stands for that many refusals of one kind in the minute that begins at `at`.
    Its indexes are few and grow at their ends, so that the hundred millionth row costs what the first did: the
    primary key is ordered by time, and a prefix's page of the other index is as hot as its key.
    """

    id = models.UUIDField(primary_key=True)
    at = models.DateTimeField()
    organization_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    prefix = models.CharField(max_length=16, blank=True)
    label = models.CharField(max_length=64, blank=True)
    is_refused = models.BooleanField()
    # `accepted`, or the code of the problem that was the answer.
    outcome = models.CharField(max_length=40)
    method = models.CharField(max_length=16, blank=True)
    route = models.CharField(max_length=200, blank=True)
    status = models.SmallIntegerField()
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=200, blank=True)
    count = models.PositiveIntegerField(default=1)

    objects = KeyUseQuerySet.as_manager()
    # Whoever sends a key acts as one, though it be refused.
    actor_kind = "api_key"

    class Meta:
        db_table = "audit_key_use"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["prefix", "id"], name="audit_key_use_by_prefix"),
            # A key's few refusals are found among its millions of uses, and those uses do not touch this one.
            models.Index(fields=["prefix", "id"], name="audit_key_use_refused", condition=Q(is_refused=True)),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.label or self.prefix}".rstrip()

    @property
    def event(self) -> str:
        return "api_key.auth_failed" if self.is_refused else "api_key.use"

    @property
    def request_id(self) -> UUID | None:
        """The request; none for a row that stands for several."""
        return self.id if self.method else None


class KeyUseHour(models.Model):
    """How often a key was let in and refused in the hour that begins at `hour`."""

    key_id = models.UUIDField()
    hour = models.DateTimeField()
    uses = models.PositiveIntegerField(default=0)
    refusals = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "audit_key_use_hour"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["key_id", "hour"], name="audit_key_use_hour_once")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.hour:%Y-%m-%dT%HZ}"


class KeyAddress(models.Model):
    """Since when, until when and how often the right key came from an address.

    `place` is the address as 16 bytes, those of IPv4 as RFC 4291 §2.5.5.2 maps them: so a network is a range of them.
    """

    key_id = models.UUIDField()
    organization_id = models.UUIDField()
    place = models.BinaryField(max_length=16)
    address = models.GenericIPAddressField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    # A gateway may be one address for years.
    uses = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "audit_key_address"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["organization_id", "place", "key_id"], name="audit_key_address_by_place"),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["key_id", "place"], name="audit_key_address_once")]

    def __str__(self) -> str:
        return f"{self.key_id} from {self.address}"


class UseWriter(models.Model):
    """A process that writes uses, and the number of the last batch that it wrote: so none is written twice."""

    id = models.UUIDField(primary_key=True)
    batch = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "audit_use_writer"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.id)
