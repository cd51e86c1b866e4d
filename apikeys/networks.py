"""The networks that keys may come from, in CIDR notation (RFC 4632, RFC 4291 §2.3). Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

MAX_NETWORKS = 50


class NotANetwork(ValueError):
    """A text is no network; the sentence says what one looks like and names none, since it may hold anything."""


def parse(text: str) -> str:
    """Return a network or a single address as the network it is.

    :raises NotANetwork: if it is neither, or has bits set beyond its length.
    """
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        raise NotANetwork(
            "Write networks such as 203.0.113.0/24 or 2001:db8::/32, or single addresses; "
            "what follows the prefix length must be zero."
        ) from None


@lru_cache(maxsize=1024)
def is_inside(address: str, networks: tuple[str, ...]) -> bool:
    """Say whether an address lies in one of some networks; what is no address lies nowhere."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in networks)


def is_within(network: str, networks: Sequence[str]) -> bool:
    """Say whether a whole network lies in one of some others."""
    inner = ipaddress.ip_network(network)
    outer = (ipaddress.ip_network(other) for other in networks)
    return any(inner.version == other.version and inner.subnet_of(other) for other in outer)  # type: ignore[arg-type] # both are of one version


@dataclass(frozen=True)
class NetworkPolicy:
    """Where the keys of an organization may come from.

    Keys issued before `since` are left alone until `existing_from`, which may be the same moment.
    """

    networks: tuple[str, ...]
    since: datetime
    existing_from: datetime

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "NetworkPolicy | None":
        """Return what an organization has stored; None where keys may come from everywhere."""
        if not stored.get("networks"):
            return None
        since, existing_from = (datetime.fromisoformat(stored[name]) for name in ("since", "existing_from"))
        return cls(tuple(stored["networks"]), since, existing_from)

    def as_stored(self) -> dict[str, Any]:
        return {
            "networks": list(self.networks),
            "since": self.since.isoformat(),
            "existing_from": self.existing_from.isoformat(),
        }

    def allows(self, address: str, *, created_at: datetime, at: datetime) -> bool:
        """Say whether a key of some age may come from an address at a moment."""
        is_grandfathered = created_at < self.since and at < self.existing_from
        return is_grandfathered or is_inside(address, self.networks)
