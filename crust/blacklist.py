"""Whom a node does not talk to: peer ids, endpoints, IP addresses and networks. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from crust.endpoint import Endpoint
from crust.errors import ConfigError, EndpointError
from crust.identity import PeerId

Entry: TypeAlias = PeerId | Endpoint | str
"""A peer id, an endpoint (its address counts), or text: an IP address, a CIDR network, an endpoint or a peer id."""


class Blacklist:
    """A fixed set of unwanted peers and addresses.

    Args:
        entries: see `Entry`.

    Raises:
        ConfigError: an entry is none of those.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._peers: set[PeerId] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: object) -> None:
        if isinstance(entry, PeerId):
            self._peers.add(entry)
            return
        try:
            host = entry.host if isinstance(entry, Endpoint) else str(entry)
            self._networks.append(_network(host.partition("%")[0]))
            return
        except ValueError:
            pass
        try:
            if isinstance(entry, str):
                self._add(Endpoint.parse(entry) if ":" in entry else PeerId.parse(entry))
                return
        except EndpointError:
            pass
        raise ConfigError(
            f"blacklist: {entry!r} is none of: a peer id, an endpoint with an IP address, an IP address, "
            "a network such as 192.0.2.0/24"
        )

    def has_peer(self, peer_id: PeerId) -> bool:
        """Whether that peer is unwanted. Any thread may call."""
        return peer_id in self._peers

    def has_address(self, host: str) -> bool:
        """Whether that IP address is unwanted (names never are). Any thread may call."""
        if not self._networks:
            return False
        try:
            address = _network(host.partition("%")[0]).network_address
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network, or a single address as one; IPv4 inside IPv6 (``::ffff:192.0.2.1``) is IPv4.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
