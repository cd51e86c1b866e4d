import pytest

from audit.models import AuditEvent
from audit.paging import MalformedCursor, decode_cursor, encode_cursor, parse_id, read_page
from tests.audit.happenings import Happen

GREATEST = 2**63 - 1


@pytest.mark.parametrize("event_id", [1, 42, GREATEST])
def test_cursor_comes_back_as_it_went(event_id: int) -> None:
    assert decode_cursor(encode_cursor(event_id)) == event_id


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "42",
        "NDI=",
        "NDI=====",
        "NDJ",
        "N",
        "!!!!",
        "MA",
        "LTE",
        "é",
        "\x00",
        "w6k",
        encode_cursor(GREATEST + 1),
    ],
)
def test_cursor_that_was_never_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(MalformedCursor):
        decode_cursor(cursor)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "1.0", "1_0", " 1", "1\n", "٣", "x", str(GREATEST + 1), "9" * 5000]
)
def test_parse_id_refuses_what_is_none(text: str) -> None:
    with pytest.raises(MalformedCursor):
        parse_id(text)


def test_parse_id_reads_the_greatest() -> None:
    assert parse_id(str(GREATEST)) == GREATEST


def test_pages_hold_every_event_once_whatever_comes_between(happen: Happen) -> None:
    ids = [happen().id for _ in range(5)]
    rows = AuditEvent.objects.all()
    first = read_page(rows, before=None, size=2)
    happen()
    second = read_page(rows, before=first.next_before, size=2)
    last = read_page(rows, before=second.next_before, size=2)
    assert [event.id for page in (first, second, last) for event in page.events] == ids[::-1]
    assert (first.next_before, second.next_before, last.next_before) == (ids[3], ids[1], None)


def test_page_that_is_just_full_is_the_last(happen: Happen) -> None:
    happen()
    happen()
    assert read_page(AuditEvent.objects.all(), before=None, size=2).next_before is None


def test_page_of_nothing_is_empty(happen: Happen) -> None:
    assert read_page(AuditEvent.objects.all(), before=None, size=2) == ([], None)
