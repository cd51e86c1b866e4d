"""Addresses and networks as bytes, in which a network is a range. Pure: no Django, no I/O."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

_MAPPED = 0xFFFF << 32


class Range(NamedTuple):
    """The first and the last address of a network."""

    first: bytes
    last: bytes


@lru_cache(maxsize=4096)
def place_of(address: str) -> bytes:
    """Return an address as 16 bytes, one of IPv4 as RFC 4291 §2.5.5.2 maps it.

    :raises ValueError: if it is none.
    """
    return _bytes(ipaddress.ip_address(address))


def range_of(network: str) -> Range:
    """Return the range of a network in CIDR notation; a single address is one.

    :raises ValueError: if it is none.
    """
    parsed = ipaddress.ip_network(network, strict=False)
    return Range(_bytes(parsed.network_address), _bytes(parsed.broadcast_address))


def _bytes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    number = int(address) | _MAPPED if address.version == 4 else int(address)
    return number.to_bytes(16, "big")
