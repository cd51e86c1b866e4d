"""Handing out a list of keys as a file, which the audit log tells of."""

from django.db import transaction

from accounts.principals import Principal
from apikeys import shapes
from apikeys.filters import KeyFilter
from apikeys.models import ApiKeyQuerySet
from audit.context import Place
from audit.signals import record


@transaction.atomic
def note_export(*, principal: Principal, keys: ApiKeyQuerySet, asked: KeyFilter, format: str) -> int:  # noqa: A002 - it is what the file's format is called
    """Write down that a list of keys is handed out, what it is of and how many there are; return that number."""
    count = keys.order_by().count()
    record(
        event="api_key.exported",
        target_table="api_keys",
        target_label=f"{count} keys",
        place=Place(principal.organization_id),
        changes={"filter": [None, asked.as_json(mask=shapes.mask)], "count": [None, count], "format": [None, format]},
    )
    return count
