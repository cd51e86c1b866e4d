"""Bytes to a portal's port and back, what it logged meanwhile, and how a case is written and judged."""

import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apikeys import keyformat
from keyportal.http import CHALLENGE, PROBLEMS
from tests.services import Portal

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
# What gunicorn says of a request that never reached the application; nothing of the request itself is in it.
_OWN_REFUSAL = re.compile(r"Invalid request from ip=127\.0\.0\.1: [A-Za-z ]+")
# No public part of a key, and no id, has so many letters and digits in a row; every half of a secret does.
_TELLING = re.compile(rb"[0-9A-Za-z]{16,}")


@dataclass(frozen=True, slots=True)
class Keys:
    """The portal's keys that the cases are written with, each under the name that stands for it in braces."""

    texts: dict[str, str] = field(repr=False)

    def fill(self, template: str) -> str:
        """Return the template with each `{name}` replaced; other braces, JSON's for one, are left alone."""
        return re.sub(r"\{([a-z_]+)\}", lambda match: self.texts.get(match[1], match[0]), template)

    @property
    def secrets(self) -> list[bytes]:
        """What must be found nowhere: of each key the random part of its secret, in halves."""
        found = [text[-32:-6].encode() for text in self.texts.values() if re.fullmatch(r"kp_\w+_[0-9A-Za-z]{32}", text)]
        return [half for secret in found for half in (secret[:13], secret[13:])]


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a request: its status and code, the events logged, and how often argon2 may run."""

    status: int
    code: str = ""
    events: tuple[str, ...] = ()
    most_runs: int = 0
    is_gunicorns: bool = False


ACCEPTED = Expected(200)
MISSING = Expected(401, "missing_credentials", ("api_key.auth_failed",))
MALFORMED = Expected(401, "invalid_key", ("api_key.auth_failed",))
# It has the form of a token, whose signature is no secret's of ours.
FORGED = Expected(401, "invalid_token", ("token.auth_failed",))
# It has the form of a key: only the database, or argon2, can tell that it is none.
WRONG = Expected(401, "invalid_key", ("api_key.auth_failed",), most_runs=1)
REVOKED = Expected(401, "key_revoked", ("api_key.auth_failed",), most_runs=1)
SEVERAL = Expected(400, "invalid_request", ("api_key.auth_failed",))
EXPOSED = Expected(400, "key_in_query", ("api_key.exposed",), most_runs=1)
NOT_FOUND = Expected(404, "not_found")
NO_HTTP = Expected(400, is_gunicorns=True)
TOO_LARGE = Expected(431, is_gunicorns=True)


@dataclass(frozen=True, slots=True)
class Answer:
    raw: bytes = field(repr=False)

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}

    @property
    def body(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        return parsed


def exchange(portal: Portal, request: bytes, *, is_cut_off: bool = False) -> Answer:
    """Send these bytes, and return all that comes back until the portal closes the connection.

    :param is_cut_off: says that nothing more will come, as a client does that goes away in the middle.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=15) as connection:
        connection.sendall(request)
        if is_cut_off:
            connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return Answer(received)


def request(line: str, headers: str, *, encoding: str = "utf-8") -> bytes:
    """Return a request without a body. A header may be anything, several of them and broken ones included."""
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}"
    return f"{head}\r\n\r\n".encode(encoding) if headers else f"{head}\r\n".encode(encoding)


class Log:
    """What a portal has logged since this was made."""

    def __init__(self, portal: Portal) -> None:
        self._file = portal.directory / "stderr"
        self._start = self._file.stat().st_size

    @property
    def raw(self) -> bytes:
        with self._file.open("rb") as file:
            file.seek(self._start)
            return file.read()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.splitlines()]

    def events_of(self, request_id: str) -> list[str]:
        return [line["event"] for line in self.lines if line.get("request_id") == request_id]


def recomputed(body: str) -> str:
    """Return a key of this text with the checksum that it ought to have."""
    return body + keyformat._checksum(body)


def judge(answer: Answer, expected: Expected, log: Log, *, portal: Portal) -> None:
    """Hold an answer, and what was logged for it, to what must come of the request."""
    assert answer.status == expected.status, answer.raw[:600]
    assert answer.raw.count(b"HTTP/1.1 ") == 1
    if expected.is_gunicorns:
        assert "x-request-id" not in answer.headers
        assert [line["event"] for line in log.lines if not _OWN_REFUSAL.fullmatch(line["event"])] == []
        return
    request_id = answer.headers["x-request-id"]
    assert UUID(request_id).version == 7
    assert log.events_of(request_id) == [*expected.events, "request"]
    [line] = [line for line in log.lines if line["event"] == "request" and line["request_id"] == request_id]
    assert (line["status"], line["address"]) == (expected.status, "127.0.0.1")
    assert [line for line in log.lines if line["level"] in {"error", "critical"} or "exception" in line] == []
    assert answer.headers["cache-control"] == "no-store"
    if expected.status >= 400:
        judge_problem(answer, expected, url=portal.url)


def judge_problem(answer: Answer, expected: Expected, *, url: str) -> None:
    """Hold a refusal to RFC 9457 and RFC 6750."""
    body, request_id = answer.body, answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.keys() - {"errors"} == MEMBERS
    assert (body["status"], body["code"]) == (expected.status, expected.code)
    assert (body["request_id"], body["instance"]) == (request_id, f"urn:uuid:{request_id}")
    assert (body["type"], body["title"]) == (f"{url}/v1/docs#{expected.code}", PROBLEMS[expected.code].title)
    assert body["detail"]
    assert ("errors" in body) == (expected.code == "invalid_field")
    error = "" if expected.code == "missing_credentials" else ', error="invalid_token"'
    challenge = CHALLENGE + error if expected.status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge


def repeated(sent: bytes, answer: Answer, log: Log, expected: Expected) -> list[bytes]:
    """Return what was sent and may be a secret, or a good part of one, and was answered or logged.

    Where gunicorn answers by itself it tells the sender, and nobody else, which line it could not read.
    """
    places = [log.raw] if expected.is_gunicorns else [log.raw, answer.raw]
    return [run for run in _TELLING.findall(sent) if any(run in place for place in places)]
