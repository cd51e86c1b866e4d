"""Requests that no browser of ours sends: each is answered, and leaves no secret in the log."""

from functools import cache
from http import HTTPStatus

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from accounts import actions
from accounts.models import Role, Team
from keyportal.handler import Handler
from keyportal.middleware import RequestContextMiddleware
from tests.cast import Issued, Person
from tests.keyportal.conftest import Log

ADDRESSES = ["/", "/account/sign-in/", "/teams/", "/v1/projects", "/v1/docs", "/v1/openapi.json", "/nowhere/"]


@pytest.fixture
def token(bob: Person, team: Team) -> str:
    """What an invitation's address ends in, and nobody else may read."""
    _, token = actions.invite(
        principal=bob.principal, team=team, email="erin@example.com", role=Role.DEVELOPER, at=timezone.now()
    )
    return token


def test_form_without_its_csrf_token_is_logged_by_its_reason_and_not_its_path(token: str, log: Log) -> None:
    response = Client(enforce_csrf_checks=True).post(f"/invitations/{token}/", {"name": "Erin"})
    assert response.status_code == 403
    [line] = [line for line in log.lines if line["event"] == "request.csrf_failed"]
    assert (line["reason"], line["level"]) == ("CSRF cookie not set.", "warning")
    assert token not in log.text


@pytest.mark.parametrize("header", ["Referer", "Origin"])
def test_address_that_a_browser_came_from_is_not_logged(token: str, settings: Settings, log: Log, header: str) -> None:
    settings.SECURE_SSL_REDIRECT = False
    client = Client(enforce_csrf_checks=True)
    came_from = f"https://elsewhere.example/invitations/{token}/"
    response = client.post("/account/sign-in/", {}, secure=True, headers={header: came_from})
    assert response.status_code == 403
    [line] = [line for line in log.lines if line["event"] == "request.csrf_failed"]
    assert line["reason"] in {"Referer checking failed", "Origin checking failed"}
    assert token not in log.text
    assert "elsewhere" not in log.text


def test_host_that_is_not_ours_is_logged_by_the_name_of_the_error(token: str, log: Log) -> None:
    response = Client().get(f"/invitations/{token}/", headers={"host": "evil.example"})
    assert response.status_code == 400
    [line] = [line for line in log.lines if line["event"] == "request.bad"]
    assert (line["reason"], line["level"]) == ("DisallowedHost", "warning")
    assert token not in log.text
    assert "evil.example" not in log.text


@cache
def handler() -> Handler:
    """One for all tests: it loads every middleware."""
    return Handler()


def served(method: str, address: str, content_type: str, body: bytes = b"") -> str:
    """Return the status with which the application that gunicorn serves answers."""
    path, _, query = address.partition("?")
    environ = RequestFactory().generic(method, path, body, content_type).environ
    environ |= {"QUERY_STRING": query, "CONTENT_TYPE": content_type}
    told: list[str] = []
    answer = handler()(environ, lambda status, *_: told.append(status))  # type: ignore[arg-type] # nothing is written
    answer.close()
    return told[0]


@pytest.mark.parametrize("url", ADDRESSES)
@pytest.mark.parametrize("charset", ["hex", "base64", "rot13", "zlib", "utf-16", "idna", "punycode", "unknown", ""])
def test_charset_that_a_client_names_breaks_nothing(alice: Person, url: str, charset: str) -> None:
    usual = served("GET", f"{url}?a=%41&b=%ff", "")
    assert served("GET", f"{url}?a=%41&b=%ff", f"x; charset={charset}") == usual
    form = f"application/x-www-form-urlencoded; charset={charset}"
    assert served("POST", f"{url}?a=%41", form, b"login=%41")[0] in "234"


def test_charset_of_too_many_fields_is_refused_like_any_other(db: None) -> None:
    assert served("GET", "/account/sign-in/?" + "a=1&" * 1001, "x; charset=utf-8") == "400 Bad Request"


@pytest.mark.parametrize("url", ADDRESSES)
@pytest.mark.parametrize(
    "value", ['"\\000abcdefgh"', '"\\000"', '""', "short", "x" * 41, "UPPERCASE0", "abcdefg-", '"\\377abcdefgh"']
)
def test_session_cookie_that_is_none_counts_as_none(alice: Person, client: Client, url: str, value: str) -> None:
    without = client.get(url).status_code
    response = client.get(url, headers={"cookie": f"keyportal_session={value}"})
    assert response.status_code == without
    assert response.status_code < 500


def test_session_that_is_one_still_counts(alice_client: Client) -> None:
    assert alice_client.get("/teams/").status_code == 200


def test_page_of_too_many_fields_is_protected(client: Client, db: None) -> None:
    response = client.get("/account/sign-in/?" + "a=1&" * 1001)
    assert (response.status_code, response["X-Frame-Options"]) == (400, "DENY")
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert response["X-Request-Id"]


def test_way_back_from_a_key_in_the_query_is_protected(client: Client, issued: Issued) -> None:
    response = client.get("/", {"q": issued.text})
    assert (response.status_code, response["X-Frame-Options"]) == (302, "DENY")
    assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("status", [HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED])
def test_answer_without_content_has_no_length(rf: RequestFactory, status: HTTPStatus) -> None:
    middleware = RequestContextMiddleware(lambda _: HttpResponse(status=status))
    response = middleware(rf.get("/"))  # type: ignore[arg-type] # it makes the request what it takes
    assert "Content-Length" not in response
