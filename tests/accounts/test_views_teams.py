from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import Invitation, Organization, Project, Role, Team
from tests.accounts.mailbox import link_to, mails
from tests.accounts.scenes import FRAGMENT, acting_as, by, invited, is_page, last_event, queries_of, shown_link, text_of
from tests.cast import NOON, PASSWORD, Issued, Person

SignIn = Callable[[Person], Client]

OUR_PAGES = [
    ("get", "/teams/{team}/"),
    ("get", "/teams/{team}/invite/"),
    ("post", "/teams/{team}/invite/"),
    ("get", "/projects/{project}/"),
    ("get", "/keys/{key}/"),
    ("get", "/keys/{key}/revoke/"),
    ("post", "/keys/{key}/revoke/"),
]
PAGES_WITH_FRAGMENT = ["/teams/new/", "/projects/new/", "/teams/{team}/invite/"]


@pytest.fixture
def ids(team: Team, project: Project, issued: Issued) -> dict[str, str]:
    return {"team": str(team.pk), "project": str(project.pk), "key": str(issued.row.pk)}


def send(client: Client, method: str, url: str, **options: Any) -> Any:
    data = {"email": "erin@example.com", "role": "developer"} if method == "post" else None
    return getattr(client, method)(url, data, **options)


# Who may look


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize(("method", "url"), OUR_PAGES)
def test_stranger_finds_nothing_of_ours(
    charlie_client: Client, ids: dict[str, str], method: str, url: str, headers: dict[str, str]
) -> None:
    response = send(charlie_client, method, url.format(**ids), headers=headers)
    unknown = send(charlie_client, method, url.format(**dict.fromkeys(ids, str(uuid4()))), headers=headers)
    assert (response.status_code, unknown.status_code) == (404, 404)
    assert text_of(response) == text_of(unknown)
    assert Invitation.objects.count() == 0


@pytest.mark.parametrize(("method", "url"), OUR_PAGES)
def test_someone_of_another_team_finds_nothing(
    organization: Organization, other_team: Team, sign_in_as: SignIn, ids: dict[str, str], method: str, url: str
) -> None:
    user = actions.create_user(email="erin@example.com", password=None, at=NOON)
    in_team = actions.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON)
    response = send(sign_in_as(Person(in_team.membership)), method, url.format(**ids))
    assert response.status_code == 404


@pytest.mark.parametrize("url", ["/teams/", "/projects/", "/integrations/", "/audit/", "/"])
def test_stranger_reads_no_name_of_ours(
    charlie_client: Client, ids: dict[str, str], other_team: Team, url: str, issued: Issued
) -> None:
    page = text_of(charlie_client.get(url))
    assert "Elsewhere" in page
    for name in ("Northwind", "Platform", "alice@", "bob@", "dana@", issued.row.label):
        assert name not in page


@pytest.mark.parametrize(
    ("who", "url"),
    [
        ("dana", "/teams/new/"),
        ("bob", "/teams/new/"),
        ("dana", "/projects/new/"),
        ("dana", "/teams/{team}/invite/"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_only_admins_act(
    request: pytest.FixtureRequest, sign_in_as: SignIn, ids: dict[str, str], who: str, url: str, method: str
) -> None:
    client = sign_in_as(request.getfixturevalue(who))
    response = send(client, method, url.format(**ids))
    assert response.status_code == 403
    assert is_page(response)
    assert (Team.objects.count(), Project.objects.count(), Invitation.objects.count()) == (1, 1, 0)


@pytest.mark.parametrize(
    ("who", "url", "reason"),
    [
        ("dana", "/teams/new/", "Only a super admin creates teams."),
        ("dana", "/projects/new/", "A project belongs to a team, and you are the admin of none."),
        ("dana", "/teams/{team}/invite/", "Only an admin of the team invites people into it."),
    ],
)
def test_refusal_says_why(dana_client: Client, ids: dict[str, str], who: str, url: str, reason: str) -> None:
    assert reason in text_of(dana_client.get(url.format(**ids)))


@pytest.mark.parametrize("url", PAGES_WITH_FRAGMENT)
def test_form_comes_as_page_or_as_fragment(alice_client: Client, ids: dict[str, str], url: str) -> None:
    page = alice_client.get(url.format(**ids))
    fragment = alice_client.get(url.format(**ids), headers=FRAGMENT)
    assert (page.status_code, fragment.status_code) == (200, 200)
    assert (is_page(page), is_page(fragment)) == (True, False)
    assert b"<form" in fragment.content
    assert "HX-Request" in page["Vary"]
    assert "HX-Request" in fragment["Vary"]


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
@pytest.mark.parametrize(
    ("url", "typed"),
    [
        ("/teams/new/", {"name": "x" * 101}),
        ("/teams/new/", {"name": "payments"}),
        ("/projects/new/", {"name": "checkout", "team": "{team}"}),
        ("/projects/new/", {"name": "Ledger", "team": "{project}"}),
        ("/teams/{team}/invite/", {"email": "erin at example", "role": "team_admin"}),
        ("/teams/{team}/invite/", {"email": "dana@example.com", "role": "team_admin"}),
        ("/teams/{team}/invite/", {"email": "erin@example.com", "role": "super_admin"}),
    ],
)
def test_form_filled_in_wrongly_answers_422_and_keeps_what_was_typed(
    alice_client: Client, ids: dict[str, str], url: str, typed: dict[str, str], headers: dict[str, str]
) -> None:
    typed = {name: value.format(**ids) for name, value in typed.items()}
    response = alice_client.post(url.format(**ids), typed, headers=headers)
    assert response.status_code == 422
    assert is_page(response) == (not headers)
    form = response.context["form"]
    assert {name: form[name].value() for name in typed} == typed
    assert f'value="{typed.get("name") or typed["email"]}"' in response.content.decode()
    assert "field-error" in response.content.decode()
    assert (Team.objects.count(), Project.objects.count(), Invitation.objects.count()) == (1, 1, 0)


# Teams


def test_team_list_shows_roles_and_counts(bob_client: Client, dana: Person, project: Project, other_team: Team) -> None:
    response = bob_client.get("/teams/")
    page = text_of(response)
    assert "Payments Team admin 2 members 1 project" in page
    assert "Platform" not in page
    assert not response.context["may_create"]


def test_team_list_of_a_super_admin_shows_every_team(alice_client: Client, team: Team, other_team: Team) -> None:
    response = alice_client.get("/teams/")
    assert [(row.team.name, row.my_role) for row in response.context["teams"]] == [
        ("Payments", "Super admin"),
        ("Platform", "Super admin"),
    ]
    assert response.context["may_create"]


def test_team_list_says_so_if_there_is_none(alice_client: Client) -> None:
    assert "No teams yet" in text_of(alice_client.get("/teams/"))


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "htmx"])
def test_team_create_makes_the_team(alice: Person, alice_client: Client, headers: dict[str, str]) -> None:
    response = alice_client.post("/teams/new/", {"name": " Payments "}, headers=headers)
    team = Team.objects.get()
    assert (team.name, team.organization) == ("Payments", alice.membership.organization)
    goes_to = response["HX-Redirect"] if headers else response["Location"]
    assert (response.status_code, goes_to) == (200 if headers else 302, f"/teams/{team.pk}/")


def test_what_a_page_changes_is_on_record_with_person_address_and_request(alice: Person, alice_client: Client) -> None:
    response = alice_client.post("/teams/new/", {"name": "Payments"})
    team = Team.objects.get()
    event = last_event()
    assert event == by(
        alice,
        at=event["at"],
        team_id=team.pk,
        event="team.created",
        action="create",
        target_table="teams",
        target_id=str(team.pk),
        target_label="Payments",
        changes={"name": [None, "Payments"]},
        request_id=response["X-Request-Id"],
        address="127.0.0.1",
    )


def test_team_detail_shows_people_projects_and_open_invitations(
    bob: Person, bob_client: Client, dana: Person, project: Project, team: Team
) -> None:
    invited(bob, team)
    used, _ = invited(bob, team, "frank@example.com")
    actions.register_invited(invitation=used, name="Frank", password=PASSWORD, at=used.created_at)
    page = text_of(bob_client.get(f"/teams/{team.pk}/"))
    assert "3 members, 1 project." in page
    assert page.index("bob@example.com") < page.index("dana@example.com") < page.index("Open invitations")
    assert "erin@example.com Invited by Bob Developer" in page
    assert page.count("frank@example.com") == 1
    assert "Checkout" in page


def test_team_detail_hides_invitations_from_a_developer(bob: Person, dana_client: Client, team: Team) -> None:
    invited(bob, team)
    response = dana_client.get(f"/teams/{team.pk}/")
    assert "erin@example.com" not in text_of(response)
    assert (response.context["may_invite"], "/invite/" in response.content.decode()) == (False, False)


# Projects


def test_project_list_shows_projects_with_their_team(
    dana_client: Client, project: Project, other_project: Project
) -> None:
    response = dana_client.get("/projects/")
    assert "Checkout Payments" in text_of(response)
    assert "Deployments" not in text_of(response)
    assert not response.context["may_create"]


def test_project_list_offers_creation_to_a_team_admin(bob_client: Client) -> None:
    response = bob_client.get("/projects/")
    assert response.context["may_create"]
    assert "No projects yet" in text_of(response)


def test_project_create_makes_the_project(bob: Person, bob_client: Client, team: Team) -> None:
    response = bob_client.post("/projects/new/", {"name": "Checkout", "team": str(team.pk)})
    project = Project.objects.get()
    assert (project.name, project.team) == ("Checkout", team)
    assert response["Location"] == f"/projects/{project.pk}/"
    assert last_event()["actor_label"] == "bob@example.com"


def test_project_create_offers_the_teams_that_one_administers(
    bob: Person, bob_client: Client, team: Team, other_team: Team
) -> None:
    actions.add_to_team(team=other_team, user=bob.user, role=Role.DEVELOPER, at=NOON)
    form = bob_client.get("/projects/new/").context["form"]
    assert [*form.fields["team"].choices] == [(form.fields["team"].choices.queryset[0].pk, "Payments")]
    refused = bob_client.post("/projects/new/", {"name": "Mine", "team": str(other_team.pk)})
    assert (refused.status_code, Project.objects.count()) == (422, 0)


@pytest.mark.parametrize(("asked", "is_chosen"), [("{team}", True), ("no-id", False), ("", False)])
def test_project_create_begins_with_the_team_that_was_asked_for(
    alice_client: Client, team: Team, other_team: Team, asked: str, is_chosen: bool
) -> None:
    response = alice_client.get("/projects/new/", {"team": asked.format(team=team.pk)})
    assert response.status_code == 200
    assert (f'value="{team.pk}" selected' in response.content.decode()) == is_chosen


# Invitations


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_invitation_is_mailed_and_its_link_shown_once(bob_client: Client, team: Team, headers: dict[str, str]) -> None:
    response = bob_client.post(
        f"/teams/{team.pk}/invite/", {"email": "erin@example.com", "role": "developer"}, headers=headers
    )
    link = shown_link(response)
    assert (response.status_code, is_page(response)) == (200, not headers)
    assert link.startswith("http://127.0.0.1:8000/invitations/")
    assert response.content.decode().count(link) == 1
    assert "no-store" in response["Cache-Control"]
    [mail] = mails("erin@example.com")
    assert mail.subject == "Join Northwind on keyportal"
    assert "Northwind invites you to the team Payments on keyportal, as Developer." in mail.text
    # Whoever was handed the link has not shown that they read the address.
    assert link not in mail.text + mail.html
    assert link_to("erin@example.com").startswith("/invitations/")
    assert link.rpartition("/invitations/")[2].strip("/") not in bob_client.get(f"/teams/{team.pk}/").content.decode()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "A mail with a link is on its way to erin@example.com"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, "is written to the portal’s console"),
        ({"KEYPORTAL_DEMO": True}, "It is in this demo’s outbox"),
    ],
)
def test_invitation_says_where_the_mail_goes(
    bob_client: Client, team: Team, settings: Any, changed: dict[str, Any], said: str
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    response = bob_client.post(f"/teams/{team.pk}/invite/", {"email": "erin@example.com", "role": "developer"})
    assert said in text_of(response)


def test_invitation_says_what_it_replaces(alice_client: Client, bob_client: Client, team: Team) -> None:
    for client, path, role, title in (
        (bob_client, f"/teams/{team.pk}/invite/", "developer", "Developer"),
        (alice_client, "/people/invite/", "auditor", "Auditor"),
    ):
        asked = {"email": "erin@example.com", "role": role}
        assert "It replaces" not in text_of(client.post(path, asked))
        again = text_of(client.post(path, asked | {"email": "Erin@example.com"}))
        assert f"It replaces the invitation of {timezone.now():%-d %B %Y} as {title}." in again


def test_invitation_without_a_mail_server_promises_no_mail(bob_client: Client, team: Team, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    said = text_of(bob_client.post(f"/teams/{team.pk}/invite/", {"email": "erin@example.com", "role": "developer"}))
    assert "If it does not arrive" not in said


def test_invitation_says_the_same_of_an_address_that_has_an_account(
    bob_client: Client, charlie: Person, team: Team
) -> None:
    said = [
        text_of(bob_client.post(f"/teams/{team.pk}/invite/", {"email": email, "role": "developer"})).replace(email, "")
        for email in ("charlie@example.com", "nobody@example.com")
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("url", ["/teams/new/", "/projects/new/", "/teams/{team}/invite/"])
def test_form_sent_with_nothing_is_one_filled_in_wrongly(
    alice_client: Client, team: Team, project: Project, url: str
) -> None:
    response = alice_client.post(url.format(team=team.pk))
    assert response.status_code == 422
    assert response.context["form"].errors
    assert (Team.objects.count(), Project.objects.count(), Invitation.objects.count()) == (1, 1, 0)


# What it costs


@pytest.mark.parametrize("url", ["/teams/", "/projects/", "/teams/{team}/", "/projects/new/", "/"])
def test_query_count_does_not_grow(alice: Person, alice_client: Client, team: Team, dana: Person, url: str) -> None:
    def grow(number: int) -> None:
        with acting_as(alice):
            more = actions.create_team(principal=alice.principal, name=f"Team {number}", at=NOON)
            for place in (more, team):
                actions.create_project(principal=alice.principal, team=place, name=f"Project {number}", at=NOON)
            user = actions.create_user(email=f"n{number}@example.com", password=None, at=NOON)
            actions.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON)
            invited(alice, team, f"i{number}@example.com")

    address = url.format(team=team.pk)
    grow(1)
    queries_of(alice_client, address)
    one = queries_of(alice_client, address)
    grow(2)
    grow(3)
    assert queries_of(alice_client, address) == one
