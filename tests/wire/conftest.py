"""One portal for every case of a process: what one case breaks, the next would show."""

import re
import secrets
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apikeys import keyformat
from tests.services import Portal
from tests.wire.wire import Keys, exchange, recomputed, request

_PASSWORD = "violet-harbor-7-pears-at-dusk"
_METRICS_TOKEN = secrets.token_urlsafe(24)


def furnished(portal: Portal) -> "Wire":
    """Give a new portal an organization, and issue what the cases are written with."""
    portal.manage("create_admin", "alice@orchard.example", "--organization", "Orchard", typed=f"{_PASSWORD}\n")
    text = _issued(portal, "wire")
    good = keyformat.parse(text, [keyformat.DEFAULT])
    revoked = _issued(portal, "was revoked")
    portal.manage("revoke_key", keyformat.parse(revoked, [keyformat.DEFAULT]).label)
    digest = _digest(portal, good.prefix)
    # In the cache from here on, so that no case is slow for another's sake.
    assert exchange(portal, request("GET /v1/whoami", f"Authorization: Bearer {text}")).status == 200
    return Wire(portal, Keys(_texts(text, good, digest) | {"revoked": revoked}))


def _issued(portal: Portal, name: str) -> str:
    return portal.manage("issue_key", f"--name={name}", "--scope=org", "--permissions=*").stdout.strip()


def _digest(portal: Portal, prefix: str) -> str:
    connection = sqlite3.connect(portal.data_dir / "keyportal.sqlite3")
    try:
        [(digest,)] = connection.execute("SELECT digest FROM apikeys_apikey WHERE prefix = ?", [prefix]).fetchall()
    finally:
        connection.close()
    return str(digest)


def _texts(text: str, good: keyformat.Key, digest: str) -> dict[str, str]:
    public, secret = f"{good.prefix}_", good.secret[:26]
    other = keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live")
    return {
        "key": text,
        "label": good.label,
        "prefix": good.prefix,
        "secret": good.secret,
        "digest": digest,
        "tag": digest.rpartition("$")[2],
        "unknown": other.reveal(),
        # Another's secret behind the good key's public part, and the other way round.
        "wrong": recomputed(f"{good.label}_{other.secret[:26]}"),
        "swapped": recomputed(f"{other.label}_{secret}"),
        "pk": recomputed(f"kp_pk_live_{public}{secret}"),
        "sk": recomputed(f"kp_sk_live_{public}{secret}"),
        "test": recomputed(f"kp_org_test_{public}{secret}"),
        # Words that no shape of this installation has.
        "admin": recomputed(f"kp_admin_live_{public}{secret}"),
        "prod": recomputed(f"kp_org_prod_{public}{secret}"),
        "brand": recomputed(f"xx_org_live_{public}{secret}"),
        "no_kind": recomputed(f"kp_live_{public}{secret}"),
        "shouted": recomputed(f"KP_ORG_LIVE_{public}{secret}"),
        "dashed": recomputed(f"kp-org-live-{good.prefix}-{secret}"),
        "long_prefix": recomputed(f"kp_org_live_0{public}{secret}"),
        "long_secret": recomputed(f"{good.label}_{secret}0"),
        "short_secret": recomputed(f"{good.label}_{secret[:-1]}"),
        "typo": text[:-1] + ("0" if text[-1] != "0" else "1"),
        "other_case": text[:-32] + text[-32:].swapcase(),
        "jwt": ".".join(secrets.token_urlsafe(size).replace("-", "x").replace("_", "y") for size in (27, 60, 32)),
        "token": secrets.token_hex(20),
    }


@dataclass(frozen=True, slots=True)
class Wire:
    """A portal at the other end of the wire, and the keys that it issued."""

    portal: Portal
    keys: Keys

    def runs(self) -> int:
        """Return how often the portal has run argon2 so far, as it tells an operator's Prometheus."""
        answer = exchange(self.portal, request("GET /metrics", f"Authorization: Bearer {_METRICS_TOKEN}"))
        assert answer.status == 200
        samples = re.findall(rb"^keyportal_argon2_runs_total(?:\{.*\})? ([0-9.e+]+)$", answer.raw, re.MULTILINE)
        assert samples
        return int(sum(map(float, samples)))


def new_portal(directory: Path) -> Portal:
    # The bogus keys of all cases come from one address, and are more than anyone sends by mistake.
    return Portal(directory, KEYPORTAL_METRICS_TOKEN=_METRICS_TOKEN, KEYPORTAL_FAILURES_PER_SOURCE="100000")


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    portal = new_portal(tmp_path_factory.mktemp("wire") / "portal")
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


@pytest.fixture(scope="session")
def wire(portal: Portal) -> Wire:
    return furnished(portal)
