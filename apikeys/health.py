"""How a key is doing, in a word, and what to do about it. Pure: no queries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from apikeys.models import EXPIRES_SOON, UNUSED_AFTER, ApiKey, Policy
from apikeys.rules import is_issuer_gone


@dataclass(frozen=True, slots=True)
class Health:
    """A badge: `tone` is good, warn, bad or mute; `advice` says what to do."""

    code: str
    title: str
    tone: str
    advice: str


def health_of(api_key: ApiKey, *, at: datetime, policy: Policy | None = None) -> Health:
    """Return the first thing that is to be said about a key.

    That its issuer is gone is said of a key that was read `with_roles`, and with its places.

    :param policy: says after how many days it counts as unused, and should be rotated; without one, 90 and never.
    """
    state = api_key.state_at(at)
    if state == "revoked":
        return Health("revoked", "Revoked", "mute", "It is refused for good. Issue a new key where it is still wanted.")
    if state == "retired":
        return Health("retired", "Retired", "mute", "It is refused: its successor has taken its place.")
    if state == "expired":
        return Health("expired", "Expired", "mute", "It is refused. Issue a new key where it is still wanted.")
    if api_key.service_account and api_key.service_account.stopped_at:
        return Health("stopped", "Account stopped", "mute", "It is refused for good: its service account was stopped.")
    if without := _issuer_gone(api_key) or _archived(api_key):
        return without
    if state == "disabled":
        return Health(
            "disabled",
            "Disabled",
            "warn",
            "It is refused while it is disabled. Enable it, or revoke it if nothing needs it any more.",
        )
    predecessor = api_key.predecessor
    if predecessor and predecessor.reappeared_at:
        return Health(
            "incident", "Incident", "bad", "The key it replaced was used after it had ended. Find out by whom."
        )
    if api_key.exposed_at:
        return Health("exposed", "Exposed", "bad", "It was sent in a URL, which logs keep. Replace it, then revoke it.")
    if api_key.in_browser_at:
        return Health(
            "in_browser",
            "In a browser",
            "bad",
            "It came from a web page, whose visitors can all read it. Replace it, then revoke it.",
        )
    return _rotating(api_key, at) or _by_the_clock(api_key, at, policy)


def _archived(api_key: ApiKey) -> Health | None:
    """Return what is to be said of a key whose project or team was put away."""
    for noun, place in (("project", api_key.project), ("team", api_key.team)):
        if place and place.archived_at:
            advice = f"It is refused while its {noun} is archived. Restore the {noun}, or revoke the key."
            return Health(f"{noun}_archived", "Archived", "mute", advice)
    return None


def _issuer_gone(api_key: ApiKey) -> Health | None:
    """Return what is to be said of a key that nobody stands behind any more."""
    if not hasattr(api_key, "organization_role") or not is_issuer_gone(api_key):
        return None
    advice = "It is refused: whoever issued it has no role there any more. Hand it to a service account, or revoke it."
    return Health("issuer_gone", "Issuer left", "bad", advice)


def _rotating(api_key: ApiKey, at: datetime) -> Health | None:
    """Return what is to be said while a key and its successor both work."""
    if api_key.is_rotating_at(at) and api_key.ends_at:
        advice = f"Its successor takes its place: it retires in {days(api_key.ends_at - at)}."
        return Health("rotating", "Rotating", "warn", advice)
    if api_key.predecessor and api_key.predecessor.is_rotating_at(at):
        advice = "It takes the place of a key that still works. Put it wherever that one is used."
        return Health("rotating", "Rotating", "accent", advice)
    return None


def _by_the_clock(api_key: ApiKey, at: datetime, policy: Policy | None) -> Health:
    if api_key.expires_at and api_key.expires_at <= at + EXPIRES_SOON:
        return Health(
            "expiring",
            f"Expires in {days(api_key.expires_at - at)}",
            "warn",
            "Issue its successor and swap it before then.",
        )
    idle_since = api_key.last_used_at or api_key.imported_at or api_key.created_at
    unused_after = policy.warn_unused_after if policy else UNUSED_AFTER.days
    if unused_after and idle_since < at - timedelta(days=unused_after):
        return Health(
            "unused",
            f"Unused for {days(at - idle_since)}",
            "warn",
            "Revoke it if nothing needs it any more.",
        )
    if policy and _is_rotation_due(api_key, policy, at):
        age = days(at - api_key.created_at)
        return Health("rotation_due", "Rotation due", "mute", f"It is {age} old. Issue its successor and swap it.")
    if api_key.last_used_at is None:
        return Health("never_used", "Never used", "mute", "Put it where it is needed, or revoke it.")
    return Health("active", "Active", "good", "It is in use. Nothing to do.")


def _is_rotation_due(api_key: ApiKey, policy: Policy, at: datetime) -> bool:
    """Say whether a key is older than the organization recommends; a publishable one is everyone's anyway."""
    is_secret = api_key.kind != ApiKey.Kind.PUBLISHABLE
    return bool(is_secret and policy.rotate_after and api_key.created_at < at - timedelta(days=policy.rotate_after))


def days(span: timedelta) -> str:
    """Say a span in days, to the nearest: a key issued a moment ago for 90 days has 90."""
    if span < timedelta(days=1):
        return "less than a day"
    count = round(span / timedelta(days=1))
    return "1 day" if count == 1 else f"{count} days"
