"""Moving a project to another team."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions import (
    NameTaken,
    NotAllowed,
    TeamArchived,
    add_to_team,
    archive_project,
    archive_team,
    create_service_account,
    places,
)
from accounts.models import Project, Role, Team
from apikeys import actions, hashing, leaving
from apikeys.models import ApiKey
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, break_the_audit_log
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]


def status_of(issued: Issued) -> tuple[int, str]:
    answer = Client().get("/v1/projects", headers=issued.headers)
    return answer.status_code, answer.json().get("code", "")


def move(person: Person, project: Project, team: Team) -> Project:
    return actions.move_project(principal=person.principal, project=project, team=team, at=NOON)


def test_moved_projects_keys_stand_with_their_issuers_in_the_new_team(
    alice: Person, bob: Person, dana: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    of_alice, of_bob, of_dana = issue(alice, project), issue(bob, project), issue(dana, project)
    add_to_team(team=other_team, user=dana.user, role=Role.DEVELOPER, at=NOON)
    foreseen = {
        key.api_key.pk: key.is_refused
        for key in leaving.after_move(ApiKey.objects.filter(project=project), other_team, alice.principal)
    }
    assert foreseen == {of_alice.row.pk: False, of_bob.row.pk: True, of_dana.row.pk: False}
    moved = move(alice, project, other_team)
    assert moved.team == other_team
    assert (status_of(of_alice), status_of(of_dana)) == ((200, ""), (200, ""))
    assert status_of(of_bob) == (401, "issuer_gone")
    event = AuditEvent.objects.latest("id")
    assert (event.event, event.team_id) == ("project.moved", other_team.pk)
    assert event.changes == {"team_id": [str(project.team_id), str(other_team.pk)]}


def test_project_is_moved_by_who_administers_both_teams(bob: Person, project: Project, other_team: Team) -> None:
    with pytest.raises(NotAllowed):
        move(bob, project, other_team)
    add_to_team(team=other_team, user=bob.user, role=Role.TEAM_ADMIN, at=NOON)
    assert move(bob, project, other_team).team == other_team


def test_project_moves_into_no_other_organization(alice: Person, charlie: Person, project: Project) -> None:
    theirs = Team.objects.get(organization=charlie.membership.organization)
    for person in (alice, charlie):
        with pytest.raises(NotAllowed):
            move(person, project, theirs)


def test_project_moves_into_no_archived_team(alice: Person, project: Project, other_team: Team) -> None:
    archive_team(principal=alice.principal, team=other_team, at=NOON)
    with pytest.raises(TeamArchived):
        move(alice, project, other_team)


def test_project_moves_to_no_team_that_has_one_of_its_name(
    alice: Person, project: Project, other_project: Project
) -> None:
    same = Project.objects.create(team=other_project.team, name="CHECKOUT", created_at=NOON)
    with pytest.raises(NameTaken):
        move(alice, project, same.team)


def test_move_to_where_it_is_changes_nothing(alice: Person, project: Project) -> None:
    before = AuditEvent.objects.count()
    assert move(alice, project, project.team) == project
    assert AuditEvent.objects.count() == before


def test_service_accounts_keys_hold_a_project_back(
    alice: Person, bob: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    account = create_service_account(
        principal=bob.principal, team=project.team, name="deployer", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )
    issued = issue(bob, project, service_account=account)
    with pytest.raises(actions.ProjectHasAccountKeys):
        move(alice, project, other_team)
    actions.revoke_key(principal=bob.principal, api_key=issued.row, at=NOON)
    assert move(alice, project, other_team).team == other_team


@pytest.mark.parametrize("deed", ["move", "archive"])
def test_no_key_is_issued_for_what_a_project_was_before_argon2_ran(
    alice: Person,
    bob: Person,
    project: Project,
    other_team: Team,
    issue: Issue,
    deed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = create_service_account(
        principal=bob.principal, team=project.team, name="deployer", role=Role.TEAM_ADMIN, steward=bob.user, at=NOON
    )
    make_digest = hashing.make_digest

    def meanwhile(text: str) -> str:
        if deed == "move":
            move(alice, project, other_team)
        else:
            archive_project(principal=alice.principal, project=project, at=NOON)
        return make_digest(text)

    monkeypatch.setattr(hashing, "make_digest", meanwhile)
    refusal = actions.ServiceAccountNotUsable if deed == "move" else actions.ProjectArchived
    with pytest.raises(refusal):
        issue(alice, Project.objects.select_related("team").get(pk=project.pk), service_account=account)
    assert not ApiKey.objects.exists()


def while_it_moves(alice: Person, project: Project, team: Team, act: Callable[[], object]) -> object:
    """Do something while another connection moves a project and has yet to commit that; return what comes of it."""
    has_moved = threading.Event()

    def moving() -> None:
        try:
            with transaction.atomic():
                move(alice, project, team)
                has_moved.set()
                # So long that the other one is waiting.
                time.sleep(0.5)
        finally:
            has_moved.set()
            connections.close_all()

    def acting() -> object:
        has_moved.wait(10)
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(moving), pool.submit(acting)
        first.result(20)
        return second.result(20)


@pytest.mark.django_db(transaction=True)
def test_key_is_not_handed_to_an_account_of_the_team_that_its_project_leaves(
    transactional_db: None, alice: Person, bob: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    account = create_service_account(
        principal=bob.principal, team=project.team, name="deployer", role=Role.TEAM_ADMIN, steward=bob.user, at=NOON
    )
    issued, principal = issue(alice, project), alice.principal

    def hand_over() -> object:
        return actions.hand_to_service_account(
            principal=principal, api_key=issued.row, service_account=account, at=NOON
        )

    assert while_it_moves(alice, project, other_team, hand_over) is actions.ServiceAccountNotUsable
    assert ApiKey.objects.get(pk=issued.row.pk).service_account_id is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_project_that_moves_is_its_new_teams_to_archive(
    transactional_db: None, alice: Person, bob: Person, project: Project, other_team: Team, who: str
) -> None:
    principal = {"alice": alice, "bob": bob}[who].principal
    found = while_it_moves(
        alice, project, other_team, lambda: archive_project(principal=principal, project=project, at=NOON)
    )
    assert found == {"alice": project, "bob": NotAllowed}[who]
    assert bool(Project.objects.get(pk=project.pk).archived_at) is (who == "alice")


@pytest.mark.parametrize("page", ["rename", "environments"])
def test_page_of_a_project_that_has_just_moved_is_forbidden(
    alice: Person,
    bob_client: Client,
    project: Project,
    other_team: Team,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locked_project = places.locked_project

    def meanwhile(asked: Project) -> Project:
        monkeypatch.setattr(places, "locked_project", locked_project)
        move(alice, project, other_team)
        return locked_project(asked)

    monkeypatch.setattr(places, "locked_project", meanwhile)
    answer = bob_client.post(f"/projects/{project.pk}/{page}/", {"name": "Till", "environments": "live"})
    assert answer.status_code == 403
    assert Project.objects.get(pk=project.pk).name == "Checkout"


def test_preview_counts_what_becomes_of_each_key(
    alice: Person, bob: Person, dana: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    add_to_team(team=other_team, user=bob.user, role=Role.DEVELOPER, at=NOON)
    issue(alice, project)
    narrowed = issue(bob, project, permissions=["projects:read", "keys:write"])
    refused = [issue(dana, project).row for _ in range(3)]
    found = leaving.preview_move(project, other_team, alice.principal, at=NOON, most=3)
    assert (found.refused, found.narrowed, found.unchanged, found.more) == (3, 1, 1, 2)
    assert [key.api_key for key in found.shown] == refused[::-1]
    all_of_it = leaving.preview_move(project, other_team, alice.principal, at=NOON)
    assert [key.is_refused for key in all_of_it.shown] == [True, True, True, False, False]
    assert (all_of_it.shown[3].api_key, all_of_it.shown[3].lost) == (narrowed.row, ["keys:write"])


def test_move_does_nothing_else_than_was_previewed(
    alice: Person, dana: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    issue(dana, project)
    seen = leaving.preview_move(project, other_team, alice.principal, at=NOON).digest
    add_to_team(team=other_team, user=dana.user, role=Role.DEVELOPER, at=NOON)
    with pytest.raises(actions.MoveHasChanged):
        actions.move_project(principal=alice.principal, project=project, team=other_team, at=NOON, expected=seen)
    assert Project.objects.get(pk=project.pk).team_id == project.team_id
    seen = leaving.preview_move(project, other_team, alice.principal, at=NOON).digest
    moved = actions.move_project(principal=alice.principal, project=project, team=other_team, at=NOON, expected=seen)
    assert moved.team == other_team


def test_preview_costs_the_same_for_more_keys(
    alice: Person, bob: Person, project: Project, other_team: Team, issue: Issue
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            leaving.preview_move(project, other_team, alice.principal, at=NOON)
        return len(captured)

    issue(bob, project)
    queries_of_one = queries()
    issue(bob, project)
    issue(alice, project)
    assert queries() == queries_of_one


def test_nothing_is_moved_without_its_audit_row(
    alice: Person, project: Project, other_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        move(alice, project, other_team)
    assert Project.objects.get(pk=project.pk).team_id == project.team_id
