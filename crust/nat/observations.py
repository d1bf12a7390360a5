"""`Observations`: under which addresses others see us, and how far they can be believed. Pure.

Everybody who tells us may lie, or may see something that holds for them alone. An address counts when observers in
several networks agree: observers of one IPv4 network of 24 bits, or IPv6 network of 64, have one voice together.
"""

import enum
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.discovery.contact import dialable
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import EndpointError
from crust.nat.behaviour import Sighting, network_of
from crust.nat.ranges import is_local

LIKELY_BY: Final = 2
"""Voices from which on an address is worth a try: one liar cannot make one up."""
CONFIRMED_BY: Final = 4
"""Voices from which on others are told. What go-libp2p asks for as well."""
OBSERVATION_LIFETIME: Final = 600.0
"""Seconds for which a voice counts. NATs forget what is idle sooner, but mostly give the same address again."""
MAX_VOICES: Final = 64
"""Voices of one socket; beyond it those that were heard the longest ago are forgotten."""
MAX_SOCKETS: Final = 16
"""Local ports of which observations are kept."""


class Confidence(enum.IntEnum):
    """How far an address can be believed."""

    HEARD = 1
    """One voice says so, or most say otherwise."""
    LIKELY = 2
    """`LIKELY_BY` voices, and more than half of all."""
    CONFIRMED = 3
    """`CONFIRMED_BY` voices, and more than half of all."""


class Believed(NamedTuple):
    """An address that others see."""

    address: Address
    confidence: Confidence
    voices: int


@dataclass(slots=True)
class _Voice:
    sighting: Sighting
    expires: float


class Observations:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    TCP and UDP ports, and each local port, are kept apart; so are the families of addresses and private from public
    ones: what a neighbour behind the same NAT sees contradicts nobody outside.
    """

    def __init__(self) -> None:
        self._sockets: OrderedDict[tuple[Protocol, int], OrderedDict[Hashable, _Voice]] = OrderedDict()

    def saw(self, protocol: Protocol, local_port: int, observer: Address, seen: Address, now: float) -> bool:
        """Somebody told us which address they see.

        Args:
            protocol: TCP or uTP.
            local_port: of the socket that they were talked to from.
            observer: their address, as we see it.
            seen: what they say.
            now: seconds.
        Returns:
            Whether it can be true at all: nobody is seen at port 0, or at an address that nobody can send to, or at
            one of another family.
        """
        try:
            plausible = dialable(Endpoint.utp(seen), allow_loopback=True, allow_link_local=True)
        except EndpointError:
            return False
        if not plausible or (":" in seen[0]) != (":" in observer[0]):
            return False
        voices = self._sockets.setdefault((protocol, local_port), OrderedDict())
        self._sockets.move_to_end((protocol, local_port))
        voice = network_of(observer[0]), _realm(seen)
        voices.pop(voice, None)
        voices[voice] = _Voice(Sighting(observer, seen), now + OBSERVATION_LIFETIME)
        if len(voices) > MAX_VOICES:
            voices.popitem(last=False)
        if len(self._sockets) > MAX_SOCKETS:
            self._sockets.popitem(last=False)
        return True

    def forget(self) -> None:
        """Forget everything: an interface came or went."""
        self._sockets.clear()

    def sightings(self, protocol: Protocol, local_port: int, now: float) -> list[Sighting]:
        """What counts now, in the order in which it was heard."""
        voices = self._sockets.get((protocol, local_port))
        return [voice.sighting for voice in voices.values() if voice.expires > now] if voices else []

    def addresses(self, protocol: Protocol, local_port: int, now: float) -> list[Believed]:
        """The addresses of a socket: the most credible one of each family, public and private; the best first."""
        return self._consensus(protocol, local_port, now, lambda seen: seen)

    def hosts(self, protocol: Protocol, local_port: int, now: float) -> list[Believed]:
        """The same for hosts alone, with port 0: a NAT that changes the port for each observer may keep the host."""
        return self._consensus(protocol, local_port, now, lambda seen: (seen[0], 0))

    def _consensus(
        self, protocol: Protocol, local_port: int, now: float, key: Callable[[Address], Address]
    ) -> list[Believed]:
        votes: dict[Hashable, dict[Address, int]] = {}
        for _, seen in self.sightings(protocol, local_port, now):
            counts = votes.setdefault(_realm(seen), {})
            counts[key(seen)] = counts.get(key(seen), 0) + 1
        found = []
        for counts in votes.values():
            address = max(counts, key=lambda each: counts[each])
            found.append(Believed(address, _confidence(counts[address], sum(counts.values())), counts[address]))
        return sorted(found, key=lambda believed: (-believed.confidence, -believed.voices))


def _realm(seen: Address) -> Hashable:
    address = ipaddress.ip_address(seen[0].partition("%")[0])
    return address.version, is_local(seen[0])


def _confidence(voices: int, total: int) -> Confidence:
    if voices * 2 <= total or voices < LIKELY_BY:
        return Confidence.HEARD
    return Confidence.CONFIRMED if voices >= CONFIRMED_BY else Confidence.LIKELY
