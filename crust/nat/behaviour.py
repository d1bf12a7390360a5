"""How a NAT behaves, in the terms of RFC 4787 and RFC 5780, from what others saw of us. Pure."""

import enum
import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from crust.endpoint import Address

OUTLIERS: Final = 4
"""One observer in so many may be wrong, or lie, and the NAT counts as consistent because the others agree."""
MAX_DELTA: Final = 64
"""Ports by which a NAT that counts up may advance between two mappings of ours: others behind it get some as well."""
SURE_DELTA: Final = 8
"""The same where only one step was seen: two random ports are as close in one of 4,000 cases."""


class Mapping(enum.IntEnum):
    """RFC 4787 section 4.1: whether one socket has one outer address. The numbers are sent: they never change."""

    UNKNOWN = 0
    NONE = 1
    """There is no translation."""
    ENDPOINT_INDEPENDENT = 2
    """One outer address, whoever we talk to."""
    ENDPOINT_DEPENDENT = 3
    """Another one for each we talk to; whether their port matters is not known."""
    ADDRESS_DEPENDENT = 4
    ADDRESS_AND_PORT_DEPENDENT = 5

    @property
    def consistent(self) -> bool:
        """Whether all see the same."""
        return self in (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)

    @property
    def dependent(self) -> bool:
        """Whether others see something else."""
        return self >= Mapping.ENDPOINT_DEPENDENT


class Filtering(enum.IntEnum):
    """RFC 4787 section 5: who can send to an outer address. The numbers are sent: they never change."""

    UNKNOWN = 0
    ENDPOINT_INDEPENDENT = 1
    """Everybody."""
    ADDRESS_DEPENDENT = 2
    """Hosts that we have sent to."""
    ADDRESS_AND_PORT_DEPENDENT = 3
    """Addresses and ports that we have sent to."""


class Allocation(enum.IntEnum):
    """How outer ports are chosen. The numbers are sent: they never change."""

    UNKNOWN = 0
    PRESERVING = 1
    """The same as the inner one."""
    SEQUENTIAL = 2
    """The last one plus a constant."""
    RANDOM = 3


class Sighting(NamedTuple):
    """Somebody saw us; in the order in which we sent to them."""

    observer: Address
    seen: Address


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is known of the way out from one socket."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    allocation: Allocation = Allocation.UNKNOWN
    delta: int = 0
    """From one port to the next, where they are `Allocation.SEQUENTIAL`; -64 to 64."""
    hairpin: bool | None = None
    """Whether the NAT turns around what we send to its own outside; ``None``: not known."""
    several_hosts: bool = False
    """Whether the NAT has used several outer hosts for us (RFC 4787 section 4.1, "arbitrary pooling")."""


UNKNOWN: Final = Behaviour()
"""Nothing is known."""


def network_of(host: str) -> str:
    """Who counts as one observer: an IPv4 network of 24 bits, an IPv6 network of 64."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))


def classify_mapping(sightings: Sequence[Sighting], own_hosts: Collection[str]) -> Mapping:
    """The mapping behaviour.

    Args:
        sightings: of one socket, of one family.
        own_hosts: the addresses of this machine.
    """
    if not sightings:
        return Mapping.UNKNOWN
    usual, _ = Counter(sighting.seen for sighting in sightings).most_common(1)[0]
    networks = {network_of(sighting.observer[0]) for sighting in sightings}
    others = {network_of(sighting.observer[0]) for sighting in sightings if sighting.seen != usual}
    if len(others) <= len(networks) // OUTLIERS:
        if usual[0] in own_hosts:
            return Mapping.NONE
        # One observer alone cannot tell: what looks consistent may look otherwise from elsewhere.
        return Mapping.ENDPOINT_INDEPENDENT if len({each.observer[0] for each in sightings}) > 1 else Mapping.UNKNOWN
    return _how_dependent(sightings)


def _how_dependent(sightings: Sequence[Sighting]) -> Mapping:
    by_host: dict[str, set[Address]] = {}
    ports: dict[str, set[int]] = {}
    for observer, seen in sightings:
        by_host.setdefault(observer[0], set()).add(seen)
        ports.setdefault(observer[0], set()).add(observer[1])
    several = [host for host in by_host if len(ports[host]) > 1]
    if any(len(by_host[host]) > 1 for host in several):
        return Mapping.ADDRESS_AND_PORT_DEPENDENT
    return Mapping.ADDRESS_DEPENDENT if several else Mapping.ENDPOINT_DEPENDENT


def classify_allocation(sightings: Sequence[Sighting], local_port: int) -> tuple[Allocation, int]:
    """How the ports of mappings are chosen, and the step from one to the next (or 0).

    Args:
        sightings: of one socket, in the order of sending.
        local_port: of the socket.
    """
    ports = list(dict.fromkeys(sighting.seen[1] for sighting in sightings))
    if ports and set(ports) == {local_port}:
        return Allocation.PRESERVING, 0
    if len(ports) < 2:
        return Allocation.UNKNOWN, 0
    steps = [_step(one, other) for one, other in pairwise(ports)]
    largest = MAX_DELTA if len(steps) > 1 else SURE_DELTA
    if all(0 < step <= largest for step in steps) or all(0 > step >= -largest for step in steps):
        return Allocation.SEQUENTIAL, min(steps, key=abs)
    return Allocation.RANDOM, 0


def _step(one: int, other: int) -> int:
    """From port to port, the short way round."""
    return (other - one + 0x8000) % 0x10000 - 0x8000


def classify(
    sightings: Sequence[Sighting],
    own_hosts: Collection[str],
    local_port: int,
    filtering: Filtering = Filtering.UNKNOWN,
    hairpin: bool | None = None,
) -> Behaviour:
    """All that follows from what was seen of one socket, in one family; arguments as above. Any thread may call."""
    mapping = classify_mapping(sightings, own_hosts)
    allocation, delta = classify_allocation(sightings, local_port)
    if not mapping.dependent and allocation is not Allocation.PRESERVING:
        allocation, delta = Allocation.UNKNOWN, 0  # one port says nothing about the next
    several = mapping.dependent and len({sighting.seen[0] for sighting in sightings}) > 1
    return Behaviour(mapping, filtering, allocation, delta, hairpin, several)


def predicted_ports(last: int, delta: int, count: int) -> list[int]:
    """The ports that come next where they are counted; those below 1024 are left out, as NATs leave them out."""
    found: Iterable[int] = ((last + delta * number) % 0x10000 for number in range(1, count + 1))
    return [port for port in found if port >= 1024]
