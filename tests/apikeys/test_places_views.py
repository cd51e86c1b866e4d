"""Pages on which teams and projects are renamed, put away, brought back and moved."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import Project, Role, Team
from apikeys.models import ApiKey
from tests.accounts.scenes import FRAGMENT, is_page, queries_of, sign_in_old, text_of
from tests.cast import NOON, Issued, Person

SignIn = Callable[[Person], Client]
Issue = Callable[..., Issued]
OF_TEAMS = ["/teams/{team}/rename/", "/teams/{team}/archive/", "/teams/{team}/restore/"]
OF_PROJECTS = [f"/projects/{{project}}/{deed}/" for deed in ("rename", "archive", "restore", "move")]


@pytest.fixture
def ids(project: Project) -> dict[str, str]:
    return {"team": str(project.team_id), "project": str(project.pk)}


def place(project: Project) -> tuple[str, str, Any, Any]:
    found = Project.objects.select_related("team").get(pk=project.pk)
    return found.name, found.team.name, found.archived_at, found.team.archived_at


# Who may look


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize("url", [*OF_TEAMS, *OF_PROJECTS])
def test_places_pages_are_page_and_fragment(
    alice_client: Client, ids: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    response = alice_client.get(url.format(**ids), headers=headers)
    assert response.status_code == 200
    assert is_page(response) is not bool(headers)


@pytest.mark.parametrize(("who", "status"), [("charlie", 404), ("dana", 403), ("ursula", 403), ("olga", 404)])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("url", [*OF_TEAMS, *OF_PROJECTS])
def test_others_change_no_place(
    request: pytest.FixtureRequest,
    sign_in_as: SignIn,
    other_team: Team,
    project: Project,
    ids: dict[str, str],
    who: str,
    status: int,
    method: str,
    url: str,
) -> None:
    before = place(project)
    if who in {"charlie", "dana"}:
        person: Person = request.getfixturevalue(who)
    else:
        user = actions.create_user(email=f"{who}@example.com", password=None, at=NOON)
        if who == "ursula":
            of = other_team.organization
            person = Person(actions.add_to_organization(organization=of, user=user, role=Role.AUDITOR, at=NOON))
        else:
            in_team = actions.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON)
            person = Person(in_team.membership)
    sent = {"name": "Mine", "team": str(other_team.pk)}
    response: Any = getattr(sign_in_as(person), method)(url.format(**ids), sent)
    assert response.status_code == status
    assert place(project) == before


@pytest.mark.parametrize("url", ["/teams/{team}/archive/", "/teams/{team}/restore/"])
def test_team_admins_put_no_team_away(bob_client: Client, ids: dict[str, str], url: str) -> None:
    response = bob_client.post(url.format(**ids))
    assert response.status_code == 403
    assert "Only a super admin archives and restores teams." in text_of(response)


@pytest.mark.parametrize("url", [*OF_TEAMS[1:], *OF_PROJECTS[1:]])
def test_what_weighs_on_keys_asks_for_a_recent_sign_in(
    alice_client: Client, project: Project, ids: dict[str, str], url: str
) -> None:
    before = place(project)
    sign_in_old(alice_client)
    response = alice_client.post(url.format(**ids))
    assert response.status_code == 302
    assert "/account/reauthenticate/" in response.headers["Location"]
    assert place(project) == before


# Renaming


def test_team_and_project_get_other_names(bob_client: Client, project: Project, ids: dict[str, str]) -> None:
    bob_client.post("/teams/{team}/rename/".format(**ids), {"name": "Billing"})
    response = bob_client.post("/projects/{project}/rename/".format(**ids), {"name": "Till"})
    assert response.headers["Location"] == f"/projects/{project.pk}/"
    assert place(project)[:2] == ("Till", "Billing")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/teams/{team}/rename/", "There is a team of this name already."),
        ("/projects/{project}/rename/", "The team has a project of this name already."),
    ],
)
def test_taken_name_is_said(
    bob: Person, bob_client: Client, project: Project, other_team: Team, ids: dict[str, str], url: str, said: str
) -> None:
    actions.create_project(principal=bob.principal, team=project.team, name="Platform", at=NOON)
    response = bob_client.post(url.format(**ids), {"name": "platform"})
    assert response.status_code == 422
    assert said in text_of(response)


# Archiving and restoring


def test_archiving_a_project_says_first_what_it_costs(
    bob: Person, bob_client: Client, project: Project, issue: Issue, ids: dict[str, str]
) -> None:
    at = timezone.now()
    for used_at in (at, at - timedelta(days=2), None):
        ApiKey.objects.filter(pk=issue(bob, project).row.pk).update(last_used_at=used_at)
    issue(bob, project.team)
    page = text_of(bob_client.get("/projects/{project}/archive/".format(**ids)))
    assert "3 keys, 1 used in the last 24 hours, would be refused from the next request on" in page
    assert place(project)[2] is None
    response = bob_client.post("/projects/{project}/archive/".format(**ids), follow=True)
    assert "Checkout is archived. Its keys have been refused since." in text_of(response)
    assert "This project is archived." in text_of(response)
    assert "New API key" not in text_of(response)
    assert place(project)[2] is not None
    page = text_of(bob_client.get("/projects/{project}/restore/".format(**ids)))
    assert "3 keys that have not ended stop being refused for this" in page
    bob_client.post("/projects/{project}/restore/".format(**ids))
    assert place(project)[2] is None


def test_archiving_a_team_says_first_what_it_costs(
    alice: Person, alice_client: Client, bob: Person, project: Project, issue: Issue, ids: dict[str, str]
) -> None:
    issue(bob, project.team)
    issue(bob, project)
    second = actions.create_project(principal=bob.principal, team=project.team, name="Till", at=NOON)
    issue(bob, second)
    actions.archive_project(principal=bob.principal, project=second, at=NOON)
    page = text_of(alice_client.get("/teams/{team}/archive/".format(**ids)))
    assert "2 keys, 0 used in the last 24 hours, would be refused" in page
    assert "1 project goes with it." in page
    assert "whoever restores it has its own keys work again. Its projects are restored one by one." in page
    response = alice_client.post("/teams/{team}/archive/".format(**ids), follow=True)
    assert "This team is archived." in text_of(response)
    assert "Invite person" not in text_of(response)
    page = text_of(alice_client.get("/teams/{team}/restore/".format(**ids)))
    assert "Its 2 archived projects stay archived until each is restored." in page
    refused = alice_client.post("/projects/{project}/restore/".format(**ids))
    assert refused.status_code == 422
    assert "The team is archived. A super admin can restore it." in text_of(refused)
    restored = alice_client.post("/teams/{team}/restore/".format(**ids), follow=True)
    assert "Its own keys work again. Its projects are still archived: restore each on its page" in text_of(restored)
    assert place(project)[3] is None


def test_lists_show_what_is_archived_last(
    alice: Person, alice_client: Client, project: Project, other_project: Project
) -> None:
    assert text_of(alice_client.get("/projects/")).index("Checkout") < text_of(alice_client.get("/projects/")).index(
        "Deployments"
    )
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    for url, first, last in (("/projects/", "Deployments", "Checkout"), ("/teams/", "Platform", "Payments")):
        main = text_of(alice_client.get(url)).partition("A ")[2]
        assert main.index(first) < main.index(last) < main.index("Archived")


def test_archived_places_are_offered_for_nothing_new(
    alice: Person, alice_client: Client, project: Project, other_project: Project
) -> None:
    def offered(url: str) -> list[bool]:
        page = alice_client.get(url).content.decode()
        return [f'value="{row.pk}"' in page for row in (project, project.team, other_project, other_project.team)]

    assert offered("/integrations/new/") == [True, True, True, True]
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    assert offered("/integrations/new/") == [False, False, True, True]
    assert offered("/sdk-keys/new/")[::2] == [False, True]
    assert offered("/projects/new/")[1::2] == [False, True]


@pytest.mark.parametrize("count", [1, 3])
def test_keys_of_archived_places_say_so_at_the_same_cost(
    alice: Person, alice_client: Client, bob: Person, project: Project, issue: Issue, count: int
) -> None:
    issued = [issue(bob, project) for _ in range(count)]
    issue(bob, project.team)
    before = queries_of(alice_client, "/integrations/")
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    assert queries_of(alice_client, "/integrations/") == before
    page = text_of(alice_client.get("/integrations/"))
    assert page.count("It is refused while its project is archived. Restore the project, or revoke the key.") == count
    assert page.count("It is refused while its team is archived.") == 1
    assert "Archived" in text_of(alice_client.get(f"/keys/{issued[0].row.pk}/"))


# Moving


def test_move_is_previewed_and_then_done(
    alice_client: Client, bob: Person, project: Project, other_team: Team, issue: Issue, ids: dict[str, str]
) -> None:
    issue(bob, project, name="nightly-scan")
    url = "/projects/{project}/move/".format(**ids)
    preview = alice_client.get(url, {"team": str(other_team.pk)})
    assert "Would be refused 1 key" in text_of(preview)
    assert "nightly-scan bob@example.com Refused" in text_of(preview)
    digest = preview.context["preview"].digest
    response = alice_client.post(url, {"team": str(other_team.pk), "digest": digest}, follow=True)
    assert "Checkout is a project of Platform now." in text_of(response)
    assert place(project)[1] == "Platform"


def test_move_without_its_preview_shows_it(
    alice_client: Client, project: Project, other_team: Team, ids: dict[str, str]
) -> None:
    sent = {"team": str(other_team.pk), "digest": "made up"}
    response = alice_client.post("/projects/{project}/move/".format(**ids), sent)
    assert response.status_code == 422
    assert "Look at what would become of them now." in text_of(response)
    assert place(project)[1] == "Payments"


def test_move_goes_only_where_one_administers(
    bob_client: Client, project: Project, other_team: Team, charlie: Person, ids: dict[str, str]
) -> None:
    url = "/projects/{project}/move/".format(**ids)
    assert "You administer no other team that it could go to." in text_of(bob_client.get(url))
    theirs = Team.objects.get(organization=charlie.membership.organization)
    for team in (other_team, theirs):
        assert bob_client.post(url, {"team": str(team.pk)}).status_code == 422
    assert place(project)[1] == "Payments"


def test_archived_places_forms_answer_in_words(alice: Person, bob_client: Client, team: Team, bob: Person) -> None:
    actions.archive_team(principal=alice.principal, team=team, at=NOON)
    sent = {"email": "erin@example.com", "role": "developer", "name": "ci", "steward": str(bob.user.pk)}
    for page in ("invite", "service-accounts/new"):
        response = bob_client.post(f"/teams/{team.pk}/{page}/", sent)
        assert response.status_code == 422
        assert "The team is archived. A super admin can restore it." in text_of(response)
