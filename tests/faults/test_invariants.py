"""That what is looked at after each fault would be found, if it were so."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from apikeys import keyformat
from tests.faults.house import House
from tests.faults.invariants import left_in_files_of, violations

pytestmark = pytest.mark.every_database


@contextmanager
def changed(house: House, there: str, back: str, *values: object) -> Iterator[None]:
    with house.database() as rows:
        assert rows.change(there, *values) == 1
    try:
        yield
    finally:
        with house.database() as rows:
            rows.change(back)


@contextmanager
def revoked_in_secret(house: House) -> Iterator[None]:
    with changed(
        house,
        "UPDATE apikeys_apikey SET revoked_at = created_at, revoke_reason = 'planted' WHERE label = %s",
        "UPDATE apikeys_apikey SET revoked_at = NULL, revoke_reason = '' WHERE revoke_reason = 'planted'",
        house.key.rpartition("_")[0],
    ):
        yield


@contextmanager
def secret_in_a_row(house: House) -> Iterator[None]:
    """The secret of no key of the house, since it stays in the files of the database."""
    text = keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live").reveal()
    there = "UPDATE apikeys_apikey SET name = %s WHERE name = 'first'"
    back = "UPDATE apikeys_apikey SET name = 'first' WHERE name LIKE 'planted%'"
    house.texts.append(text)
    try:
        with changed(house, there, back, f"planted {text[-19:-6]}"):
            yield
    finally:
        house.texts.remove(text)


@contextmanager
def secret_in_the_log(house: House) -> Iterator[None]:
    path = house.portal.directory / "stderr"
    before = path.stat().st_size
    with path.open("ab") as file:
        file.write(f"{house.key}\n".encode())
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.truncate(before)


@contextmanager
def use_nobody_sent(house: House) -> Iterator[None]:
    sent, house.sent = house.sent, 0
    try:
        yield
    finally:
        house.sent = sent


@contextmanager
def use_counted_twice(house: House) -> Iterator[None]:
    change = "UPDATE audit_key_use_hour SET uses = uses {} 1 WHERE id = (SELECT MIN(id) FROM audit_key_use_hour)"
    with changed(house, change.format("+"), change.format("-")):
        yield


PLANTED: dict[Callable[[House], AbstractContextManager[None]], str] = {
    revoked_in_secret: "has no audit row",
    secret_in_a_row: "a secret is in",
    secret_in_the_log: "a secret is in stderr",
    use_nobody_sent: "uses are on record of 0 requests",
    use_counted_twice: "the hours count",
}


@pytest.mark.parametrize("plant", PLANTED)
def test_invariants_find_what_is_planted(house: House, plant: Callable[[House], AbstractContextManager[None]]) -> None:
    house.serve()
    house.wait_until_recorded([house.whoami(), house.whoami()])
    assert violations(house) == []
    with plant(house):
        found = violations(house)
    assert len(found) >= 1
    assert all(PLANTED[plant] in sentence for sentence in found)


@pytest.mark.postgresql
def test_files_of_the_server_are_looked_through(house: House) -> None:
    assert house.cluster
    house.serve()
    planted = house.cluster.directory / "data" / "planted"
    planted.write_text(house.key, encoding="ascii")
    try:
        assert left_in_files_of(house) == [str(planted)]
    finally:
        planted.unlink()
