"""A policy in the browser: what it would touch, turning it on, and the key that it then refuses."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.e2e.steps import (
    Complaints,
    create_project,
    create_team,
    fill_issue_form,
    heading,
    issue_key,
    open_issue_form,
    set_up,
    sheet,
)
from tests.services import Portal


def test_a_policy_is_previewed_turned_on_and_refuses_a_key_that_breaks_it(
    portal: Portal, page: Page, complaints: Complaints
) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    issue_key(page, portal, "nightly-scan", project="Payments / Checkout", permissions=["scan:read"])

    page.goto(portal.url)
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Policies").click()
    expect(heading(page, "Policies")).to_be_visible()
    page.get_by_label("Longest lifetime in days").fill("30")
    page.get_by_role("button", name="Preview changes").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview).to_contain_text("1 key, 0 used today, would stop on")
    expect(preview.get_by_role("link", name="nightly-scan")).to_be_visible()

    preview.get_by_role("button", name="Turn on policy").click()
    expect(page.get_by_role("status")).to_contain_text("1 key that does not meet it works until")
    expect(page.get_by_label("Longest lifetime in days")).to_have_value("30")

    open_issue_form(page, portal)
    # What the policy would refuse is not offered; a date can be any.
    offered = sheet(page).locator("[name=expiry]").evaluate_all("radios => radios.map(radio => radio.value)")
    assert offered == ["30", "date"]
    fill_issue_form(page, "weekly-scan", project="Payments / Checkout", permissions=["scan:read"])
    sheet(page).locator("[name=expiry][value=date]").check()
    sheet(page).get_by_label("Last day").fill(f"{datetime.now(UTC) + timedelta(days=60):%Y-%m-%d}")
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(sheet(page)).to_contain_text("a key lives 30 days at most")
    assert complaints.found == []
