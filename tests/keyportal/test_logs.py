import json
import logging
from typing import Any

import pytest
import structlog
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import Role, Team
from accounts.setup_link import setup_link
from keyportal import logs
from tests.cast import Issued, Person
from tests.keyportal.conftest import Log

KEY = "kp_sk_live_a1B2c3D4_0123456789abcdefghijKLMNOPqrstuv"  # a key's shape; nobody ever issued it
LABEL, SECRET = KEY.rsplit("_", 1)


def assert_masked(text: str) -> None:
    assert SECRET not in text
    assert SECRET[:16] not in text
    assert SECRET[16:] not in text


@pytest.mark.parametrize(
    ("url", "route", "status"),
    [
        ("/account/sign-in/", "account/sign-in/", 200),
        ("/teams/018f0000-0000-7000-8000-000000000000/", "teams/<uuid:team_id>/", 302),
        ("/nowhere/at/all", None, 404),
        ("/v1/projects", None, 401),
    ],
)
def test_request_is_one_line_with_its_route_and_never_its_path(
    client: Client, alice: Person, log: Log, url: str, route: str | None, status: int
) -> None:
    response = client.get(f"{url}?secret=swordfish")
    [line] = [line for line in log.lines if line["event"] == "request"]
    assert line.pop("milliseconds") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "keyportal.request",
        "method": "GET",
        "route": route,
        "status": status,
        "address": "127.0.0.1",
        "request_id": response["X-Request-Id"],
    }
    assert "swordfish" not in log.text
    assert "018f0000" not in log.text
    assert "nowhere" not in log.text


def test_call_with_a_key_names_its_prefix(client: Client, issued: Issued, log: Log) -> None:
    client.get("/v1/projects", headers=issued.headers)
    [line] = [line for line in log.lines if line["event"] == "request"]
    assert line["prefix"] == issued.row.prefix
    assert issued.text not in log.text
    assert issued.text.rpartition("_")[2] not in log.text


def test_token_of_a_link_is_in_no_log(client: Client, bob: Person, team: Team, log: Log) -> None:
    _, token = actions.invite(
        principal=bob.principal, team=team, email="erin@example.com", role=Role.DEVELOPER, at=timezone.now()
    )
    client.get(f"/invitations/{token}/")
    client.post(f"/invitations/{token}/", {"name": "Erin", "password": "short"})
    client.get(setup_link().removeprefix("http://127.0.0.1:8000"))
    assert len(log.lines) == 3
    assert token not in log.text
    assert setup_link().rstrip("/").rpartition("/")[2] not in log.text
    assert "short" not in log.text


@pytest.mark.urls("tests.keyportal.broken_urls")
def test_key_in_whatever_a_client_sends_is_masked(client: Client, alice: Person, log: Log) -> None:
    client.raise_request_exception = False
    for where in ("User-Agent", "Referer", "X-Forwarded-For", "Cookie", "Origin", "X-Said", "Host", "HX-Current-URL"):
        client.get("/broken/500/", headers={where: KEY})
        client.get("/v1/projects", headers={where: KEY})
    client.get(f"/{KEY}/")
    client.get(f"/broken/{KEY}/")
    client.get(f"/?{KEY}=1&q={KEY}")
    client.get(f"/v1/projects?key={KEY}")
    client.post("/account/sign-in/", {"login": KEY, "password": KEY})
    client.post("/v1/projects", f'{{"a": "{KEY}"', content_type="application/json", headers={"Authorization": KEY})
    client.generic(KEY, "/account/sign-in/")
    assert "request.failed" in log.text
    assert LABEL in log.text
    assert_masked(log.text)


def test_key_in_an_exception_is_masked(log: Log) -> None:
    def fail() -> None:
        try:
            raise ValueError(KEY)
        except ValueError as error:
            raise RuntimeError({KEY: [KEY]}) from error

    try:
        fail()
    except RuntimeError:
        structlog.get_logger("test").exception("broke", key=KEY)
        logging.getLogger("test").exception("broke with %s", KEY)
    assert log.text.count("Traceback") >= 2
    assert_masked(log.text)


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"a {KEY} b",
        f"{KEY}{KEY}",
        [KEY],
        (KEY, {KEY}),
        {KEY: {"deep": [KEY]}},
        KEY.encode(),
        ValueError(KEY),
        frozenset([KEY]),
    ],
    ids=repr,
)
def test_key_in_a_value_of_any_type_is_masked(log: Log, value: object) -> None:
    structlog.get_logger("test").warning("said", value=value)
    logging.getLogger("test").warning("said %s", value, extra={"value": value})
    assert len(log.lines) == 2
    assert_masked(log.text)


def test_line_says_when_who_and_how_grave(log: Log) -> None:
    structlog.get_logger("test.some").error("said %s", "so", count=1, ratio=0.5, nothing=None, done=True)
    [line] = log.lines
    assert line.pop("timestamp")
    assert line == {
        "event": "said so",
        "logger": "test.some",
        "level": "error",
        "count": 1,
        "ratio": 0.5,
        "nothing": None,
        "done": True,
    }


def test_line_stays_one_line_whatever_is_in_it(log: Log) -> None:
    structlog.get_logger("test").info("said\n{}\r\u2028 \ud800", value="\x00\x1b[31m")
    assert len(log.text.splitlines()) == 1
    assert log.text.isascii()


@pytest.mark.pure
def test_mask_keys_leaves_numbers_and_nothing_as_they_are() -> None:
    event: dict[str, Any] = {"event": "x", "a": 1, "b": 0.5, "c": None, "d": True}
    assert logs.mask_keys(None, "info", dict(event)) == event
    assert json.loads(json.dumps(logs.mask_keys(None, "info", {"at": KEY}))) == {"at": f"{LABEL}…"}
