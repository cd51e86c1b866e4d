"""Whose key is this, in a real browser: what is pasted stays there."""

import hashlib
import secrets
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.steps import Complaints, create_project, create_team, issue_key, set_up
from tests.services import Portal


def test_secret_of_a_pasted_key_never_leaves_the_browser(portal: Portal, page: Page, complaints: Complaints) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    key = issue_key(page, portal, "leaked", project="Payments / Checkout")
    label, secret = key.rsplit("_", 1)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data} {request.headers}"))
    page.goto(f"{portal.url}/keys/whose/")
    page.get_by_label("Key, label or log line").fill(f'2026-03-02 "GET /v1/whoami" Authorization: Bearer {key}')
    expect(page.get_by_label("Label", exact=True)).to_have_value(label)
    page.get_by_role("button", name="Find key").click()
    expect(page.get_by_role("heading", name="leaked")).to_be_visible()
    # A whole key in the field of the label is cut before it is sent.
    page.get_by_label("Label", exact=True).fill(key)
    page.get_by_role("button", name="Find key").click()
    expect(page.get_by_role("link", name="Revoke key")).to_be_visible()
    assert any(label in request for request in sent)
    assert not [request for request in sent if secret in request or secret[:16] in request]
    assert page.url == f"{portal.url}/keys/whose/"
    assert complaints.found == []


def test_secret_of_an_imported_key_never_leaves_the_browser(
    portal: Portal, page: Page, complaints: Complaints, tmp_path: Path
) -> None:
    set_up(page, portal)
    text = f"{secrets.token_hex(4).upper()}.{secrets.token_hex(20)}"
    file = tmp_path / "keys.csv"
    digest = hashlib.sha256(text.encode()).hexdigest()
    file.write_text(f"prefix,digest,algorithm,name\n{text[:8]},{digest},sha256,brought along\n", encoding="utf-8")
    portal.manage("import_keys", "csv", str(file), "--scope=org", "--permissions=scan:read")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data} {request.headers}"))
    page.goto(f"{portal.url}/keys/whose/")
    page.get_by_label("Key, label or log line").fill(f'"GET /v1/whoami" Authorization: Api-Key {text}')
    expect(page.get_by_label("Label", exact=True)).to_have_value(text[:8])
    for asked in (text[:8], text):
        page.get_by_label("Label", exact=True).fill(asked)
        page.get_by_role("button", name="Find key").click()
        expect(page.get_by_role("heading", name="brought along")).to_be_visible()
    # What is no label is not sent at all.
    page.get_by_label("Label", exact=True).fill("galaxy")
    count = len(sent)
    page.get_by_role("button", name="Find key").click()
    expect(page.get_by_text("No label of this portal's keys is in it.")).to_be_visible()
    assert len(sent) == count
    assert any(text[:8] in request for request in sent)
    assert not [request for request in sent if text[8:16] in request]
    assert complaints.found == []
