"""A secret key that comes from a browser: refused, on record, and marked for those who have to replace it."""

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from accounts.models import Organization, Project
from apikeys import actions
from apikeys.health import health_of
from apikeys.limits import Limits
from apikeys.models import ApiKey
from audit import uses
from audit.models import AuditEvent, KeyUse
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, events_of, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.presented import with_secret
from tests.cast import NOON, Issued, Person, later

WHOAMI = "/v1/whoami"
PAGE = "https://shop.example.com"
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]

# What browsers say of the page that asks, by where it asks from.
FROM_BROWSERS: dict[str, dict[str, str]] = {
    "a page elsewhere": {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"},
    "a page of an older browser": {"Origin": PAGE},
    "a page that keeps its origin to itself": {"Origin": "null"},
    "a page of the portal's own, reading": {"Sec-Fetch-Site": "same-origin"},
    "a page of the portal's own, writing": {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"},
    "an extension": {"Sec-Fetch-Site": "none"},
    "an extension that writes": {"Origin": "chrome-extension://abcdefghijklmnop", "Sec-Fetch-Site": "none"},
    "a page with an origin of any length": {"Origin": "https://" + "x" * 5000},
}
# What the libraries of servers send: `fetch` of Node says of the mode, and of nothing else.
FROM_SERVERS: dict[str, dict[str, str]] = {
    "curl": {"User-Agent": "curl/8.5.0"},
    "fetch of Node": {"User-Agent": "node", "Sec-Fetch-Mode": "cors"},
    "a proxy that blanks what browsers say": {"Origin": "", "Sec-Fetch-Site": ""},
    "a page's link": {"Referer": PAGE},
}


def send(issued: Issued, path: str = WHOAMI, **headers: str) -> Any:
    return Client().get(path, headers=issued.headers | headers)


def cors_headers(response: Any) -> list[str]:
    return [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("sender", FROM_BROWSERS)
def test_secret_key_from_a_browser_is_refused_and_marked(
    noon: time_machine.Traveller, issued: Issued, sender: str
) -> None:
    response = send(issued, **FROM_BROWSERS[sender])
    assert (response.status_code, response.json()["code"]) == (403, "secret_key_in_browser")
    assert response["Content-Type"] == "application/problem+json"
    assert cors_headers(response) == []
    assert ApiKey.objects.get(pk=issued.row.pk).in_browser_at == NOON
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [Row("api_key.seen_in_browser", "update", label, "api_key", label)]


@pytest.mark.parametrize("sender", FROM_SERVERS)
def test_secret_key_from_a_server_is_let_in(issued: Issued, sender: str) -> None:
    assert send(issued, **FROM_SERVERS[sender]).status_code == 200
    assert ApiKey.objects.get(pk=issued.row.pk).in_browser_at is None


def test_organization_key_from_a_browser_is_refused(issue: Issue, alice: Person, organization: Organization) -> None:
    response = send(issue(alice, organization), Origin=PAGE)
    assert (response.status_code, response.json()["code"]) == (403, "secret_key_in_browser")
    assert ApiKey.objects.get().in_browser_at is not None


@pytest.mark.parametrize("path", [WHOAMI, "/v1/projects", "/v1/api-keys", "/v1/nowhere"])
@pytest.mark.parametrize("method", ["get", "post", "delete", "options"])
def test_secret_key_from_a_browser_is_refused_at_every_address(issued: Issued, path: str, method: str) -> None:
    response = getattr(Client(), method)(path, headers=issued.headers | {"Origin": PAGE})
    assert (response.status_code, response.json()["code"]) == (403, "secret_key_in_browser")
    assert cors_headers(response) == []


def test_refusal_changes_nothing_but_the_mark(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, permissions=["keys:write"])
    response = Client().post(
        "/v1/api-keys",
        {"name": "child", "scope": "project"},
        content_type="application/json",
        headers=issued.headers | {"Origin": PAGE},
    )
    assert response.status_code == 403
    assert ApiKey.objects.count() == 1
    uses.flush()
    assert ApiKey.objects.get().last_used_at is None


def test_key_is_marked_once_with_the_first_time(
    noon: time_machine.Traveller, issued: Issued, django_assert_num_queries: Queries
) -> None:
    send(issued, Origin=PAGE)
    noon.move_to(later(minutes=1))
    with django_assert_num_queries(1):
        assert send(issued, Origin=PAGE).status_code == 403
    assert ApiKey.objects.get().in_browser_at == NOON
    assert events_of(issued.row) == ["api_key.created", "api_key.seen_in_browser"]


def test_marking_twice_changes_nothing(issued: Issued) -> None:
    actions.mark_seen_in_browser(key_id=issued.row.pk, at=NOON)
    actions.mark_seen_in_browser(key_id=issued.row.pk, at=later(days=1))
    assert ApiKey.objects.get().in_browser_at == NOON
    assert events_of(issued.row) == ["api_key.created", "api_key.seen_in_browser"]


def test_marking_saves_nothing_if_the_audit_row_fails(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        actions.mark_seen_in_browser(key_id=issued.row.pk, at=NOON)
    assert ApiKey.objects.get().in_browser_at is None


def test_refusal_stays_where_the_mark_cannot_be_written(
    issued: Issued, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("locked")

    monkeypatch.setattr("apikeys.actions.mark_seen_in_browser", fail)
    response = send(issued, Origin=PAGE)
    assert (response.status_code, response.json()["code"]) == (403, "secret_key_in_browser")
    [line] = logbook.events("api_key.browser_not_recorded")
    assert (line["prefix"], line["reason"]) == (issued.row.label, "OperationalError")


@pytest.mark.parametrize("recording", ["buffered", "synchronous"])
def test_refusal_is_on_the_keys_record(issued: Issued, settings: Settings, recording: str) -> None:
    settings.KEYPORTAL_USE_RECORDING = recording
    send(issued, **{"Origin": PAGE, "User-Agent": "Mozilla/5.0"})
    uses.flush()
    use = KeyUse.objects.get()
    assert (use.outcome, use.status, use.is_refused, use.key_id, use.prefix, use.user_agent) == (
        "secret_key_in_browser",
        403,
        True,
        issued.row.pk,
        issued.row.prefix,
        "Mozilla/5.0",
    )


def test_refusal_is_logged_without_what_the_browser_said(issued: Issued, logbook: Logbook) -> None:
    send(issued, Origin=f"https://{issued.key.secret}.example.com")
    [line] = logbook.events("api_key.auth_failed")
    assert (line["code"], line["prefix"], line["level"]) == ("secret_key_in_browser", issued.row.prefix, "warning")
    assert issued.key.secret not in logbook.text


# Its state comes first, and its secret before that


def test_wrong_secret_from_a_browser_marks_nothing(issued: Issued) -> None:
    response = Client().get(WHOAMI, headers={"Authorization": f"Bearer {with_secret(issued)}", "Origin": PAGE})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")
    assert ApiKey.objects.get().in_browser_at is None
    assert events_of(issued.row) == ["api_key.created"]


def test_disabled_key_from_a_browser_is_told_its_state_and_marked(issued: Issued) -> None:
    actions.disable_key(principal=None, api_key=issued.row, at=NOON)
    response = send(issued, Origin=PAGE)
    assert (response.status_code, response.json()["code"]) == (401, "key_disabled")
    assert ApiKey.objects.get().in_browser_at is not None


def test_revoked_key_from_a_browser_is_told_so_and_marked_no_more(issued: Issued) -> None:
    actions.revoke_key(principal=None, api_key=issued.row, at=NOON)
    response = send(issued, Origin=PAGE)
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")
    assert ApiKey.objects.get().in_browser_at is None


def test_refused_call_counts_against_no_limit(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, limits=Limits(per_minute=1))
    for _ in range(3):
        assert send(issued, Origin=PAGE).status_code == 403
    assert send(issued).status_code == 200


def test_marked_key_works_on_from_servers(issued: Issued) -> None:
    send(issued, Origin=PAGE)
    assert send(issued).status_code == 200


# What a session does from the portal's own pages


def test_session_of_a_browser_is_not_refused(alice_client: Client) -> None:
    response = alice_client.get(WHOAMI, headers={"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"})
    assert response.status_code == 200
    assert cors_headers(response) == []


def test_call_without_a_key_is_told_so(db: None) -> None:
    response: Any = Client().get(WHOAMI, headers={"Origin": PAGE})
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")


# What people see


def test_marked_key_needs_attention_and_says_why(issued: Issued) -> None:
    send(issued, Origin=PAGE)
    row = ApiKey.objects.get()
    health = health_of(row, at=NOON)
    assert (health.code, health.title, health.tone) == ("in_browser", "In a browser", "bad")
    assert list(ApiKey.objects.needing_attention(at=NOON)) == [row]


def test_page_of_a_marked_key_says_when_and_from_which_browser(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client
) -> None:
    Client().get(
        WHOAMI,
        headers=issued.headers | {"Origin": PAGE, "User-Agent": "Mozilla/5.0 <b>\u202eevil"},
        REMOTE_ADDR="192.0.2.7",
    )
    uses.flush()
    text = dana_client.get(f"/keys/{issued.row.pk}/").content.decode()
    assert "This key was seen in a browser" in text
    assert "192.0.2.7" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "\u202e" not in text
    assert "2026-03-02 12:00" in text


def test_page_of_a_marked_key_says_so_without_the_record_of_it(issued: Issued, dana_client: Client) -> None:
    actions.mark_seen_in_browser(key_id=issued.row.pk, at=NOON)
    assert "This key was seen in a browser" in dana_client.get(f"/keys/{issued.row.pk}/").content.decode()


def test_page_of_another_key_says_nothing_of_browsers(issued: Issued, dana_client: Client) -> None:
    assert "in a browser" not in dana_client.get(f"/keys/{issued.row.pk}/").content.decode()


def test_page_of_a_marked_key_that_ended_says_only_that(issued: Issued, dana_client: Client) -> None:
    actions.mark_seen_in_browser(key_id=issued.row.pk, at=NOON)
    actions.revoke_key(principal=None, api_key=issued.row, at=NOON)
    text = dana_client.get(f"/keys/{issued.row.pk}/").content.decode()
    assert "This key was seen in a browser" not in text
    assert "Seen in a browser" in text


def test_refusal_has_its_words_in_the_table_of_uses(issued: Issued, dana_client: Client) -> None:
    send(issued, Origin=PAGE)
    uses.flush()
    text = dana_client.get(f"/keys/{issued.row.pk}/uses/").content.decode()
    assert "A secret key, and it came from a browser" in text


def test_what_a_key_sends_from_a_browser_adds_one_audit_row(issued: Issued) -> None:
    before = AuditEvent.objects.count()
    for _ in range(3):
        send(issued, Origin=PAGE)
    assert AuditEvent.objects.count() == before + 1
