"""Sign-in through a provider: a real OpenID Connect server on loopback, and Django's client as the browser."""

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount import providers
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.conf import settings as portal
from django.db import connection
from django.test import Client
from django.utils import timezone
from oidc_provider_mock import User as Subject
from oidc_provider_mock import run_server_in_thread

from accounts import actions
from accounts.models import Invitation, Role, Team, TeamMembership, User
from audit.models import AuditEvent
from tests.accounts.factored import SECOND_STEP, code_of, with_app
from tests.accounts.scenes import (
    event_names,
    everything_in_sessions,
    invited,
    last_event,
    sign_in_old,
    text_of,
    without_password,
)
from tests.cast import NOON, PASSWORD, Person

pytestmark = [
    # The provider's own, which answers in a thread of this process.
    pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning"),
]

JOIN = "/invitations/"
NOT_CONNECTED = "This account is not connected here"
SUBJECTS = [
    Subject(sub="erin-1", claims={"email": "erin@private.example", "email_verified": True, "name": "Erin Smith"}),
    Subject(sub="mallory-1", claims={"email": "alice@example.com", "email_verified": True, "name": "Alice"}),
    Subject(sub="long-1", claims={"given_name": "L" * 90, "family_name": "M" * 90}),
    Subject(sub="plain-1", claims={"given_name": "Erin", "family_name": "Smith"}),
    Subject(sub="bare-1", claims={}),
]


@pytest.fixture(scope="module")
def company() -> Iterator[str]:
    with run_server_in_thread(user_claims=SUBJECTS) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def provider(company: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal as KEYPORTAL_OIDC=company makes it."""
    app = {
        "provider_id": "company",
        "name": "Company",
        "client_id": "keyportal",
        "secret": "not so secret",
        "settings": {"server_url": company},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
    monkeypatch.setitem(providers.registry.provider_map, OpenIDConnectProvider.id, OpenIDConnectProvider)


@pytest.fixture
def link(bob: Person, team: Team) -> str:
    return f"/invitations/{invited(bob, team)[1]}/"


def through_company(client: Client, subject: str, *, process: str = "login", to: str = "") -> Any:
    """Go to the provider, sign in there, and return what the portal answers to the way back."""
    start = client.post(f"/oidc/company/login/?process={process}&next={to}")
    assert start.status_code == 302
    answer = httpx.post(start["Location"], data={"sub": subject})
    back = answer.headers["location"]
    assert back.startswith(f"{portal.KEYPORTAL_URL}/oidc/company/login/callback/?")
    return client.get(back.removeprefix(portal.KEYPORTAL_URL))


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def connected(person: Person, subject: str) -> None:
    SocialAccount.objects.create(user=person.user, provider="company", uid=subject)


# Signing in


def test_sign_in_page_offers_the_provider(client: Client, alice: Person) -> None:
    page = client.get("/account/sign-in/")
    assert "Continue with Company" in text_of(page)
    assert 'action="/oidc/company/login/?process=login"' in page.content.decode()


def test_sign_in_begins_with_a_post(client: Client, alice: Person) -> None:
    response = client.get("/oidc/company/login/")
    assert response.status_code == 200
    assert "You continue at Company and come back here." in text_of(response)


def test_connected_account_signs_in(client: Client, alice: Person) -> None:
    connected(alice, "erin-1")
    response = through_company(client, "erin-1", to="/teams/")
    assert (response.status_code, response["Location"]) == (302, "/teams/")
    event = last_event()
    assert (event["event"], event["actor_label"]) == ("user.signed_in", "alice@example.com")
    assert "successfully" not in text_of(client.get("/teams/")).lower()


def test_connected_account_does_not_pass_by_the_second_factor(client: Client, alice: Person) -> None:
    connected(alice, "alice-4711")
    secret = with_app(alice)
    assert through_company(client, "alice-4711")["Location"] == SECOND_STEP
    assert not is_signed_in(client)
    assert client.post(SECOND_STEP, {"code": code_of(secret)}).status_code == 302
    assert is_signed_in(client)


def test_stranger_to_the_portal_gets_no_account(client: Client, alice: Person) -> None:
    response = through_company(client, "erin-1")
    assert NOT_CONNECTED in text_of(response)
    assert not is_signed_in(client)
    assert (User.objects.count(), SocialAccount.objects.count()) == (1, 0)


def test_address_of_a_member_does_not_sign_in_as_them(client: Client, alice: Person) -> None:
    response = through_company(client, "mallory-1")
    assert NOT_CONNECTED in text_of(response)
    assert not is_signed_in(client)
    assert SocialAccount.objects.count() == 0


def test_another_subject_does_not_sign_in_as_the_first(client: Client, alice: Person) -> None:
    connected(alice, "erin-1")
    through_company(client, "bare-1")
    assert not is_signed_in(client)


def test_sign_in_that_was_cancelled_says_so(client: Client, alice: Person) -> None:
    start = client.post("/oidc/company/login/?process=login")
    state = parse_qs(urlsplit(start["Location"]).query)["state"][0]
    answer = client.get("/oidc/company/login/callback/", {"error": "access_denied", "state": state}, follow=True)
    assert "Sign-in was cancelled" in text_of(answer)
    assert not is_signed_in(client)


def test_answer_that_nobody_asked_for_is_refused(client: Client, alice: Person) -> None:
    connected(alice, "erin-1")
    response = client.get("/oidc/company/login/callback/?code=abc&state=def")
    assert "The sign-in did not work" in text_of(response)
    assert not is_signed_in(client)


def test_closed_account_does_not_sign_in(client: Client, alice: Person) -> None:
    connected(alice, "erin-1")
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    response = through_company(client, "erin-1")
    assert not is_signed_in(client)
    assert "This account is closed" in text_of(client.get(response["Location"]))


# With an invitation


def test_invitation_offers_the_provider(client: Client, link: str) -> None:
    page = client.get(link, follow=True)
    assert "Continue with Company" in text_of(page)
    assert 'action="/oidc/company/login/?process=login&amp;next=%2Finvitations%2F"' in page.content.decode()


def test_invitation_is_accepted_through_the_provider(client: Client, link: str, team: Team) -> None:
    client.get(link)
    response = through_company(client, "erin-1", to=JOIN)
    assert (response.status_code, response["Location"]) == (302, "/")
    user = User.objects.get(email="erin@example.com")
    assert (user.name, user.has_usable_password(), user.email) == ("Erin Smith", False, "erin@example.com")
    in_team = TeamMembership.objects.get(membership__user=user)
    assert (in_team.team, in_team.role) == (team, "developer")
    [account] = SocialAccount.objects.all()
    assert (account.user, account.provider, account.uid) == (user, "company", "erin-1")
    assert Invitation.objects.get().accepted_at is not None
    assert "Payments" in text_of(client.get("/teams/"))


def test_account_has_the_invitations_address_and_never_the_providers(client: Client, link: str) -> None:
    client.get(link)
    through_company(client, "erin-1", to=JOIN)
    addresses = EmailAddress.objects.filter(user__email="erin@example.com").values_list("email", "primary", "verified")
    assert [*addresses] == [("erin@example.com", True, False)]
    assert not User.objects.filter(email="erin@private.example").exists()


def test_account_made_so_is_on_record(client: Client, link: str) -> None:
    client.get(link)
    before = len(event_names())
    through_company(client, "erin-1", to=JOIN)
    assert sorted(event_names()[before:]) == [
        "connected_account.created",
        "invitation.accepted",
        "organization_membership.created",
        "team_membership.created",
        "user.created",
        "user.signed_in",
    ]


def test_invitation_makes_one_account(client: Client, link: str) -> None:
    client.get(link)
    through_company(client, "erin-1", to=JOIN)
    second = Client()
    assert second.get(link).status_code == 410
    through_company(second, "bare-1", to=JOIN)
    assert not is_signed_in(second)
    assert SocialAccount.objects.count() == 1


def test_invitation_that_was_used_meanwhile_makes_no_account(client: Client, link: str) -> None:
    client.get(link)
    actions.register_invited(invitation=Invitation.objects.get(), name="Erin", password=PASSWORD, at=timezone.now())
    response = through_company(client, "bare-1", to=JOIN)
    assert NOT_CONNECTED in text_of(response)
    assert not is_signed_in(client)


def test_invitation_for_someone_with_an_account_asks_to_sign_in_first(
    client: Client, bob: Person, dana: Person, other_team: Team, alice: Person
) -> None:
    _, token = invited(alice, other_team, dana.email)
    client.get(f"/invitations/{token}/")
    response = through_company(client, "erin-1", to=JOIN)
    assert (response.status_code, NOT_CONNECTED in text_of(response)) == (403, True)
    assert not is_signed_in(client)
    assert (SocialAccount.objects.count(), Invitation.objects.get().accepted_at) == (0, None)


def test_invitation_of_a_member_who_is_connected_is_accepted_after_the_sign_in(
    client: Client, alice: Person, dana: Person, other_team: Team
) -> None:
    connected(dana, "erin-1")
    _, token = invited(alice, other_team, dana.email)
    client.get(f"/invitations/{token}/")
    assert through_company(client, "erin-1", to=JOIN)["Location"] == JOIN
    client.post(JOIN)
    assert TeamMembership.objects.filter(team=other_team, membership=dana.membership).exists()


@pytest.mark.parametrize(
    ("subject", "name"), [("plain-1", "Erin Smith"), ("long-1", f"{'L' * 90} {'M' * 9}"), ("bare-1", "")]
)
def test_name_comes_from_the_provider_as_far_as_there_is_room(
    client: Client, link: str, subject: str, name: str
) -> None:
    client.get(link)
    through_company(client, subject, to=JOIN)
    assert User.objects.get(email="erin@example.com").name == name


def test_nothing_is_saved_if_the_audit_row_fails(client: Client, link: str, request: pytest.FixtureRequest) -> None:
    client.get(link)
    client.raise_request_exception = False
    request.getfixturevalue("broken_log")
    assert through_company(client, "erin-1", to=JOIN).status_code == 500
    assert not User.objects.filter(email="erin@example.com").exists()
    assert (SocialAccount.objects.count(), Invitation.objects.get().accepted_at) == (0, None)


def test_account_is_not_made_without_an_invitation_even_at_the_last_moment(
    client: Client, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, answer in {"is_open_for_signup": True, "pre_social_login": None}.items():
        monkeypatch.setattr(f"accounts.adapters.SocialAccountAdapter.{name}", lambda *_, answer=answer: answer)
    assert through_company(client, "erin-1", to=JOIN)["Location"] == "/invitations/"
    assert client.get("/invitations/").status_code == 410
    assert not User.objects.filter(email__startswith="erin").exists()


def test_invitation_that_someone_accepts_at_the_same_moment_makes_no_second_account(
    client: Client, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(**_: Any) -> None:
        raise actions.InvitationNotUsable

    client.get(link)
    monkeypatch.setattr("accounts.adapters.accept_invitation", too_late)
    assert through_company(client, "erin-1", to=JOIN)["Location"] == "/invitations/"
    assert not User.objects.filter(email__startswith="erin").exists()


def test_account_made_so_is_on_the_organizations_page(client: Client, alice_client: Client, link: str) -> None:
    client.get(link)
    through_company(client, "erin-1", to=JOIN)
    for table, event in {"users": "user.created", "connected_accounts": "connected_account.created"}.items():
        shown = alice_client.get(f"/audit/?target_table={table}&action=create")
        assert [row.event for row in shown.context["events"]] == [event]
    organization_ids = AuditEvent.objects.filter(target_label__startswith="erin").values_list("organization_id")
    assert {*organization_ids} == {(Team.objects.get().organization_id,)}


@pytest.mark.parametrize("to", ["", "/", "/teams/", "/invitations", "/invitations/x/"])
def test_pending_invitation_makes_no_account_for_a_sign_in_that_began_elsewhere(
    client: Client, link: str, to: str
) -> None:
    client.get(link)
    response = through_company(client, "erin-1", to=to)
    assert NOT_CONNECTED in text_of(response)
    assert not is_signed_in(client)
    assert not User.objects.filter(email="erin@example.com").exists()
    assert (SocialAccount.objects.count(), Invitation.objects.get().accepted_at) == (0, None)


def test_invitations_page_makes_no_account_without_an_invitation(client: Client, alice: Person) -> None:
    response = through_company(client, "erin-1", to=JOIN)
    assert NOT_CONNECTED in text_of(response)
    assert (User.objects.count(), SocialAccount.objects.count()) == (1, 0)


def test_invitation_by_someone_who_left_makes_no_account(client: Client, bob: Person, link: str) -> None:
    client.get(link)
    bob.membership.delete()
    assert NOT_CONNECTED in text_of(through_company(client, "erin-1", to=JOIN))
    assert not User.objects.filter(email="erin@example.com").exists()


def test_invitations_token_goes_to_no_provider_and_into_no_session(client: Client, link: str) -> None:
    token = link.split("/")[2]
    page = client.get(link, follow=True)
    start = client.post(f"/oidc/company/login/?process=login&next={JOIN}")
    for text in (page.content.decode(), page.request["PATH_INFO"], start["Location"], everything_in_sessions()):
        assert token not in text
    assert JOIN in everything_in_sessions()


# A provider that is away, or slow


@pytest.fixture
def provider_away(settings: Any, company: str) -> Callable[[], None]:
    """From the call on, the provider refuses every connection."""

    def leave() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        [app] = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
        app["settings"] = {"server_url": f"http://127.0.0.1:{port}"}

    return leave


def test_provider_that_is_away_is_said_at_the_start(
    client: Client, alice: Person, provider_away: Callable[[], None]
) -> None:
    provider_away()
    response = client.post("/oidc/company/login/?process=login")
    assert response.status_code == 503
    assert "The sign-in did not work" in text_of(response)


def test_provider_that_is_away_is_said_on_the_way_back(
    client: Client, alice: Person, provider_away: Callable[[], None]
) -> None:
    connected(alice, "erin-1")
    start = client.post("/oidc/company/login/?process=login")
    state = parse_qs(urlsplit(start["Location"]).query)["state"][0]
    provider_away()
    response = client.get("/oidc/company/login/callback/", {"code": "abc", "state": state})
    assert response.status_code == 503
    assert "The sign-in did not work" in text_of(response)
    assert not is_signed_in(client)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("process", ["login", "connect", "join"])
def test_nobody_waits_while_a_provider_is_asked(
    client: Client, alice_client: Client, link: str, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    in_transaction: list[bool] = []

    class Watchful(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> requests.Response:
            in_transaction.append(connection.in_atomic_block)
            return super().request(*args, **kwargs)

    monkeypatch.setattr("accounts.adapters.SocialAccountAdapter.get_requests_session", lambda _: Watchful())
    if process == "connect":
        through_company(alice_client, "erin-1", process="connect")
    else:
        client.get(link)
        through_company(client, "erin-1", to=JOIN if process == "join" else "")
    assert set(in_transaction) == {False}
    # The provider's configuration on both ways, the code for a token, and who it is.
    assert len(in_transaction) >= 4
    assert SocialAccount.objects.count() == (0 if process == "login" else 1)


# Connecting


def test_account_is_connected_and_disconnected(alice: Person, alice_client: Client) -> None:
    response = through_company(alice_client, "erin-1", process="connect")
    assert response["Location"] == "/account/connections/"
    page = text_of(alice_client.get("/account/connections/"))
    assert "Account connected. You can sign in with it from now on." in page
    [account] = SocialAccount.objects.all()
    assert (account.user, account.uid) == (alice.user, "erin-1")
    event = last_event(event="connected_account.created")
    assert (event["actor_label"], event["organization_id"]) == (alice.email, alice.membership.organization_id)
    alice_client.post("/account/connections/", {"account": account.pk})
    assert SocialAccount.objects.count() == 0
    page = text_of(alice_client.get("/account/connections/"))
    assert "Account disconnected. It can no longer sign you in." in page


def test_account_is_not_connected_if_the_audit_row_fails(alice_client: Client, request: pytest.FixtureRequest) -> None:
    alice_client.raise_request_exception = False
    request.getfixturevalue("broken_log")
    assert through_company(alice_client, "erin-1", process="connect").status_code == 500
    assert SocialAccount.objects.count() == 0


def test_account_of_someone_else_is_not_connected(alice: Person, dana: Person, alice_client: Client) -> None:
    connected(dana, "erin-1")
    through_company(alice_client, "erin-1", process="connect")
    assert [account.user for account in SocialAccount.objects.all()] == [dana.user]
    page = text_of(alice_client.get("/account/connections/"))
    assert "That account is connected to someone else here." in page


@pytest.mark.parametrize("has_password", [True, False])
def test_account_is_not_connected_by_a_session_that_was_left_open(
    alice: Person, sign_in_as: Callable[[Person], Client], has_password: bool
) -> None:
    if not has_password:
        without_password(alice)
        alice.user.refresh_from_db()
    client = sign_in_as(alice)
    sign_in_old(client)
    response = through_company(client, "erin-1", process="connect")
    page = "reauthenticate" if has_password else "confirm"
    assert response["Location"] == f"/account/{page}/?next=%2Faccount%2Fconnections%2F"
    assert "Confirm that it is you, then connect the account once more." in text_of(client.get(response["Location"]))
    assert SocialAccount.objects.count() == 0


def test_last_way_in_is_not_disconnected(alice: Person, client: Client) -> None:
    connected(alice, "erin-1")
    without_password(alice)
    through_company(client, "erin-1")
    client.post("/account/connections/", {"account": SocialAccount.objects.get().pk})
    assert SocialAccount.objects.count() == 1


def test_foreign_connection_is_not_disconnected(alice_client: Client, charlie: Person) -> None:
    connected(charlie, "erin-1")
    alice_client.post("/account/connections/", {"account": SocialAccount.objects.get().pk})
    assert SocialAccount.objects.count() == 1


def test_connecting_keeps_the_address(alice: Person, alice_client: Client) -> None:
    through_company(alice_client, "erin-1", process="connect")
    alice.user.refresh_from_db()
    assert (alice.user.email, alice.user.name) == ("alice@example.com", "Alice")


# Again


def test_without_a_password_one_signs_in_again_at_the_provider(
    alice: Person, sign_in_as: Callable[[Person], Client]
) -> None:
    connected(alice, "erin-1")
    without_password(alice)
    alice.user.refresh_from_db()
    client = sign_in_as(alice)
    sign_in_old(client)
    asked = client.get(client.get("/integrations/new/?scope=org")["Location"])
    assert "Continue with Company" in text_of(asked)
    assert "?process=login&amp;next=%2Fintegrations%2Fnew%2F%3Fscope%3Dorg" in asked.content.decode()
    response = through_company(client, "erin-1", to="/integrations/new/")
    assert response["Location"] == "/integrations/new/"
    assert client.get("/integrations/new/").status_code == 200


def test_only_providers_that_know_the_person_are_offered_again(alice_client: Client) -> None:
    response = alice_client.get("/account/confirm/")
    assert response.context["providers"] == []


def test_someone_of_two_teams_is_one_person(client: Client, alice: Person, link: str, other_team: Team) -> None:
    client.get(link)
    through_company(client, "erin-1", to=JOIN)
    user = User.objects.get(email="erin@example.com")
    actions.add_to_team(team=other_team, user=user, role=Role.DEVELOPER, at=NOON)
    assert user.memberships.count() == 1
