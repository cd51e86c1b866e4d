"""What may be a name is one rule, on every page and command."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Organization, Project, Team
from tests.cast import Person

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


def test_first_project_leads_a_super_admin_to_the_team_it_needs(alice_client: Client) -> None:
    response = alice_client.get("/projects/new/")
    assert (response.status_code, response["Location"]) == (302, "/teams/new/")
    assert "Create the team first." in alice_client.get("/teams/new/").text
