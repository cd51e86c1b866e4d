import pytest

from bench.load import Result, parsed

pytestmark = pytest.mark.pure

# What wrk 4.1 prints with the script's own line at the end.
OUTPUT = """Running 2s test @ http://127.0.0.1:8000/v1/whoami
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.21ms    2.04ms  30.17ms   88.03%
    Req/Sec     2.90k   262.73     3.24k    80.00%
  5771 requests in 2.00s, 4.11MB read
  Non-2xx or 3xx responses: 3
Requests/sec:   2885.21
Transfer/sec:      2.06MB
{"requests": 5771, "microseconds": 2000200, "p50": 5204.0, "p99": 15600.0, "refused": 3, "broken": 2, STATUSES}
"""


def test_a_result_is_read_from_the_last_line() -> None:
    result = parsed(OUTPUT.replace("STATUSES", '"statuses": {"200": 5768, "401": 3}'))
    assert result == Result(
        requests=5771,
        seconds=2.0002,
        p50=5.204,
        p99=15.6,
        refused=3,
        broken=2,
        statuses={200: 5768, 401: 3},
    )


def test_requests_per_second_are_over_the_time_that_it_took() -> None:
    assert parsed(OUTPUT.replace("STATUSES", '"statuses": {}')).per_second == pytest.approx(2885.21, abs=0.01)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:8000 Connection refused\n"])
def test_output_without_a_result_is_an_error(output: str) -> None:
    with pytest.raises(ValueError, match="no result"):
        parsed(output)
