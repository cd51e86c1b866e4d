"""Hashing people's passwords, a few at a time: each run takes memory, and anyone may ask for one by signing in."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher


class HashingBusy(Exception):
    """A password was neither checked nor hashed, for want of a turn or of memory; asking again helps."""


class BoundedArgon2PasswordHasher(Argon2PasswordHasher):
    """argon2id of 19 MiB, two passes and one lane: OWASP's least for servers, as for keys (RFC 9106 §4).

    Only so many runs go on at once in a process, so that concurrent sign-ins cannot take more memory than that.
    Hashes with other parameters are checked as they are, and replaced at their owner's next sign-in.
    """

    @property
    def memory_cost(self) -> int:  # type: ignore[override] # Django's is a plain attribute
        return int(settings.KEYPORTAL_PASSWORD_MEMORY_KIB)

    @property
    def time_cost(self) -> int:  # type: ignore[override] # the same
        return int(settings.KEYPORTAL_PASSWORD_TIME)

    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        try:
            return str(_in_turn(super().encode, password, salt))
        except HashingError as error:
            raise HashingBusy from error

    def verify(self, password: str, encoded: str) -> bool:
        """Say whether a password matches.

        :raises HashingBusy: if that could not be found out, which says nothing about the password.
        """
        _, _, digest = encoded.partition("$")
        try:
            return bool(_in_turn(PasswordHasher().verify, f"${digest}", password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:
            raise HashingBusy from error


def _in_turn(run: Callable[..., Any], *args: str) -> Any:
    """Return what a run returns, on one of the few threads for that.

    The C library keeps what a thread has freed for that thread: on the threads of requests, every one of them would
    in the end hold the memory of a run.
    """
    count = settings.KEYPORTAL_PASSWORD_PERMITS
    permits = _permits(count)
    if not permits.acquire(timeout=settings.KEYPORTAL_PASSWORD_WAIT_MS / 1000):
        raise HashingBusy
    try:
        return _threads(count, os.getpid()).submit(run, *args).result()
    finally:
        permits.release()


@cache
def _permits(count: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(count)


@cache
def _threads(count: int, _process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(count, thread_name_prefix="passwords")
