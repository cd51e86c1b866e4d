"""What the policy of now asks of a key that is about to be: issued, put in another's place, or given more."""

from collections.abc import Collection
from datetime import datetime, timedelta

from apikeys.actions.refusals import PolicyForbids
from apikeys.networks import is_within
from apikeys.policing import MAX_LIFETIME, held_together, outlasts
from apikeys.rules import Rules


def check_policy(
    rules: Rules,
    *,
    permissions: Collection[str],
    expires_at: datetime | None,
    created_at: datetime,
    networks: Collection[str] = (),
) -> None:
    """Let no key be what the organization's policy forbids; who may issue which scope, `authority_over` says.

    A successor is held to the policy of now, as if it were new: give it `longest_end` first.

    :raises PolicyForbids: with a sentence that names the rule.
    """
    _check_end(rules, created_at, expires_at)
    if together := held_together(rules.policy.never_together, permissions):
        names = ", ".join(together)
        raise PolicyForbids(f"The organization's policy: no key may have all of {names}. Leave one out.", "permissions")
    held = rules.networks.networks if rules.networks else ()
    if held and not all(is_within(network, held) for network in networks):
        raise PolicyForbids(
            f"The organization's policy: keys come from {', '.join(held)} only. Give networks within these.", "networks"
        )


def _check_end(rules: Rules, created_at: datetime, expires_at: datetime | None) -> None:
    days = rules.policy.max_lifetime
    if outlasts(days, created_at, expires_at):
        raise PolicyForbids(
            f"The organization's policy: a key lives {days} days at most. Give an expiry within these.", "expiry"
        )
    if rules.policy.is_expiry_required and expires_at is None:
        raise PolicyForbids("The organization's policy: every key expires. Give an expiry.", "expiry")


def longest_end(rules: Rules, *, wanted: datetime | None, at: datetime) -> datetime | None:
    """Return when a successor ends at the latest: when it was wanted to, cut to what the policy of now allows."""
    days = rules.policy.max_lifetime or (MAX_LIFETIME if rules.policy.is_expiry_required else None)
    latest = at + timedelta(days=days) if days else None
    return min(filter(None, (wanted, latest)), default=None)
