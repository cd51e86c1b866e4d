from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from accounts import actions as people
from accounts.models import Organization, Project, Role, Team
from accounts.narrowing import narrowed
from apikeys import hashing, keyformat
from apikeys.actions import (
    EnvironmentNotGrantable,
    ExpiryNotGrantable,
    KeyAlreadyIssued,
    KeyAlreadyRevoked,
    PermissionNotGrantable,
    RevokeNotAllowed,
    ScopeNotAllowed,
    disable_key,
    issue_key,
    mark_exposed,
    may_revoke,
    revoke_key,
)
from apikeys.hashing import Check
from apikeys.models import ApiKey
from apikeys.permissions import BUILT_IN
from audit.context import audit_context
from audit.models import AuditEvent
from tests.apikeys.audited import (
    LogIsFull,
    Row,
    break_the_audit_log,
    events_of,
    everything_recorded,
    newest_changes,
    rows_of,
)
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import acting_as, change_team_role, demote, leave_teams
from tests.cast import NOON, Issued, Person, later, use

Issue = Callable[..., Issued]
Place = Organization | Team | Project


@dataclass(frozen=True)
class World:
    """Who and where, by the names that the tables below use."""

    people: dict[str, Person]
    places: dict[str, Place]


@pytest.fixture
def world(
    alice: Person,
    bob: Person,
    dana: Person,
    charlie: Person,
    organization: Organization,
    team: Team,
    project: Project,
    other_team: Team,
    other_project: Project,
) -> World:
    user = people.create_user(email="erin@example.com", password=None, at=NOON)
    erin = Person(people.add_to_organization(organization=organization, user=user, role=Role.MEMBER, at=NOON))
    elsewhere = charlie.membership.organization
    their_project = Project.objects.select_related("team").get(team__organization=elsewhere)
    return World(
        people={"alice": alice, "bob": bob, "dana": dana, "erin": erin, "charlie": charlie},
        places={
            "organization": organization,
            "team": team,
            "project": project,
            "sibling": people.create_project(principal=bob.principal, team=team, name="Ledger", at=NOON),
            "other team": other_team,
            "other project": other_project,
            "their organization": elsewhere,
            "their team": their_project.team,
            "their project": their_project,
        },
    )


# Who may issue what (T4)

OURS = {"organization", "team", "project", "sibling", "other team", "other project"}
THEIRS = {"their organization", "their team", "their project"}
MAY_ISSUE = {
    "alice": OURS,
    "bob": {"team", "project", "sibling"},
    "dana": {"project", "sibling"},
    "erin": set(),
    "charlie": THEIRS,
}


@pytest.mark.parametrize("place", sorted(OURS | THEIRS))
@pytest.mark.parametrize("who", sorted(MAY_ISSUE))
def test_role_decides_for_which_places_a_person_issues(world: World, issue: Issue, who: str, place: str) -> None:
    if place in MAY_ISSUE[who]:
        assert issue(world.people[who], world.places[place]).row.place == world.places[place]
    else:
        with pytest.raises(ScopeNotAllowed):
            issue(world.people[who], world.places[place])
        assert ApiKey.objects.count() == 0


# The issuer and the place of a key, and where that key may issue others.
KEYS_MAY_ISSUE = {
    ("alice", "organization"): OURS,
    ("alice", "team"): {"team", "project", "sibling"},
    ("alice", "project"): {"project"},
    ("bob", "team"): {"team", "project", "sibling"},
    ("bob", "project"): {"project"},
    ("dana", "project"): {"project"},
    ("charlie", "their organization"): THEIRS,
}


def issue_with(issued: Issued, place: Place, **changes: Any) -> ApiKey:
    wanted: dict[str, Any] = {
        "name": "child",
        "environment": "live",
        "permissions": ["projects:read"],
        "expires_at": None,
        "at": NOON,
    }
    row, _ = issue_key(principal=acting_as(issued), place=place, **wanted | changes)
    return row


@pytest.mark.parametrize("place", sorted(OURS | THEIRS))
@pytest.mark.parametrize(("who", "where"), sorted(KEYS_MAY_ISSUE))
def test_key_issues_inside_its_scope_only(world: World, issue: Issue, who: str, where: str, place: str) -> None:
    parent = issue(world.people[who], world.places[where], permissions=["*"])
    if place in KEYS_MAY_ISSUE[who, where]:
        child = issue_with(parent, world.places[place])
        assert (child.place, child.issuer_id) == (world.places[place], world.people[who].user.pk)
    else:
        with pytest.raises(ScopeNotAllowed):
            issue_with(parent, world.places[place])


@pytest.mark.parametrize("place", ["organization", "team", "sibling", "other project"])
def test_narrowed_key_issues_for_the_project_it_names_only(world: World, issue: Issue, place: str) -> None:
    parent = acting_as(issue(world.people["alice"], world.places["organization"], permissions=["*"]))
    asking = narrowed(parent, str(world.places["project"].pk))
    wanted: dict[str, Any] = {"name": "child", "environment": "live", "permissions": ["scan:read"], "at": NOON}
    issue_key(principal=asking, place=world.places["project"], expires_at=None, **wanted)
    with pytest.raises(ScopeNotAllowed):
        issue_key(principal=asking, place=world.places[place], expires_at=None, **wanted)


def test_person_who_left_the_team_issues_nothing(world: World, issue: Issue) -> None:
    leave_teams(world.people["dana"])
    with pytest.raises(ScopeNotAllowed):
        issue(world.people["dana"], world.places["project"])


def test_demoted_super_admin_issues_nothing(world: World, issue: Issue) -> None:
    demote(world.people["alice"])
    for place in OURS:
        with pytest.raises(ScopeNotAllowed):
            issue(world.people["alice"], world.places[place])


# What may be granted

ADMINS = {"keys:write", "service_accounts:write", "audit:read", "deployments:write", "deployments:delete"}
BEYOND = {"alice": set[str](), "bob": {"org:read", "org:write"}, "dana": {"org:read", "org:write", *ADMINS}}


@pytest.mark.parametrize("permission", [*BUILT_IN.by_name, "*", "galaxy:rule", ""])
@pytest.mark.parametrize("who", sorted(BEYOND))
def test_role_decides_what_a_person_grants(world: World, issue: Issue, who: str, permission: str) -> None:
    if permission in BEYOND[who] | {"galaxy:rule", ""}:
        with pytest.raises(PermissionNotGrantable) as refusal:
            issue(world.people[who], world.places["project"], permissions=["projects:read", permission])
        assert refusal.value.names == [permission]
        assert ApiKey.objects.count() == 0
    else:
        assert issue(world.people[who], world.places["project"], permissions=[permission]).row.permissions == [
            permission
        ]


def test_refusal_names_all_that_may_not_be_granted(world: World, issue: Issue) -> None:
    with pytest.raises(PermissionNotGrantable, match="keys:write, org:read") as refusal:
        issue(world.people["dana"], world.places["project"], permissions=["org:read", "scan:read", "keys:write"])
    assert refusal.value.names == ["keys:write", "org:read"]


@pytest.mark.parametrize("wanted", [["keys:write"], ["*"], ["scan:read", "deployments:delete"]])
def test_key_hands_on_nothing_that_it_does_not_hold(world: World, issue: Issue, wanted: list[str]) -> None:
    parent = issue(world.people["alice"], world.places["organization"], permissions=["scan:read", "keys:read"])
    with pytest.raises(PermissionNotGrantable):
        issue_with(parent, world.places["team"], permissions=wanted)
    assert issue_with(parent, world.places["team"], permissions=["scan:read"]).permissions == ["scan:read"]


def test_key_that_may_do_everything_hands_on_no_everything(world: World, issue: Issue) -> None:
    parent = issue(world.people["alice"], world.places["organization"], permissions=["*"])
    with pytest.raises(PermissionNotGrantable, match=r"hand on: \*\.$"):
        issue_with(parent, world.places["team"], permissions=["*"])
    assert issue_with(parent, world.places["team"], permissions=[*BUILT_IN.by_name]).permissions == sorted(
        BUILT_IN.by_name
    )


def test_key_hands_on_nothing_that_its_issuer_may_no_longer_grant(world: World, issue: Issue) -> None:
    parent = issue(world.people["bob"], world.places["project"], permissions=["keys:write", "scan:read"])
    change_team_role(world.people["bob"], Role.DEVELOPER)
    with pytest.raises(PermissionNotGrantable, match="keys:write"):
        issue_with(parent, world.places["project"], permissions=["keys:write", "scan:read"])


@pytest.mark.parametrize(("own", "other"), [("live", "test"), ("test", "live")])
def test_key_issues_keys_of_its_own_environment_only(world: World, issue: Issue, own: str, other: str) -> None:
    parent = issue(world.people["bob"], world.places["team"], permissions=["*"], environment=own)
    with pytest.raises(EnvironmentNotGrantable):
        issue_with(parent, world.places["team"], environment=other)
    assert issue_with(parent, world.places["team"], environment=own).environment == own


@pytest.mark.parametrize("expires_at", [None, later(days=10, seconds=1)])
def test_key_issues_none_that_outlives_it(world: World, issue: Issue, expires_at: datetime | None) -> None:
    parent = issue(world.people["bob"], world.places["team"], permissions=["*"], expires_at=later(days=10))
    with pytest.raises(ExpiryNotGrantable):
        issue_with(parent, world.places["team"], expires_at=expires_at)
    assert issue_with(parent, world.places["team"], expires_at=later(days=10)).expires_at == later(days=10)


def test_key_without_end_issues_others_without_end(world: World, issue: Issue) -> None:
    parent = issue(world.people["bob"], world.places["team"], permissions=["*"])
    assert issue_with(parent, world.places["team"], expires_at=None).expires_at is None


# What is issued


@pytest.mark.parametrize(
    ("place", "environment", "head"),
    [
        ("organization", "live", "kp_org_live_"),
        ("team", "live", "kp_sk_live_"),
        ("project", "test", "kp_sk_test_"),
    ],
)
def test_key_says_its_kind_and_environment(world: World, issue: Issue, place: str, environment: str, head: str) -> None:
    issued = issue(world.people["alice"], world.places[place], environment=environment)
    assert issued.text.startswith(head + issued.row.prefix + "_")
    assert issued.row.label == head + issued.row.prefix
    assert (issued.row.environment, issued.row.kind) == (environment, "secret")


def test_row_holds_what_was_asked_for(bob: Person, team: Team, issue: Issue) -> None:
    issue_id = uuid7()
    issued = issue(
        bob,
        team,
        name="  gitlab ci  ",
        permissions=["scan:read", "*", "scan:read", "keys:read"],
        expires_at=later(days=90),
        issue_id=issue_id,
    )
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.name, row.issue_id) == ("gitlab ci", issue_id)
    assert row.permissions == ["*", "keys:read", "scan:read"]
    assert (row.scope, row.team_id, row.project_id) == ("team", team.pk, None)
    assert (row.issuer_id, row.organization_id) == (bob.user.pk, team.organization_id)
    assert (row.created_at, row.expires_at) == (NOON, later(days=90))
    assert (row.revoked_at, row.disabled_at, row.exposed_at, row.last_used_at) == (None, None, None, None)
    assert hashing.check(issued.text, key_id=row.pk, digest=row.digest) is Check.MATCH


def test_two_keys_share_nothing(bob: Person, team: Team, issue: Issue) -> None:
    first, second = issue(bob, team), issue(bob, team)
    assert first.text != second.text
    assert first.row.prefix != second.row.prefix
    assert first.row.digest != second.row.digest


def test_issue_is_on_record_without_secret_and_digest(bob: Person, team: Team, issue: Issue) -> None:
    issued = issue(bob, team, permissions=["scan:read"], expires_at=later(days=30))
    label = issued.row.label
    assert rows_of(issued.row) == [Row("api_key.created", "create", label, "user", "bob@example.com")]
    assert newest_changes(issued.row.pk) == {
        "name": [None, "github-action-checkout-service"],
        "label": [None, label],
        "kind": [None, "secret"],
        "scope": [None, "team"],
        "environment": [None, "live"],
        "permissions": [None, ["scan:read"]],
        "organization_id": [None, str(team.organization_id)],
        "team_id": [None, str(team.pk)],
        "issuer_id": [None, str(bob.user.pk)],
        "allowed_origins": [None, []],
        "imported_from": [None, ""],
        "networks": [None, []],
        "expires_at": [None, "2026-04-01T12:00:00+00:00"],
        "revoke_reason": [None, ""],
    }


def test_issue_by_a_key_names_the_key_and_its_issuer(bob: Person, team: Team, issue: Issue) -> None:
    parent = issue(bob, team, permissions=["*"])
    with audit_context(actor=acting_as(parent).as_actor()):
        child = issue_with(parent, team)
    assert rows_of(child) == [Row("api_key.created", "create", child.label, "api_key", parent.row.label)]


def test_secret_is_in_no_repr_row_or_log(issued: Issued, logbook: Logbook) -> None:
    secret = issued.key.secret
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM apikeys_apikey")
        stored = repr(cursor.fetchall())
    shown = f"{issued.key!r} {issued.key} {issued.row!r} {issued.row} {vars(issued.row)}"
    for place in (stored, shown, everything_recorded(), logbook.text):
        assert secret not in place
        assert secret[:16] not in place
    for place in (everything_recorded(), logbook.text, repr(issued.row)):
        assert issued.row.digest not in place


def test_issue_saves_nothing_if_its_audit_row_fails(
    bob: Person, team: Team, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        issue(bob, team)
    assert ApiKey.objects.count() == 0


def test_issue_saves_nothing_if_argon2_cannot_run(
    bob: Person, team: Team, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(hashing, "hash_secret", fail)
    with pytest.raises(hashing.HashingUnavailable):
        issue(bob, team)
    assert ApiKey.objects.count() == 0


def test_argon2_runs_outside_of_any_transaction_of_the_action(
    bob: Person, team: Team, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    make_digest = hashing.make_digest

    def note(text: str) -> str:
        depths.append(len(connection.savepoint_ids))
        return make_digest(text)

    monkeypatch.setattr(hashing, "make_digest", note)
    before = len(connection.savepoint_ids)
    issue(bob, team)
    assert depths == [before]


def test_form_that_is_sent_twice_issues_once(bob: Person, team: Team, issue: Issue) -> None:
    issue_id = uuid7()
    first = issue(bob, team, issue_id=issue_id)
    with pytest.raises(KeyAlreadyIssued):
        issue(bob, team, issue_id=issue_id, name="again")
    assert [key.name for key in ApiKey.objects.all()] == [first.row.name]
    assert events_of(first.row) == ["api_key.created"]


def test_form_whose_other_request_was_quicker_issues_once(
    bob: Person, team: Team, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_id, mint = uuid7(), keyformat.mint

    def mint_late(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(keyformat, "mint", mint)
        issue(bob, team, issue_id=issue_id, name="the other request")
        return mint(*args, **kwargs)

    monkeypatch.setattr(keyformat, "mint", mint_late)
    with pytest.raises(KeyAlreadyIssued):
        issue(bob, team, issue_id=issue_id)
    assert [key.name for key in ApiKey.objects.all()] == ["the other request"]


def test_form_of_someone_else_is_another_form(bob: Person, dana: Person, project: Project, issue: Issue) -> None:
    issue_id = uuid7()
    issue(bob, project, issue_id=issue_id)
    issue(dana, project, issue_id=issue_id)
    assert ApiKey.objects.count() == 2


def test_key_that_no_form_asked_for_can_be_issued_any_number_of_times(bob: Person, team: Team, issue: Issue) -> None:
    issue(bob, team, issue_id=None)
    issue(bob, team, issue_id=None)
    assert ApiKey.objects.count() == 2


def test_prefix_that_exists_is_an_error_and_never_overwritten(
    bob: Person, team: Team, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = issue(bob, team)
    monkeypatch.setattr(keyformat, "mint", lambda *_, **__: first.key)
    with pytest.raises(IntegrityError):
        issue(bob, team)
    assert ApiKey.objects.get().pk == first.row.pk


@pytest.mark.parametrize("expires_at", [NOON, NOON - timedelta(days=1)])
def test_end_that_is_past_is_refused(bob: Person, team: Team, issue: Issue, expires_at: datetime) -> None:
    with pytest.raises(IntegrityError, match="api_key_expires_later"):
        issue(bob, team, expires_at=expires_at)
    assert ApiKey.objects.count() == 0


# Revoking


def revoke(person: Person, issued: Issued, reason: str = "") -> ApiKey:
    with audit_context(actor=person.principal.as_actor()):
        return revoke_key(principal=person.principal, api_key=issued.row, at=later(hours=1), reason=reason)


def test_revoke_ends_the_key_and_is_on_record(issued: Issued, bob: Person) -> None:
    revoked = revoke(bob, issued, reason=" left in a wiki ")
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert revoked == row
    assert (row.is_revoked, row.revoked_at, row.revoked_by_id) == (True, later(hours=1), bob.user.pk)
    assert row.revoke_reason == "left in a wiki"
    assert rows_of(row)[1:] == [Row("api_key.revoked", "update", row.label, "user", "bob@example.com")]
    assert newest_changes(row.pk) == {
        "revoked_at": [None, "2026-03-02T13:00:00+00:00"],
        "revoked_by_id": [None, str(bob.user.pk)],
        "revoke_reason": ["", "left in a wiki"],
    }


def test_revoke_twice_says_so_and_changes_nothing(issued: Issued, bob: Person, dana: Person) -> None:
    revoke(dana, issued, reason="first")
    with pytest.raises(KeyAlreadyRevoked):
        revoke(bob, issued, reason="second")
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.revoked_by_id, row.revoke_reason) == (dana.user.pk, "first")
    assert events_of(row) == ["api_key.created", "api_key.revoked"]


def test_revoke_reads_the_row_anew(issued: Issued, bob: Person) -> None:
    stale = ApiKey.objects.get(pk=issued.row.pk)
    revoke(bob, issued)
    assert not stale.is_revoked
    with pytest.raises(KeyAlreadyRevoked):
        revoke_key(principal=bob.principal, api_key=stale, at=later(hours=2))


def test_operator_revokes_without_a_person(issued: Issued) -> None:
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.revoked_at, row.revoked_by_id) == (NOON, None)
    assert rows_of(row)[1:] == [Row("api_key.revoked", "update", row.label, "system", "system")]


def test_reason_is_cut_to_what_the_column_holds(issued: Issued, bob: Person) -> None:
    assert revoke(bob, issued, reason="x" * 300).revoke_reason == "x" * 200


def test_revoke_saves_nothing_if_its_audit_row_fails(
    issued: Issued, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        revoke(bob, issued)
    assert not ApiKey.objects.get(pk=issued.row.pk).is_revoked


# The issuer and the place of a key, and who may end it.
MAY_REVOKE = {
    ("alice", "organization"): {"alice"},
    ("alice", "team"): {"alice", "bob"},
    ("bob", "team"): {"alice", "bob"},
    ("dana", "project"): {"alice", "bob", "dana"},
    ("bob", "project"): {"alice", "bob"},
    ("alice", "other team"): {"alice"},
    ("alice", "other project"): {"alice"},
    ("charlie", "their project"): {"charlie"},
    ("charlie", "their organization"): {"charlie"},
}


@pytest.mark.parametrize("who", sorted(MAY_ISSUE))
@pytest.mark.parametrize(("issuer", "place"), sorted(MAY_REVOKE))
def test_issuer_and_admins_revoke_and_nobody_else(
    world: World, issue: Issue, issuer: str, place: str, who: str
) -> None:
    issued = issue(world.people[issuer], world.places[place])
    may = who in MAY_REVOKE[issuer, place]
    assert may_revoke(world.people[who].principal, issued.row) is may
    if may:
        assert revoke(world.people[who], issued).is_revoked
    else:
        with pytest.raises(RevokeNotAllowed):
            revoke(world.people[who], issued)
        assert not ApiKey.objects.get(pk=issued.row.pk).is_revoked


def test_issuer_who_left_the_team_revokes_nothing(issued: Issued, dana: Person) -> None:
    leave_teams(dana)
    with pytest.raises(RevokeNotAllowed):
        revoke(dana, issued)


def test_key_revokes_what_its_issuer_may_inside_its_scope(
    issued: Issued, issue: Issue, bob: Person, team: Team, other_team: Team, alice: Person
) -> None:
    caller = acting_as(issue(bob, team, permissions=["*"]))
    elsewhere = issue(alice, other_team)
    with pytest.raises(RevokeNotAllowed):
        revoke_key(principal=caller, api_key=elsewhere.row, at=NOON)
    assert revoke_key(principal=caller, api_key=issued.row, at=NOON).revoked_by_id == bob.user.pk


# Disabling and exposure


def test_disable_is_on_record(issued: Issued, bob: Person) -> None:
    with audit_context(actor=bob.principal.as_actor()):
        disable_key(api_key=issued.row, at=later(hours=1))
    assert ApiKey.objects.get(pk=issued.row.pk).disabled_at == later(hours=1)
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [Row("api_key.disabled", "update", label, "user", "bob@example.com")]


def test_exposure_counts_the_first_time_only(issued: Issued) -> None:
    mark_exposed(key_id=issued.row.pk, at=NOON)
    mark_exposed(key_id=issued.row.pk, at=later(hours=1))
    assert ApiKey.objects.get(pk=issued.row.pk).exposed_at == NOON
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [Row("api_key.exposed", "update", label, "system", "system")]


@pytest.mark.parametrize("action", ["disable", "expose"])
def test_disable_and_exposure_save_nothing_if_their_audit_row_fails(
    issued: Issued, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> None:
        if action == "disable":
            disable_key(api_key=issued.row, at=NOON)
        else:
            mark_exposed(key_id=issued.row.pk, at=NOON)

    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        act()
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.disabled_at, row.exposed_at) == (None, None)


@pytest.mark.parametrize("column", ["exposed_at", "disabled_at"])
def test_revocation_gives_its_name_to_a_change_of_several_fields(issued: Issued, column: str) -> None:
    row = ApiKey.objects.get(pk=issued.row.pk)
    row.revoked_at = NOON
    setattr(row, column, NOON)
    with audit_context():
        _save(row, ["revoked_at", column])
    assert events_of(row)[-1] == "api_key.revoked"


def test_change_without_a_name_of_its_own_is_an_update(issued: Issued) -> None:
    row = ApiKey.objects.get(pk=issued.row.pk)
    row.name = "renamed"
    _save(row, ["name"])
    assert rows_of(row)[1:] == [Row("api_key.updated", "update", row.label, "system", "system")]
    assert newest_changes(row.pk) == {"name": ["github-action-checkout-service", "renamed"]}


def _save(row: ApiKey, fields: list[str]) -> None:
    with transaction.atomic():
        row.save(update_fields=fields)


def test_uses_and_upgraded_digests_are_no_changes(issued: Issued) -> None:
    use(issued.row)
    ApiKey.objects.upgrade_digest(issued.row.pk, old=issued.row.digest, new="$new")
    assert events_of(issued.row) == ["api_key.created"]


@pytest.mark.parametrize("place", ["organization", "team", "project"])
def test_audit_rows_of_a_key_name_its_place(world: World, issue: Issue, place: str) -> None:
    issued = issue(world.people["alice"], world.places[place])
    row = AuditEvent.objects.get(target_id=str(issued.row.pk))
    team, project = world.places["team"].pk, world.places["project"].pk
    expected: dict[str, tuple[UUID | None, UUID | None]] = {
        "organization": (None, None),
        "team": (team, None),
        "project": (team, project),
    }
    assert (row.organization_id, row.team_id, row.project_id) == (world.places["organization"].pk, *expected[place])
