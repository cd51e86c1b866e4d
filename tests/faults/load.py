"""Clients that call a portal over kept connections, and remember how each call went."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

# A connection that was closed before any byte of an answer came.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
# One that was closed after the head of an answer had come, and before all of its body had.
CLOSED_WITHIN = (http.client.IncompleteRead, ConnectionResetError)
NO_ANSWER = 0
# The code of a call that nobody was there to take.
REFUSED = "connection refused"
# The code of a call whose answer began and did not end.
CUT_OFF = "answer cut off"
_MOST_ATTEMPTS = 4
# Longer than anything a portal may take.
_TIMEOUT_SECONDS = 25
# Between the calls of one client, so that the load is steady and small.
_PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its answer; times are of the monotonic clock, and `NO_ANSWER` is the status where none came."""

    started: float
    ended: float
    status: int
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    attempts: int = 1

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def retry_after(self) -> str:
        return self.headers.get("retry-after", "")


class Client:
    """One kept connection.

    A server may close a kept connection at any time, also while a request is on its way, and RFC 9110 §9.2.2 lets a
    client send a request without effects once more where no answer came. This one does so for GET where not one
    byte of an answer came; whoever changes something is told `NO_ANSWER`, and decides. So is whoever got a part of an
    answer: the request was carried out, and nobody can say whether all of it was.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=_TIMEOUT_SECONDS, source_address=(source, 0)
        )

    def call(self, target: str, key: str = "", body: dict[str, Any] | None = None) -> Call:
        """Call a target such as `GET /v1/whoami`."""
        started, attempts = time.monotonic(), 0
        most = _MOST_ATTEMPTS if target.startswith("GET") else 1
        while attempts < most:
            attempts += 1
            try:
                return self._attempt(target, key, body, started, attempts)
            except ConnectionRefusedError:
                self._connection.close()
                return Call(started, time.monotonic(), NO_ANSWER, REFUSED, attempts=attempts)
            except CLOSED:
                self._connection.close()
        return Call(started, time.monotonic(), NO_ANSWER, attempts=attempts)

    def _attempt(self, target: str, key: str, body: dict[str, Any] | None, started: float, attempts: int) -> Call:
        method, path = target.split()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body)
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        try:
            data = response.read()
        except CLOSED_WITHIN:
            self._connection.close()
            return Call(started, time.monotonic(), NO_ANSWER, CUT_OFF, attempts=attempts)
        found = json.loads(data) if "json" in (response.headers["Content-Type"] or "") and data else {}
        named = {name.lower(): value for name, value in response.headers.items()}
        return Call(started, time.monotonic(), response.status, found.get("code", ""), named, found, attempts)

    def close(self) -> None:
        self._connection.close()


class Load:
    """Clients that call `GET /v1/whoami` with good keys, as long as the `with` block runs.

    Both the calls and the time are bounded, whatever the block does.
    """

    def __init__(self, port: int, keys: Sequence[str], *, clients: int = 4, most: int = 20_000) -> None:
        self._port, self._keys = port, keys
        self._ends = time.monotonic() + 60
        self._most = most // clients
        self._stopped = threading.Event()
        self._calls: list[list[Call]] = [[] for _ in range(clients)]
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[calls]) for calls in self._calls]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self.join()

    def join(self) -> None:
        """Wait until the clients have ended, each after the call it was at."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    @property
    def calls(self) -> list[Call]:
        """All calls up to now, in the order in which they ended."""
        return sorted((call for calls in self._calls for call in [*calls]), key=lambda call: call.ended)

    @property
    def attempts(self) -> int:
        return sum(call.attempts for call in self.calls)

    def _run(self, calls: list[Call]) -> None:
        try:
            with closing(Client(self._port)) as client:
                while len(calls) < self._most and time.monotonic() < self._ends and not self._stopped.is_set():
                    calls.append(client.call("GET /v1/whoami", self._keys[len(calls) % len(self._keys)]))
                    time.sleep(_PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised again where the clients are waited for
            self._failures.append(error)
