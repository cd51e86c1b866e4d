"""Renaming teams and projects, and putting them away."""

import html
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts import actions
from accounts.models import Project, Role, ServiceAccount, Team
from apikeys.actions import ProjectArchived, rotate_key
from apikeys.models import ApiKey
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]
ROUTINE = {"reason": "routine", "settle": "3600", "deadline": "7"}


def events() -> list[str]:
    return list(AuditEvent.objects.order_by("-id").values_list("event", flat=True))


def status_of(issued: Issued, **headers: str) -> tuple[int, str]:
    answer = Client().get("/v1/whoami", headers=issued.headers | headers)
    return answer.status_code, answer.json().get("code", "")


def test_rename_is_on_record(bob: Person, project: Project) -> None:
    actions.rename_team(principal=bob.principal, team=project.team, name=" Billing ")
    actions.rename_project(principal=bob.principal, project=project, name="Till")
    project.refresh_from_db()
    assert (project.team.name, project.name) == ("Billing", "Till")
    changes = AuditEvent.objects.order_by("-id").values_list("event", "target_label", "changes")[:2]
    assert list(changes) == [
        ("project.updated", "Till", {"name": ["Checkout", "Till"]}),
        ("team.updated", "Billing", {"name": ["Payments", "Billing"]}),
    ]


def test_name_that_is_taken_changes_nothing(bob: Person, alice: Person, project: Project, other_team: Team) -> None:
    actions.create_project(principal=bob.principal, team=project.team, name="Till", at=NOON)
    with pytest.raises(actions.NameTaken):
        actions.rename_project(principal=bob.principal, project=project, name="TILL")
    with pytest.raises(actions.NameTaken):
        actions.rename_team(principal=alice.principal, team=project.team, name="platform")
    assert Project.objects.get(pk=project.pk).name == "Checkout"


def test_archived_project_refuses_its_keys_until_it_is_restored(bob: Person, project: Project, issued: Issued) -> None:
    assert status_of(issued) == (200, "")
    archived = actions.archive_project(principal=bob.principal, project=project, at=NOON)
    assert archived.archived_at == NOON
    assert status_of(issued) == (403, "project_archived")
    actions.restore_project(principal=bob.principal, project=project)
    assert status_of(issued) == (200, "")
    assert events()[:2] == ["project.restored", "project.archived"]


def test_archived_project_is_closed_to_keys_that_name_it(
    alice: Person, project: Project, issue: Issue, other_project: Project
) -> None:
    key = issue(alice, project.team.organization)
    actions.archive_project(principal=alice.principal, project=project, at=NOON)
    assert status_of(key, **{"X-Project-Id": str(project.pk)}) == (403, "project_archived")
    assert status_of(key, **{"X-Project-Id": str(other_project.pk)}) == (200, "")
    assert status_of(key) == (200, "")


def test_archived_team_takes_its_projects_along(alice: Person, bob: Person, project: Project, issue: Issue) -> None:
    of_team, of_project = issue(bob, project.team), issue(bob, project)
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    assert (status_of(of_team), status_of(of_project)) == ((403, "team_archived"), (403, "project_archived"))
    assert events()[:2] == ["team.archived", "project.archived"]
    with pytest.raises(actions.TeamArchived):
        actions.restore_project(principal=bob.principal, project=project)
    actions.restore_team(principal=alice.principal, team=project.team)
    assert (status_of(of_team), status_of(of_project)) == ((200, ""), (403, "project_archived"))
    actions.restore_project(principal=bob.principal, project=project)
    assert status_of(of_project) == (200, "")


def test_archiving_twice_is_archiving_once(alice: Person, project: Project) -> None:
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    before = AuditEvent.objects.count()
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON + timedelta(days=1))
    assert AuditEvent.objects.count() == before
    assert Team.objects.get(pk=project.team_id).archived_at == NOON


def test_archived_places_get_nothing_new(alice: Person, bob: Person, project: Project, issue: Issue) -> None:
    actions.archive_project(principal=bob.principal, project=project, at=NOON)
    project.refresh_from_db()
    with pytest.raises(ProjectArchived):
        issue(bob, project)
    team = actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    with pytest.raises(actions.TeamArchived):
        issue(bob, team)
    with pytest.raises(actions.TeamArchived):
        actions.create_project(principal=bob.principal, team=team, name="Till", at=NOON)
    with pytest.raises(actions.TeamArchived):
        actions.invite(principal=bob.principal, team=team, email="erin@example.com", role=Role.DEVELOPER, at=NOON)
    with pytest.raises(actions.TeamArchived):
        actions.create_service_account(
            principal=bob.principal, team=team, name="ci", role=Role.DEVELOPER, steward=bob.user, at=NOON
        )


def test_key_of_an_archived_place_gets_no_successor(
    alice: Person, bob: Person, project: Project, issue: Issue, bob_client: Client
) -> None:
    of_team, of_project = issue(bob, project.team), issue(bob, project)
    actions.archive_team(principal=alice.principal, team=project.team, at=NOON)
    for issued, refusal in ((of_team, actions.TeamArchived), (of_project, ProjectArchived)):
        with pytest.raises(refusal):
            rotate_key(principal=bob.principal, api_key=issued.row, at=NOON)
        answer = bob_client.post(f"/keys/{issued.row.pk}/rotate/", {"form_id": uuid4(), **ROUTINE})
        assert (answer.status_code, str(refusal.sentence) in html.unescape(answer.content.decode())) == (422, True)
        assert not ApiKey.objects.get(pk=issued.row.pk).rotated_at


def test_invitation_waits_for_its_team_to_be_restored(alice: Person, bob: Person, team: Team) -> None:
    invitation, _ = actions.invite(
        principal=bob.principal, team=team, email="erin@example.com", role=Role.DEVELOPER, at=NOON
    )
    erin = actions.create_user(email="erin@example.com", password=None, at=NOON)
    actions.archive_team(principal=alice.principal, team=team, at=NOON)
    with pytest.raises(actions.TeamArchived):
        actions.accept_invitation(invitation=invitation, user=erin, at=NOON)
    with pytest.raises(actions.TeamArchived):
        actions.resend_invitation(principal=bob.principal, invitation=invitation, at=NOON)
    assert not erin.memberships.exists()
    actions.restore_team(principal=alice.principal, team=team)
    actions.accept_invitation(invitation=invitation, user=erin, at=NOON)
    assert erin.memberships.get().team_memberships.get().team == team


def test_accounts_of_an_archived_team_are_offered_for_no_key(alice: Person, bob: Person, team: Team) -> None:
    account = actions.create_service_account(
        principal=bob.principal, team=team, name="ci", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )
    assert list(ServiceAccount.objects.usable_by(bob.principal)) == [account]
    actions.archive_team(principal=alice.principal, team=team, at=NOON)
    assert list(ServiceAccount.objects.usable_by(bob.principal)) == []


DEEDS: dict[str, Callable[[Person, Project], Any]] = {
    "rename team": lambda who, it: actions.rename_team(principal=who.principal, team=it.team, name="X"),
    "rename project": lambda who, it: actions.rename_project(principal=who.principal, project=it, name="X"),
    "archive team": lambda who, it: actions.archive_team(principal=who.principal, team=it.team, at=NOON),
    "restore team": lambda who, it: actions.restore_team(principal=who.principal, team=it.team),
    "archive project": lambda who, it: actions.archive_project(principal=who.principal, project=it, at=NOON),
    "restore project": lambda who, it: actions.restore_project(principal=who.principal, project=it),
}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("who", ["dana", "charlie"])
def test_others_change_no_place(request: pytest.FixtureRequest, project: Project, deed: str, who: str) -> None:
    person: Person = request.getfixturevalue(who)
    before = AuditEvent.objects.count()
    with pytest.raises(actions.NotAllowed):
        DEEDS[deed](person, project)
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("deed", ["archive team", "restore team"])
def test_team_is_put_away_by_super_admins_alone(bob: Person, project: Project, deed: str) -> None:
    with pytest.raises(actions.NotAllowed):
        DEEDS[deed](bob, project)


@pytest.mark.parametrize("deed", [deed for deed in DEEDS if not deed.startswith("restore")])
def test_nothing_is_changed_without_its_audit_row(alice: Person, project: Project, broken_log: None, deed: str) -> None:
    with pytest.raises(LogIsFull):
        DEEDS[deed](alice, project)
    found = Project.objects.select_related("team").get(pk=project.pk)
    assert (found.name, found.team.name) == ("Checkout", "Payments")
    assert (found.archived_at, found.team.archived_at) == (None, None)
