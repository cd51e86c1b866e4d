"""Remove what is told of uses of keys once it is old."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from audit import pruning

# No row is older; `timedelta` and the databases take no more than some.
MOST_DAYS = 36_500
# What SQLite deletes in about a twentieth of a second.
BATCH = 5_000
MOST_BATCH = 100_000
HOUR_DAYS = 400


class Command(BaseCommand):
    help = (
        "Remove uses of keys older than some days, in small batches, while the portal goes on. Run it once a day. "
        "Audit events are never removed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=_days, help="keep uses for so many days (KEYPORTAL_USES_DAYS, which is 90 unless it is set)"
        )
        parser.add_argument(
            "--hour-days", type=_days, default=HOUR_DAYS, help="keep the counts of each hour for so many days (400)"
        )
        parser.add_argument("--batch", type=_batch, default=BATCH, help="rows a transaction (5000)")

    def handle(self, *args: Any, days: int | None, hour_days: int, batch: int, **options: Any) -> None:
        at = timezone.now()
        days = days or settings.KEYPORTAL_USES_DAYS
        uses = sum(pruning.prune_uses(before=at - timedelta(days=days), batch=batch))
        hours = sum(pruning.prune_hours(before=at - timedelta(days=hour_days), batch=batch))
        addresses = sum(pruning.prune_addresses(before=at - timedelta(days=days), batch=min(batch, BATCH)))
        writers = pruning.prune_writers(at=at)
        pruning.take_stock()
        self.stdout.write(
            f"Removed {uses} uses older than {days} days, {hours} counts of hours older than {hour_days} days, "
            f"{addresses} addresses not seen since and the traces of {writers} processes that ended."
        )


def _days(text: str) -> int:
    return _whole(text, MOST_DAYS)


def _batch(text: str) -> int:
    return _whole(text, MOST_BATCH)


def _whole(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise ArgumentTypeError(f"it must be a whole number from 1 to {most}")
    return int(text)
