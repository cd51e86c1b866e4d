"""Rotation in the browser, for both reasons, with a client that goes on calling."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import (
    Complaints,
    assert_no_trace,
    call,
    demo_people,
    heading,
    held,
    issue_key,
    revealed,
    row,
    sheet,
    sign_in,
    wait_until_used,
)
from tests.e2e.test_accessibility import AXE, violations
from tests.services import Portal

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/rotation.md"
PROJECT = "Payments / Checkout"


@pytest.fixture
def alice_page(page: Page, demo_portal: Portal) -> Page:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    return page


def axe_violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    return violations(page, None)


def put_away(page: Page, key: str) -> None:
    page.get_by_role("button", name="Copy key").click()
    expect(page.locator("#revealed-key-status")).to_have_text("Copied")
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("dialog")).not_to_be_visible()
    assert_no_trace(held(page), key)


def open_rotate_form(page: Page, portal: Portal, name: str) -> None:
    page.goto(f"{portal.url}/integrations/?q={name}")
    row(page, name).first.locator("summary").click()
    row(page, name).first.get_by_role("link", name="Rotate key").click()
    expect(sheet(page).get_by_role("heading", name="Rotate this key")).to_be_visible()


def reload_until(page: Page, told: Locator) -> None:
    """Look again until a page tells what the records of use lead to, which takes about a second."""
    end = time.monotonic() + 40
    while told.count() == 0:
        assert time.monotonic() < end, "The use was not recorded."
        page.reload()


def test_routine_rotation_keeps_both_keys_until_its_owner_ends_it(
    alice_page: Page, demo_portal: Portal, complaints: Complaints
) -> None:
    page, name = alice_page, "rotated-routinely"
    old = issue_key(page, demo_portal, name, project=PROJECT)
    put_away(page, old)
    open_rotate_form(page, demo_portal, name)
    assert axe_violations(page) == []
    sheet(page).get_by_role("button", name="Rotate key").click()
    expect(sheet(page).get_by_text("Say why it is rotated.")).to_be_visible()
    sheet(page).get_by_label("Routine").check()
    expect(sheet(page).get_by_text("And at the latest:")).to_be_visible()
    sheet(page).get_by_role("button", name="Rotate key").click()
    new = revealed(page)
    assert new != old
    put_away(page, new)
    page.goto(f"{demo_portal.url}/integrations/?q={name}")
    expect(page.get_by_role("row").filter(has_text="Rotating")).to_have_count(2)
    assert [call(demo_portal, "/v1/projects", key).status for key in (old, new)] == [200, 200]
    wait_until_used(page, demo_portal, name)
    old_label = old.rpartition("_")[0]
    page.get_by_role("row").filter(has_text=old_label).get_by_role("link", name=name, exact=True).click()
    expect(heading(page, name)).to_be_visible()
    panel = page.get_by_role("region", name="Rotation")
    reload_until(page, panel.get_by_text("Its successor is in use"))
    expect(panel.get_by_role("row").filter(has_text="GET /v1/projects")).to_contain_text("127.0.0.1")
    assert axe_violations(page) == []
    panel.get_by_role("link", name="Extend").click()
    sheet(page).get_by_label("7 days more").check()
    sheet(page).get_by_role("button", name="Extend").click()
    expect(page.get_by_role("status").get_by_text("works until")).to_be_visible()
    panel.get_by_role("link", name="End now").click()
    sheet(page).get_by_role("button", name="Retire key").click()
    expect(page.get_by_text("It has been refused since.")).to_be_visible()
    refused = call(demo_portal, "/v1/projects", old)
    assert (refused.status, refused.body["code"]) == (401, "key_retired")
    assert call(demo_portal, "/v1/projects", new).status == 200
    assert complaints.found == []


def test_leaked_key_ends_at_once_and_its_return_is_an_incident(
    alice_page: Page, demo_portal: Portal, complaints: Complaints
) -> None:
    page, name = alice_page, "rotated-because-it-leaked"
    old = issue_key(page, demo_portal, name, project=PROJECT)
    put_away(page, old)
    open_rotate_form(page, demo_portal, name)
    sheet(page).get_by_label("It leaked").check()
    expect(sheet(page).get_by_text("The very next request with the old key is refused")).to_be_visible()
    sheet(page).get_by_role("button", name="Rotate key").click()
    new = revealed(page)
    put_away(page, new)
    refused = call(demo_portal, "/v1/projects", old)
    assert (refused.status, refused.body["code"]) == (401, "key_revoked")
    assert call(demo_portal, "/v1/projects", new).status == 200
    page.goto(f"{demo_portal.url}/integrations/?q={name}&tab=attention")
    expect(row(page, name)).to_contain_text("Incident")
    row(page, name).get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_text("A replaced key was used again after it had ended")).to_be_visible()
    expect(page.get_by_text(old.rpartition("_")[0]).first).to_be_visible()
    assert_no_trace(held(page), old)
    assert axe_violations(page) == []
    assert complaints.found == []


def test_recipe_of_the_documentation_rotates_the_key_of_a_job(
    alice_page: Page, demo_portal: Portal, tmp_path: Path
) -> None:
    old = issue_key(alice_page, demo_portal, "job", project=PROJECT, permissions=["projects:read", "keys:rotate_self"])
    [recipe] = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    store = tmp_path / "store"
    secret_store = tmp_path / "gh"
    secret_store.write_text(f"#!/bin/sh\ncat > '{store}'\n")
    secret_store.chmod(0o700)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "KEYPORTAL_URL": demo_portal.url,
        "RUN_ID": "4711",
    }

    def run(key: str) -> None:
        subprocess.run(["/bin/sh"], input=recipe, text=True, check=True, env=environment | {"KEYPORTAL_KEY": key})

    run(old)
    new = store.read_text()
    assert [call(demo_portal, "/v1/projects", key).status for key in (old, new)] == [200, 200]
    run(new)
    newest = store.read_text()
    assert len({old, new, newest}) == 3
    assert call(demo_portal, "/v1/projects", newest).status == 200
