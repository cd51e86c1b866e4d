"""Rotation with everyone at once: whatever comes first, nobody is left with nothing that works."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection, connections
from django.test import Client

from accounts.models import Project
from apikeys import actions, hashing
from apikeys.actions import (
    KeyAlreadyRevoked,
    KeyChange,
    KeyNotActive,
    SuccessorInUse,
    extend_rotation,
    narrow_key,
    revoke_key,
    rotate_key,
    settle_rotations,
)
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit import uses
from audit.context import audit_context
from audit.models import KeyUse
from tests.apikeys.audited import events_of
from tests.apikeys.rotated import fresh, outcome, rotate
from tests.cast import NOON, Issued, Person, later, use

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 16
Act = Callable[[], Any]


def at_once(acts: Sequence[Act]) -> list[Any]:
    """Do things at the same moment, each in a thread; return what came of each, an exception's class included."""
    together = threading.Barrier(len(acts))

    def run(act: Act) -> Any:
        try:
            connection.ensure_connection()
            together.wait(10)
            return act()
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def rotation(person: Person, issued: Issued, **changes: Any) -> Act:
    principal = person.principal

    def act() -> str:
        with audit_context(actor=principal.as_actor()):
            return rotate_key(principal=principal, api_key=issued.row, at=NOON, **changes).key.reveal()

    return act


def of_text(text: Any) -> Outcome:
    return verify(str(text), at=NOON).outcome


def test_of_16_rotations_at_once_there_is_one_successor_and_one_text_that_works(
    transactional_db: None, issued: Issued, dana: Person
) -> None:
    texts = at_once([rotation(dana, issued)] * CALLERS)
    assert len({*texts}) == CALLERS
    hashing.forget_all()
    assert Counter(map(of_text, texts)) == {Outcome.ACCEPTED: 1, Outcome.INVALID_KEY: CALLERS - 1}
    assert outcome(issued) is Outcome.ACCEPTED
    successor = ApiKey.objects.get(predecessor=issued.row)
    assert ApiKey.objects.count() == 2
    assert events_of(issued.row) == ["api_key.created", "api_key.rotated"]
    assert events_of(successor) == ["api_key.created", *["api_key.secret_replaced"] * (CALLERS - 1)]


def test_of_16_retries_over_http_the_last_one_works(
    transactional_db: None, issue: Callable[..., Issued], dana: Person, project: Project
) -> None:
    ci = issue(dana, project, permissions=["keys:rotate_self"])
    headers = ci.headers | {"Idempotency-Key": "pipeline-4711"}

    def call() -> tuple[int, str]:
        response = Client().post("/v1/api-keys/self/rotate", {}, content_type="application/json", headers=headers)
        return response.status_code, response.json()["key"]

    answers = at_once([call] * CALLERS)
    assert Counter(status for status, _ in answers) == {201: 1, 200: CALLERS - 1}
    assert Counter(of_text(text) for _, text in answers) == {Outcome.ACCEPTED: 1, Outcome.INVALID_KEY: CALLERS - 1}
    assert outcome(ci) is Outcome.ACCEPTED


@pytest.mark.parametrize("round_", range(4))
@pytest.mark.parametrize("reason", ["routine", "leaked"])
def test_whatever_comes_first_a_revoked_key_stays_revoked(
    transactional_db: None, issued: Issued, dana: Person, reason: str, round_: int
) -> None:
    principal = dana.principal

    def revoke() -> str:
        revoke_key(principal=principal, api_key=issued.row, at=NOON)
        return "revoked"

    acts: list[Act] = [revoke, rotation(dana, issued, reason=reason)]
    came = at_once(acts if round_ % 2 else acts[::-1])
    revoked, rotated = came if round_ % 2 else came[::-1]
    hashing.forget_all()
    assert outcome(issued) is Outcome.KEY_REVOKED
    if rotated is KeyNotActive:
        assert (revoked, ApiKey.objects.count()) == ("revoked", 1)
    else:
        assert of_text(rotated) is Outcome.ACCEPTED
        assert revoked == "revoked" if reason == "routine" else revoked is KeyAlreadyRevoked


@pytest.mark.parametrize("round_", range(6))
def test_text_that_was_used_is_never_replaced(
    transactional_db: None, issued: Issued, dana: Person, round_: int
) -> None:
    first = rotate(dana, issued)

    def use_it() -> Outcome:
        return verify(first.text, at=NOON, source="192.0.2.1").outcome

    acts: list[Act] = [use_it, rotation(dana, issued), use_it]
    came = at_once(acts if round_ % 2 else acts[::-1])
    used, replaced = {came[0], came[2]}, came[1]
    hashing.forget_all()
    if Outcome.ACCEPTED in used:
        assert replaced is SuccessorInUse
        assert of_text(first.text) is Outcome.ACCEPTED
    else:
        assert used == {Outcome.INVALID_KEY}
        assert of_text(replaced) is Outcome.ACCEPTED
    assert outcome(issued) is Outcome.ACCEPTED


@pytest.mark.parametrize("round_", range(6))
def test_text_that_was_used_outlives_what_takes_its_place_or_was_never_let_in(
    transactional_db: None, issued: Issued, dana: Person, round_: int
) -> None:
    """A successor that can do more than the old key can now is revoked for another, but never once it was used."""
    first = rotate(dana, issued)
    change = KeyChange(networks=["192.0.2.0/24"])
    narrow_key(principal=dana.principal, api_key=issued.row, change=change, at=NOON)

    def use_it() -> Outcome:
        return verify(first.text, at=NOON, source="192.0.2.1").outcome

    acts: list[Act] = [use_it, rotation(dana, issued), use_it]
    came = at_once(acts if round_ % 2 else acts[::-1])
    used, replaced = {came[0], came[2]}, came[1]
    hashing.forget_all()
    if Outcome.ACCEPTED in used:
        assert replaced is SuccessorInUse
        assert of_text(first.text) is Outcome.ACCEPTED
    else:
        assert used <= {Outcome.INVALID_KEY, Outcome.KEY_REVOKED}
        assert verify(replaced, at=NOON, source="192.0.2.1").outcome is Outcome.ACCEPTED


def test_of_16_retries_for_a_key_that_was_narrowed_one_makes_another_successor(
    transactional_db: None, issue: Callable[..., Issued], dana: Person, project: Project
) -> None:
    issued = issue(dana, project, expires_at=later(days=90))
    rotate(dana, issued)
    narrow_key(principal=dana.principal, api_key=issued.row, change=KeyChange(expires_at=later(days=9)), at=NOON)
    texts = at_once([rotation(dana, issued, idempotency_key="pipeline-4711")] * CALLERS)
    hashing.forget_all()
    assert Counter(map(of_text, texts)) == {Outcome.ACCEPTED: 1, Outcome.INVALID_KEY: CALLERS - 1}
    assert ApiKey.objects.count() == 3


def test_of_16_first_uses_at_once_all_are_let_in(transactional_db: None, issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    assert at_once([lambda: verify(successor.text, at=NOON).outcome] * CALLERS) == [Outcome.ACCEPTED] * CALLERS


@pytest.mark.parametrize("round_", range(4))
def test_what_was_promised_by_extending_holds_though_it_settles(
    transactional_db: None, issued: Issued, dana: Person, round_: int
) -> None:
    successor, principal = rotate(dana, issued), dana.principal
    use(successor.row)

    def settle() -> int:
        return settle_rotations([successor.row.pk], at=NOON)

    def extend() -> None:
        extend_rotation(principal=principal, api_key=issued.row, until=later(days=20), at=NOON)

    acts: list[Act] = [settle, extend]
    at_once(acts if round_ % 2 else acts[::-1])
    assert (fresh(issued).retires_at, fresh(issued).settled_at) == (later(days=20), NOON)


def test_of_16_settlings_at_once_one_is_on_record(transactional_db: None, issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    use(successor.row)
    assert sum(at_once([lambda: settle_rotations([successor.row.pk], at=NOON)] * CALLERS)) == 1
    assert events_of(issued.row).count("api_key.settled") == 1


def test_of_16_reappearances_at_once_one_is_on_record(transactional_db: None, issued: Issued, dana: Person) -> None:
    rotate(dana, issued, reason="leaked")
    at_once([lambda: Client().get("/v1/whoami", headers=issued.headers).status_code] * CALLERS)
    assert events_of(issued.row).count("api_key.retired_key_used") == 1


# What the records of use do, with transactions that really end


def test_first_use_settles_once_its_record_is_written(
    transactional_db: None, issued: Issued, dana: Person, noon: time_machine.Traveller
) -> None:
    successor = rotate(dana, issued)
    assert Client().get("/v1/whoami", headers=successor.headers).status_code == 200
    assert fresh(issued).settled_at is None
    uses.flush()
    assert fresh(issued).retires_at == later(hours=1)
    assert events_of(issued.row)[-1] == "api_key.settled"


def test_settling_that_was_missed_is_made_up_for_at_the_next_use(
    transactional_db: None, issued: Issued, dana: Person, noon: time_machine.Traveller
) -> None:
    """The process that noted the first use died with its record, or the database failed after the batch."""
    successor = rotate(dana, issued)
    assert outcome(successor) is Outcome.ACCEPTED
    uses.forget_all()
    noon.move_to(later(hours=5))
    Client().get("/v1/whoami", headers=successor.headers)
    uses.flush()
    assert fresh(issued).retires_at == later(hours=6)


def test_batch_is_written_though_settling_fails(
    transactional_db: None, issued: Issued, dana: Person, noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise OperationalError("database is locked")

    successor = rotate(dana, issued)
    Client().get("/v1/whoami", headers=successor.headers)
    with monkeypatch.context() as patch:
        patch.setattr(actions, "settle_rotations", fail)
        uses.flush()
    assert (KeyUse.objects.count(), uses._recorder.waiting()) == (1, 0)
    assert fresh(issued).settled_at is None
