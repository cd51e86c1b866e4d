from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import actions
from accounts.models import Invitation, OrganizationMembership, Role, Team, TeamMembership, User
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, acting_as, by, event_names, invited, last_event, together
from tests.cast import NOON, PASSWORD, Person, later


@pytest.fixture
def erin(db: None) -> User:
    """Someone with an account and no place yet."""
    return actions.create_user(email="erin@example.com", password=PASSWORD, name="Erin", at=NOON)


def test_invite_keeps_a_place_for_a_week(bob: Person, team: Team) -> None:
    invitation, token = invited(bob, team, " Erin@Example.com", role=Role.TEAM_ADMIN, at=NOON)
    invitation.refresh_from_db()
    assert (invitation.email, invitation.role, invitation.team, invitation.invited_by) == (
        "erin@example.com",
        "team_admin",
        team,
        bob.user,
    )
    assert (invitation.created_at, invitation.expires_at, invitation.accepted_at) == (NOON, later(days=7), None)
    assert len(token) == 43


def test_invite_is_on_record_without_its_token(bob: Person, team: Team) -> None:
    with acting_as(bob):
        invitation, _ = invited(bob, team, at=NOON)
    assert last_event() == by(
        bob,
        team_id=team.pk,
        event="invitation.created",
        action="create",
        target_table="invitations",
        target_id=str(invitation.pk),
        target_label="erin@example.com to Payments",
        changes={
            "email": [None, "erin@example.com"],
            "role": [None, "developer"],
            "team_id": [None, str(team.pk)],
            "expires_at": [None, "2026-03-09T12:00:00+00:00"],
        },
    )


def test_invite_stores_a_digest_and_never_the_token(bob: Person, team: Team) -> None:
    invitation, token = invited(bob, team)
    stored = serializers.serialize("json", [*Invitation.objects.all(), *AuditEvent.objects.all()])
    assert actions.token_digest(token) in stored
    assert token not in stored + repr(invitation) + str(invitation)


def test_invite_makes_another_token_each_time(bob: Person, team: Team) -> None:
    assert len({invited(bob, team)[1] for _ in range(5)}) == 5


def test_invite_replaces_an_earlier_one_on_record(bob: Person, alice: Person, team: Team, other_team: Team) -> None:
    _, first = invited(bob, team, at=NOON)
    others = [invited(bob, team, "frank@example.com", at=NOON), invited(alice, other_team, at=NOON)]
    second, token = invited(bob, team, "ERIN@example.com", role=Role.TEAM_ADMIN, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(first, at=NOON)
    for invitation, good in [*others, (second, token)]:
        assert actions.find_invitation(good, at=NOON) == invitation
    assert event_names(target_label="erin@example.com to Payments") == [
        "invitation.created",
        "invitation.deleted",
        "invitation.created",
    ]


def test_invite_keeps_the_earlier_one_if_its_audit_row_fails(
    bob: Person, team: Team, request: pytest.FixtureRequest
) -> None:
    invitation, token = invited(bob, team, at=NOON)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull), transaction.atomic():
        invited(bob, team, at=NOON)
    assert actions.find_invitation(token, at=NOON) == invitation


@pytest.mark.parametrize("who", ["dana", "charlie"])
def test_invite_is_for_admins_of_the_team(team: Team, request: pytest.FixtureRequest, who: str) -> None:
    with pytest.raises(actions.NotAllowed):
        invited(request.getfixturevalue(who), team)
    assert Invitation.objects.count() == 0


def test_invite_refuses_an_admin_of_another_team(bob: Person, other_team: Team) -> None:
    with pytest.raises(actions.NotAllowed):
        invited(bob, other_team)


def test_invite_refuses_who_is_in_the_team(bob: Person, dana: Person, team: Team) -> None:
    with pytest.raises(actions.AlreadyMember):
        invited(bob, team, "DANA@example.com")


def test_find_invitation_returns_what_the_token_stands_for(bob: Person, team: Team) -> None:
    invitation, token = invited(bob, team, at=NOON)
    assert actions.find_invitation(token, at=NOON) == invitation


@pytest.mark.parametrize("token", ["", "x", "no such token"])
def test_find_invitation_refuses_an_unknown_token(bob: Person, team: Team, token: str) -> None:
    invited(bob, team, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(token, at=NOON)


def test_find_invitation_refuses_the_digest_itself(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(invitation.token_digest, at=NOON)


@pytest.mark.parametrize(("after", "is_good"), [(timedelta(days=7, seconds=-1), True), (timedelta(days=7), False)])
def test_invitation_ends_on_the_second(bob: Person, team: Team, erin: User, after: timedelta, is_good: bool) -> None:
    invitation, token = invited(bob, team, at=NOON)
    for use in (lambda: actions.find_invitation(token, at=NOON + after), lambda: accept(invitation, at=NOON + after)):
        with nullcontext() if is_good else pytest.raises(actions.InvitationNotUsable):
            use()


def closes_the_account(inviter: Person, _team: Team) -> None:
    User.objects.filter(pk=inviter.user.pk).update(is_active=False)


def leaves_the_organization(inviter: Person, _team: Team) -> None:
    inviter.membership.delete()


def leaves_the_team(inviter: Person, team: Team) -> None:
    TeamMembership.objects.get(team=team, membership=inviter.membership).delete()


def becomes_a_developer(inviter: Person, team: Team) -> None:
    in_team = TeamMembership.objects.get(team=team, membership=inviter.membership)
    in_team.role = Role.DEVELOPER
    in_team.save(update_fields=["role"])


def is_admin_elsewhere_only(inviter: Person, team: Team) -> None:
    leaves_the_team(inviter, team)
    other = Team.objects.create(organization=team.organization, name="Another", created_at=NOON)
    actions.add_to_team(team=other, user=inviter.user, role=Role.TEAM_ADMIN, at=NOON)


@pytest.mark.parametrize("use", ["find", "pending", "accept", "register"])
@pytest.mark.parametrize(
    "happens",
    [
        closes_the_account,
        leaves_the_organization,
        leaves_the_team,
        becomes_a_developer,
        is_admin_elsewhere_only,
    ],
)
def test_invitation_is_void_once_its_inviter(
    bob: Person, team: Team, happens: Callable[[Person, Team], None], use: str
) -> None:
    invitation, token = invited(bob, team, at=NOON)
    happens(bob, team)
    before = AuditEvent.objects.count()
    uses: dict[str, Callable[[], object]] = {
        "find": lambda: actions.find_invitation(token, at=NOON),
        "pending": lambda: actions.pending_invitation(invitation.token_digest, at=NOON),
        "accept": lambda: actions.accept_invitation(invitation=invitation, user=bob.user, at=NOON),
        "register": lambda: actions.register_invited(invitation=invitation, name="Erin", password=PASSWORD, at=NOON),
    }
    with pytest.raises(actions.InvitationNotUsable):
        uses[use]()
    invitation.refresh_from_db()
    assert invitation.accepted_at is None
    assert (User.objects.count(), AuditEvent.objects.count()) == (1, before)


def test_invitation_stays_good_while_its_inviter_is_a_super_admin(alice: Person, team: Team, erin: User) -> None:
    invitation, token = invited(alice, team, at=NOON)
    assert actions.find_invitation(token, at=NOON) == invitation
    assert actions.pending_invitation(invitation.token_digest, at=NOON) == invitation
    accept(invitation)
    assert TeamMembership.objects.get(membership__user=erin).team == team


def test_invitation_is_void_once_its_inviter_is_no_super_admin_any_more(alice: Person, team: Team) -> None:
    _, token = invited(alice, team, at=NOON)
    alice.membership.role = Role.MEMBER
    alice.membership.save(update_fields=["role"])
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(token, at=NOON)


def test_invitation_by_a_super_admin_of_elsewhere_is_void(alice: Person, charlie: Person, team: Team) -> None:
    _, token = invited(alice, team, at=NOON)
    actions.add_to_organization(
        organization=charlie.membership.organization, user=alice.user, role=Role.SUPER_ADMIN, at=NOON
    )
    alice.membership.delete()
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(token, at=NOON)


@pytest.mark.postgresql
def test_accept_invitation_locks_the_invitation_alone(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    with CaptureQueriesContext(connection) as captured:
        accept(invitation)
    [read] = [query["sql"] for query in captured if 'FROM "accounts_invitation" INNER JOIN' in query["sql"]]
    assert read.endswith('FOR UPDATE OF "accounts_invitation"')


def test_register_invited_is_on_the_organizations_record(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    before = AuditEvent.objects.count()
    actions.register_invited(invitation=invitation, name="Erin", password=PASSWORD, at=NOON)
    rows = AuditEvent.objects.order_by("id")[before:]
    assert [(row.event, row.organization_id) for row in rows] == [
        (event, team.organization_id)
        for event in (
            "user.created",
            "organization_membership.created",
            "team_membership.created",
            "invitation.accepted",
        )
    ]


def accept(invitation: Invitation, at: Any = NOON) -> None:
    actions.accept_invitation(invitation=invitation, user=User.objects.get(email="erin@example.com"), at=at)


def test_accept_invitation_puts_the_person_into_the_team(bob: Person, team: Team, erin: User) -> None:
    invitation, token = invited(bob, team, at=NOON)
    with acting_as(bob):
        accept(invitation)
    in_team = TeamMembership.objects.get(membership__user=erin)
    assert (in_team.team, in_team.role, in_team.membership.user) == (team, "developer", erin)
    assert in_team.membership.role == "member"
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(token, at=NOON)
    assert last_event() == by(
        bob,
        team_id=team.pk,
        event="invitation.accepted",
        action="update",
        target_table="invitations",
        target_id=str(invitation.pk),
        target_label="erin@example.com to Payments",
        changes={"accepted_at": [None, "2026-03-02T12:00:00+00:00"]},
    )


def test_accept_invitation_works_once(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    accept(invitation)
    with pytest.raises(actions.InvitationNotUsable):
        accept(invitation)
    assert event_names(event="invitation.accepted") == ["invitation.accepted"]


def test_invitation_that_is_withdrawn_meanwhile_is_not_accepted(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    invited(bob, team, at=NOON)  # which replaces it
    with pytest.raises(actions.InvitationNotUsable):
        accept(invitation)
    assert not TeamMembership.objects.filter(membership__user=erin).exists()


def test_accept_invitation_refuses_another_account(bob: Person, dana: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, "frank@example.com", at=NOON)
    with pytest.raises(actions.WrongAccount):
        accept(invitation)
    assert Invitation.objects.get().accepted_at is None
    assert not OrganizationMembership.objects.filter(user=erin).exists()


def test_accept_invitation_refuses_who_is_in_the_team(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    actions.add_to_team(team=team, user=erin, role=Role.DEVELOPER, at=NOON)
    with pytest.raises(actions.AlreadyMember):
        accept(invitation)


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_accept_invitation_is_won_by_one_of_sixteen_at_once(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    results = together(16, lambda _: accept(invitation))
    names = sorted(type(result).__name__ for result in results)
    assert names == ["InvitationNotUsable"] * 15 + ["NoneType"]
    assert TeamMembership.objects.filter(membership__user=erin).count() == 1
    assert event_names(event="invitation.accepted") == ["invitation.accepted"]
    assert event_names(event="team_membership.created", target_label__startswith="erin") == ["team_membership.created"]


def test_register_invited_makes_the_account_and_takes_the_place(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    user = actions.register_invited(invitation=invitation, name=" Erin ", password=PASSWORD, at=NOON)
    assert (user.email, user.name, user.check_password(PASSWORD)) == ("erin@example.com", "Erin", True)
    in_team = TeamMembership.objects.get(membership__user=user)
    assert (in_team.team, in_team.role) == (team, "developer")


def test_register_invited_leaves_an_existing_account_alone(bob: Person, team: Team, erin: User) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    with pytest.raises(actions.AccountExists):
        actions.register_invited(invitation=invitation, name="Mallory", password="x" * 20, at=NOON)
    erin.refresh_from_db()
    assert (erin.name, erin.check_password(PASSWORD)) == ("Erin", True)


def test_register_invited_makes_no_account_for_an_invitation_that_has_ended(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.register_invited(invitation=invitation, name="Erin", password=PASSWORD, at=later(days=8))
    assert not User.objects.filter(email="erin@example.com").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_register_invited_is_won_by_one_of_four_at_once(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    results = together(
        4, lambda _: actions.register_invited(invitation=invitation, name="Erin", password=PASSWORD, at=NOON)
    )
    assert sorted(type(result).__name__ for result in results) == ["AccountExists"] * 3 + ["User"]
    assert User.objects.filter(email="erin@example.com").count() == 1
