import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from uuid_utils.compat import uuid7

from accounts.models import Team
from apikeys import hashing
from apikeys.actions import KeyAlreadyIssued, KeyAlreadyRevoked, issue_key, mark_exposed, revoke_key
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit.context import audit_context
from tests.apikeys.audited import events_of
from tests.cast import NOON, Issued, Person, use

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 16


def at_once(act: Callable[[], object]) -> list[object]:
    """Do something in 16 threads at the same moment; return what came of each, an exception's class included."""
    together = threading.Barrier(CALLERS)

    def run(_: int) -> object:
        try:
            connection.ensure_connection()
            together.wait(10)
            return act()
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(run, range(CALLERS)))


def test_of_16_revocations_at_once_one_succeeds_and_is_on_record(
    transactional_db: None, issued: Issued, bob: Person
) -> None:
    principal = bob.principal

    def revoke() -> str:
        with audit_context(actor=principal.as_actor()):
            revoke_key(principal=principal, api_key=issued.row, at=NOON)
        return "revoked"

    assert Counter(at_once(revoke)) == {"revoked": 1, KeyAlreadyRevoked: CALLERS - 1}
    assert events_of(issued.row) == ["api_key.created", "api_key.revoked"]


def test_of_16_sendings_of_one_form_one_issues(transactional_db: None, bob: Person, team: Team) -> None:
    principal, issue_id = bob.principal, uuid7()
    wanted: dict[str, Any] = {
        "principal": principal,
        "name": "ci",
        "place": team,
        "environment": "live",
        "permissions": ["scan:read"],
        "expires_at": None,
        "at": NOON,
        "issue_id": issue_id,
    }

    def issue() -> str:
        issue_key(**wanted)
        return "issued"

    assert Counter(at_once(issue)) == {"issued": 1, KeyAlreadyIssued: CALLERS - 1}
    assert events_of(ApiKey.objects.get()) == ["api_key.created"]


def test_of_16_exposures_at_once_one_is_on_record(transactional_db: None, issued: Issued) -> None:
    at_once(lambda: mark_exposed(key_id=issued.row.pk, at=NOON))
    assert events_of(issued.row) == ["api_key.created", "api_key.exposed"]


def test_16_first_uses_at_once_cost_argon2_once(transactional_db: None, issued: Issued) -> None:
    outcomes = at_once(lambda: verify(issued.text, at=NOON).outcome)
    assert outcomes == [Outcome.ACCEPTED] * CALLERS
    assert hashing.runs() == 1


def test_of_16_uses_at_once_one_is_noted(transactional_db: None, issued: Issued) -> None:
    assert Counter(at_once(lambda: use(issued.row, address="192.0.2.1"))) == {1: 1, 0: CALLERS - 1}


def test_16_deletes_at_once_all_answer_204_and_revoke_once(
    transactional_db: None, issued: Issued, issue: Callable[..., Issued], bob: Person, team: Team
) -> None:
    headers = issue(bob, team, permissions=["*"]).headers
    url = f"/v1/api-keys/{issued.row.pk}"
    assert at_once(lambda: Client().delete(url, headers=headers).status_code) == [204] * CALLERS
    assert events_of(issued.row) == ["api_key.created", "api_key.revoked"]
