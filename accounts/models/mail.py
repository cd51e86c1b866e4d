"""Mail on its way."""

from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7

from accounts.models.people import User


class OutgoingMailQuerySet(models.QuerySet["OutgoingMail"]):
    def due(self, *, at: datetime) -> Self:
        """Mails to be tried now, the oldest first."""
        return self.filter(sent_at=None, failed_at=None, due_at__lte=at).order_by("due_at", "id")

    def ended(self, *, before: datetime) -> Self:
        """Mails that were written before a time, and sent or given up. Their ids grow with time and find them."""
        first_id = UUID(int=int(before.timestamp() * 1000) << 80)
        return self.filter(pk__lt=first_id).exclude(sent_at=None, failed_at=None).order_by("pk")


class OutgoingMail(models.Model):
    """A mail that was written in the transaction of what it is about, and is sent by a job.

    It may hold a link that opens an account, so its content is encrypted, and gone once it was sent.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Which mail it is, such as `key_issued`.
    name = models.CharField(max_length=40)
    recipient = models.EmailField(max_length=254)
    # Whose mail it is, if it is an account's.
    user = models.ForeignKey(User, models.CASCADE, related_name="mails", null=True, blank=True)
    content = models.TextField(blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    # When it was given up.
    failed_at = models.DateTimeField(null=True, blank=True)
    # The kind of the last failure, in the words of the library; never what the server said, which may quote the mail.
    failure = models.CharField(max_length=100, blank=True)

    objects = OutgoingMailQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(sent_at=None, failed_at=None), name="outgoing_mail_due"),
        ]

    def __str__(self) -> str:
        return f"{self.name} to {self.recipient}"
