import datetime as dt
import json
import math
from decimal import Decimal
from uuid import UUID

import pytest

from audit.values import as_json, as_text

CET = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("text", "text"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (Decimal("1.10"), "1.10"),
        (UUID("01900000-0000-7000-8000-000000000001"), "01900000-0000-7000-8000-000000000001"),
        (dt.datetime(2025, 3, 5, 13, tzinfo=CET), "2025-03-05T12:00:00+00:00"),
        (dt.date(2025, 3, 5), "2025-03-05"),
        (("a", UUID(int=1)), ["a", "00000000-0000-0000-0000-000000000001"]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 10}), [10, 2]),
        ({"when": dt.datetime(2025, 3, 5, 12, tzinfo=dt.UTC), 1: [None]},
         {"when": "2025-03-05T12:00:00+00:00", "1": [None]}),
    ],
)  # fmt: skip
def test_as_json_gives_what_json_can_hold(value: object, expected: object) -> None:
    result = as_json(value)
    assert result == expected
    assert type(result) is type(expected)
    assert json.loads(json.dumps(result, allow_nan=False)) == expected


@pytest.mark.parametrize(("text", "expected"), [("a\x00b", "a\ufffdb"), ("a\ud800b", "a?b"), ("größe •", "größe •")])
def test_as_text_replaces_what_a_database_cannot_hold(text: str, expected: str) -> None:
    assert as_text(text) == expected
