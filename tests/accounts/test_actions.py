from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress

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
from audit.context import ANONYMOUS, audit_context
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, acting_as, by, event_names, invited, last_event, together
from tests.cast import NOON, PASSWORD, Person, later

SETUP: dict[str, Any] = {
    "organization_name": " Northwind ",
    "email": "Alice@Example.com",
    "password": PASSWORD,
    "at": NOON,
}
MODELS = (Installation, Organization, User, OrganizationMembership, Team, TeamMembership, Project, Invitation)


def row_counts() -> list[int]:
    return [model._default_manager.count() for model in (*MODELS, EmailAddress, AuditEvent)]


# Set-up


def test_set_up_makes_the_first_organization_and_its_super_admin(db: None) -> None:
    membership = actions.set_up(**SETUP)
    user = membership.user
    assert (membership.organization.name, user.email, membership.role) == (
        "Northwind",
        "alice@example.com",
        "super_admin",
    )
    assert user.check_password(PASSWORD)
    assert (user.created_at, membership.created_at, Installation.objects.get().set_up_at) == (NOON, NOON, NOON)
    address = EmailAddress.objects.get()
    assert (address.user, address.email, address.primary, address.verified) == (user, user.email, True, False)


def test_set_up_is_on_record(db: None) -> None:
    with audit_context(actor=ANONYMOUS, request_id="r-1", address="198.51.100.7", at=NOON):
        membership = actions.set_up(**SETUP)
    rows = AuditEvent.objects.order_by("id").values_list(
        "event", "action", "target_table", "target_label", "organization_id", "actor_kind", "address"
    )
    organization_id = membership.organization_id
    assert [*rows] == [
        ("organization.created", "create", "organizations", "Northwind", organization_id, "anonymous", "198.51.100.7"),
        ("user.created", "create", "users", "alice@example.com", organization_id, "anonymous", "198.51.100.7"),
        (
            "organization_membership.created",
            "create",
            "organization_memberships",
            "alice@example.com",
            organization_id,
            "anonymous",
            "198.51.100.7",
        ),
    ]


def test_set_up_is_refused_once_there_is_a_user(alice: Person) -> None:
    before = row_counts()
    with pytest.raises(actions.AlreadySetUp):
        actions.set_up(**SETUP | {"email": "mallory@example.com"})
    assert row_counts() == before


def test_set_up_is_refused_if_another_is_under_way(db: None) -> None:
    Installation.objects.create(set_up_at=NOON)
    with pytest.raises(actions.AlreadySetUp):
        actions.set_up(**SETUP)
    assert User.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_set_up_is_won_by_one_of_two_at_once() -> None:
    emails = ["alice@example.com", "mallory@example.com"]
    results = together(2, lambda number: actions.set_up(**SETUP | {"email": emails[number]}))
    assert sorted(type(result).__name__ for result in results) == ["AlreadySetUp", "OrganizationMembership"]
    assert (User.objects.count(), Organization.objects.count(), OrganizationMembership.objects.count()) == (1, 1, 1)


# People


def test_create_user_is_on_record_without_the_password(alice: Person) -> None:
    with acting_as(alice):
        user = actions.create_user(email=" Erin@example.com", password=PASSWORD, name=" Erin ", at=NOON)
    assert (user.email, user.name) == ("erin@example.com", "Erin")
    assert last_event() == by(
        alice,
        organization_id=None,
        event="user.created",
        action="create",
        target_table="users",
        target_id=str(user.pk),
        target_label="erin@example.com",
        changes={
            "email": [None, "erin@example.com"],
            "is_active": [None, True],
            "wants_product_updates": [None, False],
            "wants_security_advisories": [None, True],
            "wants_tips": [None, False],
            "password": [None, "•••"],
            "name": [None, "•••"],
            "company": [None, "•••"],
            "job_title": [None, "•••"],
            "time_zone": [None, "•••"],
        },
    )


@pytest.mark.parametrize("email", ["alice@example.com", "ALICE@example.com ", " Alice@Example.com"])
def test_create_user_refuses_an_address_that_has_an_account(alice: Person, email: str) -> None:
    with pytest.raises(actions.AccountExists):
        actions.create_user(email=email, password=None, at=NOON)


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_create_user_is_won_by_one_of_two_at_once() -> None:
    results = together(2, lambda _: actions.create_user(email="erin@example.com", password=None, at=NOON))
    assert sorted(type(result).__name__ for result in results) == ["AccountExists", "User"]
    assert event_names() == ["user.created"]


def test_create_user_refuses_when_the_database_finds_the_address_first(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User.objects, "filter", lambda **_: User.objects.none())
    with pytest.raises(actions.AccountExists):
        actions.create_user(email="alice@example.com", password=None, at=NOON)


def test_add_to_organization_makes_a_member(alice: Person) -> None:
    user = actions.create_user(email="erin@example.com", password=None, at=NOON)
    with acting_as(alice):
        membership = actions.add_to_organization(
            organization=alice.membership.organization, user=user, role=Role.MEMBER, at=NOON
        )
    assert (membership.role, membership.created_at) == ("member", NOON)
    assert last_event() == by(
        alice,
        event="organization_membership.created",
        action="create",
        target_table="organization_memberships",
        target_id=str(membership.pk),
        target_label="erin@example.com",
        changes={
            "organization_id": [None, str(alice.membership.organization_id)],
            "user_id": [None, str(user.pk)],
            "role": [None, "member"],
        },
    )


@pytest.mark.parametrize(
    ("had", "given", "has"),
    [
        (Role.MEMBER, Role.SUPER_ADMIN, "super_admin"),
        (Role.SUPER_ADMIN, Role.MEMBER, "super_admin"),
        (Role.SUPER_ADMIN, Role.SUPER_ADMIN, "super_admin"),
        (Role.MEMBER, Role.MEMBER, "member"),
    ],
)
def test_add_to_organization_keeps_the_greater_role(
    organization: Organization, had: Role, given: Role, has: str
) -> None:
    user = actions.create_user(email="erin@example.com", password=None, at=NOON)
    first = actions.add_to_organization(organization=organization, user=user, role=had, at=NOON)
    second = actions.add_to_organization(organization=organization, user=user, role=given, at=later(days=1))
    second.refresh_from_db()
    assert (first.pk, second.role, second.created_at) == (second.pk, has, NOON)
    updates = ["organization_membership.updated"] if had != has else []
    assert event_names(action="update") == updates


def test_add_to_team_brings_the_person_into_the_organization(alice: Person, team: Team) -> None:
    user = actions.create_user(email="erin@example.com", password=None, at=NOON)
    with acting_as(alice):
        in_team = actions.add_to_team(team=team, user=user, role=Role.TEAM_ADMIN, at=NOON)
    assert (in_team.membership.organization, in_team.membership.role) == (team.organization, "member")
    assert last_event() == by(
        alice,
        team_id=team.pk,
        event="team_membership.created",
        action="create",
        target_table="team_memberships",
        target_id=str(in_team.pk),
        target_label="erin@example.com in Payments",
        changes={
            "team_id": [None, str(team.pk)],
            "membership_id": [None, str(in_team.membership_id)],
            "role": [None, "team_admin"],
            "is_from_group": [None, False],
        },
    )


def test_add_to_team_keeps_a_super_admin_one(alice: Person, team: Team) -> None:
    in_team = actions.add_to_team(team=team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    assert in_team.membership.role == "super_admin"


def test_add_to_team_refuses_who_is_in_it(bob: Person, team: Team) -> None:
    with pytest.raises(actions.AlreadyMember):
        actions.add_to_team(team=team, user=bob.user, role=Role.DEVELOPER, at=NOON)
    assert [row.role for row in TeamMembership.objects.all()] == ["team_admin"]


# Teams and projects


def test_create_organization_is_on_record(alice: Person) -> None:
    with acting_as(alice):
        organization = actions.create_organization(name=" Southwind ", at=NOON)
    assert last_event() == by(
        alice,
        organization_id=organization.pk,
        event="organization.created",
        action="create",
        target_table="organizations",
        target_id=str(organization.pk),
        target_label="Southwind",
        changes={
            "name": [None, "Southwind"],
            "slug": [None, "southwind"],
            "logo_initials": [None, ""],
            "permission_catalogue": [None, {}],
            "network_policy": [None, {}],
            "security_policy": [None, {}],
        },
    )


def test_create_team_is_on_record(alice: Person) -> None:
    with acting_as(alice):
        team = actions.create_team(principal=alice.principal, name=" Payments ", at=NOON)
    assert (team.name, team.organization_id, team.created_at) == (
        "Payments",
        alice.membership.organization_id,
        NOON,
    )
    assert last_event() == by(
        alice,
        team_id=team.pk,
        event="team.created",
        action="create",
        target_table="teams",
        target_id=str(team.pk),
        target_label="Payments",
        changes={"name": [None, "Payments"]},
    )


@pytest.mark.parametrize("who", ["bob", "dana"])
def test_create_team_is_for_the_super_admin(request: pytest.FixtureRequest, who: str) -> None:
    person = request.getfixturevalue(who)
    with pytest.raises(actions.NotAllowed):
        actions.create_team(principal=person.principal, name="Mine", at=NOON)
    assert not Team.objects.filter(name="Mine").exists()


def test_create_team_refuses_a_name_that_is_taken(alice: Person, team: Team) -> None:
    with pytest.raises(actions.NameTaken):
        actions.create_team(principal=alice.principal, name="PAYMENTS ", at=NOON)
    assert Team.objects.count() == 1


def test_create_project_is_on_record(bob: Person, team: Team) -> None:
    with acting_as(bob):
        project = actions.create_project(principal=bob.principal, team=team, name=" Checkout ", at=NOON)
    assert (project.name, project.team, project.created_at) == ("Checkout", team, NOON)
    assert last_event() == by(
        bob,
        team_id=team.pk,
        project_id=project.pk,
        event="project.created",
        action="create",
        target_table="projects",
        target_id=str(project.pk),
        target_label="Checkout",
        changes={"name": [None, "Checkout"], "team_id": [None, str(team.pk)], "environments": [None, "any"]},
    )


@pytest.mark.parametrize("who", ["dana", "charlie"])
def test_create_project_is_for_admins_of_the_team(team: Team, request: pytest.FixtureRequest, who: str) -> None:
    person = request.getfixturevalue(who)
    with pytest.raises(actions.NotAllowed):
        actions.create_project(principal=person.principal, team=team, name="Mine", at=NOON)
    assert team.projects.count() == 0


def test_create_project_is_not_for_an_admin_of_another_team(bob: Person, other_team: Team) -> None:
    with pytest.raises(actions.NotAllowed):
        actions.create_project(principal=bob.principal, team=other_team, name="Mine", at=NOON)


def test_create_project_refuses_a_name_that_is_taken(bob: Person, project: Project) -> None:
    with pytest.raises(actions.NameTaken):
        actions.create_project(principal=bob.principal, team=project.team, name=" checkout", at=NOON)
    assert Project.objects.count() == 1


# All or nothing


def write_organization(_: Person, __: Team) -> None:
    actions.create_organization(name="Southwind", at=NOON)


def write_user(_: Person, __: Team) -> None:
    actions.create_user(email="erin@example.com", password=None, at=NOON)


def write_role(_: Person, team: Team) -> None:
    dana = User.objects.get(email="dana@example.com")
    actions.add_to_organization(organization=team.organization, user=dana, role=Role.SUPER_ADMIN, at=NOON)


def write_team_membership(alice: Person, team: Team) -> None:
    actions.add_to_team(team=team, user=alice.user, role=Role.DEVELOPER, at=NOON)


def write_team(alice: Person, _: Team) -> None:
    actions.create_team(principal=alice.principal, name="Ledger", at=NOON)


def write_project(alice: Person, team: Team) -> None:
    actions.create_project(principal=alice.principal, team=team, name="Ledger", at=NOON)


def write_invitation(alice: Person, team: Team) -> None:
    actions.invite(principal=alice.principal, team=team, email="erin@example.com", role=Role.DEVELOPER, at=NOON)


def write_acceptance(alice: Person, _: Team) -> None:
    actions.accept_invitation(invitation=Invitation.objects.get(email=alice.email), user=alice.user, at=NOON)


def write_registration(_: Person, __: Team) -> None:
    invitation = Invitation.objects.get(email="frank@example.com")
    actions.register_invited(invitation=invitation, name="Frank", password=PASSWORD, at=NOON)


@pytest.mark.parametrize(
    "write",
    [
        write_organization,
        write_user,
        write_role,
        write_team_membership,
        write_team,
        write_project,
        write_invitation,
        write_acceptance,
        write_registration,
    ],
)
def test_nothing_is_saved_if_the_audit_row_fails(
    write: Callable[[Person, Team], None],
    alice: Person,
    dana: Person,
    team: Team,
    request: pytest.FixtureRequest,
) -> None:
    invited(alice, team, alice.email, at=NOON)
    invited(alice, team, "frank@example.com", at=NOON)
    before = row_counts(), [*OrganizationMembership.objects.order_by("pk").values()], [*Invitation.objects.values()]
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        write(alice, team)
    after = row_counts(), [*OrganizationMembership.objects.order_by("pk").values()], [*Invitation.objects.values()]
    assert after == before


def test_set_up_saves_nothing_if_the_audit_row_fails(db: None, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        actions.set_up(**SETUP)
    assert set(row_counts()) == {0}
