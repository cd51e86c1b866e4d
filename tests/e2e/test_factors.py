"""Second factors in a real browser: Chromium's virtual authenticator holds the passkeys, the test is the app."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, ViewportSize, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.app import code_of
from tests.e2e.steps import ALICE, DESKTOP, PHONE, Complaints, fill_sign_in, heading, set_up, sheet
from tests.e2e.test_accessibility import visit
from tests.e2e.test_social_sign_in import AGE_SESSIONS
from tests.e2e.tour import Stop, Tour
from tests.services import Portal

IN_THE_BROWSER = {"automaticPresenceSimulation": True, "isUserVerified": True, "hasUserVerification": True}
PASSKEY = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, **IN_THE_BROWSER}
# As many are carried on a key ring: no PIN, no room for a name.
SECURITY_KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": False,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """A keyportal with a name: browsers make passkeys for no address."""
    portal = Portal(tmp_path / "portal")
    portal.url = portal.environment["KEYPORTAL_URL"] = f"http://localhost:{portal.port}"
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


def with_authenticator(page: Page, options: dict[str, object]) -> CDPSession:
    """Give the browser something that keeps passkeys."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def add_passkey(page: Page, portal: Portal, name: str = "Work laptop") -> None:
    page.goto(f"{portal.url}/account/factors/passkeys/add/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add passkey").click()


def add_app(page: Page, portal: Portal) -> str:
    """Set an authenticator app up, and return the secret that the page shows."""
    page.goto(f"{portal.url}/account/factors/")
    page.get_by_role("link", name="Set up authenticator app").click()
    secret = page.get_by_label("Or type this secret into the app").input_value().replace(" ", "")
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Set up app").click()
    expect(heading(page, "Keep your recovery codes")).to_be_visible()
    return secret


def sign_out(page: Page) -> None:
    page.context.clear_cookies()


def begin(page: Page, portal: Portal) -> None:
    """Type the password."""
    page.goto(f"{portal.url}/account/sign-in/")
    fill_sign_in(page, ALICE)
    expect(heading(page, "Second factor")).to_be_visible()


@pytest.fixture
def home(page: Page, portal: Portal) -> Page:
    """A browser in which alice has set the portal up."""
    set_up(page, portal)
    return page


def test_passkey_is_second_factor_sign_in_and_confirmation(home: Page, portal: Portal, complaints: Complaints) -> None:
    with_authenticator(home, PASSKEY)
    add_passkey(home, portal)
    expect(heading(home, "Keep your recovery codes")).to_be_visible()
    home.get_by_role("button", name="Copy codes").click()
    home.get_by_role("link", name="Done").click()
    expect(home.get_by_text("Signs you in by itself")).to_be_visible()
    sign_out(home)
    # As the second step
    begin(home, portal)
    home.get_by_role("button", name="Use a passkey").click()
    expect(heading(home, "Overview")).to_be_visible()
    sign_out(home)
    # Alone, and back to where one wanted to be
    home.goto(f"{portal.url}/teams/")
    home.get_by_role("button", name="Sign in with a passkey").click()
    expect(heading(home, "Teams")).to_be_visible()
    # To confirm who is there
    portal.manage("shell", "--no-imports", "-c", AGE_SESSIONS)
    home.goto(f"{portal.url}/account/factors/codes/new/")
    home.get_by_role("link", name="Use a passkey").click()
    home.get_by_role("button", name="Use a passkey").click()
    expect(home.get_by_role("heading", name="Make new recovery codes?")).to_be_visible()
    assert complaints.found == []


def test_security_key_without_pin_is_a_second_factor_only(home: Page, portal: Portal, complaints: Complaints) -> None:
    with_authenticator(home, SECURITY_KEY)
    add_passkey(home, portal, "Blue key")
    expect(heading(home, "Keep your recovery codes")).to_be_visible()
    home.goto(f"{portal.url}/account/factors/")
    expect(home.get_by_text("Second factor, after the password")).to_be_visible()
    sign_out(home)
    begin(home, portal)
    home.get_by_role("button", name="Use a passkey").click()
    expect(heading(home, "Overview")).to_be_visible()
    assert complaints.found == []


def test_same_passkey_twice_is_refused_by_the_browser_and_said(home: Page, portal: Portal) -> None:
    with_authenticator(home, PASSKEY)
    add_passkey(home, portal)
    expect(heading(home, "Keep your recovery codes")).to_be_visible()
    add_passkey(home, portal, "Again")
    expect(home.get_by_text("This device or security key is set up already.")).to_be_visible()


def test_app_is_set_up_and_signs_in_by_its_codes(home: Page, portal: Portal, complaints: Complaints) -> None:
    secret = add_app(home, portal)
    sign_out(home)
    begin(home, portal)
    home.get_by_label("Code from your app").fill("000000")
    home.get_by_role("button", name="Sign in").click()
    expect(home.get_by_text("This code does not fit, or was used before.")).to_be_visible()
    # That of this half minute was used to set the app up; the next one is taken early.
    home.get_by_label("Code from your app").fill(code_of(secret, step=1))
    home.get_by_role("button", name="Sign in").click()
    expect(heading(home, "Overview")).to_be_visible()
    assert complaints.found == []


def test_recovery_code_signs_in_once(home: Page, portal: Portal, complaints: Complaints) -> None:
    add_app(home, portal)
    code = home.locator("#recovery-codes").inner_text().split()[0]
    with home.expect_download() as saved:
        home.get_by_role("button", name="Download").click()
    preface, *codes = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert preface.startswith("Recovery codes of ")
    assert f" at {portal.url}, made on " in preface
    assert codes[0] == code
    for expected in ("Overview", "Second factor"):
        sign_out(home)
        begin(home, portal)
        home.get_by_label("Code from your app, or a recovery code").fill(code)
        home.get_by_role("button", name="Sign in").click()
        expect(heading(home, expected)).to_be_visible()
    assert complaints.found == []


def test_codes_ask_once_before_they_are_lost(home: Page, portal: Portal) -> None:
    add_app(home, portal)
    home.get_by_role("link", name="Done").click()
    expect(home.get_by_text("You have not copied the codes.")).to_be_visible()
    home.get_by_role("link", name="Leave without the codes").click()
    expect(home.get_by_text(re.compile("10 of 10 left"))).to_be_visible()


def test_factor_is_removed_in_its_dialog(home: Page, portal: Portal, complaints: Complaints) -> None:
    add_app(home, portal)
    home.goto(f"{portal.url}/account/factors/")
    home.get_by_role("link", name="Remove authenticator app").click()
    sheet(home).get_by_role("button", name="Remove app").click()
    expect(home.get_by_role("link", name="Set up authenticator app")).to_be_visible()
    assert complaints.found == []


def test_portal_opened_under_another_name_says_where_passkeys_work(home: Page, portal: Portal) -> None:
    home.goto(f"http://127.0.0.1:{portal.port}/account/sign-in/")
    home.get_by_role("button", name="Sign in with a passkey").click()
    expect(home.get_by_text(f"Passkeys work under http://localhost:{portal.port} only.")).to_be_visible()


def test_factors_without_javascript(home: Page, portal: Portal, new_context: CreateContextCallback) -> None:
    add_app(home, portal)
    code = home.locator("#recovery-codes").inner_text().split()[0]
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{portal.url}/account/sign-in/")
    expect(page.get_by_text("Passkeys need JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    fill_sign_in(page, ALICE)
    page.get_by_label("Code from your app, or a recovery code").fill(code)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{portal.url}/account/factors/codes/new/")
    page.get_by_role("button", name="Make new codes").click()
    expect(page.locator("#recovery-codes")).to_be_visible()


def test_pages_of_passkeys_are_accessible_fit_and_are_quiet(home: Page, portal: Portal, complaints: Complaints) -> None:
    with_authenticator(home, PASSKEY)
    failures = looked_at(home, portal, complaints, "/account/factors/passkeys/add/")
    add_passkey(home, portal)
    expect(heading(home, "Keep your recovery codes")).to_be_visible()
    home.goto(f"{portal.url}/account/factors/")
    number = re.findall(r"passkeys/(\d+)/rename", home.content())[0]
    for path in ("", f"passkeys/{number}/rename/", f"passkeys/{number}/remove/"):
        failures += looked_at(home, portal, complaints, f"/account/factors/{path}")
    failures += looked_at(home, portal, complaints, "/account/reauthenticate/passkey/")
    sign_out(home)
    failures += looked_at(home, portal, complaints, "/account/sign-in/")
    begin(home, portal)
    failures += looked_at(home, portal, complaints, "/account/sign-in/second-step/")
    assert failures == []


def looked_at(page: Page, portal: Portal, complaints: Complaints, path: str) -> list[str]:
    """Return what is wrong with a page at either width, as the tour does."""
    failures = []
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(ViewportSize(width=size["width"], height=size["height"]))
        failures += visit(Stop(path, "alice", portal.url + path), page, Tour(portal, portal), complaints)
    return [f"{path}: {failure}" for failure in failures]
