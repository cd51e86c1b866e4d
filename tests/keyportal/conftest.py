"""Fixtures of these tests, which import for themselves: pytest may read this before Django is ready."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pytest_django import Settings


class Log:
    """What the portal's own handler would have written to stderr."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(autouse=True)
def patient_hashing(settings: Settings) -> None:
    """A busy machine must not turn a good key into a 503 here."""
    settings.KEYPORTAL_ARGON2_WAIT_MS = 10_000


@pytest.fixture
def log() -> Iterator[Log]:
    """The real handler of the settings, writing here instead of to stderr."""
    handlers = {
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    }
    [handler] = handlers
    stream = io.StringIO()
    before = handler.setStream(stream)
    yield Log(stream)
    handler.setStream(before)
