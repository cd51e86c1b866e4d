"""Mail on its way: sent once by many, tried again, given up, and never in anybody's way."""

import json
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import time_machine
from django.core import mail as django_mail
from django.core.mail import EmailMultiAlternatives
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from accounts.mailing import job, outbox, sending
from accounts.mailing.content import unsealed
from accounts.models import OutgoingMail
from keyportal import metrics
from keyportal.environment import Environment
from tests.accounts.letters import samples
from tests.cast import NOON, Person


def put(address: str = "dana@example.com", at: datetime = NOON) -> OutgoingMail:
    return outbox.put("factor_changed", to=address, context=samples()["factor_changed"], at=at)


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Let every try fail; return whom it was for."""
    tried: list[str] = []

    def send(self: EmailMultiAlternatives, fail_silently: bool = False) -> int:
        tried.extend(self.to)
        raise error

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    return tried


def count(metric: Any) -> float:
    return float(metric._value.get())


def test_due_mail_is_sent_once_and_emptied(db: None, noon: object, mailoutbox: list[Any]) -> None:
    put()
    before = count(metrics.MAILS_SENT)
    assert sending.send_due() == sending.Tally(sent=1)
    assert sending.send_due() == sending.Tally()
    [found] = mailoutbox
    assert (found.to, found.alternatives[0].mimetype) == (["dana@example.com"], "text/html")
    row = OutgoingMail.objects.get()
    assert (row.sent_at, row.content, row.attempts, row.failed_at) == (NOON, "", 1, None)
    assert count(metrics.MAILS_SENT) == before + 1


def test_mail_that_is_not_due_waits(db: None, noon: object, mailoutbox: list[Any]) -> None:
    put(at=NOON + timedelta(seconds=1))
    assert sending.send_due() == sending.Tally()


def test_mail_of_what_did_not_happen_is_never_sent(transactional_db: None, mailoutbox: list[Any]) -> None:
    with transaction.atomic():
        put()
        transaction.set_rollback(True)
    assert (sending.send_due(), mailoutbox) == (sending.Tally(), [])


def test_failure_is_tried_again_with_growing_pauses_and_then_given_up(
    db: None, noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = put()
    tried = fail(monkeypatch, smtplib.SMTPServerDisconnected("secret words of the server"))
    given_up = count(metrics.MAILS_GIVEN_UP)
    for pause in sending.PAUSES:
        assert sending.send_due() == sending.Tally(failed=1)
        row.refresh_from_db()
        assert (row.failed_at, row.failure) == (None, "SMTPServerDisconnected")
        noon.shift(pause - timedelta(seconds=1))
        assert sending.send_due() == sending.Tally()
        noon.shift(timedelta(seconds=1))
    assert row.content
    assert sending.send_due() == sending.Tally(failed=1)
    row.refresh_from_db()
    assert (row.content, row.attempts, len(tried)) == ("", 8, 8)
    assert row.failed_at is not None
    assert timedelta(days=1) < row.failed_at - NOON < timedelta(days=2)
    assert count(metrics.MAILS_GIVEN_UP) == given_up + 1
    noon.shift(timedelta(days=2))
    assert sending.send_due() == sending.Tally()
    assert "secret words" not in capsys.readouterr().err + str(OutgoingMail.objects.values())


def test_mail_of_another_secret_is_given_up_at_once(db: None, noon: object, settings: Settings) -> None:
    row = put()
    settings.SECRET_KEY = "another"
    assert sending.send_due() == sending.Tally(failed=1)
    row.refresh_from_db()
    assert (row.failed_at, row.failure) == (NOON, "Unreadable")


def test_server_that_is_away_is_not_asked_once_for_each_mail(
    db: None, noon: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        put(f"person{number}@example.com")
    tried = fail(monkeypatch, TimeoutError())
    assert sending.send_due() == sending.Tally(failed=sending.MOST_FAILURES)
    assert len(tried) == sending.MOST_FAILURES


def test_mail_that_fails_holds_up_no_other(db: None, noon: object, monkeypatch: pytest.MonkeyPatch) -> None:
    put("nobody@example.com")
    put("dana@example.com")
    send, sent = EmailMultiAlternatives.send, []

    def send_some(self: EmailMultiAlternatives, fail_silently: bool = False) -> int:
        if self.to == ["nobody@example.com"]:
            raise smtplib.SMTPRecipientsRefused({})
        sent.extend(self.to)
        return int(send(self) or 0)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send_some)
    assert sending.send_due() == sending.Tally(sent=1, failed=1)
    assert sent == ["dana@example.com"]


def test_mail_of_a_process_that_died_is_sent_again_under_the_same_name(
    db: None, noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any]
) -> None:
    def die(_: object) -> None:
        raise SystemExit

    put()
    with monkeypatch.context() as patch:
        # It hands the mail over, and dies before it can say so.
        patch.setattr(sending, "_note_sent", die)
        with pytest.raises(SystemExit):
            sending.send_due()
    assert sending.send_due() == sending.Tally()
    noon.shift(sending.LEASE)
    assert sending.send_due() == sending.Tally(sent=1)
    first, second = (found.message()["Message-ID"] for found in mailoutbox)
    assert first == second


def test_late_failure_does_not_undo_what_another_has_sent(db: None, noon: time_machine.Traveller) -> None:
    put()
    slow = sending._claim(due_by=NOON)
    assert slow
    noon.shift(sending.LEASE)
    assert sending.send_due() == sending.Tally(sent=1)
    sending._note_failure(slow, TimeoutError())
    row = OutgoingMail.objects.get()
    assert (row.failure, row.failed_at, row.content) == ("", None, "")
    assert row.sent_at


def test_no_transaction_is_open_while_a_mail_is_sent(
    transactional_db: None, noon: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    found = []
    monkeypatch.setattr(EmailMultiAlternatives, "send", lambda _: found.append(connection.in_atomic_block))
    sending.send_due()
    assert found == [False]


@pytest.mark.every_database
def test_many_who_send_at_once_send_each_mail_once(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"person{number}@example.com" for number in range(24)]
    for address in addresses:
        put(address)
    sent: list[str] = []
    monkeypatch.setattr(EmailMultiAlternatives, "send", lambda self: sent.extend(self.to))
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        while sending.send_due().sent:
            pass
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == sorted(addresses)
    assert OutgoingMail.objects.filter(sent_at=None).count() == 0


# A mail server that takes a connection and never says anything


@pytest.fixture
def silent_server(settings: Settings) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.getsockname()
        settings.EMAIL_TIMEOUT = 0.3
        yield


def test_page_does_not_wait_for_a_mail_server_that_is_silent(
    alice: Person, alice_client: Client, silent_server: None, settings: Settings
) -> None:
    settings.EMAIL_TIMEOUT = 60
    started = time.monotonic()
    Client().post("/account/sign-in/", {"login": alice.email, "password": "wrong"})
    other = Client()
    other.force_login(alice.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert time.monotonic() - started < 5
    assert OutgoingMail.objects.filter(sent_at=None, name="new_sign_in").count() == 1


def test_silent_mail_server_is_given_up_and_asked_later(db: None, noon: object, silent_server: None) -> None:
    row = put()
    assert sending.send_due() == sending.Tally(failed=1)
    row.refresh_from_db()
    assert (row.failure, row.due_at) == ("SMTPServerDisconnected", NOON + sending.PAUSES[0])


def test_provider_of_mail_gets_what_is_due(
    db: None, noon: object, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYPORTAL_ANYMAIL_SERVER_TOKEN", "swordfish")
    for name, value in Environment().anymail("postmark").items():
        setattr(settings, name, value)
    asked: list[Any] = []

    def answer(_: requests.Session, **request: Any) -> requests.Response:
        asked.append(request)
        response = requests.Response()
        response.status_code = 200
        response._content = b'{"ErrorCode": 0, "MessageID": "1", "To": "dana@example.com", "Message": "OK"}'
        return response

    monkeypatch.setattr(requests.Session, "request", answer)
    put()
    assert sending.send_due() == sending.Tally(sent=1)
    [request] = asked
    assert request["url"].startswith("https://api.postmarkapp.com/")
    assert request["headers"]["X-Postmark-Server-Token"] == "swordfish"
    assert request["timeout"] == (10, 10)
    assert json.loads(request["data"])["Subject"] == "Your sign-in was changed"


# What is old


def test_old_mails_are_removed_and_those_on_their_way_stay(db: None) -> None:
    sent, waiting = put("one@example.com"), put("two@example.com")
    OutgoingMail.objects.filter(pk=sent.pk).update(sent_at=NOON)
    # Ids are made of the machine's own time, which no test moves.
    assert sending.prune(at=datetime.now(UTC) + sending.KEPT_FOR + timedelta(seconds=1)) == 1
    assert OutgoingMail.objects.get() == waiting


def test_recent_mails_stay(db: None, noon: object) -> None:
    put()
    sending.send_due()
    assert sending.prune(at=datetime.now(UTC)) == 0


# The command and the thread


def test_command_sends_once_and_says_how_many(
    db: None, noon: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put()
    call_command("send_mail")
    assert capsys.readouterr().out == "Sent 1.\n"
    put()
    fail(monkeypatch, TimeoutError())
    with pytest.raises(CommandError, match=r"1 could not be sent now"):
        call_command("send_mail")


@pytest.fixture
def running_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[job.Job]:
    """A job that would poll only once an hour, so that what wakes it is the mail."""
    monkeypatch.setattr(job, "POLL_SECONDS", 3600)
    found = job.Job()
    monkeypatch.setattr(job, "_job", found)
    monkeypatch.setattr(job, "_is_serving", True)
    yield found
    found.end()


def awaited(condition: Any) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def test_thread_sends_what_is_committed_within_a_moment(
    transactional_db: None, running_job: job.Job, mailoutbox: list[Any]
) -> None:
    with transaction.atomic():
        put()
        time.sleep(0.1)
        assert mailoutbox == []
    assert awaited(lambda: OutgoingMail.objects.exclude(sent_at=None).exists())
    assert len(django_mail.outbox) == 1


def test_thread_goes_on_after_an_error(
    transactional_db: None, running_job: job.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_claim", lambda **_: 1 / 0)
        running_job.wake()
        time.sleep(0.2)
    put()
    assert awaited(lambda: OutgoingMail.objects.exclude(sent_at=None).exists())


def test_end_waits_for_the_mail_in_hand_and_takes_no_other(
    transactional_db: None, running_job: job.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_sending, may_end = threading.Event(), threading.Event()

    def send(self: EmailMultiAlternatives) -> None:
        is_sending.set()
        may_end.wait(5)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    put("one@example.com")
    put("two@example.com")
    assert is_sending.wait(5)
    threading.Timer(0.2, may_end.set).start()
    running_job.end()
    assert OutgoingMail.objects.exclude(sent_at=None).count() == 1
    assert OutgoingMail.objects.filter(attempts=0).count() == 1
    assert unsealed(OutgoingMail.objects.get(attempts=0).content).text


def test_nothing_runs_where_something_else_is_to_send(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEYPORTAL_MAIL_JOB = False
    found = job.Job()
    monkeypatch.setattr(job, "_job", found)
    job.start()
    job.begin()
    job.wake()
    assert found._thread is None
