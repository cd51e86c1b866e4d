"""The recorder: every use once, whatever becomes of the database, and a flood of refusals in few rows."""

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import structlog
from django.db import IntegrityError, InternalError, OperationalError, connection, transaction
from django.dispatch import Signal
from pytest_django import Settings
from uuid_utils.compat import uuid7

from apikeys.models import ApiKey
from audit import uses
from audit.models import KeyUse, KeyUseHour, UseWriter
from audit.uses import BATCH_SIZE, SINGLE_REFUSALS, Recorder, Use, UseNotRecorded
from tests.audit.used import KEY_ID, a_refusal, a_use, counted, hours, written
from tests.cast import NOON, Issued, later

Queries = Callable[[int], Any]
pytestmark = pytest.mark.django_db


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def kept_connection(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recorder closes its thread's connection, which here is the test's own; return a line for each time."""
    closed: list[str] = []
    monkeypatch.setattr(uses, "connection", _Lasting(closed))
    return closed


class _Lasting:
    def __init__(self, closed: list[str]) -> None:
        self.closed = closed

    def close(self) -> None:
        self.closed.append("closed")

    def __getattr__(self, name: str) -> Any:
        return getattr(connection, name)


def break_writing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(uses, "_write_rows", fail)


# What a batch writes


def test_use_is_written_as_it_was(recorder: Recorder) -> None:
    whole, bare = a_use(), a_use(later(seconds=1), address=None, user_agent="", route="", key_id=None)
    for use in (whole, bare):
        recorder.add(use)
    assert (written(), recorder.waiting()) == ([], 2)
    recorder.flush()
    assert (written(), recorder.waiting()) == ([whole, bare], 0)


def test_row_says_which_event_it_is_and_by_whom(recorder: Recorder) -> None:
    recorder.add(a_use())
    recorder.add(a_refusal(later(seconds=1)))
    recorder.flush()
    let_in, refused = KeyUse.objects.order_by("id")
    assert (let_in.event, refused.event) == ("api_key.use", "api_key.auth_failed")
    assert let_in.actor_kind == refused.actor_kind == "api_key"
    assert let_in.request_id == let_in.id
    assert (str(let_in), str(refused)) == ("api_key.use kp_sk_live_a1B2c3D4", "api_key.auth_failed a1B2c3D4")


def test_counters_follow_by_key_and_hour(recorder: Recorder) -> None:
    other = uuid4()
    for use in (
        a_use(),
        a_use(later(minutes=59)),
        a_use(later(minutes=60)),
        a_use(key_id=other),
        a_refusal(key_id=other, outcome="key_revoked"),
        a_refusal(),
    ):
        recorder.add(use)
    recorder.flush()
    found = [(KEY_ID, NOON, 2, 0), (KEY_ID, later(hours=1), 1, 0), (other, NOON, 1, 1)]
    assert sorted(hours()) == sorted(found)
    recorder.add(a_use(later(minutes=3)))
    recorder.flush()
    assert (KEY_ID, NOON, 3, 0) in hours()
    assert str(KeyUseHour.objects.get(hour=later(hours=1))) == f"{KEY_ID} 2026-03-02T13Z"


def test_refusals_count_for_the_key_whose_prefix_they_named(recorder: Recorder, issued: Issued) -> None:
    for number in range(SINGLE_REFUSALS + 5):
        recorder.add(a_refusal(later(milliseconds=number), prefix=issued.row.prefix))
        recorder.add(a_refusal(later(milliseconds=number), prefix=f"nobody{number}"))
        recorder.add(a_refusal(later(milliseconds=number), prefix="", outcome="missing_credentials"))
    recorder.flush()
    assert hours() == [(issued.row.pk, NOON, 0, SINGLE_REFUSALS + 5)]
    assert not KeyUse.objects.exclude(key_id=None).exists()


def test_nobody_is_asked_whose_prefix_it_is_before_there_is_an_app_that_knows(
    recorder: Recorder, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "_owners_of", None)
    recorder.add(a_refusal(prefix=issued.row.prefix))
    recorder.flush()
    assert hours() == []


def test_several_processes_add_up(recorder: Recorder) -> None:
    for each in (recorder, Recorder()):
        each.add(a_use())
        each.flush()
    assert hours() == [(KEY_ID, NOON, 2, 0)]
    assert UseWriter.objects.count() == 2


def test_last_use_follows_and_never_goes_backwards(recorder: Recorder, issued: Issued) -> None:
    def last_use(*moments: tuple[datetime, str]) -> tuple[datetime | None, str | None]:
        for at, address in moments:
            recorder.add(a_use(at, key_id=issued.row.pk, address=address))
        recorder.flush()
        row = ApiKey.objects.get(pk=issued.row.pk)
        return row.last_used_at, row.last_used_ip

    newest = (later(minutes=10), "192.0.2.2")
    assert last_use((NOON, "192.0.2.1"), newest, (later(minutes=5), "192.0.2.3")) == newest
    assert last_use((later(minutes=9), "192.0.2.4")) == newest
    assert last_use((later(minutes=12), "192.0.2.5")) == (later(minutes=12), "192.0.2.5")


def test_refusal_is_no_last_use(recorder: Recorder, issued: Issued) -> None:
    recorder.add(a_refusal(key_id=issued.row.pk, outcome="key_disabled"))
    recorder.flush()
    assert ApiKey.objects.get(pk=issued.row.pk).last_used_at is None
    assert hours() == [(issued.row.pk, NOON, 0, 1)]


def test_batch_is_one_transaction(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("gone")

    signal = Signal()
    signal.connect(fail)
    monkeypatch.setattr(uses, "uses_written", signal)
    recorder.add(a_use())
    with pytest.raises(OperationalError):
        recorder.flush()
    assert (written(), hours(), UseWriter.objects.count(), recorder.waiting()) == ([], [], 0, 1)


def test_statements_of_a_batch_do_not_grow_with_it(
    recorder: Recorder, django_assert_num_queries: Queries, issued: Issued
) -> None:
    # A savepoint and its release, the writer's row, the rows, hours and addresses, and the keys whose last use is due.
    recorder.add(a_use(key_id=issued.row.pk))
    recorder.flush()
    for count in (1, 300):
        for number in range(count):
            recorder.add(a_use(later(minutes=1, seconds=number), key_id=KEY_ID))
        with django_assert_num_queries(7):
            recorder.flush()
    assert KeyUse.objects.count() == 302


def test_more_than_a_batch_is_written_at_once(recorder: Recorder) -> None:
    for number in range(2 * BATCH_SIZE + 1):
        recorder.add(a_use(later(milliseconds=number)))
    assert recorder._wake.is_set()
    recorder.flush()
    assert (KeyUse.objects.count(), UseWriter.objects.get().batch) == (2 * BATCH_SIZE + 1, 3)


def test_nothing_to_write_costs_no_query(recorder: Recorder, django_assert_num_queries: Queries) -> None:
    with django_assert_num_queries(0):
        recorder.flush()


# Never twice


def test_batch_whose_commit_nobody_heard_of_is_not_written_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_once = uses._write_once

    def deaf(*args: Any, **kwargs: Any) -> None:
        write_once(*args, **kwargs)
        monkeypatch.setattr(uses, "_write_once", write_once)
        raise OperationalError("the connection was lost while it was committed")

    recorder.add(a_use())
    for number in range(SINGLE_REFUSALS + 5):
        recorder.add(a_refusal(later(milliseconds=number)))
    recorder.flush()
    for _ in range(2):
        monkeypatch.setattr(uses, "_write_once", deaf)
        recorder.add(a_use(later(seconds=1)))
        recorder.add(a_refusal(later(seconds=1)))
        with pytest.raises(OperationalError):
            recorder.flush()
        recorder.add(a_use(later(seconds=2)))
        recorder.flush()
    assert recorder.waiting() == 0
    assert hours() == [(KEY_ID, NOON, 5, 0)]
    assert sum(use.count for use in written() if use.is_refused) == SINGLE_REFUSALS + 7
    assert len(written()) == 5 + SINGLE_REFUSALS + 1


def test_writer_is_known_by_its_last_batch(recorder: Recorder) -> None:
    for _ in range(3):
        recorder.add(a_use())
        recorder.flush()
    writer = UseWriter.objects.get()
    assert (writer.pk, str(writer), writer.batch) == (recorder.id, str(recorder.id), 3)


def test_writer_whose_row_was_pruned_goes_on(recorder: Recorder) -> None:
    for second in (0, 1):
        recorder.add(a_use(later(seconds=second)))
        recorder.flush()
        UseWriter.objects.all().delete()
    assert len(written()) == 2


# A database that does not take them


def test_what_cannot_be_written_now_goes_on_waiting(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    uses_of_now = [a_use(later(seconds=second)) for second in range(3)]
    with monkeypatch.context() as broken:
        break_writing(broken, OperationalError("gone"))
        for use in uses_of_now:
            recorder.add(use)
            with pytest.raises(OperationalError):
                recorder.flush()
    assert (recorder.waiting(), counted("use_buffer_records")) == (3, 3)
    recorder.flush()
    assert (written(), counted("use_buffer_records")) == (uses_of_now, 0)


def test_read_only_server_loses_nothing(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        break_writing(broken, InternalError("cannot execute COPY in a read-only transaction"))
        recorder.add(a_use())
        with pytest.raises(InternalError):
            recorder.flush()
    recorder.flush()
    assert len(written()) == 1


def test_row_that_is_refused_for_good_is_lost_alone_and_counted(recorder: Recorder) -> None:
    before = counted("uses_lost_total"), counted("uses_written_total")
    good = [a_use(later(seconds=second)) for second in range(9)]
    for use in [*good[:4], a_use(later(seconds=4), id=good[0].id), *good[4:]]:
        recorder.add(use)
    for number in range(SINGLE_REFUSALS + 3):
        recorder.add(a_refusal(later(milliseconds=number)))
    with structlog.testing.capture_logs() as logged:
        recorder.flush()
    assert [use for use in written() if not use.is_refused] == good
    assert sum(use.count for use in written() if use.is_refused) == SINGLE_REFUSALS + 3
    after = counted("uses_lost_total"), counted("uses_written_total")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 9 + SINGLE_REFUSALS + 3)
    assert [(line["event"], line["reason"]) for line in logged] == [("uses.refused_by_database", "IntegrityError")]
    assert recorder.waiting() == 0


def test_counted_row_that_is_refused_for_good_is_lost_alone(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows = uses._write_rows

    def refuse_one(singles: list[Use], rows: list[Use]) -> None:
        if any(use.address == "192.0.2.66" for use in rows):
            raise IntegrityError("no")
        write_rows(singles, rows)

    monkeypatch.setattr(uses, "_write_rows", refuse_one)
    for number in range(SINGLE_REFUSALS + 3):
        for address in ("192.0.2.66", "192.0.2.67", "192.0.2.68"):
            recorder.add(a_refusal(later(milliseconds=number), address=address))
    recorder.flush()
    rows = KeyUse.objects.filter(count__gt=1).values_list("address", "count")
    assert sorted(rows) == [("192.0.2.67", 3), ("192.0.2.68", 3)]


@pytest.mark.postgresql
def test_text_that_postgresql_cannot_hold_is_lost_alone(recorder: Recorder) -> None:
    for use in (a_use(), a_use(later(seconds=1), user_agent="a\x00b"), a_use(later(seconds=2), prefix="x" * 17)):
        recorder.add(use)
    recorder.flush()
    assert [use.at for use in written()] == [NOON]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("curl/8", "curl/8"),
        ("a\x00b\r\nc\x7f", "a b  c "),
        ("a\ud800b", "a b"),
        ("é" * 50, "é" * 20),
    ],
    ids=ascii,
)
def test_text_of_a_client_is_made_fit_to_be_stored(recorder: Recorder, text: str, plain: str) -> None:
    assert uses.plain_text(text, 20) == plain
    recorder.add(a_use(user_agent=uses.plain_text(text, 20)))
    recorder.flush()
    assert written()[0].user_agent == plain


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1"), ("2001:DB8::1", "2001:db8::1"), ("", None), ("x", None)],
)
def test_address_is_made_fit_to_be_stored(recorder: Recorder, text: str, address: str | None) -> None:
    recorder.add(a_use(address=uses.plain_address(text)))
    recorder.flush()
    assert written()[0].address == address


def test_buffer_has_an_end_and_says_what_it_lost(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MAX_WAITING", 3)
    before = counted("uses_lost_total")
    for second in range(5):
        recorder.add(a_use(later(seconds=second)))
    assert (recorder.waiting(), counted("uses_lost_total") - before) == (3, 2)
    recorder.flush()
    assert [use.at for use in written()] == [later(seconds=second) for second in range(3)]


def test_counted_refusals_of_past_minutes_have_an_end_too(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MAX_WAITING", 2)
    before = counted("uses_lost_total")
    for minute in range(4):
        for _ in range(SINGLE_REFUSALS + 5):
            recorder.is_single(a_refusal(later(minutes=minute)))
    # The minute that runs, and two of the three before; the oldest are kept, as in the buffer.
    assert (recorder.waiting(), counted("uses_lost_total") - before) == (15, 5)
    recorder.flush()
    assert [use.at for use in written()] == [NOON, later(minutes=1), later(minutes=3)]


# Many refusals


def test_refusals_are_counted_exactly_in_few_rows(recorder: Recorder) -> None:
    for number in range(1_000):
        recorder.add(a_refusal(NOON + timedelta(milliseconds=50 * number)))
        if number % 300 == 0:
            recorder.flush()
    recorder.flush()
    rows = written()
    assert (len(rows), sum(use.count for use in rows)) == (SINGLE_REFUSALS + 1, 1_000)
    [many] = KeyUse.objects.filter(count__gt=1)
    assert (many.count, many.at, many.address, many.prefix) == (1_000 - SINGLE_REFUSALS, NOON, "192.0.2.7", "a1B2c3D4")
    assert (many.method, many.route, many.user_agent, many.request_id) == ("", "", "", None)


def test_next_minute_has_rows_of_its_own(recorder: Recorder) -> None:
    for minute in range(2):
        for number in range(20):
            recorder.add(a_refusal(later(minutes=minute, seconds=number)))
    recorder.flush()
    many = KeyUse.objects.filter(count__gt=1).order_by("at").values_list("at", "count")
    assert [*many] == [(NOON, 10), (later(minutes=1), 10)]
    assert KeyUse.objects.count() == 2 * (SINGLE_REFUSALS + 1)


def test_requests_that_began_a_minute_ago_do_not_begin_it_anew(recorder: Recorder) -> None:
    for number in range(200):
        recorder.add(a_refusal(later(seconds=59 + number % 2)))
    recorder.flush()
    assert sum(use.count for use in written()) == 200
    assert KeyUse.objects.count() <= 2 * (SINGLE_REFUSALS + 1)


def test_clock_that_is_set_back_loses_no_refusal(recorder: Recorder) -> None:
    for minutes in (0, -60, 0):
        for _ in range(20):
            recorder.add(a_refusal(later(minutes=minutes)))
    recorder.flush()
    assert sum(use.count for use in written()) == 60


def test_kinds_of_refusals_are_counted_apart(recorder: Recorder) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"address": "192.0.2.8"},
        {"prefix": "e5F6g7H8"},
        {"outcome": "key_revoked", "key_id": KEY_ID},
    ]
    for kind in kinds:
        for _ in range(12):
            recorder.add(a_refusal(**kind))
    recorder.flush()
    assert [*KeyUse.objects.filter(count__gt=1).values_list("count", flat=True)] == [2] * 4
    assert hours() == [(KEY_ID, NOON, 0, 12)]


def test_too_many_kinds_share_one_group(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MAX_GROUPS", 5)
    for number in range(500):
        secret: dict[str, Any] = {"key_id": KEY_ID, "label": "x", "organization_id": KEY_ID}
        recorder.add(a_refusal(address=f"10.0.{number // 250}.{number % 250}", prefix=f"p{number}", **secret))
    recorder.flush()
    assert sum(use.count for use in written()) == 500
    assert KeyUse.objects.count() == 5 + SINGLE_REFUSALS + 1
    many = KeyUse.objects.get(count__gt=1)
    assert (many.count, many.address, many.prefix, many.label) == (500 - 5 - SINGLE_REFUSALS, None, "", "")
    # Those of the group are of many keys, so it names none.
    assert (many.key_id, many.organization_id) == (None, None)


def test_uses_that_were_let_in_are_never_put_together(recorder: Recorder) -> None:
    for _ in range(50):
        recorder.add(a_use())
    recorder.flush()
    assert [use.count for use in written()] == [1] * 50


# The thread and the end


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_thread_writes_by_itself_and_what_is_left_at_the_end(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "FLUSH_SECONDS", 0.01)
    recorder.add(a_use())
    recorder.ensure_running()
    recorder.ensure_running()
    atexit.unregister(recorder.end)
    thread = recorder._thread
    assert thread is not None
    _wait_for(lambda: KeyUse.objects.count() == 1)
    monkeypatch.setattr(uses, "FLUSH_SECONDS", 10)
    recorder.add(a_use(later(seconds=1)))
    recorder.end()
    thread.join(10)
    assert not thread.is_alive()
    assert (KeyUse.objects.count(), UseWriter.objects.count()) == (2, 0)


def _wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_first_requests_start_one_thread(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    other = threading.Thread()

    class LostRace(AbstractContextManager[None]):
        def __exit__(self, *_: object) -> None:
            """Nothing was held."""

        def __enter__(self) -> None:
            recorder._thread = other

    monkeypatch.setattr(recorder, "_lock", LostRace())
    recorder.ensure_running()
    assert recorder._thread is other


def test_thread_outlives_every_error_and_says_so_once(
    recorder: Recorder, kept_connection: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "FLUSH_SECONDS", 0)
    results: list[Exception | None] = [OperationalError(), ValueError(), None, OperationalError(), None]

    def flush() -> None:
        result = results.pop(0)
        recorder._is_ending = not results
        if result:
            raise result

    monkeypatch.setattr(recorder, "flush", flush)
    with structlog.testing.capture_logs() as logged:
        recorder._run()
    assert [(line["event"], line["reason"]) for line in logged] == [("uses.not_written", "OperationalError")] * 2
    # After each error, and at its end.
    assert kept_connection == ["closed"] * 4


def test_end_says_what_it_had_to_leave(
    recorder: Recorder, kept_connection: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counted("uses_lost_total")
    break_writing(monkeypatch, OperationalError("gone"))
    monkeypatch.setattr(uses, "END_SECONDS", 0.1)
    for _ in range(SINGLE_REFUSALS + 5):
        recorder.add(a_refusal())
    with structlog.testing.capture_logs() as logged:
        recorder.end()
    assert counted("uses_lost_total") - before == SINGLE_REFUSALS + 5
    assert [(line["event"], line["count"]) for line in logged] == [("uses.lost", SINGLE_REFUSALS + 5)]
    assert set(kept_connection) == {"closed"}


@pytest.mark.django_db(transaction=True)
def test_end_tries_again_while_a_database_restarts(
    transactional_db: None, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OperationalError("gone"), OperationalError("starting up")]
    write = uses._write_rows

    def fail_twice(*rows: Any) -> None:
        if errors:
            raise errors.pop()
        write(*rows)

    monkeypatch.setattr(uses, "_write_rows", fail_twice)
    monkeypatch.setattr(uses, "END_SECONDS", 1.0)
    recorder.add(a_use())
    recorder.end()
    assert len(written()) == 1


def test_record_is_kept_where_no_thread_is_to_be_had(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    recorder.add(a_use())
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setattr("threading.Thread.start", fail)
        recorder.ensure_running()
        recorder.ensure_running()
    assert [line["event"] for line in logged] == ["uses.no_thread"] * 2
    recorder.flush()
    assert len(written()) == 1


def test_key_has_its_refusals_counted_however_many_prefixes_a_stranger_tries(recorder: Recorder) -> None:
    for number in range(uses.PREFIXES_OF_A_SOURCE * 3):
        recorder.add(a_refusal()._replace(prefix=f"random{number:02}", key_id=None))
    for _ in range(SINGLE_REFUSALS + 3):
        recorder.add(a_refusal()._replace(outcome="key_revoked", key_id=uuid7()))
    recorder.flush()
    rows = KeyUse.objects.all()
    # The first of those that are counted together are stored one by one, as of any kind.
    assert rows.filter(prefix__startswith="random").count() == uses.PREFIXES_OF_A_SOURCE + SINGLE_REFUSALS
    assert sum(row.count for row in rows.filter(outcome="key_revoked", prefix="a1B2c3D4")) == SINGLE_REFUSALS + 3
    assert sum(row.count for row in rows) == uses.PREFIXES_OF_A_SOURCE * 3 + SINGLE_REFUSALS + 3


def test_strangers_from_too_many_sources_share_one_row(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MAX_GROUPS", 2)
    for number in range(SINGLE_REFUSALS + 6):
        recorder.add(a_refusal()._replace(address=f"192.0.2.{number}", key_id=None))
    assert len(recorder._refusals._prefixes) == 2
    recorder.flush()
    assert sum(row.count for row in KeyUse.objects.all()) == SINGLE_REFUSALS + 6
    assert KeyUse.objects.get(address=None, prefix="").count == 4


def test_process_writes_by_a_thread_once_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Recorder] = []

    def begin(recorder: Recorder) -> None:
        begun.append(recorder)

    monkeypatch.setattr(Recorder, "ensure_running", begin)
    monkeypatch.setattr(uses, "_is_serving", False)
    uses.record(a_use())
    assert begun == []
    uses.start()
    uses.record(a_use())
    assert begun == [uses._recorder]
    uses.flush()
    assert len(written()) == 2


def test_child_does_not_write_what_its_parent_has() -> None:
    uses.record(a_use())
    parent = uses._recorder
    uses.forget_all()
    assert uses._recorder.waiting() == 0
    assert uses._recorder.id != parent.id
    assert parent.waiting() == 1


# Before answering


@pytest.mark.parametrize(("mode", "is_synchronous"), [("buffered", False), ("synchronous", True)])
def test_setting_says_when_a_use_is_written(settings: Settings, mode: str, is_synchronous: bool) -> None:
    settings.KEYPORTAL_USE_RECORDING = mode
    assert uses.is_synchronous() is is_synchronous


def test_synchronous_use_is_there_at_once(issued: Issued) -> None:
    use = a_use(key_id=issued.row.pk)
    uses.write_now(use)
    assert (written(), hours()) == ([use], [(issued.row.pk, NOON, 1, 0)])
    assert ApiKey.objects.get(pk=issued.row.pk).last_used_at == NOON


def test_synchronous_use_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        break_writing(broken, OperationalError("gone"))
        with structlog.testing.capture_logs() as logged, pytest.raises(UseNotRecorded):
            uses.write_now(a_use())
    assert [(line["event"], line["reason"]) for line in logged] == [("uses.not_written", "OperationalError")]
    uses.write_now(a_use())
    assert len(written()) == 1


@pytest.mark.postgresql
def test_synchronous_use_that_postgresql_refuses_is_said(issued: Issued) -> None:
    with pytest.raises(UseNotRecorded):
        uses.write_now(a_use(prefix="x" * 17))
    assert written() == []


def test_synchronous_use_in_a_transaction_that_failed_is_said() -> None:
    with pytest.raises(UseNotRecorded), transaction.atomic():  # noqa: PT012 - the failed transaction is the case
        transaction.set_rollback(True)
        uses.write_now(a_use())
    assert written() == []


@pytest.mark.parametrize("is_serving", [False, True])
def test_synchronous_refusals_beyond_the_first_are_counted(monkeypatch: pytest.MonkeyPatch, is_serving: bool) -> None:
    begun = SimpleNamespace(count=0)
    monkeypatch.setattr(uses, "_is_serving", is_serving)
    monkeypatch.setattr(Recorder, "ensure_running", lambda _: setattr(begun, "count", begun.count + 1))
    for number in range(SINGLE_REFUSALS + 4):
        uses.write_now(a_refusal(later(milliseconds=number)))
    assert (len(written()), begun.count) == (SINGLE_REFUSALS, 4 if is_serving else 0)
    uses.flush()
    assert sum(use.count for use in written()) == SINGLE_REFUSALS + 4


# What is asked of them


def test_uses_are_found_by_prefix_time_and_outcome(recorder: Recorder) -> None:
    moments = {"early": NOON, "later": later(hours=1), "last": later(hours=2)}
    for name, at in moments.items():
        recorder.add(a_use(at, user_agent=name))
    recorder.add(a_refusal(later(hours=1, minutes=1), user_agent="refused"))
    recorder.add(a_use(prefix="e5F6g7H8"))
    recorder.flush()

    def found(**conditions: Any) -> list[str]:
        rows = KeyUse.objects.of_prefix("a1B2c3D4").matching(**conditions).newest_first()
        return [row.user_agent for row in rows]

    assert found() == ["last", "refused", "later", "early"]
    assert found(since=later(hours=1)) == ["last", "refused", "later"]
    assert found(until=later(hours=1)) == ["early"]
    assert found(since=later(hours=1), until=later(hours=2)) == ["refused", "later"]
    assert found(is_refused=True) == ["refused"]
    assert found(is_refused=False) == ["last", "later", "early"]
    third = KeyUse.objects.get(user_agent="later")
    before = KeyUse.objects.of_prefix("a1B2c3D4").before(third.pk).newest_first()
    assert [row.user_agent for row in before] == ["early"]
    assert KeyUse.objects.of_prefix("a1B2c3D4").before(None).count() == 4


def test_row_of_several_refusals_is_found_by_the_minute_it_stands_for(recorder: Recorder) -> None:
    for number in range(SINGLE_REFUSALS + 2):
        at = later(seconds=50, milliseconds=number)
        recorder.add(a_refusal(at))
    many = next(iter(recorder._refusals._groups()))
    # The id is of the time when it was made; here that is far from noon.
    many.first = many.first._replace(id=a_use(later(seconds=50)).id)
    recorder.flush()
    rows = KeyUse.objects.of_prefix("a1B2c3D4")
    assert rows.matching(since=NOON, until=later(seconds=1)).get().count == 2
    assert rows.matching(since=later(seconds=1)).count() == SINGLE_REFUSALS


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        ({}, "audit_key_use_by_prefix"),
        ({"since": NOON, "until": later(days=1)}, "audit_key_use_by_prefix"),
        ({"is_refused": True}, "audit_key_use_refused"),
    ],
)
def test_page_is_read_from_an_index(conditions: dict[str, Any], index: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # There are no rows, and PostgreSQL would read none of them in order.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    plan = KeyUse.objects.of_prefix("a1B2c3D4").matching(**conditions).newest_first()[:51].explain()
    assert index in plan
    assert "SORT" not in plan.upper().replace("SORT KEY", "")
