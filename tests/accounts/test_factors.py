"""Second factors on their pages: setting up, removing, naming, and what a sign-in asks."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from accounts.actions import factors
from accounts.models import OutgoingMail, User
from audit.models import AuditEvent
from tests.accounts.factored import (
    OVERVIEW,
    PASSKEY_SIGN_IN,
    SECOND_STEP,
    add_passkey,
    code_of,
    give_password,
    is_signed_in,
    kinds_of,
    options_of,
    passkey_sign_in,
    shown_codes,
    with_app,
    with_codes,
    wrong_code,
)
from tests.accounts.passkeys import ORIGIN, SoftPasskey
from tests.accounts.scenes import (
    FRAGMENT,
    LogIsFull,
    acting_as,
    event_names,
    everything_in_sessions,
    is_page,
    last_event,
    queries_of,
    sign_in_old,
    text_of,
    without_password,
)
from tests.cast import NOON, PASSWORD, Person

ADD_APP, REMOVE_APP = "/account/factors/app/add/", "/account/factors/app/remove/"
NEW_CODES = "/account/factors/codes/new/"
PAGES = [OVERVIEW, ADD_APP, "/account/factors/passkeys/add/", NEW_CODES]
SHORT = "nine words"


@pytest.fixture(autouse=True)
def portal_by_name(settings: Settings) -> None:
    """The portal is reached under a name: browsers make no passkeys for an address."""
    settings.KEYPORTAL_URL = ORIGIN
    cache.clear()


def secret_on(page: Any) -> str:
    return str(page.context["secret"]).replace(" ", "")


def require(person: Person, whose: str) -> None:
    """Have the person's organization ask for a second factor."""
    organization = person.membership.organization
    organization.security_policy = {"second_factor": whose}
    with acting_as(person), transaction.atomic():
        organization.save(update_fields=["security_policy"])


def shorten_password(person: Person) -> None:
    person.user.set_password(SHORT)
    person.user.save()


def sign_in_anew(client: Client, person: Person, *, seconds: float = 0) -> None:
    """Open the session again that a change of the password has ended, as of a sign-in so many seconds ago."""
    known = {name: client.session[name] for name in [*client.session.keys()] if name.startswith("account_")}
    client.force_login(
        User.objects.get(pk=person.user.pk), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    session = client.session
    for name, value in known.items():
        session[name] = value
    session.save()
    sign_in_old(client, seconds=seconds)


# Setting up


def test_app_is_set_up_by_the_code_that_it_shows(dana: Person, dana_client: Client) -> None:
    page = dana_client.get(ADD_APP)
    secret = secret_on(page)
    response = dana_client.post(ADD_APP, {"code": code_of(secret)})
    assert response.status_code == 200
    assert len(shown_codes(response)) == 10
    assert f"Recovery codes of dana@example.com at {ORIGIN}, made on " in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert kinds_of(dana.user) == ["totp", "recovery_codes"]


def test_page_of_an_app_shows_its_secret_as_picture_and_text(dana_client: Client) -> None:
    page = dana_client.get(ADD_APP)
    text = page.content.decode()
    assert re.search(r'<img class="app-picture" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+"', text)
    assert re.search(r'value="([A-Z2-7]{4} ){7}[A-Z2-7]{4}"', text)
    assert f"otpauth://totp/dana%40example.com?secret={secret_on(page)}&amp;issuer=keyportal" in text


def test_wrong_code_sets_no_app_up_and_keeps_the_secret(dana: Person, dana_client: Client) -> None:
    secret = secret_on(dana_client.get(ADD_APP))
    response = dana_client.post(ADD_APP, {"code": wrong_code(secret)})
    assert (response.status_code, secret_on(response)) == (422, secret)
    assert "This code does not fit." in text_of(response)
    assert kinds_of(dana.user) == []


def test_code_that_set_an_app_up_is_used(dana: Person, dana_client: Client) -> None:
    code = code_of(secret_on(dana_client.get(ADD_APP)))
    dana_client.post(ADD_APP, {"code": code})
    client = Client()
    give_password(client, dana)
    assert client.post(SECOND_STEP, {"code": code}).status_code == 422
    assert not is_signed_in(client)


def test_secret_is_nowhere_in_clear(dana: Person, dana_client: Client) -> None:
    secret = secret_on(dana_client.get(ADD_APP))
    assert secret not in everything_in_sessions()
    response = dana_client.post(ADD_APP, {"code": code_of(secret)})
    stored = str([*Authenticator.objects.values()]) + str([*AuditEvent.objects.values()]) + everything_in_sessions()
    assert "totp" in stored
    assert secret not in stored
    assert not [code for code in shown_codes(response) if code in stored]


def test_passkey_is_set_up_and_kept_without_what_else_was_sent(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    response = add_passkey(dana_client, passkey)
    assert len(shown_codes(response)) == 10
    row = Authenticator.objects.get(user=dana.user, type="webauthn")
    assert row.data.keys() == {"name", "credential"}
    assert row.data["credential"].keys() == {"id", "rawId", "type", "response", "clientExtensionResults"}
    assert text_of(dana_client.get(OVERVIEW)).count("Work laptop Signs you in by itself") == 1


def test_second_factor_makes_no_second_set_of_codes(dana: Person, dana_client: Client) -> None:
    with_app(dana)
    response = add_passkey(dana_client, SoftPasskey())
    assert (response.status_code, response["Location"]) == (302, OVERVIEW)


@pytest.mark.parametrize("what", ["app", "passkey"])
def test_first_factor_ends_the_sessions_that_gave_none(dana: Person, dana_client: Client, what: str) -> None:
    other, late = Client(), Client()
    give_password(other, dana)
    other.get(OVERVIEW)
    if what == "app":
        secret = secret_on(dana_client.get(ADD_APP))
        dana_client.post(ADD_APP, {"code": code_of(secret)})
    else:
        add_passkey(dana_client, SoftPasskey())
    assert not is_signed_in(other)
    assert is_signed_in(dana_client)
    # The next factor finds only sessions that gave one.
    late.force_login(dana.user)
    late.get(OVERVIEW)
    add_passkey(dana_client, SoftPasskey(name="Another"))
    assert is_signed_in(late)


def test_same_passkey_is_set_up_once(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    response = add_passkey(dana_client, passkey)
    assert response.status_code == 422
    assert "This passkey is set up already." in text_of(response)


def test_person_has_so_many_passkeys_and_no_more(dana: Person, dana_client: Client) -> None:
    for _ in range(factors.MOST_PASSKEYS):
        add_passkey(dana_client, SoftPasskey())
    assert add_passkey(dana_client, SoftPasskey()).status_code == 422


def test_user_handle_of_a_passkey_says_nothing_of_the_person(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    assert passkey.user_handle == dana.user.pk.hex.encode()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://keys.example.com", "https://192.0.2.1"])
def test_portal_without_a_name_says_that_browsers_make_no_passkeys(
    dana_client: Client, settings: Settings, url: str
) -> None:
    settings.KEYPORTAL_URL = url
    assert "Browsers make passkeys for a name" in text_of(dana_client.get(OVERVIEW))
    assert dana_client.get("/account/factors/passkeys/add/")["Location"] == OVERVIEW
    assert "passkey" not in text_of(Client().get("/account/sign-in/"))


# What is on record


def test_added_and_removed_factors_are_on_record_and_mailed(dana: Person, dana_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    factor = Authenticator.objects.get(type="webauthn")
    dana_client.post(f"/account/factors/passkeys/{factor.pk}/rename/", {"name": "Phone"})
    dana_client.post(f"/account/factors/passkeys/{factor.pk}/remove/")
    assert event_names(target_table="second_factors") == [
        "second_factor.created",
        "recovery_codes.generated",
        "second_factor.renamed",
        "second_factor.deleted",
        "second_factor.deleted",
    ]
    assert kinds_of(dana.user) == []
    mails = OutgoingMail.objects.filter(name="factor_changed")
    assert [mail.recipient for mail in mails] == [dana.email, dana.email]


def test_row_of_a_factor_says_whose_and_what(dana: Person) -> None:
    with acting_as(dana):
        with_app(dana)
    row = last_event(event="second_factor.created")
    assert row["target_label"] == "authenticator app of dana@example.com"
    assert row["organization_id"] == dana.membership.organization_id
    assert row["changes"] == {"user_id": [None, str(dana.user.pk)], "type": [None, "totp"]}


@pytest.mark.parametrize("change", ["app", "passkey", "codes", "rename", "remove"])
def test_nothing_about_a_factor_is_saved_if_the_audit_row_fails(
    request: pytest.FixtureRequest, dana: Person, dana_client: Client, change: str
) -> None:
    add_passkey(dana_client, SoftPasskey())
    before = [*Authenticator.objects.order_by("id").values()]
    factor_id = Authenticator.objects.get(type="webauthn").pk
    credential = {"id": "another", "rawId": "another"}
    calls: dict[str, Callable[[], object]] = {
        "app": lambda: with_app(dana),
        "passkey": lambda: factors.add_passkey(user=dana.user, name="x", credential=credential, at=NOON),
        "codes": lambda: factors.generate_recovery_codes(user=dana.user, at=NOON),
        "rename": lambda: factors.rename_passkey(user=dana.user, factor_id=factor_id, name="y"),
        "remove": lambda: factors.remove_factor(user=dana.user, factor_id=factor_id, at=NOON),
    }

    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        calls[change]()
    assert [*Authenticator.objects.order_by("id").values()] == before


# Removing


def test_last_factor_takes_the_recovery_codes_with_it(dana: Person, dana_client: Client) -> None:
    with_app(dana)
    assert "It is your last second factor." in text_of(dana_client.get(REMOVE_APP))
    assert dana_client.post(REMOVE_APP)["Location"] == OVERVIEW
    assert kinds_of(dana.user) == []


def test_other_factor_keeps_the_recovery_codes(dana: Person, dana_client: Client) -> None:
    with_app(dana)
    add_passkey(dana_client, SoftPasskey())
    dana_client.post(REMOVE_APP)
    assert kinds_of(dana.user) == ["recovery_codes", "webauthn"]


@pytest.mark.parametrize("required", ["all", "admins"])
def test_last_factor_stays_where_an_organization_requires_one(bob: Person, bob_client: Client, required: str) -> None:
    with_app(bob)
    require(bob, required)
    response = bob_client.post(REMOVE_APP)
    assert response.status_code == 422
    assert "Northwind requires a second factor. Add another one first" in text_of(response)
    assert kinds_of(bob.user) == ["totp", "recovery_codes"]


@pytest.mark.parametrize("reason", ["required", "short password"])
def test_last_factor_that_stays_says_so_before_anything_is_sent(bob: Person, bob_client: Client, reason: str) -> None:
    with_app(bob)
    if reason == "required":
        require(bob, "all")
    else:
        shorten_password(bob)
        sign_in_anew(bob_client, bob)
    page = bob_client.get(REMOVE_APP)
    said = {"required": "Northwind requires a second factor.", "short password": "Your password has fewer than 15"}
    assert said[reason] in text_of(page)
    assert "Add another factor" in text_of(page)
    assert 'type="submit">Remove app' not in page.content.decode()


def test_one_of_two_factors_goes_where_an_organization_requires_one(bob: Person, bob_client: Client) -> None:
    with_app(bob)
    add_passkey(bob_client, SoftPasskey())
    require(bob, "all")
    assert bob_client.post(REMOVE_APP).status_code == 302


def test_developer_may_remove_theirs_where_only_admins_need_one(dana: Person, dana_client: Client) -> None:
    with_app(dana)
    require(dana, "admins")
    assert dana_client.post(REMOVE_APP).status_code == 302


def test_last_factor_stays_beside_a_short_password(dana: Person, dana_client: Client) -> None:
    with_app(dana)
    shorten_password(dana)
    sign_in_anew(dana_client, dana)
    response = dana_client.post(REMOVE_APP)
    assert response.status_code == 422
    assert "Set a longer password first, then remove this." in text_of(response)
    assert kinds_of(dana.user) == ["totp", "recovery_codes"]


def test_passkey_that_is_the_only_way_in_stays(dana: Person, dana_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    without_password(dana)
    factor = Authenticator.objects.get(type="webauthn")
    with pytest.raises(factors.LastWayIn):
        factors.remove_factor(user=dana.user, factor_id=factor.pk, at=NOON)


def test_passkey_of_somebody_else_is_not_found(dana: Person, dana_client: Client, bob_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    factor = Authenticator.objects.get(type="webauthn")
    for verb in ("rename", "remove"):
        path = f"/account/factors/passkeys/{factor.pk}/{verb}/"
        assert [bob_client.get(path).status_code, bob_client.post(path, {"name": "x"}).status_code] == [404, 404]
    with pytest.raises(factors.FactorGone):
        factors.remove_factor(user=User.objects.get(email="bob@example.com"), factor_id=factor.pk, at=NOON)
    assert str(Authenticator.objects.get(pk=factor.pk)) == "Work laptop"


# The pages


@pytest.mark.parametrize("path", [*PAGES, REMOVE_APP])
def test_pages_of_changes_ask_for_a_recent_sign_in(dana: Person, dana_client: Client, path: str) -> None:
    with_app(dana)
    sign_in_old(dana_client)
    for response in (dana_client.get(path), dana_client.post(path)):
        if path == OVERVIEW:
            assert response.status_code in {200, 405}
        else:
            assert response["Location"].startswith("/account/reauthenticate/?next=")


@pytest.mark.parametrize("name", ["rename", "remove"])
def test_dialog_of_a_passkey_is_page_and_fragment(dana_client: Client, name: str) -> None:
    add_passkey(dana_client, SoftPasskey())
    path = f"/account/factors/passkeys/{Authenticator.objects.get(type='webauthn').pk}/{name}/"
    assert is_page(dana_client.get(path))
    assert not is_page(dana_client.get(path, headers=FRAGMENT))


def test_overview_costs_the_same_for_one_passkey_and_three(dana: Person, dana_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    dana_client.get(OVERVIEW)
    first = queries_of(dana_client, OVERVIEW)
    for _ in range(2):
        add_passkey(dana_client, SoftPasskey())
    dana_client.get(OVERVIEW)
    assert queries_of(dana_client, OVERVIEW) == first


def test_person_without_organization_can_set_factors_up(charlie: Person, charlie_client: Client) -> None:
    with acting_as(charlie):
        charlie.membership.delete()
    assert [charlie_client.get(path).status_code for path in PAGES] == [200, 200, 200, 200]


def test_new_codes_void_the_old_ones(dana: Person, dana_client: Client) -> None:
    [old, *_] = with_codes(dana)
    new = shown_codes(dana_client.post(NEW_CODES))
    assert len(new) == 10
    assert old not in new
    client = Client()
    give_password(client, dana)
    assert client.post(SECOND_STEP, {"code": old}).status_code == 422
    assert client.post(SECOND_STEP, {"code": new[0]}).status_code == 302


def test_codes_without_a_factor_are_refused(dana: Person, dana_client: Client) -> None:
    response = dana_client.post(NEW_CODES)
    assert response.status_code == 422
    assert "Recovery codes stand in for a second factor." in text_of(response)


# Signing in


def test_sign_in_asks_for_the_code_and_then_lets_in(dana: Person, settings: Settings) -> None:
    secret = with_app(dana)
    client = Client()
    assert give_password(client, dana)["Location"] == SECOND_STEP
    assert not is_signed_in(client)
    assert client.get("/integrations/")["Location"].startswith("/account/sign-in/")
    assert client.post(SECOND_STEP, {"code": code_of(secret)}).status_code == 302
    assert is_signed_in(client)
    assert client.get("/").status_code == 200


def test_second_step_without_a_password_leads_to_the_first(alice: Person) -> None:
    assert Client().get(SECOND_STEP)["Location"] == "/account/sign-in/"


def test_second_step_leads_nowhere_once_the_password_is_another(dana: Person, noon: Any) -> None:
    secret = with_app(dana)
    browser = Client()
    give_password(browser, dana)
    token = Client().post("/v1/auth/token", {"email": dana.email, "password": PASSWORD}, "application/json").json()
    dana.user.set_password("a sentence that nobody else knows")
    dana.user.save(update_fields=["password"])
    response = browser.post(SECOND_STEP, {"code": code_of(secret)}, follow=True)
    assert "How you sign in was changed meanwhile." in text_of(response)
    assert not is_signed_in(browser)
    noon.shift(30)
    sent = {"flow": token["flow"], "code": code_of(secret)}
    assert Client().post("/v1/auth/token/second-factor", sent, "application/json").status_code == 401


def test_wrong_second_step_is_on_record_and_answers_422(dana: Person) -> None:
    secret = with_app(dana)
    client = Client()
    give_password(client, dana)
    response = client.post(SECOND_STEP, {"code": wrong_code(secret)})
    assert response.status_code == 422
    row = last_event(event="user.second_factor_failed")
    assert (row["target_label"], row["actor_kind"]) == (dana.email, "anonymous")


def test_code_that_was_used_is_used_in_every_window(dana: Person, noon: Any) -> None:
    secret = with_app(dana)
    code = code_of(secret, step=1)
    answers = []
    for seconds in (0, 30, 59, 61):
        noon.move_to(NOON.replace(minute=seconds // 60, second=seconds % 60))
        client = Client()
        give_password(client, dana)
        answers.append(client.post(SECOND_STEP, {"code": code}).status_code)
    assert answers == [302, 422, 422, 422]


def test_code_from_before_the_last_one_is_refused(dana: Person, noon: Any) -> None:
    secret = with_app(dana)
    answers = []
    for step in (0, -1, 1):
        client = Client()
        give_password(client, dana)
        answers.append(client.post(SECOND_STEP, {"code": code_of(secret, step=step)}).status_code)
    assert answers == [302, 422, 302]


@pytest.mark.parametrize(("step", "status"), [(-2, 422), (-1, 302), (0, 302), (1, 302), (2, 422)])
def test_clock_may_be_half_a_minute_off(dana: Person, noon: Any, step: int, status: int) -> None:
    secret = with_app(dana)
    client = Client()
    give_password(client, dana)
    assert client.post(SECOND_STEP, {"code": code_of(secret, step=step)}).status_code == status


def test_recovery_code_signs_in_once_and_its_owner_hears_of_it(dana: Person) -> None:
    code = with_codes(dana)[3]
    answers = []
    for _ in range(2):
        client = Client()
        give_password(client, dana)
        answers.append(client.post(SECOND_STEP, {"code": code}).status_code)
    assert answers == [302, 422]
    row = last_event(event="recovery_codes.used")
    assert (row["actor_label"], row["target_label"]) == (dana.email, dana.email)
    assert OutgoingMail.objects.filter(name="factor_changed").count() == 2


def test_passkey_is_the_second_step(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey(verifies_user=False)
    add_passkey(dana_client, passkey)
    client = Client()
    give_password(client, dana)
    page = client.get(SECOND_STEP)
    assert client.post(SECOND_STEP, {"credential": passkey.get(options_of(page))}).status_code == 302
    assert is_signed_in(client)


def test_passkey_signs_in_by_itself_and_leads_back(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    client = Client()
    response = passkey_sign_in(client, passkey, next="/integrations/")
    assert (response.status_code, response["Location"]) == (302, "/integrations/")
    assert is_signed_in(client)


def test_passkey_leads_to_no_other_portal(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    response = passkey_sign_in(Client(), passkey, next="//evil.example/")
    assert response["Location"] == "/"


def test_key_that_does_not_verify_its_user_signs_nobody_in_by_itself(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey(verifies_user=False)
    add_passkey(dana_client, passkey)
    client = Client()
    passkey_sign_in(client, passkey)
    assert not is_signed_in(client)


def test_challenge_of_a_second_step_signs_nobody_in_by_itself(
    dana: Person, dana_client: Client, bob: Person, noon: Any
) -> None:
    passkey = SoftPasskey(verifies_user=False)
    add_passkey(dana_client, passkey)
    with_app(bob)
    client = Client()
    give_password(client, bob)
    credential = passkey.get(options_of(client.get(SECOND_STEP)))
    # Bob's sign-in is over by then, and the challenge is not.
    noon.shift(16 * 60)
    client.post(PASSKEY_SIGN_IN, {"credential": credential})
    assert not is_signed_in(client)


def test_inactive_person_is_not_signed_in_by_passkey(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    dana.user.is_active = False
    dana.user.save(update_fields=["is_active"])
    client = Client()
    passkey_sign_in(client, passkey)
    assert not is_signed_in(client)


def test_second_step_is_not_guessed_at_for_long(dana: Person) -> None:
    secret = with_app(dana)
    client = Client()
    give_password(client, dana)
    for _ in range(5):
        client.post(SECOND_STEP, {"code": wrong_code(secret)})
    response = client.post(SECOND_STEP, {"code": code_of(secret)})
    assert not is_signed_in(client)
    assert response.status_code in {422, 429}
    # From anywhere: what is counted is whose account it is.
    other = Client(REMOTE_ADDR="198.51.100.8")
    give_password(other, dana)
    other.post(SECOND_STEP, {"code": code_of(secret)})
    assert not is_signed_in(other)


# Whose word counts


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1"},
        {"Host": "localhost"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
    ],
)
def test_passkeys_are_made_for_the_configured_name_whatever_a_request_says(
    dana_client: Client, settings: Settings, headers: dict[str, str]
) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    page = dana_client.get("/account/factors/passkeys/add/", headers=headers)
    assert options_of(page)["publicKey"]["rp"] == {"id": "keys.example.com", "name": "keyportal"}
    asked = Client().get("/account/sign-in/passkey/", headers={**headers, "Accept": "application/json"}).json()
    assert asked["request_options"]["publicKey"]["rpId"] == "keys.example.com"
    assert "evil.example" not in page.content.decode()


@pytest.mark.parametrize(
    ("origin", "rp_id"),
    [
        ("http://localhost:9000", "localhost"),
        ("https://localhost:8000", "localhost"),
        ("http://evil.localhost:8000", "localhost"),
        ("https://evil.example", "localhost"),
        ("http://localhost:8000", "evil.example"),
    ],
)
def test_passkey_of_another_page_is_refused(dana: Person, dana_client: Client, origin: str, rp_id: str) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    assert add_passkey(dana_client, SoftPasskey(origin=origin, rp_id=rp_id)).status_code == 422
    passkey.origin, passkey.rp_id = origin, rp_id
    client = Client()
    passkey_sign_in(client, passkey)
    assert not is_signed_in(client)


def test_passkey_of_somebody_else_signs_nobody_in(dana: Person, dana_client: Client, bob: Person) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    passkey.user_handle = bob.user.pk.hex.encode()
    client = Client()
    passkey_sign_in(client, passkey)
    assert not is_signed_in(client)


def test_challenge_is_good_once(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    client = Client()
    asked = client.get("/account/sign-in/passkey/", headers={"Accept": "application/json"}).json()
    credential = passkey.get(asked["request_options"])
    client.post("/account/sign-in/passkey/", {"credential": credential})
    assert is_signed_in(client)
    client.logout()
    client.post("/account/sign-in/passkey/", {"credential": credential})
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "null",
        "[]",
        "7",
        '"x"',
        "{}",
        "{",
        '{"id": 1}',
        '{"id": "x", "rawId": "x", "type": "public-key", "response": {}}',
        '{"id": "!", "rawId": "!", "type": "public-key", "response": {"clientDataJSON": "!"}}',
        '{"id": "eA", "rawId": "eA", "response": {"clientDataJSON": "eA", "attestationObject": "eA"}}',
        '{"id": "eA", "rawId": "eA", "response": {"clientDataJSON": "e30", "signature": "eA", "userHandle": "eA"}}',
        '{"id": "eA", "rawId": "eA", "response": []}',
        '{"id": "' + "x" * 20_000 + '"}',
        '{"\\ud800": 1}',
    ],
)
def test_nonsense_for_a_passkey_is_refused_and_breaks_nothing(
    dana: Person, dana_client: Client, credential: str
) -> None:
    dana_client.get("/account/factors/passkeys/add/")
    response = dana_client.post("/account/factors/passkeys/add/", {"name": "x", "credential": credential})
    assert response.status_code == 422
    client = Client()
    client.get("/account/sign-in/passkey/", headers={"Accept": "application/json"})
    assert client.post("/account/sign-in/passkey/", {"credential": credential}).status_code == 302
    assert not is_signed_in(client)
    with_app(dana)
    give_password(client, dana)
    assert client.post(SECOND_STEP, {"credential": credential}).status_code == 422
    assert connection.in_atomic_block


# Confirming who is there


def test_code_confirms_who_is_there(dana: Person, dana_client: Client) -> None:
    secret = with_app(dana)
    sign_in_old(dana_client)
    page = dana_client.get("/account/reauthenticate/?next=/integrations/new/")
    assert "/account/reauthenticate/code/?next=%2Fintegrations%2Fnew%2F" in page.content.decode()
    sent = {"code": code_of(secret), "next": "/integrations/new/"}
    assert dana_client.post("/account/reauthenticate/code/", sent)["Location"] == "/integrations/new/"
    assert dana_client.get(NEW_CODES).status_code == 200


def test_wrong_code_confirms_nobody(dana: Person, dana_client: Client) -> None:
    secret = with_app(dana)
    sign_in_old(dana_client)
    response = dana_client.post("/account/reauthenticate/code/", {"code": wrong_code(secret)})
    assert response.status_code == 422
    assert event_names(event="user.second_factor_failed") == ["user.second_factor_failed"]
    assert dana_client.get(NEW_CODES).status_code == 302


def test_passkey_confirms_who_is_there(dana: Person, dana_client: Client) -> None:
    passkey = SoftPasskey()
    add_passkey(dana_client, passkey)
    sign_in_old(dana_client)
    page = dana_client.get("/account/reauthenticate/passkey/?next=/integrations/new/")
    sent = {"credential": passkey.get(options_of(page)), "next": "/integrations/new/"}
    assert dana_client.post("/account/reauthenticate/passkey/", sent)["Location"] == "/integrations/new/"
    assert dana_client.get(NEW_CODES).status_code == 200


def test_passkey_of_somebody_else_confirms_nobody(dana: Person, dana_client: Client, bob_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    other = SoftPasskey()
    add_passkey(bob_client, other)
    sign_in_old(dana_client)
    page = dana_client.get("/account/reauthenticate/passkey/")
    response = dana_client.post("/account/reauthenticate/passkey/", {"credential": other.get(options_of(page))})
    assert response.status_code == 422
    assert "This passkey was not accepted." in text_of(response)
    assert dana_client.get(NEW_CODES).status_code == 302


def test_person_without_password_is_asked_for_the_passkey(dana: Person, dana_client: Client) -> None:
    add_passkey(dana_client, SoftPasskey())
    without_password(dana)
    sign_in_anew(dana_client, dana, seconds=3600)
    assert dana_client.get(NEW_CODES)["Location"].startswith("/account/reauthenticate/passkey/?next=")


# What the operator can do


def test_operator_removes_all_factors_of_who_has_lost_them(dana: Person, capsys: pytest.CaptureFixture[str]) -> None:
    with_app(dana)
    shorten_password(dana)
    call_command("remove_factors", "Dana@Example.com")
    said = capsys.readouterr().err
    assert "dana@example.com signs in without a second factor now." in said
    assert "have them choose a longer one" in said
    assert kinds_of(dana.user) == []
    assert event_names(event="second_factor.deleted") == ["second_factor.deleted"] * 2
    assert OutgoingMail.objects.filter(name="factor_changed", recipient=dana.email).count() == 2


@pytest.mark.parametrize("email", ["nobody@example.com", "dana@example.com"])
def test_operator_hears_that_there_is_nothing_to_remove(dana: Person, email: str) -> None:
    with pytest.raises(CommandError, match=r"Nobody has|has no second factor"):
        call_command("remove_factors", email)
