"""The thread of a serving process that sends what is due: woken when a mail was written, and every few seconds."""

import atexit
import os
import threading
from contextlib import suppress

import structlog
from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.utils import timezone

from accounts.mailing import sending

POLL_SECONDS = 5.0
# How long the end of the process waits for the mail that is being sent; nothing is lost if it takes longer.
END_SECONDS = 5.0
# How many polls lie between two looks for what is old: some ten minutes.
PRUNED_EVERY = 120

log = structlog.get_logger("accounts.mail")


class Job:
    """What one process sends. It has nothing of its own to lose: all mails are in the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_ending = False
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Start the thread; where there is none to be had, the next mail tries again."""
        with self._lock:
            if self._thread is not None or self._is_ending:
                return
            thread = threading.Thread(target=self._run, name="mail", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                log.error("mail.no_thread", reason=str(error))  # noqa: TRY400 - the sentence says it all
                return
            self._thread = thread
            atexit.register(self.end)

    def wake(self) -> None:
        self.ensure_running()
        self._wake.set()

    def _run(self) -> None:
        polls, was_well = 0, True
        while not self._is_ending:
            error = self._try(is_pruning=polls % PRUNED_EVERY == 0)
            # Said once for each time that it begins.
            if error and was_well:
                log.error("mail.job_failed", reason=type(error).__name__)
            was_well, polls = error is None, polls + 1
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
        connection.close()

    def _try(self, *, is_pruning: bool) -> Exception | None:
        """Send what is due, and return why that was not possible, if it was not."""
        try:
            close_old_connections()
            # The end of the process waits for one mail, and never for all that are due.
            sending.send_due(goes_on=lambda: not self._is_ending)
            if is_pruning:
                sending.prune(at=timezone.now())
        except Exception as error:  # noqa: BLE001 - without this thread nothing would be sent any more
            with suppress(Error):
                connection.close()
            return error
        return None

    def end(self) -> None:
        """Take no further mail, and let the one in hand be sent."""
        self._is_ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)


_job = Job()
_is_serving = False


def start() -> None:
    """Send by a thread from now on, in this process and in those it forks, unless something else is to send."""
    global _is_serving  # noqa: PLW0603 - one value for the whole process is the point
    _is_serving = bool(settings.KEYPORTAL_MAIL_JOB)


def begin() -> None:
    """Start the thread of this process, so that what others have left is sent though nobody writes a mail here."""
    if _is_serving:
        _job.ensure_running()


def wake() -> None:
    """Say that there may be a mail to send; never fails whoever wrote it."""
    if _is_serving:
        _job.wake()


def _forget() -> None:
    global _job  # noqa: PLW0603 - one value for the whole process is the point
    _job = Job()


os.register_at_fork(after_in_child=_forget)
