"""Fixtures of these tests, which import for themselves: pytest may read this before Django is ready."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

if TYPE_CHECKING:
    from tests.apikeys.logbook import Logbook


@pytest.fixture(autouse=True)
def patient_hashing(settings: Settings) -> None:
    """A busy machine must not turn a good key into a 503 here: how long to wait is tested on its own."""
    settings.KEYPORTAL_ARGON2_WAIT_MS = 10_000


@pytest.fixture
def logbook() -> Iterator["Logbook"]:
    """What the portal writes to its log while the test runs, in the form in which it writes it."""
    from tests.apikeys.logbook import Logbook

    book = Logbook()
    root = logging.getLogger()
    root.addHandler(book.handler)
    yield book
    root.removeHandler(book.handler)
