"""Changing a key: it can be renamed, and allowed less. For more there is a successor."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.principals import Principal
from apikeys.actions.authority import may_revoke
from apikeys.actions.refusals import EditNotAllowed, KeyNotActive, WideningRefused
from apikeys.limits import Limits
from apikeys.models import ApiKey
from apikeys.networks import is_within
from apikeys.permissions import ALL
from apikeys.rules import Rules, rules_of


@dataclass(frozen=True, kw_only=True)
class KeyChange:
    """What a key shall be from now on; None leaves a thing as it is."""

    name: str | None = None
    permissions: Collection[str] | None = None
    expires_at: datetime | None = None
    # Asked for, it is refused to every key that has an end.
    never_expires: bool = False
    networks: Collection[str] | None = None
    allowed_origins: Collection[str] | None = None
    limits: Limits | None = None


@transaction.atomic
def narrow_key(*, principal: Principal, api_key: ApiKey, change: KeyChange, at: datetime) -> ApiKey:
    """Change a key to something that can do no more than it could; it holds from the next request on.

    :raises EditNotAllowed: if the caller neither issued it nor administers its place.
    :raises KeyNotActive: if it has ended.
    :raises WideningRefused: if it could do more, anywhere, longer or more often.
    """
    # The roles are not locked, and need not be: a list of permissions is never more than `*` is, whatever they become.
    current = ApiKey.objects.select_for_update(of=("self",)).with_places().with_roles().get(pk=api_key.pk)
    if not may_revoke(principal, current):
        raise EditNotAllowed
    if current.state_at(at) not in {"active", "disabled"}:
        raise KeyNotActive
    _refuse_widening(current, change, rules_of(current.organization_id), at)
    changed = _apply(current, change)
    if changed:
        current.save(update_fields=changed)
    return current


def _refuse_widening(api_key: ApiKey, change: KeyChange, rules: Rules, at: datetime) -> None:
    if change.permissions is not None and (more := _more_permissions(api_key, change.permissions, rules)):
        raise WideningRefused(f"The key does not have: {', '.join(more)}.", "permissions")
    if not _is_sooner(api_key, change, at):
        raise WideningRefused("The key would end later than it does now, or has ended by then.", "expires_at")
    if change.networks is not None and not _are_fewer_networks(api_key.networks, change.networks):
        raise WideningRefused("The key could come from where it may not come from now.", "networks")
    if change.allowed_origins is not None and not set(change.allowed_origins) <= set(api_key.allowed_origins):
        raise WideningRefused("More web pages could use the key than now.", "allowed_origins")
    if change.limits is not None and (field := _more_requests(api_key, change.limits)):
        raise WideningRefused("The key could make more requests than now.", field)


def _more_permissions(api_key: ApiKey, wanted: Collection[str], rules: Rules) -> list[str]:
    """Return what a key has not got of what is wanted; of `*`, it has what that means now."""
    held = set(api_key.permissions)
    if ALL in held:
        held |= rules.effective(api_key)
    return sorted(set(wanted) - held)


def _is_sooner(api_key: ApiKey, change: KeyChange, at: datetime) -> bool:
    ends_at = change.expires_at
    if ends_at is None:
        return not (change.never_expires and api_key.expires_at)
    return at < ends_at and (api_key.expires_at is None or ends_at <= api_key.expires_at)


def _more_requests(api_key: ApiKey, wanted: Limits) -> str:
    """Return the first limit that would allow more than now; empty if none does."""
    held = Limits(api_key.per_second, api_key.per_minute, api_key.per_day)
    for name, own, asked in zip(Limits._fields, held, wanted, strict=True):
        if own is not None and (asked is None or asked > own):
            return name
    return ""


def _are_fewer_networks(held: Sequence[str], wanted: Collection[str]) -> bool:
    """Say whether some networks lie within others; none at all means everywhere."""
    if not held:
        return True
    return bool(wanted) and all(is_within(network, held) for network in wanted)


def _apply(api_key: ApiKey, change: KeyChange) -> list[str]:
    """Put a change into a row, and return the names of the fields that are others now."""
    wanted = {
        "name": change.name.strip() if change.name is not None else None,
        "permissions": sorted(set(change.permissions)) if change.permissions is not None else None,
        "expires_at": change.expires_at,
        "networks": list(change.networks) if change.networks is not None else None,
        "allowed_origins": list(change.allowed_origins) if change.allowed_origins is not None else None,
    }
    changed = {name: value for name, value in wanted.items() if value is not None}
    if change.limits is not None:
        changed |= change.limits._asdict()
    changed = {name: value for name, value in changed.items() if getattr(api_key, name) != value}
    for name, value in changed.items():
        setattr(api_key, name, value)
    return list(changed)
