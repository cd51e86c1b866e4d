from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections
from pytest_django import Settings

from accounts.models import Organization, Project, Role, Team
from apikeys import hashing, presented
from apikeys.actions import disable_key, revoke_key
from apikeys.hashing import Check
from apikeys.keyformat import ALPHABET
from apikeys.models import ApiKey
from apikeys.permissions import BUILT_IN
from apikeys.permissions import Role as KeyRole
from apikeys.verification import Outcome, Verification, verify
from keyportal.http import PROBLEMS
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import (
    change_team_role,
    deactivate,
    demote,
    leave_organization,
    leave_teams,
    suspend_organization,
)
from tests.apikeys.presented import of_nobody, with_bad_checksum, with_secret
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


def outcome_of(text: str, at: datetime = NOON) -> Outcome:
    return verify(text, at=at).outcome


def write(sql: str, issued: Issued, *values: str) -> None:
    """Change a key's row behind the app's back."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE apikeys_apikey SET {sql} WHERE prefix = %s", [*values, issued.row.prefix])


def permissions_of(issued: Issued) -> frozenset[str]:
    key = verify(issued.text, at=NOON).key
    assert key is not None
    return key.permissions


# The table of outcomes


def test_every_outcome_but_accepted_is_a_problem_with_a_status() -> None:
    refusals = {outcome.value for outcome in Outcome} - {"accepted"}
    assert {code: PROBLEMS[code].status for code in refusals} == dict.fromkeys(refusals, 401) | {
        "too_many_failures": 429,
        "verification_unavailable": 503,
        "network_not_allowed": 403,
        "project_archived": 403,
        "team_archived": 403,
        "environment_not_accepted": 403,
    }


def test_good_key_is_accepted_with_all_that_it_is(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, permissions=["scan:read", "keys:write"], expires_at=later(days=1))
    verdict = verify(issued.text, at=NOON)
    assert (verdict.outcome, verdict.prefix) == (Outcome.ACCEPTED, issued.row.prefix)
    assert verdict.key is not None
    assert asdict(verdict.key) == {
        "digest": issued.row.digest,
        "is_revoked": False,
        "is_disabled": False,
        "is_issuer_gone": False,
        "is_organization_suspended": False,
        "is_service_account_stopped": False,
        "is_environment_accepted": True,
        "is_project_archived": False,
        "is_team_archived": False,
        "is_unused_successor": False,
        "id": issued.row.pk,
        "name": "github-action-checkout-service",
        "label": issued.row.label,
        "kind": "secret",
        "scope": "project",
        "environment": "live",
        "granted": ("keys:write", "scan:read"),
        "permissions": frozenset({"keys:write", "scan:read"}),
        "organization_id": project.team.organization_id,
        "team_id": project.team_id,
        "project_id": project.pk,
        "issuer_id": bob.user.pk,
        "issuer_email": "bob@example.com",
        "role": KeyRole.TEAM_ADMIN,
        "created_at": NOON,
        "expires_at": later(days=1),
        "exposed_at": None,
        "retires_at": None,
        "reappeared_at": None,
        "in_browser_at": None,
        "service_account_id": None,
        "service_account_name": "",
        "allowed_origins": (),
        "networks": (),
        "network_policy": None,
        "per_second": None,
        "per_minute": None,
        "per_day": None,
    }


def test_principal_of_a_key_acts_for_its_issuer_inside_its_scope(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, expires_at=later(days=1))
    key = verify(issued.text, at=NOON).key
    assert key is not None
    principal = key.principal
    assert (principal.user_id, principal.user_label) == (bob.user.pk, "bob@example.com")
    assert (principal.scope, principal.team_id, principal.project_id) == ("project", project.team_id, project.pk)
    assert dict(principal.team_roles) == {project.team_id: "team_admin"}
    assert (principal.is_key, principal.is_super_admin) == (True, False)
    assert (principal.key_id, principal.key_label) == (issued.row.pk, issued.row.label)
    assert (principal.permissions, principal.expires_at) == (frozenset({"projects:read"}), later(days=1))


def test_organization_key_acts_as_super_admin(issue: Issue, alice: Person, organization: Organization) -> None:
    key = verify(issue(alice, organization).text, at=NOON).key
    assert key is not None
    principal = key.principal
    assert (principal.is_super_admin, dict(principal.team_roles), principal.team_id) == (True, {}, None)


ENDINGS: dict[str, tuple[Callable[[Issued, Person], object], Outcome]] = {
    "revoked": (lambda i, _: revoke_key(principal=None, api_key=i.row, at=NOON), Outcome.KEY_REVOKED),
    "disabled": (lambda i, _: disable_key(api_key=i.row, at=NOON), Outcome.KEY_DISABLED),
    "deactivated": (lambda _, p: deactivate(p), Outcome.ISSUER_GONE),
    "out of the team": (lambda _, p: leave_teams(p), Outcome.ISSUER_GONE),
    "out of the organization": (lambda _, p: leave_organization(p), Outcome.ISSUER_GONE),
    "suspended": (lambda _, p: suspend_organization(p), Outcome.ORGANIZATION_SUSPENDED),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_a_key_holds_on_the_very_next_call(issued: Issued, dana: Person, ending: str) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    end, outcome = ENDINGS[ending]
    end(issued, dana)
    verdict = verify(issued.text, at=NOON)
    assert (verdict.outcome, verdict.prefix) == (outcome, issued.row.prefix)
    assert verdict.key is not None
    assert hashing.runs() == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_state_is_told_only_to_who_has_the_secret(issued: Issued, dana: Person, ending: str) -> None:
    ENDINGS[ending][0](issued, dana)
    assert verify(with_secret(issued), at=NOON) == Verification(Outcome.INVALID_KEY, issued.row.prefix)


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        (later(days=1) - timedelta(microseconds=1), Outcome.ACCEPTED),
        (later(days=1), Outcome.KEY_EXPIRED),
        (later(days=1, seconds=1), Outcome.KEY_EXPIRED),
    ],
)
def test_key_expires_exactly_at_its_moment(
    issue: Issue, dana: Person, project: Project, at: datetime, outcome: Outcome
) -> None:
    issued = issue(dana, project, expires_at=later(days=1))
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert outcome_of(issued.text, at) is outcome
    assert outcome_of(with_secret(issued), at) is Outcome.INVALID_KEY


def test_first_reason_wins(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, expires_at=later(days=1))
    at = later(days=2)
    suspend_organization(dana)
    assert outcome_of(issued.text) is Outcome.ORGANIZATION_SUSPENDED
    leave_teams(dana)
    assert outcome_of(issued.text) is Outcome.ISSUER_GONE
    disable_key(api_key=issued.row, at=NOON)
    assert outcome_of(issued.text) is Outcome.KEY_DISABLED
    assert outcome_of(issued.text, at) is Outcome.KEY_EXPIRED
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    assert outcome_of(issued.text, at) is Outcome.KEY_REVOKED


# The issuer's role, now (T5)


def test_demoted_team_admin_takes_the_key_along(issue: Issue, bob: Person, team: Team) -> None:
    issued = issue(bob, team, permissions=["keys:write", "scan:read"])
    everything = issue(bob, team, permissions=["*"])
    assert permissions_of(issued) == {"keys:write", "scan:read"}
    change_team_role(bob, Role.DEVELOPER)
    assert permissions_of(issued) == {"scan:read"}
    assert permissions_of(everything) == BUILT_IN.grantable(KeyRole.DEVELOPER)


def test_demoted_super_admin_leaves_an_organization_key_that_may_do_nothing(
    issue: Issue, alice: Person, organization: Organization
) -> None:
    issued = issue(alice, organization, permissions=["*"])
    assert permissions_of(issued) == BUILT_IN.grantable(KeyRole.SUPER_ADMIN)
    demote(alice)
    verdict = verify(issued.text, at=NOON)
    assert verdict.outcome is Outcome.ACCEPTED
    assert verdict.key is not None
    assert (verdict.key.permissions, verdict.key.role) == (frozenset(), None)
    leave_organization(alice)
    assert outcome_of(issued.text) is Outcome.ISSUER_GONE


@pytest.mark.parametrize("scope", ["team", "project"])
def test_demoted_super_admin_who_is_in_no_team_is_gone_from_its_keys(
    issue: Issue, alice: Person, team: Team, project: Project, scope: str
) -> None:
    issued = issue(alice, team if scope == "team" else project)
    demote(alice)
    assert outcome_of(issued.text) is Outcome.ISSUER_GONE


def test_promotion_never_widens_what_was_granted(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["scan:read"])
    change_team_role(dana, Role.TEAM_ADMIN)
    assert permissions_of(issued) == {"scan:read"}


# The row is read every time


@pytest.mark.parametrize(
    ("sql", "outcome"),
    [
        ("revoked_at = '2026-03-02 12:00:00+00:00'", Outcome.KEY_REVOKED),
        ("disabled_at = '2026-03-02 12:00:00+00:00'", Outcome.KEY_DISABLED),
        ("created_at = '2026-02-01', expires_at = '2026-03-02 11:59:59+00:00'", Outcome.KEY_EXPIRED),
        ("prefix = 'Zz9Zz9Zz'", Outcome.INVALID_KEY),
    ],
)
def test_change_by_sql_holds_on_the_next_call_though_the_digest_is_remembered(
    issued: Issued, sql: str, outcome: Outcome
) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert hashing.is_known(issued.text)
    write(sql, issued)
    verify(of_nobody(), at=NOON)  # takes the dummy run that the next two seconds have
    before = hashing.runs()
    assert outcome_of(issued.text) is outcome
    # A text that no row matches any more has no longer a claim to pass the budgets.
    assert hashing.is_known(issued.text) is (outcome is not Outcome.INVALID_KEY)
    assert hashing.runs() == before


def test_deleted_row_is_unknown_on_the_next_call(issued: Issued) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM apikeys_keyterm")
        cursor.execute("DELETE FROM apikeys_apikey")
    assert verify(issued.text, at=NOON) == Verification(Outcome.INVALID_KEY, issued.row.prefix)


def test_memory_is_bound_to_the_stored_digest(issued: Issued) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    other = with_secret(issued)
    write("digest = %s", issued, hashing.make_digest(other))
    assert outcome_of(issued.text) is Outcome.INVALID_KEY
    assert outcome_of(other) is Outcome.ACCEPTED


def test_mismatch_is_forgotten_once_the_stored_digest_is_the_right_one(issued: Issued) -> None:
    other = with_secret(issued)
    assert outcome_of(other) is Outcome.INVALID_KEY
    write("digest = %s", issued, hashing.make_digest(other))
    assert outcome_of(other) is Outcome.ACCEPTED


def test_digest_of_another_key_opens_nothing(issue: Issue, dana: Person, project: Project) -> None:
    first, second = issue(dana, project), issue(dana, project)
    assert outcome_of(first.text) is outcome_of(second.text) is Outcome.ACCEPTED
    write("digest = %s", second, first.row.digest)
    assert outcome_of(second.text) is Outcome.INVALID_KEY


# What a refusal costs


@pytest.mark.django_db
def test_every_single_character_substitution_is_refused_without_query_and_argon2(
    issued: Issued, django_assert_num_queries: Queries
) -> None:
    text = issued.text
    with django_assert_num_queries(0):
        for position, right in enumerate(text):
            for wrong in (ALPHABET + "_-. +/=\0\n\té�").replace(right, ""):
                presented = text[:position] + wrong + text[position + 1 :]
                assert verify(presented, at=NOON) == Verification(Outcome.INVALID_KEY)
    assert hashing.runs() == 0
    assert outcome_of(text) is Outcome.ACCEPTED


def damaged(text: str) -> Iterator[str]:
    """Yield what becomes of a key by a slip other than a substitution."""
    yield from (text[:cut] for cut in range(len(text)))
    yield from (text[:position] + text[position + 1 :] for position in range(len(text)))
    for position in range(len(text) - 1):
        swapped = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
        if swapped != text:
            yield swapped
    yield from (text + extra for extra in ("0", " ", "\n", "\0", text))
    yield from (" " + text, text.upper(), text.lower(), text.swapcase(), f'"{text}"', f"Bearer {text}", "x" * 10_000)


def test_every_slip_is_refused_without_query_and_argon2(issued: Issued, django_assert_num_queries: Queries) -> None:
    with django_assert_num_queries(0):
        for text in damaged(issued.text):
            assert verify(text, at=NOON) == Verification(Outcome.INVALID_KEY)
    assert hashing.runs() == 0


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "é", "kp", "x" * 129, "Bearer"])
def test_any_text_is_refused_and_raises_nothing(text: str) -> None:
    assert verify(text, at=NOON) == Verification(Outcome.INVALID_KEY)


def test_unknown_prefix_costs_one_query_and_no_argon2(issued: Issued, django_assert_num_queries: Queries) -> None:
    verify(of_nobody(), at=NOON)  # takes the dummy run that the next two seconds have
    text, before = of_nobody(), hashing.runs()
    with django_assert_num_queries(1):
        verdict = verify(text, at=NOON)
    assert (verdict.outcome, verdict.key, hashing.runs()) == (Outcome.INVALID_KEY, None, before)


def test_wrong_secret_costs_one_query_and_argon2_once(issued: Issued, django_assert_num_queries: Queries) -> None:
    text = with_secret(issued)
    for _ in range(2):
        with django_assert_num_queries(1):
            assert verify(text, at=NOON) == Verification(Outcome.INVALID_KEY, issued.row.prefix)
        assert hashing.runs() == 1


def test_good_key_costs_one_query_and_argon2_once(issued: Issued, django_assert_num_queries: Queries) -> None:
    for _ in range(3):
        with django_assert_num_queries(1):
            assert outcome_of(issued.text) is Outcome.ACCEPTED
        assert hashing.runs() == 1


def test_team_and_organization_keys_cost_one_query(
    issue: Issue, alice: Person, organization: Organization, team: Team, django_assert_num_queries: Queries
) -> None:
    for place in (organization, team):
        issued = issue(alice, place)
        with django_assert_num_queries(1):
            assert outcome_of(issued.text) is Outcome.ACCEPTED


def test_bad_checksum_is_no_well_formed_key(issued: Issued) -> None:
    assert verify(with_bad_checksum(issued), at=NOON) == Verification(Outcome.INVALID_KEY)


# When nobody can say


@pytest.mark.parametrize("verdict", [Check.BUSY, Check.UNDECIDABLE])
def test_undecided_is_neither_yes_nor_no(
    issued: Issued, monkeypatch: pytest.MonkeyPatch, logbook: Logbook, verdict: Check
) -> None:
    monkeypatch.setattr(hashing, "check", lambda *_, **__: verdict)
    assert verify(issued.text, at=NOON) == Verification(Outcome.UNAVAILABLE, issued.row.prefix)
    told = [line["prefix"] for line in logbook.events("verification.undecidable")]
    assert told == ([issued.row.prefix] if verdict is Check.UNDECIDABLE else [])
    assert issued.key.secret not in logbook.text


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "broken",
        "pbkdf2_sha256$600000$salt$hash",
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE",
        "$argon2id$v=19$m=8,t=99999,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE",
    ],
)
def test_corrupt_or_monstrous_digest_is_unavailable_and_not_run(issued: Issued, digest: str) -> None:
    write("digest = %s", issued, digest)
    assert outcome_of(issued.text) is Outcome.UNAVAILABLE
    assert hashing.runs() == 0


def test_what_an_operator_has_to_mend_is_said_once_a_minute(issued: Issued, logbook: Logbook) -> None:
    write("digest = %s", issued, "broken")
    assert [outcome_of(issued.text) for _ in range(3)] == [Outcome.UNAVAILABLE] * 3
    assert len(logbook.events("verification.undecidable")) == 1


class Database:
    """A database that fails a few times before it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
        self._read, self._errors, self.reads = presented.read, list(errors), 0
        monkeypatch.setattr(presented, "read", self)

    def __call__(self, prefix: str, *, at: datetime) -> Any:
        self.reads += 1
        if self._errors:
            raise self._errors.pop(0)
        return self._read(prefix, at=at)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_dropped_connection_costs_one_retry(
    transactional_db: None, issued: Issued, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    database = Database(monkeypatch, error("gone"))
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert database.reads == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_database_that_is_away_is_unavailable_after_one_retry(
    transactional_db: None,
    issued: Issued,
    monkeypatch: pytest.MonkeyPatch,
    logbook: Logbook,
    error: type[Exception],
) -> None:
    database = Database(monkeypatch, *[error("gone")] * 3)
    assert verify(issued.text, at=NOON) == Verification(Outcome.UNAVAILABLE, issued.row.prefix)
    assert database.reads == 2
    [line] = logbook.events("verification.database_failed")
    assert line["prefix"] == issued.row.prefix
    assert issued.key.secret not in logbook.text


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, DatabaseError])
def test_failure_inside_a_transaction_is_unavailable_without_retry(
    issued: Issued, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    database = Database(monkeypatch, error("gone"))
    assert outcome_of(issued.text) is Outcome.UNAVAILABLE
    assert database.reads == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_connection_that_the_server_ended_is_no_reason_to_refuse(transactional_db: None, issued: Issued) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    _end_backend(pid)
    assert outcome_of(issued.text) is Outcome.ACCEPTED


def _end_backend(pid: int) -> None:
    database = connections["default"].settings_dict
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        dbname=database["NAME"],
        autocommit=True,
    ) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (True,)


def test_kept_connection_is_not_probed_before_the_read(
    issued: Issued, django_assert_num_queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The wrapper itself: what stands before it for each thread cannot be restored.
    wrapper = connections["default"]
    monkeypatch.setattr(wrapper, "health_check_enabled", True)
    monkeypatch.setattr(wrapper, "health_check_done", False)
    with django_assert_num_queries(1):
        assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert wrapper.health_check_done is True  # type: ignore[attr-defined] # django-stubs leave it out


# Digests that cost too little


@pytest.fixture
def dearer(issued: Issued, settings: Settings) -> None:
    """Argon2 is to cost more than when the key was issued."""
    settings.KEYPORTAL_ARGON2 = {"memory_kib": 64, "time": 2, "parallelism": 1}


def stored_digest(issued: Issued) -> str:
    return ApiKey.objects.get(pk=issued.row.pk).digest


def test_weaker_digest_is_upgraded_on_use(issued: Issued, dearer: None) -> None:
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert stored_digest(issued).startswith("$argon2id$v=19$m=64,t=2,p=1$")
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert outcome_of(with_secret(issued)) is Outcome.INVALID_KEY
    upgraded = stored_digest(issued)
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert stored_digest(issued) == upgraded


def test_wrong_secret_upgrades_nothing(issued: Issued, dearer: None) -> None:
    assert outcome_of(with_secret(issued)) is Outcome.INVALID_KEY
    assert stored_digest(issued) == issued.row.digest


def test_upgrade_leaves_a_digest_alone_that_changed_meanwhile(
    issued: Issued, dearer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_digest = hashing.make_digest

    def make_late(text: str) -> str:
        write("digest = %s", issued, "$someone else's")
        return make_digest(text)

    monkeypatch.setattr(hashing, "make_digest", make_late)
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert stored_digest(issued) == "$someone else's"


@pytest.mark.parametrize(
    "error", [hashing.HashingUnavailable("no memory"), OperationalError("locked"), InterfaceError("gone")]
)
def test_upgrade_that_fails_does_not_fail_the_request(
    issued: Issued,
    dearer: None,
    monkeypatch: pytest.MonkeyPatch,
    logbook: Logbook,
    error: Exception,
) -> None:
    def fail(_: str) -> str:
        raise error

    monkeypatch.setattr(hashing, "make_digest", fail)
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert stored_digest(issued) == issued.row.digest
    [line] = logbook.events("verification.upgrade_failed")
    assert line["label"] == issued.row.label
    assert issued.key.secret not in logbook.text


def test_settings_of_the_tests_are_the_least_that_argon2_takes() -> None:
    assert django_settings.KEYPORTAL_ARGON2 == {"memory_kib": 8, "time": 1, "parallelism": 1}


# Shapes


def test_key_of_an_earlier_brand_stays_good_while_it_is_listed(
    issue: Issue, dana: Person, project: Project, settings: Settings
) -> None:
    settings.KEYPORTAL_KEY_BRAND = "acme"
    issued = issue(dana, project)
    assert issued.text.startswith("acme_sk_live_")
    settings.KEYPORTAL_KEY_BRAND = "kp"
    assert outcome_of(issued.text) is Outcome.INVALID_KEY
    settings.KEYPORTAL_EARLIER_KEY_BRANDS = ["acme"]
    assert outcome_of(issued.text) is Outcome.ACCEPTED
    assert issue(dana, project).text.startswith("kp_sk_live_")


def test_verdict_shows_no_secret(issued: Issued) -> None:
    assert issued.key.secret not in repr(verify(issued.text, at=NOON))
