from typing import Any
from uuid import UUID

import pytest
from django.contrib.sessions.models import Session
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import Team
from audit.models import AuditEvent
from keyportal.middleware import RequestContextMiddleware
from tests.cast import Issued
from tests.keyportal.conftest import Log

FORWARDED = {"X-Forwarded-For": "192.0.2.66, 203.0.113.9"}


@pytest.mark.parametrize("url", ["/", "/account/sign-in/", "/nowhere", "/v1/projects", "/v1/docs"])
def test_every_answer_has_a_request_id_of_its_own(client: Client, db: None, url: str) -> None:
    ids = [client.get(url)["X-Request-Id"] for _ in range(2)]
    assert [UUID(text).version for text in ids] == [7, 7]
    assert ids[0] < ids[1]


def test_request_id_is_ours_and_not_the_clients(client: Client, db: None) -> None:
    assert client.get("/v1/projects", headers={"X-Request-Id": "mine"})["X-Request-Id"] != "mine"


def test_problem_names_the_request_id_of_its_header(client: Client, db: None) -> None:
    response = client.get("/v1/projects")
    body = response.json()
    assert body["request_id"] == response["X-Request-Id"]
    assert body["instance"] == f"urn:uuid:{response['X-Request-Id']}"


@pytest.mark.parametrize("url", ["/account/sign-in/", "/v1/projects", "/v1/docs", "/v1/openapi.json"])
def test_every_answer_says_how_long_it_is(client: Client, alice: Any, url: str) -> None:
    response = client.get(url)
    assert int(response["Content-Length"]) == len(response.content)


def test_stream_is_left_as_it_is(rf: RequestFactory) -> None:
    middleware = RequestContextMiddleware(lambda _: StreamingHttpResponse([b"a", b"b"]))
    response: Any = middleware(rf.get("/"))  # type: ignore[arg-type] # it makes the request what it takes
    assert ("Content-Length" in response, b"".join(response)) == (False, b"ab")


def test_address_behind_a_proxy_is_the_one_on_record(alice_client: Client, settings: Settings, log: Log) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    alice_client.post("/teams/new/", {"name": "Payments"}, headers=FORWARDED, REMOTE_ADDR="10.0.0.1")
    assert AuditEvent.objects.filter(event="team.created").get().address == "203.0.113.9"
    assert log.lines[-1]["address"] == "203.0.113.9"


def test_address_that_a_client_makes_up_is_not_on_record(alice_client: Client) -> None:
    alice_client.post("/teams/new/", {"name": "Payments"}, headers=FORWARDED, REMOTE_ADDR="10.0.0.1")
    assert AuditEvent.objects.filter(event="team.created").get().address == "10.0.0.1"


def test_peer_of_a_unix_socket_has_no_address_on_record(alice_client: Client) -> None:
    alice_client.post("/teams/new/", {"name": "Payments"}, REMOTE_ADDR="")
    assert AuditEvent.objects.filter(event="team.created").get().address is None
    assert Team.objects.count() == 1


# What pages need, and calls with a key pass by

PAGE_HEADERS = {"Content-Security-Policy", "X-Frame-Options"}


def test_page_is_protected(client: Client, alice: Any) -> None:
    response = client.get("/account/sign-in/")
    policy = response["Content-Security-Policy"]
    assert {part.strip() for part in policy.split(";")} >= {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    }
    assert "unsafe" not in policy
    assert (response["X-Frame-Options"], response["Referrer-Policy"], response["X-Content-Type-Options"]) == (
        "DENY",
        "same-origin",
        "nosniff",
    )


def test_call_with_a_key_passes_the_pages_by(client: Client, issued: Issued) -> None:
    response = client.get("/v1/projects", headers=issued.headers)
    assert response.status_code == 200
    assert not PAGE_HEADERS & set(response.headers)
    assert "Vary" not in response
    assert (response.cookies, Session.objects.count()) == ({}, 0)
    assert response["X-Content-Type-Options"] == "nosniff"


def test_call_of_a_session_is_a_pages(dana_client: Client) -> None:
    response = dana_client.get("/v1/projects")
    assert response.status_code == 200
    assert set(response.headers) >= PAGE_HEADERS


def test_host_that_is_not_ours_counts_for_pages(client: Client, alice: Any, issued: Issued) -> None:
    assert client.get("/account/sign-in/", headers={"host": "evil.example"}).status_code == 400


def test_page_without_its_slash_is_found(client: Client, alice: Any) -> None:
    response = client.get("/account/sign-in")
    assert (response.status_code, response["Location"]) == (301, "/account/sign-in/")


def test_address_of_the_api_has_one_form(client: Client, issued: Issued) -> None:
    assert client.get("/v1/projects/", headers=issued.headers).status_code == 404


def test_page_that_is_fetched_is_not_a_piece(client: Client, alice: Any) -> None:
    response = client.get("/teams/", headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Redirect"]) == (200, "/account/sign-in/?next=/teams/")


def test_htmx_redirect_keeps_the_cookies(alice_client: Client) -> None:
    response = alice_client.post("/theme/", {"theme": "dark", "next": "/teams/"}, headers={"HX-Request": "true"})
    assert (response["HX-Redirect"], response.cookies["theme"].value) == ("/teams/", "dark")
