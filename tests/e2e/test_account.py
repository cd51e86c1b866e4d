"""One's own account in the browser: profile, address, password, sessions and habits."""

import re
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.steps import ALICE, Complaints, Person, fill_sign_in, heading, set_up, sign_in
from tests.services import Portal

NEW = Person("alice.moreau@orchard.example", ALICE.password)
NEW_PASSWORD = "eleven-lanterns-over-the-quay"


@pytest.fixture
def alice_page(page: Page, portal: Portal) -> Page:
    set_up(page, portal)
    return page


def open_tab(page: Page, portal: Portal, name: str) -> None:
    page.goto(f"{portal.url}/account/profile/")
    page.get_by_role("navigation", name="Account").get_by_role("link", name=name, exact=True).click()
    tab = page.get_by_role("navigation", name="Account").get_by_role("link", name=name, exact=True)
    expect(tab).to_have_attribute("aria-current", "page")


def mailed_links(portal: Portal) -> list[str]:
    """Return the two links of a change of address: that to the old mailbox, which is written first, and the other."""
    end = time.monotonic() + 20
    while True:
        found = re.findall(rf"{re.escape(portal.url)}/account/email/confirm/[\w-]+/", portal.log_text())
        if len(links := list(dict.fromkeys(found))) == 2:
            return links
        assert time.monotonic() < end, "The mails were not sent."
        time.sleep(0.2)


def test_profile_is_reached_from_the_menu_and_gives_initials_and_time_zone(
    alice_page: Page, portal: Portal, complaints: Complaints
) -> None:
    alice_page.locator(".menu.is-up summary").click()
    alice_page.get_by_role("link", name="Account", exact=True).click()
    expect(heading(alice_page, "Account")).to_be_visible()
    alice_page.get_by_label("Name").fill("Alice Moreau")
    alice_page.get_by_label("Company").fill("Orchard")
    alice_page.get_by_label("Role").fill("Platform lead")
    alice_page.get_by_label("Time zone").fill("Asia/Tokyo")
    alice_page.get_by_role("button", name="Save profile").click()
    expect(alice_page.get_by_text("Profile saved.")).to_be_visible()
    expect(alice_page.locator(".menu.is-up .avatar")).to_have_text("AM")
    alice_page.goto(f"{portal.url}/audit/")
    expect(alice_page.locator("td time").first).to_have_attribute("title", re.compile(r"^\d{4}-.+ Asia/Tokyo$"))
    assert complaints.found == []


def test_time_zone_that_is_none_is_marked_beside_its_field(alice_page: Page, portal: Portal) -> None:
    alice_page.goto(f"{portal.url}/account/profile/")
    alice_page.get_by_label("Time zone").fill("Mars/Olympus")
    alice_page.get_by_role("button", name="Save profile").click()
    expect(alice_page.get_by_text("There is no such time zone.")).to_be_visible()
    expect(alice_page.get_by_label("Time zone")).to_have_value("Mars/Olympus")


def test_address_changes_by_two_mailed_links(
    alice_page: Page, portal: Portal, browser: Browser, complaints: Complaints
) -> None:
    open_tab(alice_page, portal, "Email")
    alice_page.get_by_label("New email").fill(NEW.email)
    alice_page.get_by_role("button", name="Change email").click()
    expect(alice_page.get_by_role("heading", name="Waiting for confirmation")).to_be_visible()
    old, new = mailed_links(portal)
    alice_page.goto(old)
    assert old.rsplit("/", 2)[1] not in alice_page.url
    alice_page.get_by_role("button", name="Approve change").click()
    expect(heading(alice_page, "One more to go")).to_be_visible()
    with browser.new_context() as elsewhere:
        phone = elsewhere.new_page()
        phone.goto(new)
        phone.get_by_role("button", name="Confirm address").click()
        expect(heading(phone, "Your address is changed")).to_be_visible()
        phone.get_by_role("link", name="Sign in").click()
        fill_sign_in(phone, NEW)
        expect(heading(phone, "Overview")).to_be_visible()
        phone.goto(f"{portal.url}/account/email/")
        expect(phone.locator("main").get_by_text(NEW.email)).to_be_visible()
    assert complaints.found == []


def test_change_of_address_can_be_cancelled(alice_page: Page, portal: Portal) -> None:
    open_tab(alice_page, portal, "Email")
    alice_page.get_by_label("New email").fill(NEW.email)
    alice_page.get_by_role("button", name="Change email").click()
    old, _ = mailed_links(portal)
    alice_page.get_by_role("button", name="Cancel change").click()
    expect(alice_page.get_by_text(f"Your address stays {ALICE.email}.")).to_be_visible()
    alice_page.goto(old)
    expect(heading(alice_page, "This link no longer works")).to_be_visible()


def test_sessions_are_told_apart_and_signed_out(
    alice_page: Page, portal: Portal, browser: Browser, complaints: Complaints
) -> None:
    with browser.new_context(user_agent="curl/8.5.0") as program, browser.new_context() as other:
        pages = [program.new_page(), other.new_page()]
        for page in pages:
            sign_in(page, portal, ALICE)
        open_tab(alice_page, portal, "Sessions")
        rows = alice_page.get_by_role("main").get_by_role("listitem")
        expect(rows).to_have_count(3)
        expect(rows.first).to_contain_text("This session")
        expect(rows.filter(has_text="Command line")).to_contain_text("curl")
        rows.filter(has_text="Command line").get_by_role("button", name="Sign out").click()
        expect(alice_page.get_by_text("curl is signed out.")).to_be_visible()
        expect(rows).to_have_count(2)
        alice_page.get_by_role("button", name="Sign out all others").click()
        expect(rows).to_have_count(1)
        for page in pages:
            page.goto(f"{portal.url}/projects/")
            expect(page.get_by_label("Password")).to_be_visible()
    assert complaints.found == []


def test_password_changes_on_the_sign_in_tab(alice_page: Page, portal: Portal, complaints: Complaints) -> None:
    open_tab(alice_page, portal, "Sign-in")
    alice_page.get_by_role("link", name="Change password").click()
    alice_page.get_by_label("Current password").fill(ALICE.password)
    alice_page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    alice_page.get_by_label("New password again").fill(NEW_PASSWORD)
    alice_page.get_by_role("button", name="Change password").click()
    expect(alice_page.get_by_text("Password changed.")).to_be_visible()
    alice_page.goto(f"{portal.url}/account/sessions/")
    expect(alice_page.get_by_role("main").get_by_role("listitem")).to_have_count(1)
    assert complaints.found == []


def test_habits_lead_to_where_they_are_kept(alice_page: Page, portal: Portal, complaints: Complaints) -> None:
    open_tab(alice_page, portal, "Good habits")
    links = alice_page.get_by_role("main").get_by_role("listitem").get_by_role("link")
    addresses = links.evaluate_all("links => links.map((link) => link.href)")
    assert len(addresses) == 6
    for address in addresses:
        response = alice_page.goto(address)
        assert response is not None
        assert response.status == 200
    assert complaints.found == []
