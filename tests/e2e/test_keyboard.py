"""A key issued and revoked without a mouse, and where the focus is meanwhile."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import call, demo_people, heading, revealed, row, sheet, sign_in, wait_until_used
from tests.services import Portal

NAME = "typed-by-hand"


@pytest.fixture
def alice_page(page: Page, demo_portal: Portal) -> Page:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    page.goto(f"{demo_portal.url}/integrations/")
    return page


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the focus is where it is wanted; a page has fewer stops than a hundred."""
    for _ in range(100):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {wanted}")


def open_by_enter(page: Page) -> Locator:
    """Open the dialog by its link and return the link."""
    link = page.get_by_role("link", name="New API key").first
    tab_to(page, link)
    page.keyboard.press("Enter")
    expect(sheet(page).get_by_role("heading", name="New API key")).to_be_visible()
    return link


def test_the_first_tab_offers_to_skip_to_the_content(alice_page: Page) -> None:
    alice_page.keyboard.press("Tab")
    expect(alice_page.get_by_role("link", name="Skip to content")).to_be_focused()
    alice_page.keyboard.press("Enter")
    expect(alice_page.locator("#main")).to_be_focused()


def test_focus_goes_into_the_dialog_and_comes_back(alice_page: Page) -> None:
    link = open_by_enter(alice_page)
    expect(sheet(alice_page).get_by_label("Name")).to_be_focused()
    # Round and round, Tab never reaches the page behind; it may stop at the browser's own controls.
    for _ in range(60):
        alice_page.keyboard.press("Tab")
        assert alice_page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    alice_page.keyboard.press("Escape")
    expect(alice_page.locator("dialog")).not_to_be_visible()
    expect(link).to_be_focused()
    # Nothing of the form is left that a second opening would trip over.
    expect(alice_page.locator("dialog > *")).to_have_count(0)


def test_a_wrong_form_says_so_where_the_focus_is(alice_page: Page) -> None:
    open_by_enter(alice_page)
    alice_page.keyboard.press("Enter")
    alert = sheet(alice_page).get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_be_focused()


def test_a_key_is_issued_and_revoked_by_keyboard(alice_page: Page, demo_portal: Portal) -> None:
    page = alice_page
    open_by_enter(page)
    page.keyboard.type(NAME)
    page.keyboard.press("Tab")
    # Radios are one stop; the arrows choose, and Space where none is chosen yet.
    expect(sheet(page).locator("[name=scope]").first).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    expect(sheet(page).locator("[name=scope][value=project]")).to_be_checked()
    tab_to(page, sheet(page).get_by_label("Project", exact=True))
    page.keyboard.type("Payments / Ch")
    tab_to(page, sheet(page).locator("[name=permissions][value='projects:read']"))
    page.keyboard.press("Space")
    tab_to(page, sheet(page).get_by_role("button", name="Issue key"))
    page.keyboard.press("Enter")

    key = revealed(page)
    expect(page.get_by_role("button", name="Copy key")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#revealed-key-status")).to_have_text("Copied")
    tab_to(page, page.get_by_role("link", name="Done"))
    page.keyboard.press("Enter")
    expect(row(page, NAME)).to_have_class("is-new")
    expect(row(page, NAME)).to_contain_text("Checkout")
    assert call(demo_portal, "/v1/projects", key).status == 200

    wait_until_used(page, demo_portal, NAME)
    tab_to(page, row(page, NAME).locator("summary"))
    page.keyboard.press("Enter")
    tab_to(page, row(page, NAME).get_by_role("link", name="Revoke key"))
    page.keyboard.press("Enter")
    expect(sheet(page).get_by_role("heading", name="Revoke this key?")).to_be_visible()
    tab_to(page, sheet(page).get_by_label(f"Type {NAME} to confirm"))
    page.keyboard.type(NAME)
    page.keyboard.press("Enter")
    expect(page.get_by_text("It has been refused since.")).to_be_visible()
    assert call(demo_portal, "/v1/projects", key).body["code"] == "key_revoked"


def test_escape_closes_a_menu_and_returns_to_its_button(alice_page: Page) -> None:
    menu = alice_page.locator("tbody summary").first
    tab_to(alice_page, menu)
    alice_page.keyboard.press("Enter")
    expect(alice_page.get_by_role("link", name="View key").first).to_be_visible()
    alice_page.keyboard.press("Tab")
    alice_page.keyboard.press("Escape")
    expect(alice_page.get_by_role("link", name="View key")).to_have_count(0)
    expect(menu).to_be_focused()


def test_the_pages_own_heading_follows_every_link_of_the_frame(alice_page: Page) -> None:
    for name in ("Projects", "Teams", "Audit log", "Integrations", "Overview"):
        tab_to(alice_page, alice_page.get_by_role("navigation", name="Main").get_by_role("link", name=name))
        alice_page.keyboard.press("Enter")
        expect(heading(alice_page, name)).to_be_visible()
