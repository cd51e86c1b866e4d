"""What is said of a key on one host holds on the other, from the moment that the first one has answered."""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from statistics import quantiles

import pytest

from tests.faults.load import Call, Client
from tests.hosts.conftest import Tell
from tests.hosts.pair import Issued, Pair, verdict, whoami

pytestmark = pytest.mark.postgresql

ISSUED = 1_000
# A busy machine may keep the test itself from asking at once; it then asks of more keys.
MOST_ISSUED = 3 * ISSUED
AT_ONCE_SECONDS = 0.010
REVOKED = 50
HAMMERED = 10_000
HAMMERS = 6
ACCEPTED = (200, "")
# How long after the revocation was answered a call began, in seconds, and what became of it.
Found = tuple[float, tuple[int, str]]


def spread(seconds: Sequence[float]) -> str:
    """Say how long things took, in milliseconds."""
    cuts = quantiles(seconds, n=1000)
    named = {"median": cuts[499], "p90": cuts[899], "p99": cuts[989], "p99.9": cuts[998], "most": max(seconds)}
    return ", ".join(f"{name} {value * 1000:.2f} ms" for name, value in named.items())


def asked_at_once(gaps: Sequence[float]) -> int:
    return sum(gap < AT_ONCE_SECONDS for gap in gaps)


def test_key_issued_on_one_host_works_on_the_other_within_10_ms(pair: Pair, tell: Tell) -> None:
    gaps: list[float] = []
    answers: list[float] = []
    refused: list[tuple[int, tuple[int, str]]] = []
    with closing(Client(pair.a.port)) as a, closing(Client(pair.b.port)) as b:
        for number in range(MOST_ISSUED):
            if number >= ISSUED and asked_at_once(gaps) > ISSUED * 0.95:
                break
            issued = pair.issue(a, f"issued {number}")
            used = b.call("GET /v1/whoami", issued.text)
            gaps.append(used.started - issued.at)
            answers.append(used.ended - issued.at)
            if verdict(used) != ACCEPTED:
                refused.append((number, verdict(used)))

    in_time = asked_at_once(gaps)
    tell("from A's answer to B's being asked", spread(gaps))
    tell("from A's answer to B's", spread(answers))
    tell("asked within 10 ms", f"{in_time} of {len(gaps)}")
    assert refused == []
    assert in_time > ISSUED * 0.95


@dataclass
class Hammer:
    """Clients that call host B with keys that end one after the other, most of all with the one whose turn it is."""

    port: int
    keys: Sequence[Issued]
    turn: int = 0
    calls: list[tuple[int, Call]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> list[tuple[int, Call]]:
        calls: list[tuple[int, Call]] = []
        with closing(Client(self.port)) as client:
            for number in count(secrets.randbelow(len(self.keys))):
                if self._is_over.is_set():
                    return calls
                place = self.turn if number % 2 else number // 2 % len(self.keys)
                calls.append((place, client.call("GET /v1/whoami", self.keys[place].text)))
                # For whoever waits to know whether there were enough; a list's append is atomic.
                self.calls.append(calls[-1])
        raise AssertionError("There is no last number.")

    def end(self) -> None:
        self._is_over.set()


def test_nothing_that_starts_after_a_revocation_was_answered_is_accepted_elsewhere(pair: Pair, tell: Tell) -> None:
    with closing(Client(pair.a.port)) as a, ThreadPoolExecutor(HAMMERS) as pool, ExitStack() as stack:
        keys = [pair.issue(a, f"to be revoked {number}") for number in range(REVOKED)]
        hammer = Hammer(pair.b.port, keys)
        stack.callback(hammer.end)
        hammering = [pool.submit(hammer.run) for _ in range(HAMMERS)]
        time.sleep(0.5)
        revocations = []
        for hammer.turn, issued in enumerate(keys):
            time.sleep(0.05)
            revocations.append(pair.revoke(a, issued))
            time.sleep(0.05)
        wait_for_enough(hammer)
        hammer.end()
        calls = [call for future in hammering for call in future.result()]

    before: list[Found] = []
    during: list[Found] = []
    after: list[Found] = []
    for place, call in calls:
        revocation = revocations[place]
        when = before if call.ended < revocation.started else after if call.started > revocation.ended else during
        when.append((call.started - revocation.ended, verdict(call)))
    tell("calls", f"{len(calls)}: {len(before)} before, {len(during)} while one was revoked, {len(after)} after")
    tell("while it was revoked", tally([found for _, found in during]))
    tell("begun less than 5 ms after", sum(since < 0.005 for since, _ in after))
    assert len(calls) >= HAMMERED
    assert [found for found in before if found[1] != ACCEPTED] == []
    assert [found for found in after if found[1] != (401, "key_revoked")] == []
    assert {found for _, found in during} <= {ACCEPTED, (401, "key_revoked")}


def wait_for_enough(hammer: Hammer) -> None:
    end = time.monotonic() + 60
    while len(hammer.calls) < HAMMERED:
        assert time.monotonic() < end, f"Only {len(hammer.calls)} calls."
        time.sleep(0.05)


def tally(found: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{found.count(kind)} × {kind[0]} {kind[1]}".rstrip() for kind in sorted(set(found)))


# What ends a key, or takes from it what it may do, where its issuer lost it. There is no address for these yet.
LOSSES = {
    "demotion": "UPDATE accounts_teammembership SET role = 'developer' WHERE id = %(team_membership_id)s",
    "removal-from-the-team": "DELETE FROM accounts_teammembership WHERE id = %(team_membership_id)s",
    "deactivation": "UPDATE accounts_user SET is_active = false WHERE id = %(user_id)s",
    "expiry": "UPDATE apikeys_apikey SET expires_at = clock_timestamp() WHERE id = %(key_id)s",
    "disabling": "UPDATE apikeys_apikey SET disabled_at = clock_timestamp() WHERE id = %(key_id)s",
    "suspension": "UPDATE accounts_organization SET suspended_at = clock_timestamp() WHERE id = %(organization_id)s",
}
REFUSALS = {
    "demotion": (403, "insufficient_scope"),
    "removal-from-the-team": (401, "issuer_gone"),
    "deactivation": (401, "issuer_gone"),
    "expiry": (401, "key_expired"),
    "disabling": (401, "key_disabled"),
    "suspension": (401, "organization_suspended"),
}


@pytest.fixture(scope="module")
def settled(pair: Pair) -> dict[str, dict[str, str]]:
    return pair.settle([*LOSSES])


@pytest.fixture
def clients(pair: Pair) -> Iterator[list[Client]]:
    """Three kept connections to each host: more than one worker has each key in its cache."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Client(portal.port))) for portal in pair.both for _ in range(3)]


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_a_right_holds_on_the_next_request_of_every_host(
    pair: Pair, settled: dict[str, dict[str, str]], clients: list[Client], loss: str
) -> None:
    one = settled[loss]
    ask = "GET /v1/audit-events"
    assert [verdict(client.call(ask, one["key"])) for client in clients] == [ACCEPTED] * len(clients)

    pair.change(LOSSES[loss], one)

    assert [verdict(client.call(ask, one["key"])) for client in clients] == [REFUSALS[loss]] * len(clients)


def test_expiry_holds_by_itself_on_every_host(pair: Pair) -> None:
    one = pair.settle(["evening"])["evening"]
    # It is verified beforehand, so that there is time to ask both hosts while it lasts.
    assert [verdict(whoami(portal, one["key"])) for portal in pair.both] == [ACCEPTED] * 2
    pair.change(
        "UPDATE apikeys_apikey SET expires_at = clock_timestamp() + interval '2 seconds' WHERE id = %(key_id)s", one
    )
    ends = time.monotonic() + 2
    assert [verdict(whoami(portal, one["key"])) for portal in pair.both] == [ACCEPTED] * 2
    time.sleep(max(0.0, ends - time.monotonic()))
    assert [verdict(whoami(portal, one["key"])) for portal in pair.both] == [(401, "key_expired")] * 2
