"""`make run` itself, as the person in front of the terminal sees it."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import ROOT, SERVE, answers_http, free_port

INSTALLED = ROOT / ".venv" / "installed-base.txt"
REQUIREMENTS = ROOT / "requirements" / "base.txt"


@contextmanager
def make_run(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    if not INSTALLED.exists() or INSTALLED.read_bytes() != REQUIREMENTS.read_bytes():
        pytest.skip("`make setup` has not been run, and installing packages is not for a test")
    terminal, its_end = os.openpty()
    with (directory / "out").open("ab") as out:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "PORT": str(port),
                "KEYPORTAL_DATA_DIR": str(directory / "my data"),
                # A start that needed the network would fail with this.
                "PIP_NO_INDEX": "1",
            },
            stdin=its_end,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_for(process, port)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(terminal)
        os.close(its_end)


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        assert process.poll() is None, "make run ended by itself"
        if answers_http(port):
            return
        time.sleep(0.1)
    raise AssertionError("make run did not start")


def is_anything_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "closed terminal"])
def test_make_run_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with make_run(tmp_path, free_port()) as process:
        # What a terminal does: everything that it runs gets the signal.
        os.killpg(process.pid, number)
        process.wait(timeout=30)
        time.sleep(0.2)
        assert not is_anything_left(process.pid)
    printed = (tmp_path / "out").read_text(encoding="utf-8")
    assert "***" not in printed
    assert "Traceback" not in printed


def test_a_second_make_run_starts_at_once_and_without_network(tmp_path: Path) -> None:
    port = free_port()
    with make_run(tmp_path, port) as process:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with make_run(tmp_path, port) as process:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Work, not waiting: the other half of the suite runs beside this test.
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 5


def test_a_taken_port_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = subprocess.run(
            [sys.executable, *SERVE],
            check=False,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PORT": str(port), "KEYPORTAL_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    assert result.returncode
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in result.stderr
