"""Removing what is told of uses once it is old, a little at a time, while the portal goes on writing."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import models

from audit.models import KeyUse, KeyUseHour, UseWriter

Row = TypeVar("Row", bound=models.Model)
# A process that wrote nothing for so long has ended; if it has not, its next batch writes its row anew.
WRITER_DAYS = 1
# A batch leaves others as much time as it took, and never more than this, in seconds.
LONGEST_PAUSE = 1.0


def prune_uses(*, before: datetime, batch: int) -> Iterator[int]:
    """Delete the uses before a time; yield how many each batch had."""
    return _walk(KeyUse.objects.order_by("id"), "at", before, batch)


def prune_hours(*, before: datetime, batch: int) -> Iterator[int]:
    """Delete the counters of hours before a time; yield how many each batch had."""
    return _walk(KeyUseHour.objects.order_by("id"), "hour", before, batch)


def prune_writers(*, at: datetime) -> int:
    """Delete what is known of processes that ended without a word; return how many there were."""
    return UseWriter.objects.filter(at__lt=at - timedelta(days=WRITER_DAYS)).delete()[0]


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
