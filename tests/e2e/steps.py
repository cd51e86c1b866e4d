"""What people do in the browser and at a terminal, in their own words; the tests say what must come of it."""

import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Response, expect

from tests import services

# A whole key. A label (`kp_sk_live_a1B2c3D4`) is public, and is none.
KEY_LIKE = re.compile(r"kp_[a-z]+_[a-z]+_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Everything that a page can leave in a browser, besides its cookies.
STORES = """async () => JSON.stringify({
  local: {...localStorage}, session: {...sessionStorage}, state: history.state, name: window.name,
  address: location.href, databases: await indexedDB.databases(), caches: await caches.keys(),
  workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""
# What a page holds, what was typed or put into its fields included.
HELD = """() => document.documentElement.outerHTML + "\\n" + [...document.querySelectorAll("input, textarea")]
  .map((field) => field.value + "\\n" + field.defaultValue).join("\\n")"""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who signs in. The password is long enough for the product, and for a search to find it."""

    email: str
    password: str = field(repr=False)
    name: str = ""


ALICE = Person("alice@orchard.example", "violet-harbor-7-pears-at-dusk")
DANA = Person("dana@orchard.example", "nine-quiet-herons-by-the-weir", "Dana Cohen")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API call came back with."""

    status: int
    body: dict[str, Any]
    headers: str


@dataclass
class Complaints:
    """What a browser had to complain about, by page: errors, content that the policy refused, missing files."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # Which answers were errors is what `_response` says; a document or a form may well be one.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.found.append(f"{message.location.get('url')}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.request.resource_type not in {"document", "xhr", "fetch"}:
            self.found.append(f"{response.url}: {response.status}")


def call(portal: services.Portal, path: str, key: str, *options: str) -> Answer:
    """Call the API with a key by the real curl, and again where the answer is to come back in a moment.

    A busy machine sheds verifications with 503 and Retry-After, which is no answer about the key.
    """
    for _ in range(10):
        answer = _curl(portal, path, key, *options)
        if answer.status != 503:
            break
        time.sleep(1)
    return answer


def _curl(portal: services.Portal, path: str, key: str, *options: str) -> Answer:
    curl = services.require("curl")
    result = subprocess.run(
        [curl, "-s", "-i", "-H", f"Authorization: Bearer {key}", *options, portal.url + path],
        check=True,
        capture_output=True,
        text=True,
    )
    headers, _, body = result.stdout.partition("\n\n")
    is_json = "json" in headers.lower() and body.strip()
    return Answer(int(headers.split()[1]), json.loads(body) if is_json else {}, headers)


# At the entrance


def demo_people(portal: services.Portal) -> list[services.SignIn]:
    """Return the demo's printed sign-ins, super admin, team admin, developer; a mail printed later is none."""
    return portal.sign_ins[:3]


def set_up(page: Page, portal: services.Portal, organization: str = "Orchard", person: Person = ALICE) -> None:
    page.goto(portal.setup_link)
    page.get_by_label("Organization name").fill(organization)
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Create organization").click()
    expect(heading(page, "Overview")).to_be_visible()


def sign_in(page: Page, portal: services.Portal, person: Person | services.SignIn) -> None:
    page.goto(f"{portal.url}/account/sign-in/")
    fill_sign_in(page, person)
    expect(heading(page, "Overview")).to_be_visible()


def fill_sign_in(page: Page, person: Person | services.SignIn) -> None:
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def register(page: Page, link: str, person: Person = DANA) -> None:
    """Open an invitation's link that was handed over, make the account that it is for, sign in, and join."""
    page.goto(link)
    page.get_by_label("Your name").fill(person.name)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Create account", exact=True).click()
    expect(page.get_by_text("If this address was new, its account is ready.")).to_be_visible()
    fill_sign_in(page, person)
    page.get_by_role("button", name="Join").click()
    expect(heading(page, "Overview")).to_be_visible()


# Inside. Each step works with the dialog that scripts open, and without scripts on a page of its own.


def heading(page: Page, text: str) -> Locator:
    return page.get_by_role("heading", name=text, exact=True, level=1)


def sheet(page: Page) -> Locator:
    """The form at hand: in the open dialog, or on the page where scripts do not run."""
    return page.locator(".sheet")


def create_team(page: Page, portal: services.Portal, name: str) -> None:
    page.goto(f"{portal.url}/teams/")
    page.get_by_role("link", name="New team").first.click()
    sheet(page).get_by_label("Name").fill(name)
    sheet(page).get_by_role("button", name="Create team").click()
    expect(heading(page, name)).to_be_visible()


def create_project(page: Page, portal: services.Portal, name: str) -> None:
    page.goto(f"{portal.url}/projects/")
    page.get_by_role("link", name="New project").first.click()
    sheet(page).get_by_label("Name").fill(name)
    sheet(page).get_by_role("button", name="Create project").click()
    expect(heading(page, name)).to_be_visible()


def invite(page: Page, portal: services.Portal, team: str, email: str, role: str = "Developer") -> str:
    """Invite someone into a team and return the link that the answer shows."""
    page.goto(f"{portal.url}/teams/")
    page.get_by_role("link", name=team, exact=True).click()
    page.get_by_role("link", name="Invite person").click()
    sheet(page).get_by_label("Email").fill(email)
    sheet(page).get_by_label(role).check()
    sheet(page).get_by_role("button", name="Send invitation").click()
    return page.get_by_label("Link to hand over").input_value()


def fill_issue_form(
    page: Page,
    name: str,
    *,
    project: str = "",
    permissions: Sequence[str] = ("projects:read",),
) -> None:
    """Fill in the form for a key of the project; that for keys of the whole organization asks for no place."""
    form = sheet(page)
    form.get_by_label("Name").fill(name)
    if project:
        form.locator("[name=scope][value=project]").check()
        form.get_by_label("Project", exact=True).select_option(label=project)
    for permission in permissions:
        form.locator(f"[name=permissions][value='{permission}']").check()


def open_issue_form(page: Page, portal: services.Portal, *, is_organizations: bool = False) -> None:
    """Open the form on the page where keys of its kind are issued."""
    path, title = ("organization/keys", "New organization key") if is_organizations else ("integrations", "New API key")
    page.goto(f"{portal.url}/{path}/")
    page.get_by_role("link", name=title).first.click()
    expect(sheet(page).get_by_role("heading", name=title)).to_be_visible()


def issue_key(
    page: Page,
    portal: services.Portal,
    name: str,
    *,
    project: str = "",
    permissions: Sequence[str] = ("projects:read",),
) -> str:
    """Issue a key and return it as its reveal shows it; the reveal is left open."""
    open_issue_form(page, portal, is_organizations=not project)
    fill_issue_form(page, name, project=project, permissions=permissions)
    sheet(page).get_by_role("button", name="Issue key").click()
    return revealed(page)


def revealed(page: Page) -> str:
    expect(sheet(page).get_by_role("heading", name="Copy your key now")).to_be_visible()
    return page.get_by_label("Key for").input_value()


def row(page: Page, name: str) -> Locator:
    """The row of a key by its name."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def wait_until_used(page: Page, portal: services.Portal, name: str) -> None:
    """Open the table once it tells that a key was used, which is written down within about a second."""
    end = time.monotonic() + 40
    page.goto(f"{portal.url}/integrations/?q={name}")
    while row(page, name).locator("td[data-title='Last used'] time").count() == 0:
        assert time.monotonic() < end, f"The use of {name} was not recorded."
        page.reload()


def open_revoke_form(page: Page, portal: services.Portal, name: str) -> None:
    """Ask to revoke a key that was used, so that its name has to be typed."""
    wait_until_used(page, portal, name)
    row(page, name).locator("summary").click()
    row(page, name).get_by_role("link", name="Revoke key").click()
    expect(sheet(page).get_by_role("heading", name="Revoke this key?")).to_be_visible()


# What is left behind


def held(page: Page) -> str:
    """Return all that the page holds, what its fields hold included."""
    text: str = page.evaluate(HELD)
    return text


def stored(context: BrowserContext, page: Page) -> str:
    """Return all that the browser keeps for the portal: storages, databases, caches, history and cookies."""
    stores: str = page.evaluate(STORES)
    return stores + json.dumps(context.storage_state(indexed_db=True)) + json.dumps(context.cookies())


def halves(key: str) -> list[str]:
    """Return the key's secret and its two halves: what must be found nowhere."""
    secret = key.rpartition("_")[2]
    return [secret, secret[:16], secret[16:]]


def assert_no_trace(text: str, key: str) -> None:
    assert not [part for part in halves(key) if part in text]


def mailed_link(portal: services.Portal, path: str) -> str:
    """Return the newest link below a path that a portal has mailed, which prints its mails; the job takes a moment."""
    end = time.monotonic() + 20
    while not (found := re.findall(rf"^{re.escape(portal.url + path)}\S+$", portal.log_text(), re.MULTILINE)):
        assert time.monotonic() < end, "No such mail was sent."
        time.sleep(0.1)
    link: str = found[-1]
    return link
