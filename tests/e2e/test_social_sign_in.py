"""Sign-in through a real OpenID Connect provider: by invitation or by connection, never by the address alone."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright.pytest_playwright import CreateContextCallback

from tests import fake_providers
from tests.e2e.steps import (
    ALICE,
    DANA,
    Complaints,
    create_project,
    create_team,
    fill_issue_form,
    heading,
    invite,
    open_issue_form,
    register,
    revealed,
    row,
    set_up,
    sheet,
    sign_in,
)
from tests.e2e.test_accessibility import AXE, COLOUR_RULES, dead_links, sideways, violations
from tests.e2e.tour import WIDTHS, in_both_themes
from tests.fake_providers import Provider
from tests.services import ROOT, Portal, answers_http, free_port

# What the provider says of its accounts. The addresses are what it claims, and prove nothing to keyportal.
OMAR = {"sub": "omar-4711", "name": "Omar Haddad", "email": "omar@elsewhere.example", "email_verified": True}
DANAS_WORK_ACCOUNT = {"sub": "dana-0815", "name": "Dana C.", "email": "dana@elsewhere.example"}
IMPOSTOR = {"sub": "mallory-1", "name": "Mallory", "email": ALICE.email, "email_verified": True}

NOT_CONNECTED = "This account is not connected here"

# Sessions remember when their person signed in; this lets all of them have done so an hour ago.
AGE_SESSIONS = """
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    session = SessionStore(row.session_key)
    for record in session.get("account_authentication_methods", []):
        record["at"] -= 3600
    session.modified = True
    session.save()
"""


@contextmanager
def mock_provider(directory: Path) -> Iterator[str]:
    """A real OpenID Connect provider, with accounts of anyone."""
    directory.mkdir()
    port = free_port()
    claims = [f"--user-claims={json.dumps(person)}" for person in (OMAR, DANAS_WORK_ACCOUNT, IMPOSTOR)]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", f"--port={port}", *claims],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 30
        while not answers_http(port):
            assert process.poll() is None, (directory / "output").read_text(encoding="utf-8")
            assert time.monotonic() < end, "The provider does not answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """A keyportal that knows two providers."""
    with mock_provider(tmp_path / "acme") as acme, mock_provider(tmp_path / "umbrella") as umbrella:
        yield from portal_with(tmp_path, acme, umbrella)


def portal_with(tmp_path: Path, acme: str, umbrella: str) -> Iterator[Portal]:
    portal = Portal(
        tmp_path / "portal",
        KEYPORTAL_OIDC="acme,umbrella-sso",
        KEYPORTAL_OIDC_UMBRELLA_SSO_URL=umbrella,
        KEYPORTAL_OIDC_UMBRELLA_SSO_NAME="Umbrella SSO",
        KEYPORTAL_OIDC_UMBRELLA_SSO_CLIENT_ID="keyportal",
        KEYPORTAL_OIDC_UMBRELLA_SSO_CLIENT_SECRET="another secret",
        KEYPORTAL_OIDC_ACME_URL=acme,
        KEYPORTAL_OIDC_ACME_NAME="Acme ID",
        KEYPORTAL_OIDC_ACME_CLIENT_ID="keyportal",
        KEYPORTAL_OIDC_ACME_CLIENT_SECRET="only the provider and keyportal know it",
    )
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


def at_provider(page: Page, person: Mapping[str, object]) -> None:
    """Consent at the provider, as this account of it."""
    expect(page.get_by_role("heading", name="Authorize Client")).to_be_visible()
    page.get_by_role("button", name=str(person["sub"]), exact=True).first.click()


def choose_provider(page: Page, portal: Portal, name: str = "Acme ID") -> None:
    page.goto(f"{portal.url}/account/sign-in/")
    page.get_by_role("button", name=f"Continue with {name}").click()


def test_an_invitation_accepted_through_the_provider(portal: Portal, new_context: CreateContextCallback) -> None:
    """Someone without a password joins, signs in again, and confirms who they are before a key is issued."""
    alice = new_context().new_page()
    set_up(alice, portal)
    create_team(alice, portal, "Payments")
    create_project(alice, portal, "Checkout")
    invitation = invite(alice, portal, "Payments", "omar@orchard.example")

    omar = new_context().new_page()
    omar.goto(invitation)
    omar.get_by_role("button", name="Continue with Acme ID").click()
    at_provider(omar, OMAR)
    expect(heading(omar, "Overview")).to_be_visible()
    # The name is the provider's, the address the invitation's.
    expect(omar.get_by_role("banner")).to_contain_text("Omar Haddad")
    expect(omar.get_by_role("banner")).to_contain_text("omar@orchard.example")
    alice.goto(f"{portal.url}/teams/")
    alice.get_by_role("link", name="Payments", exact=True).click()
    expect(alice.get_by_text("omar@orchard.example")).to_be_visible()
    expect(alice.get_by_text("Open invitations")).to_have_count(0)
    methods_say_there_is_no_password(omar, portal)
    a_stale_session_signs_in_again_before_it_issues(omar, portal)

    later = new_context().new_page()
    choose_provider(later, portal)
    at_provider(later, OMAR)
    expect(heading(later, "Overview")).to_be_visible()
    expect(later.get_by_role("banner")).to_contain_text("omar@orchard.example")


def methods_say_there_is_no_password(page: Page, portal: Portal) -> None:
    response = page.goto(f"{portal.url}/account/connections/")
    assert response is not None
    assert response.status == 200
    expect(page.get_by_text("You have no password here: Acme ID manages how you sign in.")).to_be_visible()
    # The only way in cannot be cut off.
    page.get_by_label("Acme ID").check()
    page.get_by_role("button", name="Disconnect account").click()
    expect(page.get_by_text("This is your only way in.")).to_be_visible()
    page.goto(f"{portal.url}/account/connections/")
    expect(page.get_by_label("Acme ID")).to_have_count(1)


def a_stale_session_signs_in_again_before_it_issues(page: Page, portal: Portal) -> None:
    portal.manage("shell", "--no-imports", "-c", AGE_SESSIONS)
    page.goto(f"{portal.url}/integrations/new/?name=after-a-break")
    expect(heading(page, "Confirm it is you")).to_be_visible()
    page.get_by_role("button", name="Continue with Acme ID").click()
    at_provider(page, OMAR)
    expect(page).to_have_url(re.compile(r"/integrations/new/\?name=after-a-break$"))
    fill_issue_form(page, "after-a-break", project="Payments / Checkout")
    sheet(page).get_by_role("button", name="Issue key").click()
    assert revealed(page)


def test_a_member_connects_the_provider_and_signs_in_with_it_later(
    portal: Portal, new_context: CreateContextCallback
) -> None:
    alice = new_context().new_page()
    set_up(alice, portal)
    create_team(alice, portal, "Payments")
    dana = new_context().new_page()
    register(dana, invite(alice, portal, "Payments", DANA.email))

    dana.goto(f"{portal.url}/account/connections/")
    dana.get_by_role("button", name="Connect Acme ID").click()
    at_provider(dana, DANAS_WORK_ACCOUNT)
    expect(dana.get_by_text("Account connected. You can sign in with it from now on.")).to_be_visible()
    expect(dana.get_by_label("Acme ID")).to_have_count(1)

    later = new_context().new_page()
    choose_provider(later, portal)
    at_provider(later, DANAS_WORK_ACCOUNT)
    expect(heading(later, "Overview")).to_be_visible()
    # Whatever the provider says of her, here she is who she was.
    expect(later.get_by_role("banner")).to_contain_text(DANA.email)
    expect(later.get_by_role("banner")).to_contain_text(DANA.name)
    nobody_else_can_connect_the_same_account(alice, portal)


def nobody_else_can_connect_the_same_account(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.url}/account/connections/")
    page.get_by_role("button", name="Connect Acme ID").click()
    at_provider(page, DANAS_WORK_ACCOUNT)
    expect(page.get_by_text("That account is connected to someone else here.")).to_be_visible()
    expect(page.get_by_label("Acme ID")).to_have_count(0)


def test_two_providers_at_once_are_two_ways_in(portal: Portal, new_context: CreateContextCallback) -> None:
    """Both connected, one taken away: it is nobody's then, though the other still knows an account of that name."""
    alice = new_context().new_page()
    set_up(alice, portal)
    for name in ("Acme ID", "Umbrella SSO"):
        alice.goto(f"{portal.url}/account/connections/")
        alice.get_by_role("button", name=f"Connect {name}").click()
        at_provider(alice, OMAR)
        expect(alice.get_by_text("Account connected. You can sign in with it from now on.")).to_be_visible()
    for name in ("Acme ID", "Umbrella SSO"):
        page = new_context().new_page()
        choose_provider(page, portal, name)
        at_provider(page, OMAR)
        expect(page.get_by_role("banner")).to_contain_text(ALICE.email)

    alice.goto(f"{portal.url}/account/connections/")
    alice.get_by_label("Acme ID").check()
    alice.get_by_role("button", name="Disconnect account").click()
    expect(alice.get_by_text("Account disconnected. It can no longer sign you in.")).to_be_visible()
    expect(alice.get_by_label("Umbrella SSO")).to_have_count(1)
    gone = new_context().new_page()
    choose_provider(gone, portal)
    at_provider(gone, OMAR)
    expect(heading(gone, NOT_CONNECTED)).to_be_visible()
    choose_provider(gone, portal, "Umbrella SSO")
    at_provider(gone, OMAR)
    expect(gone.get_by_role("banner")).to_contain_text(ALICE.email)


def test_the_running_portal_shows_its_callback_urls(portal: Portal, page: Page) -> None:
    set_up(page, portal)
    page.goto(f"{portal.url}/settings/sign-in/")
    expect(heading(page, "Sign-in methods")).to_be_visible()
    expect(page.get_by_label("Callback URL of Acme ID")).to_have_value(f"{portal.url}/oidc/acme/login/callback/")
    github = page.get_by_label("Callback URL of GitHub")
    expect(github).to_have_value(f"{portal.url}/github/login/callback/")
    expect(page.get_by_text("KEYPORTAL_GITHUB_CLIENT_ID")).to_be_visible()
    page.get_by_role("button", name="Copy callback URL of Acme ID").click()
    assert page.evaluate("navigator.clipboard.readText()") == f"{portal.url}/oidc/acme/login/callback/"


@pytest.fixture
def stub() -> Iterator[Provider]:
    """GitHub and Google, as they answer."""
    with fake_providers.running() as provider:
        yield provider


@pytest.fixture
def known_to_all(tmp_path: Path, stub: Provider) -> Iterator[Portal]:
    """A keyportal that knows GitHub, Google and a provider of its own."""
    portal = Portal(
        tmp_path / "portal",
        DJANGO_SETTINGS_MODULE="tests.e2e.google_settings",
        PYTHONPATH=str(ROOT),
        TEST_GOOGLE_URL=stub.url,
        KEYPORTAL_GITHUB_URL=stub.url,
        KEYPORTAL_OIDC="acme",
        KEYPORTAL_OIDC_ACME_URL=stub.server_url("acme"),
        KEYPORTAL_OIDC_ACME_NAME="Acme ID",
        KEYPORTAL_OIDC_ACME_CLIENT_ID=fake_providers.CLIENT_ID,
        KEYPORTAL_OIDC_ACME_CLIENT_SECRET=fake_providers.CLIENT_SECRET,
        KEYPORTAL_GITHUB_CLIENT_ID=fake_providers.CLIENT_ID,
        KEYPORTAL_GITHUB_CLIENT_SECRET=fake_providers.CLIENT_SECRET,
        KEYPORTAL_GOOGLE_CLIENT_ID=fake_providers.CLIENT_ID,
        KEYPORTAL_GOOGLE_CLIENT_SECRET=fake_providers.CLIENT_SECRET,
    )
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


@pytest.mark.parametrize("name", ["GitHub", "Google"])
def test_github_and_google_sign_in_who_has_connected_them(
    known_to_all: Portal, stub: Provider, new_context: CreateContextCallback, name: str
) -> None:
    stub.github = {"id": 4711, "login": "alice", "name": "Alice"}
    stub.google = {"sub": "1047-11", "given_name": "Alice", "email": ALICE.email, "email_verified": True}
    stub.emails = [{"email": ALICE.email, "primary": True, "verified": True}]
    alice = new_context().new_page()
    set_up(alice, known_to_all)
    stranger = new_context().new_page()
    choose_provider(stranger, known_to_all, name)
    expect(heading(stranger, NOT_CONNECTED)).to_be_visible()

    alice.goto(f"{known_to_all.url}/account/connections/")
    alice.get_by_role("button", name=f"Connect {name}").click()
    expect(alice.get_by_text("Account connected. You can sign in with it from now on.")).to_be_visible()
    later = new_context().new_page()
    choose_provider(later, known_to_all, name)
    expect(heading(later, "Overview")).to_be_visible()
    expect(later.get_by_role("banner")).to_contain_text(ALICE.email)
    # Another account there, that now has the name and the address, is another person.
    stub.github["id"], stub.google["sub"] = 815, "1047-12"
    choose_provider(stranger, known_to_all, name)
    expect(heading(stranger, NOT_CONNECTED)).to_be_visible()


def pages_with_providers(page: Page, portal: Portal, stub: Provider) -> Iterator[str]:
    """Bring a page into each state that there is with providers only, and tell its name."""
    stub.github, stub.people["acme"] = {"id": 4711, "login": "alice"}, {"sub": "4711"}
    set_up(page, portal)
    page.goto(f"{portal.url}/settings/sign-in/")
    expect(heading(page, "Sign-in methods")).to_be_visible()
    yield "sign-in-methods"
    page.goto(f"{portal.url}/account/connections/")
    page.get_by_role("button", name="Connect GitHub").click()
    expect(page.get_by_text("Account connected.")).to_be_visible()
    yield "connected"
    page.goto(f"{portal.url}/")
    page.context.clear_cookies()
    page.goto(f"{portal.url}/account/sign-in/")
    yield "sign-in"
    page.goto(f"{portal.url}/github/login/")
    yield "leaving"
    choose_provider(page, portal)
    expect(heading(page, NOT_CONNECTED)).to_be_visible()
    yield "not-connected"
    stub.broken["/realms/acme/userinfo"] = lambda: (200, fake_providers.HTML, b"<html>Down for maintenance</html>")
    choose_provider(page, portal)
    expect(heading(page, "The sign-in did not work")).to_be_visible()
    yield "failed"


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_with_providers_are_accessible_and_fit_in_both_themes(
    known_to_all: Portal, stub: Provider, page: Page, complaints: Complaints, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    failures: list[str] = []
    for name in pages_with_providers(page, known_to_all, stub):
        failures += [f"{name}: {failure}" for failure in (*complaints.found, *sideways(page), *dead_links(page))]
        page.evaluate(AXE)
        for theme in in_both_themes(page):
            rules = COLOUR_RULES if theme == "dark" else None
            failures += [f"{name}, {theme}: {violation}" for violation in violations(page, rules)]
        # What axe tried out is no complaint about the next one.
        complaints.found.clear()
    assert not failures, "\n".join(failures)


def test_a_members_address_alone_opens_nothing(portal: Portal, new_context: CreateContextCallback) -> None:
    """An account of the provider with a super admin's verified address, connected by nobody, is a stranger."""
    alice = new_context().new_page()
    set_up(alice, portal)
    create_team(alice, portal, "Payments")
    invitation = invite(alice, portal, "Payments", DANA.email)

    mallory = new_context().new_page()
    choose_provider(mallory, portal)
    at_provider(mallory, IMPOSTOR)
    expect(heading(mallory, NOT_CONNECTED)).to_be_visible()
    mallory.goto(f"{portal.url}/")
    expect(heading(mallory, "Sign in")).to_be_visible()

    # Nor does an invitation to somebody who has an account already, opened by whoever found its link.
    register(new_context().new_page(), invitation)
    create_team(alice, portal, "Platform")
    mallory.goto(invite(alice, portal, "Platform", DANA.email))
    mallory.get_by_role("button", name="Continue with Acme ID").click()
    at_provider(mallory, IMPOSTOR)
    expect(heading(mallory, NOT_CONNECTED)).to_be_visible()
    expect(mallory.get_by_text(DANA.email)).to_have_count(0)


def test_a_cancelled_consent_says_that_nothing_happened(portal: Portal, new_context: CreateContextCallback) -> None:
    page = new_context().new_page()
    set_up(page, portal)
    stranger = new_context().new_page()
    choose_provider(stranger, portal)
    # What a provider answers to a refusal (RFC 6749 §4.1.2.1); the mock's own answer leaves the state out.
    asked = parse_qs(urlsplit(stranger.url).query)
    refusal = urlencode({"error": "access_denied", "state": asked["state"][0]})
    stranger.goto(f"{asked['redirect_uri'][0]}?{refusal}")
    expect(heading(stranger, "Sign-in was cancelled")).to_be_visible()


def test_a_stale_session_with_a_password_keeps_what_was_typed(portal: Portal, page: Page) -> None:
    set_up(page, portal)
    open_issue_form(page, portal, is_organizations=True)
    fill_issue_form(page, "typed-before-lunch")
    portal.manage("shell", "--no-imports", "-c", AGE_SESSIONS)
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(heading(page, "Confirm it is you")).to_be_visible()
    page.get_by_label("Password").fill(ALICE.password)
    page.get_by_role("button", name="Confirm").click()
    # Nothing is typed twice: the form comes back as it was sent.
    expect(sheet(page).get_by_label("Name")).to_have_value("typed-before-lunch")
    expect(sheet(page).locator("[name=permissions]:checked")).to_have_value("projects:read")
    sheet(page).get_by_role("button", name="Issue key").click()
    key = revealed(page)
    page.get_by_role("button", name="Copy key").click()
    page.get_by_role("link", name="Done").click()
    expect(row(page, "typed-before-lunch")).to_contain_text(key.rpartition("_")[0])


def test_signing_out_ends_it(portal: Portal, page: Page) -> None:
    set_up(page, portal)
    page.locator(".menu.is-up summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(heading(page, "Sign in")).to_be_visible()
    page.goto(f"{portal.url}/integrations/")
    expect(heading(page, "Sign in")).to_be_visible()
    sign_in(page, portal, ALICE)
