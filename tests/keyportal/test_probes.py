import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, connections
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from keyportal import probes
from tests.cast import Issued
from tests.keyportal.conftest import Log
from tests.keyportal.test_settings import Installation
from tests.services import Portal

TOKEN = "only-prometheus-knows-it"
PROBES = ("/healthz", "/readyz", "/metrics")


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test found out about the migrations does not count here."""
    monkeypatch.setattr(probes, "_migrations", probes.Migrations())


@pytest.fixture
def metrics_token(settings: Settings) -> None:
    settings.KEYPORTAL_METRICS_TOKEN = TOKEN


@pytest.fixture
def broken_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("no route to db.internal.example")

    monkeypatch.setattr(probes, "_read", fail)


# All three


@pytest.mark.parametrize("url", PROBES)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_probe_takes_nothing(client: Client, db: None, metrics_token: None, url: str, method: str) -> None:
    response = getattr(client, method)(url)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("url", PROBES)
def test_probe_is_for_machines_and_kept_by_nobody(client: Client, db: None, metrics_token: None, url: str) -> None:
    for method in (client.get, client.head):
        response = method(url, headers={"Authorization": f"Bearer {TOKEN}"})
        assert response.status_code == 200
        assert response["Content-Type"].startswith("text/plain")
        assert "no-store" in response["Cache-Control"]
        assert "Set-Cookie" not in response
        assert "Server" not in response
        assert "Location" not in response


@pytest.mark.parametrize("url", ["/healthz", "/readyz"])
def test_probe_says_two_words_at_most(client: Client, issued: Issued, url: str) -> None:
    response = client.get(url, headers={"Authorization": f"Bearer {issued.key}"})
    assert response.content in {b"ok\n", b"ready\n"}


@pytest.mark.parametrize("url", PROBES)
def test_probe_runs_no_argon2(
    client: Client, issued: Issued, monkeypatch: pytest.MonkeyPatch, metrics_token: None, url: str
) -> None:
    import argon2.low_level

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("argon2 ran")

    for name in ("hash_secret", "hash_secret_raw", "verify_secret"):
        monkeypatch.setattr(argon2.low_level, name, refuse)
    assert client.get(url, headers={"Authorization": f"Bearer {issued.key}"}).status_code in {200, 401}


# healthz


def test_health_asks_nothing_of_the_database(
    client: Client, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert client.get("/healthz").status_code == 200


# readyz


def test_ready_asks_for_the_migrations_only_once(
    client: Client, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert client.get("/readyz").content == b"ready\n"
    with django_assert_num_queries(1):
        assert client.get("/readyz").content == b"ready\n"


def test_not_ready_while_a_migration_is_missing(client: Client, db: None, log: Log) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'audit'")
    response = client.get("/readyz")
    assert (response.status_code, response.content) == (503, b"not ready\n")
    assert response["Retry-After"] == "2"
    [line] = [line for line in log.lines if line["event"] == "portal.not_ready"]
    assert line["reason"].endswith(" migrations are not applied")


@pytest.mark.django_db
def test_not_ready_while_the_database_is_away(client: Client, broken_database: None, log: Log) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.content) == (503, b"not ready\n")
    assert response["Retry-After"] == "2"
    assert "db.internal.example" not in str(response.headers)
    [line] = [line for line in log.lines if line["event"] == "portal.not_ready"]
    assert line["reason"] == "OperationalError: no route to db.internal.example"


@pytest.fixture
def own_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A kept connection of this test's own in the place of the default one, and in no transaction."""
    own: Any = connections.create_connection("default")
    usual = connections["default"]
    connections["default"] = own
    own.ensure_connection()
    yield own
    own.close()
    connections["default"] = usual


@pytest.mark.postgresql
@pytest.mark.django_db
def test_not_ready_while_the_database_is_silent_and_says_so_soon(client: Client, own_connection: Any, log: Log) -> None:
    with own_connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        assert client.get("/readyz").status_code == 503
        assert 2 <= time.monotonic() - started < 3
    finally:
        os.kill(pid, signal.SIGCONT)
    [line] = [line for line in log.lines if line["event"] == "portal.not_ready"]
    assert line["reason"].startswith("ServerSilent: ")
    assert client.get("/readyz").status_code == 200


@pytest.mark.postgresql
@pytest.mark.django_db
def test_ready_though_a_kept_connection_was_cut(client: Client, own_connection: Any) -> None:
    with own_connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    with own_connection.__class__(own_connection.settings_dict, alias="other").cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        cursor.db.close()
    assert client.get("/readyz").status_code == 200


# metrics


@pytest.mark.django_db
def test_without_a_token_there_are_no_metrics(client: Client, settings: Settings) -> None:
    settings.KEYPORTAL_METRICS_TOKEN = ""
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}"}):
        response = client.get("/metrics", headers=headers)
        assert response.status_code == 404
        assert "WWW-Authenticate" not in response


@pytest.mark.django_db
@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_who_has_the_token_reads_the_metrics(client: Client, metrics_token: None, value: str) -> None:
    response = client.get("/metrics", headers={"Authorization": value})
    assert response.status_code == 200
    assert b"# TYPE keyportal_argon2_runs_total counter\n" in response.content


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \u20ac"]
)
def test_who_has_not_is_refused(client: Client, metrics_token: None, value: str, log: Log) -> None:
    response = client.get("/metrics", headers={"Authorization": value})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="keyportal metrics"'
    assert b"keyportal_" not in response.content
    assert TOKEN not in log.text


@pytest.mark.django_db
def test_session_or_key_is_no_way_to_the_metrics(alice_client: Client, issued: Issued, metrics_token: None) -> None:
    assert alice_client.get("/metrics").status_code == 401
    assert alice_client.get("/metrics", headers={"Authorization": f"Bearer {issued.key}"}).status_code == 401


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr("structlog.configure", lambda **_: None)
    return Installation(tmp_path / "data", monkeypatch)


@pytest.mark.pure
@pytest.mark.parametrize("token", ["short", "fifteen-letters", "a token with spaces in it", "käse-und-brot-und-bier"])
def test_token_that_is_weak_or_fits_no_header_stops_the_start(installation: Installation, token: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="KEYPORTAL_METRICS_TOKEN must have 16 characters") as caught:
        installation(KEYPORTAL_METRICS_TOKEN=token)
    assert token not in str(caught.value)


@pytest.mark.pure
def test_token_is_none_unless_it_is_set(installation: Installation) -> None:
    assert installation()["KEYPORTAL_METRICS_TOKEN"] == ""
    assert installation(KEYPORTAL_METRICS_TOKEN=TOKEN)["KEYPORTAL_METRICS_TOKEN"] == TOKEN


# In a portal


def test_probes_of_a_portal(portal: Portal) -> None:
    import urllib.request

    for url, content in {"/healthz": b"ok\n", "/readyz": b"ready\n"}.items():
        with urllib.request.urlopen(portal.url + url, timeout=10) as response:
            assert response.read() == content
    assert "portal.not_ready" not in portal.log_text()
