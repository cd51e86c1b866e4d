"""The networks that keys may come from, in CIDR notation (RFC 4632, RFC 4291 §2.3). Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

MAX_NETWORKS = 50
# How many earlier networks are kept for keys that may still come from them: each call with a key reads them.
MAX_EARLIER = 4


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

    Keys issued before `since` may come from where they could before, until `existing_from`, which may be the same
    moment: from the networks of `before`, or from everywhere if there was no such policy.
    """

    networks: tuple[str, ...]
    since: datetime
    existing_from: datetime
    before: "NetworkPolicy | None" = None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "NetworkPolicy | None":
        """Return what an organization has stored; None where keys may come from everywhere."""
        if not stored.get("networks"):
            return None
        since, existing_from = (datetime.fromisoformat(stored[name]) for name in ("since", "existing_from"))
        return cls(tuple(stored["networks"]), since, existing_from, cls.of(stored.get("before", {})))

    def as_stored(self) -> dict[str, Any]:
        earlier = {"before": self.before.as_stored()} if self.before else {}
        return {
            "networks": list(self.networks),
            "since": self.since.isoformat(),
            "existing_from": self.existing_from.isoformat(),
        } | earlier

    def allows(self, address: str, *, created_at: datetime, at: datetime) -> bool:
        """Say whether a key of some age may come from an address at a moment."""
        if is_inside(address, self.networks):
            return True
        if created_at >= self.since or at >= self.existing_from:
            return False
        return self.before is None or self.before.allows(address, created_at=created_at, at=at)


def is_narrower(networks: Sequence[str], before: Sequence[str]) -> bool:
    """Say whether some networks leave out a part of what others allowed; none allow everything."""
    if not networks:
        return False
    return not before or not all(is_within(network, networks) for network in before)


def changed(
    policy: NetworkPolicy | None, networks: Sequence[str], *, existing_from: datetime, at: datetime
) -> NetworkPolicy | None:
    """Return the policy of an organization once it has other networks; existing keys keep theirs until a moment.

    Where nothing is taken away there is nothing to wait for, so keys that were held to the old networks never get
    out of them by that.
    """
    if not networks:
        return None
    if policy and not is_narrower(networks, policy.networks):
        return replace(policy, networks=tuple(networks))
    return NetworkPolicy(tuple(networks), at, max(existing_from, at), _earlier(policy, at, MAX_EARLIER))


def _earlier(policy: NetworkPolicy | None, at: datetime, depth: int) -> NetworkPolicy | None:
    """Return a policy without those before it that hold for no key any more, or lie too far back."""
    if policy is None:
        return None
    is_over = policy.existing_from <= at
    if is_over or (depth == 1 and policy.before):
        # Whoever came by an older promise is held to this policy's networks from now on.
        return replace(policy, existing_from=min(policy.existing_from, at), before=None)
    return replace(policy, before=_earlier(policy.before, at, depth - 1))
