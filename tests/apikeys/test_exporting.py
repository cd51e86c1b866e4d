"""The list as a file: what is in it, what is not, and that it is on record."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Project
from apikeys import exporting
from apikeys.models import ApiKey
from audit.models import AuditEvent
from tests.apikeys.audited import break_the_audit_log, everything_recorded
from tests.cast import Issued, Person, later

Issue = Callable[..., Issued]
CSV, JSON = "/integrations/export.csv", "/integrations/export.json"


def text_of(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def rows_of(client: Client, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(client.post(f"{CSV}?{query}")), newline="")))


def test_file_holds_what_the_filter_finds_and_no_secret(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project, sign_in_as: Callable[[Person], Client]
) -> None:
    client = sign_in_as(dana)
    kept = issue(dana, project, name="nightly", expires_at=later(days=9), permissions=["projects:read", "keys:read"])
    issue(dana, project, name="other")
    response: Any = client.post(f"{CSV}?q=night")
    assert response["Content-Disposition"] == 'attachment; filename="api-keys-2026-03-02.csv"'
    text = text_of(response)
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["name"], row["label"], row["state"]) == ("nightly", kept.row.label, "active")
    assert (row["permissions"], row["expires_at"]) == ("keys:read projects:read", later(days=9).isoformat())
    [same] = json.loads(text_of(client.post(f"{JSON}?q=night")))
    assert {name: same[name] or "" for name in ("id", "name", "issuer", "project", "last_used_at")} == {
        name: row[name] for name in ("id", "name", "issuer", "project", "last_used_at")
    }
    assert same["permissions"] == ["keys:read", "projects:read"]
    for secret in (kept.key.secret, ApiKey.objects.get(pk=kept.row.pk).digest):
        assert secret not in text


@pytest.mark.parametrize("first", ["=", "+", "-", "@"])
def test_cell_that_a_spreadsheet_would_run_is_text(
    issue: Issue, dana: Person, project: Project, dana_client: Client, first: str
) -> None:
    issue(dana, project, name=f'{first}HYPERLINK("https://evil.example")')
    assert rows_of(dana_client)[0]["name"] == f'\'{first}HYPERLINK("https://evil.example")'


def test_file_of_nothing_is_well_formed(alice_client: Client) -> None:
    assert rows_of(alice_client) == []
    assert json.loads(text_of(alice_client.post(JSON))) == []


def test_file_of_many_is_read_a_few_at_a_time(
    issue: Issue, dana: Person, project: Project, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 2)
    names = [issue(dana, project, name=f"key {n}").row.name for n in range(5)]
    assert [row["name"] for row in rows_of(dana_client)] == names[::-1]
    assert [row["name"] for row in json.loads(text_of(dana_client.post(JSON)))] == names[::-1]


def test_stranger_gets_a_file_of_nothing(issued: Issued, charlie_client: Client) -> None:
    assert rows_of(charlie_client) == []


def test_export_is_on_record_with_its_filter_and_count(issued: Issued, dana: Person, dana_client: Client) -> None:
    rows_of(dana_client, "q=github&state=active")
    event = AuditEvent.objects.get(event="api_key.exported")
    assert (event.actor_label, event.organization_id) == ("dana@example.com", dana.membership.organization_id)
    assert event.changes == {
        "filter": [None, {"text": "github", "state": "active"}],
        "count": [None, 1],
        "format": [None, "csv"],
    }


def test_nothing_is_exported_without_its_record(
    issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    dana_client.raise_request_exception = False
    break_the_audit_log(monkeypatch)
    response: Any = dana_client.post(CSV)
    assert (response.status_code, response.streaming) == (500, False)


def test_bad_filter_is_422_and_no_file(dana_client: Client) -> None:
    assert dana_client.post(f"{CSV}?scope=galaxy").status_code == 422
    assert dana_client.get(CSV).status_code == 405


@pytest.mark.parametrize("query", ["q=x{0.key.secret}", "label=x{0.key.secret}", "q={0.text:.40}"])
def test_key_that_was_looked_for_is_not_on_record(issued: Issued, dana_client: Client, query: str) -> None:
    text_of(dana_client.post(f"{CSV}?{query.format(issued)}"))
    assert AuditEvent.objects.filter(event="api_key.exported").count() == 1
    assert issued.key.secret[:16] not in everything_recorded()
