"""`python -m bench.flood`: what good keys still get while others send bogus ones.

24 connections send bogus keys while 8 use a good one. What the good ones get is compared with what is left to them
under the same flood with no key at all, in turns, on the same server, which is new for each kind of flood.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apikeys import keyformat
from apikeys.keyformat import DEFAULT, Key, Shape, mint
from bench import report
from bench.load import Load, Result, drive, write_credentials
from bench.measuring import end_on_signals, say
from bench.processes import Server, forget_peak, memory_mib
from bench.report import Target, at_least, at_most
from bench.subjects import Bench, Portal, running

GOOD_CONNECTIONS = 8
FLOOD_CONNECTIONS = 24
DISTINCT = 20_000  # bogus keys of one kind, sent one after the other: more than any memory of refusals holds
SOURCES = 1_000_000
ARGON2_MIB = 19
PERMITS = 2
RANDOM_LENGTH = DEFAULT.secret_length - keyformat.CHECKSUM_LENGTH


@dataclass(slots=True)
class Flood:
    """What was found of one kind of flood."""

    kind: str
    ratios: list[float] = field(default_factory=list)
    good: list[Result] = field(default_factory=list)
    bogus: list[Result] = field(default_factory=list)
    start_mib: float = 0
    peak_mib: float = 0
    good_statuses: Counter[int] = field(default_factory=Counter)
    bogus_statuses: Counter[int] = field(default_factory=Counter)

    @property
    def bound_mib(self) -> float:
        return self.start_mib + PERMITS * ARGON2_MIB * 1.2

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def _minted(shape: Shape = DEFAULT) -> Key:
    return mint(shape, kind_label="sk", environment="live")


def wrong_secrets(portal: Portal) -> list[str]:
    """Return well-formed keys with the prefix of a real one."""
    label = keyformat.parse(portal.keys[0], [DEFAULT]).label
    bodies = (f"{label}_{_minted().secret[:RANDOM_LENGTH]}" for _ in range(DISTINCT))
    return [body + keyformat._checksum(body) for body in bodies]


def random_prefixes(_portal: Portal) -> list[str]:
    """Return well-formed keys that nobody issued."""
    return [_minted().reveal() for _ in range(DISTINCT)]


def both_mixed(portal: Portal) -> list[str]:
    """Return the two in turns."""
    pairs = zip(wrong_secrets(portal), random_prefixes(portal), strict=True)
    return [key for pair in pairs for key in pair][:DISTINCT]


def malformed(_portal: Portal) -> list[str]:
    """Return what is no key at all: mistyped, shortened, prolonged, in the wrong case, and no text of ours."""
    damages: Sequence[Callable[[str], str]] = (
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key[:-5],
        lambda key: key + "a",
        lambda key: key * 3,
        str.swapcase,
        lambda key: key.replace("_", "-"),
        lambda key: key.partition("_")[2],
        lambda _key: "x",
    )
    return [damages[number % len(damages)](_minted().reveal()) for number in range(DISTINCT)]


def of_another_installation(_portal: Portal) -> list[str]:
    """Return good keys of elsewhere: every second of our own brand, the others of another."""
    elsewhere = (DEFAULT, Shape(brand="acme"))
    return [_minted(elsewhere[number % 2]).reveal() for number in range(DISTINCT)]


def revoked(portal: Portal) -> list[str]:
    """Return the one key that was revoked, which a broken loop goes on sending."""
    return [portal.revoked]


KINDS: dict[str, Callable[[Portal], list[str]]] = {
    "wrong secrets under one known prefix": wrong_secrets,
    "random prefixes": random_prefixes,
    "both mixed": both_mixed,
    "malformed": malformed,
    "keys of another installation": of_another_installation,
    "a revoked key in a loop": revoked,
}


def flooded(portal: Portal, kind: str, *, rounds: int, seconds: int, from_many: bool = False) -> Flood:
    """Serve a portal anew and flood it, in turns with no key and with one kind of bogus keys."""
    bogus = write_credentials(portal.directory / "bogus", [f"Bearer {key}" for key in KINDS[kind](portal)])
    no_key = write_credentials(portal.directory / "no-key", [""])
    found = Flood(f"{kind}, many sources" if from_many else kind)
    server = portal.server(**({"TRUSTED_PROXIES": "127.0.0.1"} if from_many else {}))
    with running(server):
        drive(f"{server.url}/v1/whoami", portal.credentials(), connections=GOOD_CONNECTIONS, seconds=1)
        found.start_mib = max(memory_mib(worker, "VmRSS") for worker in server.workers())
        for worker in server.workers():
            forget_peak(worker)
        for number in range(1, rounds + 1):
            left, _ = _turn(server, portal, no_key, seconds, from_many=from_many)
            good, refused = _turn(server, portal, bogus, seconds, from_many=from_many)
            found.ratios.append(good.per_second / left.per_second)
            found.good.append(good)
            found.bogus.append(refused)
            found.good_statuses.update(left.statuses)
            found.good_statuses.update(good.statuses)
            found.bogus_statuses.update(refused.statuses)
            rates = f"good {good.per_second:,.0f}/s, with no key {left.per_second:,.0f}/s"
            say(f"  round {number}/{rounds}: {found.kind}: {rates}, bogus {refused.per_second:,.0f}/s")
        found.peak_mib = max(memory_mib(worker, "VmHWM") for worker in server.workers())
    return found


def _turn(server: Server, portal: Portal, credentials: Path, seconds: int, *, from_many: bool) -> tuple[Result, Result]:
    url = f"{server.url}/v1/whoami"
    flood = Load(
        url,
        credentials,
        connections=FLOOD_CONNECTIONS,
        # The flood is there before the good ones come, and when they go.
        seconds=seconds + 1,
        order="next",
        sources=SOURCES if from_many else 0,
        counts_statuses=True,
    )
    with flood:
        good = Load(url, portal.credentials(), connections=GOOD_CONNECTIONS, seconds=seconds, counts_statuses=True)
        with good:
            return good.result(), flood.result()


def flood_table(found: Sequence[Flood]) -> str:
    """Return what was found of each kind as Markdown."""
    heads = (
        "flood",
        "good/s",
        "÷ no key",
        "worst round",
        "good p99 ms",
        "bogus/s",
        "peak MiB",
        "bound MiB",
        "bogus got",
    )
    return report.table(
        heads,
        (
            (
                flood.kind,
                f"{statistics.median(good.per_second for good in flood.good):,.0f}",
                f"{flood.ratio:.2f}",
                f"{min(flood.ratios):.2f}",
                f"{statistics.median(good.p99 for good in flood.good):.1f}",
                f"{statistics.median(bogus.per_second for bogus in flood.bogus):,.0f}",
                f"{flood.peak_mib:.0f}",
                f"{flood.bound_mib:.0f}",
                _counted(flood.bogus_statuses),
            )
            for flood in found
        ),
    )


def _counted(statuses: Counter[int]) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))


def targets(found: Sequence[Flood]) -> list[Target]:
    """Return what is asked for beside what was found."""
    good = sum((flood.good_statuses for flood in found), Counter[int]())
    broken = sum(result.broken for flood in found for result in flood.good)
    return [
        *(at_least(f"good requests/s ÷ no key: {flood.kind}", flood.ratio, 0.9) for flood in found),
        Target("good clients were always let in", "200 only", _counted(good), set(good) == {200} and not broken),
        memory_target(found),
    ]


def memory_target(found: Sequence[Flood]) -> Target:
    """Return what the flood that came nearest to the bound of a worker's memory took."""
    worst = max(found, key=lambda flood: flood.peak_mib - flood.bound_mib)
    return at_most(f"peak memory of a worker ({worst.kind})", round(worst.peak_mib), round(worst.bound_mib), " MiB")


def main() -> None:
    """Flood a portal in every way that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description="Flood a keyportal with bogus keys.")
    numbers = dict(enumerate(KINDS, start=1))
    kinds = ", ".join(f"{number} {kind}" for number, kind in numbers.items())
    parser.add_argument("--only", type=int, choices=numbers, nargs="+", default=list(numbers), help=kinds)
    parser.add_argument("--rounds", type=int, default=8, help="how often each has its turn")
    parser.add_argument("--seconds", type=int, default=3, help="how long a turn is")
    parser.add_argument("--from", dest="origin", choices=("one", "many", "both"), default="both", help="sources")
    arguments = parser.parse_args()
    end_on_signals()
    print(report.machine())
    with Bench() as bench:
        portal = bench.portal("flood")
        for origin in ("one", "many") if arguments.origin == "both" else (arguments.origin,):
            say(f"from {origin} …")
            found = [
                flooded(
                    portal,
                    numbers[number],
                    rounds=arguments.rounds,
                    seconds=arguments.seconds,
                    from_many=origin == "many",
                )
                for number in arguments.only
            ]
            title = "From one source" if origin == "one" else f"From up to {SOURCES:,} sources"
            print(f"\n## {title}\n\n{flood_table(found)}\n\n{report.targets_table(targets(found))}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
