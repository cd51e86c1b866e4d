"""Removing what is told of uses once it is old, a little at a time, while the portal goes on writing."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connection, models
from django.db.models import Count

from audit.models import KeyAddress, KeyUse, KeyUseHour, UseWriter

Row = TypeVar("Row", bound=models.Model)
# A process that wrote nothing for so long has ended; if it has not, its next batch writes its row anew.
WRITER_DAYS = 1
# A batch leaves others as much time as it took, and never more than this, in seconds.
LONGEST_PAUSE = 1.0
# Where one key was seen.
MOST_ADDRESSES = 1_000
ANALYZED_ROWS = 1_000


def prune_uses(*, before: datetime, batch: int) -> Iterator[int]:
    """Delete the uses before a time; yield how many each batch had."""
    return _walk(KeyUse.objects.order_by("id"), "at", before, batch)


def prune_hours(*, before: datetime, batch: int) -> Iterator[int]:
    """Delete the counters of hours before a time; yield how many each batch had."""
    return _walk(KeyUseHour.objects.order_by("id"), "hour", before, batch)


def prune_addresses(*, before: datetime, batch: int) -> Iterator[int]:
    """Delete the addresses where keys were last seen before a time; yield how many each batch had.

    Of a key that was seen at more than 1,000, as one that leaked may be, the latest of them stay.
    """
    yield from _prune_unseen(before, batch)
    many = KeyAddress.objects.values("key_id").annotate(count=Count("id")).filter(count__gt=MOST_ADDRESSES)
    for key_id in many.order_by().values_list("key_id", flat=True):
        latest = KeyAddress.objects.filter(key_id=key_id).order_by("-last_seen", "-id")
        while old := list(latest.values_list("pk", flat=True)[MOST_ADDRESSES : MOST_ADDRESSES + batch]):
            yield KeyAddress.objects.filter(pk__in=old).delete()[0]


def _prune_unseen(before: datetime, batch: int) -> Iterator[int]:
    """Look through all rows by their ids: they are as many as keys and their addresses, and not as uses."""
    seen = 0
    while rows := list(KeyAddress.objects.filter(pk__gt=seen).order_by("pk").values_list("pk", "last_seen")[:batch]):
        seen = rows[-1][0]
        if old := [pk for pk, at in rows if at < before]:
            yield KeyAddress.objects.filter(pk__in=old, last_seen__lt=before).delete()[0]


def prune_writers(*, at: datetime) -> int:
    """Delete what is known of processes that ended without a word; return how many there were."""
    return UseWriter.objects.filter(at__lt=at - timedelta(days=WRITER_DAYS)).delete()[0]


def take_stock() -> None:
    """Let SQLite count what its tables hold, or it guesses which index is the best. PostgreSQL does so by itself."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        # Some rows of each index are enough, which takes milliseconds.
        cursor.execute(f"PRAGMA analysis_limit = {ANALYZED_ROWS}")
        cursor.execute("ANALYZE")


def _walk(rows: "models.QuerySet[Row]", field: str, before: datetime, batch: int) -> Iterator[int]:
    """Delete rows whose ids grow with time, from the oldest on, each batch in a short transaction of its own.

    It goes on after the last id it saw, so that nothing is looked at twice, and ends at the first batch of which
    everything is to stay: what is newer is never read.
    """
    seen: Any = None
    while True:
        started = time.monotonic()
        left = rows if seen is None else rows.filter(pk__gt=seen)
        old = [pk for pk, at in left.values_list("pk", field)[:batch] if at < before]
        if not old:
            return
        yield left.filter(pk__lte=old[-1], **{f"{field}__lt": before}).order_by().delete()[0]
        seen = old[-1]
        time.sleep(min(time.monotonic() - started, LONGEST_PAUSE))
