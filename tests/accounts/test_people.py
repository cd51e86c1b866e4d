"""The page of people, and inviting them into the organization."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import Invitation, OrganizationMembership, OutgoingMail, Role, Team, TeamMembership, User
from audit.models import AuditEvent
from tests.accounts.mailbox import link_to, mails
from tests.accounts.scenes import (
    FRAGMENT,
    LogIsFull,
    acting_as,
    by,
    event_names,
    invited,
    is_page,
    last_event,
    queries_of,
    shown_link,
    text_of,
)
from tests.cast import NOON, PASSWORD, Person, later

SignIn = Callable[[Person], Client]


@pytest.fixture
def ursula(team: Team) -> Person:
    """The auditor."""
    user = actions.create_user(email="ursula@example.com", password=PASSWORD, name="Ursula", at=NOON)
    actions.add_to_organization(organization=team.organization, user=user, role=Role.AUDITOR, at=NOON)
    return Person(OrganizationMembership.objects.select_related("user", "organization").get(user=user))


@pytest.fixture
def ursula_client(ursula: Person, sign_in_as: SignIn) -> Client:
    return sign_in_as(ursula)


def into_organization(person: Person, email: str = "erin@example.com", role: Role = Role.AUDITOR) -> Any:
    return actions.invite_to_organization(principal=person.principal, email=email, role=role, at=timezone.now())


# The page


def test_people_list_says_what_each_is_and_how_they_sign_in(
    alice_client: Client, bob: Person, dana: Person, ursula: Person, charlie: Person
) -> None:
    Authenticator.objects.create(user=bob.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    SocialAccount.objects.create(user=dana.user, provider="github", uid="7")
    rows = {row.membership.user.email: row for row in alice_client.get("/people/").context["rows"]}
    assert rows.keys() == {f"{name}@example.com" for name in ("alice", "bob", "dana", "ursula")}
    told = {
        email.partition("@")[0]: (row.role, [(in_team.team.name, in_team.role) for in_team in row.teams])
        for email, row in rows.items()
    }
    assert told == {
        "alice": ("Super admin", []),
        "bob": ("Member", [("Payments", "team_admin")]),
        "dana": ("Member", [("Payments", "developer")]),
        "ursula": ("Auditor", []),
    }
    assert {email.partition("@")[0] for email, row in rows.items() if row.has_second_factor} == {"bob"}
    assert rows["dana@example.com"].ways_in == ["Password", "github"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?role=super_admin", "alice"),
        ("?role=auditor", "ursula"),
        ("?role=team_admin", "bob"),
        ("?role=developer", "dana"),
        ("?role=member", "bob dana erin"),
        ("?q=DAN", "dana"),
        ("?q=nobody", ""),
        ("?q=a&role=team_admin", "bob"),
    ],
)
@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_people_list_is_filtered(
    alice_client: Client, bob: Person, dana: Person, ursula: Person, query: str, found: str, headers: dict[str, str]
) -> None:
    erin = actions.create_user(email="erin@example.com", password=None, name="Erin", at=NOON)
    actions.add_to_organization(organization=bob.membership.organization, user=erin, role=Role.MEMBER, at=NOON)
    response = alice_client.get(f"/people/{query}", headers=headers)
    assert is_page(response) is not bool(headers)
    assert [row.membership.user.name.lower() for row in response.context["rows"]] == found.split()


def test_people_list_says_what_is_wrong_with_a_filter(alice_client: Client) -> None:
    assert alice_client.get("/people/?role=king").status_code == 422


def test_people_list_is_for_who_may_see_everyone(
    ursula_client: Client, bob_client: Client, dana_client: Client, charlie_client: Client, alice: Person
) -> None:
    assert ursula_client.get("/people/").status_code == 200
    assert [client.get("/people/").status_code for client in (bob_client, dana_client)] == [403, 403]
    # The outsider sees the people of their own organization, and nobody of ours.
    assert "alice@example.com" not in charlie_client.get("/people/").content.decode()


def test_people_list_offers_an_auditor_nothing_that_changes(
    ursula_client: Client, alice: Person, bob: Person, team: Team
) -> None:
    invited(bob, team, at=timezone.now())
    text = ursula_client.get("/people/").content.decode()
    assert "Open invitations" in text
    for word in ("/role/", "/remove/", "/resend/", "/withdraw/", "/people/invite/"):
        assert word not in text


def test_people_list_shows_who_was_invited_as_what_by_whom(alice: Person, alice_client: Client, team: Team) -> None:
    into_organization(alice)
    invited(alice, team, "frank@example.com", at=timezone.now())
    text = text_of(alice_client.get("/people/"))
    assert "erin@example.com To Northwind. Invited by Alice Auditor ends" in text
    assert "frank@example.com To Payments. Invited by Alice Developer ends" in text


def test_people_list_costs_the_same_for_one_and_for_many(alice: Person, alice_client: Client, team: Team) -> None:
    def grow(number: int) -> None:
        user = actions.create_user(email=f"n{number}@example.com", password=PASSWORD, at=NOON)
        actions.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON)
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
        SocialAccount.objects.create(user=user, provider="github", uid=str(number))
        into_organization(alice, f"i{number}@example.com")

    grow(1)
    first = queries_of(alice_client, "/people/")
    grow(2)
    grow(3)
    assert queries_of(alice_client, "/people/") == first


# Inviting into the organization


def test_invite_to_organization_keeps_a_place_on_record(alice: Person) -> None:
    with acting_as(alice):
        invitation, token = actions.invite_to_organization(
            principal=alice.principal, email=" Erin@Example.com", role=Role.AUDITOR, at=NOON
        )
    assert (invitation.team, invitation.place, invitation.expires_at) == (
        None,
        alice.membership.organization,
        later(days=7),
    )
    assert actions.find_invitation(token, at=NOON) == invitation
    assert last_event() == by(
        alice,
        event="invitation.created",
        action="create",
        target_table="invitations",
        target_id=str(invitation.pk),
        target_label="erin@example.com to Northwind",
        changes={
            "email": [None, "erin@example.com"],
            "role": [None, "auditor"],
            "expires_at": [None, "2026-03-09T12:00:00+00:00"],
        },
    )


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SUPER_ADMIN])
def test_invitation_to_the_organization_gives_the_role(alice: Person, role: Role) -> None:
    invitation, _ = into_organization(alice, role=role)
    user = actions.create_user(email="erin@example.com", password=PASSWORD, at=NOON)
    actions.accept_invitation(invitation=invitation, user=user, at=timezone.now())
    assert OrganizationMembership.objects.get(user=user).role == role
    with pytest.raises(actions.InvitationNotUsable):
        actions.accept_invitation(invitation=invitation, user=user, at=timezone.now())


@pytest.mark.parametrize("who", ["bob", "dana", "ursula"])
def test_invite_to_organization_is_for_super_admins(request: pytest.FixtureRequest, ursula: Person, who: str) -> None:
    with pytest.raises(actions.NotAllowed):
        into_organization(request.getfixturevalue(who))
    assert (Invitation.objects.count(), OutgoingMail.objects.count()) == (0, 0)


def test_invite_to_organization_refuses_who_is_in_it(alice: Person, dana: Person) -> None:
    with pytest.raises(actions.AlreadyMember):
        into_organization(alice, "dana@example.com")


def test_invitation_as_auditor_makes_none_of_who_came_into_a_team_meanwhile(alice: Person, team: Team) -> None:
    invitation, _ = into_organization(alice)
    user = actions.create_user(email="erin@example.com", password=PASSWORD, at=NOON)
    actions.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON)
    with pytest.raises(actions.AlreadyMember):
        actions.accept_invitation(invitation=invitation, user=user, at=timezone.now())
    assert OrganizationMembership.objects.get(user=user).role == "member"


@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR])
def test_demoted_super_admin_does_not_come_back_by_an_older_invitation(alice: Person, team: Team, role: Role) -> None:
    invitation, _ = into_organization(alice, role=Role.SUPER_ADMIN)
    erin = actions.create_user(email="erin@example.com", password=None, at=NOON)
    actions.add_to_organization(organization=team.organization, user=erin, role=Role.SUPER_ADMIN, at=NOON)
    membership = OrganizationMembership.objects.get(user=erin)
    actions.change_organization_role(principal=alice.principal, membership=membership, role=role, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.accept_invitation(invitation=invitation, user=erin, at=timezone.now())
    membership.refresh_from_db()
    assert membership.role == role


def test_demoted_super_admin_may_still_come_into_a_team(alice: Person, team: Team) -> None:
    invitation, _ = invited(alice, team, at=timezone.now())
    erin = actions.create_user(email=invitation.email, password=None, at=NOON)
    actions.add_to_organization(organization=team.organization, user=erin, role=Role.SUPER_ADMIN, at=NOON)
    membership = OrganizationMembership.objects.get(user=erin)
    actions.change_organization_role(principal=alice.principal, membership=membership, role=Role.MEMBER, at=NOON)
    actions.accept_invitation(invitation=invitation, user=erin, at=timezone.now())
    assert TeamMembership.objects.filter(team=team, membership=membership).exists()


def test_invitation_to_the_organization_is_void_once_its_inviter_may_not_make_it(alice: Person, dana: Person) -> None:
    _, token = into_organization(alice)
    alice.membership.role = Role.AUDITOR
    alice.membership.save(update_fields=["role"])
    with pytest.raises(actions.InvitationNotUsable):
        actions.find_invitation(token, at=timezone.now())


def test_invite_to_organization_saves_nothing_if_the_audit_row_fails(
    alice: Person, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        into_organization(alice)
    assert (Invitation.objects.count(), OutgoingMail.objects.count()) == (0, 0)


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_people_invite_mails_one_link_and_shows_another(alice_client: Client, headers: dict[str, str]) -> None:
    url = "/people/invite/"
    assert is_page(alice_client.get(url, headers=headers)) is not bool(headers)
    form = {"email": "erin@example.com", "role": "auditor"}
    response = alice_client.post(url, form, headers=headers)
    assert (response.status_code, is_page(response)) == (200, not headers)
    assert "no-store" in response["Cache-Control"]
    mailed, shown = link_to("erin@example.com"), shown_link(response)
    assert not shown.endswith(mailed)
    assert "Northwind invites you to keyportal, as Auditor." in mails("erin@example.com")[0].text
    for link in (mailed, shown.removeprefix("http://127.0.0.1:8000")):
        assert Client().get(link).status_code == 302


def test_people_invite_preselects_no_role(alice_client: Client) -> None:
    response = alice_client.post("/people/invite/", {"email": "erin@example.com"})
    assert response.status_code == 422
    assert response.context["form"]["role"].value() is None


def test_address_is_mailed_five_invitations_in_five_minutes_and_no_more(alice_client: Client, team: Team) -> None:
    def resend() -> Any:
        return alice_client.post(f"/invitations/{Invitation.objects.get().pk}/resend/")

    form = {"email": "erin@example.com", "role": "auditor"}
    assert alice_client.post("/people/invite/", form).status_code == 200
    assert [resend().status_code for _ in range(5)] == [200] * 4 + [429]
    for url in ("/people/invite/", f"/teams/{team.pk}/invite/"):
        assert alice_client.post(url, form | {"role": "auditor" if "people" in url else "developer"}).status_code == 429
    assert len(mails("erin@example.com")) == 5
    assert alice_client.post("/people/invite/", form | {"email": "frank@example.com"}).status_code == 200


def test_person_invites_thirty_in_five_minutes_and_no_more(alice_client: Client) -> None:
    forms = [{"email": f"e{n}@example.com", "role": "auditor"} for n in range(31)]
    answers = [alice_client.post("/people/invite/", form).status_code for form in forms]
    assert answers == [200] * 30 + [429]


# Again, and no longer


def test_resend_makes_new_links_and_voids_the_old_ones(alice: Person, bob: Person, team: Team) -> None:
    invitation, first = invited(bob, team, at=NOON)
    mailed = link_to("erin@example.com")
    with acting_as(alice):
        again, second = actions.resend_invitation(principal=alice.principal, invitation=invitation, at=later(days=3))
    assert (again.pk, again.expires_at, again.invited_by) == (invitation.pk, later(days=10), alice.user)
    assert last_event()["event"] == "invitation.resent"
    assert "token" not in str(AuditEvent.objects.values_list("changes", flat=True))
    for token in (first, mailed.strip("/").rpartition("/")[2]):
        with pytest.raises(actions.InvitationNotUsable):
            actions.find_invitation(token, at=later(days=3))
    for token in (second, link_to("erin@example.com").strip("/").rpartition("/")[2]):
        assert actions.find_invitation(token, at=later(days=9)) == again
    assert len(mails("erin@example.com")) == 2


def test_resend_brings_an_expired_invitation_back(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    _, token = actions.resend_invitation(principal=bob.principal, invitation=invitation, at=later(days=30))
    assert actions.find_invitation(token, at=later(days=30)) == invitation


def test_withdraw_voids_both_links_on_record(bob: Person, team: Team) -> None:
    invitation, token = invited(bob, team, at=NOON)
    with acting_as(bob):
        actions.withdraw_invitation(principal=bob.principal, invitation=invitation)
    assert last_event()["event"] == "invitation.deleted"
    for one in (token, link_to("erin@example.com").strip("/").rpartition("/")[2]):
        with pytest.raises(actions.InvitationNotUsable):
            actions.find_invitation(one, at=NOON)


@pytest.mark.parametrize("who", ["dana", "ursula", "charlie"])
@pytest.mark.parametrize("kind", ["team", "organization"])
def test_invitation_is_decided_on_by_who_could_make_it(
    request: pytest.FixtureRequest, alice: Person, ursula: Person, team: Team, who: str, kind: str
) -> None:
    invitation, token = into_organization(alice) if kind == "organization" else invited(alice, team)
    principal = request.getfixturevalue(who).principal
    with pytest.raises(actions.NotAllowed):
        actions.resend_invitation(principal=principal, invitation=invitation, at=timezone.now())
    with pytest.raises(actions.NotAllowed):
        actions.withdraw_invitation(principal=principal, invitation=invitation)
    assert Invitation.objects.get().token_digest == actions.token_digest(token)


def test_team_admin_decides_on_no_invitation_to_the_organization(alice: Person, bob: Person) -> None:
    invitation, _ = into_organization(alice)
    with pytest.raises(actions.NotAllowed):
        actions.withdraw_invitation(principal=bob.principal, invitation=invitation)


def test_invitation_to_the_organization_is_unknown_to_who_does_not_see_its_people(
    alice: Person, bob_client: Client, dana_client: Client, ursula_client: Client
) -> None:
    invitation, _ = into_organization(alice)
    clients = (bob_client, dana_client, ursula_client)
    for deed in ("resend", "withdraw"):
        answers = [client.get(f"/invitations/{invitation.pk}/{deed}/").status_code for client in clients]
        assert answers == [404, 404, 403]


def test_accepted_invitation_is_neither_sent_again_nor_withdrawn(bob: Person, team: Team) -> None:
    invitation, _ = invited(bob, team, at=NOON)
    user = actions.create_user(email="erin@example.com", password=PASSWORD, at=NOON)
    actions.accept_invitation(invitation=invitation, user=user, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.resend_invitation(principal=bob.principal, invitation=invitation, at=NOON)
    with pytest.raises(actions.InvitationNotUsable):
        actions.withdraw_invitation(principal=bob.principal, invitation=invitation)


@pytest.mark.parametrize("act", ["resend_invitation", "withdraw_invitation"])
def test_deciding_on_an_invitation_saves_nothing_if_the_audit_row_fails(
    bob: Person, team: Team, request: pytest.FixtureRequest, act: str
) -> None:
    invitation, token = invited(bob, team, at=NOON)
    request.getfixturevalue("broken_log")
    more = {"at": later(days=1)} if act == "resend_invitation" else {}
    with pytest.raises(LogIsFull):
        getattr(actions, act)(principal=bob.principal, invitation=invitation, **more)
    assert actions.find_invitation(token, at=NOON) == invitation
    assert OutgoingMail.objects.count() == 1


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_pages_send_an_invitation_again_and_withdraw_it(
    bob: Person, bob_client: Client, team: Team, headers: dict[str, str]
) -> None:
    invitation, _ = invited(bob, team, at=timezone.now() - timedelta(days=1))
    detail = bob_client.get(f"/teams/{team.pk}/").content.decode()
    for what in ("resend", "withdraw"):
        url = f"/invitations/{invitation.pk}/{what}/"
        assert url in detail
        assert is_page(bob_client.get(url, headers=headers)) is not bool(headers)
    sent = bob_client.post(f"/invitations/{invitation.pk}/resend/", headers=headers)
    assert (sent.status_code, shown_link(sent).startswith("http://127.0.0.1:8000/invitations/")) == (200, True)
    assert bob_client.post(f"/invitations/{invitation.pk}/withdraw/")["Location"] == f"/teams/{team.pk}/"
    assert bob_client.post(f"/invitations/{invitation.pk}/withdraw/").status_code == 404
    assert event_names(target_table="invitations")[-2:] == ["invitation.resent", "invitation.deleted"]


def test_inviting_asks_for_a_recent_sign_in(alice: Person, alice_client: Client, team: Team, settings: Any) -> None:
    invitation, _ = invited(alice, team, at=timezone.now())
    settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = 0
    for url in ("/people/invite/", f"/teams/{team.pk}/invite/", f"/invitations/{invitation.pk}/resend/"):
        response = alice_client.post(url, {"email": "x@example.com", "role": "auditor"})
        assert (response.status_code, response["Location"].partition("?")[0]) == (302, "/account/reauthenticate/")
    assert Invitation.objects.count() == 1


# Auditors


def test_auditor_is_added_to_no_team(ursula: Person, team: Team) -> None:
    with pytest.raises(actions.AuditorInTeam):
        actions.add_to_team(team=team, user=ursula.user, role=Role.DEVELOPER, at=NOON)
    assert not TeamMembership.objects.filter(membership=ursula.membership).exists()


def test_auditor_is_invited_into_no_team_by_who_sees_that_they_are_one(
    alice: Person, bob: Person, ursula: Person, team: Team
) -> None:
    with pytest.raises(actions.AuditorInTeam):
        invited(alice, team, "ursula@example.com")
    # A team admin does not see who is in the organization: it is on acceptance that it goes no further.
    invitation, _ = invited(bob, team, "ursula@example.com", at=NOON)
    with pytest.raises(actions.AuditorInTeam):
        actions.accept_invitation(invitation=invitation, user=ursula.user, at=NOON)
    assert not TeamMembership.objects.filter(membership=ursula.membership).exists()


def test_auditor_who_accepts_an_invitation_into_a_team_reads_why_not(
    bob: Person, ursula: Person, ursula_client: Client, team: Team
) -> None:
    invited(bob, team, "ursula@example.com", at=timezone.now())
    ursula_client.get(link_to("ursula@example.com"))
    response = ursula_client.post("/invitations/", follow=True)
    assert "You are an auditor of Northwind, and auditors are in no team." in text_of(response)
    assert not TeamMembership.objects.filter(membership=ursula.membership).exists()


def test_who_becomes_an_auditor_leaves_all_teams_on_record(alice: Person, bob: Person, team: Team) -> None:
    invited(alice, team, "bob@example.org")
    with acting_as(alice):
        actions.change_organization_role(
            principal=alice.principal, membership=bob.membership, role=Role.AUDITOR, at=NOON
        )
    assert event_names(actor_id=alice.user.pk)[-2:] == ["team_membership.deleted", "organization_membership.updated"]
    assert bob.principal.is_auditor
    assert bob.principal.team_roles == {}


def test_last_super_admin_becomes_no_auditor(alice: Person) -> None:
    with pytest.raises(actions.LastSuperAdmin):
        actions.change_organization_role(
            principal=alice.principal, membership=alice.membership, role=Role.AUDITOR, at=NOON
        )


def test_becoming_an_auditor_saves_nothing_if_the_audit_row_fails(
    alice: Person, bob: Person, team: Team, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        actions.change_organization_role(
            principal=alice.principal, membership=bob.membership, role=Role.AUDITOR, at=NOON
        )
    assert bob.principal.team_roles == {team.pk: "team_admin"}


# Being told


def test_person_is_told_of_a_changed_role(alice: Person, bob: Person, dana: Person, team: Team) -> None:
    member = TeamMembership.objects.select_related("team", "membership").get(membership=dana.membership)
    actions.change_team_role(principal=bob.principal, team_membership=member, role=Role.TEAM_ADMIN, at=NOON)
    actions.remove_from_team(principal=bob.principal, team_membership=member, at=NOON)
    actions.change_organization_role(principal=alice.principal, membership=dana.membership, role=Role.AUDITOR, at=NOON)
    actions.remove_from_organization(principal=alice.principal, membership=dana.membership, at=NOON)
    told = [mail.text.partition("\n")[0] for mail in mails("dana@example.com")]
    assert told == [
        "You are team admin in Payments from now on.",
        "You are no longer in Payments.",
        "You are auditor in Northwind from now on.",
        "You are no longer in Northwind.",
    ]


def test_role_that_stays_is_no_news(alice: Person, bob: Person) -> None:
    actions.change_organization_role(principal=alice.principal, membership=bob.membership, role=Role.MEMBER, at=NOON)
    assert mails("bob@example.com") == []
    assert User.objects.count() == 2
