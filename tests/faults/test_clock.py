"""A clock that is set back and forth by an hour: what is limited or remembered runs on the monotonic one."""

from datetime import datetime, timedelta

import pytest

from apikeys import keyformat
from tests.faults.house import WRITTEN_SECONDS, House, until
from tests.faults.load import Call

pytestmark = pytest.mark.every_database

HOUR = 3600
FAILURES = 5


def bogus() -> str:
    """Return a key of nobody."""
    return keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live").reveal()


def last_used_at(house: House, key: str) -> datetime | None:
    [(at,)] = house.rows("SELECT last_used_at FROM apikeys_apikey WHERE label = %s", key.rpartition("_")[0])
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def test_limit_outlasts_a_jump_of_the_clock_and_good_keys_do_not_notice(house: House) -> None:
    house.serve_anew(KEYPORTAL_FAILURES_PER_SOURCE=str(FAILURES))
    source = "127.0.0.21"
    assert house.verdict(house.key).status == 200

    def refused() -> Call:
        return house.call("GET /v1/whoami", bogus(), source=source)

    assert [refused().status for _ in range(FAILURES)] == [401] * FAILURES
    runs = house.metric("keyportal_argon2_runs_total")
    for offset in (HOUR, -HOUR, 0):
        house.set_clock(offset)
        called = refused()
        assert (called.status, called.code) == (429, "too_many_failures")
        assert 0 < int(called.retry_after) <= 60
        assert house.whoami().status == 200
    # What was verified before is known after, so argon2 did not run again.
    assert house.metric("keyportal_argon2_runs_total") == runs


def test_time_of_last_use_never_goes_back(house: House) -> None:
    house.serve_anew()
    key_id, key = house.issue()
    seen: list[datetime] = []
    for offset in (0, HOUR, -HOUR, 0):
        house.set_clock(offset)
        called = house.whoami(key)
        assert called.status == 200
        house.wait_until_recorded([called])
        until(lambda: last_used_at(house, key), seconds=WRITTEN_SECONDS, what="the last use is known")
        at = last_used_at(house, key)
        assert at
        seen.append(at)

    assert seen == sorted(seen)
    assert timedelta(seconds=HOUR - 60) < seen[1] - seen[0] < timedelta(seconds=HOUR + 60)
    assert seen[1] == seen[2] == seen[3]
    house.set_clock(0)
    assert house.ask_revoke(key_id).status == 204


def test_revocation_holds_whatever_the_clock_says(house: House) -> None:
    house.serve_anew()
    key_id, key = house.issue()
    assert house.verdict(key).status == 200
    assert house.ask_revoke(key_id).status == 204
    for offset in (HOUR, -HOUR, 0):
        house.set_clock(offset)
        called = house.whoami(key)
        assert (called.status, called.code) == (401, "key_revoked")
