"""A portal whose mail server stalls and whose worker is killed with a mail in hand: the mail comes, under one name."""

import email
import os
import signal
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import services
from tests.services import Portal

PUT = """
from django.utils import timezone
from accounts.mailing import outbox
outbox.put("password_changed", to="dana@example.com", context={}, at=timezone.now())
"""
# As if the time had passed for which the dead one had it.
LEASE_OVER = """
from django.utils import timezone
from accounts.models import OutgoingMail
OutgoingMail.objects.filter(sent_at=None).update(due_at=timezone.now())
"""
STATE = """
from accounts.models import OutgoingMail
for row in OutgoingMail.objects.all():
    print("state", row.attempts, row.sent_at is not None, bool(row.content))
"""


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP (RFC 5321) as a client needs; it keeps what it takes, and says so once it may."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: list[bytes] = []
        self.may_answer = threading.Event()
        self.may_answer.set()


class _Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.take()
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")

    def take(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        self.server.mails.append(b"".join(lines))
        self.server.may_answer.wait(60)
        self.wfile.write(b"250 taken\r\n")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.may_answer.set()
        server.shutdown()


def awaited(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def state(portal: Portal) -> list[str]:
    lines = portal.manage("shell", "--no-imports", "-c", STATE).stdout.splitlines()
    return [line for line in lines if line.startswith("state")]


def mailing(portal: Portal, server: MailServer) -> None:
    """Start a portal anew with a mail server that takes a mail and then says nothing."""
    portal.stop(number=signal.SIGINT)
    portal.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{server.server_address[1]}"
    server.may_answer.clear()
    portal.start()


@pytest.mark.every_database
def test_mail_of_a_killed_worker_comes_again_under_the_same_name(portal: Portal, mail_server: MailServer) -> None:
    mailing(portal, mail_server)
    # Written by another process: nobody wakes the worker, it looks.
    portal.manage("shell", "--no-imports", "-c", PUT)
    assert awaited(lambda: mail_server.mails)
    # Pages do not wait for it.
    assert services.answers_http(portal.port)
    [worker] = portal.worker_pids
    os.kill(worker, signal.SIGKILL)
    assert awaited(lambda: portal.worker_pids not in ([], [worker]))
    mail_server.may_answer.set()
    assert state(portal) == ["state 1 False True"]
    portal.manage("shell", "--no-imports", "-c", LEASE_OVER)
    assert awaited(lambda: len(mail_server.mails) == 2)
    assert awaited(lambda: state(portal) == ["state 2 True False"])
    first, second = (email.message_from_bytes(raw) for raw in mail_server.mails)
    assert first["Message-ID"] == second["Message-ID"]
    assert second["To"] == "dana@example.com"


def test_portal_that_stops_lets_the_mail_in_hand_be_sent(portal: Portal, mail_server: MailServer) -> None:
    mailing(portal, mail_server)
    portal.manage("shell", "--no-imports", "-c", PUT)
    assert awaited(lambda: mail_server.mails)
    threading.Timer(1, mail_server.may_answer.set).start()
    portal.stop()
    assert state(portal) == ["state 1 True False"]
