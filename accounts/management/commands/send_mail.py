"""Send the mail that is due, once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.mailing import sending


class Command(BaseCommand):
    help = (
        "Send the mails that are due, once. Where the serving processes do so (KEYPORTAL_MAIL_JOB), there is no need; "
        "otherwise run it every minute. Any number may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        tally = sending.send_due()
        while sending.prune(at=timezone.now()):
            pass
        self.stdout.write(f"Sent {tally.sent}.")
        if tally.failed:
            raise CommandError(f"{tally.failed} could not be sent now and will be tried again. The log says why.")
