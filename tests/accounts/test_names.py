"""What may be a name is one rule, on every page and command."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Organization, Project, Team
from keyportal.names import KEY_PASTED
from tests.apikeys.audited import everything_recorded
from tests.cast import Issued, Person

Issue = Callable[..., Issued]
UNSEEN = ["two\nlines", "\x00nul", "zero\u200bwidth", "right\u202eto left", "\ud800"]


@pytest.mark.parametrize("name", UNSEEN[:4])
def test_team_name_cannot_hide_anything(alice_client: Client, name: str) -> None:
    response = alice_client.post("/teams/new/", {"name": name})
    assert response.status_code == 422
    assert Team.objects.count() == 0


@pytest.mark.parametrize("name", UNSEEN[:4])
def test_project_name_cannot_hide_anything(bob_client: Client, team: Team, name: str) -> None:
    response = bob_client.post("/projects/new/", {"name": name, "team": str(team.pk)})
    assert response.status_code == 422
    assert Project.objects.count() == 0


@pytest.mark.parametrize("name", UNSEEN)
def test_create_admin_refuses_an_organization_name_that_hides_anything(alice: Person, name: str) -> None:
    with pytest.raises(CommandError, match="1 to 100 characters"):
        call_command("create_admin", "root@example.com", organization=name)
    assert Organization.objects.count() == 1


def test_key_is_no_name_of_anything_on_a_page(
    issued: Issued, alice_client: Client, bob_client: Client, bob: Person, team: Team
) -> None:
    posts = [
        (alice_client, "/teams/new/", {"name": issued.text}),
        (bob_client, "/projects/new/", {"name": issued.text, "team": str(team.pk)}),
        (
            bob_client,
            f"/teams/{team.pk}/service-accounts/new/",
            {"name": issued.text, "role": "developer", "steward": str(bob.user.pk)},
        ),
        (
            alice_client,
            "/settings/permissions/new/",
            {"name": "a:b", "sentence": issued.text, "least_role": "developer"},
        ),
    ]
    for client, address, data in posts:
        response: Any = client.post(address, data)
        assert (response.status_code, KEY_PASTED in response.text) == (422, True), address
    assert issued.key.secret not in everything_recorded()


def test_key_is_no_name_of_anything_in_the_api(
    issue: Issue, issued: Issued, alice: Person, bob: Person, organization: Organization, team: Team
) -> None:
    admin = issue(alice, organization, permissions=["org:write"])
    owner = issue(bob, team, permissions=["service_accounts:write"])
    sent = [
        (admin, "/v1/permissions", {"name": "invoices:read", "sentence": issued.text}, "sentence"),
        (owner, "/v1/service-accounts", {"name": issued.text, "steward_id": str(bob.user.pk)}, "name"),
    ]
    for key, address, body, field in sent:
        response: Any = Client().post(address, body, content_type="application/json", headers=key.headers)
        [error] = response.json()["errors"]
        assert (response.status_code, error["field"], KEY_PASTED in error["message"]) == (422, field, True), address
    assert issued.key.secret not in everything_recorded()


def test_create_admin_takes_no_key_for_a_name(issued: Issued) -> None:
    with pytest.raises(CommandError, match="A key was pasted here"):
        call_command("create_admin", "root@example.com", name=issued.text)


def test_first_project_leads_a_super_admin_to_the_team_it_needs(alice_client: Client) -> None:
    response = alice_client.get("/projects/new/")
    assert (response.status_code, response["Location"]) == (302, "/teams/new/")
    assert "Create the team first." in alice_client.get("/teams/new/").text
