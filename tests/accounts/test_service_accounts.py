"""Service accounts: made, changed and stopped by admins of their team, and no people in any respect."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts import actions
from accounts.models import OutgoingMail, Role, ServiceAccount, Team, User
from audit.models import AuditEvent
from tests.accounts.scenes import FRAGMENT, LogIsFull, acting_as, by, is_page, last_event, queries_of, text_of
from tests.cast import NOON, PASSWORD, Issued, Person, later

Issue = Callable[..., Issued]


def make(person: Person, team: Team, **changes: Any) -> ServiceAccount:
    wanted: dict[str, Any] = {"name": "ci-deployer", "role": Role.DEVELOPER, "steward": person.user, "at": NOON}
    return actions.create_service_account(principal=person.principal, team=team, **wanted | changes)


@pytest.fixture
def account(bob: Person, team: Team) -> ServiceAccount:
    return make(bob, team)


def stored(account: ServiceAccount) -> ServiceAccount:
    return ServiceAccount.objects.get(pk=account.pk)


# Making one


def test_create_service_account_is_on_record(bob: Person, dana: Person, team: Team) -> None:
    with acting_as(bob):
        account = make(bob, team, name=" ci-deployer ", steward=dana.user)
    found = stored(account)
    assert (found.name, found.team, found.role, found.steward) == ("ci-deployer", team, "developer", dana.user)
    assert (found.created_at, found.stopped_at, str(found)) == (NOON, None, "ci-deployer")
    assert last_event() == by(
        bob,
        team_id=team.pk,
        event="service_account.created",
        action="create",
        target_table="service_accounts",
        target_id=str(account.pk),
        target_label="ci-deployer",
        changes={
            "name": [None, "ci-deployer"],
            "team_id": [None, str(team.pk)],
            "role": [None, "developer"],
            "steward_id": [None, str(dana.user.pk)],
        },
    )


@pytest.mark.parametrize(
    ("who", "is_allowed"), [("alice", True), ("bob", True), ("dana", False), ("charlie", False), ("other_admin", False)]
)
def test_service_accounts_are_for_admins_of_their_team(
    request: pytest.FixtureRequest, bob: Person, team: Team, other_team: Team, who: str, is_allowed: bool
) -> None:
    if who == "other_admin":
        user = actions.create_user(email="olga@example.com", password=PASSWORD, at=NOON)
        in_team = actions.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON)
        person = Person(in_team.membership)
    else:
        person = request.getfixturevalue(who)
    account = make(bob, team)
    attempts: list[Callable[[], object]] = [
        lambda: make(person, team, name="second", steward=bob.user),
        lambda: actions.rename_service_account(principal=person.principal, service_account=account, name="third"),
        lambda: actions.change_steward(principal=person.principal, service_account=account, steward=bob.user),
        lambda: actions.stop_service_account(principal=person.principal, service_account=account, at=NOON),
    ]
    before = AuditEvent.objects.count()
    for attempt in attempts:
        if is_allowed:
            attempt()
        else:
            with pytest.raises(actions.NotAllowed):
                attempt()
    assert (stored(account).stopped_at is not None) is is_allowed
    assert is_allowed or AuditEvent.objects.count() == before


def test_create_service_account_refuses_a_steward_from_elsewhere(alice: Person, charlie: Person, team: Team) -> None:
    for steward in (charlie.user, alice.user):
        with pytest.raises(actions.StewardNotInTeam):
            make(alice, team, steward=steward)
    assert not ServiceAccount.objects.exists()


def test_steward_who_cannot_sign_in_is_none(bob: Person, dana: Person, team: Team) -> None:
    dana.user.is_active = False
    dana.user.save(update_fields=["is_active"])
    with pytest.raises(actions.StewardNotInTeam):
        make(bob, team, steward=dana.user)


def test_name_is_taken_within_the_team_in_any_case(
    alice: Person, bob: Person, team: Team, other_team: Team, account: ServiceAccount
) -> None:
    with pytest.raises(actions.NameTaken):
        make(bob, team, name="CI-Deployer")
    actions.add_to_team(team=other_team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    assert make(alice, other_team).name == "ci-deployer"


def test_create_service_account_saves_nothing_if_the_audit_row_fails(bob: Person, team: Team, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        make(bob, team)
    assert not ServiceAccount.objects.exists()


# Changing one


def test_rename_and_change_steward_are_on_record(bob: Person, dana: Person, account: ServiceAccount) -> None:
    with acting_as(bob):
        actions.rename_service_account(principal=bob.principal, service_account=account, name=" deployer ")
        renamed = last_event()
        actions.change_steward(principal=bob.principal, service_account=account, steward=dana.user)
    assert (renamed["event"], renamed["changes"]) == ("service_account.updated", {"name": ["ci-deployer", "deployer"]})
    newest = last_event()
    assert newest["event"] == "service_account.steward_changed"
    assert newest["changes"] == {"steward_id": [str(bob.user.pk), str(dana.user.pk)]}


def test_rename_refuses_the_name_of_another(bob: Person, team: Team, account: ServiceAccount) -> None:
    make(bob, team, name="second")
    with pytest.raises(actions.NameTaken):
        actions.rename_service_account(principal=bob.principal, service_account=account, name="SECOND")
    assert stored(account).name == "ci-deployer"


def test_change_steward_refuses_someone_from_elsewhere(bob: Person, charlie: Person, account: ServiceAccount) -> None:
    with pytest.raises(actions.StewardNotInTeam):
        actions.change_steward(principal=bob.principal, service_account=account, steward=charlie.user)
    assert stored(account).steward == bob.user


def test_stopping_is_final_and_on_record(bob: Person, account: ServiceAccount) -> None:
    with acting_as(bob):
        actions.stop_service_account(principal=bob.principal, service_account=account, at=later(hours=1))
    assert stored(account).stopped_at == later(hours=1)
    assert last_event()["event"] == "service_account.stopped"
    attempts: list[Callable[[], object]] = [
        lambda: actions.stop_service_account(principal=bob.principal, service_account=account, at=later(hours=2)),
        lambda: actions.rename_service_account(principal=bob.principal, service_account=account, name="x"),
        lambda: actions.change_steward(principal=bob.principal, service_account=account, steward=bob.user),
    ]
    for attempt in attempts:
        with pytest.raises(actions.ServiceAccountAlreadyStopped):
            attempt()
    assert stored(account).stopped_at == later(hours=1)


@pytest.mark.parametrize("change", ["rename", "steward", "stop"])
def test_change_saves_nothing_if_the_audit_row_fails(
    bob: Person, dana: Person, account: ServiceAccount, request: pytest.FixtureRequest, change: str
) -> None:
    request.getfixturevalue("dana")
    request.getfixturevalue("broken_log")
    changes: dict[str, Callable[[], object]] = {
        "rename": lambda: actions.rename_service_account(
            principal=bob.principal, service_account=account, name="second"
        ),
        "steward": lambda: actions.change_steward(principal=bob.principal, service_account=account, steward=dana.user),
        "stop": lambda: actions.stop_service_account(principal=bob.principal, service_account=account, at=NOON),
    }
    with pytest.raises(LogIsFull):
        changes[change]()
    found = stored(account)
    assert (found.name, found.steward, found.stopped_at) == ("ci-deployer", bob.user, None)


# No person


def test_service_account_is_no_person(bob: Person, team: Team, client: Client) -> None:
    """Nothing that signs people in knows of it: no user, no session, no link that resets a password or invites."""
    before = User.objects.count()
    account = make(bob, team, name="robot@example.com")
    assert User.objects.count() == before
    response = client.post("/account/sign-in/", {"login": account.name, "password": PASSWORD})
    assert response.status_code == 422
    assert "_auth_user_id" not in client.session
    client.post("/account/password/reset/", {"email": account.name})
    assert not OutgoingMail.objects.filter(recipient=account.name).exists()
    assert not hasattr(account, "password")
    assert not hasattr(account, "is_authenticated")


def test_invitation_of_the_name_of_an_account_makes_a_person_of_its_own(bob: Person, team: Team) -> None:
    account = make(bob, team, name="robot@example.com")
    invitation, _ = actions.invite(
        principal=bob.principal, team=team, email="robot@example.com", role=Role.DEVELOPER, at=NOON
    )
    user = actions.register_invited(invitation=invitation, name="Robot", password=PASSWORD, at=NOON)
    assert stored(account).steward == bob.user
    assert user.pk != account.pk
    assert not user.service_accounts.exists()


# The pages


def new_url(team: Team) -> str:
    return f"/teams/{team.pk}/service-accounts/new/"


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_new_service_account_is_a_page_and_a_dialog(bob_client: Client, team: Team, headers: dict[str, str]) -> None:
    response = bob_client.get(new_url(team), headers=headers)
    assert response.status_code == 200
    assert is_page(response) is not bool(headers)
    assert "New service account" in text_of(response)
    assert response["Vary"].count("HX-Request") == 1


def test_new_service_account_leads_to_its_page(bob_client: Client, bob: Person, dana: Person, team: Team) -> None:
    form = {"name": "ci-deployer", "role": "developer", "steward": str(dana.user.pk)}
    response = bob_client.post(new_url(team), form)
    account = ServiceAccount.objects.get()
    assert (account.name, account.steward) == ("ci-deployer", dana.user)
    assert response["Location"] == f"/service-accounts/{account.pk}/"


def test_new_service_account_says_what_is_wrong_beside_the_field(
    bob_client: Client, bob: Person, charlie: Person, team: Team, account: ServiceAccount
) -> None:
    form = {"name": "CI-deployer", "role": "developer", "steward": str(bob.user.pk)}
    taken = bob_client.post(new_url(team), form)
    assert taken.status_code == 422
    assert taken.context["form"].errors == {
        "name": ["The team has a service account of this name already. Choose another name."]
    }
    stranger = bob_client.post(new_url(team), form | {"name": "x", "steward": str(charlie.user.pk)})
    assert stranger.status_code == 422
    assert list(stranger.context["form"].errors) == ["steward"]
    assert ServiceAccount.objects.count() == 1


def test_edit_changes_name_and_steward_or_neither(
    bob_client: Client, bob: Person, dana: Person, team: Team, account: ServiceAccount
) -> None:
    url = f"/service-accounts/{account.pk}/edit/"
    assert bob_client.get(url).status_code == 200
    make(bob, team, name="second")
    refused = bob_client.post(url, {"name": "second", "steward": str(dana.user.pk)})
    assert (refused.status_code, stored(account).steward) == (422, bob.user)
    done = bob_client.post(url, {"name": "deployer", "steward": str(dana.user.pk)})
    assert done["Location"] == f"/service-accounts/{account.pk}/"
    assert (stored(account).name, stored(account).steward) == ("deployer", dana.user)


def test_edit_asks_for_a_steward_where_the_last_one_left(
    bob_client: Client, bob: Person, dana: Person, team: Team
) -> None:
    account = make(bob, team, steward=dana.user)
    danas = team.memberships.get(membership=dana.membership)
    actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=danas)
    page = bob_client.get(f"/service-accounts/{account.pk}/edit/")
    assert page.context["form"]["steward"].value() is None


@pytest.mark.parametrize("path", ["/teams/{team}/service-accounts/new/", "/service-accounts/{account}/edit/"])
def test_pages_are_for_admins_of_the_team(
    dana_client: Client, charlie_client: Client, team: Team, account: ServiceAccount, path: str
) -> None:
    url = path.format(team=team.pk, account=account.pk)
    assert dana_client.get(url).status_code == 403
    assert charlie_client.get(url).status_code == 404
    assert charlie_client.post(url, {"name": "x"}).status_code == 404


def test_team_page_lists_accounts_with_role_steward_and_state(
    bob_client: Client, bob: Person, dana: Person, team: Team, issue: Issue
) -> None:
    running = make(bob, team, name="runner", role=Role.TEAM_ADMIN)
    orphan = make(bob, team, name="orphan", steward=dana.user)
    ended = make(bob, team, name="ended")
    issue(bob, team, service_account=running)
    issue(bob, team, service_account=running, expires_at=later(days=1))
    actions.stop_service_account(principal=bob.principal, service_account=ended, at=NOON)
    danas = team.memberships.get(membership=dana.membership)
    actions.remove_from_team(at=NOON, principal=bob.principal, team_membership=danas)
    text = text_of(bob_client.get(f"/teams/{team.pk}/"))
    assert "runner Steward: Bob Team admin 1 key" in text
    assert f"{orphan} No steward: no new keys. Dana has left. No steward Developer 0 keys" in text
    assert "ended Its keys are refused. Stopped" in text


def test_team_page_costs_the_same_with_more_accounts_and_members(
    bob_client: Client, bob: Person, team: Team, issue: Issue
) -> None:
    url = f"/teams/{team.pk}/"
    issue(bob, team, service_account=make(bob, team, name="a0"))
    before = queries_of(bob_client, url)
    for number in range(1, 4):
        issue(bob, team, service_account=make(bob, team, name=f"a{number}"))
        user = actions.create_user(email=f"p{number}@example.com", password=PASSWORD, at=NOON)
        actions.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON)
    assert queries_of(bob_client, url) == before
