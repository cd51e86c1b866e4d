"""Fixtures of these tests, which import for themselves: pytest may read this before Django is ready."""

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """Sign-ins that failed in one test do not count in the next."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def broken_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no audit row can be written."""
    from audit.models import AuditEvent
    from tests.accounts.scenes import LogIsFull

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise LogIsFull

    monkeypatch.setattr(AuditEvent, "save", refuse)


@pytest.fixture(autouse=True)
def patient_hashing(settings: Settings) -> None:
    """A busy machine must not turn a good key into a 503 here."""
    settings.KEYPORTAL_ARGON2_WAIT_MS = 10_000
