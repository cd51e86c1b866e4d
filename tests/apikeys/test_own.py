"""A person's own: their keys everywhere, their data, and the end of their account."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import actions as people
from accounts.models import Invitation, Organization, OrganizationMembership, OutgoingMail, Project, Role, Team, User
from apikeys import actions
from apikeys.actions.ending import revoke_with_issuer
from apikeys.models import ApiKey
from audit.context import audit_context
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull
from tests.cast import NOON, Issued, Person, use

Issue = Callable[..., Issued]


@pytest.fixture
def elsewhere(dana: Person) -> Person:
    """Dana again, as a super admin of another organization."""
    organization = people.create_organization(name="Aurora", at=NOON)
    other = User.objects.create_user("olga@example.com", None, created_at=NOON)
    people.add_to_organization(organization=organization, user=other, role=Role.SUPER_ADMIN, at=NOON)
    return Person(people.add_to_organization(organization=organization, user=dana.user, role=Role.SUPER_ADMIN, at=NOON))


# My keys


def test_my_keys_are_those_of_all_organizations(
    dana: Person, bob: Person, elsewhere: Person, dana_client: Client, project: Project, issue: Issue
) -> None:
    here, there = issue(dana, project, name="here"), issue(elsewhere, elsewhere.membership.organization, name="there")
    others = issue(bob, project, name="not-mine")
    page = dana_client.get("/account/keys/").content.decode()
    assert here.row.label in page
    assert there.row.label in page
    assert others.row.label not in page
    # Aurora comes first by name, so that is where dana is acting, and the other key's page is out of reach.
    assert f"/keys/{there.row.pk}/" in page
    assert f"/keys/{here.row.pk}/" not in page


def test_my_keys_stay_mine_after_leaving(alice: Person, dana: Person, dana_client: Client, issued: Issued) -> None:
    people.remove_from_organization(principal=alice.principal, membership=dana.membership, at=NOON)
    page = dana_client.get("/account/keys/")
    assert page.status_code == 200
    assert issued.row.label in page.content.decode()
    assert f"/keys/{issued.row.pk}/" not in page.content.decode()


@pytest.mark.parametrize("count", [1, 3])
def test_my_keys_cost_the_same_for_any_number(
    dana: Person,
    dana_client: Client,
    project: Project,
    issue: Issue,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(count):
        issue(dana, project)
    dana_client.get("/account/keys/")
    with django_assert_num_queries(7):
        dana_client.get("/account/keys/", headers={"HX-Request": "true"})


# My data


def test_data_is_all_of_mine_and_nobody_elses(
    dana: Person, bob: Person, dana_client: Client, issued: Issued, project: Project, issue: Issue
) -> None:
    theirs = issue(bob, project)
    TOTP.activate(dana.user, secret := generate_totp_secret())
    SocialAccount.objects.create(user=dana.user, provider="github", uid="7", extra_data={"login": "dana"})
    answer = dana_client.post("/account/data/download/")
    assert answer["Content-Disposition"] == 'attachment; filename="keyportal-account.json"'
    assert "no-store" in answer["Cache-Control"]
    text = answer.content.decode()
    data = json.loads(text)
    assert data["profile"]["email"] == dana.email
    assert [key["label"] for key in data["keys"]] == [issued.row.label]
    assert data["memberships"][0]["teams"] == [{"team": "Payments", "role": "developer"}]
    assert data["connected_accounts"][0]["uid"] == "7"
    assert data["second_factors"][0]["type"] == "totp"
    assert "api_key.created" in {event["event"] for event in data["events"]}
    for hidden in (
        theirs.row.label,
        issued.text,
        secret,
        issued.row.digest,
        User.objects.get(pk=dana.user.pk).password,
    ):
        assert hidden not in text
    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_label) == ("user.data_exported", dana.email)


def test_data_names_nobody_else(alice: Person, bob: Person, dana: Person, alice_client: Client, team: Team) -> None:
    erin = "erin@example.com"
    with audit_context(actor=alice.principal.as_actor(), at=NOON):
        people.invite(principal=alice.principal, team=team, email=erin, role=Role.DEVELOPER, at=NOON)
        people.remove_from_organization(principal=alice.principal, membership=dana.membership, at=NOON)
    text = alice_client.post("/account/data/download/").content.decode()
    assert "organization_membership.deleted" in text
    assert "invitation.created" in text
    for address in (bob.email, dana.email, erin):
        assert address not in text


def test_data_says_nothing_of_where_others_use_a_key(
    alice: Person, dana: Person, dana_client: Client, issued: Issued
) -> None:
    def told() -> str:
        [key] = json.loads(dana_client.post("/account/data/download/").content)["keys"]
        return str(key["last_used_ip"])

    use(issued.row, address="192.0.2.7")
    assert told() == "192.0.2.7"
    people.remove_from_organization(principal=alice.principal, membership=dana.membership, at=NOON)
    assert told() == "None"


def test_data_is_asked_for_by_post_and_after_a_recent_sign_in(dana: Person, dana_client: Client) -> None:
    assert dana_client.get("/account/data/download/").status_code == 405
    session = dana_client.session
    session["account_authentication_methods"] = [{"method": "password", "at": 0}]
    session.save()
    for path in ("/account/data/download/", "/account/delete/"):
        answer = dana_client.post(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/account/reauthenticate/")


# Deleting


def delete(client: Client, email: str, **more: str) -> int:
    return client.post("/account/delete/", {"email": email, **more}).status_code


def test_deleted_account_leaves_its_label_and_nothing_else(
    alice: Person, dana: Person, dana_client: Client, project: Project
) -> None:
    user = dana.user
    user.name, user.company = "Dana Doe", "Initech"
    user.save(update_fields=["name", "company"])
    TOTP.activate(user, generate_totp_secret())
    SocialAccount.objects.create(user=user, provider="github", uid="7", extra_data={"login": "dana"})
    email = user.email
    assert delete(dana_client, f" {email.upper()} ") == 302
    found = User.objects.get(pk=user.pk)
    assert found.display_name == "Deleted account"
    assert (found.name, found.company, found.is_active, found.has_usable_password()) == ("", "", False, False)
    assert found.email.endswith("@deleted.invalid")
    for model in (Authenticator, SocialAccount, EmailAddress, OrganizationMembership):
        assert not model.objects.filter(user=user).exists()
    assert not Session.objects.filter(session_key=dana_client.session.session_key or "").exists()
    event = AuditEvent.objects.get(event="user.account_deleted")
    assert (event.actor_label, event.target_label, event.organization_id) == (
        email,
        email,
        dana.membership.organization_id,
    )
    written = "".join(str(row.changes) for row in AuditEvent.objects.all())
    assert "Dana Doe" not in written
    assert "Initech" not in written
    assert OutgoingMail.objects.filter(name="account_deleted", recipient=email).exists()
    assert dana_client.get("/account/deleted/").status_code == 200
    assert dana_client.get("/").status_code == 302


def test_address_of_a_deleted_account_is_free_again(dana: Person, dana_client: Client) -> None:
    email = dana.email
    delete(dana_client, email)
    assert people.create_user(email=email, password=None, at=NOON).email == email


@pytest.mark.parametrize("typed", ["", "bob@example.com", "dana"])
def test_account_is_deleted_by_its_own_address(dana: Person, dana_client: Client, typed: str) -> None:
    answer = dana_client.post("/account/delete/", {"email": typed})
    assert answer.status_code == 422
    assert "Nothing was deleted. Correct the marked fields" in answer.content.decode()
    assert User.objects.get(pk=dana.user.pk).deleted_at is None


def test_keys_end_before_their_account(dana: Person, dana_client: Client, issued: Issued) -> None:
    page = dana_client.get("/account/delete/").content.decode()
    assert issued.row.label in page
    assert delete(dana_client, dana.email) == 422
    assert ApiKey.objects.get(pk=issued.row.pk).revoked_at is None
    assert delete(dana_client, dana.email, revoke_keys="on") == 302
    revoked = ApiKey.objects.get(pk=issued.row.pk)
    assert revoked.revoked_at is not None
    assert Client().get("/v1/whoami", headers=issued.headers).json()["code"] == "key_revoked"


@pytest.mark.parametrize("as_what", ["auditor", "out of the team"])
def test_keys_out_of_reach_hold_no_account_back(
    alice: Person, dana: Person, dana_client: Client, issued: Issued, as_what: str
) -> None:
    if as_what == "auditor":
        people.change_organization_role(
            principal=alice.principal, membership=dana.membership, role=Role.AUDITOR, at=NOON
        )
    else:
        in_team = dana.membership.team_memberships.get()
        people.remove_from_team(principal=alice.principal, team_membership=in_team, at=NOON)
    assert delete(dana_client, dana.email, revoke_keys="on") == 302
    revoked = ApiKey.objects.get(pk=issued.row.pk)
    assert revoked.revoked_at is not None
    assert revoked.revoked_by_id == dana.user.pk


def test_organization_key_of_a_former_super_admin_holds_no_account_back(
    alice: Person, bob: Person, alice_client: Client, organization: Organization, issue: Issue
) -> None:
    issued = issue(alice, organization)
    _promote(alice, bob)
    people.change_organization_role(principal=bob.principal, membership=alice.membership, role=Role.MEMBER, at=NOON)
    assert delete(alice_client, alice.email, revoke_keys="on") == 302
    assert ApiKey.objects.get(pk=issued.row.pk).is_revoked


def test_deleted_account_leaves_no_invitation_that_it_accepted(
    bob: Person, dana: Person, dana_client: Client, team: Team
) -> None:
    people.remove_from_team(
        principal=bob.principal, team_membership=dana.membership.team_memberships.get(), at=timezone.now()
    )
    wanted: dict[str, Any] = {"principal": bob.principal, "team": team, "email": dana.email, "role": Role.DEVELOPER}
    taken, _ = people.invite(**wanted, at=timezone.now())
    people.accept_invitation(invitation=taken, user=dana.user, at=timezone.now())
    assert delete(dana_client, dana.email) == 302
    assert not Invitation.objects.filter(email=dana.email).exists()


def test_deleted_account_leaves_nothing_of_sessions_that_ran_out(dana: Person, dana_client: Client) -> None:
    UserSession.objects.create(user=dana.user, session_key="x" * 32, ip="192.0.2.7", user_agent="Old", data={})
    assert delete(dana_client, dana.email) == 302
    assert not UserSession.objects.filter(user=dana.user).exists()


def test_key_of_a_service_account_outlives_its_issuers_account(
    bob: Person, dana: Person, dana_client: Client, project: Project, issue: Issue
) -> None:
    account = people.create_service_account(
        principal=bob.principal, team=project.team, name="ci", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )
    issued = issue(dana, project, service_account=account)
    assert delete(dana_client, dana.email) == 302
    assert Client().get("/v1/whoami", headers=issued.headers).status_code == 200


def _promote(alice: Person, bob: Person) -> None:
    people.change_organization_role(
        principal=alice.principal, membership=bob.membership, role=Role.SUPER_ADMIN, at=NOON
    )


def test_account_that_is_deleted_twice_at_once_is_deleted_once(dana: Person) -> None:
    stale = User.objects.get(pk=dana.user.pk)
    for user in (dana.user, stale):
        actions.delete_account(user=user, at=NOON)
    assert [mail.recipient for mail in OutgoingMail.objects.filter(name="account_deleted")] == [dana.email]
    assert AuditEvent.objects.filter(event="user.account_deleted").count() == 1


def test_last_super_admin_does_not_leave_an_organization_alone(
    alice: Person, bob: Person, alice_client: Client
) -> None:
    page = alice_client.get("/account/delete/").content.decode()
    assert "only super admin of" in page
    assert delete(alice_client, alice.email) == 422
    _promote(alice, bob)
    assert delete(alice_client, alice.email) == 302


def test_super_admin_who_cannot_sign_in_any_more_is_none(alice: Person, bob: Person, alice_client: Client) -> None:
    _promote(alice, bob)
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    assert delete(alice_client, alice.email) == 422


def test_account_stays_if_its_end_cannot_be_recorded(
    dana: Person, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise LogIsFull

    monkeypatch.setattr(AuditEvent, "save", refuse)
    with pytest.raises(LogIsFull):
        actions.delete_account(user=dana.user, at=timezone.now(), revoke_keys=True)
    assert User.objects.get(pk=dana.user.pk).is_active
    assert ApiKey.objects.get(pk=issued.row.pk).revoked_at is None


def test_nobody_is_asked_to_delete_what_is_not_theirs(dana: Person) -> None:
    for path in ("/account/keys/", "/account/data/", "/account/delete/"):
        assert Client().get(path)["Location"].startswith("/account/sign-in/")


def test_organization_of_others_is_not_locked_out(
    dana: Person, elsewhere: Person, organization: Organization, team: Team, dana_client: Client
) -> None:
    assert delete(dana_client, dana.email) == 302
    assert Organization.objects.filter(pk__in=[organization.pk, elsewhere.membership.organization_id]).count() == 2


def test_key_that_was_revoked_a_moment_ago_keeps_its_own_end(alice: Person, dana: Person, issued: Issued) -> None:
    actions.revoke_key(principal=alice.principal, api_key=issued.row, at=NOON, reason="It leaked.")
    revoke_with_issuer(principal=dana.principal, api_key=issued.row, at=NOON, reason="Its issuer goes.")
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.revoked_by, row.revoke_reason) == (alice.user, "It leaked.")
