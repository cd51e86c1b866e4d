"""An argon2 that gets no memory, and stored digests that are none or would cost too much."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apikeys import hashing
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from tests.cast import Issued
from tests.faults.conftest import Tell
from tests.faults.house import House
from tests.wire.wire import recomputed

# More than the C library keeps in hand for later, so that each run has to ask the kernel for it.
ARGON2_MEMORY_KIB = 64 * 1024
_TAIL = "$" + "A" * 22 + "$" + "A" * 43
BAD_DIGESTS = {
    "empty": "",
    "cut off": "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
    "another algorithm": "pbkdf2_sha256$1000000$salt$" + "A" * 43,
    "another argon2": "$argon2i$v=19$m=19456,t=2,p=1" + _TAIL,
    "noise": "\u2028'; --" + "x" * 150,
    "4 TiB": "$argon2id$v=19$m=4294967295,t=2,p=1" + _TAIL,
    "4 billion passes": "$argon2id$v=19$m=19456,t=4294967295,p=1" + _TAIL,
    "16 million lanes": "$argon2id$v=19$m=19456,t=2,p=16777215" + _TAIL,
    "nothing": "$argon2id$v=19$m=0,t=0,p=0" + _TAIL,
    "beyond 32 bits": "$argon2id$v=19$m=9999999999,t=9999999999,p=9999999999" + _TAIL,
}
# A row is read and its digest looked at; argon2 alone takes longer by far.
REFUSED_MILLISECONDS = 5.0


@contextmanager
def without_memory(pid: int) -> Iterator[None]:
    """Let a process have no more memory than it has now, and a little."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [kib] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:")]
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, ((kib + ARGON2_MEMORY_KIB // 4) * 1024, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)


@pytest.mark.every_database
def test_argon2_without_memory_refuses_nobody_for_good(house: House) -> None:
    house.serve_anew(KEYPORTAL_ARGON2_MEMORY_KIB=str(ARGON2_MEMORY_KIB))
    key_id, cold = house.issue()
    house.serve_anew(KEYPORTAL_ARGON2_MEMORY_KIB=str(ARGON2_MEMORY_KIB))
    assert house.verdict(house.key).status == 200
    warm = [house.whoami() for _ in range(8)]
    [pid] = house.portal.worker_pids

    with without_memory(pid):
        undecided = house.whoami(cold)
        wrong = house.whoami(wrong_secret(cold))
        warm += [house.whoami() for _ in range(8)]
        issuing = house.ask_issue()

    assert (undecided.status, undecided.code, undecided.retry_after) == (503, "verification_unavailable", "1")
    assert (wrong.status, wrong.code) == (503, "verification_unavailable")
    assert {call.status for call in warm} == {200}
    assert (issuing.status, issuing.code, issuing.retry_after) == (503, "unavailable", "1")
    assert house.verdict(cold).status == 200
    assert house.verdict(wrong_secret(cold)).status == 401
    assert house.ask_revoke(key_id).status == 204


def wrong_secret(text: str) -> str:
    """Return the key's form and checksum around another secret."""
    return recomputed(text[:-32] + text[-32:-6][::-1])


@pytest.mark.every_database
def test_bad_digest_is_neither_good_nor_wrong(house: House) -> None:
    house.serve()
    key_id, text = house.issue()
    assert house.whoami(text).status == 200
    [(digest,)] = house.rows("SELECT digest FROM apikeys_apikey WHERE label = %s", label_of(text))

    for name, bad in BAD_DIGESTS.items():
        set_digest(house, text, bad)
        called = house.whoami(text)
        assert (called.status, called.code, called.retry_after) == (503, "verification_unavailable", "1"), name

    set_digest(house, text, digest)
    assert house.verdict(text).status == 200
    assert house.ask_revoke(key_id).status == 204


def label_of(text: str) -> str:
    return text.rpartition("_")[0]


def set_digest(house: House, text: str, digest: str) -> None:
    with house.database() as rows:
        assert rows.change("UPDATE apikeys_apikey SET digest = %s WHERE label = %s", digest, label_of(text)) == 1


@pytest.mark.parametrize("name", BAD_DIGESTS)
def test_bad_digest_is_refused_within_five_milliseconds(issued: Issued, name: str, tell: Tell) -> None:
    ApiKey.objects.filter(pk=issued.row.pk).update(digest=BAD_DIGESTS[name])
    before = hashing.runs()
    taken = []
    for _ in range(10):
        hashing.forget_all()
        started = time.perf_counter()
        verification = verify(issued.text, at=datetime.now(UTC), source="192.0.2.1")
        taken.append((time.perf_counter() - started) * 1000)
        assert verification.outcome is Outcome.UNAVAILABLE

    tell("milliseconds", f"{min(taken):.2f} to {max(taken):.2f}")
    assert hashing.runs() in {0, before}
    assert min(taken) < REFUSED_MILLISECONDS
