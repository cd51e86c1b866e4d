import math
from collections.abc import Callable

import pytest
from pytest_django import Settings

from apikeys import budgets
from apikeys.budgets import MAX_RECORDS, WINDOW_SECONDS, Budget, Budgets, network

pytestmark = pytest.mark.pure


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(settings: Settings) -> None:
    settings.KEYPORTAL_FAILURES_PER_SOURCE = 6
    settings.KEYPORTAL_FAILURES_PER_SOURCE_AND_PREFIX = 3
    settings.KEYPORTAL_FAILURES_PER_PREFIX = 4


# One budget


def test_budget_is_spent_by_its_limit_of_failures_and_for_the_rest_of_its_window(clock: Clock) -> None:
    budget = Budget(clock)
    budget.charge("a")
    clock.now += 10
    assert budget.seconds_left("a", 2) == 0
    budget.charge("a")
    assert budget.seconds_left("a", 2) == WINDOW_SECONDS - 10
    clock.now += WINDOW_SECONDS - 10
    assert budget.seconds_left("a", 2) == 0
    budget.charge("a")
    assert (budget.seconds_left("a", 2), budget.seconds_left("a", 1)) == (0, WINDOW_SECONDS)


def test_budget_of_one_is_not_that_of_another(clock: Clock) -> None:
    budget = Budget(clock)
    budget.charge("a", 5)
    assert (budget.seconds_left("a", 5), budget.seconds_left("b", 1)) == (WINDOW_SECONDS, 0)


def test_full_table_forgets_nobody_and_charges_no_newcomer(clock: Clock) -> None:
    budget = Budget(clock)
    budget.charge("attacker", 5)
    for number in range(3 * MAX_RECORDS):
        budget.charge(("source", number), 100)
    assert len(budget) == MAX_RECORDS
    assert budget.seconds_left("attacker", 5) > 0
    assert budget.seconds_left(("source", 2 * MAX_RECORDS), 2) == 0
    budget.learn("newcomer", 100, 60)
    assert len(budget) == MAX_RECORDS


def test_full_table_has_room_again_once_windows_end(clock: Clock) -> None:
    budget = Budget(clock)
    for number in range(MAX_RECORDS):
        budget.charge(number)
    clock.now += WINDOW_SECONDS
    budget.charge(0)
    budget.charge("newcomer")
    assert len(budget) == 2
    assert budget.seconds_left("newcomer", 1) == WINDOW_SECONDS


@pytest.mark.parametrize(
    ("failures", "left", "expected"), [(9, 30, 30), (9, 1e9, WINDOW_SECONDS), (9, -5, 0), (2, 30, 0), (-9, 30, 0)]
)
def test_what_others_counted_is_taken_over_where_it_is_more_and_for_no_longer_than_a_window(
    clock: Clock, failures: int, left: float, expected: float
) -> None:
    budget = Budget(clock)
    budget.charge("a", 3)
    budget.learn("a", failures, left)
    assert budget.seconds_left("a", 4) == expected


def test_window_that_runs_gets_no_longer_by_what_others_counted(clock: Clock) -> None:
    budget = Budget(clock)
    budget.charge("a", 3)
    clock.now += 59
    budget.learn("a", 9, 60)
    assert budget.seconds_left("a", 4) == 1


# All of them


def test_source_is_refused_after_its_failures_whatever_it_sends_next(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    for number in range(6):
        assert process.refusal("192.0.2.1", f"prefix{number}") is None
        process.charge("192.0.2.1", f"prefix{number}", budgets=budgets.OF_NOBODY)
    assert process.refusal("192.0.2.1", "another0") == ("source", 60)
    clock.now += 59.5
    assert process.refusal("192.0.2.1", "another0") == ("source", 1)
    assert process.refusal("192.0.2.2", "prefix1") is None


def test_source_is_refused_at_one_prefix_sooner(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    for _ in range(3):
        process.charge("192.0.2.1", "a1B2c3D4")
    assert process.refusal("192.0.2.1", "a1B2c3D4") == ("source_and_prefix", 60)
    assert process.refusal("192.0.2.1", "another0") is None


def test_prefix_is_refused_to_strangers_but_not_to_who_proved_its_key(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    process.prove("192.0.2.7", "a1B2c3D4")
    for number in range(4):
        process.charge(f"192.0.2.{number}", "a1B2c3D4")
    assert process.refusal("192.0.2.9", "a1B2c3D4") == ("prefix", 60)
    assert process.refusal("192.0.2.7", "a1B2c3D4") is None


def test_prefix_that_no_key_has_is_charged_to_its_sender_alone(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    for number in range(9):
        process.charge(f"192.0.2.{number}", "nobodys1", budgets=budgets.OF_NOBODY)
    assert process.refusal("192.0.2.100", "nobodys1") is None


def test_text_that_waited_in_vain_is_charged_to_its_prefix_and_not_to_its_source(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    for number in range(9):
        process.charge("192.0.2.1", f"prefix{number}", budgets=budgets.UNDECIDED)
    assert process.refusal("192.0.2.1", "another0") is None
    for number in range(4):
        process.charge(f"192.0.2.{number}", "a1B2c3D4", budgets=budgets.UNDECIDED)
    assert process.refusal("192.0.2.9", "a1B2c3D4") == ("prefix", 60)


def test_dummy_run_is_allowed_once_in_two_seconds(clock: Clock) -> None:
    process = Budgets(clock)
    assert [process.may_run_dummy() for _ in range(3)] == [True, False, False]
    clock.now += 1.9
    assert not process.may_run_dummy()
    clock.now += 0.1
    assert [process.may_run_dummy() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_source_is_what_one_sender_can_hardly_leave(source: str, expected: str) -> None:
    assert network(source) == expected


def test_retry_after_is_never_zero(clock: Clock, limits: None) -> None:
    process = Budgets(clock)
    for _ in range(6):
        process.charge("192.0.2.1", "a1B2c3D4", budgets=budgets.OF_NOBODY)
    clock.now += 59.999
    refusal = process.refusal("192.0.2.1", "another0")
    assert refusal is not None
    assert refusal[1] == math.ceil(refusal[1]) == 1


def test_forked_child_begins_anew(limits: None) -> None:
    before = budgets.current()
    budgets.forget_all()
    assert budgets.current() is not before


@pytest.fixture
def told() -> "Callable[[], list[object]]":
    found: list[object] = []
    budgets.listen(lambda budget, subject: found.append((budget, subject)))
    return lambda: found


def test_charges_are_told_to_who_listens(told: Callable[[], list[object]]) -> None:
    try:
        budgets.current().charge("192.0.2.1", "a1B2c3D4")
    finally:
        budgets.listen(None)
    assert told() == [
        ("source", "192.0.2.1"),
        ("source_and_prefix", ("192.0.2.1", "a1B2c3D4")),
        ("prefix", "a1B2c3D4"),
    ]
