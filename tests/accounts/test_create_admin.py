import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import actions
from accounts.lookup import one_organization, one_project, one_team, one_user
from accounts.models import Organization, OrganizationMembership, Project, Role, Team, User
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull
from tests.cast import NOON, PASSWORD, Person

EMAIL = "erin@example.com"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is piped into the command: the password, unless the test writes another line."""
    text = io.StringIO(f"{PASSWORD}\nnot this line\n")
    monkeypatch.setattr("sys.stdin", text)
    return text


def create_admin(*arguments: str) -> str:
    """Run the command and return what it says; nothing may go to stdout."""
    stdout, stderr = io.StringIO(), io.StringIO()
    call_command("create_admin", *arguments, stdout=stdout, stderr=stderr, no_color=True)
    assert stdout.getvalue() == ""
    return stderr.getvalue()


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        create_admin(*arguments)
    return str(caught.value)


def super_admins() -> list[tuple[str, str]]:
    rows = OrganizationMembership.objects.filter(role="super_admin").order_by("organization__name", "user__email")
    return [*rows.values_list("organization__name", "user__email")]


def test_create_admin_makes_the_first_organization_too(db: None, typed: io.StringIO) -> None:
    assert create_admin("Erin@Example.com", "--organization", "Northwind", "--name", "Erin") == (
        "erin@example.com is a super admin of Northwind.\n"
    )
    user = User.objects.get()
    assert (user.name, user.check_password(PASSWORD), super_admins()) == ("Erin", True, [("Northwind", EMAIL)])


def test_create_admin_is_on_record_as_the_systems(db: None, typed: io.StringIO) -> None:
    create_admin(EMAIL, "--organization", "Northwind")
    assert {*AuditEvent.objects.values_list("actor_kind", "organization_id")} == {
        ("system", Organization.objects.get().pk)
    }
    assert {*AuditEvent.objects.values_list("event", flat=True)} == {
        "organization.created",
        "user.created",
        "organization_membership.created",
    }


def test_create_admin_needs_no_name_of_the_only_organization(organization: Organization, typed: io.StringIO) -> None:
    create_admin(EMAIL)
    assert super_admins() == [("Northwind", EMAIL)]


@pytest.mark.parametrize("named", ["Elsewhere", "ELSEWHERE", "{id}"])
def test_create_admin_takes_the_organization_that_is_named(
    alice: Person, charlie: Person, typed: io.StringIO, named: str
) -> None:
    create_admin(EMAIL, "--organization", named.format(id=charlie.membership.organization_id))
    assert super_admins() == [
        ("Elsewhere", "charlie@example.com"),
        ("Elsewhere", EMAIL),
        ("Northwind", "alice@example.com"),
    ]


def test_create_admin_raises_an_existing_member_and_asks_for_no_password(
    dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    create_admin("Dana@example.com", "--existing")
    assert super_admins() == [("Northwind", "dana@example.com")]
    assert User.objects.get(email="dana@example.com").check_password(PASSWORD)


@pytest.mark.parametrize("email", ["dana@example.com", "DANA@example.com"])
def test_create_admin_raises_nobody_by_accident(dana: Person, typed: io.StringIO, email: str) -> None:
    before = AuditEvent.objects.count()
    assert refusal(email) == ("dana@example.com has had an account since 2026-03-02. If it is theirs, add --existing.")
    assert (super_admins(), AuditEvent.objects.count()) == ([], before)
    assert typed.tell() == 0


def test_create_admin_makes_an_account_if_there_is_none_to_raise(
    organization: Organization, typed: io.StringIO
) -> None:
    create_admin(EMAIL, "--existing")
    assert super_admins() == [("Northwind", EMAIL)]
    assert User.objects.get().check_password(PASSWORD)


def test_create_admin_is_on_the_organizations_page(alice_client: Client, typed: io.StringIO) -> None:
    create_admin(EMAIL)
    shown = alice_client.get("/audit/?target_table=users&action=create")
    assert [(row.event, row.target_label, row.actor_label) for row in shown.context["events"]] == [
        ("user.created", EMAIL, "system")
    ]


@pytest.mark.parametrize("email", ["erin", "erin@", "@example.com", ""])
def test_create_admin_refuses_what_is_no_address(organization: Organization, typed: io.StringIO, email: str) -> None:
    assert refusal(email) == f"{email} is no email address."


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("", "at least 15 characters"),
        ("too short", "at least 15 characters"),
        ("123456789987654321", "too common"),
        ("erin@example.com", "too similar to the email"),
        ("x" * 129, "at most 128 characters"),
    ],
)
def test_create_admin_keeps_the_rules(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, password: str, sentence: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    assert sentence in refusal(EMAIL)
    assert User.objects.count() == 0


def test_create_admin_says_which_organizations_it_cannot_tell_apart(
    alice: Person, charlie: Person, typed: io.StringIO
) -> None:
    assert refusal(EMAIL) == "There are several: name one by its id with --organization."
    assert not User.objects.filter(email=EMAIL).exists()


def test_create_admin_says_which_organization_it_does_not_find(alice: Person, typed: io.StringIO) -> None:
    assert refusal(EMAIL, "--organization", "Nowhere") == "There is no organization called Nowhere."


def test_create_admin_says_so_if_there_is_no_organization_yet(db: None, typed: io.StringIO) -> None:
    assert refusal(EMAIL) == "There is no organization yet."
    assert User.objects.count() == 0


def test_create_admin_makes_nothing_if_the_audit_row_fails(db: None, typed: io.StringIO, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        create_admin(EMAIL, "--organization", "Northwind")
    assert (User.objects.count(), Organization.objects.count()) == (0, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("second", [PASSWORD, "something else"])
def test_create_admin_asks_twice_at_a_terminal(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    answers = [PASSWORD, second]
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _prompt: answers.pop(0))
    if second == PASSWORD:
        create_admin(EMAIL)
        assert User.objects.get().check_password(PASSWORD)
    else:
        assert refusal(EMAIL) == "The two passwords differ. Nothing was made; run the command again."
        assert User.objects.count() == 0


# What operators name


def test_lookups_find_by_name_or_id(team: Team, project: Project) -> None:
    assert [one_organization(None), one_organization("northwind")] == [team.organization] * 2
    assert [one_team(team.organization, text) for text in ("payments", str(team.pk))] == [team, team]
    found = [one_project(team.organization, text) for text in ("checkout", str(project.pk))]
    assert (found, found[0].team) == ([project, project], team)


def test_lookups_stay_inside_the_organization(team: Team, charlie: Person) -> None:
    far = Team.objects.get(organization=charlie.membership.organization)
    with pytest.raises(CommandError):
        one_team(team.organization, str(far.pk))
    with pytest.raises(CommandError):
        one_project(team.organization, str(far.projects.get().pk))


def test_project_of_a_name_that_two_teams_have_is_named_by_id(
    alice: Person, project: Project, other_team: Team
) -> None:
    actions.create_project(principal=alice.principal, team=other_team, name="Checkout", at=NOON)
    with pytest.raises(CommandError, match=r"^There are several: name one by its id with --project\.$"):
        one_project(other_team.organization, "Checkout")


@pytest.mark.parametrize("email", ["dana@example.com", " DANA@example.com"])
def test_user_is_found_by_address(dana: Person, email: str) -> None:
    assert one_user(email) == dana.user


def test_user_that_is_none_is_said(db: None) -> None:
    with pytest.raises(CommandError, match=r"^Nobody has an account with the address erin@example\.com\.$"):
        one_user(EMAIL)


def test_create_admin_leaves_other_roles_alone(alice: Person, bob: Person, typed: io.StringIO) -> None:
    create_admin(EMAIL)
    assert Role.TEAM_ADMIN in bob.principal.team_roles.values()
    assert super_admins() == [("Northwind", "alice@example.com"), ("Northwind", EMAIL)]
