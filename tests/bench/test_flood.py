from types import SimpleNamespace
from typing import cast

import pytest

from apikeys.keyformat import DEFAULT, MalformedKey, Shape, mint, parse
from bench import flood
from bench.subjects import Portal

pytestmark = pytest.mark.pure

KEY = mint(DEFAULT, kind_label="sk", environment="live")
REVOKED = mint(DEFAULT, kind_label="sk", environment="live")
PORTAL = cast("Portal", SimpleNamespace(keys=[KEY.reveal()], revoked=REVOKED.reveal()))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "DISTINCT", 16)


def test_wrong_secrets_are_well_formed_under_the_prefix_of_a_real_key() -> None:
    keys = flood.wrong_secrets(PORTAL)
    assert len(set(keys)) == 16
    assert {parse(key, [DEFAULT]).prefix for key in keys} == {KEY.prefix}
    assert KEY.reveal() not in keys


def test_random_prefixes_are_well_formed_and_all_different() -> None:
    keys = flood.random_prefixes(PORTAL)
    assert len({parse(key, [DEFAULT]).prefix for key in keys}) == 16


def test_both_mixed_takes_turns() -> None:
    prefixes = [parse(key, [DEFAULT]).prefix for key in flood.both_mixed(PORTAL)]
    assert [prefix == KEY.prefix for prefix in prefixes] == [True, False] * 8


def test_nothing_malformed_is_a_key() -> None:
    for key in flood.malformed(PORTAL):
        with pytest.raises(MalformedKey):
            parse(key, [DEFAULT])


def test_keys_of_elsewhere_are_good_ones_there() -> None:
    keys = flood.of_another_installation(PORTAL)
    elsewhere = Shape(brand="acme")
    assert [parse(key, [DEFAULT, elsewhere]).label.partition("_")[0] for key in keys] == ["kp", "acme"] * 8


def test_the_revoked_key_is_sent_alone() -> None:
    assert flood.revoked(PORTAL) == [REVOKED.reveal()]
