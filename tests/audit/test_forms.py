import datetime as dt

import pytest
from django.http import QueryDict

from audit.forms import FilterForm

pytestmark = pytest.mark.usefixtures("happen")


def form(query: str) -> FilterForm:
    return FilterForm(QueryDict(query))


def test_form_without_filters_is_valid_and_asks_for_everything() -> None:
    empty = form("")
    assert empty.is_valid()
    assert (empty.filters, empty.before) == ({}, None)
    assert empty.conditions == {
        "target_table": "",
        "action": "",
        "actor": "",
        "label": "",
        "since": None,
        "until": None,
    }


def test_form_reads_every_filter() -> None:
    full = form("target_table=safes&action=event&actor=+al+&label=green&from=2025-03-05&to=2025-03-06&before=9&x=1")
    assert full.is_valid()
    assert full.conditions == {
        "target_table": "safes",
        "action": "event",
        "actor": "al",
        "label": "green",
        "since": dt.datetime(2025, 3, 5, tzinfo=dt.UTC),
        "until": dt.datetime(2025, 3, 7, tzinfo=dt.UTC),
    }
    assert full.before == 9
    assert full.filters == {
        "target_table": "safes",
        "action": "event",
        "actor": " al ",
        "label": "green",
        "from": "2025-03-05",
        "to": "2025-03-06",
    }


def test_form_offers_the_tables_and_actions_that_there_are() -> None:
    offered = form("").fields
    tables, actions = list(offered["target_table"].choices), offered["action"].choices  # type: ignore[attr-defined] # both are fields with choices
    assert tables[0] == ("", "All tables")
    assert ("safes", "safes") in tables
    assert tables[1:] == sorted(tables[1:])
    assert [value for value, _ in actions] == ["", "create", "update", "delete", "event"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("target_table=cellars", "target_table"),
        ("action=peek", "action"),
        ("actor=%00", "actor"),
        ("label=" + "x" * 201, "label"),
        ("from=yesterday", "from"),
        ("from=03/05/2025", "from"),
        ("from=1969-12-31", "from"),
        ("to=9999-12-31", "to"),
        ("from=2025-03-06&to=2025-03-05", "to"),
        ("before=0", "__all__"),
        ("before=x", "__all__"),
    ],
)
def test_form_names_the_field_that_is_wrong(query: str, field: str) -> None:
    wrong = form(query)
    assert not wrong.is_valid()
    assert list(wrong.errors) == [field]


def test_form_takes_one_day_as_a_whole() -> None:
    day = form("from=2025-03-05&to=2025-03-05")
    assert day.is_valid()
    assert (day.conditions["since"], day.conditions["until"]) == (
        dt.datetime(2025, 3, 5, tzinfo=dt.UTC),
        dt.datetime(2025, 3, 6, tzinfo=dt.UTC),
    )
