"""Which address of this machine a packet for somebody bears, `source_towards`, and which listener that belongs to."""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from crust.endpoint import Endpoint
from crust.nat.interfaces import interface_networks
from crust.nat.ranges import is_in

_ANYWHERE: Final = {4: Endpoint.utp("198.51.100.1:9"), 6: Endpoint.utp("[2001:db8::1]:9")}
"""By IP version, addresses for documentation (RFC 5737, RFC 3849): they stand for all that are not near. Nothing is
sent there."""


def source_towards(remote: Endpoint) -> str | None:
    """The address, without a scope, from which the system would send there now; ``None`` if it has no way there.

    Nothing is sent, and nothing blocks. Any thread may call.

    Args:
        remote: where to; ``None`` comes of a name, which is not looked up.
    """
    if remote.is_name:
        return None
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(remote.address)
            host: str = sock.getsockname()[0]
    except OSError:
        return None
    return host.partition("%")[0]


def listener_towards(hosts: Iterable[str], target: Endpoint) -> str | None:
    """From which listener packets for somebody can leave; ``None``: from none of them.

    A listener may be bound to one address of several. What leaves from another one than the system would choose takes
    a wrong way, where no answer comes back, or none at all (a VPN's address, loopback).

    Args:
        hosts: where listeners are bound, the best first; ``0.0.0.0`` and ``::`` stand for all addresses.
        target: where to; not a name.
    """
    to = _parse(target.host)
    same = [host for host in hosts if _parse(host).version == to.version]
    everywhere = next((host for host in same if _parse(host).is_unspecified), None)
    single = [host for host in same if not _parse(host).is_unspecified]
    if not single:
        return everywhere
    source = source_towards(target)
    if source is None:  # no way there now: the attempt will say why
        return everywhere or next((host for host in single if _parse(host).is_loopback == to.is_loopback), None)
    exact = next((host for host in single if _parse(host) == _parse(source)), None)
    if exact is not None or everywhere is not None:
        return exact or everywhere
    # One of several addresses in the same network leads the same way.
    networks = [network for network in interface_networks() if network.partition("/")[0] == source]
    return next((host for host in single if is_in(host, networks)), None)


def listener_for_strangers(hosts: Iterable[str], version: int) -> str | None:
    """At which listener whoever is not near can meet us: as `listener_towards`, or else the first one that is not for
    this machine alone, or any.

    Args:
        hosts: as there.
        version: of IP, 4 or 6.
    """
    same = [host for host in hosts if _parse(host).version == version]
    best = listener_towards(same, _ANYWHERE[version])
    return best or min(same, key=lambda host: _parse(host).is_loopback, default=None)


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
