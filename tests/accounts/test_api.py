from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts import actions
from accounts.models import Project, Team
from tests.accounts.scenes import queries_of
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]


@pytest.fixture
def sister(bob: Person, team: Team, project: Project) -> Project:
    """Another project of the same team."""
    return actions.create_project(principal=bob.principal, team=team, name="Refunds", at=NOON)


@pytest.fixture
def keys(
    issue: Issue, alice: Person, bob: Person, dana: Person, team: Team, project: Project, other_project: Project
) -> dict[str, dict[str, str]]:
    """The headers of one key of each scope."""
    return {
        "org": issue(alice, alice.membership.organization).headers,
        "team": issue(bob, team).headers,
        "project": issue(dana, project).headers,
    }


def names(response: Any) -> list[str]:
    return [item["name"] for item in response.json()["items"]]


def problem(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("org", ["Checkout", "Refunds", "Deployments"]),
        ("team", ["Checkout", "Refunds"]),
        ("project", ["Checkout"]),
    ],
)
def test_list_projects_returns_those_in_the_scope_of_the_key(
    client: Client, keys: dict[str, Any], sister: Project, charlie: Person, scope: str, expected: list[str]
) -> None:
    response = client.get("/v1/projects", headers=keys[scope])
    assert (response.status_code, names(response)) == (200, expected)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("alice", ["Checkout", "Deployments"]),
        ("bob", ["Checkout"]),
        ("dana", ["Checkout"]),
        ("charlie", ["Checkout"]),
    ],
)
def test_list_projects_returns_what_a_sessions_person_sees(
    request: pytest.FixtureRequest,
    sign_in_as: Callable[[Person], Client],
    project: Project,
    other_project: Project,
    charlie: Person,
    who: str,
    expected: list[str],
) -> None:
    person = request.getfixturevalue(who)
    response = sign_in_as(person).get("/v1/projects")
    assert names(response) == expected
    found = Project.objects.filter(pk__in=[item["id"] for item in response.json()["items"]])
    assert {row.team.organization_id for row in found} == {person.membership.organization_id}


def test_project_has_these_members_and_no_others(client: Client, keys: dict[str, Any], project: Project) -> None:
    expected = {
        "id": str(project.pk),
        "name": "Checkout",
        "team": {"id": str(project.team.pk), "name": "Payments"},
        "environments": "any",
        "archived_at": None,
        "created_at": "2026-03-02T12:00:00Z",
    }
    assert client.get(f"/v1/projects/{project.pk}", headers=keys["project"]).json() == expected
    assert client.get("/v1/projects", headers=keys["project"]).json() == {"items": [expected]}


@pytest.mark.parametrize(
    ("scope", "found"),
    [("org", {"project", "sister", "other"}), ("team", {"project", "sister"}), ("project", {"project"})],
)
def test_get_project_finds_those_in_the_scope_of_the_key(
    client: Client,
    keys: dict[str, Any],
    project: Project,
    sister: Project,
    other_project: Project,
    charlie: Person,
    scope: str,
    found: set[str],
) -> None:
    far = Project.objects.get(team__organization=charlie.membership.organization)
    ids = {"project": project.pk, "sister": sister.pk, "other": other_project.pk, "far": far.pk, "none": uuid4()}
    answers = {name: client.get(f"/v1/projects/{pk}", headers=keys[scope]) for name, pk in ids.items()}
    assert {name for name, answer in answers.items() if answer.status_code == 200} == found
    refused = [problem(answer) for name, answer in answers.items() if name not in found]
    assert refused == [(404, "not_found")] * (5 - len(found))


def test_foreign_project_and_no_project_answer_alike(
    client: Client, keys: dict[str, Any], other_project: Project
) -> None:
    answers = [client.get(f"/v1/projects/{pk}", headers=keys["team"]).json() for pk in (other_project.pk, uuid4())]
    for answer in answers:
        del answer["instance"], answer["request_id"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("url", ["/v1/projects", "/v1/projects/{project}"])
def test_projects_need_a_permission(client: Client, issue: Issue, dana: Person, project: Project, url: str) -> None:
    key = issue(dana, project, permissions=["keys:read"])
    response = client.get(url.format(project=project.pk), headers=key.headers)
    assert problem(response) == (403, "insufficient_scope")
    assert 'scope="projects:read"' in response["WWW-Authenticate"]


@pytest.mark.parametrize("text", ["1", "checkout", "x" * 36])
def test_project_id_that_is_none_is_not_found(client: Client, keys: dict[str, Any], text: str) -> None:
    assert problem(client.get(f"/v1/projects/{text}", headers=keys["org"])) == (404, "not_found")


def test_list_projects_query_count_does_not_grow(
    client: Client, keys: dict[str, Any], bob: Person, team: Team, noon: Any
) -> None:
    queries_of(client, "/v1/projects", **keys["org"])
    one = queries_of(client, "/v1/projects", **keys["org"])
    for name in ("Ledger", "Refunds"):
        actions.create_project(principal=bob.principal, team=team, name=name, at=NOON)
    assert queries_of(client, "/v1/projects", **keys["org"]) == one


# X-Project-Id


@pytest.mark.parametrize("scope", ["org", "team", "project"])
def test_project_header_narrows_the_call_to_that_project(
    client: Client, keys: dict[str, Any], project: Project, sister: Project, scope: str
) -> None:
    headers = keys[scope] | {"X-Project-Id": str(project.pk)}
    assert names(client.get("/v1/projects", headers=headers)) == ["Checkout"]
    assert problem(client.get(f"/v1/projects/{sister.pk}", headers=headers)) == (404, "not_found")


@pytest.mark.parametrize("text", ["", "1", "checkout", "{project}x"])
def test_project_header_that_is_no_id_is_named(
    client: Client, keys: dict[str, Any], project: Project, text: str
) -> None:
    headers = keys["org"] | {"X-Project-Id": text.format(project=project.pk)}
    response = client.get("/v1/projects", headers=headers)
    assert problem(response) == (422, "invalid_field")
    assert response.json()["errors"] == [
        {"field": "X-Project-Id", "message": "Send the id of a project, as `GET /v1/projects` lists it."}
    ]


def test_project_header_of_a_project_out_of_reach_is_not_found(
    client: Client, keys: dict[str, Any], other_project: Project, charlie: Person
) -> None:
    far = Project.objects.get(team__organization=charlie.membership.organization)
    for scope, pk in (("team", other_project.pk), ("project", other_project.pk), ("org", far.pk), ("org", uuid4())):
        response = client.get("/v1/projects", headers=keys[scope] | {"X-Project-Id": str(pk)})
        assert problem(response) == (404, "not_found")


def test_project_header_of_a_sessions_call_counts_for_nothing(
    alice_client: Client, project: Project, other_project: Project
) -> None:
    response = alice_client.get("/v1/projects", headers={"X-Project-Id": str(project.pk)})
    assert names(response) == ["Checkout", "Deployments"]


# Sessions


@pytest.fixture
def strict_client(alice_client: Client) -> Client:
    """Alice's browser, as one that proves where its requests come from."""
    client = Client(enforce_csrf_checks=True)
    client.cookies = alice_client.cookies
    return client


def send(client: Client, **headers: str) -> Any:
    body = {"name": "ci", "scope": "org", "permissions": ["projects:read"], "expires_in_days": 1}
    return client.post("/v1/api-keys", body, content_type="application/json", headers=headers)


def test_session_reads_without_a_csrf_token(strict_client: Client) -> None:
    assert strict_client.get("/v1/projects").status_code == 200


def test_session_does_not_write_without_a_csrf_token(strict_client: Client) -> None:
    assert problem(send(strict_client)) == (403, "csrf_failed")


def test_session_does_not_write_with_someone_elses_csrf_token(strict_client: Client) -> None:
    strict_client.get("/teams/new/")
    response = send(strict_client, **{"X-CSRFToken": "x" * 64})
    assert problem(response) == (403, "csrf_failed")


def test_session_writes_with_its_csrf_token(strict_client: Client) -> None:
    strict_client.get("/teams/new/")
    response = send(strict_client, **{"X-CSRFToken": strict_client.cookies["csrftoken"].value})
    assert response.status_code == 201


def test_key_beside_a_session_counts_alone(strict_client: Client, keys: dict[str, Any]) -> None:
    response = strict_client.get("/v1/projects", headers=keys["team"])
    assert names(response) == ["Checkout"]
    assert problem(send(strict_client, **keys["team"])) == (403, "insufficient_scope")


def test_wrong_key_is_not_saved_by_a_session(alice_client: Client) -> None:
    response = alice_client.get("/v1/projects", headers={"Authorization": "Bearer nonsense"})
    assert problem(response) == (401, "invalid_key")


@pytest.mark.parametrize("cookie", ["", "nonsense", "x" * 32])
def test_session_that_is_none_is_missing_credentials(client: Client, db: None, cookie: str) -> None:
    client.cookies["keyportal_session"] = cookie
    response = client.get("/v1/projects")
    assert problem(response) == (401, "missing_credentials")
    assert response["WWW-Authenticate"] == 'Bearer realm="keyportal"'


def test_call_with_a_key_leaves_no_session_and_no_cookie(client: Client, keys: dict[str, Any]) -> None:
    response = client.get("/v1/projects", headers=keys["org"])
    assert (response.cookies, Session.objects.count()) == ({}, 0)
