"""A NAT without devices or a clock: packets and the time in, packets out."""

import random
from collections import Counter
from enum import IntEnum
from typing import NamedTuple, Protocol

from tests.lab.tun_nat_packet import TIME_EXCEEDED, Packet, answer, error_about
from tests.lab.tun_nat_table import Behaviour, Table


class Side(IntEnum):
    """Of a box with two sides."""

    OUTSIDE = 0
    INSIDE = 1


class Leaving(NamedTuple):
    """A packet that leaves, and where."""

    side: Side
    packet: bytes | bytearray


class Core(Protocol):
    """What stands between two sides."""

    def handle(self, side: Side, data: bytes, now: float) -> Leaving | None:
        """An IPv4 packet came from ``side``; what leaves for it, if anything does."""


class Wire:
    """Only a way from one side to the other."""

    def handle(self, side: Side, data: bytes, now: float) -> Leaving | None:
        return Leaving(Side(1 - side), data)


class Nat:
    """A NAT of some behaviour.

    Args:
        outer, inner: its addresses on both sides, as four bytes.
        seed: what is random is the same for the same seed and packets.
    """

    def __init__(self, behaviour: Behaviour, outer: bytes, inner: bytes, seed: int) -> None:
        self.behaviour = behaviour
        self.table = Table(behaviour, outer, random.Random(seed))
        self.counters: Counter[str] = Counter()
        self._outer, self._inner = outer, inner

    def handle(self, side: Side, data: bytes, now: float) -> Leaving | None:
        packet = Packet.parse(data)
        if packet is None:
            self.counters["not understood"] += 1
            return None
        return self._leaves(packet, now) if side is Side.INSIDE else self._enters(packet, now)

    def _leaves(self, packet: Packet, now: float) -> Leaving | None:
        host = packet.data[16:20]
        if host == self._inner:
            return self._say(Side.INSIDE, answer(packet))
        if host[0] >= 224:  # multicast and broadcast stay where they are
            return None
        if host == self._outer and not self.behaviour.hairpin:
            return self._unasked(Side.INSIDE, packet)
        if not packet.hop():
            return self._say(Side.INSIDE, error_about(packet, TIME_EXCEEDED, 0, self._inner))
        if packet.is_error:
            return self._error_leaves(packet, now)
        mapped = self.table.outgoing(packet, now)
        if mapped is None:
            self.counters["no such connection"] += 1
            return None
        packet.source = mapped.outer  # as others see it, also for a neighbour (RFC 4787 section 6)
        if host == self._outer:
            self.counters["hairpin"] += 1
            return self._delivered(packet, now) or self._unasked(Side.INSIDE, packet, back_to=mapped.inner)
        self.counters["out"] += 1
        return Leaving(Side.OUTSIDE, packet.data)

    def _enters(self, packet: Packet, now: float) -> Leaving | None:
        if packet.data[16:20] != self._outer:
            return None
        if packet.is_error:
            return self._error_enters(packet, now)
        arrived = self._delivered(packet, now)
        if arrived is None:
            return self._unasked(Side.OUTSIDE, packet)
        self.counters["in"] += 1
        return arrived if packet.hop() else self._say(Side.OUTSIDE, error_about(packet, TIME_EXCEEDED, 0, self._outer))

    def _delivered(self, packet: Packet, now: float) -> Leaving | None:
        if packet.asks_for_echo:  # a ping is for the router: nothing inside could be meant
            return None
        mapped = self.table.incoming(packet, now)
        if mapped is None:
            return None
        packet.destination = mapped.inner
        return Leaving(Side.INSIDE, packet.data)

    def _unasked(self, side: Side, packet: Packet, back_to: bytes | None = None) -> Leaving | None:
        self.counters["unasked"] += 1
        if not self.behaviour.answers:
            return None
        if back_to is not None:
            packet.source = back_to
        return self._say(side, answer(packet))

    def _say(self, side: Side, said: bytes | None) -> Leaving | None:
        return None if said is None else Leaving(side, said)

    def _error_enters(self, packet: Packet, now: float) -> Leaving | None:
        """Something outside complains about a packet of ours; our host is to know. The mapping stays (RFC 4787, 10)."""
        about = packet.quoted()
        mapped = about and self.table.flow(about.protocol, about.source, about.destination, now)
        if about is None or not mapped:
            self.counters["error about nothing"] += 1
            return None
        about.source = mapped.inner
        return Leaving(Side.INSIDE, packet.quote(about, bytes(packet.data[12:16]), mapped.inner[:4]))

    def _error_leaves(self, packet: Packet, now: float) -> Leaving | None:
        """Our host complains about a packet that came in."""
        about = packet.quoted()
        mapped = about and self.table.reaching(about.protocol, about.destination, about.source, now)
        if about is None or not mapped or mapped.outer[:4] == about.source[:4]:
            self.counters["error about nothing"] += 1
            return None
        about.destination = mapped.outer
        return Leaving(Side.OUTSIDE, packet.quote(about, self._outer, bytes(packet.data[16:20])))
