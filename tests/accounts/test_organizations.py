"""What an organization is called, founding another one, and going from one to the other."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import actions
from accounts.actions.organizations import SlugTaken, change_organization
from accounts.lookup import one_organization
from accounts.models import Invitation, Organization, OrganizationMembership, Role, Team
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, text_of
from tests.cast import NOON, Person

SignIn = Callable[[Person], Client]
PAGE = "/settings/organization/"


def change(person: Person, **changes: str) -> Organization:
    wanted = {"name": "Northwind", "slug": "northwind", "logo_initials": ""} | changes
    return change_organization(principal=person.principal, **wanted)


def create(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it says, and the link that it prints."""
    stdout, stderr = io.StringIO(), io.StringIO()
    call_command("create_organization", *arguments, stdout=stdout, stderr=stderr, no_color=True)
    return stderr.getvalue(), stdout.getvalue().strip()


# Its settings


def test_change_organization_is_on_record(alice: Person) -> None:
    changed = change(alice, name=" Southwind ", slug="southwind", logo_initials="SW")
    assert Organization.objects.get() == changed
    assert (changed.name, changed.slug, changed.initials) == ("Southwind", "southwind", "SW")
    event = AuditEvent.objects.latest("id")
    assert (event.event, event.organization_id) == ("organization.updated", changed.pk)
    assert event.changes == {
        "name": ["Northwind", "Southwind"],
        "slug": ["northwind", "southwind"],
        "logo_initials": ["", "SW"],
    }


def test_change_of_nothing_leaves_no_trace(alice: Person) -> None:
    before = AuditEvent.objects.count()
    change(alice)
    assert AuditEvent.objects.count() == before


def test_slug_is_one_organizations(alice: Person, charlie: Person) -> None:
    with pytest.raises(SlugTaken):
        change(alice, name="Other", slug="elsewhere")
    found = Organization.objects.get(pk=alice.membership.organization_id)
    assert (found.name, found.slug) == ("Northwind", "northwind")


@pytest.mark.parametrize("who", ["bob", "dana", "charlie"])
def test_only_super_admins_change_their_own_organization(request: pytest.FixtureRequest, who: str, team: Team) -> None:
    person: Person = request.getfixturevalue(who)
    if who == "charlie":
        change(person, name="Mine", slug="mine")
    else:
        with pytest.raises(actions.NotAllowed):
            change(person, name="Mine", slug="mine")
    assert Organization.objects.get(pk=team.organization_id).name == "Northwind"


def test_organization_stays_without_its_audit_row(alice: Person, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        change(alice, name="Southwind")
    assert Organization.objects.get().name == "Northwind"


def test_settings_page_changes_what_everyone_reads(alice_client: Client) -> None:
    sent = {"name": "Southwind", "slug": "south-wind", "logo_initials": "sw"}
    assert alice_client.post(PAGE, sent).headers["Location"] == PAGE
    page = alice_client.get(PAGE)
    assert "Organization changed." in text_of(page)
    assert "SW Southwind Super admin" in text_of(page)
    assert 'value="south-wind"' in page.content.decode()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"slug": "South Wind"}, "Use 1 to 50 lower-case letters, digits and hyphens"),
        ({"slug": "-wind"}, "Use 1 to 50 lower-case letters, digits and hyphens"),
        ({"slug": "w" * 51}, "Use 1 to 50 lower-case letters, digits and hyphens"),
        ({"slug": "elsewhere"}, "Another organization has this slug."),
        ({"logo_initials": "ABC"}, "Write one or two letters or digits"),
        ({"logo_initials": "?!"}, "Write one or two letters or digits"),
        ({"name": "a\u202eb"}, "A name has 1 to 100 characters"),
    ],
)
def test_settings_page_says_what_is_wrong(
    alice_client: Client, charlie: Person, sent: dict[str, str], said: str
) -> None:
    page = alice_client.post(PAGE, {"name": "Northwind", "slug": "northwind", "logo_initials": ""} | sent)
    assert page.status_code == 422
    assert said in text_of(page)
    assert Organization.objects.get(name="Northwind").slug == "northwind"


@pytest.mark.parametrize("who", ["bob", "dana", "ursula"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_settings_page_is_for_super_admins(
    request: pytest.FixtureRequest, sign_in_as: SignIn, organization: Organization, who: str, method: str
) -> None:
    if who == "ursula":
        user = actions.create_user(email="ursula@example.com", password=None, at=NOON)
        person = Person(actions.add_to_organization(organization=organization, user=user, role=Role.AUDITOR, at=NOON))
    else:
        person = request.getfixturevalue(who)
    client = sign_in_as(person)
    response: Any = getattr(client, method)(PAGE, {"name": "Mine", "slug": "mine"})
    assert response.status_code == 403
    assert Organization.objects.get().name == "Northwind"
    assert PAGE not in client.get("/").content.decode()


# Another organization


def test_create_organization_has_an_account_as_its_super_admin(bob: Person) -> None:
    said, link = create("Saltmarsh & Co", "--admin", bob.email.upper())
    new = Organization.objects.get(slug="saltmarsh-co")
    assert (said, link) == ("bob@example.com is the super admin of Saltmarsh & Co (saltmarsh-co).\n", "")
    assert OrganizationMembership.objects.get(organization=new).role == Role.SUPER_ADMIN
    assert {*AuditEvent.objects.filter(organization_id=new.pk).values_list("event", "actor_kind")} == {
        ("organization.created", "system"),
        ("organization_membership.created", "system"),
    }


def test_create_organization_invites_who_has_no_account(organization: Organization, client: Client) -> None:
    said, link = create("Northwind", "--admin", "erin@example.com")
    new = Organization.objects.get(slug="northwind-2")
    assert said == "Northwind (northwind-2) is there. erin@example.com is invited, by this link too:\n"
    invitation = Invitation.objects.get()
    assert (invitation.organization, invitation.role, invitation.invited_by) == (new, Role.SUPER_ADMIN, None)
    page = client.get(
        link.partition("://")[2].partition("/")[1] + link.partition("://")[2].partition("/")[2], follow=True
    )
    assert page.status_code == 200
    assert "Join Northwind" in text_of(page)
    erin = actions.create_user(email="erin@example.com", password=None, at=NOON)
    actions.accept_invitation(invitation=invitation, user=erin, at=invitation.created_at)
    assert OrganizationMembership.objects.get(organization=new).user == erin


@pytest.mark.parametrize("arguments", [("Salt", "--admin", "nobody"), ("a\u202eb", "--admin", "erin@example.com")])
def test_create_organization_refuses_what_cannot_be(db: None, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        create(*arguments)
    assert Organization.objects.count() == 0


def test_create_organization_makes_nothing_without_its_audit_row(bob: Person, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        create("Saltmarsh", "--admin", bob.email)
    assert Organization.objects.count() == 1


def test_operators_name_an_organization_by_its_slug(organization: Organization, charlie: Person) -> None:
    Organization.objects.filter(pk=organization.pk).update(slug="north")
    assert one_organization("NORTH") == one_organization("north") == organization
    Organization.objects.filter(pk=organization.pk).update(slug="elsewhere-2", name="Elsewhere")
    with pytest.raises(CommandError, match="There are several"):
        one_organization("elsewhere")


# From one to the other


@pytest.fixture
def other(alice: Person) -> Organization:
    """Another organization, of which alice is a plain member."""
    other = actions.create_organization(name="Saltmarsh", at=NOON)
    actions.add_to_organization(organization=other, user=alice.user, role=Role.MEMBER, at=NOON)
    return other


def test_switcher_lists_all_organizations_with_roles(alice_client: Client, other: Organization) -> None:
    Organization.objects.filter(pk=other.pk).update(logo_initials="SM")
    page = text_of(alice_client.get("/"))
    assert "N Northwind Super admin" in page
    assert "SM Saltmarsh Member" in page


def test_switch_leaves_the_other_organizations_pages_behind(
    alice_client: Client, other: Organization, team: Team, organization: Organization
) -> None:
    assert alice_client.get(f"/teams/{team.pk}/").status_code == 200
    alice_client.post("/organization/switch/", {"organization": str(other.pk)})
    assert alice_client.get(f"/teams/{team.pk}/").status_code == 404
    assert alice_client.get(PAGE).status_code == 403
    alice_client.post("/organization/switch/", {"organization": str(organization.pk)})
    assert alice_client.get(f"/teams/{team.pk}/").status_code == 200


def test_nobody_switches_to_an_organization_they_are_not_in(alice_client: Client, charlie: Person, team: Team) -> None:
    theirs = str(charlie.membership.organization_id)
    assert alice_client.post("/organization/switch/", {"organization": theirs}).status_code == 404
    assert alice_client.get(f"/teams/{team.pk}/").status_code == 200
