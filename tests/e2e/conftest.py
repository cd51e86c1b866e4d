"""Browsers as people have them."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.steps import DESKTOP, Complaints
from tests.services import Portal


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {
        **browser_context_args,
        "viewport": DESKTOP,
        "permissions": ["clipboard-read", "clipboard-write"],
    }


@pytest.fixture
def complaints(page: Page) -> Complaints:
    """What the browser complains about while it shows `page`; a test asserts in the end that it is nothing."""
    complaints = Complaints()
    complaints.watch(page)
    return complaints


@pytest.fixture(scope="session")
def bare_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A keyportal that stays without users, which tests share: they look at it."""
    portal = Portal(tmp_path_factory.mktemp("bare"))
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)
