"""Ending many keys at once, for a time or for good: exactly those that someone has seen in a preview."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from accounts.principals import Principal
from apikeys import notices, shapes
from apikeys.actions.ending import kept_reason
from apikeys.actions.refusals import NotSelectable, SelectionChanged
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from apikeys.selecting import MOST_KEYS, Selection, digest_of, select, selected
from audit.context import Place
from audit.signals import record
from audit.tracking import change_many

# How many are changed in one statement; SQLite takes at most 999 parameters in its oldest builds.
KEYS_AT_ONCE = 500


class BulkAction(StrEnum):
    """What is done to all of them: disabling is undone key by key, revoking never."""

    DISABLE = "disable"
    REVOKE = "revoke"


def preview_bulk(*, principal: Principal, asked: KeyFilter, at: datetime) -> Selection:
    """Return which keys `end_keys` would end now, and change nothing.

    :raises NotSelectable: if nothing is asked for but a state or no service account, which is too near to all keys,
        or too many are found.
    """
    _check_filter(asked)
    selection = select(principal, asked, at=at)
    if selection.is_too_large:
        raise NotSelectable(f"More than {MOST_KEYS:,} keys pass this filter. Narrow it.")
    return selection


@transaction.atomic
def end_keys(
    *, principal: Principal, asked: KeyFilter, action: BulkAction, expected: str, reason: str, at: datetime
) -> int:
    """End all keys that a filter finds and the caller may end, or none; return how many that changed.

    All of it is one transaction, in which the keys are locked by their ids. Keys that are disabled already stay as
    they are when all are disabled.

    :param expected: the digest of the preview.
    :raises NotSelectable: as `preview_bulk` does, and if there is nothing to end.
    :raises SelectionChanged: if the filter finds other keys than the preview had, or the same in other states.
    """
    _check_filter(asked)
    # Only what their audit rows name is read along: the locks are held as long as this takes.
    rows = selected(principal, asked, at=at).select_related("project").select_for_update(of=("self",), no_key=True)
    keys = list(rows[: MOST_KEYS + 1])
    if digest_of((api_key.pk, api_key.disabled_at) for api_key in keys) != expected:
        raise SelectionChanged
    if not 0 < len(keys) <= MOST_KEYS:
        raise NotSelectable(f"Between 1 and {MOST_KEYS:,} keys are ended at once. Choose another filter.")
    reason = kept_reason(reason)
    ended = _end(keys, principal, action, reason, at)
    if action == BulkAction.REVOKE:
        notices.keys_revoked(keys, principal, reason=reason, at=at)
    _note(principal, action, asked, ended, reason)
    return ended


def _check_filter(asked: KeyFilter) -> None:
    # Most keys have no service account: with that alone, all of the people's would end.
    if not replace(asked, has_no_service_account=False).is_narrowing:
        raise NotSelectable(
            "Filter for something besides the state and no service account: all keys are never ended at once."
        )


def _end(keys: Sequence[ApiKey], principal: Principal, action: BulkAction, reason: str, at: datetime) -> int:
    values: dict[str, Any] = {"disabled_at": at}
    event = "api_key.disabled"
    if action == BulkAction.REVOKE:
        values = {"revoked_at": at, "revoked_by_id": principal.person_id, "revoke_reason": reason}
        event = "api_key.revoked"
    else:
        keys = [api_key for api_key in keys if api_key.disabled_at is None]
    for start in range(0, len(keys), KEYS_AT_ONCE):
        change_many(keys[start : start + KEYS_AT_ONCE], values, event=event)
    return len(keys)


def _note(principal: Principal, action: BulkAction, asked: KeyFilter, count: int, reason: str) -> None:
    """Write down what was asked for, without a secret that someone may have looked for by mistake."""
    record(
        event="api_key.bulk_revoked" if action == BulkAction.REVOKE else "api_key.bulk_disabled",
        target_table="api_keys",
        target_label="1 key" if count == 1 else f"{count} keys",
        place=Place(principal.organization_id),
        changes={"filter": [None, asked.as_json(mask=shapes.mask)], "count": [None, count], "reason": [None, reason]},
    )
