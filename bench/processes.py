"""Processes that the benchmark starts, and what the kernel knows of them."""

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_INHERITED = {"PATH", "HOME", "LANG", "TMPDIR", "TZ"}
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60
_STOP_SECONDS = 30
ROOT = Path(__file__).resolve().parent.parent


class Server:
    """A gunicorn in a process group of its own, so that Ctrl-C reaches the benchmark alone, which then ends it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], port: int, log: Path) -> None:
        self.command, self.environment, self.port, self.log = command, environment, port, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process, "It does not run."
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it answers when this returns."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=clean_environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            if self._answers():
                return
            time.sleep(0.05)
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"{' '.join(self.command)} did not start:\n{tail}")

    def stop(self) -> None:
        """End it, kindly first; more than once does no harm."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def workers(self) -> list[int]:
        """Return the ids of the processes that answer requests."""
        return children(self.pid)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("HEAD", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with nothing in it but what is meant and what every program needs."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED} | dict(environment)


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """Run a program to its end and return what it printed.

    :raises RuntimeError: if it fails, with what it said.
    """
    result = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {result.returncode}:\n{result.stderr[-3000:]}")
    return result.stdout


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text(encoding="ascii").split())
        except FileNotFoundError:
            continue
    return found


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from _tree(child)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its descendants, those that ended included."""
    ticks = 0
    for member in _tree(pid):
        try:
            stat = Path(f"/proc/{member}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        # After the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
        ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS


def memory_mib(pid: int, field: str) -> float:
    """Return a process's `VmRSS` (now) or `VmHWM` (its peak), in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def forget_peak(pid: int) -> None:
    """Let `VmHWM` begin anew at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
