"""Attempts to sign in, counted for all processes: in Redis, and in the table that there is without it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from django.conf import settings as product
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from keyportal.caching import JsonSerializer
from tests.accounts.scenes import together
from tests.cast import PASSWORD, Person
from tests.services import RedisServer

WRONG = "not the password of anybody"


def guess(email: str, password: str = WRONG) -> int:
    response = Client().post("/account/sign-in/", {"login": email, "password": password})
    return int(response.status_code)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture
def store(server: RedisServer, settings: Settings) -> Iterator[redis.Redis]:
    settings.CACHES = {"default": in_redis(server.url)}
    with closing(redis.Redis.from_url(server.url)) as client:
        client.flushall()
        yield client


def in_redis(url: str) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": "keyportal",
        "OPTIONS": {
            "serializer": "keyportal.caching.JsonSerializer",
            "socket_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
        },
    }


@pytest.mark.django_db(transaction=True)
def test_guesses_of_many_at_once_are_counted_in_redis(store: redis.Redis, alice: Person) -> None:
    statuses = together(12, lambda _: guess(alice.email))
    assert sorted(set(statuses)) == [422, 429]
    assert statuses.count(422) <= 5
    assert guess(alice.email, PASSWORD) == 429


def test_redis_holds_no_address_and_forgets_within_the_time(store: redis.Redis, alice: Person) -> None:
    guess(alice.email)
    names = store.keys()
    assert names
    assert not [name for name in names if b"alice" in name]
    assert all(0 < store.pttl(name) <= 300_000 for name in names)
    guess(alice.email, PASSWORD)
    assert all(0 < store.pttl(name) <= 30 * 24 * 3600 * 1000 for name in store.scan_iter())


@pytest.mark.parametrize("forged", [b"\x80\x04\x95", b"not json", b""])
def test_forged_value_runs_nothing_and_opens_nothing(store: redis.Redis, alice: Person, forged: bytes) -> None:
    guess(alice.email)
    for name in store.scan_iter():
        store.set(name, forged)
    client = Client(raise_request_exception=False)
    response = client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD})
    assert response.status_code >= 500
    assert "_auth_user_id" not in client.session


def test_nobody_signs_in_while_redis_is_away_and_all_are_told_to_try_again(alice: Person, settings: Settings) -> None:
    server = RedisServer()
    settings.CACHES = {"default": in_redis(server.url)}
    client = Client(raise_request_exception=False)
    response = client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD})
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert client.get("/account/sign-in/").status_code == 200


@pytest.mark.parametrize("value", [1, 0, -3, True, None, 1.5, "x", [1.25, 2], {"a": [1]}])
def test_serializer_gives_back_what_it_took(value: Any) -> None:
    serializer = JsonSerializer()
    told = serializer.dumps(value)
    assert serializer.loads(str(told).encode() if type(told) is int else told) == value


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_guesses_of_many_at_once_are_counted_in_the_table(alice: Person, settings: Settings) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_of_this_test"}
    }
    call_command("createcachetable", verbosity=0)
    try:
        statuses = together(12, lambda _: guess(alice.email))
        assert sorted(set(statuses)) == [422, 429]
        assert statuses.count(422) <= 5
        assert cache.get("keyportal") is None
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE cache_of_this_test")


def test_limits_name_no_window_that_the_answer_does_not_tell() -> None:
    from allauth.core.internal.ratelimit import parse_rates

    for limits in product.ACCOUNT_RATE_LIMITS.values():
        assert all(rate.duration <= 300 for rate in parse_rates(limits))
