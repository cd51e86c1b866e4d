"""What an organization demands of its keys, and what becomes of those it has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts.models import Organization
from accounts.principals import Principal
from accounts.rights import Right, holds
from apikeys import policing
from apikeys.actions.refusals import PolicyHasChanged, SuperAdminOnly
from apikeys.models import ApiKey, Policy
from apikeys.networks import changed
from apikeys.policing import ENDING, Preview, Terms, broken, is_beyond, is_idle
from apikeys.rules import Rules, rules_of
from audit.models import AuditEvent
from audit.tracking import change_many

# How many keys are locked and written at once; SQLite takes at most 999 parameters in its oldest builds.
KEYS_AT_ONCE = 500


class PolicyChange(TypedDict, total=False):
    """What a policy shall say from now on; what is left out stays as it is. Days are whole, and None is no rule."""

    max_lifetime: int | None
    is_expiry_required: bool
    team_issuers: str
    project_issuers: str
    never_together: Sequence[Sequence[str]]
    networks: Sequence[str]
    warn_unused_after: int | None
    disable_unused_after: int | None
    rotate_after: int | None


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """What a change of policy did: the rules that hold now, and how many keys were given an end."""

    rules: Rules
    ended: int


def preview_policy(*, principal: Principal, changes: PolicyChange, existing_from: datetime, at: datetime) -> Preview:
    """Return what `change_policy` would do now, and change nothing.

    :raises SuperAdminOnly: as `change_policy` does.
    """
    require_right(principal, Right.POLICIES_CHANGE)
    before = Terms.of(rules_of(principal.organization_id))
    found = _foreseen(principal.organization_id, before, changes, existing_from, at)
    return policing.with_examples(found)


@transaction.atomic
def change_policy(
    *,
    principal: Principal,
    changes: PolicyChange,
    existing_from: datetime,
    at: datetime,
    expected: str | None = None,
) -> PolicyChanged:
    """Change what the organization demands of its keys: of new ones at once, of existing ones from a date on.

    Existing keys that break a rule which is new or stricter end on that date, if they would not end before. A rule
    that stays as it is or is loosened changes no key.

    :param existing_from: the date for existing keys; one that has passed is now.
    :param expected: the digest of the terms that the caller saw; None from who sends nothing but what is to change.
    :raises SuperAdminOnly: unless the caller is the organization's super admin, or a key of one for all of it.
    :raises PolicyHasChanged: if the policy says something else by now than the caller saw.
    """
    require_right(principal, Right.POLICIES_CHANGE)
    # Whoever issues a key meanwhile waits, and is then held to the new policy.
    rules = rules_of(principal.organization_id, is_locked=True)
    before = Terms.of(rules)
    if expected is not None and not constant_time_compare(expected, before.digest):
        raise PolicyHasChanged
    found = _foreseen(principal.organization_id, before, changes, existing_from, at)
    _save_policy(rules.policy, found)
    _save_networks(rules, found, at)
    ended = sum(_end(chunk, found, at) for chunk in _chunks(sorted(found.ending)))
    return PolicyChanged(rules_of(principal.organization_id), ended)


def require_right(principal: Principal, right: Right) -> None:
    """Let only who has a right over the whole organization pass.

    :raises SuperAdminOnly: for anyone else.
    """
    if not holds(principal, right):
        raise SuperAdminOnly


def _foreseen(
    organization_id: UUID, before: Terms, changes: PolicyChange, existing_from: datetime, at: datetime
) -> Preview:
    together = policing.normal_sets(changes.get("never_together", before.never_together))
    networks = tuple(dict.fromkeys(changes.get("networks", before.networks)))
    given: dict[str, Any] = {**changes, "never_together": together, "networks": networks}
    after = replace(before, **given)
    return policing.preview(organization_id, before, after, existing_from=max(existing_from, at), at=at)


def _save_policy(policy: Policy, found: Preview) -> None:
    before, after = found.before.as_stored(), found.after.as_stored()
    if before == after:
        return
    if policing.stricter(found.before, found.after).disable_unused_after or not found.after.disable_unused_after:
        after["disable_unused_from"] = found.existing_from if found.after.disable_unused_after else None
    for name, value in after.items():
        setattr(policy, name, value)
    if policy._state.adding:
        policy.save(force_insert=True)
    else:
        policy.save(update_fields=list(after))


def _save_networks(rules: Rules, found: Preview, at: datetime) -> None:
    if found.before.networks == found.after.networks:
        return
    policy = changed(rules.networks, found.after.networks, existing_from=found.existing_from, at=at)
    organization: Organization = rules.policy.organization
    organization.network_policy = policy.as_stored() if policy else {}
    organization.save(update_fields=["network_policy"])


def _end(key_ids: Sequence[UUID], found: Preview, at: datetime) -> int:
    """Give the date as their end to those keys which, now that nobody else can change them, still fall short."""
    terms = policing.stricter(found.before, found.after)
    rows = ApiKey.objects.select_for_update(of=("self",), no_key=True).active(at=at).with_roles().with_places()
    keys = [
        key
        for key in rows.filter(pk__in=key_ids).order_by("pk")
        if is_beyond(key, found.existing_from) and not ENDING.isdisjoint(broken(terms, key, at=at))
    ]
    # A key ends after it was made, though that was at this very moment.
    late = [key for key in keys if key.created_at >= found.existing_from]
    for key in late:
        change_many([key], {"expires_at": key.created_at + timedelta.resolution}, event="api_key.grandfathered")
    in_time = [key for key in keys if key.created_at < found.existing_from]
    change_many(in_time, {"expires_at": found.existing_from}, event="api_key.grandfathered")
    return len(keys)


def disable_unused_keys(*, policy: Policy, at: datetime) -> int:
    """Disable the keys of an organization that were not used for as many days as its policy says; return how many.

    One that was enabled again has as many days anew. Each few keys are a transaction of their own, since the rule is
    one that any run may go on with.
    """
    days = policy.disable_unused_after
    if days is None or not _is_due(policy, at):
        return 0
    # What was made or used later cannot be idle for so long, and its index tells.
    keys = ApiKey.objects.filter(organization_id=policy.organization_id, disabled_at=None).unused_for(days, at=at)
    key_ids = list(keys.active(at=at).order_by("pk").values_list("pk", flat=True))
    return sum(_disable(policy.organization_id, chunk, days, at) for chunk in _chunks(key_ids))


@transaction.atomic
def _disable(organization_id: UUID, key_ids: Sequence[UUID], days: int, at: datetime) -> int:
    # Whoever changes the policy waits, or has done so: then its keys are for the next run to look at.
    policy = rules_of(organization_id, is_locked=True).policy
    if policy.disable_unused_after != days or not _is_due(policy, at):
        return 0
    rows = ApiKey.objects.select_for_update(of=("self",), no_key=True).active(at=at).with_places()
    enabled = _enabled_within(key_ids, days, at)
    keys = [
        key
        for key in rows.filter(pk__in=key_ids, disabled_at=None).order_by("pk")
        if is_idle(key, days, at=at) and str(key.pk) not in enabled
    ]
    change_many(keys, {"disabled_at": at}, event="api_key.disabled")
    return len(keys)


def _is_due(policy: Policy, at: datetime) -> bool:
    return policy.disable_unused_from is None or at >= policy.disable_unused_from


def _enabled_within(key_ids: Sequence[UUID], days: int, at: datetime) -> set[str]:
    events = AuditEvent.objects.filter(
        target_table="api_keys",
        target_id__in=[str(key_id) for key_id in key_ids],
        event="api_key.enabled",
        at__gt=at - timedelta(days=days),
    )
    return set(events.values_list("target_id", flat=True))


def _chunks(key_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(key_ids), KEYS_AT_ONCE):
        yield key_ids[start : start + KEYS_AT_ONCE]
