"""Where keys were seen: one row a key and address, found by network."""

import pytest

from audit import pruning, uses
from audit.addresses import place_of, range_of
from audit.models import KeyAddress
from tests.audit.used import KEY_ID, a_refusal, a_use
from tests.cast import NOON, later


def seen() -> list[tuple[str, object, object, int]]:
    rows = KeyAddress.objects.order_by("place")
    return [(row.address, row.first_seen, row.last_seen, row.uses) for row in rows]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("203.0.113.0/24", ["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0", "::cb00:7100"]),
        ("203.0.113.7", ["203.0.113.7", "::ffff:203.0.113.7"], ["203.0.113.8"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::"], ["2001:db9::", "203.0.113.7"]),
    ],
)
def test_network_is_a_range_of_bytes(network: str, inside: list[str], outside: list[str]) -> None:
    first, last = range_of(network)
    assert all(first <= place_of(address) <= last for address in inside)
    assert not any(first <= place_of(address) <= last for address in outside)


def test_address_is_kept_once_with_its_times(db: None) -> None:
    for at, address in ((NOON, "192.0.2.7"), (later(minutes=5), "192.0.2.7"), (later(minutes=2), "2001:db8::7")):
        uses.record(a_use(at, address=address))
    uses.flush()
    # What comes late moves nothing back.
    uses.record(a_use(later(minutes=-1), address="192.0.2.7"))
    uses.record(a_use(NOON, address=None))
    uses.record(a_refusal(NOON, address="192.0.2.9"))
    uses.flush()
    assert seen() == [
        ("192.0.2.7", NOON, later(minutes=5), 3),
        ("2001:db8::7", later(minutes=2), later(minutes=2), 1),
    ]


def test_address_is_called_by_its_key_and_itself(db: None) -> None:
    uses.record(a_use(address="192.0.2.7"))
    uses.flush()
    assert str(KeyAddress.objects.get()) == f"{KEY_ID} from 192.0.2.7"


def test_key_that_everyone_has_is_left_out(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "_everyones", set())
    uses.is_everyones(KEY_ID)
    uses.record(a_use())
    uses.flush()
    assert seen() == []


def test_addresses_that_are_old_or_too_many_are_removed(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MOST_ADDRESSES", 2)
    for number in range(5):
        uses.record(a_use(later(days=number), address=f"192.0.2.{number}"))
    uses.flush()
    assert list(pruning.prune_addresses(before=later(days=1), batch=2)) == [1, 2]
    assert [address for address, *_ in seen()] == ["192.0.2.3", "192.0.2.4"]
    assert list(pruning.prune_addresses(before=later(days=1), batch=2)) == []
