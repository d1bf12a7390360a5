"""What every way of finding peers finds: a `Contact`; and which endpoints are worth a try at all (`dialable`)."""

import enum
import ipaddress
from dataclasses import dataclass
from typing import Final

from crust.endpoint import Endpoint, Protocol
from crust.identity import PeerId

_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")  # RFC 1122 section 3.2.1.3: never a destination
_IPV4_RESERVED: Final = ipaddress.IPv4Network("240.0.0.0/4")  # RFC 1112 section 4; the limited broadcast is its last
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 section 2.5.5.1, deprecated; ::1 is in it

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Source(enum.IntEnum):
    """Who told us of a contact. The numbers are stored in files: they never change."""

    CONFIG = 1
    """The configuration lists it."""
    FALLBACK = 2
    """The program gave it to its manager."""
    CACHE = 3
    """It worked before; an earlier run remembered it."""
    BEACON = 4
    """It answered on the local network."""
    GOSSIP = 5
    """A peer told us of it."""
    CONNECTED = 6
    """It connected to us, or a user dialled it."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A node that may be there, and how it may be reached."""

    endpoints: tuple[Endpoint, ...]
    """All lead to the same node; at least one."""

    peer_id: PeerId | None
    """Who should answer; ``None`` if nobody said."""

    source: Source
    """Who told us."""


def dialable(endpoint: Endpoint, *, allow_loopback: bool = False, allow_link_local: bool = False) -> bool:
    """Whether an endpoint that another node (or a file) told us of is worth dialling and remembering.

    Never are: host names (a stranger shall not choose what we ask name servers for), tracer endpoints (clear text),
    relayed ones (nobody listens there), port 0, and unspecified, multicast, broadcast and reserved addresses. Of an
    IPv4-mapped IPv6 address the embedded one counts. Endpoints that the user configured need not pass.

    Args:
        endpoint: the endpoint.
        allow_loopback: whether 127.0.0.0/8 and ::1 will do; for tests and demonstrations.
        allow_link_local: whether 169.254.0.0/16 will do, and fe80::/10 with a scope (without one nobody can dial it).
    """
    if endpoint.is_name or endpoint.protocol not in (Protocol.TCP, Protocol.UTP) or endpoint.port == 0:
        return False
    host, _, scope = endpoint.host.partition("%")
    address = _embedded(ipaddress.ip_address(host))
    if address.is_loopback:
        return allow_loopback
    if address.is_link_local:
        return allow_link_local and (address.version == 4 or bool(scope))
    return not (address.is_unspecified or address.is_multicast or _is_reserved(address))


def _embedded(address: IpAddress) -> IpAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_reserved(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in _THIS_NETWORK or address in _IPV4_RESERVED
    return address in _IPV4_COMPATIBLE
