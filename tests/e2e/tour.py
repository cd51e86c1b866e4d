"""Every page and every state of it worth a look: what the accessibility checks and the screenshots walk through."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, Route, StorageState, expect

from tests.e2e import steps
from tests.e2e.app import code_of
from tests.e2e.steps import Complaints, Person, demo_people, heading, sheet
from tests.services import Portal, SignIn

# Beside the demo's own people: one who belongs nowhere, one whose organization is new, one who is in two.
NOBODY = Person("nobody@northwind.example", "a-lantern-left-on-the-jetty")
FOUNDER = Person("founder@saltmarsh.example", "three-kettles-for-the-crew")
AUDITOR = Person("ursula@northwind.example", "seven-lamps-over-the-ledger")
CONSULTANT = Person("consultant@northwind.example", "paper-boats-in-the-gutter")
# One whose organization asks for a second factor, and one whose organization asks for a provider and a domain.
GATED = Person("gated@northwind.example", "a-gate-painted-in-green")
STRANDED = Person("stranded@northwind.example", "seven-boats-without-a-harbour")

PREPARE = f"""
import json
from allauth.account.models import EmailAddress
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone
from accounts import actions
from accounts.actions import security
from accounts.models import Organization, OrganizationMembership, Project, Role, ServiceAccount, Team, TeamMembership
from accounts.models import User
from accounts.principals import principal_of
from accounts.topics import Topic, unsubscribe_link
from apikeys.models import ApiKey
from audit.context import audit_context
at = timezone.now()
old = Organization.objects.get()
new = actions.create_organization(name="Saltmarsh", at=at)
actions.create_user(email="{NOBODY.email}", password="{NOBODY.password}", name="Nils Nobody", at=at)
founder = actions.create_user(email="{FOUNDER.email}", password="{FOUNDER.password}", name="Freya Lund", at=at)
guest = actions.create_user(email="{CONSULTANT.email}", password="{CONSULTANT.password}", name="Cleo Grant", at=at)
actions.add_to_organization(organization=new, user=founder, role=Role.SUPER_ADMIN, at=at)
for organization in (old, new):
    actions.add_to_organization(organization=organization, user=guest, role=Role.MEMBER, at=at)
for person, policy in {{
    ("{GATED.email}", "{GATED.password}", "Gated"): {{"second_factor": "all"}},
    ("{STRANDED.email}", "{STRANDED.password}", "Quayside"): {{"domains": ["harbour.example", "pier.example"]}},
}}.items():
    email, password, name = person
    strict = actions.create_organization(name=name, at=at)
    strict.security_policy = policy
    with transaction.atomic():
        strict.save(update_fields=["security_policy"])
    member = actions.create_user(email=email, password=password, name=name, at=at)
    for organization in (strict, new):
        actions.add_to_organization(organization=organization, user=member, role=Role.MEMBER, at=at)
people = {{user.name.split()[0]: user for user in User.objects.all()}}
auditor = actions.create_user(email="{AUDITOR.email}", password="{AUDITOR.password}", name="Ursula Novak", at=at)
actions.add_to_organization(organization=old, user=auditor, role=Role.AUDITOR, at=at)
in_team = TeamMembership.objects.get(membership__user=people["Kwame"])
chief = principal_of(OrganizationMembership.objects.get(organization=old, user=people["Alice"]))
with audit_context(actor=chief.as_actor(), at=at):
    actions.remove_from_team(at=timezone.now(), principal=chief, team_membership=in_team)
    archived = actions.create_team(principal=chief, name="Hackweek", at=at)
    project = actions.create_project(principal=chief, team=archived, name="Prototype", at=at)
    actions.archive_team(principal=chief, team=archived, at=at)
    for name in ("northwind.example", "northwind-labs.example"):
        domain = security.claim_domain(principal=chief, name=name, at=at)
    security.verify_domain(organization=old, name="northwind.example", at=at)
    for group, team in {{"payments-leads": "Payments", "platform-engineers": "Platform"}}.items():
        security.map_group(
            principal=chief,
            team=Team.objects.get(name=team),
            provider="company",
            group=group,
            role=Role.DEVELOPER,
            at=at,
        )
EmailAddress.objects.filter(user=people["Alice"]).update(verified=True)
invitation, _ = actions.invite_to_organization(
    principal=chief, email="wren@northwind.example", role=Role.SUPER_ADMIN, at=at
)
print(json.dumps({{
    "invitation": str(invitation.pk),
    "keys": {{key.name: str(key.pk) for key in ApiKey.objects.all()}},
    "team": str(Team.objects.get(name="Payments").pk),
    "platform": str(Team.objects.get(name="Platform").pk),
    "archived": str(project.pk),
    "archived_team": str(archived.pk),
    "account": str(ServiceAccount.objects.get(name="argo-cd").pk),
    "platform_admin": str(people["Priya"].pk),
    "member": str(people["Liam"].pk),
    "gone": str(people["Kwame"].pk),
    "project": str(Project.objects.get(name="Checkout").pk),
    "unsubscribe": unsubscribe_link(founder, Topic.TIPS),
    "broken": render_to_string("500.html"),
}}))
"""

# The colours of a theme are there with the next frame, and at their end once they have faded over.
SETTLE = """async () => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (const animation of document.getAnimations()) animation.finish();
}"""


@dataclass
class Tour:
    """A demo portal and a bare one, the people who visit them, and what a stop leaves for later ones."""

    demo: Portal
    bare: Portal
    ids: dict[str, Any] = field(default_factory=dict)
    signed_in: dict[str, StorageState] = field(default_factory=dict)
    invitation: str = ""
    reset_link: str = ""
    email_link: str = ""

    def prepare(self, browser: Browser) -> None:
        """Add people to the demo and sign them in, once for all the contexts that follow."""
        self.ids = json.loads(self.demo.manage("shell", "--no-imports", "-c", PREPARE).stdout.splitlines()[-1])
        alice, _, dana = demo_people(self.demo)
        people: dict[str, Person | SignIn] = {
            "alice": alice,
            "dana": dana,
            "founder": FOUNDER,
            "nobody": NOBODY,
            "consultant": CONSULTANT,
            "auditor": AUDITOR,
            "gated": GATED,
            "stranded": STRANDED,
        }
        for name, person in people.items():
            with browser.new_context() as context:
                page = context.new_page()
                page.goto(f"{self.demo.url}/account/sign-in/")
                steps.fill_sign_in(page, person)
                expect(page.get_by_label("Password")).to_have_count(0)
                self.signed_in[name] = context.storage_state()

    def key(self, name: str) -> str:
        return f"/keys/{self.ids['keys'][name]}/"


@dataclass(frozen=True, slots=True)
class Stop:
    """One state of one page: `visitor` is who looks, `show` brings their page there; `path` is where it begins."""

    name: str
    visitor: str
    path: str | Callable[[Tour], str]
    show: Callable[[Page, Tour], None] | None = None

    def visit(self, page: Page, tour: Tour) -> None:
        portal = tour.bare if self.visitor == "newcomer" else tour.demo
        path = self.path if isinstance(self.path, str) else self.path(tour)
        page.goto(path if path.startswith("http") else portal.url + path)
        if self.show:
            self.show(page, tour)


@contextmanager
def visitors(browser: Browser, tour: Tour, width: int) -> Iterator[Callable[[str], tuple[Page, Complaints]]]:
    """Give each visitor one page of their own for the whole tour, and what it complained about."""
    pages: dict[str, tuple[Page, Complaints]] = {}

    def page_of(visitor: str) -> tuple[Page, Complaints]:
        if visitor not in pages:
            context = browser.new_context(
                storage_state=tour.signed_in.get(visitor),
                viewport={"width": width, "height": 900 if width > 800 else 844},
                permissions=["clipboard-read", "clipboard-write"],
            )
            page, complaints = context.new_page(), Complaints()
            complaints.watch(page)
            pages[visitor] = page, complaints
        return pages[visitor]

    try:
        yield page_of
    finally:
        for page, _ in pages.values():
            page.context.close()


def in_both_themes(page: Page) -> Iterator[str]:
    """Turn the page as it stands to one theme and then the other, as the system does."""
    page.emulate_media(color_scheme="light")
    page.evaluate(SETTLE)
    yield "light"
    page.emulate_media(color_scheme="dark")
    page.evaluate(SETTLE)
    yield "dark"


# How to bring a page into a state


def click_link(name: str, *, titled: str) -> Callable[[Page, Tour], None]:
    """Return what opens a dialog by its link."""

    def show(page: Page, tour: Tour) -> None:
        page.get_by_role("link", name=name).first.click()
        expect(page.locator("dialog").get_by_role("heading", name=titled)).to_be_visible()

    return show


def send(button: str) -> Callable[[Page, Tour], None]:
    """Return what sends the form of a page as it stands, past the checks that the browser would make."""

    def show(page: Page, tour: Tour) -> None:
        page.locator("form").evaluate_all("forms => forms.forEach((form) => { form.noValidate = true })")
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator(".field-error, .notice.is-error").first).to_be_visible()

    return show


def widened(page: Page, tour: Tour) -> None:
    page.locator("[name=permissions][value='*']").check()
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("link", name="Issue a successor like this")).to_be_visible()


def bulk_errors(page: Page, tour: Tour) -> None:
    page.get_by_role("button", name=re.compile("End .* keys")).click()
    expect(page.locator(".notice.is-error")).to_be_visible()


def issue_dialog_with_errors(page: Page, tour: Tour) -> None:
    click_link("New API key", titled="New API key")(page, tour)
    send("Issue key")(page, tour)


def reveal(page: Page, tour: Tour) -> None:
    steps.issue_key(page, tour.demo, "deploy-preview-comments", project="Payments / Checkout")


def reveal_page(page: Page, tour: Tour) -> None:
    steps.fill_issue_form(page, "release-notes-bot", project="Payments / Checkout")
    # As without scripts: the same form, posted plainly.
    sheet(page).evaluate("(form) => form.submit()")
    expect(heading(page, "Copy your key now")).to_be_visible()


def reveal_snippets(page: Page, tour: Tour) -> None:
    reveal(page, tour)
    page.locator("summary").filter(has_text="GitHub Actions").click()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("You have not copied the key.")).to_be_visible()


def leave_reveal(page: Page, tour: Tour) -> None:
    reveal(page, tour)
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Leave without the key").click()
    expect(page.locator("tr.is-new")).to_be_visible()


def sent_twice(page: Page, tour: Tour) -> None:
    taken = page.locator("[name=issue_id]").input_value()
    steps.fill_issue_form(page, "sent-twice", project="Payments / Checkout")
    sheet(page).get_by_role("button", name="Issue key").click()
    steps.revealed(page)
    page.goto(f"{tour.demo.url}/integrations/new/")
    steps.fill_issue_form(page, "sent-twice", project="Payments / Checkout")
    page.locator("[name=issue_id]").evaluate("(field, taken) => { field.value = taken }", taken)
    sheet(page).get_by_role("button", name="Issue key").click()
    expect(page.get_by_role("heading", name="This key was already issued")).to_be_visible()


def row_menu(page: Page, tour: Tour) -> None:
    page.locator("tbody summary").nth(2).click()
    expect(page.get_by_role("link", name="Revoke key")).to_be_visible()


def permissions_tip(page: Page, tour: Tour) -> None:
    page.locator("tbody .tip.count").nth(3).focus()
    expect(page.locator("tbody .tip.count").nth(3).get_by_role("tooltip")).to_be_visible()


def revoke_dialog(page: Page, tour: Tour) -> None:
    page.get_by_role("link", name="Revoke key").first.click()
    expect(page.locator("dialog").get_by_role("heading", name="Revoke this key?")).to_be_visible()


def revoked(page: Page, tour: Tour) -> None:
    """The status line after a revocation, of the key that a stop before this one issued."""
    row = page.get_by_role("row").filter(has_text="sent-twice").first
    row.locator("summary").click()
    row.get_by_role("link", name="Revoke key").click()
    sheet(page).get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("It has been refused since.")).to_be_visible()


def invitation_sent(page: Page, tour: Tour) -> None:
    click_link("Invite person", titled="Invite a person")(page, tour)
    sheet(page).get_by_label("Email").fill("ines.duarte@northwind.example")
    sheet(page).get_by_role("button", name="Send invitation").click()
    tour.invitation = page.get_by_label("Link to hand over").input_value()


def account_menu(page: Page, tour: Tour) -> None:
    drawer(page, tour)
    page.locator(".menu.is-up summary").click()
    expect(page.get_by_role("link", name="Account", exact=True)).to_be_visible()


def organization_menu(page: Page, tour: Tour) -> None:
    drawer(page, tour)
    page.locator(".menu.is-start summary").click()
    expect(page.get_by_role("button", name="Saltmarsh")).to_be_visible()


def place_menu(page: Page, tour: Tour) -> None:
    page.get_by_text("More about this team").locator("..").click()
    expect(page.get_by_role("link", name="Archive team")).to_be_visible()


def organization_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Slug").fill("North Wind")
    page.get_by_label("Initials").fill("??")
    send("Save organization")(page, tour)


def drawer(page: Page, tour: Tour) -> None:
    """Open the drawer, where the page is narrow enough to have one."""
    if page.locator(".drawer summary").is_visible():
        page.locator(".drawer summary").click()
        expect(page.get_by_role("link", name="Audit log").first).to_be_visible()


def changed_fields(page: Page, tour: Tour) -> None:
    page.locator(".event-detail summary").first.click()


def wrong_password(page: Page, tour: Tour) -> None:
    page.get_by_label("Email").fill("someone@northwind.example")
    page.get_by_label("Password").fill("not the password at all")
    send("Sign in")(page, tour)


def ask_for_reset(page: Page, tour: Tour) -> None:
    page.get_by_label("Email").fill(NOBODY.email)
    page.get_by_role("button", name="Mail me a link").click()
    expect(heading(page, "Look into your mail")).to_be_visible()
    tour.reset_link = steps.mailed_link(tour.demo, "/account/password/reset/key/")


def zone_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Time zone").fill("Mars/Olympus")
    send("Save profile")(page, tour)


def ask_for_address(page: Page, tour: Tour) -> None:
    """Ask for another address, and keep the link that goes to the old one: of the two, it is mailed first."""
    pattern = rf"{re.escape(tour.demo.url)}/account/email/confirm/[\w-]+/"
    known = len(set(re.findall(pattern, tour.demo.log_text())))
    page.get_by_label("New email").fill("cleo.grant@northwind.example")
    page.get_by_role("button", name="Change email").click()
    expect(page.get_by_role("heading", name="Waiting for confirmation")).to_be_visible()
    end = time.monotonic() + 20
    while len(links := list(dict.fromkeys(re.findall(pattern, tour.demo.log_text())))) < known + 2:
        assert time.monotonic() < end, "The mails were not sent."
        time.sleep(0.2)
    tour.email_link = links[-2]


def approve_address(page: Page, tour: Tour) -> None:
    page.get_by_role("button", name="Approve change").click()
    expect(heading(page, "One more to go")).to_be_visible()


def unsubscribed(page: Page, tour: Tour) -> None:
    page.get_by_role("button", name="Stop mail about “Tips”").click()
    expect(heading(page, "No more of it")).to_be_visible()


def broken(page: Page, tour: Tour) -> None:
    """The page of an error 500, which nothing on the outside brings about: it stands alone, so it is put there."""

    def answer(route: Route, _request: Request) -> None:
        route.fulfill(body=tour.ids["broken"], content_type="text/html", status=500)

    page.route("**/broken/", answer)
    page.goto(f"{tour.demo.url}/broken/")
    expect(heading(page, "Something broke on our side")).to_be_visible()


def app_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Code").fill("none")
    send("Set up app")(page, tour)


def set_app_up(page: Page, tour: Tour) -> None:
    secret = page.get_by_label("Or type this secret into the app").input_value().replace(" ", "")
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Set up app").click()
    expect(heading(page, "Keep your recovery codes")).to_be_visible()


def second_factor(page: Page, tour: Tour) -> None:
    steps.fill_sign_in(page, FOUNDER)
    expect(heading(page, "Second factor")).to_be_visible()


def wrong_code(page: Page, tour: Tour) -> None:
    page.get_by_label("Code from your app").fill("none")
    send("Sign in")(page, tour)


def remove_app(page: Page, tour: Tour) -> None:
    page.get_by_role("button", name="Remove app").click()
    expect(page.get_by_role("link", name="Set up authenticator app")).to_be_visible()


def setup_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Email").fill("not an address")
    page.get_by_label("Password").fill("short")
    send("Create organization")(page, tour)


def policy_preview(page: Page, tour: Tour) -> None:
    page.get_by_label("Longest lifetime in days").fill("30")
    page.get_by_label("Permissions that never go together").fill("scan:read, report:download")
    page.get_by_label("Networks that keys may come from").fill("203.0.113.0/24")
    page.get_by_role("button", name="Preview changes").click()
    expect(page.get_by_role("heading", name="Preview", exact=True)).to_be_visible()


def policy_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Longest lifetime in days").fill("0")
    page.get_by_label("Networks that keys may come from").fill("203.0.113.1/24")
    send("Preview changes")(page, tour)


def security_preview(page: Page, tour: Tour) -> None:
    page.get_by_label("Domains of sign-in addresses").fill("northwind.example")
    page.get_by_label("Team that people of your verified domains join").select_option(label="Payments")
    page.get_by_role("button", name="Preview changes").click()
    expect(page.get_by_role("heading", name="Preview", exact=True)).to_be_visible()


def security_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Everyone").check()
    send("Preview changes")(page, tour)


def domain_errors(page: Page, tour: Tour) -> None:
    page.get_by_label("Domain", exact=True).fill("no domain")
    send("Add domain")(page, tour)


def choose(verb: str) -> Callable[[Page, Tour], None]:
    """Return what chooses all keys of a person and goes on to what is done with them."""

    def show(page: Page, tour: Tour) -> None:
        page.get_by_role("link", name="Choose all").click()
        page.get_by_role("button", name=f"{verb} chosen keys").click()
        expect(sheet(page)).to_be_visible()

    return show


WIDTHS = (1280, 390)
# A key of the demo that was used today, so that its revocation asks for its name.
BUSY = "github-action-checkout-service"
ENTRANCE = [
    Stop("setup-needed", "newcomer", "/"),
    Stop("setup", "newcomer", lambda tour: urlsplit(tour.bare.setup_link).path),
    Stop("setup-errors", "newcomer", lambda tour: urlsplit(tour.bare.setup_link).path, setup_errors),
    Stop("setup-done", "stranger", "/setup/used/"),
    Stop("sign-in", "stranger", "/account/sign-in/"),
    Stop("sign-in-errors", "stranger", "/account/sign-in/", wrong_password),
    Stop("reset", "stranger", "/account/password/reset/"),
    Stop("reset-asked", "stranger", "/account/password/reset/", ask_for_reset),
    Stop("reset-key", "stranger", lambda tour: tour.reset_link),
    Stop("reset-key-errors", "stranger", lambda tour: tour.reset_link, send("Change password")),
    Stop("reset-key-bad", "stranger", "/account/password/reset/key/1-bad/"),
    Stop("reset-key-done", "stranger", "/account/password/reset/key/done/"),
    Stop("account-inactive", "stranger", "/account/inactive/"),
    Stop("social-cancelled", "stranger", "/account/connections/cancelled/"),
    Stop("social-error", "stranger", "/account/connections/error/"),
    # What a new organization sees
    Stop("overview-new", "founder", "/"),
    Stop("integrations-new", "founder", "/integrations/"),
    Stop("projects-new", "founder", "/projects/"),
    Stop("teams-new", "founder", "/teams/"),
    Stop("audit-new", "founder", "/audit/?actor=freya"),
    Stop("no-organization", "nobody", "/"),
    Stop("overview-member", "consultant", "/"),
    Stop("organization-menu", "consultant", "/", organization_menu),
]
KEYS = [
    Stop("overview", "alice", "/"),
    Stop("integrations", "alice", "/integrations/"),
    Stop("integrations-attention", "alice", "/integrations/?tab=attention"),
    Stop("integrations-expired", "alice", "/integrations/?tab=expired"),
    Stop("integrations-revoked", "alice", "/integrations/?tab=revoked"),
    Stop("integrations-search", "alice", "/integrations/?q=checkout"),
    Stop("integrations-no-match", "alice", "/integrations/?q=nothing-like-it"),
    Stop("integrations-row-menu", "alice", "/integrations/", row_menu),
    Stop("integrations-permissions", "alice", "/integrations/", permissions_tip),
    Stop("issue-page", "alice", "/integrations/new/"),
    Stop("issue-page-errors", "alice", "/integrations/new/?expiry=date", send("Issue key")),
    Stop("issue-dialog", "alice", "/integrations/", click_link("New API key", titled="New API key")),
    Stop("issue-dialog-errors", "alice", "/integrations/", issue_dialog_with_errors),
    Stop("issue-limits", "alice", "/integrations/new/?per_second=10&per_minute=600&per_day=9", send("Issue key")),
    Stop("issue-prefilled", "alice", "/integrations/new/?name=ci&scope=team&permissions=scan:read&expiry=never"),
    Stop("reveal-dialog", "alice", "/integrations/", reveal),
    Stop("reveal-dialog-guard", "alice", "/integrations/", reveal_snippets),
    Stop("reveal-page", "alice", "/integrations/new/", reveal_page),
    Stop("already-issued", "alice", "/integrations/new/", sent_twice),
    Stop("integrations-issued", "alice", "/integrations/", leave_reveal),
    Stop("revoke-dialog-unused", "alice", lambda tour: tour.key("backstage-catalog"), revoke_dialog),
    Stop("revoke-dialog", "alice", lambda tour: tour.key(BUSY), revoke_dialog),
    Stop("revoke-page", "alice", lambda tour: f"{tour.key(BUSY)}revoke/"),
    Stop("revoke-page-errors", "alice", lambda tour: f"{tour.key(BUSY)}revoke/", send("Revoke key")),
    Stop("revoked", "alice", "/integrations/?q=sent-twice", revoked),
    Stop("rotate-dialog", "alice", lambda tour: tour.key(BUSY), click_link("Rotate key", titled="Rotate this key")),
    Stop("rotate-page-errors", "alice", lambda tour: f"{tour.key(BUSY)}rotate/", send("Rotate key")),
    Stop("rotate-leaked", "alice", lambda tour: f"{tour.key(BUSY)}rotate/?reason=leaked"),
    Stop("disable-dialog", "alice", lambda tour: tour.key(BUSY), click_link("Disable key", titled="Disable this key?")),
    Stop("enable-page", "alice", lambda tour: f"{tour.key('zapier-bridge')}enable/"),
    Stop("edit-dialog", "alice", lambda tour: tour.key(BUSY), click_link("Edit key", titled="Edit key")),
    Stop("edit-widened", "alice", lambda tour: f"{tour.key(BUSY)}edit/", widened),
    Stop("bulk", "alice", "/integrations/bulk/?q=checkout"),
    Stop("bulk-errors", "alice", "/integrations/bulk/?q=checkout&state=active", bulk_errors),
    Stop("bulk-refused", "alice", "/integrations/bulk/?state=active"),
    Stop("key", "alice", lambda tour: tour.key(BUSY)),
    Stop("key-all-permissions", "alice", lambda tour: tour.key("ledger-reconciliation-job")),
    Stop("key-exposed", "alice", lambda tour: tour.key("metrics-scraper")),
    Stop("key-disabled", "alice", lambda tour: tour.key("zapier-bridge")),
    Stop("key-expired", "alice", lambda tour: tour.key("hackweek-prototype")),
    Stop("key-revoked", "alice", lambda tour: tour.key("dana-laptop")),
    Stop("key-format", "alice", "/key-format/"),
]
REST = [
    # Projects, teams and people
    Stop("projects", "alice", "/projects/"),
    Stop("project", "alice", lambda tour: f"/projects/{tour.ids['project']}/"),
    Stop("project-rename", "alice", lambda tour: f"/projects/{tour.ids['project']}/rename/"),
    Stop("project-archive", "alice", lambda tour: f"/projects/{tour.ids['project']}/archive/"),
    Stop("project-move", "alice", lambda tour: f"/projects/{tour.ids['project']}/move/"),
    Stop(
        "project-move-preview",
        "alice",
        lambda tour: f"/projects/{tour.ids['project']}/move/?team={tour.ids['platform']}",
    ),
    Stop("project-archived", "alice", lambda tour: f"/projects/{tour.ids['archived']}/"),
    Stop("project-restore", "alice", lambda tour: f"/projects/{tour.ids['archived']}/restore/"),
    Stop("project-form", "alice", "/projects/new/"),
    Stop("project-dialog", "alice", "/projects/", click_link("New project", titled="New project")),
    Stop("teams", "alice", "/teams/"),
    Stop("team-form", "alice", "/teams/new/"),
    Stop("team-form-errors", "alice", "/teams/new/", send("Create team")),
    Stop("team-dialog", "alice", "/teams/", click_link("New team", titled="New team")),
    Stop("invite-page", "alice", lambda tour: f"/teams/{tour.ids['team']}/invite/"),
    Stop(
        "invite-dialog",
        "alice",
        lambda tour: f"/teams/{tour.ids['team']}/",
        click_link("Invite person", titled="Invite a person"),
    ),
    Stop("invitation-sent", "alice", lambda tour: f"/teams/{tour.ids['team']}/", invitation_sent),
    Stop("team", "alice", lambda tour: f"/teams/{tour.ids['team']}/"),
    Stop("team-menu", "alice", lambda tour: f"/teams/{tour.ids['team']}/", place_menu),
    Stop("team-rename", "alice", lambda tour: f"/teams/{tour.ids['team']}/rename/"),
    Stop("team-archive", "alice", lambda tour: f"/teams/{tour.ids['team']}/archive/"),
    Stop("team-archived", "alice", lambda tour: f"/teams/{tour.ids['archived_team']}/"),
    Stop("team-restore", "alice", lambda tour: f"/teams/{tour.ids['archived_team']}/restore/"),
    # Service accounts, and people who leave
    Stop("team-accounts", "alice", lambda tour: f"/teams/{tour.ids['platform']}/"),
    Stop("account-form", "alice", lambda tour: f"/teams/{tour.ids['platform']}/service-accounts/new/"),
    Stop(
        "account-dialog",
        "alice",
        lambda tour: f"/teams/{tour.ids['platform']}/",
        click_link("New service account", titled="New service account"),
    ),
    Stop(
        "account-form-errors",
        "alice",
        lambda tour: f"/teams/{tour.ids['platform']}/service-accounts/new/",
        send("Create service account"),
    ),
    Stop("account", "alice", lambda tour: f"/service-accounts/{tour.ids['account']}/"),
    Stop("account-edit", "alice", lambda tour: f"/service-accounts/{tour.ids['account']}/edit/"),
    Stop(
        "account-stop-errors",
        "alice",
        lambda tour: f"/service-accounts/{tour.ids['account']}/stop/",
        send("Stop account"),
    ),
    Stop("key-of-account", "alice", lambda tour: tour.key("argo-cd-production")),
    Stop(
        "member-role", "alice", lambda tour: f"/teams/{tour.ids['platform']}/members/{tour.ids['platform_admin']}/role/"
    ),
    Stop(
        "member-remove",
        "alice",
        lambda tour: f"/teams/{tour.ids['platform']}/members/{tour.ids['platform_admin']}/remove/",
    ),
    Stop("people", "alice", "/people/"),
    Stop("people-filtered", "alice", "/people/?role=team_admin"),
    Stop("people-none", "alice", "/people/?q=nothing-like-it"),
    Stop("people-invite", "alice", "/people/", click_link("Invite person", titled="Invite a person")),
    Stop("people-invite-errors", "alice", "/people/invite/", send("Send invitation")),
    Stop("people-auditor", "auditor", "/people/"),
    Stop("integrations-auditor", "auditor", "/integrations/"),
    Stop("team-auditor", "auditor", lambda tour: f"/teams/{tour.ids['platform']}/"),
    Stop("person-keys-auditor", "auditor", lambda tour: f"/people/{tour.ids['platform_admin']}/keys/"),
    Stop("organization-keys-auditor", "auditor", "/organization/keys/"),
    Stop("overview-auditor", "auditor", "/"),
    Stop("invitation-resend", "alice", lambda tour: f"/invitations/{tour.ids['invitation']}/resend/"),
    Stop("invitation-withdraw", "alice", lambda tour: f"/invitations/{tour.ids['invitation']}/withdraw/"),
    Stop("person-role", "alice", lambda tour: f"/people/{tour.ids['platform_admin']}/role/"),
    Stop("person-remove", "alice", lambda tour: f"/people/{tour.ids['platform_admin']}/remove/"),
    Stop("person-keys", "alice", lambda tour: f"/people/{tour.ids['platform_admin']}/keys/?choose=all"),
    Stop("person-keys-none", "alice", lambda tour: f"/people/{tour.ids['member']}/keys/"),
    Stop("person-keys-revoke", "alice", lambda tour: f"/people/{tour.ids['platform_admin']}/keys/", choose("Revoke")),
    Stop("person-keys-hand-over", "alice", lambda tour: f"/people/{tour.ids['gone']}/keys/", choose("Hand over")),
    Stop("person-keys-gone", "alice", lambda tour: f"/people/{tour.ids['gone']}/keys/"),
    Stop("people-left", "alice", "/people/left/"),
    Stop("people-left-none", "founder", "/people/left/"),
    Stop("invitation", "stranger", lambda tour: tour.invitation),
    Stop("invitation-errors", "stranger", lambda tour: tour.invitation, send("Create account")),
    Stop("invitation-wrong-person", "alice", lambda tour: tour.invitation),
    Stop("invitation-invalid", "stranger", "/invitations/used/"),
    # What the organization is called
    Stop("organization-settings", "alice", "/settings/organization/"),
    Stop("organization-settings-errors", "alice", "/settings/organization/", organization_errors),
    # What holds for all keys
    Stop("security", "alice", "/settings/security/"),
    Stop("security-preview", "alice", "/settings/security/", security_preview),
    Stop("security-errors", "alice", "/settings/security/", security_errors),
    Stop("security-domain-errors", "alice", "/settings/security/", domain_errors),
    Stop("security-new", "founder", "/settings/security/"),
    Stop("entry-second-factor", "gated", "/"),
    Stop("entry-domain", "stranded", "/"),
    Stop("policies", "alice", "/settings/policies/"),
    Stop("policies-preview", "alice", "/settings/policies/", policy_preview),
    Stop("policies-errors", "alice", "/settings/policies/", policy_errors),
    Stop("sign-in-methods", "alice", "/settings/sign-in/"),
    Stop("permissions", "alice", "/settings/permissions/"),
    Stop("permission-add", "alice", "/settings/permissions/", click_link("Add permission", titled="Add permission")),
    Stop("permission-add-page", "alice", "/settings/permissions/new/"),
    Stop(
        "permission-publish",
        "alice",
        "/settings/permissions/",
        click_link("Publishable keys", titled="Publishable keys"),
    ),
    Stop(
        "project-environments",
        "alice",
        lambda tour: f"/projects/{tour.ids['project']}/",
        click_link("Change", titled="Which keys it accepts"),
    ),
    # The record
    Stop("audit", "alice", "/audit/"),
    Stop("audit-filtered", "alice", "/audit/?target_table=api_keys&action=update", changed_fields),
    Stop("audit-empty", "alice", "/audit/?label=nothing-like-it"),
    Stop("audit-errors", "alice", "/audit/?from=2025-02-01&to=2025-01-01"),
    # One's own account
    Stop("drawer", "alice", "/", drawer),
    Stop("account-menu", "alice", "/", account_menu),
    Stop("profile", "alice", "/account/profile/"),
    Stop("profile-errors", "alice", "/account/profile/", zone_errors),
    Stop("profile-nobody", "nobody", "/account/profile/"),
    Stop("email", "alice", "/account/email/"),
    Stop("email-errors", "alice", "/account/email/", send("Change email")),
    Stop("email-waiting", "consultant", "/account/email/", ask_for_address),
    Stop("email-confirm", "stranger", lambda tour: tour.email_link),
    Stop("email-confirmed", "stranger", lambda tour: tour.email_link, approve_address),
    Stop("email-confirm-invalid", "stranger", "/account/email/confirm/used/"),
    Stop("connections", "alice", "/account/connections/"),
    Stop("sessions", "alice", "/account/sessions/"),
    Stop("preferences", "alice", "/account/preferences/"),
    Stop("unsubscribe", "stranger", lambda tour: str(tour.ids["unsubscribe"])),
    Stop("unsubscribed", "stranger", lambda tour: str(tour.ids["unsubscribe"]), unsubscribed),
    Stop("habits", "alice", "/account/habits/"),
    Stop("habits-nobody", "nobody", "/account/habits/"),
    Stop("password-change", "alice", "/account/password/change/"),
    Stop("password-change-errors", "alice", "/account/password/change/", send("Change password")),
    Stop("confirm-password", "alice", "/account/reauthenticate/"),
    Stop("confirm-provider", "alice", "/account/confirm/"),
    Stop("factors", "founder", "/account/factors/"),
    Stop("factors-app", "founder", "/account/factors/app/add/"),
    Stop("factors-app-errors", "founder", "/account/factors/app/add/", app_errors),
    Stop("factors-codes", "founder", "/account/factors/app/add/", set_app_up),
    Stop("factors-on", "founder", "/account/factors/"),
    Stop("factors-codes-new", "founder", "/account/factors/codes/new/"),
    Stop("second-factor", "halfway", "/account/sign-in/", second_factor),
    Stop("second-factor-errors", "halfway", "/account/sign-in/second-step/", wrong_code),
    Stop("confirm-code", "founder", "/account/reauthenticate/code/"),
    Stop(
        "factors-app-remove",
        "founder",
        "/account/factors/",
        click_link("Remove authenticator app", titled="Remove your authenticator app?"),
    ),
    Stop("factors-removed", "founder", "/account/factors/app/remove/", remove_app),
    Stop("my-keys", "alice", "/account/keys/"),
    Stop("account-data", "alice", "/account/data/"),
    Stop("account-delete", "dana", "/account/delete/"),
    Stop("account-delete-errors", "dana", "/account/delete/", send("Delete account")),
    Stop("account-delete-alone", "alice", "/account/delete/"),
    Stop("account-deleted", "stranger", "/account/deleted/"),
    Stop("sign-out", "alice", "/account/sign-out/"),
    # A developer's view
    Stop("overview-developer", "dana", "/"),
    Stop("issue-dialog-developer", "dana", "/integrations/", click_link("New API key", titled="New API key")),
    Stop("team-developer", "dana", lambda tour: f"/teams/{tour.ids['team']}/"),
    # For everyone
    Stop("api-docs", "stranger", "/v1/docs"),
    Stop("error-400", "alice", "/audit/?" + "a&" * 1001),
    Stop("error-403", "dana", "/teams/new/"),
    Stop("error-404", "alice", "/nothing/here/"),
    Stop("error-500", "stranger", "/v1/docs", broken),
]
# In this order; a stop may stand on what an earlier one of its own part left behind.
PARTS = {"entrance": ENTRANCE, "keys": KEYS, "rest": REST}
