"""How far a node looks for others: its networks, this machine only, or not at all."""

import ipaddress
import os
from collections.abc import Iterable
from typing import Final

from crust.discovery.beacon_links import Link, links

ISOLATED: Final = "CRUST_ISOLATED"
"""Environment variable. If it is set (to anything but 0), no node speaks to a LAN or opens the usual cache file by
itself: for tests of programs that use Crust."""


def isolated() -> bool:
    """Whether the environment asks for silence."""
    return os.environ.get(ISOLATED, "0") not in ("", "0")


def on_this_machine_only(listen_addresses: Iterable[str]) -> bool:
    """Whether a node that listens there can have peers on its own machine only."""
    return all(_address(host).is_loopback for host in listen_addresses)


def links_towards(listen_addresses: Iterable[str]) -> list[Link]:
    """The networks on which a node that listens there can be reached.

    Raises:
        OSError: the system does not tell.
    """
    wanted = [_address(host) for host in listen_addresses]
    if all(address.is_loopback for address in wanted):
        return links(loopback=True)
    if any(address.is_unspecified for address in wanted):
        return links()
    return links(only=frozenset(map(str, wanted)))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
