"""A worker that dies in the middle of issuing and revoking, and an audit log that takes no rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import pytest

from tests.faults.house import House, as_id, until
from tests.faults.load import NO_ANSWER, Call

pytestmark = pytest.mark.every_database

# Where a worker dies, and whether what it was about is done then.
POINTS = {
    "before the row": False,
    "before the audit row": False,
    "after the audit row": False,
    "before the commit of key": False,
    "after the commit of key": True,
}


def states(house: House) -> dict[UUID, datetime | None]:
    """Return when each key was revoked, if it was."""
    return {as_id(key_id): revoked_at for key_id, _label, revoked_at in house.key_rows()}


def answered(house: House) -> Call:
    """Return the first answer after a worker died; until another is there, connections are refused or closed."""
    found: list[Call] = []

    def is_there() -> bool:
        found.append(house.whoami())
        return found[-1].status == 200

    until(is_there, seconds=20, what="another worker answers")
    return found[-1]


@pytest.mark.parametrize("point", ["digest made", *POINTS])
def test_worker_killed_while_issuing_leaves_a_whole_key_or_none(house: House, point: str) -> None:
    house.serve()
    before = states(house)
    house.order(point)

    killed = house.ask_issue("killed")

    assert (killed.status, house.is_carried_out) == (NO_ANSWER, True)
    answered(house)
    made = states(house).keys() - before.keys()
    assert len(made) == POINTS.get(point, False)
    # Nobody saw that key's secret: issuing once more is what its owner does, and ends the other by its label.
    _, key = house.issue()
    assert house.verdict(key).status == 200
    for key_id in made:
        assert house.ask_revoke(str(key_id)).status == 204


@pytest.mark.parametrize("point", POINTS)
def test_worker_killed_while_revoking_leaves_the_key_revoked_or_as_it_was(house: House, point: str) -> None:
    house.serve()
    key_id, key = house.issue()
    house.order(point)

    killed = house.ask_revoke(key_id)

    assert (killed.status, house.is_carried_out) == (NO_ANSWER, True)
    answered(house)
    assert bool(states(house)[UUID(key_id)]) == POINTS[point]
    called = house.verdict(key)
    assert (called.status, called.code) == ((401, "key_revoked") if POINTS[point] else (200, ""))
    assert house.ask_revoke(key_id).status == 204
    assert house.verdict(key).code == "key_revoked"


@contextmanager
def _refusing_inserts(house: House) -> Iterator[None]:
    """Have the audit log refuse each row, as it would on a disk that is full for that table alone."""
    make = ["CREATE TRIGGER refusing BEFORE INSERT ON audit_event BEGIN SELECT RAISE(ABORT, 'refused'); END"]
    drop = ["DROP TRIGGER refusing"]
    if house.cluster:
        body = "BEGIN RAISE EXCEPTION 'refused'; END"
        make = [
            f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS '{body.replace(chr(39), chr(39) * 2)}'",
            "CREATE TRIGGER refusing BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION refuse()",
        ]
        drop = ["DROP TRIGGER refusing ON audit_event", "DROP FUNCTION refuse"]
    with house.database() as rows:
        for statement in make:
            rows.change(statement)
    try:
        yield
    finally:
        with house.database() as rows:
            for statement in drop:
                rows.change(statement)


def test_key_that_cannot_be_recorded_is_not_issued(house: House) -> None:
    house.serve()
    before = states(house)

    with _refusing_inserts(house):
        refused = house.ask_issue()

    assert (refused.status, refused.code) == (500, "internal_error")
    assert "key" not in refused.body
    assert states(house) == before
    house.issue()


def test_revocation_that_cannot_be_recorded_is_refused(house: House) -> None:
    house.serve()
    key_id, key = house.issue()

    with _refusing_inserts(house):
        refused = house.ask_revoke(key_id)
        meanwhile = house.verdict(key)

    assert (refused.status, refused.code) == (500, "internal_error")
    assert meanwhile.status == 200
    assert states(house)[UUID(key_id)] is None
    assert house.ask_revoke(key_id).status == 204
