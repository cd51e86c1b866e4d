"""An SQLite that cannot be written to: somebody else holds its lock, or its disk is full."""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Tell
from tests.faults.house import House
from tests.faults.invariants import violations
from tests.faults.load import Call

pytestmark = pytest.mark.sqlite

# Longer than keyportal waits for the lock, which is 10 s; what happens then would in the 30th second too.
LOCKED_SECONDS = 12.0
DISK_MIB = 24


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock in a process of its own. In WAL mode readers go on, whatever a writer asks for."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    arguments = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        # Leaving the block closes its input, and it ends.
        yield


def test_locked_file_lets_keys_in_and_loses_no_use(house: House, tell: Tell) -> None:
    house.serve_anew(WEB_THREADS="8")
    key_id, key = house.issue()
    _, cold = house.issue()
    with ThreadPoolExecutor(2) as pool, house.under_load(clients=2) as load:
        with locked(house.portal.data_dir / "keyportal.sqlite3"):
            locked_at = time.monotonic()
            revoking, issuing = pool.submit(house.ask_revoke, key_id), pool.submit(house.ask_issue)
            others = [house.whoami(cold), house.call("GET /v1/api-keys", house.key), house.call("GET /readyz")]
            revoked, issued = revoking.result(), issuing.result()
            time.sleep(max(0.0, locked_at + LOCKED_SECONDS - time.monotonic()))
        freed_at = time.monotonic()
        time.sleep(0.3)

    during = [call for call in load.calls if locked_at < call.started and call.ended < freed_at]
    tell("calls while it was locked", f"{len(during)}, the slowest {max(call.seconds for call in during):.3f} s")
    tell("a revocation was answered after", f"{revoked.seconds:.1f} s")
    assert {call.status for call in [*load.calls, *others]} == {200}
    assert len(during) > 1_000
    for refused in (revoked, issued):
        assert (refused.status, refused.code, refused.retry_after) == (503, "unavailable", "1")
    house.wait_until_recorded([*load.calls, revoked, issued, others[0]])
    assert house.whoami(key).status == 200
    assert house.ask_revoke(key_id).status == 204
    assert house.whoami(key).code == "key_revoked"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, small enough to be filled."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    arguments = [mount or "mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)]
    if mount is None or subprocess.run(arguments, check=False, capture_output=True).returncode:
        pytest.skip("nobody here may mount a disk that can be filled")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def small_house(disk: Path) -> Iterator[House]:
    """A portal of its own on that disk."""
    house = House(disk, None)
    try:
        yield house.furnish()
    finally:
        house.stop()


def fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_full_disk_lets_keys_in_and_says_why_one_is_not_revoked(small_house: House, disk: Path, tell: Tell) -> None:
    house, ballast = small_house, disk / "ballast"
    key_id, key = house.issue()
    # The write-ahead log begins anew, so that there is no room in it either.
    with closing(sqlite3.connect(house.portal.data_dir / "keyportal.sqlite3")) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    fill(ballast)
    with house.under_load(clients=2) as load:
        time.sleep(1.5)
        refused = house.ask_revoke(key_id)
        meanwhile: list[Call] = [house.whoami(key), house.call("GET /v1/api-keys", house.key)]
        time.sleep(1.5)

    written = len(load.calls) - len(house.missing(load.calls))
    tell("calls while the disk was full", f"{len(load.calls)}, {written} of them on record then")
    assert {call.status for call in [*load.calls, *meanwhile]} == {200}
    assert written == 0
    assert (refused.status, refused.code, refused.retry_after) == (503, "unavailable", "1")
    ballast.unlink()
    house.wait_until_recorded([*load.calls, *meanwhile, refused])
    assert house.ask_revoke(key_id).status == 204
    assert house.whoami(key).code == "key_revoked"
    assert violations(house) == []
