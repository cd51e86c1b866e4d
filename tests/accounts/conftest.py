"""Fixtures of these tests, which import for themselves: pytest may read this before Django is ready."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.fake_providers import Provider


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


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """GitHub, Google and two OpenID Connect providers are there and switched on."""
    from tests.accounts.providers import switched_on

    yield from switched_on(settings, monkeypatch)
