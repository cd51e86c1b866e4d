"""The one moment in which a key is on the screen: what ends it, what does not, and what is left."""

import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect

from tests.e2e.steps import (
    KEY_LIKE,
    assert_no_trace,
    demo_people,
    heading,
    held,
    issue_key,
    revealed,
    row,
    sheet,
    sign_in,
    stored,
)
from tests.services import Portal

PROJECT = "Payments / Checkout"


@pytest.fixture
def alice_page(page: Page, demo_portal: Portal) -> Page:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    return page


def test_a_refused_clipboard_selects_the_key_and_says_what_to_press(alice_page: Page, demo_portal: Portal) -> None:
    alice_page.context.clear_permissions()
    key = issue_key(alice_page, demo_portal, "refused-clipboard", project=PROJECT)
    # Headless Chromium asks nobody and grants writing; a person's browser may refuse it.
    alice_page.evaluate(
        "Object.defineProperty(navigator.clipboard, 'writeText', {value: () => Promise.reject(new DOMException())})"
    )
    alice_page.get_by_role("button", name="Copy key").click()
    expect(alice_page.locator("#revealed-key-status")).to_have_text("Selected. Press Ctrl+C to copy it.")
    assert alice_page.evaluate("getSelection().toString()") == key
    expect(alice_page.get_by_text("Copied", exact=True)).to_have_count(0)
    # It is not taken yet, so that leaving still asks; Ctrl+C takes it.
    alice_page.get_by_role("link", name="Done").click()
    expect(alice_page.get_by_text("You have not copied the key.")).to_be_visible()
    alice_page.get_by_label("Key for").select_text()
    alice_page.keyboard.press("Control+C")
    expect(alice_page.get_by_text("You have not copied the key.")).not_to_be_visible()
    alice_page.get_by_role("link", name="Done").click()
    expect(row(alice_page, "refused-clipboard")).to_have_class("is-new")


def test_without_a_clipboard_as_on_plain_http_the_advice_is_the_same(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "no-clipboard", project=PROJECT)
    alice_page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    alice_page.get_by_role("button", name="Copy key").click()
    expect(alice_page.locator("#revealed-key-status")).to_have_text("Selected. Press Ctrl+C to copy it.")
    assert alice_page.evaluate("getSelection().toString()") == key


def test_escape_and_the_backdrop_do_not_close_it(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "stays-open", project=PROJECT)
    for _ in range(3):
        alice_page.keyboard.press("Escape")
    alice_page.mouse.click(5, 5)
    alice_page.mouse.click(5, 400)
    assert revealed(alice_page) == key
    expect(alice_page.get_by_role("dialog")).to_be_visible()


def test_leaving_without_a_copy_asks_once_more(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "asks-once-more", project=PROJECT)
    guard = alice_page.get_by_text("You have not copied the key.")
    alice_page.get_by_role("link", name="Done").click()
    expect(guard).to_be_visible()
    assert revealed(alice_page) == key
    alice_page.locator("[data-reveal-guard]").get_by_role("button", name="Copy key").click()
    expect(guard).not_to_be_visible()
    assert alice_page.evaluate("navigator.clipboard.readText()") == key
    alice_page.get_by_role("link", name="Done").click()
    expect(heading(alice_page, "Integrations")).to_be_visible()
    expect(row(alice_page, "asks-once-more")).to_have_class("is-new")


def test_leaving_for_good_without_the_key_is_possible(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "left-behind", project=PROJECT)
    alice_page.get_by_role("link", name="Done").click()
    alice_page.get_by_role("link", name="Leave without the key").click()
    expect(row(alice_page, "left-behind")).to_have_class("is-new")
    assert_no_trace(held(alice_page), key)


def test_every_snippet_holds_the_key_and_copies_whole(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "snippets", project=PROJECT)
    snippets = alice_page.locator(".snippets details")
    titles = [title.strip() for title in snippets.locator("summary").all_inner_texts()]
    assert titles == ["Shell", "curl", ".env file", "GitHub Actions", "GitLab CI", "Python"]
    for snippet in snippets.all():
        snippet.locator("summary").click()
        text = snippet.locator("pre").inner_text()
        assert KEY_LIKE.findall(text) == [key]
        snippet.get_by_role("button", name="Copy").click()
        expect(snippet.get_by_role("status")).to_have_text("Copied")
        copied = alice_page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == text.strip()
    # A snippet that was copied holds the key, so nothing is asked any more.
    alice_page.get_by_role("link", name="Done").click()
    expect(row(alice_page, "snippets")).to_have_class("is-new")


def test_the_env_file_downloads_with_one_line(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "env-file", project=PROJECT)
    alice_page.locator("summary").filter(has_text=".env file").click()
    with alice_page.expect_download() as download:
        alice_page.get_by_role("button", name="Download keyportal.env").click()
    assert download.value.suggested_filename == "keyportal.env"
    assert download.value.path().read_text(encoding="utf-8").strip() == f"KEYPORTAL_KEY={key}"
    assert key not in download.value.url
    alice_page.get_by_role("link", name="Done").click()
    expect(row(alice_page, "env-file")).to_have_class("is-new")


def test_a_reload_in_the_middle_loses_the_key_and_keeps_the_row(alice_page: Page, demo_portal: Portal) -> None:
    key = issue_key(alice_page, demo_portal, "reloaded", project=PROJECT)
    alice_page.reload()
    expect(row(alice_page, "reloaded")).to_be_visible()
    assert_no_trace(held(alice_page), key)
    assert_no_trace(stored(alice_page.context, alice_page), key)


def test_a_double_click_issues_one_key(alice_page: Page, demo_portal: Portal) -> None:
    alice_page.goto(f"{demo_portal.url}/integrations/new/?name=double&scope=org&permissions=projects:read")
    alice_page.get_by_role("button", name="Issue key").dblclick()
    expect(sheet(alice_page).get_by_role("heading", level=1)).to_be_visible()
    alice_page.goto(f"{demo_portal.url}/integrations/?q=double")
    expect(alice_page.locator("tbody tr")).to_have_count(1)


def test_the_page_kept_for_the_back_button_holds_nothing(
    browser_type: BrowserType, browser_type_launch_args: dict[str, object], demo_portal: Portal, browser: Browser
) -> None:
    """Playwright turns the back/forward cache off; people have it, so this browser gets it back."""
    arguments: dict[str, object] = {
        **browser_type_launch_args,
        "ignore_default_args": ["--disable-back-forward-cache"],
    }
    own = browser_type.launch(**arguments)  # type: ignore[arg-type] # pytest-playwright's own fixture is as loose
    try:
        page = own.new_page()
        sign_in(page, demo_portal, demo_people(demo_portal)[0])
        key = issue_key(page, demo_portal, "kept-for-back", project=PROJECT)
        page.evaluate("addEventListener('pageshow', (event) => { window.wasKept = event.persisted })")
        page.evaluate("location.assign('/projects/')")
        expect(heading(page, "Projects")).to_be_visible()
        page.evaluate("history.back()")
        expect(heading(page, "Integrations")).to_be_visible()
        assert page.evaluate("window.wasKept") is True
        assert_no_trace(held(page), key)
    finally:
        own.close()
