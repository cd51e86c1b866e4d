"""A sign-in from a browser or program that was not seen before is mailed to its owner."""

import hashlib
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from accounts import known_devices
from accounts.mailing.content import unsealed
from accounts.models import Device, OutgoingMail
from tests.cast import PASSWORD, Person

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def sign_in(client: Client, person: Person, **extra: Any) -> Any:
    form = {"login": person.email, "password": PASSWORD}
    return client.post("/account/sign-in/", form, headers={"User-Agent": FIREFOX}, **extra)


def told() -> list[str]:
    return [unsealed(row.content).text for row in OutgoingMail.objects.filter(name="new_sign_in").order_by("pk")]


def test_first_sign_in_of_an_account_is_no_news(client: Client, alice: Person) -> None:
    assert sign_in(client, alice).status_code == 302
    assert told() == []
    assert Device.objects.get().user == alice.user


def test_sign_in_from_a_new_browser_is_mailed(client: Client, alice: Person) -> None:
    sign_in(client, alice)
    sign_in(Client(), alice, REMOTE_ADDR="192.0.2.7")
    [text] = told()
    assert "Firefox on Linux" in text
    assert "192.0.2.7" in text
    assert "http://127.0.0.1:8000/account/sessions/" in text
    assert OutgoingMail.objects.get().recipient == alice.email


def test_browser_is_known_again_after_signing_out(client: Client, alice: Person) -> None:
    sign_in(client, alice)
    sign_in(Client(), alice)
    client.post("/account/sign-out/")
    sign_in(client, alice)
    assert (len(told()), Device.objects.count()) == (1, 2)


def test_browser_of_one_person_is_new_to_another(client: Client, alice: Person, bob: Person) -> None:
    sign_in(Client(), bob)
    sign_in(client, alice)
    client.post("/account/sign-out/")
    sign_in(client, bob)
    assert [row.recipient for row in OutgoingMail.objects.all()] == [bob.email]


@pytest.mark.parametrize(("url", "is_secure"), [("http://127.0.0.1:8000", False), ("https://keys.example", True)])
def test_cookie_is_for_the_server_alone_and_outlives_the_session(
    client: Client, alice: Person, settings: Settings, url: str, is_secure: bool
) -> None:
    settings.IS_HTTPS = is_secure
    cookie = sign_in(client, alice).cookies[known_devices.COOKIE]
    assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, "Lax", is_secure)
    assert cookie["max-age"] == 400 * 24 * 3600
    assert Device.objects.get().token_digest == hashlib.sha256(cookie.value.encode()).hexdigest()
    assert cookie.value not in str(list(client.session.items()))


@pytest.mark.parametrize("made_up", ["", "x", "x" * 5000])
def test_cookie_that_is_none_of_ours_is_replaced(client: Client, alice: Person, made_up: str) -> None:
    client.cookies[known_devices.COOKIE] = made_up
    assert len(sign_in(client, alice).cookies[known_devices.COOKIE].value) == known_devices.TOKEN_LENGTH


def test_failed_sign_in_makes_nothing_known(client: Client, alice: Person) -> None:
    response = client.post("/account/sign-in/", {"login": alice.email, "password": "wrong"})
    assert known_devices.COOKIE not in response.cookies
    assert Device.objects.count() == 0


def test_nothing_is_known_if_the_mail_cannot_be_written(
    client: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, alice)
    monkeypatch.setattr("accounts.mailing.outbox.sealed", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sign_in(Client(), alice)
    assert Device.objects.count() == 1


def test_notice_is_sent(client: Client, alice: Person, mailoutbox: list[Any]) -> None:
    sign_in(client, alice)
    sign_in(Client(), alice)
    call_command("send_mail")
    assert [(mail.to, mail.subject) for mail in mailoutbox] == [([alice.email], "New sign-in to your account")]
