import pytest

from bench.load import Result
from bench.report import (
    Rounds,
    Target,
    at_least,
    at_most,
    median_ratio,
    p99_ratio,
    ratio,
    rounds_table,
    table,
    targets_table,
)

pytestmark = pytest.mark.pure


def rounds(name: str, *per_second: int, p99: float = 10.0) -> Rounds:
    results = [Result(requests=count, seconds=1.0, p50=1.0, p99=p99, refused=0, broken=0) for count in per_second]
    return Rounds(name, results, cpu=[400.0] * len(results), database_cpu=[90.0] * len(results))


def test_a_ratio_is_the_median_of_those_in_the_same_round() -> None:
    # The machine got ten times slower after the first round, for both.
    assert median_ratio([900, 90, 80], [1000, 100, 100]) == pytest.approx(0.9)


def test_a_ratio_needs_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1, 2], [1])


def test_throughput_and_p99_are_compared_alike() -> None:
    fast, slow = rounds("fast", 100, 300, 200, p99=5), rounds("slow", 50, 100, 100, p99=20)
    assert fast.per_second == 200
    assert ratio(fast, slow) == 2
    assert p99_ratio(slow, fast) == 4


def test_failures_are_answers_refused_and_connections_broken() -> None:
    found = rounds("keyportal", 10)
    found.results.append(Result(requests=1, seconds=1, p50=1, p99=1, refused=2, broken=3))
    assert found.failures == 5


@pytest.mark.parametrize(("found", "is_met"), [(0.84, False), (0.85, True), (1.2, True)])
def test_a_target_from_below_is_met_from_there_upwards(found: float, is_met: bool) -> None:
    assert at_least("x", found, 0.85).is_met is is_met


@pytest.mark.parametrize(("found", "is_met"), [(59.9, True), (60, True), (60.1, False)])
def test_a_target_from_above_is_met_up_to_there(found: float, is_met: bool) -> None:
    assert at_most("x", found, 60, " µs") == Target("x", "≤ 60 µs", f"{found:.2f} µs", is_met)


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("x", 1)]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_targets_are_printed_met_and_missed() -> None:
    printed = targets_table([at_least("speed", 0.9, 0.85), at_most("cost", 70, 60, " µs")])
    assert printed.splitlines()[2:] == [
        "| speed | ≥ 0.85 | 0.90 | met |",
        "| cost | ≤ 60 µs | 70.00 µs | **missed** |",
    ]


def test_rounds_are_printed_beside_their_base() -> None:
    ceiling = rounds("ceiling", 2000, 2000)
    printed = rounds_table([rounds("keyportal", 1800, 1700), ceiling], ceiling).splitlines()
    assert "÷ ceiling" in printed[0]
    assert printed[2] == "| keyportal | 1,750 | 0.88 | 1.0 | 10.0 | 400 | 90 | 0 |"
