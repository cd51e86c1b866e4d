from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts import actions
from accounts.models import (
    Installation,
    Invitation,
    Organization,
    OrganizationMembership,
    Project,
    Role,
    Team,
    TeamMembership,
    User,
)
from tests.accounts.scenes import invited
from tests.cast import NOON, PASSWORD, Person, later


def refused(write: Callable[[], Any], constraint: str) -> None:
    """Assert that the database itself refuses, and by which rule."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        write()
    # SQLite names the columns of a plain unique constraint, and PostgreSQL its name.
    assert any(name in str(caught.value) for name in constraint.split("|"))


def test_user_email_is_kept_in_lower_case(db: None) -> None:
    user = User.objects.create_user(" Erin@Example.COM ", PASSWORD, created_at=NOON)
    user.refresh_from_db()
    assert user.email == "erin@example.com"
    assert user.check_password(PASSWORD)


def test_user_without_a_password_has_none_that_works(db: None) -> None:
    user = User.objects.create_user("erin@example.com", created_at=NOON)
    assert not user.has_usable_password()


def test_user_email_with_a_capital_is_refused_by_the_database(db: None) -> None:
    refused(lambda: User.objects.create(email="Erin@example.com", created_at=NOON), "user_email_is_lower_case")


def test_user_email_is_unique(alice: Person) -> None:
    write = lambda: User.objects.create(email="alice@example.com", created_at=NOON)  # noqa: E731 - one line says it
    refused(write, "accounts_user_email|accounts_user.email")


@pytest.mark.pure
@pytest.mark.parametrize(
    ("user", "shown"),
    [
        (User(email="erin@example.com", name="Erin Smith Jones"), "Erin Smith Jones"),
        (User(email="erin@example.com"), "erin@example.com"),
    ],
)
def test_user_is_shown_by_name_or_else_by_address(user: User, shown: str) -> None:
    assert (user.display_name, str(user)) == (shown, user.email)


def test_installation_is_one(db: None) -> None:
    Installation.objects.create(set_up_at=NOON)
    refused(lambda: Installation.objects.create(set_up_at=NOON), "accounts_installation")
    refused(lambda: Installation.objects.create(id=2, set_up_at=NOON), "installation_is_one")


@pytest.mark.parametrize("name", ["Payments", "PAYMENTS", "payments"])
def test_team_name_is_unique_in_its_organization_whatever_its_case(team: Team, name: str) -> None:
    refused(lambda: Team.objects.create(organization=team.organization, name=name, created_at=NOON), "team_name_unique")


def test_team_of_another_organization_may_have_the_same_name(team: Team, charlie: Person) -> None:
    assert Team.objects.filter(name="Payments").count() == 2


@pytest.mark.parametrize("name", ["Checkout", "CHECKOUT"])
def test_project_name_is_unique_in_its_team_whatever_its_case(project: Project, name: str) -> None:
    refused(lambda: Project.objects.create(team=project.team, name=name, created_at=NOON), "project_name_unique")


def test_project_of_another_team_may_have_the_same_name(project: Project, other_team: Team) -> None:
    twin = Project.objects.create(team=other_team, name="Checkout", created_at=NOON)
    assert twin.name == project.name


@pytest.mark.parametrize("role", [Role.TEAM_ADMIN, Role.DEVELOPER, "owner", ""])
def test_organization_membership_takes_its_own_roles_only(organization: Organization, role: str) -> None:
    user = actions.create_user(email="erin@example.com", password=None, at=NOON)
    refused(
        lambda: OrganizationMembership.objects.create(organization=organization, user=user, role=role, created_at=NOON),
        "organization_membership_role",
    )


def test_organization_membership_is_one_per_person(alice: Person) -> None:
    refused(
        lambda: OrganizationMembership.objects.create(
            organization=alice.membership.organization, user=alice.user, role=Role.MEMBER, created_at=NOON
        ),
        "organization_membership_unique|accounts_organizationmembership.user_id",
    )


@pytest.mark.parametrize("role", [Role.SUPER_ADMIN, Role.MEMBER, "owner", ""])
def test_team_membership_takes_its_own_roles_only(alice: Person, team: Team, role: str) -> None:
    refused(
        lambda: TeamMembership.objects.create(team=team, membership=alice.membership, role=role, created_at=NOON),
        "team_membership_role",
    )


def test_team_membership_is_one_per_person(bob: Person, team: Team) -> None:
    refused(
        lambda: TeamMembership.objects.create(
            team=team, membership=bob.membership, role=Role.DEVELOPER, created_at=NOON
        ),
        "team_membership_unique|accounts_teammembership.membership_id",
    )


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"role": Role.SUPER_ADMIN}, "invitation_role_is_of_its_place"),
        ({"role": Role.AUDITOR}, "invitation_role_is_of_its_place"),
        ({"team": None}, "invitation_role_is_of_its_place"),
        ({"expires_at": NOON}, "invitation_expires_later"),
        ({"token_digest": "taken"}, "token_digest"),
        ({"token_digest": "other", "mailed_token_digest": "mailed"}, "mailed_token_digest"),
    ],
)
def test_invitation_is_refused_by_the_database(
    bob: Person, team: Team, changes: dict[str, Any], constraint: str
) -> None:
    good = {
        "organization": team.organization,
        "team": team,
        "email": "erin@example.com",
        "role": Role.DEVELOPER,
        "token_digest": "new",
        "invited_by": bob.user,
        "created_at": NOON,
        "expires_at": later(days=1),
    }
    Invitation.objects.create(**good | {"token_digest": "taken", "mailed_token_digest": "mailed"})
    refused(lambda: Invitation.objects.create(**good | changes), constraint)


def test_pending_leaves_out_what_was_accepted_or_has_ended(bob: Person, team: Team, noon: object) -> None:
    open_one, _ = invited(bob, team)
    used, _ = invited(bob, team, "frank@example.com")
    actions.register_invited(invitation=used, name="Frank", password=PASSWORD, at=NOON)
    invited(bob, team, "grace@example.com", at=later(days=-7))
    assert [*Invitation.objects.pending(at=NOON)] == [open_one]


def test_with_counts_counts_people_and_projects_apart(team: Team, bob: Person, dana: Person, project: Project) -> None:
    for name in ("Refunds", "Ledger"):
        actions.create_project(principal=bob.principal, team=team, name=name, at=NOON)
    row = vars(Team.objects.with_counts().get(pk=team.pk))
    assert (row["member_count"], row["project_count"]) == (2, 3)


def test_by_name_ignores_case(organization: Organization, alice: Person) -> None:
    for name in ("beta", "Alpha", "Gamma"):
        team = actions.create_team(principal=alice.principal, name=name, at=NOON)
        for project in ("two", "One"):
            actions.create_project(principal=alice.principal, team=team, name=project, at=NOON)
    assert [team.name for team in Team.objects.by_name()] == ["Alpha", "beta", "Gamma"]
    named = [(project.team.name, project.name) for project in Project.objects.select_related("team").by_name()]
    assert named == [(team, project) for team in ("Alpha", "beta", "Gamma") for project in ("One", "two")]


def test_rows_say_what_they_are(bob: Person, team: Team, project: Project) -> None:
    invitation, _ = invited(bob, team)
    [in_team] = TeamMembership.objects.all()
    rows = (team.organization, team, project, bob.membership, in_team, invitation, Installation(set_up_at=NOON))
    assert [str(row) for row in rows] == [
        "Northwind",
        "Payments",
        "Checkout",
        "bob@example.com in Northwind",
        "bob@example.com in Payments",
        "erin@example.com to Payments",
        "set up at 2026-03-02",
    ]
