"""The three flows (S1): the page decides the kind of a key, and no form asks for it."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import (
    Complaints,
    call,
    demo_people,
    fill_issue_form,
    heading,
    held,
    issue_key,
    open_issue_form,
    revealed,
    sheet,
    sign_in,
)
from tests.services import Portal

PROJECT = "Payments / Checkout"


@pytest.fixture
def alice_page(page: Page, demo_portal: Portal) -> Page:
    sign_in(page, demo_portal, demo_people(demo_portal)[0])
    return page


def open_project(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.url}/projects/")
    page.get_by_role("link", name="Checkout", exact=True).click()
    expect(heading(page, "Checkout")).to_be_visible()


def test_integrations_mint_secret_keys(alice_page: Page, demo_portal: Portal, complaints: Complaints) -> None:
    open_issue_form(alice_page, demo_portal)
    assert sheet(alice_page).locator("[name=scope]").evaluate_all("radios => radios.map(r => r.value)") == [
        "team",
        "project",
    ]
    assert sheet(alice_page).locator("[name=kind], [name=type]").count() == 0
    key = issue_key(alice_page, demo_portal, "flow-secret", project=PROJECT)
    assert key.startswith("kp_sk_live_")
    assert call(demo_portal, "/v1/whoami", key).body["key"]["kind"] == "secret"
    assert complaints.found == []


def test_project_mints_secret_keys_for_itself(alice_page: Page, demo_portal: Portal) -> None:
    open_project(alice_page, demo_portal)
    alice_page.get_by_role("link", name="New API key").first.click()
    form = sheet(alice_page)
    expect(form.locator("[name=scope][value=project]")).to_be_checked()
    form.get_by_label("Name").fill("flow-of-the-project")
    form.locator("[name=permissions][value='projects:read']").check()
    form.get_by_role("button", name="Issue key").click()
    body = call(demo_portal, "/v1/whoami", revealed(alice_page)).body
    assert (body["key"]["scope"], body["key"]["kind"]) == ("project", "secret")


def test_project_mints_sdk_keys_with_locked_permissions(
    alice_page: Page, demo_portal: Portal, complaints: Complaints
) -> None:
    open_project(alice_page, demo_portal)
    alice_page.get_by_role("link", name="SDK keys").first.click()
    alice_page.get_by_role("link", name="New SDK key").first.click()
    form = sheet(alice_page)
    expect(form.get_by_role("heading", name="New SDK key")).to_be_visible()
    assert form.locator("[name=permissions], [name=scope], [name=kind]").count() == 0
    expect(form.get_by_text("analysis:create")).to_be_visible()
    form.get_by_label("Name").fill("flow-sdk")
    form.get_by_label("Allowed origins").fill("https://app.example.com/path")
    form.get_by_role("button", name="Issue key").click()
    expect(form.get_by_text("Write origins such as https://app.example.com")).to_be_visible()
    form.get_by_label("Allowed origins").fill("https://app.example.com")
    form.get_by_role("button", name="Issue key").click()
    key = revealed(alice_page)
    assert key.startswith("kp_pk_live_")
    assert "keyportal-client.js" in held(alice_page)
    body = call(demo_portal, "/v1/whoami", key).body
    assert body["key"]["permissions"] == ["analysis:create", "analysis:read"]
    assert body["issuer"] is None
    assert complaints.found == []


def test_organization_mints_organization_keys_for_its_super_admin_alone(
    alice_page: Page, demo_portal: Portal, complaints: Complaints
) -> None:
    key = issue_key(alice_page, demo_portal, "flow-organization")
    assert key.startswith("kp_org_live_")
    assert call(demo_portal, "/v1/whoami", key).body["key"]["scope"] == "org"
    assert complaints.found == []


def test_developer_finds_no_way_to_an_organization_key(page: Page, demo_portal: Portal) -> None:
    sign_in(page, demo_portal, demo_people(demo_portal)[2])
    expect(page.get_by_role("link", name="Organization keys")).to_have_count(0)
    for path in ("/organization/keys/", "/organization/keys/new/", "/integrations/new/?scope=org"):
        page.goto(demo_portal.url + path)
        expect(page.get_by_text("Only a super admin")).to_be_visible()


def test_one_click_chooses_what_only_reads_and_keeps_what_was_typed(alice_page: Page, demo_portal: Portal) -> None:
    open_issue_form(alice_page, demo_portal)
    fill_issue_form(alice_page, "flow-read-only", project=PROJECT, permissions=["scan:trigger"])
    sheet(alice_page).get_by_role("link", name="Choose read-only").click()
    form = sheet(alice_page)
    expect(form.locator("[name=permissions][value='scan:read']")).to_be_checked()
    expect(form.locator("[name=permissions][value='scan:trigger']")).not_to_be_checked()
    expect(form.get_by_label("Name")).to_have_value("flow-read-only")
    expect(form.get_by_label("Project", exact=True).locator("option:checked")).to_have_text(PROJECT)
    assert "scan:write" not in form.inner_text()
    form.get_by_role("button", name="Issue key").click()
    body = call(demo_portal, "/v1/whoami", revealed(alice_page)).body
    assert all(name.endswith((":read", ":download")) for name in body["key"]["granted"])
