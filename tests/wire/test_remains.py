"""Every case once more, to a portal of its own; then every byte that it left is searched."""

import signal
from collections import Counter
from pathlib import Path

from tests.services import Portal
from tests.wire import test_bodies, test_credentials
from tests.wire.conftest import Wire, furnished, new_portal
from tests.wire.wire import Answer, Log, exchange


def test_all_that_was_sent_leaves_no_secret_and_one_line_each(tmp_path: Path) -> None:
    portal = new_portal(tmp_path / "portal")
    try:
        wire = furnished(portal.start())
        log = Log(portal)
        answers = [*credentials_sent(wire), *bodies_sent(wire)]
        # While it runs, what it wrote last may be in the write-ahead log alone.
        left = everything(portal, "running")
    finally:
        portal.stop(number=signal.SIGINT)
    left |= everything(portal, "stopped")

    requests = [line["request_id"] for line in log.lines if line["event"] == "request"]
    # What never reached the application, gunicorn answered: it has no id, and no line of ours.
    ids = [answer.headers["x-request-id"] for answer in answers if "x-request-id" in answer.headers]
    assert Counter(requests) == Counter(ids)
    assert len(requests) > 300
    issued = [answer.body["key"] for answer in answers if answer.status == 201]
    # The search would find something: the public part of a key is in these places.
    assert {name.split()[1] for name, text in left.items() if wire.keys.texts["prefix"].encode() in text} >= {
        "keyportal.sqlite3",
        "stderr",
    }
    for secret in [*wire.keys.secrets, *secrets_of(issued), *tokens(wire)]:
        assert [name for name, text in left.items() if secret in text] == []


def credentials_sent(wire: Wire) -> list[Answer]:
    return [exchange(wire.portal, test_credentials.bytes_of(case, wire)) for case in test_credentials.CASES]


def bodies_sent(wire: Wire) -> list[Answer]:
    answers = []
    for case in test_bodies.CASES:
        sent = test_bodies.body_of(case, wire)
        head = test_bodies.head_of(case, wire, sent)
        answers.append(exchange(wire.portal, head + sent, is_cut_off=case.is_cut_off))
    return answers


def everything(portal: Portal, when: str) -> dict[str, bytes]:
    return {f"{when} {path.name}": path.read_bytes() for path in portal.directory.rglob("*") if path.is_file()}


def secrets_of(keys: list[str]) -> list[bytes]:
    return [half for key in keys for half in (key[-32:-19].encode(), key[-19:-6].encode())]


def tokens(wire: Wire) -> list[bytes]:
    """Return what stood for credentials of others in the requests, a JWT's parts for one."""
    return [part.encode() for part in (*wire.keys.texts["jwt"].split("."), wire.keys.texts["token"])]
