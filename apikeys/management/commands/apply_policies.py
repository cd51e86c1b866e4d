"""Do what policies ask for as time passes: disable keys that were not used for too long."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apikeys.actions import disable_unused_keys
from apikeys.models import Policy


class Command(BaseCommand):
    help = (
        "Disable the keys that were not used for as long as their organization's policy says, while the portal goes "
        "on. Run it once a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        policies = Policy.objects.exclude(disable_unused_after=None).select_related("organization").order_by("pk")
        disabled = sum(disable_unused_keys(policy=policy, at=at) for policy in policies)
        self.stdout.write(f"Disabled {disabled} keys that had not been used for as long as their policies say.")
