"""Which addresses mean something in one local network only. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Final

_LOCAL: Final = [
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598: between a provider's NAT and its customers'
        "127.0.0.0/8",  # RFC 1122
        "169.254.0.0/16",  # RFC 3927
        "::1/128",  # RFC 4291
        "fc00::/7",  # RFC 4193
        "fe80::/10",  # RFC 4291
        "fec0::/10",  # RFC 3879
    )
]


def is_local(host: str) -> bool:
    """Whether somebody outside would mean something else by that address; of an IPv4-mapped one the IPv4 one counts.

    Raises:
        ValueError: not an IP address.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in _LOCAL)


def is_in(host: str, networks: Iterable[str]) -> bool:
    """Whether an IP address is in one of these networks, as ``192.168.1.0/24``."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
