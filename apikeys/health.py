"""How a key is doing, in a word, and what to do about it. Pure: no queries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from apikeys.models import EXPIRES_SOON, UNUSED_AFTER, ApiKey


@dataclass(frozen=True, slots=True)
class Health:
    """A badge: `tone` is good, warn, bad or mute; `advice` says what to do."""

    code: str
    title: str
    tone: str
    advice: str


def health_of(api_key: ApiKey, *, at: datetime) -> Health:
    """Return the first thing that is to be said about a key."""
    state = api_key.state_at(at)
    if state == "revoked":
        return Health("revoked", "Revoked", "mute", "It is refused for good. Issue a new key where it is still wanted.")
    if state == "expired":
        return Health("expired", "Expired", "mute", "It is refused. Issue a new key where it is still wanted.")
    if state == "disabled":
        return Health(
            "disabled",
            "Disabled",
            "warn",
            "It is refused while it is disabled. Revoke it if nothing needs it any more.",
        )
    if api_key.exposed_at:
        return Health("exposed", "Exposed", "bad", "It was sent in a URL, which logs keep. Replace it, then revoke it.")
    return _by_the_clock(api_key, at)


def _by_the_clock(api_key: ApiKey, at: datetime) -> Health:
    if api_key.expires_at and api_key.expires_at <= at + EXPIRES_SOON:
        return Health(
            "expiring",
            f"Expires in {days(api_key.expires_at - at)}",
            "warn",
            "Issue its successor and swap it before then.",
        )
    idle_since = api_key.last_used_at or api_key.created_at
    if idle_since < at - UNUSED_AFTER:
        return Health(
            "unused",
            f"Unused for {days(at - idle_since)}",
            "warn",
            "Revoke it if nothing needs it any more.",
        )
    if api_key.last_used_at is None:
        return Health("never_used", "Never used", "mute", "Put it where it is needed, or revoke it.")
    return Health("active", "Active", "good", "It is in use. Nothing to do.")


def days(span: timedelta) -> str:
    """Say a span in days, to the nearest: a key issued a moment ago for 90 days has 90."""
    if span < timedelta(days=1):
        return "less than a day"
    count = round(span / timedelta(days=1))
    return "1 day" if count == 1 else f"{count} days"
