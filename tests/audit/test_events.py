from collections.abc import Iterator

import pytest

from audit import events
from audit.events import UnknownEvent, register, require
from tests.audit.happenings import registry_restored


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with registry_restored():
        yield


def test_register_makes_names_and_tables_known() -> None:
    register({"safe.dusted": "Someone dusted a safe."}, tables=["safes"])
    require("safe.dusted", "safes")
    assert events.EVENTS["safe.dusted"] == "Someone dusted a safe."


def test_register_may_repeat_itself() -> None:
    register({"safe.dusted": "Someone dusted a safe."})
    register({"safe.dusted": "Someone dusted a safe."})
    assert events.EVENTS["safe.dusted"] == "Someone dusted a safe."


def test_register_refuses_a_second_meaning() -> None:
    register({"safe.dusted": "Someone dusted a safe."})
    with pytest.raises(ValueError, match=r"'safe\.dusted' is registered already"):
        register({"safe.dusted": "Something else."})
    assert events.EVENTS["safe.dusted"] == "Someone dusted a safe."


@pytest.mark.parametrize("name", ["dusted", "Safe.dusted", "safe.dusted.twice", "safe dusted", "s." + "d" * 99])
def test_register_refuses_a_name_of_another_form(name: str) -> None:
    with pytest.raises(ValueError, match="is no event name"):
        register({name: "Someone dusted a safe."})
    assert name not in events.EVENTS


@pytest.mark.parametrize("table", ["Safes", "", "safe s", "s" * 64])
def test_register_refuses_a_table_of_another_form(table: str) -> None:
    with pytest.raises(ValueError, match="is no table name"):
        register({}, tables=[table])
    assert table not in events.TABLES


def test_require_refuses_an_unknown_event() -> None:
    register({}, tables=["safes"])
    with pytest.raises(UnknownEvent, match=r"Register the event 'safe\.dusted'"):
        require("safe.dusted", "safes")


def test_require_refuses_an_unknown_table() -> None:
    register({"safe.dusted": "Someone dusted a safe."})
    with pytest.raises(UnknownEvent, match="Register the table 'safes'"):
        require("safe.dusted", "safes")


def test_as_table_lists_the_events_by_name() -> None:
    register({"zz_safe.opened": "Second.", "zz_safe.dusted": "First."})
    assert events.as_table().splitlines()[-2:] == [
        "| `zz_safe.dusted` | First. |",
        "| `zz_safe.opened` | Second. |",
    ]
