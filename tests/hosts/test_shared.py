"""What two hosts count together, and what it takes to make them one portal."""

import http.client
import re
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest
import redis
from django.conf import settings

from apikeys import keyformat
from apikeys.shared_budgets import GATHER_SECONDS, REST_SECONDS
from tests.faults.load import Call, Client
from tests.hosts.pair import ADMIN, PASSWORD, Pair, verdict, whoami
from tests.services import Portal, RedisServer
from tests.wire.wire import recomputed

pytestmark = pytest.mark.postgresql

# The product's own, which the hosts have too.
OF_A_SOURCE = settings.KEYPORTAL_FAILURES_PER_SOURCE
# Longer than a Redis that did not answer in time is left alone.
TOLD_SECONDS = REST_SECONDS + 3
ACCEPTED, INVALID, REFUSED = (200, ""), (401, "invalid_key"), (429, "too_many_failures")


def bogus() -> str:
    """Mint a key that no host knows."""
    return keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live").reveal()


def wrong_secret(key: str) -> str:
    """Return the key's public part with another's secret, as well-formed as the key."""
    label = keyformat.parse(key, [keyformat.DEFAULT]).label
    return recomputed(f"{label}_{bogus()[-32 : -keyformat.CHECKSUM_LENGTH]}")


def fail(portal: Portal, times: int, *, source: str) -> list[tuple[int, str]]:
    with closing(Client(portal.port, source=source)) as client:
        return [verdict(client.call("GET /v1/whoami", bogus())) for _ in range(times)]


def counters(store: "redis.Redis") -> dict[bytes, int]:
    """Return the failures of each source that Redis has counted; whose they are, it does not know."""
    return {name: int(store.get(name) or 0) for name in store.scan_iter("keyportal:failures:source:*")}


def is_counted(store: "redis.Redis", before: Collection[bytes], failures: int) -> bool:
    """Wait until Redis has counted so many of a source that was not there before, and say whether it has."""
    end = time.monotonic() + TOLD_SECONDS
    while failures not in [count for name, count in counters(store).items() if name not in before]:
        if time.monotonic() > end:
            return False
        time.sleep(GATHER_SECONDS)
    return True


def spend_here_and_there(pair: Pair, store: "redis.Redis", source: str) -> list[Call]:
    """Spend a source's failures on one host and fail on the other until it refuses; return what that one answered.

    Nothing is returned if Redis was not told of it all: a host leaves a Redis alone for a while that did not answer
    within 50 ms, as it may not on a busy machine.
    """
    before = counters(store)
    assert whoami(pair.b, pair.admin_key, source=source).status == 200
    spent = fail(pair.a, OF_A_SOURCE + 1, source=source)
    assert spent == [INVALID] * OF_A_SOURCE + [REFUSED]
    if not is_counted(store, before, OF_A_SOURCE):
        return []
    with closing(Client(pair.b.port, source=source)) as client:
        first = client.call("GET /v1/whoami", bogus())
        if not is_counted(store, before, OF_A_SOURCE + 1):
            return []
        # Time for what Redis answered to be read.
        time.sleep(20 * GATHER_SECONDS)
        return [first, client.call("GET /v1/whoami", bogus())]


def test_failures_spent_on_one_host_are_refused_on_the_other_after_its_next(
    pair: Pair, redis_server: RedisServer
) -> None:
    there: list[Call] = []
    with closing(redis.Redis.from_url(redis_server.url)) as store:
        for source in ("127.0.0.21", "127.0.0.25", "127.0.0.26", "127.0.0.27"):
            there = there or spend_here_and_there(pair, store, source)

    assert [verdict(call) for call in there] == [INVALID, REFUSED]
    assert 0 < int(there[-1].retry_after) <= 60
    # Others are none the worse for it, nor is a key that was good there before.
    assert fail(pair.b, 1, source="127.0.0.22") == [INVALID]
    assert whoami(pair.b, pair.admin_key, source="127.0.0.22").status == 200


@pytest.fixture
def without_redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.stop()
    yield
    redis_server.start()


def test_without_redis_each_host_goes_on_by_its_own_count(pair: Pair, without_redis: None) -> None:
    for portal in pair.both:
        assert whoami(portal, pair.admin_key).status == 200
        assert fail(portal, OF_A_SOURCE + 1, source="127.0.0.23") == [INVALID] * OF_A_SOURCE + [REFUSED]
        assert whoami(portal, pair.admin_key).status == 200
    assert "budgets.not_shared" in pair.a.log_text()


COUNTED = """
    SELECT coalesce(sum(count) FILTER (WHERE NOT is_refused), 0), coalesce(sum(count) FILTER (WHERE is_refused), 0)
    FROM audit_key_use WHERE prefix = %s
"""
HOURLY = "SELECT coalesce(sum(uses), 0), coalesce(sum(refusals), 0) FROM audit_key_use_hour WHERE key_id = %s"
LAST_USED = "SELECT host(last_used_ip) FROM apikeys_apikey WHERE id = %s"


def test_uses_recorded_by_both_hosts_sum_up_exactly(pair: Pair) -> None:
    with closing(Client(pair.a.port)) as a:
        issued = pair.issue(a, "counted")
    prefix = keyformat.parse(issued.text, [keyformat.DEFAULT]).prefix
    uses, refusals = {pair.a: 300, pair.b: 200}, {pair.a: 5, pair.b: 3}

    for portal in pair.both:
        with closing(Client(portal.port, source="127.0.0.24")) as client:
            sent = [client.call("GET /v1/whoami", issued.text) for _ in range(uses[portal])]
            assert {verdict(call) for call in sent} == {ACCEPTED}
            sent = [client.call("GET /v1/whoami", wrong_secret(issued.text)) for _ in range(refusals[portal])]
            assert [verdict(call) for call in sent] == [INVALID] * refusals[portal]

    everything = (sum(uses.values()), sum(refusals.values()))
    end = time.monotonic() + 30
    while pair.rows(COUNTED, prefix) != [everything]:
        assert time.monotonic() < end, pair.rows(COUNTED, prefix)
        time.sleep(0.1)
    # Long enough for whatever would be written a second time.
    time.sleep(1.5)
    assert pair.rows(COUNTED, prefix) == [everything]
    # Nobody knows that a wrong secret was meant for this key, so the sums of the key itself are of its uses.
    assert pair.rows(HOURLY, issued.id)[0][0] == everything[0]
    assert pair.rows(LAST_USED, issued.id) == [("127.0.0.24",)]


def test_hosts_share_three_settings_and_nothing_else(pair: Pair) -> None:
    own = {"PORT", "KEYPORTAL_DATA_DIR"}
    a, b = (portal.environment for portal in pair.both)
    assert {name for name in a | b if a.get(name) != b.get(name)} == own
    asked_by_tests = {name for name in a if name.startswith("KEYPORTAL_ARGON2") or name == "WEB_CONCURRENCY"}
    inherited = {"PATH", "HOME", "LANG", "TMPDIR", "TZ", "PYTHONUNBUFFERED"}
    assert {*a} - own - asked_by_tests - inherited == {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}


def test_person_who_signed_in_on_one_host_is_signed_in_on_the_other(pair: Pair) -> None:
    cookies = signed_in(pair.a)
    for portal in pair.both:
        with closing(http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10)) as connection:
            connection.request("GET", "/", headers={"Cookie": cookies})
            response = connection.getresponse()
            assert response.status == 200
            assert "Orchard" in response.read().decode()


def signed_in(portal: Portal) -> str:
    """Sign in as a browser without JavaScript would, and return its cookies."""
    jar: dict[str, str] = {}
    path = "/account/sign-in/"
    with closing(http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', response.read().decode())[:1]
        jar |= sent_cookies(response)
        form = urlencode({"csrfmiddlewaretoken": token, "login": ADMIN, "password": PASSWORD})
        headers = {"Cookie": as_header(jar), "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, form, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 302
        jar |= sent_cookies(response)
    return as_header(jar)


def sent_cookies(response: http.client.HTTPResponse) -> dict[str, str]:
    pairs = (header.partition(";")[0].partition("=") for header in response.headers.get_all("Set-Cookie", []))
    return {name: value for name, _, value in pairs}


def as_header(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())
