"""From an empty machine to a key on record: issue, copy once, use, revoke, look it up."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.steps import (
    ALICE,
    DANA,
    KEY_LIKE,
    Complaints,
    assert_no_trace,
    call,
    create_project,
    create_team,
    fill_issue_form,
    heading,
    held,
    invite,
    mailed_link,
    open_issue_form,
    open_revoke_form,
    register,
    revealed,
    row,
    set_up,
    sheet,
    stored,
)
from tests.services import Portal

KEY_NAME = "github-action-checkout-service"


@pytest.mark.every_database
def test_a_key_from_the_setup_link_to_the_audit_log(
    portal: Portal, page: Page, context: BrowserContext, new_context: CreateContextCallback, complaints: Complaints
) -> None:
    """The whole of it in one go, since every step stands on the one before."""
    link = portal.setup_link
    set_up(page, portal)
    assert_link_is_used_up(link, new_context())

    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    invitation = invite(page, portal, "Payments", DANA.email)
    # What is mailed (printed, here) is another link to the same.
    assert mailed_link(portal, "/invitations/") != invitation
    register(new_context().new_page(), invitation)
    assert_invitation_is_used_up(invitation, new_context())

    key = issue_watching_the_sentence(page, portal)
    assert_reveal_shows_one_key(page, key)
    copy_and_dismiss(page, key)
    assert_only_the_label_remains(page, context, key)

    use_until_revoked(page, portal, key)
    assert_on_record(page, portal, key)
    assert complaints.found == []


def assert_link_is_used_up(link: str, context: BrowserContext) -> None:
    page = context.new_page()
    response = page.goto(link)
    assert response is not None
    assert response.status == 410
    expect(heading(page, "keyportal is set up")).to_be_visible()
    context.close()


def assert_invitation_is_used_up(link: str, context: BrowserContext) -> None:
    page = context.new_page()
    response = page.goto(link)
    assert response is not None
    assert response.status == 410
    expect(heading(page, "This invitation no longer works")).to_be_visible()
    context.close()


def issue_watching_the_sentence(page: Page, portal: Portal) -> str:
    open_issue_form(page, portal)
    sentence = page.locator("#issue-sentence")
    before = sentence.inner_text()
    assert page.locator("[name=permissions]:checked").count() == 0
    fill_issue_form(page, KEY_NAME, project="Payments / Checkout")
    expect(sentence).not_to_have_text(before)
    expect(sentence).to_contain_text("Checkout")
    sheet(page).get_by_role("button", name="Issue key").click()
    return revealed(page)


def assert_reveal_shows_one_key(page: Page, key: str) -> None:
    assert set(KEY_LIKE.findall(held(page))) == {key}
    assert KEY_LIKE.fullmatch(key)
    expect(page.locator("dialog")).to_contain_text("Nobody, including us, can show it again.")
    expect(page.get_by_role("button", name="Copy key")).to_be_focused()
    assert key not in page.url


def copy_and_dismiss(page: Page, key: str) -> None:
    expect(page.locator("#revealed-key-status")).to_have_text("")
    page.get_by_role("button", name="Copy key").click()
    expect(page.locator("#revealed-key-status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.get_by_role("link", name="Done").click()
    expect(page.locator("dialog")).not_to_be_visible()


def assert_only_the_label_remains(page: Page, context: BrowserContext, key: str) -> None:
    label = key.rpartition("_")[0]
    new = row(page, KEY_NAME)
    expect(new).to_have_class("is-new")
    expect(new).to_contain_text(f"{label}…")
    assert_no_trace(held(page), key)
    for move in (page.reload, page.go_back, page.go_forward):
        move()
        expect(heading(page, "Integrations")).to_be_visible()
        assert_no_trace(held(page), key)
    assert_no_trace(stored(context, page), key)


def use_until_revoked(page: Page, portal: Portal, key: str) -> None:
    projects = call(portal, "/v1/projects", key)
    assert projects.status == 200
    assert [project["name"] for project in projects.body["items"]] == ["Checkout"]
    me = call(portal, "/v1/whoami", key)
    assert me.status == 200
    assert "projects:read" in str(me.body)
    assert ALICE.email in str(me.body)
    open_revoke_form(page, portal, KEY_NAME)
    sheet(page).get_by_label("Reason").fill("The job moved")
    confirm = sheet(page).get_by_label(f"Type {KEY_NAME} to confirm")
    confirm.fill("something else")
    sheet(page).get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text(f"Type the name as it is written: {KEY_NAME}")).to_be_visible()
    assert call(portal, "/v1/projects", key).status == 200
    confirm.fill(KEY_NAME)
    sheet(page).get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("status").first).to_contain_text("It has been refused since.")
    refused = call(portal, "/v1/projects", key)
    assert (refused.status, refused.body["code"]) == (401, "key_revoked")
    assert "www-authenticate" in refused.headers.lower()


def assert_on_record(page: Page, portal: Portal, key: str) -> None:
    label = key.rpartition("_")[0]
    today = datetime.now(tz=UTC).date()
    shown = {
        "target_table=api_keys&action=create": True,
        "target_table=api_keys&action=update": True,
        f"target_table=api_keys&action=create&actor={ALICE.email}": True,
        f"target_table=api_keys&action=create&actor={DANA.email}": False,
        f"target_table=api_keys&action=update&label={label}": True,
        "target_table=api_keys&label=kp_sk_live_00000000": False,
        f"target_table=api_keys&from={today - timedelta(days=1)}&to={today + timedelta(days=1)}": True,
        f"target_table=api_keys&to={today - timedelta(days=2)}": False,
        "target_table=teams": False,
    }
    for query, is_shown in shown.items():
        page.goto(f"{portal.url}/audit/?{query}")
        rows = page.locator("#event-table tbody tr").filter(has_text=label)
        assert (rows.count() > 0) is is_shown, query
        if is_shown:
            expect(rows.first).to_contain_text(ALICE.email)
        assert_no_trace(held(page), key)
