"""Who may read which rows of the audit log."""

from collections.abc import Callable

import pytest
from django.test import RequestFactory

from accounts import actions
from accounts.models import Project, Role, Team
from accounts.principals import Principal
from accounts.recording import visible_events
from apikeys.verification import verify
from audit.models import AuditEvent
from keyportal.http import Problem
from tests.accounts.scenes import acting_as
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]


@pytest.fixture
def history(
    alice: Person, bob: Person, dana: Person, charlie: Person, team: Team, other_team: Team, project: Project
) -> None:
    """One row of each sort, told apart by its label; and the rows of making the cast are gone from view."""
    with acting_as(alice):
        actions.add_to_organization(
            organization=team.organization,
            user=actions.create_user(email="erin@example.com", password=None, at=NOON),
            role=Role.MEMBER,
            at=NOON,
        )
        actions.create_project(principal=alice.principal, team=other_team, name="of another team", at=NOON)
    with acting_as(bob):
        actions.create_project(principal=bob.principal, team=team, name="of the team", at=NOON)
    with acting_as(dana):
        _rename(dana, "Dana Smith")
        _rename_project(project)
    with acting_as(charlie):
        far = Team.objects.get(organization=charlie.membership.organization)
        actions.create_project(principal=charlie.principal, team=far, name="of elsewhere", at=NOON)


def _rename(person: Person, name: str) -> None:
    person.user.name = name
    person.user.save(update_fields=["name"])


def _rename_project(project: Project) -> None:
    project.name = "of the project"
    project.save(update_fields=["name"])


def seen_by(principal: Principal) -> set[str]:
    """Return the labels of the rows, but those of making the cast."""
    request = RequestFactory().get("/")
    request.principal = principal  # type: ignore[attr-defined] # as the middleware does
    rows = visible_events(request).filter(request_id="r-1")
    return set(rows.values_list("target_label", flat=True))


OF_ALL = {"erin@example.com", "of another team", "of the team", "of the project", "dana@example.com"}


@pytest.mark.parametrize(
    ("who", "labels"),
    [
        ("alice", OF_ALL),
        ("bob", {"of the team", "of the project"}),
        ("dana", {"dana@example.com", "of the project"}),
        ("charlie", {"of elsewhere"}),
    ],
)
def test_person_sees_the_rows_of_their_role(
    history: None, request: pytest.FixtureRequest, who: str, labels: set[str]
) -> None:
    assert seen_by(request.getfixturevalue(who).principal) == labels


def test_team_admin_sees_their_own_rows_outside_of_the_team_too(history: None, bob: Person) -> None:
    with acting_as(bob):
        _rename(bob, "Bob Smith")
    assert seen_by(bob.principal) == {"of the team", "of the project", "bob@example.com"}


def test_super_admin_sees_every_row_of_the_organization(history: None, alice: Person) -> None:
    request = RequestFactory().get("/")
    request.principal = alice.principal  # type: ignore[attr-defined] # as the middleware does
    ours = AuditEvent.objects.filter(organization_id=alice.membership.organization_id)
    assert [*visible_events(request)] == [*ours]


def test_key_sees_the_rows_of_its_scope(
    history: None, issue: Issue, alice: Person, bob: Person, team: Team, project: Project
) -> None:
    places = {"org": (alice, team.organization), "team": (bob, team), "project": (bob, project)}
    found = {}
    for scope, (person, place) in places.items():
        issued = issue(person, place, permissions=["audit:read"])
        key = verify(issued.text, at=NOON).key
        assert key
        found[scope] = seen_by(key.principal)
    assert found == {"org": OF_ALL, "team": {"of the team", "of the project"}, "project": {"of the project"}}


def test_key_without_the_permission_sees_nothing(issued: Issued) -> None:
    key = verify(issued.text, at=NOON).key
    assert key
    with pytest.raises(Problem) as caught:
        seen_by(key.principal)
    assert caught.value.code == "insufficient_scope"
