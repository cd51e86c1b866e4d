from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from tests.accounts.scenes import is_page, text_of
from tests.cast import Issued, Person
from tests.keyportal.conftest import Log

pytestmark = pytest.mark.urls("tests.keyportal.broken_urls")

STATUSES = [
    ("400", 400, "invalid_request", "This request could not be read"),
    ("403", 403, "forbidden", "You may not open this page"),
    ("404", 404, "not_found", "Page not found"),
    ("500", 500, "internal_error", "Something broke on our side"),
    ("away", 503, "unavailable", "Something broke on our side"),
    ("dropped", 503, "unavailable", "Something broke on our side"),
]


@pytest.fixture(autouse=True)
def answering(client: Client, alice_client: Client) -> None:
    """What breaks is answered, as it is in a portal, and not raised."""
    client.raise_request_exception = False
    alice_client.raise_request_exception = False


@pytest.mark.parametrize(("kind", "status", "code", "title"), STATUSES)
def test_page_that_breaks_is_a_page(client: Client, kind: str, status: int, code: str, title: str) -> None:
    response = client.get(f"/broken/{kind}/")
    assert (response.status_code, is_page(response)) == (status, True)
    assert title in text_of(response)
    assert response.get("Retry-After") == ("1" if status == 503 else None)


@pytest.mark.parametrize(("kind", "status", "code", "title"), STATUSES)
@pytest.mark.parametrize("by", ["key", "session"])
def test_call_that_breaks_is_a_problem(
    client: Client, alice_client: Client, issued: Issued, kind: str, status: int, code: str, title: str, by: str
) -> None:
    caller, headers = (client, issued.headers) if by == "key" else (alice_client, {})
    response = caller.get(f"/v1/broken/{kind}", headers=headers)
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    body = response.json()
    assert (body["status"], body["code"], body["request_id"]) == (status, code, response["X-Request-Id"])
    assert response.get("Retry-After") == ("1" if status == 503 else None)


def test_refusal_says_its_reason(client: Client) -> None:
    assert "Ask alice." in text_of(client.get("/broken/403/", headers={"X-Said": "Ask alice."}))
    assert "Your role does not allow it. Ask a team admin." in text_of(
        client.get("/broken/403/", headers={"X-Said": ""})
    )


def test_reason_is_escaped(client: Client) -> None:
    response = client.get("/broken/403/", headers={"X-Said": "<script>x</script>"})
    assert b"<script>x" not in response.content


@pytest.mark.parametrize("kind", ["400", "404", "500", "away"])
def test_what_went_wrong_is_in_no_answer(client: Client, issued: Issued, kind: str) -> None:
    headers = {"X-Said": "password is swordfish"}
    answers = [
        client.get(f"/broken/{kind}/", headers=headers),
        client.get(f"/v1/broken/{kind}", headers=headers | issued.headers),
    ]
    for answer in answers:
        assert b"swordfish" not in answer.content
        assert b"Traceback" not in answer.content


@pytest.mark.parametrize(("kind", "count"), [("500", 1), ("away", 1), ("404", 0), ("403", 0)])
def test_what_broke_is_in_the_log_once(client: Client, log: Log, kind: str, count: int) -> None:
    response = client.get(f"/broken/{kind}/")
    failures = [line for line in log.lines if line["event"] == "request.failed"]
    assert [line["request_id"] for line in failures] == [response["X-Request-Id"]] * count
    assert all("Traceback" in line["exception"] for line in failures)


def test_page_that_breaks_asks_nothing_of_the_session(alice_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr("accounts.middleware.load_membership", refuse)
    response = alice_client.get("/teams/")
    assert (response.status_code, response["Retry-After"]) == (503, "1")


def test_database_that_is_away_at_sign_in_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InterfaceError

    monkeypatch.setattr("allauth.account.auth_backends.AuthenticationBackend.authenticate", refuse)
    response = client.post("/account/sign-in/", {"login": "alice@example.com", "password": "x" * 20})
    assert (response.status_code, response["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("url", ["/nowhere", "/teams/not-an-id/", "/account/signup/"])
def test_address_that_is_none_is_a_page(client: Client, url: str) -> None:
    response = client.get(url)
    assert (response.status_code, is_page(response)) == (404, True)


@pytest.mark.parametrize("url", ["/v1/nowhere", "/v1/", "/v1/docs/"])
def test_address_of_the_api_that_is_none_is_a_problem(client: Client, issued: Issued, url: str) -> None:
    response = client.get(url, headers=issued.headers)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("url", ["/v1/nowhere", "/v1/projects"])
def test_address_of_the_api_says_nothing_to_a_stranger(client: Client, url: str) -> None:
    response = client.get(url)
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_method_that_an_address_of_the_api_does_not_take(client: Client, issued: Issued, method: str) -> None:
    response = getattr(client, method)("/v1/projects", headers=issued.headers)
    assert (response.status_code, response.json()["code"], response["Allow"]) == (405, "method_not_allowed", "GET")


@pytest.mark.parametrize("url", ["/teams/", "/projects/", "/audit/", "/v1/docs", "/"])
def test_method_that_a_page_does_not_take(alice_client: Client, url: str) -> None:
    response = alice_client.post(url)
    assert (response.status_code, response["Allow"]) == (405, "GET")


def test_form_without_its_token_is_refused_with_advice(alice_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = alice_client.cookies
    response = strict.post("/teams/new/", {"name": "Payments"})
    assert response.status_code == 403
    assert "Go back, reload the page and send it again." in text_of(response)


def test_body_that_is_no_json_is_a_problem(client: Client, alice: Person, issue: Any) -> None:
    headers = issue(alice, alice.membership.organization, permissions=["keys:write"]).headers
    response = client.post("/v1/api-keys", "{", content_type="application/json", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_body_with_wrong_fields_names_them_and_repeats_nothing(client: Client, alice: Person, issue: Any) -> None:
    headers = issue(alice, alice.membership.organization, permissions=["keys:write"]).headers
    body = {"name": ["swordfish"], "scope": "galaxy", "permissions": ["keys:read", 7], "color": "swordfish"}
    response = client.post("/v1/api-keys", body, content_type="application/json", headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert {"name", "scope", "permissions.1", "color"} <= {error["field"] for error in response.json()["errors"]}
    assert b"swordfish" not in response.content
