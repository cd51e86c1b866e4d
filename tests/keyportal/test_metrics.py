import atexit
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyportal import gunicorn, metric_files, metrics
from tests import services

ROOT = services.ROOT
TOKEN = "only-prometheus-knows-it"
SHARED_MEMORY = Path("/dev/shm")


def exposed() -> dict[str, float]:
    """Return every sample of this process by its name and labels, as Prometheus would read it."""
    return samples(metrics.exposition().decode())


def samples(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


# The names


def documented() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(keyportal_\w+)` \| (\w+) \| (.+?) \|", text, re.MULTILINE)
    return {name: (kind, "" if labels == "none" else labels.replace("`", "")) for name, kind, labels in rows}


@pytest.mark.pure
def test_documents_and_code_name_the_same_metrics() -> None:
    objects = [value for name, value in vars(metrics).items() if name.isupper() and hasattr(value, "describe")]
    found = {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, ", ".join(metric._labelnames))
        for metric in objects
        for family in metric.describe()
    }
    assert found == documented()
    assert len(found) == len(objects) == 12


@pytest.mark.pure
def test_exposition_has_what_was_counted_and_tells_nothing_of_python() -> None:
    before = exposed()
    metrics.VERIFICATIONS.labels("accepted").inc(2)
    metrics.ARGON2_RUNS.inc()
    metrics.USE_BUFFER.set(7)
    after = exposed()
    name = 'keyportal_verifications_total{outcome="accepted"}'
    assert after[name] - before.get(name, 0) == 2
    assert after["keyportal_argon2_runs_total"] - before["keyportal_argon2_runs_total"] == 1
    assert after["keyportal_use_buffer_records"] == 7
    metrics.USE_BUFFER.set(0)
    assert {name for name in after if not name.startswith("keyportal_")} == set()
    assert {name for name in after if "_created" in name} == set()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0004, "0.0005"), (0.0005, "0.0005"), (0.003, "0.005"), (9, "10.0"), (11, "+Inf")]
)
def test_request_falls_into_its_bucket(seconds: float, bucket: str) -> None:
    before = exposed()
    metrics.observe_request("api", 503, seconds)
    after = exposed()
    grown = [
        re.sub(r'.*le="([^"]+)".*', r"\1", name)
        for name, value in after.items()
        if "_bucket" in name and value > before[name]
    ]
    assert grown[0] == bucket
    assert grown[-1] == "+Inf"
    name = 'keyportal_request_seconds_count{kind="api",status="5xx"}'
    assert after[name] - before[name] == 1


# The directory and its slots


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> metric_files.Place:
    """No directory, and another one of this test's own if it makes one."""
    monkeypatch.setattr(metric_files, "_place", metric_files.Place())
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(atexit, "register", lambda *_: None)
    return metric_files._place


@pytest.mark.pure
def test_directory_is_our_own_and_stays_when_gunicorn_reloads(place: Any, tmp_path: Path) -> None:
    metric_files.make_directory(tmp_path)
    [made] = tmp_path.iterdir()
    assert metric_files.directory() == made
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    metric_files.make_directory(tmp_path)
    assert [*tmp_path.iterdir()] == [made]


@pytest.mark.pure
def test_what_a_killed_gunicorn_left_is_removed_and_nothing_else(place: Any, tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from keyportal import metric_files\n"
        "metric_files.make_directory(Path(sys.argv[1])); print(metric_files.directory(), flush=True); sys.stdin.read()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    killed, running = (Path(cast("Any", process.stdout).readline().decode().strip()) for process in processes)
    (tmp_path / "keyportal-metrics-of-an-unknown-kind").mkdir()
    (tmp_path / "keyportal-metrics-elsewhere").symlink_to(ROOT)
    processes[0].kill()
    processes[0].communicate()
    metric_files.make_directory(tmp_path)
    assert not killed.exists()
    assert running.is_dir()
    assert len([*tmp_path.iterdir()]) == 4
    processes[1].communicate(b"")
    assert not running.exists()


@pytest.mark.pure
def test_lowest_slot_that_is_free_is_given(place: Any) -> None:
    assert metric_files.slot() == "master"
    assert metric_files.reserve_slot([]) == "0"
    assert metric_files.reserve_slot(["0", "2"]) == "1"
    assert metric_files.slot() == "master"
    metric_files.enter_slot()
    assert metric_files.slot() == "1"


@pytest.mark.pure
def test_workers_of_one_gunicorn_have_different_slots(place: Any) -> None:
    workers = {pid: SimpleNamespace(metrics_slot=slot) for pid, slot in {10: "0", 11: "2"}.items()}
    new: Any = SimpleNamespace()
    gunicorn.pre_fork(cast("Any", SimpleNamespace(WORKERS=workers)), new)
    assert new.metrics_slot == "1"


@pytest.mark.pure
def test_worker_that_ended_has_nothing_in_hand(place: Any, tmp_path: Path) -> None:
    metric_files.make_directory(tmp_path)
    [made] = tmp_path.iterdir()
    for name in ("gauge_livesum_0.db", "gauge_livesum_1.db", "counter_0.db"):
        (made / name).touch()
    gunicorn.child_exit(cast("Any", None), cast("Any", SimpleNamespace(metrics_slot="0")))
    assert sorted(path.name for path in made.glob("*.db")) == ["counter_0.db", "gauge_livesum_1.db"]


@pytest.mark.pure
def test_without_gunicorn_there_is_no_directory() -> None:
    assert metric_files.directory() is None
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


# Several processes


@pytest.fixture
def counting_portal(tmp_path: Path) -> Iterator[services.Portal]:
    portal = services.Portal(tmp_path / "portal", WEB_CONCURRENCY="2", KEYPORTAL_METRICS_TOKEN=TOKEN)
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


def scrape(portal: services.Portal) -> dict[str, float]:
    request = urllib.request.Request(f"{portal.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return samples(response.read().decode())


def directory_of(portal: services.Portal) -> Path:
    """Return the directory of a portal's master, by the lock that it holds open."""
    [found] = {
        target.parent
        for link in Path(f"/proc/{portal.pid}/fd").iterdir()
        if "keyportal-metrics-" in str(target := link.readlink())
    }
    return found


def workers_of(portal: services.Portal) -> set[int]:
    children = Path(f"/proc/{portal.pid}/task/{portal.pid}/children").read_text(encoding="ascii")
    return {int(pid) for pid in children.split()}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def visit(portal: services.Portal, times: int) -> None:
    """Ask for something on connections of their own, which the kernel spreads over the workers."""

    def ask(_: int) -> None:
        with urllib.request.urlopen(f"{portal.url}/v1/openapi.json", timeout=10) as response:
            response.read()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(times)))


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="reads /proc and /dev/shm, which Linux has")
def test_scrape_of_any_worker_counts_for_all_and_through_recycling(counting_portal: services.Portal) -> None:
    name = 'keyportal_request_seconds_count{kind="api",status="2xx"}'
    directory = directory_of(counting_portal)
    assert directory.parent == SHARED_MEMORY
    visit(counting_portal, 40)
    wait_for(lambda: scrape(counting_portal)[name] == 40)
    assert {scrape(counting_portal)[name] for _ in range(10)} == {40}
    assert len([*directory.glob("histogram_[01].db")]) == 2
    for _ in range(3):
        before = workers_of(counting_portal)
        os.kill(counting_portal.pid, signal.SIGHUP)
        wait_for(lambda: len(workers_of(counting_portal)) == 2 and not workers_of(counting_portal) & before)  # noqa: B023 - it is called in this round
        wait_for(lambda: services.answers_http(counting_portal.port))
        assert scrape(counting_portal)[name] == 40
    victim = min(workers_of(counting_portal))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in workers_of(counting_portal) and len(workers_of(counting_portal)) == 2)
    visit(counting_portal, 10)
    wait_for(lambda: scrape(counting_portal)[name] == 50)
    # Four slots at the most: two of the workers that go, and two of those that come.
    names = {path.name for path in directory.glob("*.db")}
    assert names <= {
        f"{kind}_{slot}.db"
        for kind in ("counter", "histogram", "gauge_livesum")
        for slot in ("master", "0", "1", "2", "3")
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert counting_portal.stop() == 0
    assert not directory.exists()


def test_token_is_in_no_log(counting_portal: services.Portal) -> None:
    assert scrape(counting_portal)
    assert TOKEN not in counting_portal.log_text()
