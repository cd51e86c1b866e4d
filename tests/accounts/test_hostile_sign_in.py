"""Sign-in against those who plant sessions, forge forms, bend ways back, and lie about where they have come from."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Team
from tests.accounts.mailbox import link_to, mails
from tests.accounts.scenes import invited, sign_in_old, text_of
from tests.cast import PASSWORD, Issued, Person
from tests.test_sweeps import filled_in, is_api, patterns

COOKIE = "keyportal_session"
WRONG = "not the password of anybody"
SIGN_IN = "/account/sign-in/"
Sign = Callable[[Person], Client]


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: Any) -> Any:
    return client.post(SIGN_IN, {"login": email, "password": password, **more})


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(timezone.now().timestamp()) // 30)))


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


# Session fixation


def planted_in(client: Client) -> str:
    """Put a session that the attacker knows into somebody's browser; return its key."""
    Client().get(SIGN_IN)
    session = client.session
    session["planted"] = "by someone else"
    session.save()
    client.cookies[COOKIE] = str(session.session_key)
    return str(session.session_key)


def test_planted_session_is_worth_nothing_after_a_sign_in(client: Client, alice: Person) -> None:
    planted = planted_in(client)
    sign_in(client, alice.email)
    assert is_in(client)
    assert client.session.session_key != planted
    attacker = Client()
    attacker.cookies[COOKIE] = planted
    assert not is_in(attacker)


def test_planted_session_is_worth_nothing_after_a_second_factor(client: Client, alice: Person) -> None:
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    planted = planted_in(client)
    assert sign_in(client, alice.email)["Location"].startswith("/account/sign-in/second-step/")
    halfway = str(client.session.session_key)
    client.post("/account/sign-in/second-step/", {"code": code_of(secret)})
    assert is_in(client)
    assert client.session.session_key not in {planted, halfway}
    for known in (planted, halfway):
        attacker = Client()
        attacker.cookies[COOKIE] = known
        assert not is_in(attacker)


def test_password_alone_opens_nothing_where_there_is_a_second_factor(client: Client, alice: Person) -> None:
    TOTP.activate(alice.user, generate_totp_secret())
    sign_in(client, alice.email)
    assert not is_in(client)
    assert client.get("/account/factors/").status_code == 302


def test_session_of_ones_own_making_is_none(client: Client, alice: Person) -> None:
    client.cookies[COOKIE] = "a" * 32
    sign_in(client, alice.email)
    assert client.session.session_key != "a" * 32
    assert is_in(client)


def test_old_session_ends_with_signing_out(alice_client: Client) -> None:
    kept = alice_client.cookies[COOKIE].value
    alice_client.post("/account/sign-out/")
    thief = Client()
    thief.cookies[COOKIE] = kept
    assert not is_in(thief)


# Forged forms


PAGES = sorted({path for path, _ in patterns() if not is_api(path)})
# Mail programs send this one, which have no form of ours; its token is the proof (RFC 8058 §3.1).
WITHOUT_CSRF = {"unsubscribe/<str:token>/"}


@pytest.mark.parametrize("path", [path for path in PAGES if path not in WITHOUT_CSRF])
def test_every_page_refuses_a_post_without_its_csrf_token(alice: Person, sign_in_as: Sign, path: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = sign_in_as(alice).cookies
    status = strict.post(filled_in(path, {"factor_id": "7"}), {"name": "x"}).status_code
    # 405: it takes none at all, which is asked after the token or before it.
    assert status in {403, 405}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_sign_in_refuses_another_origins_form(alice: Person, origin: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    token = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', strict.get(SIGN_IN).content.decode())[0]
    form = {"login": alice.email, "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert strict.post(SIGN_IN, form, headers={"Origin": origin}).status_code == 403
    assert strict.post(SIGN_IN, form).status_code == 302


# Ways back that lead away

AWAY = [
    "https://evil.example",
    "https://evil.example/",
    "http://evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    r"\\evil.example",
    r"\/\/evil.example",
    r"/\evil.example",
    r"/\/evil.example",
    r"\/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "HTTPS://EVIL.EXAMPLE",
    " https://evil.example",
    "\thttps://evil.example",
    "\n//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "ht\ntps://evil.example",
    "\x00//evil.example",
    "\x01https://evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,evil",
    "vbscript:evil",
    "mailto:evil@example.com",
    "ftp://evil.example",
    "//evil.example@127.0.0.1",
    "http://127.0.0.1@evil.example",
    "http://127.0.0.1:8000@evil.example/",
    "http://localhost:9999/",
    "http://testserver.evil.example",
    "//testserver:81/",
    "https://[::1]/",
    "http://[evil",
    "//%65vil.example",
    "。//evil.example",
    "//evil。example",
    "//evil.example\\@127.0.0.1",
    "/%09//evil.example/\t//",
]


def leads_away(location: str) -> bool:
    """Say whether a browser would leave the portal: it drops tabs and line ends, and takes backslashes for slashes."""
    seen = re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(33)))).replace("\\", "/")
    parts = urlsplit(seen)
    return bool(parts.scheme or parts.netloc) or seen.startswith("//")


def by_sign_in(_client: Client, alice: Person, away: str) -> Any:
    return sign_in(Client(), alice.email, next=away)


def by_sign_in_address(_client: Client, alice: Person, away: str) -> Any:
    query = urlencode({"next": away})
    return Client().post(f"{SIGN_IN}?{query}", {"login": alice.email, "password": PASSWORD})


def by_sign_in_when_in(client: Client, _alice: Person, away: str) -> Any:
    return client.get(SIGN_IN, {"next": away})


def by_confirming(client: Client, _alice: Person, away: str) -> Any:
    return client.post("/account/reauthenticate/", {"password": PASSWORD, "next": away})


def by_signing_out(client: Client, _alice: Person, away: str) -> Any:
    return client.post("/account/sign-out/", {"next": away})


def by_theme(client: Client, _alice: Person, away: str) -> Any:
    return client.post("/theme/", {"theme": "dark", "next": away})


def by_code(_client: Client, alice: Person, away: str) -> Any:
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    client = Client()
    sign_in(client, alice.email, next=away)
    return client.post("/account/sign-in/second-step/", {"code": code_of(secret), "next": away})


def by_confirming_with_a_code(client: Client, alice: Person, away: str) -> Any:
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    return client.post("/account/reauthenticate/code/", {"code": code_of(secret), "next": away})


WAYS = [
    by_sign_in,
    by_sign_in_address,
    by_sign_in_when_in,
    by_confirming,
    by_signing_out,
    by_theme,
    by_code,
    by_confirming_with_a_code,
]


@pytest.mark.parametrize("way", WAYS)
def test_no_way_back_leads_away(alice: Person, sign_in_as: Sign, way: Callable[..., Any]) -> None:
    wrong = {}
    for away in AWAY:
        cache.clear()
        Authenticator.objects.all().delete()
        response = way(sign_in_as(alice), alice, away)
        if response.status_code != 302 or leads_away(response["Location"]):
            wrong[away] = (response.status_code, response.get("Location"))
    assert wrong == {}


@pytest.mark.parametrize("path", [SIGN_IN, "/account/confirm/", "/account/reauthenticate/"])
def test_page_that_offers_a_way_back_offers_none_that_leads_away(alice_client: Client, path: str) -> None:
    wrong = {}
    client = Client() if path == SIGN_IN else alice_client
    for away in AWAY:
        page = client.get(path, {"next": away}).content.decode()
        targets = [unescape(target) for target in re.findall(r'(?:href|action|src)="([^"]*)"', page)]
        if found := [target for target in targets if leads_away(target)]:
            wrong[away] = found
    assert wrong == {}


@pytest.mark.parametrize("way", [by_sign_in, by_confirming, by_theme, by_code])
def test_way_back_within_the_portal_is_kept(alice: Person, alice_client: Client, way: Callable[..., Any]) -> None:
    assert way(alice_client, alice, "/integrations/?q=a%20b#x")["Location"] == "/integrations/?q=a%20b#x"


# Names and addresses that a request makes up

LIES = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Server": "evil.example",
    "X-Original-Host": "evil.example",
    "X-Host": "evil.example",
    "Forwarded": "host=evil.example;proto=https",
    "X-Original-URL": "https://evil.example/",
    "X-Rewrite-URL": "https://evil.example/",
    "X-Forwarded-Prefix": "//evil.example",
    "Referer": "https://evil.example/",
}


@pytest.mark.parametrize(
    "path", ["/", SIGN_IN, "/account/password/reset/", "/teams/", "/account/factors/", "/nowhere/"]
)
def test_no_page_or_redirect_repeats_a_made_up_host(alice_client: Client, path: str) -> None:
    for client in (alice_client, Client()):
        response = client.get(path, headers=LIES)
        assert "evil.example" not in response.content.decode() + str(response.headers)


def test_no_page_repeats_a_host_that_every_name_passes_as(alice_client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    for path in ("/", SIGN_IN, "/account/confirm/"):
        for client in (alice_client, Client()):
            response = client.get(path, headers={**LIES, "Host": "evil.example"})
            assert "evil.example" not in response.content.decode() + str(response.headers)


def test_mails_are_built_from_the_settings(alice: Person, bob: Person, team: Team, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.KEYPORTAL_URL = "https://keys.example.com"
    lies = {**LIES, "Host": "evil.example"}
    client = Client(headers=lies)
    client.post("/account/password/reset/", {"email": alice.email})
    client.get(link_to(alice.email, base=settings.KEYPORTAL_URL))
    sign_in(client, bob.email)
    client.post(f"/teams/{team.pk}/invite/", {"email": "erin@example.com", "role": "developer"})
    client.post("/account/email/change/", {"new_email": "b@example.com"})
    told = "".join(mail.subject + mail.text + mail.html for mail in mails())
    assert "evil.example" not in told
    assert {urlsplit(link).netloc for link in re.findall(r"https?://[^\s\"<>]+", told)} == {"keys.example.com"}
    assert {mail.subject for mail in mails("erin@example.com")}


def test_address_that_a_stranger_makes_up_gets_no_attempts_of_its_own(alice: Person) -> None:
    statuses = [
        Client()
        .post(
            SIGN_IN,
            {"login": f"n{n}@example.com", "password": WRONG},
            headers={"X-Forwarded-For": f"192.0.2.{n}", "X-Real-IP": f"192.0.2.{n}", "Forwarded": f"for=192.0.2.{n}"},
        )
        .status_code
        for n in range(12)
    ]
    assert statuses == [422] * 10 + [429] * 2


# Guessing


def guesses(email: str, address: str, count: int) -> list[int]:
    return [sign_in(Client(REMOTE_ADDR=address), email, WRONG).status_code for _ in range(count)]


def test_account_takes_five_guesses_from_one_address(alice: Person) -> None:
    assert guesses(alice.email, "192.0.2.1", 6) == [422] * 5 + [429]
    # Elsewhere, and with another account, nothing has happened.
    assert sign_in(Client(REMOTE_ADDR="192.0.2.2"), alice.email).status_code == 302


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_other_names_of_the_portal_give_no_more_guesses(alice: Person, host: str) -> None:
    guesses(alice.email, "127.0.0.1", 5)
    assert sign_in(Client(headers={"Host": host}), alice.email).status_code == 429


def test_account_takes_fifteen_guesses_from_everywhere(alice: Person) -> None:
    statuses = [guesses(alice.email, f"192.0.2.{n}", 1)[0] for n in range(16)]
    assert statuses == [422] * 15 + [429]


def test_neighbours_in_one_network_of_ipv6_are_one_address(alice: Person) -> None:
    statuses = [guesses(alice.email, f"2001:db8::{n}", 1)[0] for n in range(1, 7)]
    assert statuses == [422] * 5 + [429]


def test_owner_is_not_kept_out_by_a_stranger_where_they_have_signed_in(alice: Person) -> None:
    home = Client(REMOTE_ADDR="198.51.100.9")
    sign_in(home, alice.email)
    home.post("/account/sign-out/")
    for n in range(20):
        guesses(alice.email, f"192.0.2.{n}", 1)
    assert sign_in(Client(REMOTE_ADDR="192.0.2.99"), alice.email).status_code == 429
    assert sign_in(home, alice.email).status_code == 302


def test_right_passwords_use_up_no_guesses(alice: Person) -> None:
    for _ in range(9):
        assert sign_in(Client(), alice.email).status_code == 302


def test_reset_lets_an_account_in_again_that_was_guessed_at(alice: Person) -> None:
    client = Client(REMOTE_ADDR="192.0.2.1")
    guesses(alice.email, "192.0.2.1", 6)
    client.post("/account/password/reset/", {"email": alice.email})
    form = client.get(link_to(alice.email), follow=True)
    chosen = {"password1": "quite another sentence", "password2": "quite another sentence"}
    client.post(form.redirect_chain[-1][0], chosen)
    assert sign_in(client, alice.email, "quite another sentence").status_code == 302


def test_guesses_at_confirming_end_too(alice_client: Client) -> None:
    statuses = [alice_client.post("/account/reauthenticate/", {"password": WRONG}).status_code for _ in range(6)]
    assert statuses == [422] * 5 + [429]


def test_guesses_at_a_code_end(client: Client, alice: Person) -> None:
    TOTP.activate(alice.user, generate_totp_secret())
    sign_in(client, alice.email)
    statuses = [client.post("/account/sign-in/second-step/", {"code": f"{n:06}"}).status_code for n in range(6)]
    assert statuses == [422] * 5 + [429]


def test_guesses_at_tokens_are_the_same_guesses(alice: Person) -> None:
    guesses(alice.email, "127.0.0.1", 5)
    body = {"email": alice.email, "password": PASSWORD}
    response = Client().post("/v1/auth/token", body, "application/json")
    assert (response.status_code, response.json()["code"]) == (429, "too_many_sign_ins")


def test_throttled_page_says_when_to_come_back(alice: Person) -> None:
    guesses(alice.email, "127.0.0.1", 5)
    response = sign_in(Client(), alice.email)
    assert (response.status_code, response["Retry-After"]) == (429, "300")
    assert "no-store" in response["Cache-Control"]
    assert "Wait five minutes, then try again." in text_of(response)


# What asks who is at the keyboard


def recent_pages(team: Team, issued: Issued, erin_invited: str) -> list[tuple[str, str]]:
    """Return what gives power away or changes how people sign in: method and address."""
    user, key, project = issued.row.issuer_id, issued.row.pk, issued.row.project_id
    both = [
        "/integrations/new/",
        "/sdk-keys/new/",
        "/organization/keys/new/",
        f"/keys/{key}/rotate/",
        "/integrations/bulk/",
        f"/people/{user}/keys/revoke/",
        f"/people/{user}/keys/hand-over/",
        f"/people/{user}/role/",
        f"/people/{user}/remove/",
        f"/teams/{team.pk}/members/{user}/role/",
        f"/teams/{team.pk}/members/{user}/remove/",
        f"/teams/{team.pk}/invite/",
        "/people/invite/",
        f"/invitations/{erin_invited}/resend/",
        "/settings/policies/",
        "/settings/policies/apply/",
        "/settings/security/",
        "/settings/security/apply/",
        "/settings/security/domains/new/",
        "/settings/security/groups/new/",
        "/settings/permissions/new/",
        "/settings/permissions/publishable/",
        "/settings/permissions/invoices:read/",
        "/settings/permissions/invoices:read/remove/",
        "/account/email/change/",
        "/account/factors/app/add/",
        "/account/factors/app/remove/",
        "/account/factors/passkeys/add/",
        "/account/factors/codes/new/",
    ]
    assert project
    return [(method, url) for url in both for method in ("get", "post")]


def test_old_sign_in_is_confirmed_before_anything_that_matters(
    alice: Person, alice_client: Client, team: Team, issued: Issued
) -> None:
    erin_invited = str(invited(alice, team)[0].pk)
    sign_in_old(alice_client, seconds=15 * 60 + 1)
    wrong = {}
    for method, url in recent_pages(team, issued, erin_invited):
        response = getattr(alice_client, method)(url)
        asked = urlsplit(response.get("Location", ""))
        if (response.status_code, asked.path) != (302, "/account/reauthenticate/"):
            wrong[method, url] = (response.status_code, asked.path)
    assert wrong == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v1/permissions", {"name": "x:read", "sentence": "See x."}),
        ("put", "/v1/permissions/publishable", {"permissions": []}),
        ("patch", "/v1/permissions/x:read", {"sentence": "See y."}),
        ("delete", "/v1/permissions/x:read", None),
        ("post", "/v1/api-keys", {"name": "ci", "scope": "org"}),
    ],
)
def test_old_sign_in_is_confirmed_for_calls_of_a_session_too(
    alice_client: Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    sign_in_old(alice_client, seconds=15 * 60 + 1)
    response = getattr(alice_client, method)(path, body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")


@pytest.fixture(autouse=True)
def nobody_has_tried_before() -> None:
    cache.clear()
