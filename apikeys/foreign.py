"""Keys that were brought along from elsewhere, in the form and under the scheme that they had there.

Such a text is recognised by its first characters alone, so something has to be known of the keys that were imported:
how long their prefixes are, and where they are from. Each process reads that in one tiny query when it first meets a
text that is none of ours, and then at most once in ten seconds; where nothing was ever imported, such a text costs no
other.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from django.conf import settings
from django.db import Error, connection

from apikeys.keyformat import MAX_BYTES
from apikeys.models import ApiKey
from keyportal.postgresql import patience

LOOK_EVERY_SECONDS = 10.0
# How long a server may take over it.
LOOK_SECONDS = 2.0
MIN_PREFIX_LENGTH, MAX_PREFIX_LENGTH = 4, 16

# The schemes of the Authorization header under which these packages send their keys.
SCHEMES: Final = {"drf-api-key": "api-key", "knox": "token", "authtoken": "token"}
SOURCES: Final = (*SCHEMES, "csv")

# What a header's value can be: visible ASCII (RFC 9110 §5.5) without the comma, which joins two headers.
_TEXT = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True)
class Formats:
    """What there is of imported keys: lengths of their prefixes, the longest first, and where they are from."""

    lengths: tuple[int, ...] = ()
    sources: frozenset[str] = frozenset()

    @classmethod
    def of(cls, found: Iterable[tuple[str, int]]) -> "Formats":
        """Return them from pairs of a source and a length."""
        pairs = list(found)
        return cls(
            tuple(sorted({length for _, length in pairs}, reverse=True)), frozenset(source for source, _ in pairs)
        )


class _Memory:
    """What this process knows of imported keys, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looking = Lock()
        self._known: Formats | None = None
        self._look_again_at = 0.0

    def formats(self) -> Formats:
        """Return what there is, looked up if it is time: by one thread, while all others go on with what is known.

        :raises Error: if the database cannot tell and never could.
        """
        known = self._known
        if known is not None and self._clock() < self._look_again_at:
            return known
        if not self._looking.acquire(blocking=known is None):
            return known or Formats()
        try:
            return self._look()
        finally:
            self._looking.release()

    def learn(self, formats: Formats) -> None:
        self._known, self._look_again_at = formats, self._clock() + LOOK_EVERY_SECONDS

    def forget(self) -> None:
        """Look again when next asked, and meanwhile go by what is known."""
        self._look_again_at = 0.0

    def _look(self) -> Formats:
        """Look, unless another thread has done so meanwhile. The caller holds the lock."""
        if self._known is not None and self._clock() < self._look_again_at:
            return self._known
        try:
            with patience(connection, LOOK_SECONDS):
                self.learn(Formats.of(ApiKey.objects.imported_formats()))
        except Error:
            if self._known is None:
                raise
            # What was known is better than nothing, and a database that is away must not be asked for each text.
            self.learn(self._known)
        return self._known or Formats()


_memory = _Memory()


def candidates(text: str) -> list[str]:
    """Return what may be the prefix of a text that is no key of ours, the longest first; nothing, if it is no key.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    if len(text) > MAX_BYTES or not _TEXT.fullmatch(text):
        return []
    return [text[:length] for length in _memory.formats().lengths if len(text) > length]


def prefix_lengths() -> tuple[int, ...]:
    """Return how long the prefixes of imported keys are, the longest first.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    return _memory.formats().lengths


def prefix_among(prefixes: Sequence[str]) -> str | None:
    """Return which of a text's candidates is the prefix of an imported key; one query.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    with patience(connection, LOOK_SECONDS):
        return ApiKey.objects.imported_prefix(prefixes)


def may_come_under(schemes: Collection[str]) -> bool:
    """Return whether keys come under one of these schemes, in lower case, beside Bearer.

    Settings name some; those of a package count as long as some key was imported from it.

    :raises Error: of `django.db`, if the database cannot tell.
    """
    if any(scheme.lower() in schemes for scheme in settings.KEYPORTAL_KEY_SCHEMES):
        return True
    sources = {source for source, scheme in SCHEMES.items() if scheme in schemes}
    return bool(sources) and not sources.isdisjoint(_memory.formats().sources)


def look_again() -> None:
    """Look when next asked: something was imported."""
    _memory.forget()


def know_of_none() -> None:
    """Be as a process that has just looked and found nothing, as most have at most times. For tests."""
    forget_all()
    _memory.learn(Formats())


def forget_all() -> None:
    """Know nothing, as a new process."""
    global _memory  # noqa: PLW0603 - one value for the whole process is the point
    _memory = _Memory()


# A thread that looked at that moment is not there in the child, and would hold its lock for ever.
os.register_at_fork(after_in_child=forget_all)
