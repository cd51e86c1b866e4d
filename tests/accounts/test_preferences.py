"""What mail a person wants: the page, the link in a mail, and the operator's command."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core import signing
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import topics
from accounts.actions import preferences
from accounts.mailing import sending
from accounts.mailing.content import unsealed
from accounts.models import OutgoingMail, User
from accounts.topics import Topic
from audit.models import AuditEvent
from tests.cast import Person

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def wanted(person: Person) -> set[Topic]:
    user = User.objects.get(pk=person.user.pk)
    return {topic for topic in Topic if getattr(user, topic.field)}


def path_of(person: Person, topic: Topic) -> str:
    return topics.unsubscribe_link(person.user, topic).removeprefix("http://127.0.0.1:8000")


# The page


def test_page_shows_what_is_wanted(dana_client: Client) -> None:
    page = dana_client.get("/account/preferences/")
    assert page.context["form"].initial == {"product_updates": False, "security_advisories": True, "tips": False}
    assert "cannot be switched off" in page.content.decode()


def test_page_keeps_each_switch(dana: Person, dana_client: Client) -> None:
    response = dana_client.post("/account/preferences/", {"tips": "on", "product_updates": "on"})
    assert (response.status_code, response["Location"]) == (302, "/account/preferences/")
    assert wanted(dana) == {Topic.TIPS, Topic.PRODUCT_UPDATES}
    event = AuditEvent.objects.filter(event="user.updated").latest("id")
    assert event.changes["wants_tips"] == [False, True]
    assert event.actor_label == dana.email


def test_page_is_ones_own(dana: Person, charlie: Person, charlie_client: Client) -> None:
    charlie_client.post("/account/preferences/", {})
    assert wanted(dana) == {Topic.SECURITY_ADVISORIES}
    assert wanted(charlie) == set()


def test_preferences_are_not_kept_if_the_audit_row_fails(dana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEvent, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        preferences.change_preferences(user=dana.user, wanted=[])
    assert wanted(dana) == {Topic.SECURITY_ADVISORIES}


def test_nothing_of_a_person_but_the_switches_is_written(dana: Person) -> None:
    stale = User.objects.get(pk=dana.user.pk)
    User.objects.filter(pk=stale.pk).update(name="Newer")
    assert preferences.change_preferences(user=stale, wanted=[Topic.TIPS]).name == "Newer"


# The link in a mail


def test_link_asks_before_it_stops_anything(client: Client, dana: Person) -> None:
    page = client.get(path_of(dana, Topic.SECURITY_ADVISORIES))
    assert (page.status_code, page.context["is_done"]) == (200, False)
    assert "no-store" in page["Cache-Control"]
    assert dana.email not in page.content.decode()
    assert wanted(dana) == {Topic.SECURITY_ADVISORIES}


def test_post_of_a_mail_program_stops_the_topic_at_once(dana: Person) -> None:
    preferences.change_preferences(user=dana.user, wanted=list(Topic))
    client = Client(enforce_csrf_checks=True)
    response = client.post(path_of(dana, Topic.TIPS), ONE_CLICK)
    assert response.status_code == 200
    assert wanted(dana) == {Topic.PRODUCT_UPDATES, Topic.SECURITY_ADVISORIES}
    event = AuditEvent.objects.filter(event="user.updated").latest("id")
    assert (event.changes, event.actor_kind) == ({"wants_tips": [True, False]}, "anonymous")
    assert event.actor_label == "unsubscribe link"


def test_link_shows_only_so_much_of_the_address(client: Client, dana: Person) -> None:
    path = path_of(dana, Topic.TIPS)
    for page in (client.get(path), client.post(path, ONE_CLICK)):
        assert "d…@example.com" in page.content.decode()
        assert "dana" not in page.content.decode()


def test_second_post_is_as_good_as_the_first(client: Client, dana: Person) -> None:
    path = path_of(dana, Topic.SECURITY_ADVISORIES)
    client.post(path, ONE_CLICK)
    before = AuditEvent.objects.count()
    assert client.post(path, ONE_CLICK).status_code == 200
    assert AuditEvent.objects.count() == before


def test_link_works_while_signed_in_as_somebody_else(dana: Person, bob: Person, bob_client: Client) -> None:
    bob_client.post(path_of(dana, Topic.SECURITY_ADVISORIES), ONE_CLICK)
    assert (wanted(dana), wanted(bob)) == (set(), {Topic.SECURITY_ADVISORIES})


def forged(dana: Person) -> list[str]:
    good = path_of(dana, Topic.TIPS).split("/")[2]
    other = signing.Signer(salt="another").sign_object([str(dana.user.pk), "tips"])
    mine = signing.Signer(salt=topics._SALT)
    made = [mine.sign_object(said) for said in ([str(dana.user.pk), "notices"], [str(uuid4()), "tips"], ["x", "tips"])]
    return ["x", good[:-1], good.swapcase(), other, *made, mine.sign_object("tips"), mine.sign_object([1, 2, 3])]


@pytest.mark.parametrize("number", range(9))
def test_link_that_is_none_of_ours_is_404(client: Client, dana: Person, number: int) -> None:
    path = f"/unsubscribe/{forged(dana)[number]}/"
    assert (client.get(path).status_code, client.post(path, ONE_CLICK).status_code) == (404, 404)


def test_link_of_a_deleted_account_is_404(client: Client, dana: Person) -> None:
    path = path_of(dana, Topic.TIPS)
    User.objects.filter(pk=dana.user.pk).update(deleted_at=timezone.now())
    assert client.post(path, ONE_CLICK).status_code == 404


def test_link_of_another_secret_is_404(client: Client, dana: Person, settings: Settings) -> None:
    path = path_of(dana, Topic.TIPS)
    settings.SECRET_KEY = "another"
    assert client.post(path, ONE_CLICK).status_code == 404


# The operator's command


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("Grüße.\n\nAnother <paragraph>.\n", encoding="utf-8")
    return path


def announce(text_file: Path, *more: str, topic: str = "security_advisories", subject: str = "Upgrade") -> None:
    call_command("send_announcement", f"--topic={topic}", f"--subject={subject}", f"--text-file={text_file}", *more)


def test_announcement_goes_to_those_who_want_it_and_nobody_else(
    dana: Person, bob: Person, alice: Person, text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preferences.change_preferences(user=bob.user, wanted=[Topic.TIPS])
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    announce(text_file, "--yes")
    assert [row.recipient for row in OutgoingMail.objects.all()] == [dana.email]
    assert "1 person asks for mail about “Security advisories”." in capsys.readouterr().out


def test_announcement_can_be_stopped_from_itself(
    dana: Person, text_file: Path, mailoutbox: list[Any], client: Client
) -> None:
    announce(text_file, "--yes")
    sending.send_due()
    [mail] = mailoutbox
    stop = mail.extra_headers["List-Unsubscribe"]
    assert mail.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.subject == "Upgrade"
    assert "Another <paragraph>." in mail.body
    assert "Another &lt;paragraph&gt;." in mail.alternatives[0].content
    assert stop.strip("<>") in mail.body
    assert client.post(stop.strip("<>").removeprefix("http://127.0.0.1:8000"), ONE_CLICK).status_code == 200
    assert wanted(dana) == set()


def test_announcement_leaves_room_for_what_is_urgent(dana: Person, bob: Person, text_file: Path) -> None:
    announce(text_file, "--yes")
    first, second = OutgoingMail.objects.order_by("due_at")
    assert (second.due_at - first.due_at).total_seconds() == 0.2


def test_dry_run_writes_nothing(dana: Person, text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    announce(text_file, "--dry-run")
    assert "1 person asks" in capsys.readouterr().out
    assert OutgoingMail.objects.count() == 0


@pytest.mark.parametrize(("answer", "count"), [("", 0), ("n", 0), ("y", 1)])
def test_command_asks_first(
    dana: Person, text_file: Path, monkeypatch: pytest.MonkeyPatch, answer: str, count: int
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: answer)
    with nullcontext() if count else pytest.raises(CommandError, match=r"Nothing was written\."):
        announce(text_file)
    assert OutgoingMail.objects.count() == count


def test_command_refuses_what_is_no_mail(dana: Person, text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="none that cannot be seen"):
        announce(text_file, subject="a\nBcc: b@example.com")
    with pytest.raises(CommandError, match="cannot be read as text"):
        announce(tmp_path / "nothing")
    text_file.write_bytes(b"\xff")
    with pytest.raises(CommandError, match="cannot be read as text"):
        announce(text_file)
    text_file.write_text("", encoding="utf-8")
    with pytest.raises(CommandError, match="1 to 100,000 characters"):
        announce(text_file)


# Mails of a demo


def test_outbox_of_a_demo_is_nowhere_else(dana_client: Client) -> None:
    assert dana_client.get("/demo/outbox/").status_code == 404
    assert "/demo/outbox/" not in dana_client.get("/").content.decode()


def test_outbox_of_a_demo_shows_what_was_sent(dana: Person, dana_client: Client, settings: Settings) -> None:
    settings.KEYPORTAL_DEMO = True
    Client().force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert sending.send_due().sent == 1
    page = dana_client.get("/demo/outbox/").content.decode()
    assert "New sign-in to your account" in page
    assert 'href="http://127.0.0.1:8000/account/sessions/"' in page
    assert "/demo/outbox/" in dana_client.get("/").content.decode()
    assert unsealed(OutgoingMail.objects.get().content).text


def test_outbox_of_a_demo_bears_a_mail_that_was_emptied(dana: Person, dana_client: Client, settings: Settings) -> None:
    Client().force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    sending.send_due()
    settings.KEYPORTAL_DEMO = True
    assert "cannot be read any more" in dana_client.get("/demo/outbox/").content.decode()


def test_outbox_of_a_demo_costs_the_same_for_one_and_three(
    dana: Person, dana_client: Client, settings: Settings
) -> None:
    settings.KEYPORTAL_DEMO = True
    costs = []
    for count in (1, 3):
        while OutgoingMail.objects.count() < count:
            Client().force_login(dana.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        with CaptureQueriesContext(connection) as queries:
            dana_client.get("/demo/outbox/")
        costs.append(len(queries))
    assert costs[0] == costs[1]
