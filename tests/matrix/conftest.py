from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.db import transaction
from pytest_django import DjangoDbBlocker

if TYPE_CHECKING:
    from tests.matrix.world import World


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """What one caller was mailed does not count for the next."""
    cache.clear()


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> "Iterator[World]":
    """One world for all tests of a module; each call is undone, and at the end so is the world."""
    # It needs models, and this file is read before there are any.
    from tests.matrix.world import build

    with django_db_blocker.unblock(), transaction.atomic():
        yield build()
        transaction.set_rollback(True)
