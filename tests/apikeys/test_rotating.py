"""Rotation as an action: who may, what comes of it, and that nobody is left with nothing that works."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from pytest_django import Settings
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, Role, ServiceAccount, Team
from apikeys import hashing
from apikeys.actions import (
    EnvironmentNotGrantable,
    ExpiryNotGrantable,
    ExtensionNotPossible,
    KeyAlreadyIssued,
    KeyAlreadyRevoked,
    KeyChange,
    KeyNotActive,
    LimitsNotGrantable,
    NetworkNotGrantable,
    NotRotating,
    PermissionNotGrantable,
    PolicyForbids,
    RotationNotAllowed,
    ScopeNotAllowed,
    ServiceAccountNotUsable,
    SuccessorInUse,
    end_rotation,
    extend_rotation,
    hand_to_service_account,
    narrow_key,
    note_reappearance,
    revoke_key,
    settle_rotations,
)
from apikeys.actions.rotating import LEAKED, OUTGROWN
from apikeys.limits import Limits
from apikeys.models import ApiKey, ApiKeyQuerySet, Policy
from apikeys.verification import Outcome, verify
from audit.context import audit_context
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, everything_recorded, newest_changes
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import (
    acting_as,
    change_team_role,
    deactivate,
    demote,
    leave_organization,
    leave_teams,
)
from tests.apikeys.rotated import fresh, outcome, rotate
from tests.cast import NOON, Issued, Person, later, use

Issue = Callable[..., Issued]


def change(issued: Issued, **fields: Any) -> None:
    """Write into a key what no action of rotation does."""
    with transaction.atomic():
        row = fresh(issued)
        for name, value in fields.items():
            setattr(row, name, value)
        row.save(update_fields=list(fields))


# What comes of it


def test_successor_is_the_same_key_with_another_secret(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(
        bob,
        project,
        name="nightly",
        environment="test",
        permissions=["scan:read", "projects:read"],
        expires_at=later(days=90),
        networks=["203.0.113.0/24"],
        limits=Limits(per_second=5, per_day=1000),
    )
    successor = rotate(bob, issued, at=later(days=30))
    old, new = fresh(issued), fresh(successor)
    same = [
        "name",
        "kind",
        "scope",
        "environment",
        "permissions",
        "organization_id",
        "team_id",
        "project_id",
        "issuer_id",
        "service_account_id",
        "allowed_origins",
        "networks",
        "per_second",
        "per_minute",
        "per_day",
    ]
    assert {name: getattr(new, name) for name in same} == {name: getattr(old, name) for name in same}
    assert (new.predecessor_id, new.created_at, new.expires_at) == (old.pk, later(days=30), later(days=120))
    assert new.label != old.label
    assert new.label.rpartition("_")[0] == old.label.rpartition("_")[0] == "kp_sk_test"
    assert (old.rotated_at, old.settle_seconds, old.retires_at, old.settled_at, old.revoked_at) == (
        later(days=30),
        3600,
        later(days=37),
        None,
        None,
    )


def test_both_work_until_the_old_one_retires(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued, deadline=timedelta(minutes=1))
    almost = later(seconds=59.999)
    assert [outcome(key, almost) for key in (issued, successor)] == [Outcome.ACCEPTED] * 2
    assert [outcome(key, later(seconds=60)) for key in (issued, successor)] == [Outcome.KEY_RETIRED, Outcome.ACCEPTED]


def test_rotation_is_on_record_and_holds_no_secret(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    assert (events_of(issued.row), events_of(successor.row)) == (
        ["api_key.created", "api_key.rotated"],
        ["api_key.created"],
    )
    assert newest_changes(issued.row.pk) == {
        "rotated_at": [None, "2026-03-02T12:00:00+00:00"],
        "settle_seconds": [None, 3600],
        "retires_at": [None, "2026-03-09T12:00:00+00:00"],
    }
    assert successor.text not in everything_recorded()
    assert successor.key.secret not in everything_recorded()
    assert successor.key.secret not in repr(list(ApiKey.objects.values()))


def test_leaked_key_ends_now_and_its_reappearance_is_an_incident(issued: Issued, bob: Person) -> None:
    successor = rotate(bob, issued, reason="leaked")
    old = fresh(issued)
    assert (old.revoked_at, old.revoked_by_id, old.revoke_reason) == (NOON, bob.user.pk, LEAKED)
    assert (old.rotated_at, old.retires_at) == (NOON, NOON)
    assert [outcome(issued), outcome(successor)] == [Outcome.KEY_REVOKED, Outcome.ACCEPTED]
    assert events_of(issued.row) == ["api_key.created", "api_key.revoked"]
    note_reappearance(key_id=old.pk, at=later(hours=1))
    assert events_of(issued.row)[-1] == "api_key.retired_key_used"
    assert list(ApiKey.objects.needing_attention(at=later(hours=1))) == [successor.row]


def test_publishable_key_is_rotated_like_any_other(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=["https://app.example.com"])
    successor = fresh(rotate(dana, issued))
    assert successor.label.startswith("kp_pk_live_")
    assert (successor.kind, successor.allowed_origins) == ("publishable", ["https://app.example.com"])


def test_successor_of_a_publishable_key_gets_what_is_published_now(
    issue: Issue, dana: Person, project: Project, organization: Organization
) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[])
    publish(organization, "analysis:create")
    first = rotate(dana, issued)
    assert fresh(first).permissions == ["analysis:create"]
    publish(organization, "analysis:read")
    second = rotate(dana, issued)
    assert (fresh(second).permissions, fresh(first).revoke_reason) == (["analysis:read"], OUTGROWN)


def publish(organization: Organization, *names: str) -> None:
    with transaction.atomic():
        organization.permission_catalogue = {"publishable": list(names)}
        organization.save(update_fields=["permission_catalogue"])


def test_organization_key_is_rotated_by_a_super_admin(issue: Issue, alice: Person, organization: Organization) -> None:
    assert fresh(rotate(alice, issue(alice, organization))).label.startswith("kp_org_live_")


def test_old_key_never_retires_after_it_expires(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, expires_at=later(days=3))
    successor = rotate(dana, issued, at=later(days=1))
    assert (fresh(issued).retires_at, fresh(successor).expires_at) == (later(days=3), later(days=4))
    assert outcome(issued, later(days=3)) is Outcome.KEY_RETIRED


@pytest.mark.parametrize(
    ("policy", "given_days", "got_days"),
    [
        ({}, None, None),
        ({}, 90, 90),
        ({"max_lifetime": 30}, 90, 30),
        ({"max_lifetime": 30}, 7, 7),
        ({"max_lifetime": 30}, None, 30),
        ({"is_expiry_required": True}, None, 1825),
        ({"is_expiry_required": True, "max_lifetime": 60}, None, 60),
    ],
)
def test_successor_lives_as_long_as_the_policy_allows(
    issue: Issue,
    dana: Person,
    project: Project,
    organization: Organization,
    policy: dict[str, Any],
    given_days: int | None,
    got_days: int | None,
) -> None:
    issued = issue(dana, project, expires_at=later(days=given_days) if given_days else None)
    with transaction.atomic():
        Policy(organization=organization, **policy).save()
    expected = later(days=1) + timedelta(days=got_days) if got_days else None
    assert fresh(rotate(dana, issued, at=later(days=1))).expires_at == expected


def test_key_that_the_policy_forbids_gets_no_successor_and_works_on(
    issued: Issued, dana: Person, organization: Organization
) -> None:
    """A successor that is refused where the old key works would let that one retire with nothing in its place."""
    with transaction.atomic():
        Policy(organization=organization, never_together=[["projects:read"]]).save()
    with pytest.raises(PolicyForbids, match="projects:read"):
        rotate(dana, issued)
    assert (fresh(issued).rotated_at, outcome(issued)) == (None, Outcome.ACCEPTED)


# Asked again


def test_unused_successor_gets_another_secret_and_stays_the_same_key(issued: Issued, dana: Person) -> None:
    first = rotate(dana, issued)
    second = rotate(dana, issued, at=later(minutes=5))
    assert second.row.pk == first.row.pk
    assert [outcome(key, later(minutes=5)) for key in (issued, first, second)] == [
        Outcome.ACCEPTED,
        Outcome.INVALID_KEY,
        Outcome.ACCEPTED,
    ]
    assert events_of(second.row) == ["api_key.created", "api_key.secret_replaced"]
    assert newest_changes(second.row.pk) == {"label": [first.row.label, second.row.label]}
    assert ApiKey.objects.count() == 2


def test_replaced_secret_gives_the_old_key_its_time_anew(issued: Issued, dana: Person) -> None:
    """Who asks again because the answer was lost has as long as the first time, but no more than 30 days in all."""
    rotate(dana, issued)
    rotate(dana, issued, at=later(days=6.9))
    old = fresh(issued)
    assert (old.rotated_at, old.retires_at) == (NOON, later(days=13.9))
    rotate(dana, issued, at=later(days=13), deadline=timedelta(days=30))
    assert fresh(issued).retires_at == later(days=30)
    rotate(dana, issued, at=later(days=29.9), deadline=timedelta(minutes=1))
    assert fresh(issued).retires_at == later(days=30)
    assert events_of(issued.row)[1:] == [
        "api_key.rotated",
        "api_key.retirement_moved",
        "api_key.retirement_moved",
    ]


@pytest.mark.parametrize("changes", [{}, {"idempotency_key": "build-7"}, {"reason": "leaked"}])
def test_used_successor_is_never_replaced(issued: Issued, dana: Person, changes: dict[str, Any]) -> None:
    successor = rotate(dana, issued, idempotency_key="build-7")
    assert outcome(successor) is Outcome.ACCEPTED
    with pytest.raises(SuccessorInUse, match="Rotate the successor instead"):
        rotate(dana, issued, **changes)
    assert [outcome(key) for key in (issued, successor)] == [Outcome.ACCEPTED] * 2
    assert outcome(rotate(dana, successor)) is Outcome.ACCEPTED


def test_successor_that_was_rotated_itself_is_not_replaced(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    newest = rotate(dana, successor)
    with pytest.raises(SuccessorInUse):
        rotate(dana, issued)
    assert [outcome(key) for key in (issued, successor, newest)] == [Outcome.ACCEPTED] * 3


def test_disabled_successor_is_left_alone(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    change(successor, disabled_at=NOON)
    with pytest.raises(KeyNotActive, match="Its successor is disabled"):
        rotate(dana, issued)


def test_revoked_successor_makes_room_for_another(issued: Issued, dana: Person) -> None:
    """Or its predecessor could never be rotated again, and would retire with nothing in its place."""
    first = rotate(dana, issued, idempotency_key="build-7")
    outcome(first)
    settle_rotations([first.row.pk], at=NOON)
    revoke_key(principal=dana.principal, api_key=first.row, at=NOON)
    second = rotate(dana, issued, at=later(minutes=30), idempotency_key="build-7")
    old = fresh(issued)
    assert (old.rotated_at, old.retires_at, old.settled_at) == (later(minutes=30), later(days=7, minutes=30), None)
    assert (fresh(first).predecessor_id, fresh(second).predecessor_id) == (None, old.pk)
    assert newest_changes(first.row.pk) == {"predecessor_id": [str(old.pk), None]}
    assert outcome(second, later(minutes=30)) is Outcome.ACCEPTED


def test_lost_answer_of_a_leaked_rotation_is_had_again_by_its_name_alone(issued: Issued, bob: Person) -> None:
    first = rotate(bob, issued, reason="leaked", idempotency_key="incident-9")
    for changes in ({}, {"idempotency_key": "another"}, {"form_id": uuid7()}):
        with pytest.raises(KeyNotActive, match="The key is revoked"):
            rotate(bob, issued, reason="leaked", **changes)
    with pytest.raises(KeyNotActive):
        rotate(bob, issued, idempotency_key="incident-9")
    second = rotate(bob, issued, reason="leaked", idempotency_key="incident-9", at=later(minutes=1))
    assert second.row.pk == first.row.pk
    assert [outcome(key) for key in (issued, first, second)] == [
        Outcome.KEY_REVOKED,
        Outcome.INVALID_KEY,
        Outcome.ACCEPTED,
    ]
    assert (fresh(issued).revoked_at, fresh(issued).retires_at) == (NOON, NOON)
    with pytest.raises(SuccessorInUse):
        rotate(bob, issued, reason="leaked", idempotency_key="incident-9")


def test_nothing_is_had_again_of_a_leaked_rotation_whose_successor_has_ended(issued: Issued, bob: Person) -> None:
    successor = rotate(bob, issued, reason="leaked", idempotency_key="incident-9")
    revoke_key(principal=bob.principal, api_key=successor.row, at=NOON)
    with pytest.raises(KeyNotActive):
        rotate(bob, issued, reason="leaked", idempotency_key="incident-9")


def test_key_that_is_rotating_can_still_turn_out_to_have_leaked(issued: Issued, dana: Person) -> None:
    first = rotate(dana, issued, settle_seconds=60)
    second = rotate(dana, issued, reason="leaked", at=later(hours=1))
    assert second.row.pk == first.row.pk
    old = fresh(issued)
    assert (old.rotated_at, old.settle_seconds) == (NOON, 60)
    assert (old.revoked_at, old.retires_at) == (later(hours=1), later(hours=1))
    assert [outcome(key, later(hours=1)) for key in (issued, first, second)] == [
        Outcome.KEY_REVOKED,
        Outcome.INVALID_KEY,
        Outcome.ACCEPTED,
    ]


def test_form_sent_twice_shows_no_key_that_is_replaced(issued: Issued, dana: Person) -> None:
    form_id = uuid7()
    successor = rotate(dana, issued, form_id=form_id)
    with pytest.raises(KeyAlreadyIssued):
        rotate(dana, issued, form_id=form_id)
    assert outcome(successor) is Outcome.ACCEPTED


def test_one_name_for_two_keys_is_two_requests(issue: Issue, dana: Person, project: Project) -> None:
    form_id = uuid7()
    first, second = (issue(dana, project, name=name) for name in ("one", "two"))
    both = [rotate(dana, key, form_id=form_id) for key in (first, second)]
    assert [outcome(key) for key in both] == [Outcome.ACCEPTED] * 2


# Asked again, after the old key has changed


def narrow(by: Person, issued: Issued, **wanted: Any) -> None:
    with audit_context(actor=by.principal.as_actor(), at=NOON):
        narrow_key(principal=by.principal, api_key=issued.row, at=NOON, change=KeyChange(**wanted))
    hashing.forget_all()


@pytest.fixture
def wide(issue: Issue, bob: Person, team: Team) -> Issued:
    permissions = ["deployments:write", "keys:read", "keys:rotate_self"]
    networks = ["203.0.113.0/24", "2001:db8::/32"]
    return issue(
        bob, team, permissions=permissions, networks=networks, expires_at=later(days=300), limits=Limits(per_day=9)
    )


@pytest.mark.parametrize(
    "narrower",
    [
        {"permissions": ["keys:read", "keys:rotate_self"]},
        {"networks": ["203.0.113.0/25"]},
        {"expires_at": later(days=2)},
        {"limits": Limits(per_minute=3, per_day=9)},
        {"limits": Limits(per_day=8)},
    ],
)
@pytest.mark.parametrize("is_itself", [True, False])
def test_unused_successor_of_a_key_that_was_narrowed_gives_way_to_one_like_it(
    wide: Issued, bob: Person, narrower: dict[str, Any], is_itself: bool
) -> None:
    """Or what was taken from the old key could be had from its successor all the same."""
    first = rotate(bob, wide, idempotency_key="build-7")
    narrow(bob, wide, **narrower)
    found = verify(wide.text, at=NOON, source="203.0.113.7").key
    assert found is not None
    second = rotate(found.principal if is_itself else bob, wide, idempotency_key="build-7")
    old, ended, new = fresh(wide), fresh(first), fresh(second)
    same = ["permissions", "networks", "per_second", "per_minute", "per_day", "expires_at", "issuer_id"]
    assert {name: getattr(new, name) for name in same} == {name: getattr(old, name) for name in same}
    assert (new.pk == ended.pk, new.predecessor_id, ended.predecessor_id) == (False, old.pk, None)
    assert (ended.revoked_at, ended.revoked_by_id, ended.revoke_reason) == (NOON, bob.user.pk, OUTGROWN)
    assert events_of(ended) == ["api_key.created", "api_key.revoked"]
    came = [outcome(key, source="203.0.113.7") for key in (wide, first, second)]
    assert came == [Outcome.ACCEPTED, Outcome.KEY_REVOKED, Outcome.ACCEPTED]


def test_narrowed_key_without_networks_or_an_end_is_outgrown_too(issued: Issued, dana: Person) -> None:
    first = rotate(dana, issued)
    narrow(dana, issued, networks=["203.0.113.0/24"])
    second = rotate(dana, issued)
    narrow(dana, issued, expires_at=later(days=9))
    third = rotate(dana, issued)
    assert [fresh(key).revoke_reason for key in (first, second, third)] == [OUTGROWN, OUTGROWN, ""]
    assert (fresh(third).networks, fresh(third).expires_at) == (["203.0.113.0/24"], later(days=9))


def test_page_that_was_taken_from_a_key_does_not_get_its_successor(
    issue: Issue, dana: Person, project: Project
) -> None:
    pages = ["https://app.example.com", "https://old.example.com"]
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=pages)
    rotate(dana, issued)
    narrow(dana, issued, allowed_origins=pages[:1])
    assert fresh(rotate(dana, issued)).allowed_origins == pages[:1]


def test_successor_that_was_narrowed_itself_stays_what_it_is(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["*"])
    first = rotate(dana, issued)
    narrow(dana, first, permissions=["projects:read"], expires_at=later(days=9), networks=["203.0.113.0/24"])
    second = rotate(dana, issued)
    assert (second.row.pk, fresh(second).permissions) == (first.row.pk, ["projects:read"])


def test_successor_is_not_outgrown_by_a_clock_that_is_behind(wide: Issued, bob: Person) -> None:
    """Of two requests at once, the later one may have come first, or by another host."""
    first = rotate(bob, wide, at=later(seconds=1))
    assert rotate(bob, wide, at=NOON).row.pk == first.row.pk


def test_narrowed_key_gives_no_other_key_what_that_one_could_not_grant(
    issue: Issue, bob: Person, team: Team, wide: Issued
) -> None:
    rotate(bob, wide)
    narrow(bob, wide, permissions=["keys:read"])
    other = issue(bob, team, permissions=["keys:read", "keys:write"], networks=["203.0.113.0/24", "2001:db8::/32"])
    found = verify(other.text, at=NOON, source="203.0.113.7").key
    assert found is not None
    assert fresh(rotate(found.principal, wide)).permissions == ["keys:read"]


def test_unused_successor_of_a_key_that_was_handed_over_stays_with_nobody(
    issue: Issue, alice: Person, bob: Person, team: Team, account: ServiceAccount
) -> None:
    issued = issue(alice, team, permissions=["org:write", "projects:read"])
    first = rotate(alice, issued)
    with audit_context(actor=alice.principal.as_actor(), at=NOON):
        hand_to_service_account(principal=alice.principal, api_key=issued.row, service_account=account, at=NOON)
    second = rotate(bob, issued)
    assert fresh(second).service_account_id == account.pk
    assert [outcome(key) for key in (first, second)] == [Outcome.KEY_REVOKED, Outcome.ACCEPTED]


def test_unused_successor_of_a_key_whose_issuer_left_gives_way_to_one_that_works(
    issue: Issue, bob: Person, dana: Person, project: Project
) -> None:
    issued = issue(dana, project)
    first = rotate(dana, issued)
    leave_organization(dana)
    second = rotate(bob, issued)
    third = rotate(bob, issued)
    assert (third.row.pk, fresh(third).issuer_id) == (second.row.pk, bob.user.pk)
    assert [outcome(key) for key in (first, third)] == [Outcome.KEY_REVOKED, Outcome.ACCEPTED]


def test_lost_answer_of_a_leaked_rotation_is_had_again_though_the_issuer_has_left(
    issued: Issued, bob: Person, dana: Person
) -> None:
    first = rotate(dana, issued, reason="leaked", idempotency_key="incident-9")
    leave_organization(dana)
    second, third = (rotate(bob, issued, reason="leaked", idempotency_key="incident-9") for _ in range(2))
    assert (second.row.pk == first.row.pk, third.row.pk) == (False, second.row.pk)
    assert [outcome(key) for key in (issued, first, second, third)] == [
        Outcome.KEY_REVOKED,
        Outcome.KEY_REVOKED,
        Outcome.INVALID_KEY,
        Outcome.ACCEPTED,
    ]


def test_outgrown_successor_is_left_as_it_is_if_an_audit_row_fails(
    wide: Issued, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(bob, wide)
    narrow(bob, wide, permissions=["keys:read"])
    before = list(ApiKey.objects.order_by("pk").values())
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        rotate(bob, wide)
    assert list(ApiKey.objects.order_by("pk").values()) == before


# What cannot be rotated


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"revoked_at": NOON}, "revoked"),
        ({"disabled_at": NOON}, "disabled"),
        ({"expires_at": later(seconds=1)}, "expired"),
        ({"rotated_at": NOON, "retires_at": later(seconds=1), "settle_seconds": 0}, "retired"),
    ],
)
@pytest.mark.parametrize("reason", ["routine", "leaked"])
def test_key_that_does_not_work_is_not_rotated(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], state: str, reason: str
) -> None:
    change(issued, **fields)
    # Nobody who is refused costs a run of argon2.
    monkeypatch.delattr(hashing, "make_digest")
    with pytest.raises(KeyNotActive, match=f"The key is {state}"):
        rotate(dana, issued, at=later(seconds=1), reason=reason)
    assert ApiKey.objects.count() == 1


def test_revoking_the_old_key_leaves_its_successor(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    assert [outcome(issued), outcome(successor)] == [Outcome.KEY_REVOKED, Outcome.ACCEPTED]


def test_leaked_key_is_not_revoked_twice(issued: Issued, dana: Person) -> None:
    rotate(dana, issued, reason="leaked")
    with pytest.raises(KeyAlreadyRevoked):
        revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("reason", ["routine", "leaked"])
def test_rotation_saves_nothing_if_an_audit_row_fails(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch, reason: str, again: bool
) -> None:
    if again:
        rotate(dana, issued)
    before = list(ApiKey.objects.order_by("pk").values())
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        rotate(dana, issued, reason=reason, at=later(hours=1))
    assert list(ApiKey.objects.order_by("pk").values()) == before


def test_no_argon2_runs_in_the_transaction(issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    depths = []
    make_digest = hashing.make_digest

    def watched(text: str) -> str:
        depths.append(len(transaction.get_connection().savepoint_ids))
        return make_digest(text)

    outside = len(transaction.get_connection().savepoint_ids)
    monkeypatch.setattr(hashing, "make_digest", watched)
    rotate(dana, issued)
    assert depths == [outside]


# Who may


def test_colleague_without_rank_and_stranger_may_not(
    issue: Issue, bob: Person, dana: Person, charlie: Person, project: Project
) -> None:
    issued = issue(bob, project)
    for person in (dana, charlie):
        with pytest.raises(RotationNotAllowed):
            rotate(person, issued)


def test_admin_rotates_for_others_and_the_issuer_stays(issued: Issued, bob: Person, dana: Person) -> None:
    assert fresh(rotate(bob, issued)).issuer_id == dana.user.pk


def test_admin_does_not_rotate_a_key_that_acts_with_a_greater_role(
    issue: Issue, alice: Person, bob: Person, team: Team
) -> None:
    issued = issue(alice, team, permissions=["*"])
    with pytest.raises(RotationNotAllowed):
        rotate(bob, issued)
    assert fresh(rotate(alice, issued)).issuer_id == alice.user.pk


def test_issuer_who_was_demoted_gains_nothing(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, permissions=["keys:write", "scan:read"])
    change_team_role(bob, Role.DEVELOPER)
    successor = rotate(bob, issued)
    assert acting_as(successor).permissions == acting_as(issued).permissions == frozenset({"scan:read"})


def test_issuer_who_may_issue_no_such_key_any_more_gets_no_successor(
    issue: Issue, alice: Person, bob: Person, team: Team
) -> None:
    issued = issue(bob, team, permissions=["scan:read"])
    change_team_role(bob, Role.DEVELOPER)
    for person in (alice, bob):
        with pytest.raises(ScopeNotAllowed):
            rotate(person, issued)
    assert (fresh(issued).rotated_at, outcome(issued)) == (None, Outcome.ACCEPTED)


@pytest.fixture
def only_super_admins(organization: Organization) -> Callable[[], None]:
    def lay_down() -> None:
        with transaction.atomic():
            Policy(organization=organization, project_issuers="super_admin").save()

    return lay_down


def test_who_may_issue_decides_who_stands_behind_a_new_successor(
    issue: Issue, alice: Person, dana: Person, project: Project, only_super_admins: Callable[[], None]
) -> None:
    """Or a key would live on from rotation to rotation though nobody could issue it any more."""
    issued = issue(dana, project, permissions=["keys:rotate_self"], expires_at=later(days=30))
    theirs = issue(alice, project)
    only_super_admins()
    for caller in (dana, alice, acting_as(issued)):
        with pytest.raises(ScopeNotAllowed, match="The role behind this key"):
            rotate(caller, issued)
    assert outcome(rotate(alice, theirs)) is Outcome.ACCEPTED


def test_who_takes_over_a_key_must_be_able_to_issue_it(
    issue: Issue, alice: Person, bob: Person, dana: Person, project: Project, only_super_admins: Callable[[], None]
) -> None:
    issued = issue(dana, project, permissions=["scan:read"])
    leave_organization(dana)
    only_super_admins()
    with pytest.raises(ScopeNotAllowed):
        rotate(bob, issued)
    assert outcome(rotate(alice, issued)) is Outcome.ACCEPTED


def test_secret_of_a_successor_from_before_a_policy_can_be_had_again(
    issued: Issued, dana: Person, only_super_admins: Callable[[], None]
) -> None:
    first = rotate(dana, issued)
    only_super_admins()
    assert rotate(dana, issued).row.pk == first.row.pk


def test_who_left_the_team_may_not(issued: Issued, dana: Person) -> None:
    leave_teams(dana)
    with pytest.raises(RotationNotAllowed):
        rotate(dana, issued)


def test_demoted_super_admin_does_not_rotate_an_organization_key(
    issue: Issue, alice: Person, organization: Organization
) -> None:
    issued = issue(alice, organization)
    demote(alice)
    with pytest.raises(RotationNotAllowed):
        rotate(alice, issued)


@pytest.mark.parametrize("leave", [leave_teams, leave_organization, deactivate])
def test_who_rotates_the_key_of_someone_gone_stands_behind_its_successor(
    issue: Issue, alice: Person, bob: Person, project: Project, leave: Callable[[Person], None]
) -> None:
    issued = issue(bob, project, permissions=["deployments:write"])
    leave(bob)
    assert outcome(issued) is Outcome.ISSUER_GONE
    successor = rotate(alice, issued)
    assert fresh(successor).issuer_id == alice.user.pk
    assert outcome(successor) is Outcome.ACCEPTED


def test_who_takes_over_a_key_must_be_able_to_grant_it(issue: Issue, alice: Person, bob: Person, team: Team) -> None:
    issued = issue(alice, team, permissions=["org:read"])
    leave_organization(alice)
    with pytest.raises(PermissionNotGrantable, match="org:read"):
        rotate(bob, issued)


def test_everything_of_someone_gone_does_not_become_everything_of_someone_else(
    issue: Issue, alice: Person, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, permissions=["*"])
    leave_organization(dana)
    with pytest.raises(RotationNotAllowed, match="has left"):
        rotate(alice, issued)


@pytest.fixture
def account(team: Team, bob: Person) -> ServiceAccount:
    with transaction.atomic():
        account = ServiceAccount(team=team, name="ci", role=Role.TEAM_ADMIN, steward=bob.user, created_at=NOON)
        account.save()
    return account


def test_key_of_a_service_account_outlives_its_issuer(
    issue: Issue, alice: Person, bob: Person, dana: Person, team: Team, account: ServiceAccount
) -> None:
    issued = issue(alice, team, service_account=account)
    leave_organization(alice)
    with transaction.atomic():
        # It says which people issue keys.
        Policy(organization=team.organization, team_issuers="super_admin").save()
    successor = fresh(rotate(bob, issued))
    assert (successor.issuer_id, successor.service_account_id) == (alice.user.pk, account.pk)
    with pytest.raises(RotationNotAllowed):
        rotate(dana, issued)


@pytest.mark.parametrize("is_stopped", [True, False])
def test_no_new_key_for_an_account_that_was_stopped_or_has_no_steward(
    issue: Issue, alice: Person, bob: Person, team: Team, account: ServiceAccount, is_stopped: bool
) -> None:
    issued = issue(bob, team, service_account=account)
    if is_stopped:
        with transaction.atomic():
            account.stopped_at = NOON
            account.save(update_fields=["stopped_at"])
    else:
        leave_teams(bob)
    with pytest.raises(ServiceAccountNotUsable):
        rotate(alice, issued)


# Keys that rotate


def test_key_rotates_itself_though_it_could_not_grant_itself(issue: Issue, bob: Person, team: Team) -> None:
    issued = issue(bob, team, permissions=["*"], expires_at=later(days=90))
    successor = rotate(acting_as(issued), issued, at=later(days=60))
    assert (successor.row.permissions, successor.row.expires_at) == (["*"], later(days=150))


def test_key_never_ends_itself(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["keys:rotate_self"])
    with pytest.raises(RotationNotAllowed, match="nothing would work any more"):
        rotate(acting_as(issued), issued, reason="leaked")
    assert outcome(issued) is Outcome.ACCEPTED


def test_key_without_the_permission_gets_itself_only_as_any_other(issue: Issue, bob: Person, team: Team) -> None:
    issued = issue(bob, team, permissions=["keys:write"], expires_at=later(days=90))
    with pytest.raises(ExpiryNotGrantable):
        rotate(acting_as(issued), issued, at=later(days=60))
    assert rotate(acting_as(issued), issued).row.expires_at == later(days=90)


@pytest.mark.parametrize(
    ("of_caller", "of_other", "refusal"),
    [
        ({}, {"permissions": ["deployments:write"]}, PermissionNotGrantable),
        ({}, {"permissions": ["*"]}, PermissionNotGrantable),
        ({"permissions": ["*"]}, {"permissions": ["*"]}, PermissionNotGrantable),
        ({"expires_at": later(days=30)}, {"permissions": ["keys:write"]}, ExpiryNotGrantable),
        ({"environment": "test"}, {"permissions": ["keys:write"]}, EnvironmentNotGrantable),
        ({"networks": ["192.0.2.0/24"]}, {"permissions": ["keys:write"]}, NetworkNotGrantable),
        ({"limits": Limits(per_day=9)}, {"permissions": ["keys:write"]}, LimitsNotGrantable),
    ],
)
def test_key_gets_hold_of_no_more_than_it_could_grant(
    issue: Issue, bob: Person, team: Team, of_caller: Any, of_other: Any, refusal: type[Exception]
) -> None:
    caller = issue(bob, team, **({"permissions": ["keys:write"]} | of_caller))
    found = verify(caller.text, at=NOON, source="192.0.2.7").key
    assert found is not None
    with pytest.raises(refusal):
        rotate(found.principal, issue(bob, team, **of_other))


def test_key_rotates_one_that_it_could_have_issued(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    caller = issue(bob, project, permissions=["keys:write", "scan:read"])
    other = issue(dana, project, permissions=["scan:read"])
    assert fresh(rotate(acting_as(caller), other)).issuer_id == dana.user.pk


def test_project_key_does_not_rotate_what_is_outside_its_project(
    issue: Issue, bob: Person, project: Project, team: Team
) -> None:
    caller = issue(bob, project, permissions=["keys:write", "scan:read"])
    with pytest.raises(RotationNotAllowed):
        rotate(acting_as(caller), issue(bob, team, permissions=["scan:read"]))


def test_key_of_a_service_account_takes_over_no_persons_key(
    issue: Issue, alice: Person, bob: Person, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    caller = issue(bob, team, service_account=account, permissions=["keys:write", "scan:read"])
    other = issue(dana, project, permissions=["scan:read"])
    leave_organization(dana)
    with pytest.raises(RotationNotAllowed, match="has left"):
        rotate(acting_as(caller), other)


def test_key_whose_issuer_has_no_role_any_more_does_not_rotate_itself_as_any_other(
    issue: Issue, alice: Person, organization: Organization
) -> None:
    issued = issue(alice, organization)
    demote(alice)
    with pytest.raises(RotationNotAllowed):
        rotate(acting_as(issued), issued)


# Once the successor is used


@pytest.mark.parametrize(("settle_seconds", "retires_at"), [(3600, later(hours=2)), (0, later(hours=1))])
def test_old_key_retires_soon_after_the_first_use_of_its_successor(
    issued: Issued, dana: Person, settle_seconds: int, retires_at: Any
) -> None:
    successor = rotate(dana, issued, settle_seconds=settle_seconds)
    outcome(successor, later(hours=1))
    assert settle_rotations([successor.row.pk], at=later(hours=1)) == 1
    old = fresh(issued)
    assert (old.settled_at, old.retires_at) == (later(hours=1), retires_at)
    assert events_of(issued.row)[-1] == "api_key.settled"
    assert (
        outcome(issued, retires_at - timedelta(seconds=1) if settle_seconds else later(minutes=59)) is Outcome.ACCEPTED
    )
    assert outcome(issued, retires_at) is Outcome.KEY_RETIRED


def test_settling_never_moves_the_deadline_back(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued, deadline=timedelta(minutes=30))
    use(successor.row)
    settle_rotations([successor.row.pk], at=NOON)
    assert fresh(issued).retires_at == later(minutes=30)


def test_rotation_settles_once(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    use(successor.row)
    assert [settle_rotations([successor.row.pk], at=later(minutes=n)) for n in range(3)] == [1, 0, 0]
    assert events_of(issued.row).count("api_key.settled") == 1


def test_rotation_does_not_settle_before_the_successor_is_used(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    assert settle_rotations([successor.row.pk, issued.row.pk], at=NOON) == 0


@pytest.mark.parametrize("fields", [{"revoked_at": NOON}, {"retires_at": NOON}, {"expires_at": later(seconds=1)}])
def test_key_that_has_ended_does_not_settle(issued: Issued, dana: Person, fields: dict[str, Any]) -> None:
    successor = rotate(dana, issued)
    use(successor.row)
    change(issued, **fields)
    assert settle_rotations([successor.row.pk], at=later(seconds=1)) == 0
    assert fresh(issued).settled_at is None


def test_settling_saves_nothing_if_its_audit_row_fails_and_is_made_up_for(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    successor = rotate(dana, issued)
    use(successor.row)
    with monkeypatch.context() as patch:
        break_the_audit_log(patch)
        with pytest.raises(LogIsFull):
            settle_rotations([successor.row.pk], at=NOON)
    assert fresh(issued).settled_at is None
    assert settle_rotations([successor.row.pk], at=later(hours=5)) == 1
    assert fresh(issued).retires_at == later(hours=6)


def test_settling_asks_once_for_a_whole_batch(
    issue: Issue, dana: Person, project: Project, django_assert_num_queries: Callable[[int], Any]
) -> None:
    keys = [issue(dana, project, name=f"key {number}") for number in range(3)]
    with django_assert_num_queries(1):
        assert settle_rotations([key.row.pk for key in keys], at=NOON) == 0


# First use, as verification notes it


def test_first_use_is_noted_before_the_answer(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    assert outcome(successor, later(minutes=2), source="192.0.2.1") is Outcome.ACCEPTED
    row = fresh(successor)
    assert (row.last_used_at, row.last_used_ip) == (later(minutes=2), "192.0.2.1")


def test_secret_replaced_between_reading_and_noting_is_refused(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rotate(dana, issued)
    mark = ApiKeyQuerySet.mark_first_use

    def replaced_just_now(self: ApiKeyQuerySet, *args: Any, **options: Any) -> bool:
        monkeypatch.undo()
        rotate(dana, issued)
        return mark(self, *args, **options)

    monkeypatch.setattr(ApiKeyQuerySet, "mark_first_use", replaced_just_now)
    assert outcome(first) is Outcome.INVALID_KEY
    assert fresh(first).last_used_at is None


def test_successor_that_was_revoked_for_another_between_reading_and_noting_is_refused(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rotate(dana, issued)
    mark = ApiKeyQuerySet.mark_first_use

    def outgrown_just_now(self: ApiKeyQuerySet, *args: Any, **options: Any) -> bool:
        monkeypatch.undo()
        narrow(dana, issued, networks=["203.0.113.0/24"])
        rotate(dana, issued)
        return mark(self, *args, **options)

    monkeypatch.setattr(ApiKeyQuerySet, "mark_first_use", outgrown_just_now)
    assert outcome(first) is Outcome.INVALID_KEY
    assert fresh(first).last_used_at is None


def test_first_use_that_someone_else_notes_too_is_accepted(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have made the digest costlier meanwhile: the text is still the same."""
    successor = rotate(dana, issued)
    mark = ApiKeyQuerySet.mark_first_use

    def used_just_now(self: ApiKeyQuerySet, *args: Any, **options: Any) -> bool:
        ApiKey.objects.filter(pk=successor.row.pk).update(last_used_at=NOON, digest=hashing.make_digest(successor.text))
        return mark(self, *args, **options)

    monkeypatch.setattr(ApiKeyQuerySet, "mark_first_use", used_just_now)
    assert outcome(successor) is Outcome.ACCEPTED


def test_first_use_counts_also_where_the_digest_has_become_too_cheap(
    issued: Issued, dana: Person, settings: Settings
) -> None:
    successor = rotate(dana, issued)
    settings.KEYPORTAL_ARGON2 = settings.KEYPORTAL_ARGON2 | {"time": 2}
    assert outcome(successor) is Outcome.ACCEPTED
    assert "t=2" in fresh(successor).digest
    assert fresh(successor).last_used_at == NOON


def test_key_whose_first_use_cannot_be_noted_is_not_let_in(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    """Or a retry could replace what its client believes to work."""
    successor = rotate(dana, issued)

    def fail(*_: Any, **__: Any) -> bool:
        raise OperationalError("database is locked")

    monkeypatch.setattr(ApiKeyQuerySet, "mark_first_use", fail)
    assert outcome(successor) is Outcome.UNAVAILABLE
    assert "verification.first_use_not_noted" in logbook.text
    monkeypatch.undo()
    assert outcome(successor) is Outcome.ACCEPTED


# Ending and extending


def test_rotation_is_ended_by_its_owner(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    with audit_context(actor=dana.principal.as_actor(), at=later(hours=1)):
        end_rotation(principal=dana.principal, api_key=issued.row, at=later(hours=1))
    assert [outcome(key, later(hours=1)) for key in (issued, successor)] == [Outcome.KEY_RETIRED, Outcome.ACCEPTED]
    assert newest_changes(issued.row.pk) == {"retires_at": ["2026-03-09T12:00:00+00:00", "2026-03-02T13:00:00+00:00"]}
    assert events_of(issued.row)[-1] == "api_key.retirement_moved"
    for act in (end, extend):
        with pytest.raises(NotRotating):
            act(dana, issued, at=later(hours=1))


def end(person: Person, issued: Issued, *, at: Any = NOON) -> None:
    end_rotation(principal=person.principal, api_key=issued.row, at=at)


def extend(person: Person, issued: Issued, *, until: Any = None, at: Any = NOON) -> None:
    extend_rotation(principal=person.principal, api_key=issued.row, until=until or later(days=20), at=at)


def test_extension_holds_also_where_the_successor_is_used_later(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    extend(dana, issued, until=later(days=20, seconds=0.5))
    use(successor.row)
    settle_rotations([successor.row.pk], at=NOON)
    assert fresh(issued).retires_at == later(days=20, seconds=0.5)


def test_extension_holds_also_where_the_successor_was_used_before(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    use(successor.row)
    settle_rotations([successor.row.pk], at=NOON)
    extend(dana, issued)
    assert settle_rotations([successor.row.pk], at=NOON) == 0
    assert fresh(issued).retires_at == later(days=20)


@pytest.mark.parametrize("until", [later(days=-1), later(days=7), later(days=30, seconds=1)])
def test_extension_is_later_than_now_and_within_30_days(issued: Issued, dana: Person, until: Any) -> None:
    rotate(dana, issued)
    with pytest.raises(ExtensionNotPossible, match="after 2026-03-09 12:00 and no later than 2026-04-01 12:00 UTC"):
        extend(dana, issued, until=until)
    extend(dana, issued, until=later(days=30))


def test_extension_does_not_go_past_the_expiry(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, expires_at=later(days=10))
    rotate(dana, issued)
    with pytest.raises(ExtensionNotPossible):
        extend(dana, issued, until=later(days=10, seconds=1))
    extend(dana, issued, until=later(days=10))


@pytest.mark.parametrize("act", [end, extend])
def test_only_who_may_revoke_a_key_decides_when_it_retires(
    issue: Issue, bob: Person, dana: Person, charlie: Person, project: Project, act: Callable[..., None]
) -> None:
    issued = issue(bob, project, permissions=["keys:write"])
    with pytest.raises(NotRotating):
        act(bob, issued)
    rotate(bob, issued)
    for person in (dana, charlie):
        with pytest.raises(RotationNotAllowed):
            act(person, issued)
    act(bob, issued)


def test_key_does_not_keep_itself_alive(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, permissions=["keys:write"])
    rotate(bob, issued)
    with pytest.raises(RotationNotAllowed):
        extend_rotation(principal=acting_as(issued), api_key=issued.row, until=later(days=20), at=NOON)


@pytest.mark.parametrize("act", [end, extend])
def test_ending_and_extending_save_nothing_if_the_audit_row_fails(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch, act: Callable[..., None]
) -> None:
    rotate(dana, issued)
    before = fresh(issued)
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        act(dana, issued, at=later(hours=1))
    after = fresh(issued)
    assert (after.retires_at, after.settle_seconds) == (before.retires_at, before.settle_seconds)
