"""Revoke a key without a browser."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from apikeys import actions, shapes
from apikeys.models import ApiKey


class Command(BaseCommand):
    help = "Revoke a key for good, by its label, as lists show it, or its id. The key itself is never asked for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="LABEL-OR-ID")
        parser.add_argument("--reason", default="", help="for the record")

    def handle(self, *args: Any, key: str, reason: str, **options: Any) -> None:
        api_key = ApiKey.objects.filter(_named(key)).first()
        if api_key is None:
            raise CommandError("There is no key of this label or id.")
        at = timezone.now()
        try:
            actions.revoke_key(principal=None, api_key=api_key, at=at, reason=reason)
        except actions.KeyAlreadyRevoked as error:
            raise CommandError(f"{api_key.label} was revoked before. It is refused.") from error
        self.stderr.write(f"{api_key.label} revoked at {at:%H:%M} UTC. It has been refused since.")


def _named(text: str) -> Q:
    try:
        return Q(pk=UUID(text))
    except ValueError:
        # In a hurry one pastes the whole key: its label is all that is looked for.
        return Q(label=shapes.mask(text).rstrip("…"))
