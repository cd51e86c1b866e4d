"""A known key, password and link go through the real interface; then every byte left behind is searched for them."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests import services
from tests.e2e.steps import (
    ALICE,
    DANA,
    call,
    create_project,
    create_team,
    halves,
    invite,
    issue_key,
    mailed_link,
    open_revoke_form,
    register,
    set_up,
    sheet,
)
from tests.services import Portal

NAME = "canary"
# Sessions lie in the database compressed, where a search of its bytes would miss what they hold.
READ_SESSIONS = """
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    print(row.get_decoded())
"""


@pytest.mark.every_database
def test_a_key_a_password_and_a_link_leave_nothing_behind(
    portal: Portal, page: Page, new_context: CreateContextCallback
) -> None:
    setup_token = urlsplit(portal.setup_link).path.split("/")[2]
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    invitation = invite(page, portal, "Payments", DANA.email)
    register(new_context().new_page(), invitation)
    key = issue_key(page, portal, NAME, project="Payments / Checkout")
    assert call(portal, "/v1/projects", key).status == 200
    misuse(portal, key)
    # While it runs, what it wrote last may be in the write-ahead log alone.
    running = everything(portal)
    open_revoke_form(page, portal, NAME)
    sheet(page).get_by_label(f"Type {NAME} to confirm").fill(NAME)
    sheet(page).get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("It has been refused since.")).to_be_visible()
    assert call(portal, "/v1/projects", key).body["code"] == "key_revoked"
    page.context.close()
    portal.stop(number=signal.SIGINT)

    left = {
        f"{when} {name}": text
        for when, texts in (("running", running), ("stopped", everything(portal)))
        for name, text in texts.items()
    }
    # The search would find something: the key's prefix is public and in these places.
    prefix = key.split("_")[3]
    places = {name.split()[1] for name, text in left.items() if holds(text, prefix)}
    assert places >= {"database", "stderr"}
    assert left["stopped sessions"].count(b"_auth_user_id") == 2
    for secret in (*halves(key), ALICE.password, DANA.password):
        assert [name for name, text in left.items() if holds(text, secret)] == []
    # The links are where they are handed over, and nowhere else: one is printed, one mailed (to stdout here), and one
    # was shown to whoever invited.
    handed, sent = (urlsplit(link).path.split("/")[2] for link in (invitation, mailed_link(portal, "/invitations/")))
    for secret in (setup_token, sent):
        assert {name.split()[1] for name, text in left.items() if holds(text, secret)} == {"stdout"}
    assert portal.log_text().count(setup_token) == 1
    assert [name for name, text in left.items() if holds(text, handed)] == []


def misuse(portal: Portal, key: str) -> None:
    """Send the key where it does not belong, as people and their tools do."""
    broken = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert call(portal, "/v1/projects", broken).status == 401
    assert call(portal, f"/v1/projects?key={key}", "").status in {400, 401}
    assert call(portal, f"/v1/projects?access_token={quote(key)}&x={broken}", key).status in {400, 401}
    plain = [f"/v1/{key}", f"/keys/{key}/", f"/invitations/{key}/", f"/setup/{key}/", f"/{key}?q={key}#{key}"]
    for path in plain:
        send(portal, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    headers = (
        f"User-Agent: {key}",
        f"Referer: {portal.url}/?key={key}",
        f"X-Request-Id: {key}",
        f"X-Forwarded-For: {key}",
        f"Cookie: keyportal_session={key}; theme={key}; csrftoken={key}",
        f"X-Project-Id: {key}",
        f"Host: {key}",
        f"Authorization: Basic {key}",
        f"Authorization: Bearer {key} {key}",
        f"Authorization: Bearer {key}\r\nAuthorization: Bearer {key}",
        # No headers at all, as gunicorn reads them: it answers by itself, and logs why.
        f"{key}",
        f"Bad Name {key}: x",
    )
    for header in headers:
        send(portal, f"GET /v1/projects HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n\r\n")
    body = f'{{"name": "{key}", "scope": "{key}", "{key}": 1}}'
    call(portal, "/v1/api-keys", key, "-H", "Content-Type: application/json", "-d", body)
    call(portal, "/account/sign-in/", "", "-d", f"login={key}&password={key}")
    send(portal, f"{key} /v1/projects HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    send(portal, f"GET /v1/projects {key}\r\n\r\n")


def send(portal: Portal, request: str) -> None:
    """Send bytes that no well-behaved client would send, and read what comes back to its end."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as connection:
        connection.sendall(request.encode())
        while connection.recv(65536):
            pass


def everything(portal: Portal) -> dict[str, bytes]:
    """Return every byte that the portal has written so far: its directory with data and logs, and its database."""
    found = {
        "database" if ".sqlite3" in path.name else path.name: b""
        for path in portal.directory.rglob("*")
        if path.is_file()
    }
    for path in files(portal.directory):
        found["database" if ".sqlite3" in path.name else path.name] += path.read_bytes()
    if url := portal.environment.get("DATABASE_URL"):
        found["database"] = dump(url)
    found["sessions"] = portal.manage("shell", "--no-imports", "-c", READ_SESSIONS).stdout.encode()
    return found


def files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def dump(url: str) -> bytes:
    """Return the whole database as pg_dump writes it, without compression."""
    pg_dump = services.require("pg_dump")
    result = subprocess.run(
        [pg_dump, "--format=plain", url],
        check=True,
        capture_output=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
    )
    return result.stdout


def holds(text: bytes, secret: str) -> bool:
    """Say whether text holds a secret as it is, or as UTF-16, quoted for an address, or as hexadecimal digits."""
    plain = secret.encode()
    forms = {plain, secret.encode("utf-16-le"), quote(secret).encode(), plain.hex().encode()}
    return any(form in text for form in forms)
