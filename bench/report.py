"""Figures, ratios and the Markdown in which they are printed."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench.load import Result


@dataclass(slots=True)
class Rounds:
    """What was found of one subject, round by round. CPU is in µs a request."""

    name: str
    results: list[Result] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    database_cpu: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return statistics.median(result.per_second for result in self.results)

    @property
    def p99(self) -> float:
        return statistics.median(result.p99 for result in self.results)

    @property
    def failures(self) -> int:
        return sum(result.refused + result.broken for result in self.results)


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table of targets: what was found beside what is asked for."""

    what: str
    wanted: str
    found: str
    is_met: bool


def at_least(what: str, found: float, wanted: float, unit: str = "") -> Target:
    """Return a target that is met from `wanted` upwards."""
    return Target(what, f"≥ {wanted:g}{unit}", f"{found:.2f}{unit}", found >= wanted)


def at_most(what: str, found: float, wanted: float, unit: str = "") -> Target:
    """Return a target that is met up to `wanted`."""
    return Target(what, f"≤ {wanted:g}{unit}", f"{found:.2f}{unit}", found <= wanted)


def ratio(rounds: Rounds, other: Rounds) -> float:
    """Return the median, over the rounds, of how one subject's throughput compares with another's in the same round."""
    return median_ratio([r.per_second for r in rounds.results], [r.per_second for r in other.results])


def p99_ratio(rounds: Rounds, other: Rounds) -> float:
    """Return the same of the 99th percentile of the time that a request took."""
    return median_ratio([r.p99 for r in rounds.results], [r.p99 for r in other.results])


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of values that belong together, so that what drifts hits both alike."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; every column but the first is flush right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def rounds_table(found: Sequence[Rounds], base: Rounds) -> str:
    """Return what was found of each subject, with its throughput as a ratio to one of them."""
    heads = ("subject", "requests/s", f"÷ {base.name}", "p50 ms", "p99 ms", "CPU µs", "PostgreSQL CPU µs", "failed")
    return table(
        heads,
        (
            (
                rounds.name,
                f"{rounds.per_second:,.0f}",
                f"{ratio(rounds, base):.2f}",
                f"{statistics.median(result.p50 for result in rounds.results):.1f}",
                f"{rounds.p99:.1f}",
                f"{statistics.median(rounds.cpu):.0f}",
                f"{statistics.median(rounds.database_cpu):.0f}",
                rounds.failures,
            )
            for rounds in found
        ),
    )


def targets_table(targets: Sequence[Target]) -> str:
    """Return every target beside what was found: information, never a verdict on the run."""
    rows = ((t.what, t.wanted, t.found, "met" if t.is_met else "**missed**") for t in targets)
    return table(("target", "wanted", "found", ""), rows)


def machine() -> str:
    """Return the shape of the machine and the versions of what was measured."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "gunicorn", "psycopg", "argon2-cffi"))
    wrk = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True).stdout.split(" [")[0]
    facts = (
        ("CPU", f"{cpu.group(1) if cpu else platform.processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "unknown"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("software", f"Python {platform.python_version()}, {packages}, {wrk}"),
    )
    return "\n".join(f"- {name}: {fact}" for name, fact in facts)
