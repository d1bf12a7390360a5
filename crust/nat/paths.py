"""The ways out of this machine on which a router may be: `find_paths`."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import ifaddr

from crust.nat.routes import Route, default_routes

MAX_PATHS: Final = 16
"""Paths used: a host of containers has hundreds of interfaces, most of which lead nowhere."""
_LONGEST_PREFIX: Final = 30  # bits; longer ones are tunnels


@dataclass(frozen=True, slots=True)
class Path:
    """A way out of this machine.

    Attributes:
        interface: its name.
        local: our address there, IPv4 or IPv6, without a scope.
        prefix: bits of the network's part of it.
        gateway: the router's address (a link-local one with its scope); ``None`` if the system knows of none there.
    """

    interface: str
    local: str
    prefix: int
    gateway: str | None

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.local).version

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The addresses that are reached without a router."""
        return ipaddress.ip_network((self.local, self.prefix), strict=False)


def find_paths(adapters: Iterable[Any] | None = None, routes: list[Route] | None = None) -> list[Path]:
    """All that a router could be asked on, those with a known router first.

    For IPv4 these are private addresses: who has a public one needs no mapping, and searches of the local network have
    no place in a data centre. For IPv6 they are public ones on an interface with a router, whose firewall may be asked.

    Args:
        adapters: what ``ifaddr`` found; ``None`` to ask it now.
        routes: the default routes; ``None`` to ask the system now.

    Raises:
        OSError: the system does not tell.
    """
    routes = default_routes() if routes is None else routes
    found: dict[tuple[object, ...], Path] = {}
    for adapter in ifaddr.get_adapters() if adapters is None else adapters:
        for ip in adapter.ips:
            path = _path(adapter, ip, routes)
            if path is not None:
                # One address for each IPv4 network: the router would be the same.
                key = (path.interface, path.network if path.version == 4 else path.local)
                found.setdefault(key, path)
    return sorted(found.values(), key=lambda path: (path.gateway is None, path.version))[:MAX_PATHS]


def _path(adapter: Any, ip: Any, routes: list[Route]) -> Path | None:
    host = ip.ip if isinstance(ip.ip, str) else ip.ip[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return None
    if address.version == 4 and (address.is_global or ip.network_prefix > _LONGEST_PREFIX):
        return None
    names = {adapter.name, ip.nice_name, host, str(adapter.index)}
    fitting = [route.gateway for route in routes if route.interface in names]
    versions = [gateway for gateway in fitting if ipaddress.ip_address(gateway).version == address.version]
    gateway = versions[0] if versions else None
    if address.version == 6 and (gateway is None or not address.is_global):
        return None
    return Path(ip.nice_name, host, ip.network_prefix, gateway)
