"""What someone may try who wants another person's account, at each kind of provider."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, generate_totp_secret, hotp_value
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from accounts.actions.factors import add_authenticator_app
from accounts.models import Team, User
from accounts.security import verified_addresses
from tests.accounts.providers import (
    WAYS,
    asked_of,
    be,
    begin,
    connected,
    consent,
    is_signed_in,
    through,
)
from tests.accounts.scenes import event_names, everything_in_sessions, invited, last_event, text_of
from tests.cast import NOON, Person
from tests.fake_providers import (
    FORM,
    GITHUB_EMAILS,
    GITHUB_TOKEN,
    GITHUB_USER,
    GOOGLE_TOKEN,
    HTML,
    JSON,
    Provider,
)

NOT_CONNECTED = "This account is not connected here"
DID_NOT_WORK = "The sign-in did not work"
every_way = pytest.mark.parametrize("way", WAYS)
ALICES, MALLORYS = "4711", "6666"


def said_of(way: str, email: str, *, is_verified: bool) -> dict[str, Any]:
    """Return what a provider says of an address; GitHub says it elsewhere."""
    return {"email": email} if way == "github" else {"email": email, "email_verified": is_verified}


def be_with_address(world: Provider, way: str, subject: str, email: str, *, is_verified: bool) -> None:
    be(world, way, subject, **said_of(way, email, is_verified=is_verified))
    world.emails = [{"email": email, "primary": True, "verified": is_verified}]


def refused(response: Any, client: Client) -> bool:
    return (response.status_code, NOT_CONNECTED in text_of(response), is_signed_in(client)) == (403, True, False)


def failed(response: Any, client: Client, *, status: int) -> bool:
    return (response.status_code, DID_NOT_WORK in text_of(response), is_signed_in(client)) == (status, True, False)


# The way it should be


@every_way
def test_connected_account_signs_its_person_in(client: Client, alice: Person, world: Provider, way: str) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    response = through(client, way, to="/teams/")
    assert (response.status_code, response["Location"], is_signed_in(client)) == (302, "/teams/", True)
    assert client.get("/").wsgi_request.user == alice.user
    assert last_event()["event"] == "user.signed_in"


@every_way
def test_account_is_connected_while_signed_in(alice: Person, alice_client: Client, world: Provider, way: str) -> None:
    be(world, way, ALICES)
    through(alice_client, way, process="connect")
    assert [(row.user, row.provider, row.uid) for row in SocialAccount.objects.all()] == [(alice.user, way, ALICES)]


@every_way
def test_way_there_has_a_challenge_and_our_own_address(
    client: Client, alice: Person, world: Provider, way: str
) -> None:
    asked = asked_of(begin(client, way))
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert asked["redirect_uri"] == f"http://127.0.0.1:8000{WAYS[way]}callback/"


@every_way
@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:1"}, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}]
)
def test_address_to_come_back_to_is_never_the_requests(
    client: Client, alice: Person, world: Provider, way: str, headers: dict[str, str]
) -> None:
    response = client.post(f"{WAYS[way]}?process=login", headers=headers)
    assert asked_of(response["Location"])["redirect_uri"] == f"http://127.0.0.1:8000{WAYS[way]}callback/"


@every_way
def test_link_to_us_asks_a_provider_for_nothing_more(client: Client, alice: Person, world: Provider, way: str) -> None:
    plain = asked_of(begin(client, way))
    wishes = "scope=admin:org&action=reauthenticate&auth_params=state%3Dfixed%26client_id%3Devil%26prompt%3Dnone"
    asked = asked_of(client.post(f"{WAYS[way]}?process=login&{wishes}")["Location"])
    assert asked.keys() == plain.keys()
    assert {*asked["scope"].split()} == {*plain["scope"].split()}
    assert (asked["client_id"], asked["state"] == "fixed") == ("keyportal", False)


# Whose account it is


@every_way
@pytest.mark.parametrize("is_verified", [True, False])
def test_members_address_does_not_sign_in_as_them(
    client: Client, alice: Person, world: Provider, way: str, is_verified: bool
) -> None:
    EmailAddress.objects.filter(user=alice.user).update(verified=True)
    be_with_address(world, way, MALLORYS, alice.email, is_verified=is_verified)
    assert refused(through(client, way), client)
    assert (User.objects.count(), SocialAccount.objects.count()) == (1, 0)


@every_way
def test_same_address_with_another_subject_does_not_sign_in(
    client: Client, alice: Person, world: Provider, way: str
) -> None:
    connected(alice, way, ALICES)
    be_with_address(world, way, MALLORYS, alice.email, is_verified=True)
    assert refused(through(client, way), client)


@every_way
def test_same_subject_at_another_provider_does_not_sign_in(
    client: Client, alice: Person, world: Provider, way: str
) -> None:
    for other in WAYS.keys() - {way}:
        connected(alice, other, ALICES)
    be(world, way, ALICES)
    assert refused(through(client, way), client)


@every_way
def test_answer_is_the_same_whether_or_not_there_is_an_account(
    alice: Person, bob: Person, team: Team, world: Provider, way: str
) -> None:
    answers = set()
    for email in (alice.email, "nobody@example.com", ""):
        be_with_address(world, way, MALLORYS, email, is_verified=True)
        answers.add(answer_of(Client(), way))
    # With invitations too: to someone who has an account, and to one who has none and whose link was used up.
    for email in (alice.email, "erin@example.com"):
        invitation, token = invited(bob, team, email)
        client = Client()
        client.get(f"/invitations/{token}/")
        if email != alice.email:
            invitation.delete()
        answers.add(answer_of(client, way, to="/invitations/"))
    assert len(answers) == 1


def answer_of(client: Client, way: str, to: str = "") -> tuple[int, bytes]:
    response = through(client, way, to=to)
    assert refused(response, client)
    return response.status_code, response.content


def test_github_login_that_was_renamed_is_still_its_owners(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "github", ALICES)
    be(world, "github", ALICES, login="alice")
    through(client, "github")
    be(world, "github", ALICES, login="alice-renamed")
    later = Client()
    through(later, "github")
    assert is_signed_in(later)


def test_github_login_that_someone_else_took_over_is_nobody(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "github", ALICES)
    be(world, "github", ALICES, login="alice")
    through(Client(), "github")
    be(world, "github", MALLORYS, login="alice")
    assert refused(through(client, "github"), client)


@pytest.mark.parametrize("way", ["acme", "key-cloak"])
def test_username_at_an_openid_provider_means_nothing(client: Client, alice: Person, world: Provider, way: str) -> None:
    connected(alice, way, "alice")
    be(world, way, "someone-else", preferred_username="alice", name="Alice", upn="alice")
    assert refused(through(client, way), client)


@pytest.mark.parametrize("subject", ["ALICE", "alice ", "alicé", "alice\u200b"])
def test_subject_that_only_looks_the_same_is_another(
    client: Client, alice: Person, world: Provider, subject: str
) -> None:
    connected(alice, "acme", "alice")
    be(world, "acme", subject)
    assert refused(through(client, "acme"), client)


@pytest.mark.parametrize("subject", [None, "", True, ["alice"], {"a": 1}, 1.5])
def test_subject_that_is_none_is_nobodys(client: Client, alice: Person, world: Provider, subject: object) -> None:
    for text in ("None", "True", "['alice']", "{'a': 1}", "1.5"):
        connected(alice, "acme", text)
    world.people["acme"] = {"sub": subject, "name": "Alice"}
    assert failed(through(client, "acme"), client, status=503)


def test_github_without_an_id_is_nobody(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "github", "None")
    world.github = {"id": None, "login": "alice"}
    assert failed(through(client, "github"), client, status=503)


def test_id_token_and_user_info_about_two_people_are_refused(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "acme", ALICES)
    be(world, "acme", ALICES)
    world.id_token = {"sub": MALLORYS}
    assert failed(through(client, "acme"), client, status=503)


@pytest.mark.parametrize("way", ["google", "acme"])
@pytest.mark.parametrize("said", [{"iss": "https://evil.example"}, {"aud": "another"}, {"exp": 1}])
def test_id_token_of_elsewhere_is_refused(
    client: Client, alice: Person, world: Provider, way: str, said: dict[str, Any]
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    world.id_token = said
    assert failed(through(client, way), client, status=401)


def test_id_token_is_good_once(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "acme", ALICES)
    be(world, "acme", ALICES)
    world.id_token = {"jti": "the-same"}
    through(Client(), "acme")
    assert failed(through(client, "acme"), client, status=401)


@pytest.mark.parametrize(
    ("email", "more", "addresses"),
    [
        ("alice@example.com", {"hd": "example.com"}, ["alice@example.com"]),
        # An account of anyone's, that had this mailbox when it was made.
        ("alice@example.com", {}, []),
        ("alice@gmail.com", {}, ["alice@gmail.com"]),
        ("alice@gmail.com", {"email_verified": False}, []),
    ],
)
def test_google_vouches_for_addresses_of_its_own(
    client: Client, alice: Person, world: Provider, email: str, more: dict[str, Any], addresses: list[str]
) -> None:
    connected(alice, "google", ALICES)
    be(world, "google", ALICES, **({"email": email, "email_verified": True} | more))
    through(client, "google")
    assert [*verified_addresses(SocialAccount.objects.get())] == addresses


# The way back


@every_way
def test_way_back_of_another_session_opens_nothing(client: Client, alice: Person, world: Provider, way: str) -> None:
    """Neither does Mallory's answer sign Alice's browser in as Mallory, nor Alice's answer Mallory's as Alice."""
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    back = consent(begin(Client(), way))
    begin(client, way)
    assert failed(client.get(back), client, status=401)


@every_way
def test_way_back_of_another_session_connects_nothing(alice_client: Client, world: Provider, way: str) -> None:
    be(world, way, MALLORYS)
    back = consent(begin(Client(), way, process="connect"))
    begin(alice_client, way, process="connect")
    alice_client.get(back)
    assert SocialAccount.objects.count() == 0


@every_way
def test_swapped_state_opens_nothing(client: Client, alice: Person, world: Provider, way: str) -> None:
    """A code that belongs to somebody else's way, with one's own state: the verifier is another."""
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    stolen = asked_of(consent(begin(Client(), way)))["code"]
    state = asked_of(begin(client, way))["state"]
    response = client.get(f"{WAYS[way]}callback/", {"code": stolen, "state": state})
    assert failed(response, client, status=401)


@pytest.mark.parametrize(("way", "other"), [("acme", "key-cloak"), ("key-cloak", "google"), ("github", "acme")])
def test_state_of_another_provider_opens_nothing(
    client: Client, alice: Person, world: Provider, way: str, other: str
) -> None:
    connected(alice, other, ALICES)
    be(world, way, ALICES)
    back = asked_of(consent(begin(client, way)))
    assert failed(client.get(f"{WAYS[other]}callback/", back), client, status=401)
    assert GITHUB_TOKEN not in {path for path, _ in world.asked}


@every_way
def test_way_back_is_gone_once(client: Client, alice: Person, world: Provider, way: str) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    back = consent(begin(client, way))
    client.get(back)
    client.post("/account/sign-out/")
    assert failed(client.get(back), client, status=401)


@every_way
def test_code_is_good_once(client: Client, alice: Person, world: Provider, way: str) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    used = asked_of(consent(begin(client, way)))
    client.get(f"{WAYS[way]}callback/", used)
    later = Client()
    state = asked_of(begin(later, way))["state"]
    assert failed(later.get(f"{WAYS[way]}callback/", used | {"state": state}), later, status=401)


@every_way
@pytest.mark.parametrize("tampered", ["", "x" * 43, None])
def test_code_without_its_verifier_opens_nothing(
    client: Client, alice: Person, world: Provider, way: str, tampered: str | None
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    back = consent(begin(client, way))
    session = client.session
    for state, _, _ in session["socialaccount_states"].values():
        state["pkce_code_verifier"] = tampered
    session.save()
    assert failed(client.get(back), client, status=401)


@every_way
def test_state_ends_after_a_while(
    client: Client, alice: Person, world: Provider, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    back = consent(begin(client, way))
    later = time.time() + 601
    monkeypatch.setattr("allauth.socialaccount.internal.statekit.time.time", lambda: later)
    assert client.get(back).status_code == 401
    assert "_auth_user_id" not in everything_in_sessions()


def test_connecting_that_one_began_ends_in_no_other_persons_session(
    alice: Person, dana: Person, sign_in_as: Callable[[Person], Client], world: Provider
) -> None:
    be(world, "acme", ALICES)
    client = sign_in_as(alice)
    back = consent(begin(client, "acme", process="connect"))
    client.force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get(back).status_code == 401
    assert SocialAccount.objects.count() == 0


def test_connecting_without_being_signed_in_connects_nothing(client: Client, alice: Person, world: Provider) -> None:
    be(world, "acme", ALICES)
    response = through(client, "acme", process="connect")
    assert (response.status_code, response["Location"]) == (302, "/account/connections/")
    assert (SocialAccount.objects.count(), is_signed_in(client)) == (0, False)


def test_session_gets_a_new_key_with_the_sign_in(client: Client, alice: Person, world: Provider) -> None:
    connected(alice, "github", ALICES)
    be(world, "github", ALICES)
    back = consent(begin(client, "github"))
    before = client.session.session_key
    client.get(back)
    assert is_signed_in(client)
    assert client.session.session_key != before


# The step after


@pytest.fixture
def secret(alice: Person) -> str:
    """Alice has an authenticator app, with this secret."""
    secret: str = generate_totp_secret()
    add_authenticator_app(user=alice.user, secret=secret, step=0, at=NOON)
    return secret


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


SECOND_STEP = "/account/sign-in/second-step/"


@every_way
def test_sign_in_that_stops_half_way_is_none(
    client: Client, alice: Person, world: Provider, secret: str, way: str
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    response = through(client, way)
    assert (response.status_code, response["Location"].partition("?")[0]) == (302, SECOND_STEP)
    assert not is_signed_in(client)
    for page in ("/", "/account/connections/", "/account/factors/", "/integrations/"):
        assert client.get(page)["Location"].startswith("/account/sign-in/"), page
    assert client.get("/v1/projects").status_code == 401
    assert "user.signed_in" not in event_names()


@every_way
def test_sign_in_that_stopped_half_way_is_continued_by_no_other_session(
    client: Client, alice: Person, world: Provider, secret: str, way: str
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    through(client, way)
    other = Client()
    assert other.post(SECOND_STEP, {"code": code_of(secret)})["Location"].startswith("/account/sign-in/")
    assert not is_signed_in(other)
    assert client.post(SECOND_STEP, {"code": code_of(secret)}).status_code == 302
    assert is_signed_in(client)


@every_way
def test_sign_in_that_stopped_half_way_ends_with_the_connection(
    client: Client, alice: Person, world: Provider, secret: str, way: str
) -> None:
    account = connected(alice, way, ALICES)
    be(world, way, ALICES)
    through(client, way)
    account.delete()
    assert client.post(SECOND_STEP, {"code": code_of(secret)})["Location"].startswith("/account/sign-in/")
    assert not is_signed_in(client)


def test_half_a_sign_in_proves_nothing_for_someone_elses(
    client: Client, alice: Person, dana: Person, world: Provider, secret: str
) -> None:
    """Mallory leaves a sign-in as Alice half-way, then signs in as Dana: nothing of Alice's is in that session."""
    connected(alice, "acme", ALICES)
    connected(dana, "key-cloak", "dana")
    be(world, "acme", ALICES)
    be(world, "key-cloak", "dana")
    through(client, "acme")
    through(client, "key-cloak")
    assert client.get("/").wsgi_request.user == dana.user
    assert ALICES not in json.dumps(client.session["account_authentication_methods"])
    client.post(SECOND_STEP, {"code": code_of(secret)})
    assert client.get("/").wsgi_request.user == dana.user


def test_second_step_is_not_skipped_by_a_second_sign_in(
    client: Client, alice: Person, world: Provider, secret: str
) -> None:
    connected(alice, "acme", ALICES)
    be(world, "acme", ALICES)
    for _ in range(2):
        through(client, "acme")
        assert not is_signed_in(client)
    assert Authenticator.objects.filter(user=alice.user).exists()


# Providers that say no, or nothing that makes sense


@every_way
@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable", "<script>", "invalid_scope"])
def test_error_of_a_provider_is_a_page(client: Client, alice: Person, world: Provider, way: str, error: str) -> None:
    asked = {"error": error, "error_description": "<b>secret</b>", "state": asked_of(begin(client, way))["state"]}
    response = client.get(f"{WAYS[way]}callback/", asked)
    assert failed(response, client, status=401)
    assert b"secret" not in response.content


TOKENS = {
    "github": GITHUB_TOKEN,
    "google": GOOGLE_TOKEN,
    "acme": "/realms/acme/token",
    "key-cloak": "/realms/key-cloak/token",
}
USERS = {"github": GITHUB_USER, "acme": "/realms/acme/userinfo"}
JUNK = [
    (200, HTML, b"<html>Down for maintenance</html>"),
    (200, JSON, b"{"),
    (200, JSON, b"null"),
    (200, JSON, b"[]"),
    (200, JSON, b'"text"'),
    (200, JSON, b'{"access_token": null}'),
    (200, JSON, b'{"access_token": "x", "expires_in": "soon"}'),
    (200, JSON, b'{"access_token": "x", "id_token": 7}'),
    (200, JSON, b'{"access_token": "x", "id_token": "a.b.c"}'),
    (200, JSON, b"[" * 100_000),
    (200, FORM, b"access_token="),
    (200, JSON, b"\xff\xfe\x00"),
    (500, HTML, b"<html>Internal server error</html>"),
    (302, HTML, b""),
]


@every_way
@pytest.mark.parametrize("answer", JUNK, ids=range(len(JUNK)))
def test_junk_for_a_token_is_a_page(
    client: Client, alice: Person, world: Provider, way: str, answer: tuple[int, str, bytes]
) -> None:
    be(world, way, ALICES)
    back = consent(begin(client, way))
    world.broken[TOKENS[way]] = lambda: answer
    response = client.get(back)
    assert response.status_code in {401, 503}
    assert (DID_NOT_WORK in text_of(response), is_signed_in(client)) == (True, False)


PEOPLE = [
    (200, HTML, b"<html>Down for maintenance</html>"),
    (200, JSON, b"[]"),
    (200, JSON, b"7"),
    (200, JSON, b"{}"),
    (200, JSON, b'{"id": "", "sub": ""}'),
    (200, JSON, b'{"id": 4711, "sub": "4711", "name": 7}'),
    (200, JSON, b'{"id": 4711, "sub": "4711", "bio": "\\u0000"}'),
    (200, JSON, b'{"id": 4711, "sub": "4711", "bio": "\\ud800"}'),
    (200, JSON, b'{"id": 4711, "sub": "4711", "bio": NaN}'),
    (200, JSON, b'{"id": "\\u00004711", "sub": "\\u00004711"}'),
    (200, JSON, json.dumps({"id": "x" * 1000, "sub": "x" * 1000}).encode()),
    (401, JSON, b'{"message": "Bad credentials"}'),
    (500, HTML, b"<html>Internal server error</html>"),
]


@pytest.mark.parametrize("way", USERS)
@pytest.mark.parametrize("answer", PEOPLE, ids=range(len(PEOPLE)))
def test_junk_for_a_person_is_a_page(
    client: Client, alice: Person, world: Provider, way: str, answer: tuple[int, str, bytes]
) -> None:
    connected(alice, way, ALICES)
    be(world, way, ALICES)
    back = consent(begin(client, way))
    world.broken[USERS[way]] = lambda: answer
    assert failed(client.get(back), client, status=503)


@pytest.mark.parametrize("emails", [b"{}", b"7", b'[{"email": 7}]', b'[{"email": "a@example.com"}]', b'["a"]'])
def test_junk_for_addresses_is_a_page(client: Client, alice: Person, world: Provider, emails: bytes) -> None:
    connected(alice, "github", ALICES)
    be(world, "github", ALICES)
    back = consent(begin(client, "github"))
    world.broken[GITHUB_EMAILS] = lambda: (200, JSON, emails)
    response = client.get(back)
    # Nothing at all is as good as an empty list.
    assert response.status_code == (302 if emails == b"{}" else 503)


@pytest.mark.parametrize(
    "config",
    [b"<html>", b"[]", b"{}", b'{"authorization_endpoint": 7, "token_endpoint": "https://a.example"}', b"null"],
)
def test_junk_for_a_configuration_is_a_page(client: Client, alice: Person, world: Provider, config: bytes) -> None:
    world.broken["/realms/acme/.well-known/openid-configuration"] = lambda: (200, JSON, config)
    response = client.post(f"{WAYS['acme']}?process=login")
    assert failed(response, client, status=503)


def test_endpoint_that_is_no_address_of_the_web_sends_nobody_there(
    client: Client, alice: Person, world: Provider
) -> None:
    config = world.discovery("acme") | {"authorization_endpoint": "javascript:alert(1)"}
    world.broken["/realms/acme/.well-known/openid-configuration"] = lambda: (200, JSON, json.dumps(config).encode())
    assert failed(client.post(f"{WAYS['acme']}?process=login"), client, status=503)


@every_way
@pytest.mark.parametrize("error", [requests.ReadTimeout, requests.ConnectionError, requests.TooManyRedirects])
def test_provider_that_hangs_is_a_page(
    client: Client, alice: Person, world: Provider, way: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_args: object, **_kwargs: object) -> None:
        raise error("https://provider.example/?token=secret")

    be(world, way, ALICES)
    back = consent(begin(client, way))
    monkeypatch.setattr(requests.Session, "request", hang)
    assert failed(client.get(back), client, status=503)


def test_failure_is_logged_without_what_was_answered(
    client: Client, alice: Person, world: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    be(world, "acme", ALICES)
    back = consent(begin(client, "acme"))
    world.broken["/realms/acme/userinfo"] = lambda: (200, JSON, b'{"name": "a secret of the provider"}')
    client.get(back)
    assert "UnreadableAnswer" in caplog.text
    assert "a secret of the provider" not in caplog.text


@pytest.mark.parametrize("path", ["/github/login/", "/google/login/", "/oidc/acme/login/", "/oidc/other/login/"])
def test_provider_that_is_switched_off_is_not_there(client: Client, alice: Person, path: str) -> None:
    assert [client.get(path).status_code, client.get(f"{path}callback/?state=x").status_code] == [404, 404]


@pytest.mark.parametrize("name", ["openid_connect", "github", "google", "ACME", "nothing"])
def test_provider_has_one_address(client: Client, alice: Person, world: Provider, name: str) -> None:
    assert client.get(f"/oidc/{name}/login/").status_code == 404
    assert client.get(f"/oidc/{name}/login/callback/").status_code == 404


def test_google_signs_nobody_in_by_a_token_that_is_posted(client: Client, alice: Person, world: Provider) -> None:
    client.cookies["g_csrf_token"] = "x"
    answer = client.post("/google/login/token/", {"credential": "x", "g_csrf_token": "x"})
    assert answer.status_code == 404 or answer["Location"].startswith("/account/sign-in/")
