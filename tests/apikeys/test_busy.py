"""A portal whose database or processors are taken: calls do not wait for what they can do without."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from uuid_utils.compat import uuid7

from accounts.models import Project
from apikeys import hashing
from apikeys.models import ApiKey, without_waiting
from audit import uses
from tests.cast import Issued


@contextmanager
def someone_writing(issued: Issued) -> Iterator[None]:
    """Another process holds what a write of this key's row needs: all of SQLite, or the row of PostgreSQL."""
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}) as other_pg:
        other_pg.execute("SELECT 1 FROM apikeys_apikey WHERE id = %s FOR UPDATE", [issued.row.pk])
        yield


def call(issued: Issued) -> tuple[int, float]:
    started = time.perf_counter()
    status = Client().get("/v1/whoami", headers=issued.headers).status_code
    return status, time.perf_counter() - started


@pytest.mark.django_db(transaction=True)
def test_first_use_does_not_wait_for_a_writer(transactional_db: None, issued: Issued) -> None:
    with someone_writing(issued):
        status, seconds = call(issued)
    assert status == 200
    assert seconds < 1
    uses.flush()
    assert ApiKey.objects.get(pk=issued.row.pk).last_used_at is not None


@pytest.mark.sqlite
def test_patience_is_restored(db: None) -> None:
    def patience() -> Any:
        with connection.cursor() as cursor:
            return cursor.execute("PRAGMA busy_timeout").fetchone()[0]

    before = patience()
    with without_waiting():
        assert patience() == 50
    assert patience() == before == 10_000


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_key_that_cannot_be_hashed_is_not_issued_and_the_form_comes_back(
    alice_client: Client, project: Project, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    def fail(_: str) -> str:
        raise hashing.HashingUnavailable("no memory")

    form = {"issue_id": str(uuid7()), "name": "nightly", "scope": "project", "project": str(project.pk)}
    form |= {"environment": "live", "permissions": "scan:read", "expiry": "90"}
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "make_digest", fail)
        response: Any = alice_client.post("/integrations/new/", form, headers=headers)
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert "The portal is busy just now, and nothing was issued. Try again in a moment." in response.text
    assert 'value="nightly"' in response.text
    assert ApiKey.objects.count() == 0
    assert alice_client.post("/integrations/new/", form, headers=headers).status_code == 200
    assert ApiKey.objects.count() == 1


def test_line_that_cannot_be_written_is_not_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert logging.raiseExceptions is False
