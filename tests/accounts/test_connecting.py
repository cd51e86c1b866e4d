"""Taking a connected account away, and never the last way in."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.test import Client

from accounts.actions.connecting import NotConnected, OnlyWayIn, disconnect_account
from accounts.models import OutgoingMail, User
from tests.accounts.providers import be, connected, through
from tests.accounts.scenes import LogIsFull, acting_as, by, last_event, sign_in_old, text_of, together, without_password
from tests.cast import NOON, Person
from tests.fake_providers import Provider

PAGE = "/account/connections/"


def left() -> set[str]:
    return {account.provider for account in SocialAccount.objects.all()}


def disconnect(person: Person, account: SocialAccount) -> SocialAccount:
    with acting_as(person):
        return disconnect_account(user=person.user, account_id=account.pk, at=NOON)


def test_account_is_disconnected(alice: Person, world: Provider) -> None:
    account = connected(alice, "github", "7")
    disconnect(alice, account)
    assert left() == set()
    assert last_event() == by(
        alice,
        event="connected_account.deleted",
        action="delete",
        target_table="connected_accounts",
        **{name: last_event()[name] for name in ("target_id", "target_label", "changes")},
    )


def test_its_person_hears_of_it(alice: Person, world: Provider) -> None:
    disconnect(alice, connected(alice, "github", "7"))
    [mail] = OutgoingMail.objects.all()
    assert (mail.name, mail.user) == ("factor_changed", alice.user)


def test_its_person_hears_of_a_new_one(alice: Person, alice_client: Client, world: Provider) -> None:
    be(world, "github", "7")
    through(alice_client, "github", process="connect")
    through(alice_client, "github", process="connect")
    assert OutgoingMail.objects.filter(user=alice.user, name="factor_changed").count() == 1


def test_nothing_is_disconnected_if_the_audit_row_fails(
    alice: Person, world: Provider, request: pytest.FixtureRequest
) -> None:
    account = connected(alice, "github", "7")
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull), transaction.atomic():
        disconnect(alice, account)
    assert (left(), OutgoingMail.objects.count()) == ({"github"}, 0)


def test_account_of_someone_else_stays(alice: Person, charlie: Person, world: Provider) -> None:
    account = connected(charlie, "github", "7")
    with pytest.raises(NotConnected):
        disconnect(alice, account)
    assert left() == {"github"}


def test_last_way_in_stays(alice: Person, world: Provider) -> None:
    without_password(alice)
    account = connected(alice, "github", "7")
    with pytest.raises(OnlyWayIn):
        disconnect(alice, account)
    assert left() == {"github"}


@pytest.mark.parametrize("other", ["google", "key-cloak"])
def test_other_account_is_a_way_in(alice: Person, world: Provider, other: str) -> None:
    without_password(alice)
    connected(alice, other, "7")
    disconnect(alice, connected(alice, "github", "7"))
    assert left() == {other}


def test_account_of_a_provider_that_is_switched_off_is_no_way_in(alice: Person, world: Provider) -> None:
    without_password(alice)
    gone = connected(alice, "of-last-year", "7")
    account = connected(alice, "github", "7")
    with pytest.raises(OnlyWayIn):
        disconnect(alice, account)
    disconnect(alice, gone)
    assert left() == {"github"}


@pytest.mark.parametrize(
    ("kind", "url", "is_way_in"),
    [
        ("webauthn", "https://keys.example.com", True),
        # Where no browser makes or takes one.
        ("webauthn", "http://192.0.2.7:8000", False),
        # These only stand beside another way in.
        ("totp", "https://keys.example.com", False),
        ("recovery_codes", "https://keys.example.com", False),
    ],
)
def test_passkey_is_a_way_in(
    alice: Person, world: Provider, settings: Any, kind: str, url: str, is_way_in: bool
) -> None:
    settings.KEYPORTAL_URL = url
    without_password(alice)
    Authenticator.objects.create(user=alice.user, type=kind, data={"name": "Phone", "credential": {}}, created_at=NOON)
    account = connected(alice, "github", "7")
    if is_way_in:
        disconnect(alice, account)
    else:
        with pytest.raises(OnlyWayIn):
            disconnect(alice, account)
    assert left() == (set() if is_way_in else {"github"})


@pytest.mark.django_db(transaction=True)
def test_two_at_once_leave_a_way_in(alice: Person, world: Provider) -> None:
    without_password(alice)
    with transaction.atomic():
        accounts = [connected(alice, way, "7") for way in ("github", "google")]
    results = together(2, lambda number: disconnect(alice, accounts[number]))
    assert sorted(type(result).__name__ for result in results) == ["OnlyWayIn", "SocialAccount"]
    assert len(left()) == 1


# The page


def test_page_disconnects(alice: Person, alice_client: Client, world: Provider) -> None:
    account = connected(alice, "github", "7")
    response = alice_client.post(PAGE, {"account": account.pk}, follow=True)
    assert "Account disconnected. It can no longer sign you in." in text_of(response)
    assert left() == set()


def test_page_refuses_with_a_sentence(alice: Person, client: Client, world: Provider) -> None:
    without_password(alice)
    account = connected(alice, "github", "7")
    be(world, "github", "7")
    through(client, "github")
    response = client.post(PAGE, {"account": account.pk})
    assert response.status_code == 422
    assert "This is your only way in. Connect another account or add a passkey first" in text_of(response)
    assert left() == {"github"}


@pytest.mark.parametrize("account", ["", "0", "x", "9" * 40])
def test_page_says_what_to_choose(alice_client: Client, world: Provider, account: str) -> None:
    assert alice_client.post(PAGE, {"account": account}).status_code == 422


def test_page_asks_who_is_there(alice: Person, sign_in_as: Callable[[Person], Client], world: Provider) -> None:
    account = connected(alice, "github", "7")
    client = sign_in_as(alice)
    sign_in_old(client)
    response = client.post(PAGE, {"account": account.pk})
    assert response["Location"].startswith("/account/reauthenticate/?next=%2Faccount%2Fconnections%2F")
    assert left() == {"github"}


def test_page_of_someone_disconnects_nothing_of_others(alice_client: Client, charlie: Person, world: Provider) -> None:
    account = connected(charlie, "github", "7")
    assert alice_client.post(PAGE, {"account": account.pk}).status_code == 422
    assert left() == {"github"}
    assert User.objects.get(pk=charlie.user.pk).is_active


# What is switched on


SETTINGS = "/settings/sign-in/"


def test_super_admin_reads_the_callback_urls(alice_client: Client, world: Provider) -> None:
    page = alice_client.get(SETTINGS)
    shown = [(listed.id, listed.callback_url) for listed in page.context["configured"]]
    assert sorted(shown) == [
        ("acme", "http://127.0.0.1:8000/oidc/acme/login/callback/"),
        ("github", "http://127.0.0.1:8000/github/login/callback/"),
        ("google", "http://127.0.0.1:8000/google/login/callback/"),
        ("key-cloak", "http://127.0.0.1:8000/oidc/key-cloak/login/callback/"),
    ]
    for _, url in shown:
        assert f'value="{url}"' in page.content.decode()
    assert world.server_url("acme") in text_of(page)
    assert "KEYPORTAL_GITHUB_CLIENT_ID" not in text_of(page)


def test_super_admin_reads_what_switches_the_others_on(alice_client: Client) -> None:
    page = alice_client.get(SETTINGS)
    assert page.context["configured"] == []
    for name in ("GITHUB", "GOOGLE", "OIDC_ID"):
        assert f"KEYPORTAL_{name}_CLIENT_ID" in text_of(page)
        assert f"KEYPORTAL_{name}_CLIENT_SECRET" in text_of(page)
    assert 'value="http://127.0.0.1:8000/google/login/callback/"' in page.content.decode()
    optional = {listed.id: len(listed.optional) for listed in page.context["not_configured"]}
    assert optional == {"github": 1, "google": 0, "any_oidc": 4}
    assert "KEYPORTAL_OIDC_ID_GROUPS_CLAIM" in text_of(page)


def test_callback_urls_are_built_from_the_configured_address(alice_client: Client, settings: Any) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    page = alice_client.get(SETTINGS, headers={"X-Forwarded-Host": "evil.example", "Host": "localhost"})
    assert 'value="https://keys.example.com/github/login/callback/"' in page.content.decode()
    assert b"evil.example" not in page.content


def test_secrets_are_not_shown(alice_client: Client, world: Provider) -> None:
    assert b"only the provider and keyportal know it" not in alice_client.get(SETTINGS).content


@pytest.mark.parametrize("who", ["bob", "dana"])
def test_others_do_not_read_how_sign_in_is_set_up(request: pytest.FixtureRequest, who: str, world: Provider) -> None:
    client: Client = request.getfixturevalue(f"{who}_client")
    assert client.get(SETTINGS).status_code == 403


def test_buttons_are_of_what_is_configured(client: Client, alice: Person, request: pytest.FixtureRequest) -> None:
    assert "Continue with" not in text_of(client.get("/account/sign-in/"))
    request.getfixturevalue("world")
    page = text_of(client.get("/account/sign-in/"))
    assert [f"Continue with {name}" in page for name in ("GitHub", "Google", "Acme", "Key-Cloak")] == [True] * 4
