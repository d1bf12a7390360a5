"""The networks that this machine is on, as far as a beacon can speak to all of them: `links`."""

import ipaddress
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any, Final

import ifaddr

MAX_LINKS: Final = 64
"""Links used: a host of containers has hundreds of interfaces, most of which lead nowhere."""
_LONGEST_PREFIX: Final = 30  # bits; longer ones leave nobody to broadcast to


class Link:
    """An interface, for one version of IP. Equal if all of it is.

    Attributes:
        version: 4 or 6.
        index: the system's number of the interface.
        name: for people.
        address: ours on it.
        prefix: bits of the network's part.
    """

    def __init__(self, version: int, index: int, name: str, address: str, prefix: int) -> None:
        self._key = version, index, name, address, prefix
        self.version, self.index, self.name, self.address, self.prefix = self._key

    @cached_property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """All addresses that are reached without a router."""
        return ipaddress.ip_network((self.address, self.prefix), strict=False)

    @property
    def broadcast(self) -> str:
        """What reaches all of an IPv4 network."""
        return str(self.network.broadcast_address)

    @cached_property
    def is_loopback(self) -> bool:
        """Whether only this machine is there."""
        return ipaddress.ip_address(self.address).is_loopback

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Link) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<IPv{self.version} {self.address}/{self.prefix} on {self.name}>"


def links(
    adapters: Iterable[Any] | None = None, *, loopback: bool = False, only: Collection[str] | None = None
) -> list[Link]:
    """All links; loopback (IPv4 only) where there is no other: then peers of this machine still find each other.

    Args:
        adapters: what ``ifaddr`` found; ``None`` to ask it now.
        loopback: whether loopback is all that is wanted.
        only: the addresses of the interfaces that count; ``None`` for all.

    Raises:
        OSError: the system does not tell.
    """
    found: dict[tuple[object, ...], Link] = {}
    for adapter in ifaddr.get_adapters() if adapters is None else adapters:
        if only is not None and not any(_host(ip) in only for ip in adapter.ips):
            continue
        for ip in adapter.ips:
            link = _link(adapter, ip)
            if link is not None:
                # One address for each network of an interface: more would only say the same again.
                found.setdefault((link.index, link.version, link.network), link)
    inside = [link for link in found.values() if link.is_loopback]
    outside = [link for link in found.values() if not link.is_loopback]
    return (inside if loopback or not outside else outside)[:MAX_LINKS]


def _host(ip: Any) -> str:
    return ip.ip if isinstance(ip.ip, str) else str(ip.ip[0]).partition("%")[0]


def _link(adapter: Any, ip: Any) -> Link | None:
    if adapter.index is None:
        return None
    if isinstance(ip.ip, str):
        usable = ip.network_prefix <= _LONGEST_PREFIX and not ipaddress.ip_address(ip.ip).is_unspecified
        return Link(4, adapter.index, ip.nice_name, ip.ip, ip.network_prefix) if usable else None
    host = _host(ip)
    if not ipaddress.ip_address(host).is_link_local:
        return None
    return Link(6, adapter.index, ip.nice_name, host, ip.network_prefix)


def is_near(host: str, known: Iterable[Link]) -> bool:
    """Whether something came from one of our networks: everything else is none of a beacon's business.

    Args:
        host: the address it came from; an IPv6 one may have a scope.
        known: our links.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 6:
        return address.is_link_local
    return any(link.version == 4 and address in link.network for link in known)
