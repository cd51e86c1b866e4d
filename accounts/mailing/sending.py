"""Sending what is due: a mail is claimed in one short transaction, sent outside of any, and noted in another.

A mail goes out at least once. Whoever claims it has it for a time; a process that dies with it in hand leaves it to
the next, under the same Message-ID, by which mail servers and readers know it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import timezone

from accounts.mailing.content import Content, unsealed
from accounts.models import OutgoingMail
from keyportal import metrics
from keyportal.encryption import Unreadable

# For how long nobody else tries a mail that someone has in hand: longer than a server that answers nothing is awaited.
LEASE = timedelta(minutes=10)
# How long after each failure the next try comes; after the last of them it is given up, a day and a half later.
PAUSES = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=16),
)
MOST_ATTEMPTS = len(PAUSES) + 1
# So many failures in a row are no fault of the mails: the rest is left for another time.
MOST_FAILURES = 3
KEPT_FOR = timedelta(days=30)
PRUNED_AT_ONCE = 500

log = structlog.get_logger("accounts.mail")


@dataclass(slots=True)
class Tally:
    """How a pass went."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Claim:
    """A mail in hand: which try this is tells it from a later claim of somebody else's."""

    mail: OutgoingMail
    attempt: int


def send_due(*, goes_on: Callable[[], bool] = lambda: True) -> Tally:
    """Send the mails that are due now, one after the other; never one that became due since it began.

    It stops after a few failures in a row, so that a server that is away is not asked once for each of very many.

    :param goes_on: asked before each mail.
    """
    begun_at, tally, failures_in_a_row = timezone.now(), Tally(), 0
    while goes_on() and failures_in_a_row < MOST_FAILURES and (claim := _claim(due_by=begun_at)):
        if _attempt(claim):
            tally.sent, failures_in_a_row = tally.sent + 1, 0
        else:
            tally.failed, failures_in_a_row = tally.failed + 1, failures_in_a_row + 1
    return tally


def _claim(*, due_by: datetime) -> _Claim | None:
    """Take the oldest mail that is due out of the way of all others, and count the try before it is made."""
    due = OutgoingMail.objects.due(at=due_by)
    # Most times there is none, which takes no lock to know.
    if not due.exists():
        return None
    with transaction.atomic():
        # PostgreSQL's others take the next one meanwhile; of SQLite's writers there is one.
        mail = due.select_for_update(skip_locked=True).first()
        if mail is None:
            return None
        mail.attempts += 1
        mail.due_at = timezone.now() + LEASE
        mail.save(update_fields=["attempts", "due_at"])
    return _Claim(mail, mail.attempts)


def _attempt(claim: _Claim) -> bool:
    """Send a mail and note how that went; say whether it was sent."""
    try:
        message(claim.mail, unsealed(claim.mail.content)).send()
    except Exception as error:  # noqa: BLE001 - whatever a mail server or its library does, the next mail is tried
        _note_failure(claim, error)
        return False
    _note_sent(claim)
    return True


def message(mail: OutgoingMail, content: Content) -> EmailMultiAlternatives:
    """Return a mail as it goes out, in plain text and HTML."""
    host = urlsplit(settings.KEYPORTAL_URL).hostname
    headers = {
        # RFC 5322 §3.6.4: the same for each try, so that one that came twice is known.
        "Message-ID": f"<{mail.pk}@{host}>",
        # RFC 3834 §5: no vacation notice answers it.
        "Auto-Submitted": "auto-generated",
        **content.headers,
    }
    found = EmailMultiAlternatives(
        content.subject, content.text, settings.DEFAULT_FROM_EMAIL, [mail.recipient], headers=headers
    )
    found.attach_alternative(content.html, "text/html")
    return found


@transaction.atomic
def _note_sent(claim: _Claim) -> None:
    metrics.MAILS_SENT.inc()
    mail = OutgoingMail.objects.select_for_update().filter(pk=claim.mail.pk).first()
    if mail is None or mail.sent_at:
        return  # Its owner's row is gone, or whoever took it for lost has sent it too.
    mail.sent_at, mail.failed_at, mail.failure = timezone.now(), None, ""
    if not settings.KEYPORTAL_DEMO:
        mail.content = ""
    mail.save(update_fields=["sent_at", "failed_at", "failure", "content"])


@transaction.atomic
def _note_failure(claim: _Claim, error: Exception) -> None:
    """Put the next try off, or give the mail up. What the server said may quote the mail, and is not kept."""
    metrics.MAIL_FAILURES.inc()
    mail = OutgoingMail.objects.select_for_update().filter(pk=claim.mail.pk).first()
    if mail is None or mail.sent_at or mail.attempts != claim.attempt:
        return  # Somebody else has it in hand by now.
    at, mail.failure = timezone.now(), type(error).__name__[:100]
    told = {"mail": str(mail.pk), "name": mail.name, "attempts": mail.attempts, "reason": mail.failure}
    # One that cannot be read will never be.
    if mail.attempts >= MOST_ATTEMPTS or isinstance(error, Unreadable):
        mail.failed_at, mail.content = at, ""
        metrics.MAILS_GIVEN_UP.inc()
        log.error("mail.given_up", **told)
    else:
        mail.due_at = at + PAUSES[mail.attempts - 1]
        log.warning("mail.not_sent", **told)
    mail.save(update_fields=["due_at", "failed_at", "failure", "content"])


def prune(*, at: datetime) -> int:
    """Delete a few of the mails that were sent or given up long ago; return how many."""
    old = OutgoingMail.objects.ended(before=at - KEPT_FOR).values_list("pk", flat=True)[:PRUNED_AT_ONCE]
    if not (ids := list(old)):
        return 0
    return OutgoingMail.objects.filter(pk__in=ids).delete()[0]
