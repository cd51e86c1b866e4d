"""Projects and teams renamed, put away, brought back and moved; and a person who is in two organizations."""

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.steps import (
    ALICE,
    Complaints,
    call,
    create_project,
    create_team,
    heading,
    issue_key,
    set_up,
    sheet,
    sign_in,
)
from tests.services import Portal


def deed(page: Page, name: str, *, noun: str = "project") -> None:
    """Open what the menu of a team's or project's page offers."""
    page.get_by_text(f"More about this {noun}").locator("..").click()
    page.get_by_role("link", name=name).click()
    expect(sheet(page)).to_be_visible()


@pytest.mark.every_database
def test_project_is_renamed_archived_restored_and_moved(portal: Portal, page: Page, complaints: Complaints) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    project_url = page.url
    key = issue_key(page, portal, "nightly-scan", project="Payments / Checkout")
    assert call(portal, "/v1/projects", key).status == 200

    page.goto(project_url)
    deed(page, "Rename project")
    sheet(page).get_by_label("Name").fill("Till")
    sheet(page).get_by_role("button", name="Rename project").click()
    expect(heading(page, "Till")).to_be_visible()

    deed(page, "Archive project")
    expect(sheet(page)).to_contain_text("would be refused from the next request on")
    sheet(page).get_by_role("button", name="Archive project").click()
    expect(page.get_by_text("This project is archived.")).to_be_visible()
    refused = call(portal, "/v1/projects", key)
    assert (refused.status, refused.body["code"]) == (403, "project_archived")

    page.get_by_role("link", name="Restore").click()
    sheet(page).get_by_role("button", name="Restore project").click()
    expect(page.get_by_text("Till is restored. Its keys work again.")).to_be_visible()
    assert call(portal, "/v1/projects", key).status == 200

    create_team(page, portal, "Platform")
    page.goto(project_url)
    deed(page, "Move project")
    sheet(page).get_by_label("Move to").select_option(label="Platform")
    sheet(page).get_by_role("button", name="Preview move").click()
    expect(sheet(page).get_by_role("heading", name="Move this project?")).to_be_visible()
    expect(sheet(page)).to_contain_text("nightly-scan")
    sheet(page).get_by_role("button", name="Move project").click()
    expect(page.get_by_text("Till is a project of Platform now.")).to_be_visible()
    assert call(portal, "/v1/projects", key).body["items"][0]["team"]["name"] == "Platform"
    assert complaints.found == []


def test_team_is_archived_with_its_projects(portal: Portal, page: Page, complaints: Complaints) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    team_url = page.url
    create_project(page, portal, "Checkout")
    key = issue_key(page, portal, "nightly-scan", project="Payments / Checkout")
    page.goto(team_url)
    deed(page, "Archive team", noun="team")
    expect(sheet(page)).to_contain_text("1 project goes with it.")
    sheet(page).get_by_role("button", name="Archive team").click()
    expect(page.get_by_text("This team is archived.")).to_be_visible()
    assert call(portal, "/v1/projects", key).body["code"] == "project_archived"
    page.goto(f"{portal.url}/integrations/")
    expect(page.get_by_role("row").filter(has_text="nightly-scan")).to_contain_text("Archived")
    assert complaints.found == []


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no-scripts"])
def test_person_goes_from_one_organization_to_the_other(
    portal: Portal, page: Page, new_context: CreateContextCallback, has_scripts: bool
) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    team_url = page.url
    portal.manage("create_organization", "Harbour", "--admin", ALICE.email)

    page = new_context(java_script_enabled=has_scripts).new_page()
    sign_in(page, portal, ALICE)
    switcher = page.locator(".menu.is-start")
    current = switcher.locator("summary strong")
    # Harbour comes first by name, and so was looked at first.
    expect(current).to_have_text("Harbour")
    for chosen in ("Orchard", "Harbour", "Orchard"):
        switcher.locator("summary").click()
        entry = switcher.get_by_role("button", name=chosen)
        expect(entry).to_contain_text("Super admin")
        entry.click()
        expect(current).to_have_text(chosen)
        response = page.goto(team_url)
        assert response is not None
        assert response.status == (200 if chosen == "Orchard" else 404)
        page.goto(portal.url)

    page.get_by_role("link", name="Settings").click()
    expect(heading(page, "Organization")).to_be_visible()
    page.get_by_label("Initials").fill("or")
    page.get_by_role("button", name="Save organization").click()
    expect(page.get_by_text("Organization changed.")).to_be_visible()
    expect(switcher.locator("summary .avatar")).to_have_text("OR")
