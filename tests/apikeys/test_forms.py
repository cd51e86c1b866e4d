from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, Team
from apikeys.flows import ORGANIZATION, PUBLISHABLE, SECRET, Flow
from apikeys.forms.ending import RevokeKeyForm
from apikeys.forms.issuing import IssueKeyForm
from apikeys.permissions import BUILT_IN, Role
from tests.apikeys.people import leave_teams
from tests.apikeys.presented import of_nobody
from tests.cast import NOON, Issued, Person

ISSUE_ID = uuid7()


def filled(**changes: Any) -> dict[str, Any]:
    return {
        "issue_id": str(ISSUE_ID),
        "name": "ci",
        "scope": "org",
        "environment": "live",
        "permissions": ["scan:read"],
        "expiry": "90",
    } | changes


def form_of(person: Person, **changes: Any) -> IssueKeyForm:
    return as_typed(person, filled(**changes))


def as_typed(person: Person, typed: dict[str, Any]) -> IssueKeyForm:
    """Return the form of the page on which keys of that scope are issued."""
    flow = ORGANIZATION if typed.get("scope") == "org" else SECRET
    return IssueKeyForm(typed, principal=person.principal, at=NOON, flow=flow)


def errors_of(form: IssueKeyForm) -> dict[str, list[str]]:
    return {field: [str(error) for error in errors] for field, errors in form.errors.items()}


# What is offered


@pytest.mark.parametrize(
    ("who", "scopes", "teams", "projects"),
    [
        (
            "alice",
            ["team", "project"],
            ["Payments", "Platform"],
            ["Payments / Checkout", "Platform / Deployments"],
        ),
        ("bob", ["team", "project"], ["Payments"], ["Payments / Checkout"]),
        ("dana", ["project"], [], ["Payments / Checkout"]),
        ("charlie", ["team", "project"], ["Payments"], ["Payments / Checkout"]),
    ],
)
def test_form_offers_what_the_person_may_issue(
    alice: Person,
    bob: Person,
    dana: Person,
    charlie: Person,
    project: Project,
    other_project: Project,
    who: str,
    scopes: list[str],
    teams: list[str],
    projects: list[str],
) -> None:
    person = {"alice": alice, "bob": bob, "dana": dana, "charlie": charlie}[who]
    form = IssueKeyForm(principal=person.principal, at=NOON)
    assert [value for value, _ in form["scope"].field.choices] == scopes  # type: ignore[attr-defined] # a ChoiceField
    assert [label for _, label in form["team"].field.choices] == ["Choose a team", *teams]  # type: ignore[attr-defined] # a ChoiceField
    assert [label for _, label in form["project"].field.choices] == ["Choose a project", *projects]  # type: ignore[attr-defined] # a ChoiceField


def test_form_begins_with_90_days_and_live_and_nothing_else(alice: Person, project: Project) -> None:
    form = IssueKeyForm(principal=alice.principal, at=NOON)
    chosen = {field.name: field.value() for field in form if field.value() and field.name != "issue_id"}
    # There is one project, so it need not be chosen.
    assert chosen == {"environment": "live", "expiry": "90", "team": project.team_id, "project": project.pk}
    assert not [choice for group in form.groups() for choice in group.choices if choice.is_checked]


def test_only_scope_is_chosen_already(dana: Person, project: Project) -> None:
    assert IssueKeyForm(principal=dana.principal, at=NOON)["scope"].value() == "project"


def test_every_form_has_a_name_of_its_own(dana: Person, project: Project) -> None:
    first, second = (IssueKeyForm(principal=dana.principal, at=NOON)["issue_id"].value() for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("who", "role"), [("alice", Role.SUPER_ADMIN), ("bob", Role.TEAM_ADMIN), ("dana", Role.DEVELOPER)]
)
def test_form_offers_the_catalogue_and_says_who_may_grant_the_rest(
    alice: Person, bob: Person, dana: Person, who: str, role: Role
) -> None:
    person = {"alice": alice, "bob": bob, "dana": dana}[who]
    form = IssueKeyForm(
        principal=person.principal, at=NOON, initial={"permissions": ["scan:read", "org:read", "keys:write"]}
    )
    choices = {choice.value: choice for group in form.groups() for choice in group.choices}
    assert {name for name, choice in choices.items() if choice.is_grantable} == BUILT_IN.grantable(role) | {"*"}
    wanted = {"scan:read", "org:read", "keys:write"}
    assert {name for name, choice in choices.items() if choice.is_checked} == wanted & BUILT_IN.grantable(role)
    assert choices["scan:read"].role == ""
    assert choices["org:read"].role == ("" if role is Role.SUPER_ADMIN else "super admin")
    assert form.groups()[-1].title == "Everything"


def test_member_without_a_team_may_grant_nothing(charlie: Person, dana: Person) -> None:
    leave_teams(dana)
    form = IssueKeyForm(principal=dana.principal, at=NOON)
    assert form.scopes == []
    assert [choice.value for group in form.groups() for choice in group.choices if choice.is_grantable] == ["*"]


# What is taken


def test_filled_in_form_is_valid_and_names_its_place(
    alice: Person, organization: Organization, team: Team, project: Project
) -> None:
    for scope, place in {"org": organization, "team": team, "project": project}.items():
        form = form_of(alice, scope=scope, team=str(team.pk), project=str(project.pk))
        assert errors_of(form) == {}
        assert form.place(organization) == place


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": ({"name": " "}, "name", "This field is required."),
    "newline": ({"name": "a\nb"}, "name", "A name has 1 to 100 characters, and none that cannot be seen."),
    "zero-width space": ({"name": "a\u200bb"}, "name", "A name has 1 to 100 characters, and none that cannot be seen."),
    "a key": (
        {"name": f"ci {of_nobody()}"},
        "name",
        "A key was pasted here. Write something that is no secret.",
    ),
    "no scope": ({"scope": ""}, "scope", "Choose a scope."),
    "no team": ({"scope": "team"}, "team", "Choose the team that the key is for."),
    "no project": ({"scope": "project"}, "project", "Choose the project that the key is for."),
    "no permission": ({"permissions": []}, "permissions", "Choose at least one permission."),
    "no id": ({"issue_id": ""}, "issue_id", "This field is required."),
    "malformed id": ({"issue_id": "x"}, "issue_id", "Enter a valid UUID."),
    "no expiry": ({"expiry": ""}, "expiry", "This field is required."),
    "no date": ({"expiry": "date"}, "expires_on", "Choose the last day on which the key works."),
    "malformed date": ({"expiry": "date", "expires_on": "soon"}, "expires_on", "Enter a valid date."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_field_is_named_with_what_to_do(alice: Person, project: Project, name: str) -> None:
    changes, field, message = BAD[name]
    assert errors_of(form_of(alice, **changes)) == {field: [message]}


@pytest.mark.parametrize("name", ["x" * 101, "a\0b", "\0"])
def test_name_that_no_database_holds_is_refused(alice: Person, name: str) -> None:
    assert list(errors_of(form_of(alice, name=name))) == ["name"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scope", "galaxy"),
        ("environment", "prod"),
        ("expiry", "1826"),
        ("expiry", "-1"),
        ("permissions", ["galaxy:rule"]),
        ("team", "not-an-id"),
        ("team", "\0"),
        ("project", str(UUID(int=7))),
    ],
)
def test_choice_that_is_not_offered_is_refused(alice: Person, project: Project, field: str, value: Any) -> None:
    place = (
        {"scope": "team", "team": str(project.team_id)} if field not in {"scope", "project"} else {"scope": "project"}
    )
    assert list(errors_of(form_of(alice, **place | {field: value}))) == [field]


def test_place_of_others_is_not_offered(
    bob: Person, other_team: Team, other_project: Project, project: Project
) -> None:
    assert "team" in errors_of(form_of(bob, scope="team", team=str(other_team.pk)))
    assert "project" in errors_of(form_of(bob, scope="project", project=str(other_project.pk)))
    form = IssueKeyForm(filled(scope="org"), principal=bob.principal, at=NOON, flow=SECRET)
    assert "scope" in errors_of(form)


# Its end


@pytest.mark.parametrize("days", ["30", "90", "180", "365"])
def test_preset_ends_so_many_days_from_now(alice: Person, days: str) -> None:
    form = form_of(alice, expiry=days)
    assert form.is_valid()
    assert form.expires_at() == NOON + timedelta(days=int(days))


def test_never_has_no_end(alice: Person) -> None:
    form = form_of(alice, expiry="never", expires_on="2026-04-01")
    assert form.is_valid()
    assert form.expires_at() is None


@pytest.mark.parametrize(
    ("last_day", "ends_at"),
    [
        ("2026-03-02", datetime(2026, 3, 3, tzinfo=UTC)),
        ("2026-03-03", datetime(2026, 3, 4, tzinfo=UTC)),
        ("2031-02-28", datetime(2031, 3, 1, tzinfo=UTC)),
    ],
)
def test_date_is_the_last_day_on_which_the_key_works(alice: Person, last_day: str, ends_at: datetime) -> None:
    form = form_of(alice, expiry="date", expires_on=last_day)
    assert errors_of(form) == {}
    assert form.expires_at() == ends_at
    assert ends_at <= NOON + timedelta(days=1825)


@pytest.mark.parametrize("day", ["2026-03-01", "2031-03-01", "1970-01-01", "9999-12-31"])
def test_date_outside_of_today_and_five_years_is_refused(alice: Person, day: str) -> None:
    form = form_of(alice, expiry="date", expires_on=day)
    assert errors_of(form) == {"expires_on": ["Choose a day from today to 2031-02-28."]}


def test_date_counts_only_where_it_is_chosen(alice: Person) -> None:
    form = form_of(alice, expiry="30", expires_on="9999-12-31")
    assert form.is_valid()
    assert form.expires_at() == NOON + timedelta(days=30)


# In words


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({}, "Can do nothing yet: choose at least one permission."),
        (
            {"permissions": ["scan:read"]},
            "Can read scans. Cannot write, delete, manage keys or do anything else. Choose a scope.",
        ),
        (
            {"permissions": ["scan:read"], "scope": "project"},
            "Can read scans in the project you choose. Cannot write, delete, manage keys or do anything else.",
        ),
        (
            {"permissions": ["scan:read"], "scope": "org", "environment": "test", "expiry": "30"},
            (
                "Can read scans in organization Northwind (test) until 1 April 2026. "
                "Cannot write, delete, manage keys or do anything else."
            ),
        ),
        (
            {"permissions": ["*"], "scope": "org", "environment": "live", "expiry": "never"},
            (
                "Can do everything its issuer's role allows in organization Northwind (live) with no expiry. "
                "Cannot do more than its issuer may at that moment."
            ),
        ),
        (
            {"permissions": ["scan:read", "galaxy:rule"], "scope": "galaxy", "expiry": "date", "expires_on": "soon"},
            "Can do nothing yet: choose at least one permission.",
        ),
    ],
)
def test_form_says_what_the_key_could_do_however_little_is_filled_in(
    alice: Person, organization: Organization, project: Project, typed: dict[str, Any], sentence: str
) -> None:
    assert as_typed(alice, typed).sentence(organization) == sentence


def test_sentence_names_the_team(alice: Person, team: Team, organization: Organization) -> None:
    form = form_of(alice, scope="team", team=str(team.pk))
    assert "in team Payments (live) until 31 May 2026" in form.sentence(organization)


# Revoking


def revoke_form(issued: Issued, *, is_used_recently: bool, **data: str) -> RevokeKeyForm:
    return RevokeKeyForm(data, api_key=issued.row, is_used_recently=is_used_recently)


def test_revoking_an_unused_key_asks_for_nothing(issued: Issued) -> None:
    assert revoke_form(issued, is_used_recently=False).is_valid()
    assert "name" not in revoke_form(issued, is_used_recently=False).fields


@pytest.mark.parametrize(
    ("typed", "is_right"),
    [
        ("github-action-checkout-service", True),
        ("  github-action-checkout-service ", True),
        ("GitHub-action-checkout-service", False),
        ("github-action", False),
        ("", False),
    ],
)
def test_revoking_a_used_key_asks_for_its_name(issued: Issued, typed: str, is_right: bool) -> None:
    form = revoke_form(issued, is_used_recently=True, name=typed)
    assert form.fields["name"].label == "Type github-action-checkout-service to confirm"
    assert form.is_valid() is is_right


def test_reason_fits_its_column(issued: Issued) -> None:
    assert revoke_form(issued, is_used_recently=False, reason="x" * 200).is_valid()
    assert list(revoke_form(issued, is_used_recently=False, reason="x" * 201).errors) == ["reason"]


def test_name_with_spaces_around_can_be_typed(issue: Callable[..., Issued], alice: Person, team: Team) -> None:
    issued = issue(alice, team, name=" nightly  scan ")
    assert revoke_form(issued, is_used_recently=True, name="nightly  scan").is_valid()


# The three flows


def test_organization_form_asks_for_no_place(alice: Person, organization: Organization) -> None:
    form = form_of(alice, scope="org")
    assert errors_of(form) == {}
    assert not {"scope", "team", "project", "allowed_origins"} & form.fields.keys()
    assert form.place(organization) == organization


def test_sdk_form_shows_locked_permissions_and_asks_for_origins(
    alice: Person, organization: Organization, project: Project
) -> None:
    typed = filled(project=str(project.pk), allowed_origins="https://App.example.com:443\n\nhttp://localhost:5173/")
    form = IssueKeyForm(typed, principal=alice.principal, at=NOON, flow=PUBLISHABLE)
    assert errors_of(form) == {}
    assert not {"scope", "team", "permissions"} & form.fields.keys()
    assert form.granted == ["analysis:create", "analysis:read"]
    assert [entry.name for entry in form.locked()] == form.granted
    assert form.place(organization) == project
    assert form.cleaned_data["allowed_origins"] == ["https://app.example.com", "http://localhost:5173"]
    assert "Can create and read analyses in project Checkout (live)" in form.sentence(organization)


@pytest.mark.parametrize(
    ("flow", "field", "text"),
    [
        (PUBLISHABLE, "allowed_origins", "https://example.com/path"),
        (PUBLISHABLE, "allowed_origins", "https://*.example.com"),
        (PUBLISHABLE, "allowed_origins", "http://example.com"),
        (PUBLISHABLE, "allowed_origins", "\n".join(f"https://{n}.example.com" for n in range(21))),
        (ORGANIZATION, "networks", "203.0.113.7/24"),
        (ORGANIZATION, "networks", "everywhere"),
        (ORGANIZATION, "networks", "\n".join(f"203.0.113.{n}" for n in range(51))),
    ],
)
def test_line_that_is_none_is_refused(alice: Person, project: Project, flow: Flow, field: str, text: str) -> None:
    typed = filled(project=str(project.pk), **{field: text})
    assert list(errors_of(IssueKeyForm(typed, principal=alice.principal, at=NOON, flow=flow))) == [field]


def test_networks_are_brought_into_one_form(alice: Person, organization: Organization) -> None:
    form = form_of(alice, scope="org", networks=" 203.0.113.0/24 \n2001:DB8::/32\n198.51.100.7\n198.51.100.7")
    assert errors_of(form) == {}
    assert form.cleaned_data["networks"] == ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32"]
