"""Changing what people are in a team and the organization, and taking them out."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import actions
from accounts.models import Invitation, OrganizationMembership, Role, Team, TeamMembership
from accounts.principals import Principal
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, acting_as, event_names, invited, last_event, together
from tests.cast import NOON, PASSWORD, Person

Act = Callable[[Principal], object]


def in_team(person: Person, team: Team) -> TeamMembership:
    return TeamMembership.objects.get(team=team, membership=person.membership)


def roles_of(person: Person) -> tuple[str, dict[Any, str]] | None:
    membership = OrganizationMembership.objects.filter(pk=person.membership.pk).first()
    return (membership.role, membership.team_roles) if membership else None


@pytest.fixture
def olga(other_team: Team) -> Person:
    """The admin of another team of the same organization."""
    user = actions.create_user(email="olga@example.com", password=PASSWORD, name="Olga", at=NOON)
    return Person(actions.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON).membership)


# In a team


def test_change_team_role_is_on_record(bob: Person, dana: Person, team: Team) -> None:
    with acting_as(bob):
        actions.change_team_role(
            at=NOON, principal=bob.principal, team_membership=in_team(dana, team), role=Role.TEAM_ADMIN
        )
    assert dana.principal.team_roles == {team.pk: "team_admin"}
    newest = last_event()
    assert (newest["event"], newest["target_label"]) == ("team_membership.updated", "dana@example.com in Payments")
    assert newest["changes"] == {"role": ["developer", "team_admin"]}


def test_remove_from_team_leaves_the_organization_and_is_on_record(bob: Person, dana: Person, team: Team) -> None:
    with acting_as(bob):
        actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=in_team(dana, team))
    assert roles_of(dana) == ("member", {})
    newest = last_event()
    assert (newest["event"], newest["target_label"]) == ("team_membership.deleted", "dana@example.com in Payments")
    assert newest["team_id"] == team.pk


def test_who_left_first_is_no_member(bob: Person, dana: Person, team: Team) -> None:
    member = in_team(dana, team)
    actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=member)
    with pytest.raises(actions.NotAMember):
        actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=member)
    with pytest.raises(actions.NotAMember):
        actions.change_team_role(at=NOON, principal=bob.principal, team_membership=member, role=Role.TEAM_ADMIN)


@pytest.mark.parametrize("who", ["alice", "bob", "dana", "charlie", "olga", "bob_key"])
@pytest.mark.parametrize("whom", ["bob", "dana", "alice"])
def test_team_is_for_its_admins_and_nobody_touches_someone_above_them(
    request: pytest.FixtureRequest, alice: Person, bob: Person, dana: Person, team: Team, who: str, whom: str
) -> None:
    actions.add_to_team(team=team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    principal = key_principal(bob, team) if who == "bob_key" else request.getfixturevalue(who).principal
    is_allowed = who == "alice" or (who == "bob" and whom != "alice")
    acts: list[Act] = [
        lambda by: actions.change_team_role(
            at=NOON,
            principal=by,
            team_membership=in_team(request.getfixturevalue(whom), team),
            role=Role.DEVELOPER,
        ),
        lambda by: actions.remove_from_team(
            at=NOON, principal=by, team_membership=in_team(request.getfixturevalue(whom), team)
        ),
    ]
    before = AuditEvent.objects.count()
    for act in acts:
        if is_allowed:
            act(principal)
        else:
            with pytest.raises(actions.NotAllowed):
                act(principal)
    is_there = TeamMembership.objects.filter(team=team, membership=request.getfixturevalue(whom).membership).exists()
    assert is_there is not is_allowed
    assert is_allowed or AuditEvent.objects.count() == before


def key_principal(person: Person, team: Team) -> Principal:
    """Return a key of the person's team, with all that its issuer may do there."""
    return Principal(
        user_id=person.user.pk,
        user_label=person.email,
        organization_id=team.organization_id,
        team_roles={team.pk: "team_admin"},
        key_id=team.pk,
        scope="team",
        team_id=team.pk,
    )


# In the organization


def test_change_organization_role_is_on_record(alice: Person, dana: Person) -> None:
    with acting_as(alice):
        actions.change_organization_role(
            at=NOON, principal=alice.principal, membership=dana.membership, role=Role.SUPER_ADMIN
        )
    assert dana.principal.is_super_admin
    newest = last_event()
    assert (newest["event"], newest["changes"]) == (
        "organization_membership.updated",
        {"role": ["member", "super_admin"]},
    )


def test_remove_from_organization_leaves_all_teams_and_is_on_record(
    alice: Person, dana: Person, team: Team, other_team: Team
) -> None:
    actions.add_to_team(team=other_team, user=dana.user, role=Role.TEAM_ADMIN, at=NOON)
    with acting_as(alice):
        actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    assert roles_of(dana) is None
    assert not TeamMembership.objects.filter(membership__user=dana.user).exists()
    assert sorted(event_names(action="delete")) == [
        "organization_membership.deleted",
        "team_membership.deleted",
        "team_membership.deleted",
    ]


def test_remove_from_organization_touches_no_other_organization(alice: Person, dana: Person, charlie: Person) -> None:
    elsewhere = actions.add_to_organization(
        organization=charlie.membership.organization, user=dana.user, role=Role.MEMBER, at=NOON
    )
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    assert OrganizationMembership.objects.filter(pk=elsewhere.pk).exists()


@pytest.mark.parametrize("who", ["bob", "dana", "charlie", "olga", "alice_key"])
def test_organization_is_for_its_super_admins(
    request: pytest.FixtureRequest, alice: Person, dana: Person, team: Team, who: str
) -> None:
    principal = (
        Principal(
            user_id=alice.user.pk,
            user_label="",
            organization_id=team.organization_id,
            is_super_admin=True,
            key_id=team.pk,
            scope="org",
        )
        if who == "alice_key"
        else request.getfixturevalue(who).principal
    )
    before = AuditEvent.objects.count()
    with pytest.raises(actions.NotAllowed):
        actions.change_organization_role(
            at=NOON, principal=principal, membership=dana.membership, role=Role.SUPER_ADMIN
        )
    with pytest.raises(actions.NotAllowed):
        actions.remove_from_organization(at=NOON, principal=principal, membership=dana.membership)
    assert roles_of(dana) == ("member", {team.pk: "developer"})
    assert AuditEvent.objects.count() == before


def test_last_super_admin_stays(alice: Person) -> None:
    with pytest.raises(actions.LastSuperAdmin):
        actions.change_organization_role(
            at=NOON, principal=alice.principal, membership=alice.membership, role=Role.MEMBER
        )
    with pytest.raises(actions.LastSuperAdmin):
        actions.remove_from_organization(at=NOON, principal=alice.principal, membership=alice.membership)
    assert roles_of(alice) == ("super_admin", {})
    # To be made what one is already takes nothing from anyone.
    actions.change_organization_role(
        at=NOON, principal=alice.principal, membership=alice.membership, role=Role.SUPER_ADMIN
    )


def test_super_admin_who_cannot_sign_in_does_not_count(alice: Person, dana: Person) -> None:
    actions.change_organization_role(
        at=NOON, principal=alice.principal, membership=dana.membership, role=Role.SUPER_ADMIN
    )
    dana.user.is_active = False
    dana.user.save(update_fields=["is_active"])
    with pytest.raises(actions.LastSuperAdmin):
        actions.remove_from_organization(at=NOON, principal=alice.principal, membership=alice.membership)


def test_who_left_the_organization_first_is_no_member(alice: Person, dana: Person) -> None:
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    with pytest.raises(actions.NotAMember):
        actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_two_super_admins_who_demote_each_other_at_once_do_not_both_succeed(alice: Person, dana: Person) -> None:
    actions.change_organization_role(
        at=NOON, principal=alice.principal, membership=dana.membership, role=Role.SUPER_ADMIN
    )
    sides = [(alice.principal, dana.membership), (dana.principal, alice.membership)]

    def demote(number: int) -> object:
        principal, membership = sides[number]
        return actions.change_organization_role(at=NOON, principal=principal, membership=membership, role=Role.MEMBER)

    results = together(2, demote)
    assert sorted(type(result).__name__ for result in results) == ["LastSuperAdmin", "OrganizationMembership"]
    assert OrganizationMembership.objects.filter(role="super_admin").count() == 1


# What else falls with a membership


def test_leaving_voids_the_invitations_that_would_bring_one_back(
    alice: Person, bob: Person, dana: Person, charlie: Person, team: Team, other_team: Team
) -> None:
    elsewhere = Team.objects.get(organization=charlie.membership.organization)
    invited(alice, other_team, "dana@example.com")
    invited(charlie, elsewhere, "dana@example.com")
    invited(bob, team, "erin@example.com")
    actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=in_team(dana, team))
    assert Invitation.objects.count() == 3
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    left = Invitation.objects.order_by("email").values_list("email", "team")
    assert [*left] == [("dana@example.com", elsewhere.pk), ("erin@example.com", team.pk)]


@pytest.mark.postgresql
@pytest.mark.parametrize("act", ["remove_from_team", "remove_from_organization"])
def test_leaving_locks_invitations_before_the_membership_as_accepting_does(
    alice: Person, bob: Person, dana: Person, team: Team, other_team: Team, act: str
) -> None:
    invited(alice, other_team, "dana@example.com")
    what = {"team_membership": in_team(dana, team)} if "team" in act else {"membership": dana.membership}
    with CaptureQueriesContext(connection) as captured:
        getattr(actions, act)(principal=alice.principal, at=NOON, **what)
    locked = [query["sql"].rpartition("FOR ")[2] for query in captured if "UPDATE OF" in query["sql"]]
    assert locked[0] == 'UPDATE OF "accounts_invitation"'
    assert len(locked) == 2


def test_who_left_the_organization_first_is_no_member_of_a_team(alice: Person, dana: Person, team: Team) -> None:
    member = in_team(dana, team)
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    with pytest.raises(actions.NotAMember):
        actions.remove_from_team(at=NOON, principal=alice.principal, team_membership=member)


def test_who_may_not_take_someone_out_withdraws_nothing(
    alice: Person, charlie: Person, dana: Person, team: Team, other_team: Team
) -> None:
    invited(alice, other_team, "dana@example.com")
    with pytest.raises(actions.NotAllowed):
        actions.remove_from_organization(at=NOON, principal=charlie.principal, membership=dana.membership)
    with pytest.raises(actions.NotAllowed):
        actions.remove_from_team(at=NOON, principal=charlie.principal, team_membership=in_team(dana, team))
    assert Invitation.objects.count() == 1
    assert event_names(event="invitation.deleted") == []


@pytest.mark.parametrize("act", ["change_team_role", "remove_from_team"])
def test_team_change_saves_nothing_if_the_audit_row_fails(
    bob: Person, dana: Person, team: Team, request: pytest.FixtureRequest, act: str
) -> None:
    member = in_team(dana, team)
    request.getfixturevalue("broken_log")
    more = {"role": Role.TEAM_ADMIN} if act == "change_team_role" else {}
    with pytest.raises(LogIsFull):
        getattr(actions, act)(principal=bob.principal, team_membership=member, at=NOON, **more)
    assert roles_of(dana) == ("member", {team.pk: "developer"})


@pytest.mark.parametrize("act", ["change_organization_role", "remove_from_organization"])
def test_organization_change_saves_nothing_if_the_audit_row_fails(
    alice: Person, dana: Person, team: Team, request: pytest.FixtureRequest, act: str
) -> None:
    request.getfixturevalue("broken_log")
    more = {"role": Role.SUPER_ADMIN} if act == "change_organization_role" else {}
    with pytest.raises(LogIsFull):
        getattr(actions, act)(principal=alice.principal, membership=dana.membership, at=NOON, **more)
    assert roles_of(dana) == ("member", {team.pk: "developer"})


def test_removal_holds_on_the_next_request_of_a_session(
    alice: Person, bob: Person, dana: Person, dana_client: Client, team: Team
) -> None:
    url = f"/teams/{team.pk}/"
    assert dana_client.get(url).status_code == 200
    actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=in_team(dana, team))
    assert dana_client.get(url).status_code == 404
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    assert dana_client.get("/").status_code == 403


def test_demotion_holds_on_the_next_request_of_a_session(
    alice: Person, bob: Person, bob_client: Client, team: Team
) -> None:
    url = f"/teams/{team.pk}/invite/"
    assert bob_client.get(url).status_code == 200
    actions.change_team_role(
        at=NOON, principal=alice.principal, team_membership=in_team(bob, team), role=Role.DEVELOPER
    )
    assert bob_client.get(url).status_code == 403
