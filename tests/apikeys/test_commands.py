import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.test import RequestFactory

from accounts import actions as people
from accounts.models import (
    Installation,
    Organization,
    OrganizationMembership,
    Project,
    Role,
    Team,
    TeamMembership,
    User,
)
from apikeys import demo, demo_stories
from apikeys.health import health_of
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, everything_recorded, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import demote
from tests.apikeys.presented import of_nobody
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
NOBODY = "00000000-0000-7000-8000-000000000007"


def run(*arguments: str) -> tuple[str, str]:
    """Run a command as an operator does; return what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def refusal(*arguments: str) -> str:
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(*arguments, stdout=out, stderr=io.StringIO())
    assert out.getvalue() == ""
    return str(error.value)


def issue_key(**changes: str | None) -> list[str]:
    options = {"name": "ci", "scope": "org", "permissions": "scan:read"} | changes
    return ["issue_key", *(f"--{name}={value}" for name, value in options.items() if value is not None)]


# issue_key


def test_issue_key_writes_the_key_alone_to_stdout(
    noon: time_machine.Traveller, alice: Person, organization: Organization, logbook: Logbook
) -> None:
    out, err = run(*issue_key(permissions="scan:read, keys:read,,", **{"expires-in-days": "30"}))
    text, row = out.rstrip("\n"), ApiKey.objects.get()
    assert out == f"{text}\n"
    assert verify(text, at=NOON).outcome is Outcome.ACCEPTED
    assert err == f"Issued {row.label} for Northwind. It ends on 2026-04-01. It is shown this once, on stdout:\n"
    assert (row.name, row.scope, row.permissions) == ("ci", "org", ["keys:read", "scan:read"])
    assert (row.issuer_id, row.expires_at) == (alice.user.pk, later(days=30))
    assert rows_of(row) == [Row("api_key.created", "create", row.label, "system", "system")]
    for place in (err, logbook.text, everything_recorded()):
        assert text[-32:] not in place


@pytest.mark.parametrize("by_id", [True, False])
def test_issue_key_names_team_and_project_by_name_or_id(
    alice: Person, team: Team, project: Project, by_id: bool
) -> None:
    run(*issue_key(scope="team", team=str(team.pk) if by_id else "PAYMENTS"))
    run(*issue_key(scope="project", project=str(project.pk) if by_id else "checkout", environment="test"))
    placed = [(key.scope, key.team_id, key.project_id, key.environment) for key in ApiKey.objects.order_by("id")]
    assert placed == [("team", team.pk, None, "live"), ("project", None, project.pk, "test")]


def test_issue_key_carries_the_role_of_the_issuer_named(alice: Person, dana: Person, project: Project) -> None:
    wanted = {"scope": "project", "project": "Checkout", "issuer": " DANA@example.com "}
    run(*issue_key(**wanted))
    assert ApiKey.objects.get().issuer_id == dana.user.pk
    message = refusal(*issue_key(**wanted, permissions="keys:write,scan:read"))
    assert message == "dana@example.com may not grant: keys:write."
    assert refusal(*issue_key(issuer="dana@example.com")) == "dana@example.com may not issue keys of this scope there."
    assert ApiKey.objects.count() == 1


def test_issue_key_takes_the_first_super_admin_by_default(organization: Organization, alice: Person) -> None:
    user = people.create_user(email="zoe@example.com", password=None, at=NOON)
    people.add_to_organization(organization=organization, user=user, role=Role.SUPER_ADMIN, at=NOON - timedelta(days=1))
    run(*issue_key())
    assert ApiKey.objects.get().issuer.email == "zoe@example.com"


def test_issue_key_asks_which_organization_if_there_are_several(alice: Person, charlie: Person) -> None:
    assert refusal(*issue_key()) == "There are several: name one by its id with --organization."
    run(*issue_key(organization="elsewhere"))
    assert ApiKey.objects.get().organization_id == charlie.membership.organization_id


ERRORS: dict[str, tuple[dict[str, str | None], str]] = {
    "blank name": ({"name": "  "}, "A name has 1 to 100 characters, and none that cannot be seen."),
    "long name": ({"name": "x" * 101}, "A name has 1 to 100 characters, and none that cannot be seen."),
    "unknown organization": ({"organization": "Nowhere"}, "There is no organization called Nowhere."),
    "unknown issuer": ({"issuer": "zoe@example.com"}, "Nobody has an account with the address zoe@example.com."),
    "issuer elsewhere": (
        {"issuer": "charlie@example.com", "organization": "Northwind"},
        "charlie@example.com is not in Northwind. Name another issuer with --issuer.",
    ),
    "team missing": ({"scope": "team"}, "--scope team needs --team."),
    "project missing": ({"scope": "project"}, "--scope project needs --project."),
    "team too much": ({"team": "Payments"}, "--scope org does not take --team."),
    "project too much": (
        {"scope": "team", "team": "Payments", "project": "x"},
        "--scope team does not take --project.",
    ),
    "unknown team": ({"scope": "team", "team": "Nobody"}, "There is no team called Nobody."),
    "unknown project": ({"scope": "project", "project": NOBODY}, f"There is no project called {NOBODY}."),
    "no permission": ({"permissions": " , "}, "A key needs at least one permission."),
    "a key as name": (
        {"name": of_nobody()},
        "A key was pasted here. Write something that is no secret.",
    ),
    "0 days": ({"expires-in-days": "0"}, "--expires-in-days goes from 1 to 1825."),
    "1826 days": ({"expires-in-days": "1826"}, "--expires-in-days goes from 1 to 1825."),
}


@pytest.mark.parametrize("name", ERRORS)
def test_issue_key_says_in_a_sentence_what_is_wrong(alice: Person, charlie: Person, team: Team, name: str) -> None:
    options, message = ERRORS[name]
    assert refusal(*issue_key(**{"organization": "Northwind", **options})) == message
    assert ApiKey.objects.count() == 0


def test_issue_key_names_unknown_permissions_and_those_there_are(alice: Person) -> None:
    message = refusal(*issue_key(permissions="scan:read,galaxy:rule,a:b"))
    assert message.startswith("There is no permission a:b, galaxy:rule. There are: projects:read, ")
    assert message.endswith(", and *.")


@pytest.mark.parametrize("missing", ["name", "scope", "permissions"])
def test_issue_key_needs_its_options(alice: Person, missing: str) -> None:
    assert f"--{missing}" in refusal(*issue_key(**{missing: None}))
    assert "invalid choice" in refusal(*issue_key(scope="galaxy"))
    assert "invalid int value" in refusal(*issue_key(**{"expires-in-days": "soon"}))


def test_issue_key_says_if_there_is_no_organization_or_super_admin(db: None) -> None:
    assert refusal(*issue_key()) == "There is no organization yet."
    people.create_organization(name="Northwind", at=NOON)
    assert refusal(*issue_key()) == "There is no super admin in Northwind. Name another issuer with --issuer."


def test_issue_key_carries_no_role_of_a_demoted_super_admin(alice: Person) -> None:
    demote(alice)
    assert refusal(*issue_key(issuer="alice@example.com")).endswith("may not issue keys of this scope there.")


def test_issue_key_saves_and_shows_nothing_if_its_audit_row_fails(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    out = io.StringIO()
    with pytest.raises(LogIsFull):
        call_command(*issue_key(), stdout=out)
    assert (out.getvalue(), ApiKey.objects.count()) == ("", 0)


# revoke_key


@pytest.mark.parametrize("name", ["{row.label}", "{row.label}…", "{row.pk}", "{row.pk.hex}"])
def test_revoke_key_takes_a_label_or_an_id(
    noon: time_machine.Traveller, issued: Issued, issue: Issue, dana: Person, project: Project, name: str
) -> None:
    other = issue(dana, project)
    out, err = run("revoke_key", name.format(row=issued.row), "--reason", "laptop stolen")
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (out, err) == ("", f"{row.label} revoked at 12:00 UTC. It has been refused since.\n")
    assert (row.revoked_at, row.revoked_by_id, row.revoke_reason) == (NOON, None, "laptop stolen")
    assert rows_of(row)[1:] == [Row("api_key.revoked", "update", row.label, "system", "system")]
    assert verify(issued.text, at=NOON).outcome is Outcome.KEY_REVOKED
    assert verify(other.text, at=NOON).outcome is Outcome.ACCEPTED


def test_revoke_key_says_that_it_was_revoked_before(issued: Issued) -> None:
    run("revoke_key", issued.row.label)
    assert refusal("revoke_key", issued.row.label) == f"{issued.row.label} was revoked before. It is refused."


@pytest.mark.parametrize("name", ["kp_sk_live_nobodys1", "", "x", "%", NOBODY])
def test_revoke_key_says_that_there_is_no_such_key(issued: Issued, name: str) -> None:
    assert refusal("revoke_key", name) == "There is no key of this label or id."
    assert not ApiKey.objects.get().is_revoked


def test_revoke_key_takes_a_pasted_key_by_its_label_and_does_not_repeat_it(issued: Issued) -> None:
    out, err = run("revoke_key", issued.text)
    assert ApiKey.objects.get(pk=issued.row.pk).is_revoked
    assert issued.key.secret not in out + err


# prepare and the demo


@pytest.fixture
def seeded(db: None) -> list[demo.SignIn]:
    return demo.seed(NOON)


def test_demo_is_an_organization_of_3_teams_6_projects_12_people_and_40_keys(seeded: list[demo.SignIn]) -> None:
    assert Organization.objects.get().name == "Northwind Labs"
    assert Installation.objects.count() == 1
    counts = [model._default_manager.count() for model in (Team, Project, User, ApiKey)]
    assert counts == [3, 6, 12, 40]
    roles = dict(OrganizationMembership.objects.values_list("role").annotate(Count("id")))
    team_roles = dict(TeamMembership.objects.values_list("role").annotate(Count("id")))
    assert (roles, team_roles) == ({"super_admin": 2, "member": 10}, {"team_admin": 3, "developer": 6})


def test_demo_has_keys_in_every_state_scope_and_environment(seeded: list[demo.SignIn]) -> None:
    keys = list(ApiKey.objects.all())
    assert {health_of(key, at=NOON).code for key in keys} == {
        "active",
        "disabled",
        "expired",
        "expiring",
        "exposed",
        "never_used",
        "revoked",
        "unused",
    }
    assert {key.scope for key in keys} == {"org", "team", "project"}
    assert {key.environment for key in keys} == {"live", "test"}
    assert all(key.created_at < NOON for key in keys)
    assert all(key.last_used_at > key.created_at for key in keys if key.last_used_at)
    assert all(key.created_at < key.revoked_at < NOON for key in keys if key.revoked_at)


def test_demo_tells_its_history_in_order(seeded: list[demo.SignIn]) -> None:
    moments = list(AuditEvent.objects.order_by("id").values_list("at", flat=True))
    assert moments == sorted(moments)
    assert (moments[0], NOON - moments[-1] < timedelta(days=3)) == (NOON - timedelta(days=120), True)
    keys = AuditEvent.objects.filter(target_table="api_keys")
    assert dict(keys.values_list("event").annotate(Count("id"))) == {
        "api_key.created": 40,
        "api_key.revoked": 4,
        "api_key.disabled": 2,
        "api_key.exposed": 1,
    }
    assert {(row.actor_kind, bool(row.address)) for row in keys} == {("user", True)}


def test_demo_prints_sign_ins_that_work(seeded: list[demo.SignIn]) -> None:
    assert [(title, email) for title, email, _ in seeded] == [
        ("Super admin", "alice@northwind.example"),
        ("Team admin", "bob@northwind.example"),
        ("Developer", "dana@northwind.example"),
    ]
    for _, email, password in seeded:
        user = authenticate(RequestFactory().post("/"), email=email, password=password)
        assert user is not None
        assert user.get_username() == email


def test_demo_holds_no_key_that_anyone_knows(seeded: list[demo.SignIn]) -> None:
    assert "kp_sk_live_" in everything_recorded()
    assert "argon2" not in everything_recorded()


def test_demo_is_all_or_nothing(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LogIsFull

    monkeypatch.setattr(demo, "_disable", fail)
    with pytest.raises(LogIsFull):
        demo.seed(NOON)
    assert (User.objects.count(), ApiKey.objects.count(), AuditEvent.objects.count()) == (0, 0, 0)


@pytest.fixture
def no_static(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leave out what takes time and is not of these tests; return what was asked for."""
    asked: list[str] = []
    monkeypatch.setattr("apikeys.management.commands.prepare.call_command", lambda name, **_: asked.append(name))
    monkeypatch.setattr("os.umask", lambda _: 0)
    return asked


def test_prepare_brings_everything_up_to_date_and_prints_the_setup_link(db: None, no_static: list[str]) -> None:
    out, err = run("prepare")
    assert no_static == ["migrate", "createcachetable", "collectstatic"]
    assert "Open this link once" in out
    assert "http://127.0.0.1:8000/setup/" in out
    assert out.endswith("keyportal serves http://127.0.0.1:8000 (Ctrl-C stops it)\n\n")
    assert err == ""
    assert run("prepare")[0] == out


def test_prepare_prints_no_link_once_there_is_a_user(alice: Person, no_static: list[str]) -> None:
    assert run("prepare")[0] == "keyportal serves http://127.0.0.1:8000 (Ctrl-C stops it)\n\n"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_prepare_fills_an_empty_database_if_told_so(
    db: None, no_static: list[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KEYPORTAL_DEMO", value)
    out, _ = run("prepare")
    assert ApiKey.objects.count() == 40
    for email in ("alice", "bob", "dana"):
        assert f"{email}@northwind.example" in out
    assert "/setup/" not in out


@pytest.mark.parametrize("value", ["", "0"])
def test_prepare_fills_nothing_otherwise(
    db: None, no_static: list[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KEYPORTAL_DEMO", value)
    assert "/setup/" in run("prepare")[0]
    assert User.objects.count() == 0


def test_prepare_never_fills_a_database_that_has_users(
    alice: Person, no_static: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYPORTAL_DEMO", "1")
    with pytest.raises(CommandError, match=r"this one has users\. Nothing was changed\."):
        run("prepare")
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 0)


def test_commands_are_the_documented_ones() -> None:
    root = Path(__file__).resolve().parents[2]
    found = {path.stem for path in root.glob("*/management/commands/[a-z]*.py")}
    assert found == {
        "apply_policies",
        "create_admin",
        "create_organization",
        "import_keys",
        "issue_key",
        "prepare",
        "prune_uses",
        "remove_factors",
        "revoke_key",
        "send_announcement",
        "send_mail",
        "verify_domain",
    }


def test_demo_password_is_made_of_distinct_words() -> None:
    words: Any = demo_stories.WORDS
    assert len(set(words)) == len(words) == 64
