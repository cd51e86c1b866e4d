"""Someone leaves: a service account's key goes on, another is handed over, and stopping the account ends both."""

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests.e2e.steps import (
    DANA,
    Complaints,
    Person,
    call,
    create_project,
    create_team,
    fill_issue_form,
    heading,
    invite,
    open_issue_form,
    register,
    revealed,
    set_up,
    sheet,
)
from tests.services import Portal

ERIN = Person("erin@orchard.example", "slow-rivers-carry-old-letters", "Erin Vale")


@pytest.mark.every_database
def test_keys_outlive_who_leaves_if_a_service_account_has_them(
    portal: Portal, page: Page, new_context: CreateContextCallback, complaints: Complaints
) -> None:
    set_up(page, portal)
    create_team(page, portal, "Payments")
    create_project(page, portal, "Checkout")
    dana = joined(page, portal, new_context, DANA)
    joined(page, portal, new_context, ERIN)
    create_account(page, portal)
    own, shared = issue(dana, portal, "dana-nightly"), issue(dana, portal, "deploys", for_account=True)
    assert [call(portal, "/v1/projects", key).status for key in (own, shared)] == [200, 200]

    remove(page, portal)
    refused = call(portal, "/v1/projects", own)
    assert (refused.status, refused.body["code"]) == (401, "issuer_gone")
    assert call(portal, "/v1/projects", shared).status == 200
    response = dana.goto(f"{portal.url}/integrations/new/")
    assert response is not None
    assert response.status == 403

    hand_over(page, portal)
    assert [call(portal, "/v1/projects", key).status for key in (own, shared)] == [200, 200]

    stop_account(page, portal)
    answers = [call(portal, "/v1/projects", key) for key in (own, shared)]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [(401, "service_account_stopped")] * 2
    assert complaints.found == []


def joined(page: Page, portal: Portal, new_context: CreateContextCallback, person: Person) -> Page:
    """Let someone accept an invitation in a browser of their own."""
    theirs = new_context().new_page()
    register(theirs, invite(page, portal, "Payments", person.email), person)
    return theirs


def open_team(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.url}/teams/")
    page.get_by_role("link", name="Payments", exact=True).click()
    expect(heading(page, "Payments")).to_be_visible()


def create_account(page: Page, portal: Portal) -> None:
    open_team(page, portal)
    page.get_by_role("link", name="New service account").click()
    sheet(page).get_by_label("Name").fill("ci-deployer")
    sheet(page).get_by_label("Steward").select_option(label=f"{ERIN.name} ({ERIN.email})")
    sheet(page).get_by_role("button", name="Create service account").click()
    expect(heading(page, "ci-deployer")).to_be_visible()


def issue(page: Page, portal: Portal, name: str, *, for_account: bool = False) -> str:
    open_issue_form(page, portal)
    fill_issue_form(page, name, project="Payments / Checkout")
    if for_account:
        sheet(page).get_by_label("Acts for").select_option(label="Payments / ci-deployer")
        expect(page.locator("#issue-sentence")).to_contain_text("Acts for ci-deployer, not for you.")
    sheet(page).get_by_role("button", name="Issue key").click()
    return revealed(page)


def remove(page: Page, portal: Portal) -> None:
    open_team(page, portal)
    page.locator("summary").filter(has_text=f"Actions for {DANA.name}").click()
    page.get_by_role("link", name="Remove from team").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("1 key would be refused from the next request on:")
    expect(dialog).to_contain_text("dana-nightly")
    dialog.get_by_role("button", name="Remove from team").click()
    expect(heading(page, f"Keys of {DANA.name}")).to_be_visible()


def hand_over(page: Page, portal: Portal) -> None:
    page.goto(portal.url)
    page.get_by_role("link", name="1 key is refused").click()
    page.get_by_role("link", name=DANA.name).click()
    page.get_by_label("Choose dana-nightly").check()
    page.get_by_role("button", name="Hand over chosen keys").click()
    sheet(page).get_by_label("dana-nightly acts for").select_option(label="ci-deployer")
    sheet(page).get_by_role("button", name="Hand over keys").click()
    expect(page.get_by_role("status").first).to_contain_text("1 key handed over")
    expect(page.get_by_role("heading", name="No live keys here")).to_be_visible()


def stop_account(page: Page, portal: Portal) -> None:
    open_team(page, portal)
    page.get_by_role("link", name="ci-deployer", exact=True).click()
    page.get_by_role("link", name="Stop account").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("2 keys act for it")
    dialog.get_by_label("Type ci-deployer to confirm").fill("ci-deployer")
    dialog.get_by_role("button", name="Stop account").click()
    expect(page.get_by_role("status").first).to_contain_text("Its keys have been refused since.")
