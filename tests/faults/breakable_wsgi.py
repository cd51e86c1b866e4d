"""keyportal with faults that a test orders: gunicorn serves it in place of `keyportal.wsgi`.

An order is the text of a file. Whoever carries it out removes it first, so that it comes once, though the process dies
of it. What is ordered otherwise, the clock for one, stays until the file is gone.
"""

import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from keyportal.wsgi import application as whole

# Models, which cannot be imported before that.
from apikeys import hashing, keyformat  # isort: skip
from apikeys.models import ApiKey  # isort: skip
from audit import uses  # isort: skip
from audit.models import AuditEvent  # isort: skip

DIRECTORY = Path(os.environ["FAULTS_DIRECTORY"])
ORDER, CLOCK, MINTED = DIRECTORY / "order", DIRECTORY / "clock", DIRECTORY / "minted"


class _Here(threading.local):
    """Whether this thread's transaction has recorded a change of a key."""

    is_recorded = False


here = _Here()


def is_due(point: str) -> bool:
    """Say whether something was ordered for a point, and take the order away."""
    if not ORDER.exists() or ORDER.read_text(encoding="utf-8") != point:
        return False
    ORDER.unlink()
    return True


def die(point: str) -> None:
    if is_due(point):
        os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Patch what is to break. Each is called as before, and breaks only on order."""
    mint, make_digest, save_key = keyformat.mint, hashing.make_digest, ApiKey.save
    save_event, commit, write_once = AuditEvent.save, BaseDatabaseWrapper._commit, uses._write_once  # type: ignore[attr-defined] # Django's stubs know no private names

    def minting(*args: Any, **kwargs: Any) -> keyformat.Key:
        """Tell the test of keys that nobody will be shown, so that it can look for them too."""
        key = mint(*args, **kwargs)
        with MINTED.open("a", encoding="ascii") as file:
            file.write(f"{key.reveal()}\n")
        return key

    def making_digest(text: str) -> str:
        digest = make_digest(text)
        die("digest made")
        return digest

    def saving_key(self: ApiKey, *args: Any, **kwargs: Any) -> None:
        here.is_recorded = False
        die("before the row")
        save_key(self, *args, **kwargs)

    def saving_event(self: AuditEvent, *args: Any, **kwargs: Any) -> None:
        is_of_a_key = self.target_table == "api_keys"
        if is_of_a_key:
            die("before the audit row")
        save_event(self, *args, **kwargs)
        if is_of_a_key:
            here.is_recorded = True
            die("after the audit row")

    def committing(self: BaseDatabaseWrapper) -> None:
        of = "uses" if threading.current_thread().name == "uses" else "key" if here.is_recorded else "nothing"
        die(f"before the commit of {of}")
        commit(self)
        here.is_recorded = False
        die(f"after the commit of {of}")

    def writing_once(*args: Any, **kwargs: Any) -> None:
        write_once(*args, **kwargs)
        if is_due("commit unconfirmed"):
            raise OperationalError("the connection was lost before the commit was confirmed")

    keyformat.mint, hashing.make_digest, uses._write_once = minting, making_digest, writing_once
    ApiKey.save, AuditEvent.save = saving_key, saving_event  # type: ignore[assignment, method-assign] # to break them is the point
    BaseDatabaseWrapper._commit = committing  # type: ignore[attr-defined] # as above


class _Clock:
    """How far the process' clock is off, by order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = 0
        self._travel: Any = None

    def obey(self) -> None:
        wanted = int(CLOCK.read_text(encoding="ascii")) if CLOCK.exists() else 0
        with self._lock:
            if wanted == self._offset:
                return
            if self._travel:
                self._travel.stop()
            self._offset, self._travel = wanted, None
            if wanted:
                self._travel = time_machine.travel(datetime.now(UTC) + timedelta(seconds=wanted), tick=True)
                self._travel.start()


clock = _Clock()
install()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    clock.obey()
    return whole(environ, start_response)
