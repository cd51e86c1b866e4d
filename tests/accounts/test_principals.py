from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from django.test import RequestFactory

from accounts import actions
from accounts.models import OrganizationMembership, Project, Team
from accounts.narrowing import narrowed
from accounts.principals import Principal, acting
from accounts.rights import Right
from apikeys.presented import PresentedKey
from apikeys.verification import verify
from audit.context import Actor
from keyportal.http import Problem
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]


def verified(issued: Issued, at: datetime = NOON) -> PresentedKey:
    key = verify(issued.text, at=at).key
    assert key
    return key


@pytest.fixture
def org_key(issue: Issue, alice: Person) -> Principal:
    return verified(issue(alice, alice.membership.organization)).principal


@pytest.fixture
def team_key(issue: Issue, bob: Person, team: Team) -> Principal:
    return verified(issue(bob, team)).principal


@pytest.fixture
def project_key(issued: Issued) -> Principal:
    return verified(issued).principal


@pytest.fixture
def world(team: Team, other_team: Team, project: Project, other_project: Project, charlie: Person) -> dict[str, UUID]:
    """Everything there is, by a short name; `far` is what belongs to Elsewhere."""
    far = Team.objects.get(organization=charlie.membership.organization)
    return {
        "team": team.pk,
        "other_team": other_team.pk,
        "far_team": far.pk,
        "project": project.pk,
        "other_project": other_project.pk,
        "far_project": far.projects.get().pk,
    }


def names(world: dict[str, UUID], ids: object) -> set[str]:
    found = set(ids)  # type: ignore[call-overload] # a flat list of ids
    return {name for name, pk in world.items() if pk in found}


@pytest.mark.parametrize(
    ("who", "teams", "administered", "projects"),
    [
        ("alice", {"team", "other_team"}, {"team", "other_team"}, {"project", "other_project"}),
        ("bob", {"team"}, {"team"}, {"project"}),
        ("dana", {"team"}, set(), {"project"}),
        ("charlie", {"far_team"}, {"far_team"}, {"far_project"}),
    ],
)
def test_person_sees_what_their_role_reaches(
    world: dict[str, UUID],
    request: pytest.FixtureRequest,
    who: str,
    teams: set[str],
    administered: set[str],
    projects: set[str],
) -> None:
    principal = request.getfixturevalue(who).principal
    assert names(world, Team.objects.visible_to(principal).values_list("pk", flat=True)) == teams
    where = Team.objects.where(principal, Right.PROJECTS_MANAGE)
    assert names(world, where.values_list("pk", flat=True)) == administered
    assert names(world, Project.objects.visible_to(principal).values_list("pk", flat=True)) == projects


@pytest.mark.parametrize(
    ("which", "teams", "administered", "projects"),
    [
        ("org_key", {"team", "other_team"}, {"team", "other_team"}, {"project", "other_project"}),
        ("team_key", {"team"}, {"team"}, {"project"}),
        ("project_key", {"team"}, set(), {"project"}),
    ],
)
def test_key_sees_what_its_scope_reaches(
    world: dict[str, UUID],
    request: pytest.FixtureRequest,
    which: str,
    teams: set[str],
    administered: set[str],
    projects: set[str],
) -> None:
    key = request.getfixturevalue(which)
    assert names(world, Team.objects.visible_to(key).values_list("pk", flat=True)) == teams
    assert names(world, Team.objects.where(key, Right.PROJECTS_MANAGE).values_list("pk", flat=True)) == administered
    assert names(world, Project.objects.visible_to(key).values_list("pk", flat=True)) == projects


def test_project_key_does_not_see_its_sisters(project_key: Principal, bob: Person, team: Team) -> None:
    actions.create_project(principal=bob.principal, team=team, name="Refunds", at=NOON)
    assert [project.name for project in Project.objects.visible_to(project_key)] == ["Checkout"]


@pytest.mark.parametrize(
    ("which", "in_team", "in_other_team", "in_organization"),
    [
        ("alice", "super_admin", "super_admin", "super_admin"),
        ("bob", "team_admin", None, None),
        ("dana", "developer", None, None),
        ("org_key", "super_admin", "super_admin", "super_admin"),
        ("team_key", "team_admin", None, None),
        ("project_key", "developer", None, None),
    ],
)
def test_role_in_a_place(
    request: pytest.FixtureRequest,
    team: Team,
    other_team: Team,
    which: str,
    in_team: str,
    in_other_team: str | None,
    in_organization: str | None,
) -> None:
    found = request.getfixturevalue(which)
    principal = found.principal if isinstance(found, Person) else found
    roles = [principal.role_in(team.pk), principal.role_in(other_team.pk), principal.role_in(None)]
    assert roles == [in_team, in_other_team, in_organization]


def test_a_super_admins_team_key_has_their_role_in_that_team_alone(
    issue: Issue, alice: Person, team: Team, other_team: Team
) -> None:
    principal = verified(issue(alice, team)).principal
    roles = [principal.role_in(place) for place in (team.pk, other_team.pk, None)]
    assert roles == ["super_admin", None, None]
    assert [row.pk for row in Team.objects.where(principal, Right.PROJECTS_MANAGE)] == [team.pk]


def test_principal_of_a_person_is_asked_for_no_permission(dana: Person) -> None:
    dana.principal.require("keys:write")


def test_require_names_the_permission_that_a_key_lacks(project_key: Principal) -> None:
    project_key.require("projects:read")
    with pytest.raises(Problem) as caught:
        project_key.require("keys:write")
    assert caught.value.code == "insufficient_scope"
    assert "keys:write" in caught.value.detail
    challenge = 'Bearer realm="keyportal", error="insufficient_scope", scope="keys:write"'
    assert caught.value.headers == {"WWW-Authenticate": challenge}


def test_as_actor_of_a_person_is_that_person(dana: Person) -> None:
    assert dana.principal.as_actor() == Actor("user", id=dana.user.pk, label="dana@example.com")


def test_as_actor_of_a_key_names_its_issuer(issued: Issued, dana: Person) -> None:
    assert verified(issued).principal.as_actor() == Actor(
        "api_key", id=issued.row.pk, label=issued.row.label, issuer_id=dana.user.pk, issuer_label="dana@example.com"
    )


def test_principal_follows_a_role_that_was_taken_away(bob: Person) -> None:
    membership = OrganizationMembership.objects.get(pk=bob.membership.pk)
    membership.team_memberships.all().delete()
    assert bob.principal.team_roles == {}


def test_acting_returns_the_requests_principal(dana: Person) -> None:
    request = RequestFactory().get("/")
    request.principal = dana.principal  # type: ignore[attr-defined] # as the middleware does
    assert acting(request) == dana.principal


def test_narrowed_is_as_a_key_of_that_project(org_key: Principal, project: Project, team: Team) -> None:
    assert narrowed(org_key, str(project.pk)) == replace(
        org_key, scope="project", team_id=team.pk, project_id=project.pk
    )


@pytest.mark.parametrize("text", ["", "checkout", "1", "018f-"])
def test_narrowed_refuses_what_is_no_id(org_key: Principal, text: str) -> None:
    with pytest.raises(Problem) as caught:
        narrowed(org_key, text)
    assert (caught.value.code, caught.value.errors[0]["field"]) == ("invalid_field", "X-Project-Id")


def test_narrowed_refuses_what_the_key_does_not_reach(
    team_key: Principal, other_project: Project, charlie: Person
) -> None:
    far = Project.objects.get(team__organization=charlie.membership.organization)
    for pk in (other_project.pk, far.pk, uuid4()):
        with pytest.raises(Problem) as caught:
            narrowed(team_key, str(pk))
        assert caught.value.code == "not_found"
