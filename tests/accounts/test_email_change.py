"""Changing one's address: what it takes, what it tells whom, and who may not."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.actions.email_change import (
    EmailChangeNotUsable,
    EmailTaken,
    ask_for_email_change,
    cancel_email_change,
    confirm_email,
)
from accounts.actions.inviting import token_digest
from accounts.mailing.content import unsealed
from accounts.models import EmailChange, OutgoingMail, User
from audit.models import AuditEvent
from tests.accounts.scenes import (
    LogIsFull,
    acting_as,
    event_names,
    everything_in_sessions,
    last_event,
    queries_of,
    sign_in_old,
    text_of,
    together,
    without_password,
)
from tests.cast import NOON, PASSWORD, Person, later

NEW = "dana.cohen@example.com"
EMAIL, CHANGE = "/account/email/", "/account/email/change/"
CONFIRM = "/account/email/confirm/"
Sign = Callable[[Person], Client]


def mails() -> list[tuple[str, str]]:
    return [*OutgoingMail.objects.order_by("id").values_list("name", "recipient")]


def token_in(name: str) -> str:
    """Return the token of the link in the newest mail of this name."""
    content = unsealed(OutgoingMail.objects.filter(name=name).latest("id").content)
    [in_text] = set(re.findall(r"https?://[^/\s]+/account/email/confirm/([^/\s]+)/", content.text))
    assert f"/account/email/confirm/{in_text}/" in content.html
    return str(in_text)


def ask(person: Person, email: str = NEW, *, at: Any = NOON) -> tuple[str, str]:
    """Ask for another address; return the tokens that the old and the new mailbox got."""
    ask_for_email_change(user=person.user, new_email=email, at=at)
    return token_in("email_change_approve"), token_in("email_change_confirm")


def confirm(token: str, *, at: Any = NOON) -> Any:
    return confirm_email(digest=token_digest(token), at=at)


def email_of(person: Person) -> str:
    return str(User.objects.get(pk=person.user.pk).email)


def open_link(client: Client, token: str) -> Any:
    return client.get(f"{CONFIRM}{token}/")


def press(client: Client, token: str) -> Any:
    """Open a link as mailed and press its button."""
    open_link(client, token)
    return client.post(CONFIRM)


# The action


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_address_changes_once_both_mailboxes_agreed(dana: Person, order: list[int]) -> None:
    tokens = ask(dana, " Dana.Cohen@Example.com ")
    assert not confirm(tokens[order[0]]).is_complete
    assert email_of(dana) == "dana@example.com"
    assert confirm(tokens[order[1]]).is_complete
    assert email_of(dana) == NEW
    [address] = EmailAddress.objects.filter(user=dana.user)
    assert (address.email, address.primary, address.verified) == (NEW, True, True)
    assert not EmailChange.objects.exists()


def test_mails_go_to_both_addresses_with_a_link_each(dana: Person) -> None:
    old, new = ask(dana)
    assert old != new
    assert mails() == [("email_change_approve", "dana@example.com"), ("email_change_confirm", NEW)]
    confirm(old)
    confirm(new)
    assert mails()[2:] == [("email_changed", "dana@example.com"), ("email_changed", NEW)]


def test_one_mailbox_alone_changes_nothing_however_often_it_agrees(dana: Person) -> None:
    old, new = ask(dana)
    for _ in range(3):
        assert not confirm(new).is_complete
    assert email_of(dana) == "dana@example.com"
    assert old


def test_tokens_are_stored_as_hashes_and_nowhere_else(dana: Person, dana_client: Client) -> None:
    tokens = ask(dana, at=timezone.now())
    row = str(EmailChange.objects.values().get()) + str([*OutgoingMail.objects.values()])
    rows = row + str([*AuditEvent.objects.values()])
    for token in tokens:
        open_link(dana_client, token)
        assert token not in rows
        assert token not in everything_in_sessions()
        assert token not in dana_client.get(EMAIL).content.decode()


@pytest.mark.parametrize(("hours", "is_good"), [(23.99, True), (24, False), (48, False)])
def test_links_are_good_for_a_day(dana: Person, hours: float, is_good: bool) -> None:
    old, _ = ask(dana)
    if is_good:
        assert confirm(old, at=later(hours=hours)).is_confirmed
    else:
        with pytest.raises(EmailChangeNotUsable):
            confirm(old, at=later(hours=hours))


def test_new_wish_replaces_the_earlier(dana: Person) -> None:
    earlier = ask(dana)
    old, new = ask(dana, "dana2@example.com")
    for token in earlier:
        with pytest.raises(EmailChangeNotUsable):
            confirm(token)
    confirm(old)
    confirm(new)
    assert email_of(dana) == "dana2@example.com"


def test_approval_of_one_wish_is_none_of_the_next(dana: Person) -> None:
    old, _ = ask(dana)
    confirm(old)
    _, new = ask(dana, "mallory@example.com")
    assert not confirm(new).is_complete
    assert email_of(dana) == "dana@example.com"


def test_cancelled_wish_has_no_links(dana: Person) -> None:
    tokens = ask(dana)
    cancel_email_change(user=dana.user)
    for token in tokens:
        with pytest.raises(EmailChangeNotUsable):
            confirm(token)


def test_links_of_a_closed_account_are_void(dana: Person) -> None:
    old, _ = ask(dana)
    user = User.objects.get(pk=dana.user.pk)
    user.is_active = False
    user.save(update_fields=["is_active"])
    with pytest.raises(EmailChangeNotUsable):
        confirm(old)


def test_address_that_has_an_account_gets_a_notice_and_no_link(dana: Person, bob: Person) -> None:
    ask_for_email_change(user=dana.user, new_email="BOB@example.com", at=NOON)
    assert mails() == [("email_change_approve", dana.email), ("email_change_taken", bob.email)]
    told = unsealed(OutgoingMail.objects.get(name="email_change_taken").content)
    assert "/account/email/confirm/" not in told.text + told.html
    assert not confirm(token_in("email_change_approve")).is_complete
    assert (email_of(dana), email_of(bob)) == ("dana@example.com", "bob@example.com")


def test_address_that_someone_registered_meanwhile_is_refused(dana: Person) -> None:
    old, new = ask(dana)
    confirm(old)
    actions.create_user(email=NEW, password=PASSWORD, at=NOON)
    with pytest.raises(EmailTaken):
        confirm(new)
    assert email_of(dana) == "dana@example.com"
    assert [address.email for address in EmailAddress.objects.filter(user=dana.user)] == ["dana@example.com"]
    assert "email_changed" not in dict(mails())


def test_change_is_on_record_with_both_addresses(dana: Person) -> None:
    old, new = ask(dana)
    with acting_as(dana):
        confirm(old)
        confirm(new)
    event = last_event(event="user.email_changed")
    assert event["changes"] == {"email": ["dana@example.com", NEW]}
    assert (event["actor_label"], event["target_id"]) == (dana.email, str(dana.user.pk))


def test_change_saves_nothing_if_its_audit_row_fails(dana: Person, request: pytest.FixtureRequest) -> None:
    old, new = ask(dana)
    confirm(old)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        confirm(new)
    assert email_of(dana) == "dana@example.com"
    assert EmailChange.objects.get().new_confirmed_at is None
    assert "email_changed" not in dict(mails())


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_two_people_cannot_both_get_an_address(dana: Person, bob: Person) -> None:
    with transaction.atomic():
        danas, bobs = ask(dana), ask(bob)
    with transaction.atomic():
        confirm(danas[0])
        confirm(bobs[0])
    results = together(2, lambda number: confirm((danas, bobs)[number][1]))
    assert sorted(type(result).__name__ for result in results) == ["EmailConfirmation", "EmailTaken"]
    assert sorted([email_of(dana), email_of(bob)]).count(NEW) == 1


# The pages


def test_email_page_shows_the_address_and_asks_for_another(dana: Person, dana_client: Client) -> None:
    response = dana_client.post(CHANGE, {"new_email": NEW}, follow=True)
    assert response.redirect_chain == [(EMAIL, 302)]
    text = text_of(response)
    assert "We have mailed a link to your old address and one to the new." in text
    assert "Waiting for confirmation" in text
    assert NEW in text
    assert mails() == [("email_change_approve", dana.email), ("email_change_confirm", NEW)]


def test_whole_way_through_the_pages(dana: Person, dana_client: Client, client: Client) -> None:
    dana_client.post(CHANGE, {"new_email": NEW})
    old, new = token_in("email_change_approve"), token_in("email_change_confirm")
    assert "One more to go" in text_of(press(dana_client, old))
    assert "approved" in text_of(dana_client.get(EMAIL))
    # The other mailbox is read elsewhere, where nobody is signed in.
    assert "Your address is changed" in text_of(press(client, new))
    assert email_of(dana) == NEW
    event = last_event(event="user.email_changed")
    assert (event["actor_kind"], event["actor_label"]) == ("anonymous", "mailed link")


def test_link_confirms_nothing_until_its_button_is_pressed(dana: Person, client: Client) -> None:
    for token in ask(dana, at=timezone.now()):
        for _ in range(2):
            response = open_link(client, token)
            assert (response.status_code, response["Location"]) == (302, CONFIRM)
            assert client.get(CONFIRM).status_code == 200
    change = EmailChange.objects.get()
    assert (change.old_confirmed_at, change.new_confirmed_at) == (None, None)


def test_confirmation_is_kept_in_no_cache_and_its_token_in_no_address(dana: Person, client: Client) -> None:
    old, _ = ask(dana, at=timezone.now())
    assert "no-store" in open_link(client, old)["Cache-Control"]
    page = client.get(CONFIRM)
    assert "no-store" in page["Cache-Control"]
    assert old not in page.content.decode()


@pytest.mark.parametrize("path", [f"{CONFIRM}nobodys/", CONFIRM])
def test_link_that_is_none_says_so(client: Client, db: None, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, "This link no longer works" in text_of(response)) == (410, True)
    assert client.post(CONFIRM).status_code == 410


def test_link_that_was_used_up_says_so(dana: Person, client: Client) -> None:
    old, new = ask(dana, at=timezone.now())
    press(client, old)
    press(client, new)
    assert open_link(client, new).status_code == 410
    assert client.post(CONFIRM).status_code == 410


def test_link_of_an_address_that_was_taken_meanwhile_says_so(dana: Person, client: Client) -> None:
    old, new = ask(dana, at=timezone.now())
    press(client, old)
    actions.create_user(email=NEW, password=PASSWORD, at=NOON)
    response = press(client, new)
    assert response.status_code == 409
    assert "There is an account with the new address by now" in text_of(response)


def test_confirmation_takes_a_token_against_forged_posts(dana: Person) -> None:
    client = Client(enforce_csrf_checks=True)
    old, _ = ask(dana, at=timezone.now())
    open_link(client, old)
    assert client.post(CONFIRM).status_code == 403
    assert EmailChange.objects.get().old_confirmed_at is None


def test_answer_is_the_same_whether_the_address_has_an_account(dana: Person, bob: Person, sign_in_as: Sign) -> None:
    pages = []
    for email in ("bobby@example.com", "bob@example.com"):
        client = sign_in_as(dana)
        response = client.post(CHANGE, {"new_email": email})
        page = client.get(EMAIL).content.decode().replace(email, "")
        pages.append((response.status_code, response["Location"], re.sub(r'value="[^"]{64}"', "", page)))
        cancel_email_change(user=dana.user)
    assert pages[0] == pages[1]


def test_answer_costs_the_same_whether_the_address_has_an_account(
    dana: Person, bob: Person, sign_in_as: Sign, django_assert_num_queries: Any
) -> None:
    ask_for_email_change(user=dana.user, new_email="x@example.com", at=NOON)
    for email in ("bob@example.com", "bobby@example.com"):
        with django_assert_num_queries(8):
            ask_for_email_change(user=dana.user, new_email=email, at=NOON)


@pytest.mark.parametrize(
    "email", ["", "no address", "dana@example.com", "DANA@example.com", "x" * 250 + "@example.com"]
)
def test_address_that_cannot_be_is_refused(dana: Person, dana_client: Client, email: str) -> None:
    response = dana_client.post(CHANGE, {"new_email": email})
    assert (response.status_code, set(response.context["form"].errors)) == (422, {"new_email"})
    assert not EmailChange.objects.exists()


def test_change_asks_for_a_recent_sign_in_and_keeps_what_was_typed(dana: Person, dana_client: Client) -> None:
    sign_in_old(dana_client)
    response = dana_client.post(CHANGE, {"new_email": NEW})
    assert response["Location"].startswith("/account/reauthenticate/?next=")
    assert not EmailChange.objects.exists()
    back = dana_client.post("/account/reauthenticate/", {"password": PASSWORD, "next": f"{CHANGE}?new_email={NEW}"})
    assert f'value="{NEW}"' in dana_client.get(back["Location"]).content.decode()


def test_fourth_wish_of_five_minutes_is_refused(dana: Person, dana_client: Client) -> None:
    answers = [dana_client.post(CHANGE, {"new_email": f"d{n}@example.com"}).status_code for n in range(4)]
    assert answers == [302] * 3 + [429]
    assert EmailChange.objects.get().new_email == "d2@example.com"


def test_address_that_nobody_confirms_is_mailed_three_times_by_whomever(
    sign_in_as: Sign, dana: Person, bob: Person
) -> None:
    clients = [sign_in_as(person) for person in (dana, bob, dana, bob)]
    answers = [client.post(CHANGE, {"new_email": NEW}).status_code for client in clients]
    assert answers == [302] * 3 + [429]


def test_cancelling_on_the_page_drops_the_wish(dana: Person, dana_client: Client) -> None:
    dana_client.post(CHANGE, {"new_email": NEW})
    text = text_of(dana_client.post("/account/email/cancel/", follow=True))
    assert "Your address stays dana@example.com." in text
    assert "Waiting for confirmation" not in text
    assert not EmailChange.objects.exists()


def test_wish_that_is_too_old_is_shown_no_more(dana: Person, dana_client: Client) -> None:
    with time_machine.travel(later(days=-2), tick=False):
        ask(dana, at=timezone.now())
    assert "Waiting for confirmation" not in text_of(dana_client.get(EMAIL))


def test_change_ends_the_other_sessions_and_not_the_one_that_confirms(dana: Person, sign_in_as: Sign) -> None:
    here, there = sign_in_as(dana), sign_in_as(dana)
    for token in ask(dana, at=timezone.now()):
        press(here, token)
    assert [client.get(EMAIL).status_code for client in (here, there)] == [200, 302]
    assert "session.ended" in event_names()
    assert NEW in text_of(here.get(EMAIL))


def test_sign_in_takes_the_new_address_and_not_the_old(dana: Person, client: Client) -> None:
    for token in ask(dana):
        confirm(token)
    form = {"login": "dana@example.com", "password": PASSWORD}
    client.post("/account/sign-in/", form)
    assert "_auth_user_id" not in client.session
    assert client.post("/account/sign-in/", form | {"login": NEW}).status_code == 302


def test_email_page_costs_the_same_with_a_wish_and_without(dana: Person, dana_client: Client) -> None:
    without = queries_of(dana_client, EMAIL)
    ask(dana, at=timezone.now())
    assert queries_of(dana_client, EMAIL) == without


def test_email_page_is_there_for_people_in_no_organization(db: None, client: Client) -> None:
    user = actions.create_user(email="nils@example.com", password=PASSWORD, name="Nils", at=NOON)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "nils@example.com" in text_of(client.get(EMAIL))


# Who signs in through a provider


@pytest.fixture
def social_dana(dana: Person) -> Person:
    without_password(dana)
    dana.user.refresh_from_db()
    with transaction.atomic():
        SocialAccount.objects.create(user=dana.user, provider="github", uid="7")
    return dana


def test_address_of_who_signs_in_socially_is_read_only_and_says_why(social_dana: Person, sign_in_as: Sign) -> None:
    client = sign_in_as(social_dana)
    page = client.get(EMAIL)
    assert "You sign in through github, so this address cannot be changed here." in text_of(page)
    assert b'name="new_email"' not in page.content
    assert client.post(CHANGE, {"new_email": NEW}).status_code == 403
    assert not EmailChange.objects.exists()


def test_who_has_a_password_beside_a_provider_may_change_the_address(dana: Person, dana_client: Client) -> None:
    with transaction.atomic():
        SocialAccount.objects.create(user=dana.user, provider="github", uid="7")
    assert dana_client.post(CHANGE, {"new_email": NEW}).status_code == 302
