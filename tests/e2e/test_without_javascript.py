"""The same way with plain pages and forms, as where scripts are off or did not load."""

import pytest
from playwright.sync_api import Error, Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.steps import (
    DANA,
    KEY_LIKE,
    assert_no_trace,
    call,
    create_project,
    create_team,
    fill_issue_form,
    heading,
    held,
    invite,
    open_issue_form,
    open_revoke_form,
    register,
    row,
    set_up,
    sheet,
)
from tests.services import Portal

NAME = "nightly-report"
# `page.evaluate` runs in a page without scripts too, so reading it this way is fair.


def test_a_key_is_issued_used_and_revoked_by_plain_forms(portal: Portal, new_context: CreateContextCallback) -> None:
    page = new_context(java_script_enabled=False).new_page()
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    register(
        new_context(java_script_enabled=False).new_page(),
        invite(page, portal, "Payments", DANA.email),
    )

    key = issue_plainly(page, portal)
    assert call(portal, "/v1/projects", key).status == 200
    send_again(page, key)
    listed = call(portal, "/v1/api-keys", inventory_key(page, portal)).body["items"]
    assert sorted(item["name"] for item in listed) == ["inventory", NAME]

    revoke_plainly(page, portal)
    assert call(portal, "/v1/projects", key).body["code"] == "key_revoked"
    page.goto(f"{portal.url}/audit/?target_table=api_keys&action=update&label={NAME}")
    assert_no_trace(page.content(), key)


def issue_plainly(page: Page, portal: Portal) -> str:
    open_issue_form(page, portal)
    assert page.locator("dialog[open]").count() == 0
    # A mistake comes back as a page that keeps what was typed.
    sheet(page).get_by_label("Name").fill(NAME)
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(page.get_by_text("Choose a scope.")).to_be_visible()
    expect(sheet(page).get_by_label("Name")).to_have_value(NAME)
    fill_issue_form(page, NAME, project="Payments / Checkout")
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(heading(page, "Copy your key now")).to_be_visible()
    key = page.get_by_label("Key for").input_value()
    assert set(KEY_LIKE.findall(held(page))) == {key}
    # A button that needs scripts is not offered.
    expect(page.get_by_role("button", name="Copy key")).to_have_count(0)
    return key


def send_again(page: Page, key: str) -> None:
    """Reload the reveal, which sends its form once more: the browser's own way to lose or double a key."""
    response = page.reload()
    assert response is not None
    assert (response.request.method, response.status) == ("POST", 409)
    expect(page.get_by_role("heading", name="This key was already issued")).to_be_visible()
    assert_no_trace(held(page), key)
    page.get_by_role("link", name="Go to API keys").click()
    expect(row(page, NAME)).to_have_count(1)
    assert_no_trace(held(page), key)
    # The browser kept no copy of the reveal that it could show; it would have to send the form once more.
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
    page.wait_for_url("chrome-error://chromewebdata/")


def inventory_key(page: Page, portal: Portal) -> str:
    open_issue_form(page, portal, is_organizations=True)
    fill_issue_form(page, "inventory", permissions=["keys:read"])
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(heading(page, "Copy your key now")).to_be_visible()
    return page.get_by_label("Key for").input_value()


def revoke_plainly(page: Page, portal: Portal) -> None:
    open_revoke_form(page, portal, NAME)
    sheet(page).get_by_label(f"Type {NAME} to confirm").fill(NAME)
    sheet(page).get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("It has been refused since.")).to_be_visible()
