"""Fixtures of these tests, which import for themselves: pytest may read this before Django is ready."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from accounts.models import OrganizationMembership
    from tests.audit.happenings import Happen
    from tests.audit.people import People


@pytest.fixture
def vaults(db: None) -> Iterator[None]:
    """The model of the tests' own, with its table, and watched."""
    from tests.audit.vaults import vault_table, vaults_tracked

    with vaults_tracked(), vault_table():
        yield


@pytest.fixture
def alice_acts() -> Iterator[None]:
    """Whatever the test does is done by Alice, at noon, in a request."""
    from audit.context import audit_context
    from tests.audit.happenings import ALICE, NOON

    with audit_context(actor=ALICE, request_id="r-1", address="192.0.2.7", at=NOON):
        yield


@pytest.fixture
def happen(db: None) -> Iterator["Happen"]:
    """Write one event, under a context of its own, and return its row."""
    from tests.audit.happenings import happen, safes_registered

    with safes_registered():
        yield happen


@pytest.fixture
def people(db: None) -> "People":
    """Alice, the super admin; Dana, a developer of a team; Charlie, who is super admin elsewhere."""
    from tests.audit.people import make_people

    return make_people()


@pytest.fixture
def alice_client(people: "People") -> Client:
    return signed_in(people.alice)


@pytest.fixture
def dana_client(people: "People") -> Client:
    return signed_in(people.dana)


@pytest.fixture
def charlie_client(people: "People") -> Client:
    return signed_in(people.charlie)


def signed_in(membership: "OrganizationMembership") -> Client:
    client = Client()
    client.force_login(membership.user)
    return client
