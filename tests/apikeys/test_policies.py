"""What policies demand of new keys, and what becomes of those that were there."""

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Organization, Project, Role, Team
from accounts.principals import Principal
from apikeys import actions, networks, policing
from apikeys.actions import PolicyForbids, ScopeNotAllowed, SuperAdminOnly, policies
from apikeys.actions.conformity import check_policy, longest_end
from apikeys.health import health_of
from apikeys.models import ApiKey, Policy
from apikeys.networks import NetworkPolicy
from apikeys.policing import Preview, Rule, Terms
from apikeys.rules import rules_of
from audit.context import audit_context
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, newest_changes
from tests.apikeys.people import change_team_role, leave_organization
from tests.cast import NOON, Issued, Person, later, use

Issue = Callable[..., Issued]
Change = Callable[..., actions.PolicyChanged]
IN_30_DAYS = later(days=30)


@pytest.fixture
def change(alice: Person) -> Change:
    """Change the policy as alice: `change(max_lifetime=30)`."""

    def change(
        *, existing_from: datetime = IN_30_DAYS, at: datetime = NOON, by: Person = alice, **changes: Any
    ) -> actions.PolicyChanged:
        sent: Any = {"changes": changes, "existing_from": existing_from, "at": at}
        with audit_context(actor=by.principal.as_actor(), at=at):
            return actions.change_policy(principal=by.principal, **sent)

    return change


def preview(alice: Person, *, existing_from: datetime = IN_30_DAYS, at: datetime = NOON, **changes: Any) -> Preview:
    sent: Any = {"changes": changes, "existing_from": existing_from, "at": at}
    return actions.preview_policy(principal=alice.principal, **sent)


def policy_of(organization: Organization) -> Policy:
    return Policy.objects.get(organization=organization)


def end_of(issued: Issued) -> datetime | None:
    return ApiKey.objects.get(pk=issued.row.pk).expires_at


def whoami(issued: Issued) -> tuple[int, str]:
    response: Any = Client().get("/v1/whoami", headers=issued.headers)
    return response.status_code, response.json().get("code", "")


# New keys


BROKEN = [
    ({"max_lifetime": 30}, {}, "expiry", "a key lives 30 days at most"),
    ({"max_lifetime": 30}, {"expires_at": later(days=30, seconds=1)}, "expiry", "a key lives 30 days at most"),
    ({"is_expiry_required": True}, {}, "expiry", "every key expires"),
    (
        {"never_together": [["scan:read", "projects:read"]]},
        {"permissions": ["scan:read", "projects:read", "keys:read"]},
        "permissions",
        "no key may have all of projects:read, scan:read",
    ),
    ({"never_together": [["scan:read", "projects:read"]]}, {"permissions": ["*"]}, "permissions", "no key may have"),
    (
        {"networks": ["203.0.113.0/24"]},
        {"networks": ["198.51.100.0/24"]},
        "networks",
        "keys come from 203.0.113.0/24 only",
    ),
]


@pytest.mark.parametrize(("rule", "wanted", "field", "sentence"), BROKEN)
def test_rule_refuses_a_new_key_with_its_sentence(
    issue: Issue, change: Change, dana: Person, project: Project, rule: Any, wanted: Any, field: str, sentence: str
) -> None:
    change(**rule)
    with pytest.raises(PolicyForbids, match=sentence) as refusal:
        issue(dana, project, **wanted)
    assert (refusal.value.code, refusal.value.field) == ("policy_forbids", field)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"max_lifetime": 30}, {"expires_at": IN_30_DAYS}),
        ({"is_expiry_required": True}, {"expires_at": later(days=1000)}),
        ({"never_together": [["scan:read", "projects:read"]]}, {"permissions": ["scan:read"]}),
        ({"networks": ["203.0.113.0/24"]}, {"networks": ["203.0.113.7/32"]}),
        ({"networks": ["203.0.113.0/24"]}, {}),
    ],
)
def test_key_within_the_rule_is_issued(
    issue: Issue, change: Change, dana: Person, project: Project, rule: Any, wanted: Any
) -> None:
    change(**rule)
    issue(dana, project, **wanted)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    ("rule", "place"), [({"project_issuers": "team_admin"}, "project"), ({"team_issuers": "super_admin"}, "team")]
)
def test_scope_is_issued_by_the_role_that_the_policy_names(
    issue: Issue, change: Change, dana: Person, bob: Person, alice: Person, project: Project, rule: Any, place: str
) -> None:
    below, above = (dana, bob) if place == "project" else (bob, alice)
    where = project if place == "project" else project.team
    issue(below, where)
    change(**rule)
    with pytest.raises(ScopeNotAllowed):
        issue(below, where)
    issue(above, where)
    assert ApiKey.objects.count() == 2


def test_call_that_the_policy_forbids_is_a_problem(
    issue: Issue, change: Change, bob: Person, project: Project, noon: time_machine.Traveller
) -> None:
    caller = issue(bob, project, permissions=["keys:write", "projects:read"], expires_at=later(days=20))
    change(max_lifetime=30)
    body = {"name": "child", "scope": "project", "expires_in_days": 10}
    sent: Any = Client().post("/v1/api-keys", body, content_type="application/json", headers=caller.headers)
    assert sent.status_code == 201
    change(max_lifetime=5)
    response: Any = Client().post("/v1/api-keys", body, content_type="application/json", headers=caller.headers)
    assert (response.status_code, response.json()["code"]) == (403, "policy_forbids")
    assert "a key lives 5 days at most" in response.json()["detail"]


def test_key_is_held_to_the_policy_that_came_while_it_was_hashed(
    issue: Issue, change: Change, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apikeys import hashing

    make_digest = hashing.make_digest

    def meanwhile(text: str) -> str:
        change(is_expiry_required=True)
        return make_digest(text)

    monkeypatch.setattr(hashing, "make_digest", meanwhile)
    with pytest.raises(PolicyForbids):
        issue(dana, project)
    assert not ApiKey.objects.exists()


def test_successor_ends_when_the_policy_of_now_lets_it(organization: Organization, change: Change) -> None:
    assert longest_end(rules_of(organization.pk), wanted=None, at=NOON) is None
    change(is_expiry_required=True)
    assert longest_end(rules_of(organization.pk), wanted=None, at=NOON) == later(days=policing.MAX_LIFETIME)
    change(max_lifetime=30)
    rules = rules_of(organization.pk)
    assert longest_end(rules, wanted=None, at=NOON) == IN_30_DAYS
    assert longest_end(rules, wanted=later(days=31), at=NOON) == IN_30_DAYS
    assert longest_end(rules, wanted=later(days=2), at=NOON) == later(days=2)
    check_policy(rules, permissions=["projects:read"], expires_at=IN_30_DAYS, created_at=NOON)


# Changing it


def test_policy_is_stored_with_its_audit_row(change: Change, organization: Organization, alice: Person) -> None:
    done = change(max_lifetime=30, never_together=[["b:b", "a:a"], ["a:a", "b:b"], ["a:a", "b:b", "c:c"]])
    assert (done.ended, done.rules.policy.max_lifetime) == (0, 30)
    assert done.rules.policy.never_together == [["a:a", "b:b"]]
    row = AuditEvent.objects.get(event="policy.created")
    assert (row.actor_label, row.organization_id) == (alice.email, organization.pk)
    change(max_lifetime=60)
    assert AuditEvent.objects.get(event="policy.updated").changes == {"max_lifetime": [30, 60]}
    assert policy_of(organization).never_together == [["a:a", "b:b"]]


def test_policy_that_stays_as_it_is_leaves_no_row(change: Change) -> None:
    change(max_lifetime=30)
    before = AuditEvent.objects.count()
    change(max_lifetime=30, networks=[])
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("who", ["bob", "dana", "charlie"])
def test_nobody_but_a_super_admin_changes_it(
    who: str, change: Change, organization: Organization, request: pytest.FixtureRequest
) -> None:
    person = request.getfixturevalue(who)
    if who == "charlie":
        # The policy of another organization, which has nothing to do with ours.
        change(max_lifetime=3, by=person)
        assert not Policy.objects.filter(organization=organization).exists()
        return
    with pytest.raises(SuperAdminOnly):
        change(max_lifetime=3, by=person)
    with pytest.raises(SuperAdminOnly):
        preview(person, max_lifetime=3)
    assert not Policy.objects.exists()


def test_key_of_a_team_does_not_change_it_though_a_super_admin_issued_it(
    issue: Issue, alice: Person, team: Team, organization: Organization
) -> None:
    from tests.apikeys.people import acting_as

    for place, is_allowed in ((team, False), (organization, True)):
        principal = acting_as(issue(alice, place, permissions=["org:write"]))
        assert _may_change(principal) is is_allowed


def _may_change(principal: Principal) -> bool:
    try:
        actions.change_policy(principal=principal, changes={"rotate_after": 30}, existing_from=NOON, at=NOON)
    except SuperAdminOnly:
        return False
    return True


def test_nothing_is_saved_if_an_audit_row_fails(
    issue: Issue, change: Change, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue(dana, project)
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        change(max_lifetime=30, networks=["203.0.113.0/24"])
    assert not Policy.objects.exists()
    assert end_of(issued) is None
    assert Organization.objects.get(pk=issued.row.organization_id).network_policy == {}


def test_nothing_is_saved_if_the_row_of_the_last_key_fails(
    issue: Issue, change: Change, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [issue(dana, project) for _ in range(3)]
    save = AuditEvent.save

    def fail(self: AuditEvent, *args: Any, **kwargs: Any) -> None:
        if AuditEvent.objects.filter(event="api_key.grandfathered").count() == 2:
            raise LogIsFull
        save(self, *args, **kwargs)

    monkeypatch.setattr(AuditEvent, "save", fail)
    with pytest.raises(LogIsFull):
        change(max_lifetime=30)
    assert [end_of(issued) for issued in keys] == [None] * 3
    assert not AuditEvent.objects.filter(event="api_key.grandfathered").exists()
    assert not Policy.objects.exists()


# Existing keys


@pytest.mark.parametrize(
    ("rule", "wanted"), [(rule, wanted) for rule, wanted, field, _ in BROKEN if field != "networks"]
)
def test_existing_key_works_until_the_date_and_is_refused_from_then_on(
    issue: Issue, change: Change, dana: Person, project: Project, noon: time_machine.Traveller, rule: Any, wanted: Any
) -> None:
    issued = issue(dana, project, **wanted)
    date = later(days=10)
    done = change(existing_from=date, **rule)
    assert (done.ended, end_of(issued)) == (1, date)
    assert events_of(issued.row) == ["api_key.created", "api_key.grandfathered"]
    [before, after] = newest_changes(issued.row.pk)["expires_at"]
    assert datetime.fromisoformat(after) == date
    assert (before and datetime.fromisoformat(before)) == wanted.get("expires_at")
    noon.move_to(date - timedelta(seconds=1))
    assert whoami(issued) == (200, "")
    noon.move_to(date)
    assert whoami(issued) == (401, "key_expired")


def test_key_above_its_issuer_ends_on_the_date(
    issue: Issue, change: Change, dana: Person, bob: Person, project: Project
) -> None:
    developers, admins = issue(dana, project), issue(bob, project)
    gone = issue(dana, project)
    assert change(project_issuers="team_admin").ended == 2
    assert [end_of(issued) for issued in (developers, admins, gone)] == [IN_30_DAYS, None, IN_30_DAYS]


def test_key_whose_issuer_left_is_not_asked_who_issued_it(
    issue: Issue, change: Change, dana: Person, project: Project
) -> None:
    issued = issue(dana, project)
    leave_organization(dana)
    assert change(project_issuers="team_admin").ended == 0
    assert end_of(issued) is None


def test_demoted_issuer_counts_as_what_they_are_now(
    issue: Issue, change: Change, bob: Person, project: Project
) -> None:
    issued = issue(bob, project)
    change_team_role(bob, Role.DEVELOPER)
    assert change(project_issuers="team_admin").ended == 1
    assert end_of(issued) == IN_30_DAYS


def test_key_that_ends_before_the_date_stays_as_it_is(
    issue: Issue, change: Change, dana: Person, project: Project
) -> None:
    early = issue(dana, project, expires_at=later(days=29))
    on_the_date = issue(dana, project, expires_at=IN_30_DAYS)
    revoked = issue(dana, project)
    actions.revoke_key(principal=dana.principal, api_key=revoked.row, at=NOON)
    assert change(max_lifetime=7).ended == 0
    assert [end_of(issued) for issued in (early, on_the_date, revoked)] == [later(days=29), IN_30_DAYS, None]


def test_at_once_means_at_once(issue: Issue, change: Change, dana: Person, project: Project, noon: Any) -> None:
    older = issue(dana, project)
    just_now = issue(dana, project, at=later(hours=1))
    assert change(max_lifetime=30, existing_from=NOON, at=later(hours=1)).ended == 2
    assert end_of(older) == later(hours=1)
    # The database wants a key to end after it was made.
    assert end_of(just_now) == later(hours=1, microseconds=1)
    noon.move_to(later(hours=1))
    assert whoami(older) == (401, "key_expired")


def test_loosening_changes_no_key(issue: Issue, change: Change, dana: Person, project: Project) -> None:
    change(
        max_lifetime=30,
        is_expiry_required=True,
        project_issuers="team_admin",
        never_together=[["a:a", "b:b"], ["projects:read", "scan:read"]],
        networks=["203.0.113.0/24"],
        disable_unused_after=30,
    )
    # As an import leaves them: an organization's policy does not bind what is older than it.
    ApiKey.objects.all().delete()
    with transaction.atomic():
        issued = _imported(dana, project)
    steps: list[dict[str, Any]] = [
        {"max_lifetime": 60},
        {"max_lifetime": None},
        {"is_expiry_required": False},
        {"project_issuers": "developer"},
        {"never_together": [["a:a", "b:b", "c:c"], ["projects:read", "scan:read"]]},
        {"networks": ["203.0.113.0/24", "198.51.100.0/24"]},
        {"networks": []},
        {"disable_unused_after": 60},
        {"disable_unused_after": None},
        {"never_together": []},
        {"warn_unused_after": 3},
        {"rotate_after": None},
    ]
    for loosened in steps:
        assert change(existing_from=NOON, **loosened).ended == 0
    assert ApiKey.objects.get(pk=issued.pk).expires_at is None
    assert events_of(issued) == ["api_key.imported"]


def _imported(person: Person, project: Project) -> ApiKey:
    return ApiKey.objects.create(
        name="old",
        prefix="oldoldol",
        label="oldoldol",
        digest="x",
        scope="project",
        permissions=["*"],
        organization_id=project.team.organization_id,
        project=project,
        issuer=person.user,
        imported_from="csv",
        imported_at=NOON,
        created_at=later(days=-400),
    )


def test_stricter_rule_touches_keys_that_broke_the_old_one_too(
    issue: Issue, change: Change, dana: Person, project: Project
) -> None:
    issued = issue(dana, project)
    change(max_lifetime=90)
    assert end_of(issued) == IN_30_DAYS
    change(max_lifetime=20, existing_from=later(days=3))
    assert end_of(issued) == later(days=3)


def test_keys_of_others_are_not_touched(
    issue: Issue, change: Change, charlie: Person, dana: Person, project: Project
) -> None:
    theirs = issue(charlie, charlie.membership.organization)
    issue(dana, project)
    assert change(max_lifetime=30).ended == 1
    assert end_of(theirs) is None


# The preview


@pytest.mark.parametrize("rule", [{}, {"warn_unused_after": 7}, {"max_lifetime": 30}])
def test_preview_changes_nothing(issued: Issued, alice: Person, rule: Any) -> None:
    before = AuditEvent.objects.count()
    preview(alice, **rule)
    assert AuditEvent.objects.count() == before
    assert not Policy.objects.exists()
    assert end_of(issued) is None


def test_preview_counts_each_rule_and_who_used_keys_today(
    issue: Issue, alice: Person, dana: Person, project: Project
) -> None:
    used, unused, fine = (issue(dana, project, expires_at=end) for end in (None, None, later(days=20)))
    use(used.row, at=later(hours=-23), address="198.51.100.7")
    use(fine.row, at=later(hours=-25), address="203.0.113.7")
    found = preview(
        alice, max_lifetime=25, is_expiry_required=True, networks=["203.0.113.0/24"], existing_from=later(days=10)
    )
    told = {
        effect.rule: (effect.keys, effect.used_today, [key.pk for key in effect.examples]) for effect in found.effects
    }
    assert told == {
        Rule.LIFETIME: (2, 1, [unused.row.pk, used.row.pk]),
        Rule.EXPIRY: (2, 1, [unused.row.pk, used.row.pk]),
        Rule.NETWORKS: (1, 1, [used.row.pk]),
    }
    assert (set(found.ending), found.ending_used_today) == ({used.row.pk, unused.row.pk}, 1)


def test_preview_shows_the_newest_keys(issue: Issue, alice: Person, dana: Person, project: Project) -> None:
    keys = [issue(dana, project) for _ in range(22)]
    [effect] = preview(alice, is_expiry_required=True).effects
    assert (effect.keys, [key.pk for key in effect.examples]) == (22, [key.row.pk for key in reversed(keys[2:])])


ENDS = st.one_of(st.none(), st.integers(1, 60).map(lambda days: later(days=days)))
GRANTED = st.lists(
    st.sampled_from(["projects:read", "scan:read", "keys:read", "*"]), min_size=1, max_size=3, unique=True
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "max_lifetime": st.integers(1, 60),
        "is_expiry_required": st.booleans(),
        "project_issuers": st.sampled_from(["developer", "team_admin", "super_admin"]),
        "never_together": st.sampled_from([[], [["projects:read", "scan:read"]], [["keys:read", "scan:read"]]]),
    },
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(keys=st.lists(st.tuples(ENDS, GRANTED), max_size=4), first=RULES, then=RULES, days=st.integers(0, 40))
def test_preview_is_exactly_what_the_change_then_touches(
    alice: Person, dana: Person, project: Project, keys: Any, first: Any, then: Any, days: int
) -> None:
    with transaction.atomic():
        sent: dict[str, Any] = {"principal": alice.principal, "existing_from": later(days=days)}
        actions.change_policy(changes=first, at=NOON, **sent)
        for number, (expires_at, permissions) in enumerate(keys):
            _row(dana, project, number, expires_at, permissions)
        expected = actions.preview_policy(changes=then, at=later(hours=1), **sent)
        before = dict(ApiKey.objects.values_list("pk", "expires_at"))
        rows = AuditEvent.objects.filter(event="api_key.grandfathered").count()
        done = actions.change_policy(changes=then, at=later(hours=1), **sent)
        after = dict(ApiKey.objects.values_list("pk", "expires_at"))
        touched = {key_id for key_id, expires_at in after.items() if before[key_id] != expires_at}
        assert touched == set(expected.ending)
        assert done.ended == len(touched)
        assert AuditEvent.objects.filter(event="api_key.grandfathered").count() == rows + len(touched)
        transaction.set_rollback(True)


def _row(
    person: Person, project: Project, number: int, expires_at: datetime | None, permissions: Collection[str]
) -> None:
    """Make a key as it was before there was a policy."""
    ApiKey.objects.create(
        name=f"key {number}",
        prefix=f"aaaaaaa{number}",
        label=f"kp_sk_live_aaaaaaa{number}",
        digest="x",
        scope="project",
        permissions=list(permissions),
        organization_id=project.team.organization_id,
        project=project,
        issuer=person.user,
        created_at=NOON,
        expires_at=expires_at,
    )


def test_many_keys_cost_a_statement_each_for_their_audit_rows(
    alice: Person, dana: Person, project: Project, change: Change
) -> None:
    costs = []
    for number in (1, 4):
        with transaction.atomic():
            for each in range(number):
                _row(dana, project, each, None, ["projects:read"])
            with CaptureQueriesContext(connection) as queries:
                assert change(max_lifetime=30).ended == number
            costs.append(len(queries))
            transaction.set_rollback(True)
    assert costs[1] - costs[0] == 3


# At once


def _together(calls: Sequence[Callable[[], object]]) -> list[Exception]:
    """Make calls at once, each in a thread and with a connection of its own; return what they raised."""
    raised: list[Exception] = []
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        try:
            start.wait()
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.django_db(transaction=True)
def test_two_admins_at_once_lose_nothing(alice: Person, organization: Organization) -> None:
    principal = alice.principal
    changes: list[Any] = [{"max_lifetime": 30}, {"rotate_after": 7}, {"is_expiry_required": True}]
    sent: dict[str, Any] = {"existing_from": IN_30_DAYS, "at": NOON}
    raised = _together(
        [partial(actions.change_policy, principal=principal, changes=change, **sent) for change in changes]
    )
    assert raised == []
    policy = policy_of(organization)
    assert (policy.max_lifetime, policy.rotate_after, policy.is_expiry_required) == (30, 7, True)


@pytest.mark.django_db(transaction=True)
def test_no_key_slips_by_a_policy_that_is_changed_meanwhile(
    issue: Issue, change: Change, alice: Person, dana: Person, project: Project
) -> None:
    raised = _together([*[partial(issue, dana, project) for _ in range(6)], partial(change, is_expiry_required=True)])
    assert {type(error) for error in raised} <= {PolicyForbids}
    ends = list(ApiKey.objects.values_list("expires_at", flat=True))
    assert ends == [IN_30_DAYS] * (6 - len(raised))


# Networks


def test_networks_bind_new_keys_at_once_and_existing_ones_from_the_date(
    issue: Issue, change: Change, dana: Person, project: Project, noon: time_machine.Traveller
) -> None:
    old = issue(dana, project, at=later(hours=-1))
    change(networks=["203.0.113.0/24"], existing_from=later(days=3))
    new = issue(dana, project)
    assert [whoami(key) for key in (old, new)] == [(200, ""), (403, "network_not_allowed")]
    noon.move_to(later(days=3))
    assert [whoami(key) for key in (old, new)] == [(403, "network_not_allowed")] * 2
    change(networks=["203.0.113.0/24", "127.0.0.0/8"], at=later(days=3), existing_from=IN_30_DAYS)
    assert [whoami(key) for key in (old, new)] == [(200, "")] * 2
    assert AuditEvent.objects.filter(event="organization.networks_changed").count() == 2


A, B, C = "203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"
IN_A, IN_B, IN_C = "203.0.113.7", "198.51.100.7", "192.0.2.7"


def _networks(*steps: tuple[list[str], int, int]) -> NetworkPolicy | None:
    """Return the policy after changes, each given by its networks, its hour and the hour of its date."""
    policy = None
    for names, hour, date in steps:
        policy = networks.changed(policy, names, existing_from=later(hours=date), at=later(hours=hour))
        policy = NetworkPolicy.of(policy.as_stored()) if policy else None
    return policy


def _from_where(policy: NetworkPolicy | None, created: int, now: int) -> set[str]:
    assert policy is not None
    return {
        address
        for address in (IN_A, IN_B, IN_C)
        if policy.allows(address, created_at=later(hours=created), at=later(hours=now))
    }


@pytest.mark.parametrize(
    ("steps", "created", "now", "expected"),
    [
        ([([A], 1, 10)], 0, 2, {IN_A, IN_B, IN_C}),
        ([([A], 1, 10)], 1, 2, {IN_A}),
        ([([A], 1, 10)], 0, 10, {IN_A}),
        # What is added takes nothing away, and lets nobody out.
        ([([A], 1, 3), ([A, B], 5, 50)], 0, 6, {IN_A, IN_B}),
        ([([A], 1, 10), ([A, B], 5, 50)], 0, 6, {IN_A, IN_B, IN_C}),
        ([([A], 1, 10), ([A, B], 5, 50)], 2, 6, {IN_A, IN_B}),
        # What is taken away is kept by who had it, until the date, and nothing else is.
        ([([A, B], 1, 1), ([A], 5, 10)], 2, 6, {IN_A, IN_B}),
        ([([A, B], 1, 1), ([A], 5, 10)], 0, 6, {IN_A, IN_B}),
        ([([A, B], 1, 1), ([A], 5, 10)], 5, 6, {IN_A}),
        ([([A, B], 1, 1), ([A], 5, 10)], 2, 10, {IN_A}),
        # Two promises at a time: each holds for those it was made to.
        ([([A, B], 1, 20), ([A], 5, 10)], 0, 6, {IN_A, IN_B, IN_C}),
        ([([A, B], 1, 20), ([A], 5, 10)], 0, 11, {IN_A}),
        ([([A], 1, 20), ([B], 5, 10), ([A, B], 6, 10)], 2, 7, {IN_A, IN_B}),
    ],
)
def test_key_keeps_the_networks_that_it_had_until_the_date(
    steps: Any, created: int, now: int, expected: set[str]
) -> None:
    assert _from_where(_networks(*steps), created, now) == expected


def test_few_earlier_networks_are_kept() -> None:
    steps = [([f"10.{number}.0.0/16"], number, 1000) for number in range(10)]
    policy = _networks(*steps)
    assert policy is not None
    depth, earlier = 0, policy.before
    while earlier:
        depth, earlier = depth + 1, earlier.before
    assert depth == networks.MAX_EARLIER
    # Whoever had nothing but an older promise is held to the oldest that is kept, and not let go.
    assert not policy.allows("192.0.2.7", created_at=later(hours=-1), at=later(hours=11))
    assert _networks(*steps, ([], 11, 11)) is None


# Unused keys


@pytest.fixture
def idle(issue: Issue, dana: Person, project: Project) -> Issued:
    return issue(dana, project, at=later(days=-40))


def apply_policies(at: datetime) -> None:
    with time_machine.travel(at, tick=False):
        call_command("apply_policies")


def is_disabled(issued: Issued) -> bool:
    return ApiKey.objects.get(pk=issued.row.pk).disabled_at is not None


def test_unused_keys_are_disabled_once_the_date_has_come(
    issue: Issue, change: Change, dana: Person, project: Project, idle: Issued, capsys: Any
) -> None:
    busy = issue(dana, project, at=later(days=-40))
    use(busy.row, at=later(days=9))
    change(disable_unused_after=30, existing_from=later(days=10))
    apply_policies(later(days=10, seconds=-1))
    assert not is_disabled(idle)
    apply_policies(later(days=10))
    assert [is_disabled(idle), is_disabled(busy)] == [True, False]
    assert "Disabled 1 keys" in capsys.readouterr().out
    row = AuditEvent.objects.get(event="api_key.disabled")
    assert (row.actor_kind, row.target_label) == ("system", idle.row.label)
    apply_policies(later(days=39, seconds=-1))
    assert not is_disabled(busy)
    apply_policies(later(days=39, seconds=1))
    assert is_disabled(busy)


def test_unused_keys_stay_where_no_policy_disables_them(change: Change, idle: Issued) -> None:
    change(warn_unused_after=1)
    apply_policies(later(days=400))
    assert not is_disabled(idle)
    policy = policy_of(Organization.objects.get(pk=idle.row.organization_id))
    assert actions.disable_unused_keys(policy=policy, at=later(days=400)) == 0


def test_key_that_was_enabled_again_has_as_many_days_anew(change: Change, idle: Issued) -> None:
    change(disable_unused_after=30, existing_from=NOON)
    apply_policies(later(days=1))
    with transaction.atomic(), audit_context(at=later(days=2)):
        current = ApiKey.objects.get(pk=idle.row.pk)
        current.disabled_at = None
        current.save(update_fields=["disabled_at"])
    apply_policies(later(days=31))
    assert not is_disabled(idle)
    apply_policies(later(days=33))
    assert is_disabled(idle)


def test_key_that_was_used_meanwhile_is_not_disabled(
    change: Change, idle: Issued, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(disable_unused_after=30, existing_from=NOON)
    enabled_within = policies._enabled_within

    def meanwhile(*given: Any) -> set[str]:
        use(idle.row, at=later(days=1))
        return enabled_within(*given)

    monkeypatch.setattr(policies, "_enabled_within", meanwhile)
    assert actions.disable_unused_keys(policy=policy_of(organization), at=later(days=1)) == 0
    assert not is_disabled(idle)


def test_policy_that_was_turned_off_meanwhile_disables_nothing_more(
    issue: Issue, change: Change, dana: Person, project: Project, organization: Organization, monkeypatch: Any
) -> None:
    keys = [issue(dana, project, at=later(days=-40)) for _ in range(3)]
    monkeypatch.setattr("apikeys.actions.policies.KEYS_AT_ONCE", 1)
    change(disable_unused_after=30, existing_from=NOON)
    old = policy_of(organization)
    disable = policies._disable
    chunks: list[object] = []

    def turned_off(*given: Any) -> int:
        if chunks:
            change(disable_unused_after=None)
        chunks.append(given)
        return disable(*given)

    monkeypatch.setattr(policies, "_disable", turned_off)
    assert actions.disable_unused_keys(policy=old, at=later(days=1)) == 1
    assert [is_disabled(key) for key in keys] == [True, False, False]


def test_rule_that_was_put_off_meanwhile_disables_nothing_yet(
    change: Change, idle: Issued, organization: Organization
) -> None:
    change(disable_unused_after=30, existing_from=NOON)
    old = policy_of(organization)
    change(disable_unused_after=None)
    change(disable_unused_after=30, existing_from=later(days=10))
    assert actions.disable_unused_keys(policy=old, at=later(days=1)) == 0
    assert actions.disable_unused_keys(policy=old, at=later(days=10)) == 1


def test_nothing_is_disabled_if_its_audit_row_fails(
    change: Change, idle: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(disable_unused_after=30, existing_from=NOON)
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        apply_policies(later(days=1))
    assert not is_disabled(idle)


def test_date_of_disabling_stays_when_the_rule_is_loosened(change: Change, organization: Organization) -> None:
    change(disable_unused_after=30, existing_from=later(days=5))
    change(disable_unused_after=60, existing_from=later(days=50))
    assert policy_of(organization).disable_unused_from == later(days=5)
    change(disable_unused_after=20, existing_from=later(days=50))
    assert policy_of(organization).disable_unused_from == later(days=50)
    change(disable_unused_after=None)
    assert policy_of(organization).disable_unused_from is None


def test_preview_of_disabling_counts_who_is_unused_now(alice: Person, idle: Issued, issued: Issued) -> None:
    found = preview(alice, disable_unused_after=30, existing_from=later(days=365))
    assert [(effect.rule, effect.keys) for effect in found.effects] == [(Rule.UNUSED, 1)]
    assert found.ending == []


# Warnings and recommendations


@pytest.mark.parametrize(("days", "code"), [(30, "unused"), (41, "never_used"), (None, "never_used")])
def test_policy_says_when_a_key_counts_as_unused(
    change: Change, idle: Issued, organization: Organization, days: int | None, code: str
) -> None:
    change(warn_unused_after=days)
    policy = policy_of(organization)
    assert health_of(idle.row, at=NOON, policy=policy).code == code
    found = ApiKey.objects.needing_attention(at=NOON, unused_after=policy.warn_unused_after)
    assert found.exists() is (code == "unused")


@pytest.mark.parametrize(("days", "code"), [(30, "rotation_due"), (41, "active"), (None, "active")])
def test_policy_says_when_a_key_should_be_rotated(
    change: Change, idle: Issued, organization: Organization, days: int | None, code: str
) -> None:
    use(idle.row)
    change(rotate_after=days)
    current = ApiKey.objects.get(pk=idle.row.pk)
    assert health_of(current, at=NOON, policy=policy_of(organization)).code == code
    current.kind = ApiKey.Kind.PUBLISHABLE
    assert health_of(current, at=NOON, policy=policy_of(organization)).code == "active"


def test_terms_without_a_row_are_the_defaults(organization: Organization) -> None:
    assert Terms.of(rules_of(organization.pk)) == Terms()
    assert str(Policy(organization=organization)) == "policy of Northwind"
