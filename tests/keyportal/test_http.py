import json
from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from keyportal.http import (
    PROBLEMS,
    Problem,
    client_address,
    is_api,
    is_machine,
    problem_response,
)
from keyportal.schemas import ProblemBody

pytestmark = pytest.mark.pure

PROXIES = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix"]


def address_of(peer: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer))


# Where a request came from


@pytest.mark.parametrize("peer", ["198.51.100.7", "2001:db8::7", "10.0.0.1", ""])
@pytest.mark.parametrize("forwarded", [None, "203.0.113.9", "203.0.113.9, 10.0.0.1"])
def test_client_address_is_the_peer_where_no_proxy_is_trusted(peer: str, forwarded: str | None) -> None:
    assert address_of(peer, forwarded) == peer


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # Straight to us: what the client says of itself counts for nothing.
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        # One proxy of ours; what stands further left was sent by the client.
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "192.0.2.66, 203.0.113.9", "203.0.113.9"),
        ("192.0.2.1", "127.0.0.1,203.0.113.9", "203.0.113.9"),
        # Several of ours in a row.
        ("10.0.0.1", "203.0.113.9, 10.9.9.9, 192.0.2.1", "203.0.113.9"),
        # Whoever claims to be one of ours further left is not asked.
        ("10.0.0.1", "10.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        # All of ours: the left-most is as far as we know.
        ("10.0.0.1", "10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        # What is no address ends the walk.
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", "203.0.113.9:4711", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9\x00", "10.0.0.1"),
        ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
        # IPv6, written in whatever way.
        ("2001:db8::1", "2001:0DB9:0000::0007", "2001:db9::7"),
        ("2001:db8::1", "[2001:db9::7]", "2001:db8::1"),
        # A listening socket of IPv6 reports addresses of IPv4 so.
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, ::ffff:10.9.9.9", "203.0.113.9"),
        # A unix socket.
        ("", "203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("", None, ""),
        ("nonsense", "203.0.113.9", "nonsense"),
    ],
)
def test_client_address_behind_trusted_proxies(
    settings: Settings, peer: str, forwarded: str | None, expected: str
) -> None:
    settings.TRUSTED_PROXIES = PROXIES
    assert address_of(peer, forwarded) == expected


def test_client_address_of_a_unix_socket_is_believed_only_where_it_is_trusted(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert address_of("", "203.0.113.9") == ""


# What kind of request it is


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/projects", True),
        ("/v1/", True),
        ("/v1/openapi.json", True),
        ("/v1/docs/", True),
        ("/v1/docs", False),
        ("/v1", False),
        ("/v10/", False),
        ("/", False),
    ],
)
def test_is_api_by_the_path(path: str, expected: bool) -> None:
    assert is_api(RequestFactory().get(path)) == expected


@pytest.mark.parametrize(
    ("path", "cookie", "authorization", "expected"),
    [
        ("/v1/projects", "", "", True),
        ("/v1/projects", "", "Bearer x", True),
        ("/v1/projects", "s", "Bearer x", True),
        ("/v1/projects", "s", "", False),
        ("/", "", "Bearer x", False),
        ("/v1/docs", "", "Bearer x", False),
    ],
)
def test_is_machine_unless_a_browser_calls(path: str, cookie: str, authorization: str, expected: bool) -> None:
    request = RequestFactory().get(path, headers={"Authorization": authorization} if authorization else {})
    if cookie:
        request.COOKIES["keyportal_session"] = cookie
    assert is_machine(request) == expected


# Problem details


def answer(problem: Problem) -> tuple[Any, dict[str, Any]]:
    request = RequestFactory().get("/v1/kp_sk_live_a1B2c3D4_secret")
    request.request_id = "018f0000-0000-7000-8000-000000000000"  # type: ignore[attr-defined] # as the middleware does
    response = problem_response(request, problem)
    return response, json.loads(response.content)


@pytest.mark.parametrize("code", PROBLEMS)
def test_problem_has_all_that_the_standard_and_the_reference_ask_for(code: str) -> None:
    response, body = answer(Problem(code))
    kind = PROBLEMS[code]
    assert body == {
        "type": f"http://127.0.0.1:8000/v1/docs#{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.advice,
        "instance": "urn:uuid:018f0000-0000-7000-8000-000000000000",
        "code": code,
        "request_id": "018f0000-0000-7000-8000-000000000000",
    }
    assert set(body) <= set(ProblemBody.model_fields)
    assert (response.status_code, response["Content-Type"], response["Cache-Control"]) == (
        kind.status,
        "application/problem+json",
        "no-store",
    )


@pytest.mark.parametrize("code", PROBLEMS)
def test_problem_challenges_on_401_and_asks_to_wait_on_503(code: str) -> None:
    response, _ = answer(Problem(code))
    challenge = 'Bearer realm="keyportal"' + ("" if code == "missing_credentials" else ', error="invalid_token"')
    assert response.get("WWW-Authenticate") == (challenge if PROBLEMS[code].status == 401 else None)
    assert response.get("Retry-After") == ("1" if PROBLEMS[code].status == 503 else None)


def test_problem_says_what_it_was_told() -> None:
    errors = [{"field": "name", "message": "too long"}]
    response, body = answer(Problem("invalid_field", "Read this.", errors=errors, headers={"X-More": "yes"}))
    assert (body["detail"], body["errors"], response["X-More"]) == ("Read this.", errors, "yes")


def test_problem_links_to_the_portal_as_it_is_reached(settings: Settings) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    _, body = answer(Problem("not_found"))
    assert body["type"] == "https://keys.example.com/v1/docs#not_found"


@pytest.mark.parametrize("code", PROBLEMS)
def test_code_is_snake_case_and_its_sentences_are_whole(code: str) -> None:
    kind = PROBLEMS[code]
    assert code.replace("_", "").isalpha()
    assert code == code.lower()
    assert kind.title[0].isupper()
    assert kind.advice.endswith(".")
    assert 400 <= kind.status < 600
