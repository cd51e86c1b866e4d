"""The example organization, as a newcomer meets it."""

import re

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.steps import Complaints, Person, demo_people, heading, row, sign_in
from tests.services import Portal

MEMBER = Person("newcomer@northwind.example", "first-day-with-a-borrowed-mug")
ADD_MEMBER = f"""
from django.utils import timezone
from accounts import actions
from accounts.models import Organization, Role
at = timezone.now()
user = actions.create_user(email="{MEMBER.email}", password="{MEMBER.password}", at=at)
actions.add_to_organization(
    organization=Organization.objects.get(name="Northwind Labs"), user=user, role=Role.MEMBER, at=at
)
"""


def test_the_three_printed_sign_ins_work(demo_portal: Portal, new_context: CreateContextCallback) -> None:
    assert [person.email.partition("@")[0] for person in demo_people(demo_portal)] == ["alice", "bob", "dana"]
    for person in demo_people(demo_portal):
        page = new_context().new_page()
        sign_in(page, demo_portal, person)
        expect(page.get_by_role("banner")).to_contain_text(person.email)
        expect(page.get_by_role("banner")).to_contain_text("Northwind Labs")


def test_the_overview_says_what_this_is_and_what_needs_attention(
    demo_portal: Portal, page: Page, complaints: Complaints
) -> None:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    expect(page.get_by_text("issues the API keys of Northwind Labs")).to_be_visible()
    figures = [int(text) for text in page.locator(".figures strong").all_inner_texts()]
    assert len(figures) == 4
    assert all(figures)
    expect(page.locator("[aria-labelledby=attention-title] li")).to_have_count(5)
    expect(page.locator("[aria-labelledby=events-title] li")).to_have_count(8)
    page.locator(".figures").get_by_role("link", name="Need attention").click()
    expect(page.get_by_role("link", name="Needs attention")).to_have_attribute("aria-current", "page")
    assert complaints.found == []


def test_there_are_keys_in_every_state(demo_portal: Portal, page: Page) -> None:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    shown = {
        "attention": {"Disabled", "Exposed", "Expires in", "Unused for"},
        "active": {"Active", "Never used"},
        "expired": {"Expired"},
        "revoked": {"Revoked"},
    }
    for tab, badges in shown.items():
        page.goto(f"{demo_portal.url}/integrations/?tab={tab}")
        texts = page.locator("td[data-title=Health] .badge").evaluate_all(
            "badges => badges.map((badge) => badge.firstChild.textContent.trim())"
        )
        assert {badge for badge in badges if any(text.startswith(badge) for text in texts)} == badges


def test_tabs_search_and_filters_stay_in_the_address(demo_portal: Portal, page: Page) -> None:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    page.goto(f"{demo_portal.url}/integrations/")
    page.get_by_label("Search keys").fill("checkout")
    expect(row(page, "argo-cd-production")).to_have_count(0)
    expect(row(page, "checkout-load-test")).to_be_visible()
    expect(page).to_have_url(re.compile("q=checkout"))
    page.get_by_role("navigation", name="Keys by state").get_by_role("link", name="Revoked").click()
    expect(row(page, "dana-laptop")).to_be_visible()
    expect(page).to_have_url(re.compile("q=checkout"))
    page.reload()
    expect(row(page, "dana-laptop")).to_be_visible()
    page.go_back()
    expect(row(page, "checkout-load-test")).to_be_visible()

    page.goto(f"{demo_portal.url}/audit/")
    page.get_by_label("Table").select_option("api_keys")
    page.get_by_label("Action").select_option("update")
    page.get_by_label("Actor").fill("dana")
    rows = page.locator("#event-table tbody tr")
    expect(rows.filter(has_not_text="dana@northwind.example")).to_have_count(0)
    expect(rows.filter(has_text="api_key.revoked").first).to_be_visible()
    assert "actor=dana" in page.url


def test_a_developer_sees_only_their_teams(demo_portal: Portal, page: Page) -> None:
    alice, _, dana = demo_people(demo_portal)
    sign_in(page, demo_portal, alice)
    page.goto(f"{demo_portal.url}/projects/")
    page.get_by_role("link", name="Deployments", exact=True).click()
    foreign = page.url
    page.context.clear_cookies()

    sign_in(page, demo_portal, dana)
    page.goto(f"{demo_portal.url}/projects/")
    assert page.locator(".row-title").all_inner_texts() == ["Checkout", "Ledger"]
    page.goto(f"{demo_portal.url}/teams/")
    assert page.locator(".row-title").all_inner_texts() == ["Payments"]
    page.goto(f"{demo_portal.url}/integrations/")
    titles = set(page.locator("td[data-title=Scope] .chip").all_inner_texts())
    assert titles <= {"Checkout", "Ledger", "Payments"}
    page.goto(f"{demo_portal.url}/audit/")
    expect(page.get_by_text("argo-cd-production")).to_have_count(0)
    response = page.goto(foreign)
    assert response is not None
    assert response.status == 404
    expect(heading(page, "Page not found")).to_be_visible()


def test_who_may_issue_nothing_is_told_whom_to_ask(demo_portal: Portal, page: Page) -> None:
    demo_portal.manage("shell", "--no-imports", "-c", ADD_MEMBER)
    sign_in(page, demo_portal, MEMBER)
    expect(page.get_by_role("heading", name="Join a team that has a project")).to_be_visible()
    expect(page.get_by_role("link", name="New API key")).to_have_count(0)
    page.goto(f"{demo_portal.url}/integrations/")
    expect(page.get_by_role("heading", name="No API keys yet")).to_be_visible()
    expect(page.get_by_role("link", name="New API key")).to_have_count(0)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_theme_switch_shows_what_the_system_would(demo_portal: Portal, page: Page, theme: str) -> None:
    colours = """() => [...document.querySelectorAll("body, .shell-side, .card, .button, h1, .muted, .badge")]
      .map((element) => getComputedStyle(element)).map((style) => [style.color, style.backgroundColor]).join()"""
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    page.emulate_media(color_scheme="dark" if theme == "Dark" else "light", reduced_motion="no-preference")
    page.reload()
    systems = page.evaluate(colours)
    page.emulate_media(color_scheme="light" if theme == "Dark" else "dark")
    page.locator(".menu.is-up summary").click()
    page.get_by_role("button", name=theme, exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", theme.lower())
    page.mouse.move(0, 0)
    page.reload()
    assert page.evaluate(colours) == systems


def test_a_second_start_refuses_without_harm(demo_portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    before = counts(demo_portal)
    with monkeypatch.context() as second:
        second.setitem(demo_portal.environment, "KEYPORTAL_DEMO", "1")
        result = demo_portal.manage("prepare", check=False)
    assert result.returncode == 1
    assert "this one has users. Nothing was changed." in result.stderr
    assert "Traceback" not in result.stderr
    assert counts(demo_portal) == before


def counts(portal: Portal) -> str:
    """Return how many rows each table has; nobody else uses the portal in this moment."""
    count = "from django.apps import apps; print([(m.__name__, m._base_manager.count()) for m in apps.get_models()])"
    return portal.manage("shell", "--no-imports", "-c", count).stdout
