"""The addresses of this machine, as others on its networks can use them."""

import ipaddress
import logging
from collections.abc import Iterable

import ifaddr

from crust.endpoint import Endpoint

log = logging.getLogger("crust.nat")

_latest: list[ifaddr.Adapter] = []
"""What the system last told: of all that is asked here, it is the same for everybody in the process."""


def _adapters() -> list[ifaddr.Adapter]:
    """All interfaces; those of the last time if the system does not tell now.

    To be told takes a descriptor, and there may be none left. That is no sign of an address that has gone.
    """
    global _latest
    try:
        _latest = list(ifaddr.get_adapters())
    except OSError as error:
        log.warning("this machine's addresses are thought to be as before, as the system does not tell: %s", error)
    return _latest


def interface_addresses() -> list[str]:
    """Every address of every interface, in the system's order; IPv6 ones without a scope."""
    found: list[str] = []
    for adapter in _adapters():
        found += [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]
    return list(dict.fromkeys(found))


def interface_networks() -> list[str]:
    """The networks that this machine is in, as ``192.168.1.2/24``; without link-local ones."""
    found: list[str] = []
    for adapter in _adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            if not ipaddress.ip_address(host.partition("%")[0]).is_link_local:
                found.append(f"{host}/{ip.network_prefix}")
    return list(dict.fromkeys(found))


def reachable_addresses(listening_on: Iterable[str], own: Iterable[str]) -> list[str]:
    """The addresses under which a listener can be reached.

    Unspecified addresses stand for all addresses of their family. Loopback and link-local addresses mean nothing to
    other hosts: they are left out unless a listener is bound to one of them; loopback ones also stay where there is
    nothing else.

    Args:
        listening_on: addresses that listeners are bound to.
        own: addresses of this machine.
    """
    candidates: list[str] = []
    explicit: set[str] = set()
    own = list(own)
    for host in listening_on:
        address = ipaddress.ip_address(host.partition("%")[0])
        if address.is_unspecified:
            candidates += [one for one in own if ipaddress.ip_address(one).version == address.version]
        else:
            candidates.append(host)
            explicit.add(host)
    candidates = list(dict.fromkeys(candidates))
    useful = [host for host in candidates if host in explicit or _means_something_elsewhere(host)]
    return useful or [host for host in candidates if ipaddress.ip_address(host).is_loopback]


def own_endpoints(bound: Iterable[Endpoint], addresses: Iterable[str]) -> list[Endpoint]:
    """Where others can reach listeners.

    Args:
        bound: where they are bound.
        addresses: those of this machine.
    """
    bound, addresses = list(bound), list(addresses)
    found: list[Endpoint] = []
    for protocol, port in dict.fromkeys((endpoint.protocol, endpoint.port) for endpoint in bound):
        hosts = [endpoint.host for endpoint in bound if (endpoint.protocol, endpoint.port) == (protocol, port)]
        found += [Endpoint(protocol, host, port) for host in reachable_addresses(hosts, addresses)]
    return found


def all_own_endpoints(bound: Iterable[Endpoint], addresses: Iterable[str]) -> set[Endpoint]:
    """All that lead to listeners from this machine, loopback and link-local ones too: never to be dialled."""
    found: set[Endpoint] = set()
    addresses = list(addresses)
    for endpoint in bound:
        host = ipaddress.ip_address(endpoint.host.partition("%")[0])
        same = [one for one in addresses if ipaddress.ip_address(one).version == host.version]
        hosts = same if host.is_unspecified else [endpoint.host]
        found.update(Endpoint(endpoint.protocol, one, endpoint.port) for one in hosts)
    return found


def _means_something_elsewhere(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)
