"""Interleaved rounds: every subject once, then every subject again, so that what the machine does hits all alike."""

import http.client
import json
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.load import drive
from bench.processes import Server, cpu_seconds
from bench.report import Rounds
from bench.subjects import Subject
from tests.services import PostgresCluster

CONNECTIONS = 16
WARM_SECONDS = 1
SETTLE_SECONDS = 1.5


def say(text: str) -> None:
    """Say on stderr how far it is; what is found goes to stdout."""
    print(text, file=sys.stderr, flush=True)


def end_on_signals() -> None:
    """Let SIGTERM, and Ctrl-C wherever this was started, end the program so that what it started is ended too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def answer(subject: Subject, credential: str) -> tuple[int, Any]:
    """Return the status that a subject answers one request with, and its JSON, or another answer's text."""
    connection = http.client.HTTPConnection("127.0.0.1", subject.server.port, timeout=30)
    try:
        connection.request("GET", subject.path, headers={"Authorization": credential} if credential else {})
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return response.status, json.loads(body) if response.status == 200 else body
    finally:
        connection.close()


def check(subject: Subject) -> Any:
    """Return the JSON of a good answer.

    :raises RuntimeError: if it is another answer: then there is nothing to measure.
    """
    credential = subject.credentials.read_text(encoding="utf-8").splitlines()[0]
    status, body = answer(subject, credential)
    if status != 200:
        raise RuntimeError(f"{subject.name} answered {status}: {body}")
    return body


def argon2_runs(server: Server) -> float:
    """Return how many texts all processes of a keyportal have put to argon2, as its metrics say."""
    token = server.environment["KEYPORTAL_METRICS_TOKEN"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        text = connection.getresponse().read().decode("utf-8")
    finally:
        connection.close()
    found = [line.split()[-1] for line in text.splitlines() if line.startswith("keyportal_argon2_runs_total ")]
    if not found:
        raise RuntimeError(f"The metrics do not tell the runs of argon2:\n{text[:500]}")
    return float(found[0])


def interleaved(
    subjects: Sequence[Subject], postgres: PostgresCluster, *, rounds: int, seconds: int, warm: int = WARM_SECONDS
) -> list[Rounds]:
    """Warm every subject, then drive them in turns."""
    found = [Rounds(subject.name) for subject in subjects]
    for subject in subjects:
        check(subject)
        drive(subject.url, subject.credentials, connections=CONNECTIONS, seconds=warm)
    for number in range(1, rounds + 1):
        for subject, its in zip(subjects, found, strict=True):
            before = cpu_seconds(subject.server.pid), cpu_seconds(postgres.pid)
            result = drive(subject.url, subject.credentials, connections=CONNECTIONS, seconds=seconds)
            # What it still has to do, requests that wrk gave up on and records of use, is its own and nobody else's.
            time.sleep(SETTLE_SECONDS)
            after = cpu_seconds(subject.server.pid), cpu_seconds(postgres.pid)
            its.results.append(result)
            its.cpu.append((after[0] - before[0]) / result.requests * 1e6)
            its.database_cpu.append((after[1] - before[1]) / result.requests * 1e6)
            say(f"  round {number}/{rounds}: {subject.name}: {result.per_second:,.0f}/s, p99 {result.p99:.1f} ms")
    return found
