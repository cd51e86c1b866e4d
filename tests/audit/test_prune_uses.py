import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings
from uuid_utils.compat import uuid7

from audit import pruning
from audit.models import KeyUse, KeyUseHour, UseWriter
from audit.uses import Recorder
from tests.audit.used import KEY_ID, a_use
from tests.cast import NOON, later

Queries = Callable[[int], Any]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long pruning left others alone; here it does not wait."""
    found: list[float] = []
    monkeypatch.setattr("audit.pruning.time.sleep", found.append)
    return found


@pytest.fixture(autouse=True)
def at_noon(noon: time_machine.Traveller) -> None:
    """Ages are counted from noon."""


def used(*moments: datetime) -> None:
    recorder = Recorder()
    for at in moments:
        recorder.add(a_use(at))
    recorder.flush()


def days_ago(*days: float) -> Iterator[datetime]:
    return (NOON - timedelta(days=count) for count in days)


def left() -> list[float]:
    return [(NOON - at) / timedelta(days=1) for at in KeyUse.objects.order_by("id").values_list("at", flat=True)]


def prune(capsys: pytest.CaptureFixture[str], *options: str) -> list[int]:
    """Run the command; return how many uses, hours and processes it says it removed."""
    call_command("prune_uses", *options)
    said = re.fullmatch(
        r"Removed (\d+) uses older than \d+ days, (\d+) counts of hours older than \d+ days, "
        r"\d+ addresses not seen since and the traces of (\d+) processes that ended\.\n",
        capsys.readouterr().out,
    )
    assert said
    return [int(count) for count in said.groups()]


def test_uses_older_than_90_days_are_removed(capsys: pytest.CaptureFixture[str]) -> None:
    used(*days_ago(200, 90.001, 90, 89, 0))
    assert prune(capsys)[0] == 2
    assert left() == [90, 89, 0]
    assert prune(capsys)[0] == 0


@pytest.mark.parametrize(("options", "setting", "kept"), [(["--days", "7"], 90, [3, 0]), ([], 30, [20, 3, 0])])
def test_option_and_setting_say_how_long(
    capsys: pytest.CaptureFixture[str], settings: Settings, options: list[str], setting: int, kept: list[float]
) -> None:
    settings.KEYPORTAL_USES_DAYS = setting
    used(*days_ago(100, 20, 3, 0))
    prune(capsys, *options)
    assert left() == kept


def test_batches_are_small_and_leave_others_their_turn(
    capsys: pytest.CaptureFixture[str], pauses: list[float], django_assert_num_queries: Queries
) -> None:
    used(*days_ago(*range(100, 93, -1), 2, 1))
    # Three batches, each a look and a deletion; then a look that finds nothing old.
    with django_assert_num_queries(3 * 2 + 1):
        batches = list(pruning.prune_uses(before=NOON - timedelta(days=90), batch=3))
    assert batches == [3, 3, 1]
    assert left() == [2, 1]
    assert len(pauses) == 3
    assert all(0 <= pause <= pruning.LONGEST_PAUSE for pause in pauses)


def test_what_is_newer_is_never_read() -> None:
    used(*days_ago(100, 3, 2, 1))
    looks = _Looks()
    with connection.execute_wrapper(looks):
        assert list(pruning.prune_uses(before=NOON - timedelta(days=90), batch=2)) == [1]
    # Two rows with the one that goes, and two after it, of which none goes.
    assert looks.count == 2


class _Looks:
    """Counts the queries that read uses."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        self.count += sql.startswith('SELECT "audit_key_use"')
        return execute(sql, *rest)


def test_newer_row_between_old_ones_stays() -> None:
    # A clock that was set wrong for a while: ids and times then disagree about the order.
    recorder = Recorder()
    old = NOON - timedelta(days=100)
    for number, at in enumerate((old, NOON, old)):
        moment = old + timedelta(seconds=number)
        recorder.add(a_use(at, id=uuid7(nanoseconds=int(moment.timestamp() * 1e9))))
    recorder.flush()
    assert list(pruning.prune_uses(before=NOON - timedelta(days=90), batch=10)) == [2]
    assert left() == [0]


def test_uses_that_come_meanwhile_stay() -> None:
    used(*days_ago(100, 99, 98))
    batches = pruning.prune_uses(before=NOON - timedelta(days=90), batch=2)
    assert next(batches) == 2
    used(NOON)
    assert list(batches) == [1]
    assert left() == [0]


def test_hours_are_kept_for_longer(capsys: pytest.CaptureFixture[str]) -> None:
    used(*days_ago(401, 399, 100, 0))
    assert prune(capsys)[:2] == [3, 1]
    assert KeyUseHour.objects.count() == 3
    assert prune(capsys, "--hour-days", "50")[:2] == [0, 2]
    assert KeyUseHour.objects.get().key_id == KEY_ID


def test_processes_that_ended_are_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    for hours in (0, 23, 25, 500):
        UseWriter.objects.create(pk=uuid7(), batch=1, at=later(hours=-hours))
    assert prune(capsys)[2] == 2
    assert UseWriter.objects.count() == 2


def test_empty_tables_are_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(capsys) == [0, 0, 0]


@pytest.mark.parametrize("option", ["--days", "--batch", "--hour-days"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", "", "١٢", "9" * 30])
def test_number_that_makes_no_sense_is_refused(option: str, value: str) -> None:
    used(*days_ago(100))
    with pytest.raises(CommandError, match=f"{option}: it must be a whole number from 1 to"):
        call_command("prune_uses", f"{option}={value}")
    assert KeyUse.objects.count() == 1
