"""The pre-hijack: an account that somebody else made for an address, and what is left of them once its reader comes."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.actions.email_change import ask_for_email_change
from accounts.models import Device, EmailChange, Team, User
from tests.accounts.mailbox import link_to, mails
from tests.accounts.scenes import event_names, invited, last_event, text_of
from tests.cast import PASSWORD, Person

VICTIM = "erin@example.com"
OF_ATTACKER = "a sentence that mallory made up"
CHOSEN = "quite another sentence, and as long"


def sign_in(email: str, password: str) -> tuple[Client, Any]:
    client = Client(HTTP_USER_AGENT="Mozilla/5.0")
    return client, client.post("/account/sign-in/", {"login": email, "password": password})


def reset(email: str, password: str = CHOSEN) -> Any:
    """Do what the mailbox's reader does: ask for a link, open it, and choose a password."""
    client = Client()
    client.post("/account/password/reset/", {"email": email})
    form = client.get(link_to(email), follow=True)
    return client.post(form.redirect_chain[-1][0], {"password1": password, "password2": password}, follow=True)


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def token_of(email: str, password: str) -> dict[str, str]:
    answer = Client().post("/v1/auth/token", {"email": email, "password": password}, "application/json").json()
    return {"Authorization": f"Bearer {answer['access_token']}", "refresh": answer["refresh_token"]}


@pytest.fixture
def attacker(bob: Person, team: Team) -> Client:
    """Mallory got hold of a link that was to be handed to erin, made the account, and is in."""
    client = Client(HTTP_USER_AGENT="Mozilla/5.0")
    client.get(f"/invitations/{invited(bob, team, VICTIM)[1]}/")
    client.post("/invitations/", {"name": "Erin", "password": OF_ATTACKER})
    client.post("/account/sign-in/", {"login": VICTIM, "password": OF_ATTACKER, "next": "/invitations/"})
    client.post("/invitations/")
    assert is_in(client)
    return client


@pytest.fixture
def victim(attacker: Client) -> User:
    """The account, with all that whoever opened it could leave in it."""
    user = User.objects.get(email=VICTIM)
    SocialAccount.objects.create(user=user, provider="google", uid="mallory")
    Device.objects.create(
        user=user, token_digest=actions.token_digest("x"), created_at=timezone.now(), last_seen_at=timezone.now()
    )
    ask_for_email_change(user=user, new_email="mallory@example.com", at=timezone.now())
    return user


def with_second_factors(user: User) -> None:
    TOTP.activate(user, generate_totp_secret())
    Authenticator.objects.create(
        user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "mallory's", "credential": {}}
    )


def test_reader_of_the_address_takes_the_account_over_clean(attacker: Client, victim: User) -> None:
    token = token_of(VICTIM, OF_ATTACKER)
    assert Client().get("/v1/projects", headers={"Authorization": token["Authorization"]}).status_code == 200
    with_second_factors(victim)
    assert "Your password is changed" in text_of(reset(VICTIM))
    for model in (Authenticator, SocialAccount, Device, EmailChange, UserSession):
        assert not model.objects.filter(user=victim).exists(), model
    assert EmailAddress.objects.get(user=victim).verified
    assert not is_in(attacker)
    assert Client().get("/v1/projects", headers={"Authorization": token["Authorization"]}).status_code == 401
    refreshed = Client().post("/v1/auth/token/refresh", {"refresh_token": token["refresh"]}, "application/json")
    assert refreshed.status_code == 401
    assert sign_in(VICTIM, OF_ATTACKER)[1].status_code == 422
    theirs, answer = sign_in(VICTIM, CHOSEN)
    assert answer["Location"] == "/"
    assert is_in(theirs)


def test_session_in_which_a_reset_is_made_ends_with_it(attacker: Client, victim: User) -> None:
    attacker.post("/account/password/reset/", {"email": VICTIM})
    form = attacker.get(link_to(VICTIM), follow=True)
    answer = attacker.post(form.redirect_chain[-1][0], {"password1": CHOSEN, "password2": CHOSEN}, follow=True)
    assert "Your password is changed" in text_of(answer)
    assert not is_in(attacker)


def test_takeover_is_on_record(victim: User) -> None:
    with_second_factors(victim)
    before = len(event_names())
    reset(VICTIM)
    found = set(event_names()[before:])
    assert {
        "user.address_proven",
        "user.password_changed",
        "user.password_reset",
        "second_factor.deleted",
        "connected_account.deleted",
        "session.ended",
    } <= found
    event = last_event(event="user.address_proven")
    assert (event["actor_label"], event["target_label"]) == (VICTIM, VICTIM)


def test_takeover_takes_nothing_if_its_audit_row_fails(
    attacker: Client, victim: User, request: pytest.FixtureRequest
) -> None:
    with_second_factors(victim)
    client = Client(raise_request_exception=False)
    client.post("/account/password/reset/", {"email": VICTIM})
    form = client.get(link_to(VICTIM), follow=True)
    request.getfixturevalue("broken_log")
    answer = client.post(form.redirect_chain[-1][0], {"password1": CHOSEN, "password2": CHOSEN})
    assert answer.status_code == 500
    assert User.objects.get(pk=victim.pk).check_password(OF_ATTACKER)
    assert Authenticator.objects.filter(user=victim).count() == 2
    assert not EmailAddress.objects.get(user=victim).verified


def test_reset_of_a_verified_account_ends_its_sessions_and_leaves_its_factors(alice: Person) -> None:
    EmailAddress.objects.filter(user=alice.user).update(verified=True)
    elsewhere, _ = sign_in(alice.email, PASSWORD)
    token = token_of(alice.email, PASSWORD)
    assert is_in(elsewhere)
    with_second_factors(alice.user)
    SocialAccount.objects.create(user=alice.user, provider="google", uid="alice")
    reset(alice.email)
    assert not is_in(elsewhere)
    assert Client().get("/v1/projects", headers={"Authorization": token["Authorization"]}).status_code == 401
    assert Authenticator.objects.filter(user=alice.user).count() == 2
    assert SocialAccount.objects.filter(user=alice.user).exists()
    assert not UserSession.objects.filter(user=alice.user).exists()
    assert event_names(event="user.address_proven") == []


def test_account_of_the_mailed_link_is_proven_from_its_first_moment(bob: Person, team: Team) -> None:
    invited(bob, team, VICTIM)
    client = Client()
    client.get(link_to(VICTIM))
    assert client.post("/invitations/", {"name": "Erin", "password": CHOSEN})["Location"] == "/"
    assert is_in(client)
    assert EmailAddress.objects.get(user__email=VICTIM).verified


def test_reset_is_told_by_mail(alice: Person) -> None:
    reset(alice.email)
    assert [mail.subject for mail in mails(alice.email)][-1] == "Your password was changed"


def test_reset_signs_nobody_in(alice: Person) -> None:
    reset(alice.email)
    assert "_auth_user_id" not in "".join(str(session.get_decoded()) for session in Session.objects.all())


def test_reset_link_ends_with_a_sign_in(alice: Person) -> None:
    Client().post("/account/password/reset/", {"email": alice.email})
    link = link_to(alice.email)
    sign_in(alice.email, PASSWORD)
    assert "This link no longer works" in text_of(Client().get(link, follow=True))


def test_reset_link_ends_after_an_hour(alice: Person) -> None:
    Client().post("/account/password/reset/", {"email": alice.email})
    link = link_to(alice.email)
    with time_machine.travel(timezone.now() + timedelta(seconds=3602)):
        assert "This link no longer works" in text_of(Client().get(link, follow=True))
