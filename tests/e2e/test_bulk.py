"""Ending keys in the browser: one for a time, and all that pass a filter for good."""

from playwright.sync_api import Page, expect

from tests.e2e.steps import (
    Complaints,
    call,
    create_project,
    create_team,
    heading,
    issue_key,
    set_up,
    sheet,
)
from tests.services import Portal


def test_key_is_disabled_and_enabled_and_all_of_a_filter_are_revoked(
    portal: Portal, page: Page, complaints: Complaints
) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    keys = {name: issue_key(page, portal, name) for name in ("nightly scan", "nightly report", "deployment")}
    assert [code(portal, key) for key in keys.values()] == ["", "", ""]

    disable_and_enable(page, portal, keys["deployment"])
    revoke_all_that_match(page, portal, "nightly")
    assert [code(portal, key) for key in keys.values()] == ["key_revoked", "key_revoked", ""]
    assert_on_record(page, portal)
    assert complaints.found == []


def code(portal: Portal, key: str) -> str:
    """Return why a request with the key is refused right now; nothing if it is not."""
    return str(call(portal, "/v1/whoami", key).body.get("code", ""))


def disable_and_enable(page: Page, portal: Portal, key: str) -> None:
    page.goto(f"{portal.url}/integrations/")
    page.get_by_role("link", name="deployment").click()
    page.get_by_role("link", name="Disable key").click()
    sheet(page).get_by_role("button", name="Disable key").click()
    expect(page.get_by_text("It is refused until someone enables it again.")).to_be_visible()
    assert code(portal, key) == "key_disabled"
    page.get_by_role("link", name="Enable key").click()
    sheet(page).get_by_role("button", name="Enable key").click()
    expect(page.get_by_text("It works again.")).to_be_visible()
    assert code(portal, key) == ""


def revoke_all_that_match(page: Page, portal: Portal, text: str) -> None:
    page.goto(f"{portal.url}/integrations/?tab=active&q={text}")
    page.get_by_role("link", name="Disable or revoke these…").click()
    expect(heading(page, "Disable or revoke keys")).to_be_visible()
    expect(page.get_by_role("rowheader")).to_have_count(2)
    page.get_by_label("Revoke: refused for good").check()
    page.get_by_label("Reason").fill("The job is gone")
    page.get_by_label("Type 2 to confirm").fill("3")
    page.get_by_role("button", name="End 2 keys").click()
    expect(page.get_by_text("Type the number of keys: 2")).to_be_visible()
    page.get_by_label("Type 2 to confirm").fill("2")
    page.get_by_role("button", name="End 2 keys").click()
    expect(page.get_by_text("2 keys revoked at")).to_be_visible()


def assert_on_record(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.url}/audit/")
    expect(page.get_by_text("api_key.bulk_revoked")).to_be_visible()
    expect(page.get_by_text("api_key.revoked", exact=True)).to_have_count(2)
