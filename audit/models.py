"""The audit log: rows that are written once. The database refuses anything else, see migration 0002."""

from collections.abc import Collection
from datetime import datetime
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
