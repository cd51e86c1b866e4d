"""Two hosts of two processes each count the requests of a key together."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis

from apikeys.shared_limits import REST_SECONDS
from tests.faults.load import Call, Client
from tests.hosts.conftest import Tell
from tests.hosts.pair import Pair, verdict
from tests.services import RedisServer

pytestmark = pytest.mark.postgresql
QUOTA = 60
# Two hosts of two workers each, and more than any of them is allowed.
CLIENTS, CALLS = 8, 15


def issue(pair: Pair, **limits: int) -> tuple[str, str]:
    wanted = {"name": "limited", "scope": "org", "permissions": ["keys:read"], "environment": "live", **limits}
    with closing(Client(pair.a.port)) as client:
        called = client.call("POST /v1/api-keys", pair.admin_key, wanted)
    assert called.status == 201, called
    return called.body["id"], called.body["key"]


def call_everywhere(pair: Pair, key: str) -> list[Call]:
    """Call both hosts over many kept connections at once, so that every worker gets some."""

    def one(number: int) -> list[Call]:
        with closing(Client(pair.both[number % 2].port)) as client:
            return [client.call("GET /v1/whoami", key) for _ in range(CALLS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [call for calls in pool.map(one, range(CLIENTS)) for call in calls]


def test_quota_is_one_for_all_hosts_and_processes_to_the_request(
    pair: Pair, redis_server: RedisServer, tell: Tell
) -> None:
    key_id, key = issue(pair, per_day=QUOTA)

    calls = call_everywhere(pair, key)

    verdicts = Counter(verdict(call) for call in calls)
    assert verdicts == {(200, ""): QUOTA, (429, "quota_exceeded"): CLIENTS * CALLS - QUOTA}
    assert all(call.headers["ratelimit-policy"] == f'"day";q={QUOTA};w=86400' for call in calls)
    assert all(0 < int(call.retry_after) <= 86_400 for call in calls if call.status == 429)
    left = sorted(int(call.headers["ratelimit"].split(";r=")[1].split(";")[0]) for call in calls if call.status == 200)
    assert left == list(range(QUOTA))
    with closing(redis.Redis.from_url(redis_server.url)) as store:
        assert len(list(store.scan_iter(f"keyportal:limits:{key_id}"))) == 1
    tell("the slowest answer, seconds", round(max(call.seconds for call in calls), 3))


def test_key_without_limits_leaves_no_trace_in_redis(pair: Pair, redis_server: RedisServer) -> None:
    key_id, key = issue(pair)
    calls = call_everywhere(pair, key)
    assert {(verdict(call), "ratelimit" in call.headers) for call in calls} == {((200, ""), False)}
    with closing(redis.Redis.from_url(redis_server.url)) as store:
        assert list(store.scan_iter(f"keyportal:limits:{key_id}")) == []


def test_redis_that_is_gone_stops_nobody_and_comes_back_to_what_was_counted(
    pair: Pair, redis_server: RedisServer, tell: Tell
) -> None:
    _, key = issue(pair, per_day=QUOTA)
    assert Counter(call.status for call in call_everywhere(pair, key))[200] == QUOTA
    redis_server.stop()
    try:
        calls = call_everywhere(pair, key)
    finally:
        redis_server.start()
    # Each process goes on from what it knew; one that had not been asked before knew nothing.
    assert {verdict(call) for call in calls} <= {(200, ""), (429, "quota_exceeded")}
    assert (429, "quota_exceeded") in {verdict(call) for call in calls}
    assert max(call.seconds for call in calls) < 1
    tell("the slowest answer without Redis, seconds", round(max(call.seconds for call in calls), 3))
    time.sleep(REST_SECONDS + 0.2)
    # Redis is empty now, and told by the first that remembers.
    call_everywhere(pair, key)
    assert {verdict(call) for call in call_everywhere(pair, key)} == {(429, "quota_exceeded")}
