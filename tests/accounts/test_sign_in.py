"""Sign-in, sign-out and passwords: allauth's pages, as keyportal has them."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import AnonymousUser
from django.core import serializers
from django.db import transaction
from django.test import Client

from accounts import actions
from accounts.models import OutgoingMail, Role, Team, User
from audit.models import AuditEvent
from tests.accounts.mailbox import link_to, mails
from tests.accounts.scenes import event_names, last_event, text_of, without_password
from tests.cast import NOON, PASSWORD, Person

NEW_PASSWORD = "quite another sentence, and as long"
RESET_DONE = "If an account with a password has this address, a link is on its way."
EVIL = {"host": "evil.example", "x-forwarded-host": "evil.example"}


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/account/sign-in/", {"login": email, "password": password, **more})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


# In and out


@pytest.mark.parametrize("email", ["alice@example.com", "Alice@Example.COM"])
def test_sign_in_opens_a_session_on_record(client: Client, alice: Person, email: str) -> None:
    response = sign_in(client, email)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert is_signed_in(client)
    event = last_event()
    assert (event["event"], event["actor_id"], event["organization_id"], event["address"]) == (
        "user.signed_in",
        alice.user.pk,
        alice.membership.organization_id,
        "127.0.0.1",
    )
    assert event["request_id"] == response["X-Request-Id"]


def test_sign_in_goes_on_to_the_page_that_was_asked_for(client: Client, alice: Person) -> None:
    assert sign_in(client, alice.email, next="/teams/?a=b")["Location"] == "/teams/?a=b"


def test_sign_in_makes_a_new_session(client: Client, alice: Person) -> None:
    client.get("/account/sign-in/")
    session = client.session
    session["planted"] = "by someone else"
    session.save()
    planted = str(session.session_key)
    client.cookies["keyportal_session"] = planted
    sign_in(client, alice.email)
    assert client.session.session_key not in {planted, None}


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("alice@example.com", "not the password of alice"),
        ("nobody@example.com", PASSWORD),
        ("alice@example.com", ""),
    ],
)
def test_sign_in_refused_opens_no_session(client: Client, alice: Person, email: str, password: str) -> None:
    response = sign_in(client, email, password)
    assert not is_signed_in(client)
    assert "notice is-error" in response.content.decode()
    assert event_names(event="user.signed_in") == []


@pytest.mark.parametrize("typed", ["alice@example.com", " ALICE@example.com"])
def test_wrong_password_is_on_record_where_its_owner_is(client: Client, alice: Person, typed: str) -> None:
    response = sign_in(client, typed, "not the password of alice")
    assert last_event() | {"at": None} == {
        "at": None,
        "organization_id": alice.membership.organization_id,
        "team_id": None,
        "project_id": None,
        "actor_kind": "anonymous",
        "actor_id": None,
        "actor_label": "anonymous",
        "target_table": "users",
        "target_id": str(alice.user.pk),
        "target_label": "alice@example.com",
        "action": "event",
        "event": "user.sign_in_failed",
        "changes": {},
        "request_id": response["X-Request-Id"],
        "address": "127.0.0.1",
    }


def test_wrong_password_is_on_its_owners_organizations_page(client: Client, alice: Person, dana: Person) -> None:
    sign_in(client, dana.email, "not the password of dana")
    sign_in(client, alice.email)
    shown = client.get("/audit/?target_table=users&action=event")
    assert [(row.event, row.target_label) for row in shown.context["events"]] == [
        ("user.signed_in", "alice@example.com"),
        ("user.sign_in_failed", "dana@example.com"),
    ]


def test_sign_in_of_nobody_is_on_record_and_names_nobody(client: Client, alice: Person) -> None:
    # A password in the wrong field must not end up in the log.
    typed = "my-secret-sentence@example.com"
    sign_in(client, typed, "and another secret of mine")
    event = last_event()
    assert (event["event"], event["target_id"], event["target_label"], event["organization_id"]) == (
        "user.sign_in_failed",
        "",
        "",
        None,
    )
    assert "secret" not in serializers.serialize("json", AuditEvent.objects.all())


def test_wrong_password_is_in_no_audit_row(client: Client, alice: Person) -> None:
    sign_in(client, alice.email, "some secret sentence")
    assert event_names(event="user.sign_in_failed") == ["user.sign_in_failed"]
    assert "secret" not in serializers.serialize("json", AuditEvent.objects.all())


def test_sign_in_that_works_is_no_failure_on_record(client: Client, alice: Person) -> None:
    sign_in(client, alice.email)
    assert event_names(event="user.sign_in_failed") == []


def test_sign_in_opens_no_session_if_its_audit_row_fails(client: Client, alice: Person, broken_log: None) -> None:
    client.raise_request_exception = False
    assert sign_in(client, alice.email).status_code == 500
    assert not is_signed_in(client)
    assert client.get("/").status_code == 302


def test_sign_in_says_the_same_of_a_wrong_password_and_an_unknown_address(client: Client, alice: Person) -> None:
    answers = [
        sign_in(client, "alice@example.com", "not the password of alice"),
        sign_in(client, "malice@example.com", "not the password of alice"),
    ]
    texts = [text_of(answer).replace("malice@", "alice@") for answer in answers]
    assert texts[0] == texts[1]


def test_sign_in_without_a_password_of_ones_own_is_refused(client: Client, alice: Person) -> None:
    without_password(alice)
    for password in ("", "!", PASSWORD):
        sign_in(client, alice.email, password)
    assert not is_signed_in(client)


def test_sign_in_of_a_closed_account_is_refused(client: Client, alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    response = client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD}, follow=True)
    assert not is_signed_in(client)
    assert "This account is closed" in text_of(response) or "notice is-error" in response.content.decode()


def test_sign_in_stops_after_five_wrong_passwords(client: Client, alice: Person) -> None:
    for _ in range(5):
        sign_in(client, alice.email, "not the password of alice")
    sign_in(client, alice.email)
    assert not is_signed_in(client)


def test_sign_in_that_is_tried_too_often_says_so(client: Client, alice: Person) -> None:
    answers = [sign_in(client, f"n{number}@example.com") for number in range(31)]
    assert answers[-1].status_code == 429
    assert "Too many attempts" in text_of(answers[-1])
    assert "Back to sign in" in text_of(answers[-1])
    assert "Go to the overview" not in text_of(answers[-1])


def test_closed_account_ends_its_sessions(alice_client: Client, alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    assert alice_client.get("/")["Location"] == "/account/sign-in/?next=/"


def test_sign_out_takes_a_post(alice_client: Client, alice: Person) -> None:
    assert "Sign out?" in text_of(alice_client.get("/account/sign-out/"))
    assert is_signed_in(alice_client)
    alice_client.post("/account/sign-out/")
    assert not is_signed_in(alice_client)
    event = last_event()
    assert (event["event"], event["actor_id"]) == ("user.signed_out", alice.user.pk)


def test_sign_out_of_nobody_is_no_event(client: Client, alice: Person) -> None:
    client.post("/account/sign-out/")
    assert event_names(event="user.signed_out") == []


def test_sign_out_takes_a_csrf_token(alice_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = alice_client.cookies
    assert strict.post("/account/sign-out/").status_code == 403
    assert is_signed_in(strict)


def test_sign_up_has_no_address(client: Client, alice: Person) -> None:
    for url in ("/account/signup/", "/accounts/signup/", "/account/sign-up/"):
        assert client.get(url).status_code == 404


def test_pages_never_boast(client: Client, alice: Person) -> None:
    pages = [
        sign_in(client, alice.email),
        client.get("/"),
        client.post(
            "/account/password/change/",
            {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
            follow=True,
        ),
        client.post("/account/sign-out/", follow=True),
        client.post("/account/password/reset/", {"email": alice.email}, follow=True),
    ]
    for page in pages:
        assert "successfully" not in text_of(page).lower()


# Password reset


def ask_for_reset(client: Client, email: str, **headers: Any) -> Any:
    return client.post("/account/password/reset/", {"email": email}, follow=True, **headers)


def test_password_reset_goes_by_mail_from_end_to_end(client: Client, alice: Person) -> None:
    assert RESET_DONE in text_of(ask_for_reset(client, alice.email))
    [mail] = mails(alice.email)
    assert mail.subject == "Reset your keyportal password"
    form = client.get(link_to(alice.email), follow=True)
    assert "Choose a new password" in text_of(form)
    done = client.post(form.redirect_chain[-1][0], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}, follow=True)
    assert "Your password is changed" in text_of(done)
    assert not is_signed_in(client)
    sign_in(client, alice.email, PASSWORD)
    assert not is_signed_in(client)
    sign_in(client, alice.email, NEW_PASSWORD)
    assert is_signed_in(client)


def test_password_reset_is_on_record_as_the_persons_own(client: Client, alice: Person) -> None:
    ask_for_reset(client, alice.email)
    form = client.get(link_to(alice.email), follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    event = last_event(event="user.password_reset")
    assert (event["actor_kind"], event["actor_id"], event["organization_id"]) == (
        "user",
        alice.user.pk,
        alice.membership.organization_id,
    )
    assert last_event(event="user.password_changed")["changes"] == {"password": ["•••", "•••"]}


def test_password_reset_link_works_once(client: Client, alice: Person) -> None:
    ask_for_reset(client, alice.email)
    link = link_to(alice.email)
    form = client.get(link, follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert "This link no longer works" in text_of(Client().get(link, follow=True))


def test_password_reset_link_that_was_made_up_does_not_work(client: Client, alice: Person) -> None:
    for link in ("1-set-password", "zz-abc-0123456789abcdef", "1-c0ffee-0123456789abcdef0123456789abcdef"):
        response = client.get(f"/account/password/reset/key/{link}/", follow=True)
        assert "This link no longer works" in text_of(response)


def test_password_reset_link_is_built_from_the_settings_and_not_the_host(
    client: Client, alice: Person, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.KEYPORTAL_URL = "https://keys.example.com"
    client.post("/account/password/reset/", {"email": alice.email}, headers=EVIL)
    assert link_to(alice.email, base="https://keys.example.com").startswith("/account/password/reset/key/")
    assert "evil.example" not in str(mails())


def test_host_that_is_not_ours_is_refused(client: Client, alice: Person) -> None:
    response = client.post("/account/password/reset/", {"email": alice.email}, headers=EVIL)
    assert (response.status_code, mails()) == (400, [])


def test_password_reset_says_the_same_of_every_address(client: Client, alice: Person) -> None:
    known = ask_for_reset(client, alice.email)
    unknown = ask_for_reset(client, "nobody@example.com")
    assert text_of(known) == text_of(unknown)
    assert [*OutgoingMail.objects.values_list("recipient", flat=True)] == [alice.email]


def test_password_reset_of_who_has_no_password_mails_no_link(client: Client, alice: Person) -> None:
    without_password(alice)
    assert RESET_DONE in text_of(ask_for_reset(client, alice.email))
    assert mails() == []


def test_password_reset_keeps_the_rules(client: Client, alice: Person) -> None:
    ask_for_reset(client, alice.email)
    form = client.get(link_to(alice.email), follow=True)
    response = client.post(form.redirect_chain[-1][0], {"password1": "too short", "password2": "too short"})
    assert "at least 15 characters" in text_of(response)
    assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)


def test_password_reset_saves_nothing_if_its_audit_row_fails(
    client: Client, alice: Person, request: pytest.FixtureRequest
) -> None:
    ask_for_reset(client, alice.email)
    form = client.get(link_to(alice.email), follow=True)
    client.raise_request_exception = False
    request.getfixturevalue("broken_log")
    response = client.post(form.redirect_chain[-1][0], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert response.status_code == 500
    assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)


# Password change


def test_password_change_keeps_the_session_and_ends_the_others(
    alice: Person, alice_client: Client, client: Client
) -> None:
    sign_in(client, alice.email)
    response = alice_client.post(
        "/account/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
        follow=True,
    )
    assert "Password changed. The old one no longer works." in text_of(response)
    assert alice_client.get("/").status_code == 200
    assert client.get("/").status_code == 302
    event = last_event(event="user.password_changed")
    assert (event["actor_id"], event["changes"]) == (alice.user.pk, {"password": ["•••", "•••"]})


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"oldpassword": "not the password of alice"}, "Please type your current password."),
        ({"password1": "too short"}, "at least 15 characters"),
        ({"password1": "123456789987654321"}, "too common"),
        ({"password1": "alice@example.com"}, "too similar to the email"),
        ({"password1": "x" * 129}, "at most 128 characters"),
    ],
)
def test_password_change_keeps_the_rules(
    alice: Person, alice_client: Client, typed: dict[str, str], sentence: str
) -> None:
    response = alice_client.post(
        "/account/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": typed.get("password1", NEW_PASSWORD)} | typed,
    )
    assert sentence in text_of(response)
    assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)


def test_password_change_saves_nothing_if_its_audit_row_fails(
    alice: Person, alice_client: Client, broken_log: None
) -> None:
    alice_client.raise_request_exception = False
    typed = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert alice_client.post("/account/password/change/", typed).status_code == 500
    assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)


@pytest.fixture
def provider_client(alice: Person, sign_in_as: Callable[[Person], Client]) -> Client:
    """Alice as one who signs in through a provider, and did so a moment ago."""
    without_password(alice)
    alice.user.refresh_from_db()
    return sign_in_as(alice)


@pytest.mark.parametrize("path", ["/account/password/change/", "/account/password/set/"])
def test_who_has_no_password_reads_who_manages_their_sign_in(alice: Person, provider_client: Client, path: str) -> None:
    with transaction.atomic():
        SocialAccount.objects.create(user=alice.user, provider="company", uid="7")
    response = provider_client.get(path, follow=True)
    assert response.redirect_chain == [("/account/connections/", 302)]
    text = text_of(response)
    assert "You have no password here: company manages how you sign in." in text
    assert "Change or reset your password there." in text
    assert "Change password" not in text


@pytest.mark.parametrize("path", ["/account/password/change/", "/account/password/set/"])
def test_who_has_no_password_gets_none(alice: Person, provider_client: Client, path: str) -> None:
    typed = {"oldpassword": "", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    provider_client.post(path, typed)
    assert not User.objects.get(pk=alice.user.pk).has_usable_password()


def test_who_has_a_password_changes_it_instead_of_setting_one(alice_client: Client) -> None:
    assert alice_client.get("/account/password/set/")["Location"] == "/account/password/change/"


# Who is who


def test_a_person_has_one_address(alice: Person) -> None:
    assert [*EmailAddress.objects.values_list("email", "primary")] == [("alice@example.com", True)]


def test_someone_of_two_organizations_signs_in_on_the_record_of_the_first(
    client: Client, alice: Person, charlie: Person, team: Team
) -> None:
    far = Team.objects.get(organization=charlie.membership.organization)
    actions.add_to_team(team=far, user=alice.user, role=Role.DEVELOPER, at=NOON)
    sign_in(client, alice.email)
    assert last_event()["organization_id"] == alice.membership.organization_id


def test_anonymous_is_nobody(client: Client, alice: Person) -> None:
    response = client.get("/account/sign-in/")
    assert isinstance(response.wsgi_request.user, AnonymousUser)
    assert not hasattr(response.wsgi_request, "principal")
