"""Where people are signed in: what is noted of it, what they see, and how it ends."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import actions, activity
from accounts.actions.sessions import end_session, end_sessions, open_sessions
from accounts.devices import device_of, is_command_line
from accounts.mailing.content import unsealed
from accounts.models import OutgoingMail, User
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, acting_as, by, event_names, last_event, queries_of, text_of
from tests.cast import NOON, PASSWORD, Person, later

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)
URL = "/account/sessions/"


def signed_in(person: Person, user_agent: str = FIREFOX) -> Client:
    """Return a browser in which someone signed in by the form."""
    client = Client(headers={"User-Agent": user_agent})
    client.post("/account/sign-in/", {"login": person.email, "password": PASSWORD})
    assert "_auth_user_id" in client.session
    return client


def row_of(client: Client) -> UserSession:
    return UserSession.objects.get(session_key=client.session.session_key)


def is_open(client: Client) -> bool:
    return bool(client.get("/account/profile/").status_code == 200)


def opened(person: Person) -> list[UserSession]:
    return open_sessions(person.user, at=datetime.now(UTC))


# What is noted


def test_sign_in_notes_device_and_address(dana: Person) -> None:
    row = row_of(signed_in(dana))
    assert (row.user_id, row.ip, row.user_agent) == (dana.user.pk, "127.0.0.1", FIREFOX)


def test_use_is_noted_at_most_once_a_minute(dana: Person) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        client = signed_in(dana)
        for seconds, seen in [(59, NOON), (60, later(seconds=60)), (119, later(seconds=60)), (600, later(seconds=600))]:
            traveller.move_to(later(seconds=seconds))
            client.get("/account/profile/")
            assert row_of(client).last_seen_at == seen
    assert row_of(client).created_at == NOON


def test_page_within_the_minute_asks_and_writes_nothing_about_the_session(dana: Person) -> None:
    client = signed_in(dana)
    client.get("/account/profile/")
    with CaptureQueriesContext(connection) as captured:
        client.get("/account/profile/")
    assert not [query for query in captured if "usersession" in query["sql"]]


def test_another_process_reads_and_does_not_write_within_the_minute(dana: Person) -> None:
    client = signed_in(dana)
    activity.forget_all()
    with CaptureQueriesContext(connection) as captured:
        client.get("/account/profile/")
    said = [query["sql"].partition(" ")[0] for query in captured if "usersession" in query["sql"]]
    assert said == ["SELECT"]


def test_use_notes_where_the_session_is_now(dana: Person) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        client = signed_in(dana)
        traveller.move_to(later(hours=1))
        client.get("/account/profile/", headers={"User-Agent": SAFARI}, REMOTE_ADDR="198.51.100.7")
    row = row_of(client)
    assert (row.ip, row.user_agent, row.last_seen_at) == ("198.51.100.7", SAFARI, later(hours=1))


def test_session_that_was_opened_without_the_form_is_noted_on_its_first_page(dana: Person, client: Client) -> None:
    client.force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    client.get("/account/profile/", headers={"User-Agent": FIREFOX})
    assert row_of(client).user_agent == FIREFOX


def test_request_without_an_address_or_a_name_is_noted_all_the_same(dana: Person, client: Client) -> None:
    client.force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get("/account/profile/", REMOTE_ADDR="").status_code == 200
    assert (row_of(client).ip, row_of(client).user_agent) == ("::", "")
    assert "no address" in text_of(client.get(URL, REMOTE_ADDR=""))


def test_sign_in_without_an_address_opens_a_session(dana: Person, client: Client) -> None:
    form = {"login": dana.email, "password": PASSWORD}
    assert client.post("/account/sign-in/", form, REMOTE_ADDR="").status_code == 302
    assert row_of(client).ip == "::"


def test_long_name_of_a_browser_is_cut(dana: Person, client: Client) -> None:
    client.force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get("/account/profile/", headers={"User-Agent": "x" * 5000}).status_code == 200
    assert len(row_of(client).user_agent) == 200


def test_database_that_takes_no_note_costs_no_page(dana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in(dana)
    activity.forget_all()

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(type(UserSession.objects), "get_or_create", refuse)
    assert client.get("/account/profile/").status_code == 200


def test_nobody_without_a_session_is_noted(alice: Person) -> None:
    Client().get("/account/sign-in/")
    Client().get("/account/profile/")
    assert not UserSession.objects.exists()


# What a device is called


@pytest.mark.parametrize(
    ("user_agent", "device", "is_program"),
    [
        (FIREFOX, "Firefox on Linux", False),
        (SAFARI, "Mobile Safari on iOS", False),
        ("curl/8.5.0", "curl", True),
        ("python-requests/2.32.3", "Python Requests", True),
        ("keyportal-deploy/1.0 (ci)", "keyportal-deploy", True),
        ("", "Unknown program", True),
        ("\u202egnp.exe/1", "\ufffdgnp.exe", True),
        ("x" * 500, "x" * 40, True),
    ],
)
def test_device_is_called_by_browser_and_system(user_agent: str, device: str, is_program: bool) -> None:
    assert (device_of(user_agent), is_command_line(user_agent)) == (device, is_program)


# What is seen


def test_page_lists_own_sessions_and_marks_this_one(dana: Person, bob: Person) -> None:
    here, phone, program = signed_in(dana), signed_in(dana, SAFARI), signed_in(dana, "curl/8.5.0")
    signed_in(bob, "Mozilla/5.0 (X11; CrOS x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36")
    page = here.get(URL)
    rows = page.context["rows"]
    assert [(row.device, row.is_current, row.is_command_line) for row in rows] == [
        ("Firefox on Linux", True, False),
        ("curl", False, True),
        ("Mobile Safari on iOS", False, False),
    ]
    text = text_of(page)
    assert text.count("This session") == 1
    assert text.count("Command line") == 1
    assert "Chrom" not in text
    for client in (here, phone, program):
        assert str(client.session.session_key) not in page.content.decode()


def test_page_hides_sessions_that_are_over(dana: Person) -> None:
    here, left, over = signed_in(dana), signed_in(dana, SAFARI), signed_in(dana, "curl/8.5.0")
    left.post("/account/sign-out/")
    Session.objects.filter(session_key=over.session.session_key).update(expire_date=datetime.now(UTC))
    assert [row.device for row in here.get(URL).context["rows"]] == ["Firefox on Linux"]
    assert "Sign out all others" not in text_of(here.get(URL))


def test_page_costs_the_same_for_one_session_and_for_three(dana: Person) -> None:
    here = signed_in(dana)
    one = queries_of(here, URL)
    signed_in(dana, SAFARI)
    signed_in(dana, "curl/8.5.0")
    assert len(here.get(URL).context["rows"]) == 3
    assert queries_of(here, URL) == one


def test_name_of_a_browser_is_text_and_no_markup(dana: Person) -> None:
    page = signed_in(dana, "<script>alert(1)</script>/1").get(URL).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page


def test_page_is_there_for_people_in_no_organization(db: None, client: Client) -> None:
    user = actions.create_user(email="nils@example.com", password=None, name="Nils", at=NOON)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    client.get("/account/profile/")
    assert [row.is_current for row in client.get(URL).context["rows"]] == [True]


# How it ends


def test_signing_one_out_ends_it_on_its_next_request_and_no_other(dana: Person) -> None:
    here, phone, program = signed_in(dana), signed_in(dana, SAFARI), signed_in(dana, "curl/8.5.0")
    response = here.post(f"{URL}{row_of(phone).pk}/end/", follow=True)
    assert "Mobile Safari on iOS is signed out." in text_of(response)
    assert [is_open(client) for client in (here, phone, program)] == [True, False, True]
    assert len(opened(dana)) == 2


def test_signing_this_one_out_leads_to_signing_out(dana: Person) -> None:
    here = signed_in(dana)
    assert here.post(f"{URL}{row_of(here).pk}/end/")["Location"] == "/account/sign-out/"
    assert is_open(here)


def test_signing_out_all_others_leaves_this_one(dana: Person, bob: Person) -> None:
    here, phone, program, bobs = signed_in(dana), signed_in(dana, SAFARI), signed_in(dana, "curl/8"), signed_in(bob)
    response = here.post(f"{URL}end-others/", follow=True)
    assert "2 other sessions signed out." in text_of(response)
    assert [is_open(client) for client in (here, phone, program, bobs)] == [True, False, False, True]


def test_session_of_someone_else_is_404_and_stays(dana: Person, alice_client: Client) -> None:
    danas = signed_in(dana)
    assert alice_client.post(f"{URL}{row_of(danas).pk}/end/").status_code == 404
    assert is_open(danas)


@pytest.mark.parametrize("path", ["1/end/", "end-others/"])
def test_looking_at_what_ends_sessions_ends_none(dana_client: Client, path: str) -> None:
    assert dana_client.get(f"{URL}{path}").status_code == 405


def test_end_of_a_session_is_on_record(dana: Person) -> None:
    row = row_of(signed_in(dana, SAFARI))
    with acting_as(dana):
        end_session(user=dana.user, session=row)
    assert last_event() == by(
        dana,
        event="session.ended",
        action="event",
        target_table="users",
        target_id=str(dana.user.pk),
        target_label=dana.email,
        changes={"device": ["Mobile Safari on iOS", None], "address": ["127.0.0.1", None]},
    )


def test_session_stays_if_its_audit_row_fails(dana: Person, request: pytest.FixtureRequest) -> None:
    client = signed_in(dana)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull), transaction.atomic():
        end_sessions(user=dana.user, at=datetime.now(UTC))
    assert is_open(client)


def test_ended_session_is_not_noted_again_by_a_request_under_way(dana: Person) -> None:
    client = signed_in(dana)
    key, row = str(client.session.session_key), row_of(client)
    end_session(user=dana.user, session=row)
    activity.forget_all()
    activity.note(user_id=dana.user.pk, session_key=key, address="", user_agent="", at=datetime.now(UTC))
    assert opened(dana) == []
    assert not is_open(client)


# What else ends them

NEW_PASSWORD = "quite another sentence, and as long"
CHANGE = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}


def test_new_password_ends_the_other_sessions(dana: Person) -> None:
    here, phone = signed_in(dana), signed_in(dana, SAFARI)
    assert here.post("/account/password/change/", CHANGE).status_code == 302
    assert [is_open(client) for client in (here, phone)] == [True, False]
    assert [session.session_key for session in opened(dana)] == [here.session.session_key]
    assert event_names(event__in=["session.ended", "user.password_changed"]) == [
        "user.password_changed",
        "session.ended",
    ]


def test_new_password_is_told_to_its_owner(dana: Person) -> None:
    signed_in(dana).post("/account/password/change/", CHANGE)
    told = OutgoingMail.objects.filter(name="password_changed").values_list("recipient", "user")
    assert [*told] == [(dana.email, dana.user.pk)]


def test_new_password_changes_nothing_if_its_audit_row_fails(dana: Person, request: pytest.FixtureRequest) -> None:
    here, phone = signed_in(dana), signed_in(dana, SAFARI)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        here.post("/account/password/change/", CHANGE)
    assert User.objects.get(pk=dana.user.pk).check_password(PASSWORD)
    assert [is_open(client) for client in (here, phone)] == [True, True]
    assert not OutgoingMail.objects.filter(name="password_changed").exists()


def test_password_that_was_reset_ends_all_sessions_and_is_told(dana: Person, client: Client) -> None:
    here, phone = signed_in(dana), signed_in(dana, SAFARI)
    client.post("/account/password/reset/", {"email": dana.email})
    content = unsealed(OutgoingMail.objects.get(name="password_reset").content).text
    [link] = re.findall(r"https?://[^/\s]+(/account/password/reset/key/\S+)", content)
    form = client.get(link, follow=True).redirect_chain[-1][0]
    assert client.post(form, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}).status_code == 302
    assert User.objects.get(pk=dana.user.pk).check_password(NEW_PASSWORD)
    assert [is_open(client) for client in (here, phone)] == [False, False]
    assert OutgoingMail.objects.filter(name="password_changed", user=dana.user).count() == 1
    assert event_names(event="session.ended") == ["session.ended", "session.ended"]


def test_wrong_password_changes_nothing_and_ends_nothing(dana: Person) -> None:
    here, phone = signed_in(dana), signed_in(dana, SAFARI)
    response: Any = here.post("/account/password/change/", CHANGE | {"oldpassword": "not this one at all"})
    assert set(response.context["form"].errors) == {"oldpassword"}
    assert is_open(phone)
    assert not AuditEvent.objects.filter(event="session.ended").exists()


def test_session_that_is_old_is_not_used_again(dana: Person) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        client = signed_in(dana)
        traveller.move_to(NOON + timedelta(days=15))
        assert not is_open(client)


# Command lines


def test_token_is_a_session_that_is_seen_by_its_calls_and_ends_with_it(dana: Person) -> None:
    program = Client(headers={"User-Agent": "curl/8.5.0"})
    with time_machine.travel(NOON, tick=False) as traveller:
        form = {"email": dana.email, "password": PASSWORD}
        token = program.post("/v1/auth/token", form, content_type="application/json").json()["access_token"]
        call = {"Authorization": f"Bearer {token}"}
        traveller.move_to(later(minutes=2))
        assert program.get("/v1/projects", headers=call, REMOTE_ADDR="198.51.100.7").status_code == 200
        [row] = UserSession.objects.filter(user=dana.user)
        assert (row.user_agent, row.ip, row.last_seen_at) == ("curl/8.5.0", "198.51.100.7", later(minutes=2))
        end_session(user=dana.user, session=row)
        assert program.get("/v1/projects", headers=call).json()["code"] == "invalid_token"
