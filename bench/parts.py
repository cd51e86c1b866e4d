"""The parts of `make bench`: each measures one thing, prints what it found and returns the targets it speaks of."""

import http.client
import re
import secrets
import statistics
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import report
from bench.flood import flood_table, flooded, memory_target
from bench.measuring import argon2_runs, check, interleaved, say
from bench.processes import ROOT, clean_environment
from bench.report import Rounds, Target, at_least, at_most, p99_ratio, ratio
from bench.statements import counted, logged
from bench.subjects import CHEAP_ARGON2, PYTHON, RIVALS, Bench, Portal, Subject, running

MANY_KEYS = 500
FEW_ROWS, MANY_ROWS = 1_000, 1_000_000
COLD_CLIENTS = 64
REQUESTS_COUNTED = 1_000
CALLS = 2_000
# A key that is used for the first time takes longer: all of them have been, in every process, before it counts.
WARM_MANY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often to measure."""

    rounds: int
    seconds: int
    # Whether the rivals ask PostgreSQL first if a kept connection is still there: a round trip more for each request.
    rivals_probe: bool = False


def speed(bench: Bench, options: Options) -> list[Target]:
    """Warm requests with one key on PostgreSQL, beside what they could cost at best and what others cost."""
    portal = bench.portal("speed")
    one = portal.credentials()
    keyportal = Subject("keyportal", portal.server(), one)
    ceiling = Subject("ceiling", portal.other("ceiling"), one)
    cursor = Subject("ceiling by Django's cursor", portal.other("ceiling", BENCH_CURSOR="1"), one)
    bare = Subject("bare", portal.other("bare"), one)
    rivals = [bench.rival(rival, probes=options.rivals_probe) for rival in RIVALS]
    found = _measured(bench, options, [keyportal, bare, ceiling, cursor, *rivals], same=ceiling)
    by_name = {rounds.name: rounds for rounds in found}
    print(report.rounds_table(found, by_name["ceiling"]))
    api_key = by_name["djangorestframework-api-key"]
    identifying = by_name["djangorestframework-api-key, identifying"]
    return [
        at_least("warm requests/s, one key, PostgreSQL ÷ ceiling", ratio(found[0], by_name["ceiling"]), 0.85),
        at_least("… ÷ ceiling by Django's cursor", ratio(found[0], by_name["ceiling by Django's cursor"]), 0.85),
        at_least("… ÷ djangorestframework-api-key", ratio(found[0], api_key), 1.4),
        at_least("… ÷ djangorestframework-api-key, identifying", ratio(found[0], identifying), 2),
    ]


def sqlite(bench: Bench, options: Options) -> list[Target]:
    """The same on SQLite: one process with threads."""
    portal = bench.portal("sqlite", on_sqlite=True)
    keyportal = Subject("keyportal", portal.server(), portal.credentials())
    ceiling = Subject("ceiling", portal.other("ceiling"), portal.credentials())
    ours, theirs = _measured(bench, options, [keyportal, ceiling], same=ceiling)
    print(report.rounds_table([ours, theirs], theirs))
    return [at_least("warm requests/s, one key, SQLite ÷ ceiling", ratio(ours, theirs), 0.85)]


def keys(bench: Bench, options: Options) -> list[Target]:
    """Many keys at random beside one, on the same server."""
    portal = bench.portal("keys", keys=MANY_KEYS, environment=CHEAP_ARGON2)
    server = portal.server()
    one = Subject("one key", server, portal.credentials())
    many = Subject(f"{MANY_KEYS} keys at random", server, portal.credentials(MANY_KEYS))
    few_rounds, many_rounds = _measured(bench, options, [one, many], warm=WARM_MANY_SECONDS)
    print(report.rounds_table([few_rounds, many_rounds], few_rounds))
    return [at_least(f"{MANY_KEYS} keys at random ÷ one key", ratio(many_rounds, few_rounds), 0.95)]


def rows(bench: Bench, options: Options) -> list[Target]:
    """A table of a million keys beside one of a thousand, each on a server of its own, 500 of them used at random."""
    say(f"  filling a table with {MANY_ROWS:,} keys")
    portals = {
        count: bench.portal(f"rows{count}", keys=MANY_KEYS, rows=count - MANY_KEYS, environment=CHEAP_ARGON2)
        for count in (FEW_ROWS, MANY_ROWS)
    }
    subjects = [
        Subject(f"{count:,} keys", portal.server(), portal.credentials(MANY_KEYS)) for count, portal in portals.items()
    ]
    few, many = _measured(bench, options, subjects, warm=WARM_MANY_SECONDS)
    print(report.rounds_table([few, many], few))
    plans = {"PostgreSQL": portals[MANY_ROWS], "SQLite": bench.portal("plan", on_sqlite=True)}
    for name, portal in plans.items():
        print(f"\n{name} plans:\n\n```\n" + "\n".join(portal.plan) + "\n```")
    uses = [name for name, portal in plans.items() if _uses_unique_index(portal)]
    what = f"{FEW_ROWS:,} → {MANY_ROWS:,} keys in the table"
    return [
        at_most(f"{what}: times the throughput", ratio(few, many), 1.1),
        at_most(f"{what}: times the p99", p99_ratio(many, few), 1.1),
        Target("`EXPLAIN` uses the unique index", "both databases", ", ".join(uses) or "neither", len(uses) == 2),
    ]


def _uses_unique_index(portal: Portal) -> bool:
    plan = "\n".join(portal.plan)
    return any(re.search(rf"\b{re.escape(name)}\b", plan) for name in portal.unique_indexes)


def queries(bench: Bench, _options: Options) -> list[Target]:
    """What PostgreSQL itself logs of a thousand requests in steady state."""
    portal = bench.portal("queries")
    subject = Subject("keyportal", portal.server(), portal.credentials())
    with running(subject.server):
        interleaved([subject], bench.postgres, rounds=1, seconds=1)
        with logged(bench.postgres) as lines:
            _one_after_the_other(subject, portal, REQUESTS_COUNTED)
    found = counted(lines)
    heads = ("statements", "by the connections that serve requests", "by others")
    words = sorted(found.of_requests | found.of_others)
    print(report.table(heads, ((word, found.of_requests[word], found.of_others[word]) for word in words)))
    each = found.of_requests.total() / REQUESTS_COUNTED
    return [Target("queries per authenticated request, steady state", "1", f"{each:.3f}", each == 1)]


def _one_after_the_other(subject: Subject, portal: Portal, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", subject.server.port, timeout=30)
    for _ in range(count):
        connection.request("GET", subject.path, headers={"Authorization": f"Bearer {portal.keys[0]}"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"A good key got {response.status}.")
    connection.close()


def cold(bench: Bench, options: Options) -> list[Target]:
    """A key that no process has seen, used by 64 clients at once, on a server that was started anew each time."""
    portal = bench.portal("cold")
    most, statuses = 0.0, Counter[int]()
    for number in range(1, options.rounds + 1):
        server = portal.server(KEYPORTAL_METRICS_TOKEN=secrets.token_urlsafe(24))
        with running(server):
            statuses.update(_at_once(server.port, portal.keys[0]))
            runs = argon2_runs(server) / len(server.workers())
        say(f"  round {number}/{options.rounds}: {runs:g} runs of argon2 a process")
        most = max(most, runs)
    listed = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    print(f"{COLD_CLIENTS} clients, {options.rounds} times: {listed}; at most {most:g} runs of argon2 a process.")
    return [
        # None at all would mean that the metrics, or the key, are not what they seem.
        Target("cold key, 64 clients at once: argon2 runs a process", "1", f"{most:g}", 0 < most <= 1),
        Target("cold key, 64 clients at once: answers", "no 5xx", listed, max(statuses) < 500),
    ]


def _at_once(port: int, key: str) -> list[int]:
    """Return the statuses that as many clients get, all of which are connected before the first of them asks."""
    ready, found = threading.Barrier(COLD_CLIENTS), list[int]()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        ready.wait()
        connection.request("GET", "/v1/whoami", headers={"Authorization": f"Bearer {key}"})
        found.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(COLD_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A client that broke got no answer at all.
    return found + [599] * (COLD_CLIENTS - len(found))


def overhead(bench: Bench, options: Options) -> list[Target]:
    """CPU time of one call in process, without a server: keyportal beside the ceiling, in turns."""
    portal = bench.portal("overhead")
    modules = {
        "keyportal": "keyportal.wsgi",
        "keyportal, uses not recorded": "bench.served.unrecorded",
        "ceiling": "bench.served.ceiling",
        "bare": "bench.served.bare",
    }
    times: dict[str, list[float]] = {name: [] for name in modules}
    with ExitStack() as stack:
        callers = {name: stack.enter_context(_Caller(portal, module)) for name, module in modules.items()}
        for caller in callers.values():
            caller.call(CALLS)
        for _ in range(options.rounds * 2):
            for name, caller in callers.items():
                times[name].append(caller.call(CALLS))
    heads = ("application", "CPU µs a call, median", "least", "most")
    lines = ((name, *(f"{of(found):.0f}" for of in (statistics.median, min, max))) for name, found in times.items())
    print(report.table(heads, lines))
    return [
        at_most(f"{what} overhead over the ceiling, in process", _more(times[name], times["ceiling"]), 60, " µs CPU")
        for what, name in (("`/v1/`", "keyportal"), ("… without recording", "keyportal, uses not recorded"))
    ]


def _more(times: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(ours - its for ours, its in zip(times, others, strict=True))


class _Caller:
    """A process of `bench.inprocess`."""

    def __init__(self, portal: Portal, module: str) -> None:
        self._log = (portal.directory / f"{module}.log").open("wb")
        self._process = subprocess.Popen(
            [PYTHON, "-m", "bench.inprocess", module, str(portal.credentials())],
            cwd=ROOT,
            env=clean_environment(portal.other_environment()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # At the end of its input it ends by itself, and writes the uses it has left.
        self._process.communicate()
        self._log.close()

    def call(self, count: int) -> float:
        """Return the CPU time that a call took, in µs."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"It ended: {Path(self._log.name).read_text(encoding='utf-8')[-3000:]}")
        return float(said)


def recording(bench: Bench, options: Options) -> list[Target]:
    """Recording every use beside recording none, and beside writing each use before answering."""
    portal = bench.portal("recording")
    one = portal.credentials()
    subjects = [
        Subject("uses not recorded", portal.server("bench.served.unrecorded"), one),
        Subject("uses recorded", portal.server(), one),
        Subject("uses recorded before answering", portal.server(KEYPORTAL_USE_RECORDING="synchronous"), one),
    ]
    found = _measured(bench, options, subjects)
    print(report.rounds_table(found, found[0]))
    percent = 100 * (1 - ratio(found[1], found[0]))
    return [at_most("recording uses: throughput lost", round(percent, 1), 5, " %")]


def memory(bench: Bench, options: Options) -> list[Target]:
    """The peak of a worker's memory under the flood that reaches argon2 most; `make bench-flood` tries them all."""
    portal = bench.portal("memory")
    found = [
        flooded(portal, "both mixed", rounds=1, seconds=options.seconds, from_many=from_many)
        for from_many in (False, True)
    ]
    print(flood_table(found))
    return [memory_target(found)]


def _measured(
    bench: Bench, options: Options, subjects: Sequence[Subject], *, same: Subject | None = None, warm: int = 1
) -> list[Rounds]:
    """Serve subjects side by side and drive them in turns; stop if `same` does not answer as the first of them."""
    servers = list(dict.fromkeys(subject.server for subject in subjects))
    with running(*servers):
        if same and (theirs := check(same)) != (ours := check(subjects[0])):
            raise RuntimeError(f"The {same.name} returns another answer than keyportal:\n{theirs}\n{ours}")
        return interleaved(subjects, bench.postgres, rounds=options.rounds, seconds=options.seconds, warm=warm)


PARTS: dict[str, Callable[[Bench, Options], list[Target]]] = {
    part.__name__: part for part in (speed, sqlite, keys, rows, queries, cold, overhead, recording, memory)
}
