from datetime import datetime, timedelta

import pytest

from apikeys.health import days, health_of
from apikeys.models import ApiKey
from tests.cast import NOON

pytestmark = pytest.mark.pure
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def health(**fields: datetime | None) -> tuple[str, str, str]:
    found = health_of(ApiKey(**{"created_at": NOON - DAY, **fields}), at=NOON)
    assert found.advice
    return found.code, found.title, found.tone


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"revoked_at": NOON}, ("revoked", "Revoked", "mute")),
        ({"expires_at": NOON}, ("expired", "Expired", "mute")),
        ({"disabled_at": NOON}, ("disabled", "Disabled", "warn")),
        ({"exposed_at": NOON}, ("exposed", "Exposed", "bad")),
        ({"in_browser_at": NOON}, ("in_browser", "In a browser", "bad")),
        ({"exposed_at": NOON, "in_browser_at": NOON}, ("exposed", "Exposed", "bad")),
        ({"expires_at": NOON + SECOND}, ("expiring", "Expires in less than a day", "warn")),
        ({"expires_at": NOON + DAY}, ("expiring", "Expires in 1 day", "warn")),
        ({"expires_at": NOON + 14 * DAY}, ("expiring", "Expires in 14 days", "warn")),
        ({"expires_at": NOON + 14 * DAY + SECOND}, ("never_used", "Never used", "mute")),
        ({"created_at": NOON - 90 * DAY}, ("never_used", "Never used", "mute")),
        ({"created_at": NOON - 90 * DAY - SECOND}, ("unused", "Unused for 90 days", "warn")),
        ({"created_at": NOON - 200 * DAY, "last_used_at": NOON - 90 * DAY}, ("active", "Active", "good")),
        ({"last_used_at": NOON - 90 * DAY - SECOND}, ("unused", "Unused for 90 days", "warn")),
        ({"last_used_at": NOON}, ("active", "Active", "good")),
    ],
)
def test_health_is_what_the_key_is_at_that_moment(fields: dict[str, datetime], expected: tuple[str, str, str]) -> None:
    assert health(**fields) == expected


def test_first_thing_to_say_is_said() -> None:
    worst: dict[str, datetime | None] = {
        "revoked_at": NOON,
        "expires_at": NOON,
        "disabled_at": NOON,
        "exposed_at": NOON,
        "created_at": NOON - 200 * DAY,
    }
    told = []
    for mended in ("", "revoked_at", "expires_at", "disabled_at", "exposed_at"):
        worst |= {mended: None} if mended else {}
        told.append(health(**worst)[0])
    assert told == ["revoked", "expired", "disabled", "exposed", "unused"]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "less than a day"),
        (DAY - SECOND, "less than a day"),
        (DAY, "1 day"),
        (DAY + timedelta(hours=11), "1 day"),
        (2 * DAY - SECOND, "2 days"),
        (2 * DAY, "2 days"),
    ],
)
def test_span_is_told_to_the_nearest_day(span: timedelta, words: str) -> None:
    assert days(span) == words


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"exposed_at": NOON}, "active"),
        ({"disabled_at": NOON}, "disabled"),
        ({"disabled_at": NOON, "expires_at": NOON}, "expired"),
        ({"expires_at": NOON + SECOND}, "active"),
        ({"disabled_at": NOON, "expires_at": NOON, "revoked_at": NOON}, "revoked"),
    ],
)
def test_state_is_the_first_that_holds(fields: dict[str, datetime], state: str) -> None:
    assert ApiKey(created_at=NOON - DAY, **fields).state_at(NOON) == state
