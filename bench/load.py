"""Load by wrk: start it, and read what it found."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of wrk found. Times are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int  # answers that were neither 2xx nor 3xx
    broken: int  # connections that failed
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def parsed(output: str) -> Result:
    """Read the JSON that `load.lua` prints after wrk's own words.

    :raises ValueError: if there is none.
    """
    lines = output.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise ValueError(f"wrk printed no result:\n{output}")
    said = json.loads(lines[-1])
    return Result(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50=said["p50"] / 1000,
        p99=said["p99"] / 1000,
        refused=said["refused"],
        broken=said["broken"],
        statuses={int(status): count for status, count in said["statuses"].items()},
    )


class Load:
    """One wrk on its way. As a context it is ended, whatever happens."""

    def __init__(
        self,
        url: str,
        credentials: Path,
        *,
        connections: int,
        seconds: float,
        order: str = "random",
        sources: int = 0,
        counts_statuses: bool = False,
    ) -> None:
        environment = {"BENCH_CREDENTIALS": str(credentials), "BENCH_ORDER": order}
        if sources:
            environment["BENCH_SOURCES"] = str(sources)
        if counts_statuses:
            environment["BENCH_STATUSES"] = "1"
        self._process = subprocess.Popen(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(SCRIPT), url],
            env={"PATH": os.environ["PATH"]} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def result(self) -> Result:
        """Wait for its end."""
        output, _ = self._process.communicate()
        return parsed(output)


def drive(url: str, credentials: Path, *, connections: int, seconds: float, order: str = "random") -> Result:
    """Load a server for some seconds."""
    with Load(url, credentials, connections=connections, seconds=seconds, order=order) as load:
        return load.result()


def write_credentials(path: Path, values: Sequence[str]) -> Path:
    """Write Authorization values for wrk to send; an empty one sends no header."""
    path.write_text("".join(f"{value}\n" for value in values), encoding="utf-8")
    return path
