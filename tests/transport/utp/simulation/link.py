"""One direction of a path between two nodes, and what it does to packets."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tests.transport.utp.simulation.clockwork import Clockwork

IP_AND_UDP = 28  # bytes of headers around each datagram on the wire
STEADY = 0.010  # seconds of jitter that no timer takes for a loss
ANY_SIZE = 65_507  # bytes; the largest datagram


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a link is like. The default is a clean one: fast, short and never full."""

    rate: float | None = None
    """Bytes per second; ``None`` is without limit."""
    delay: float = 0.010
    """Seconds, one way, when nothing is queued."""
    jitter: float = 0.0
    """Up to so many seconds more, each packet for itself."""
    in_order: bool = True
    """Whether jitter keeps the order (a busy router) or not (several ways)."""
    queue: int = 1 << 20
    """Bytes that wait in front of a limited rate before the tail is dropped."""
    loss: float = 0.0
    """Share of packets lost, from 0 to 1; the next ones likewise."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of packets that are overtaken by those of the next ``detour`` seconds."""
    detour: float = 0.030
    flip: float = 0.0
    """Share of packets with a wrong bit (UDP's checksum finds most of these; here all arrive)."""
    truncate: float = 0.0
    mtu: int = ANY_SIZE
    """Bytes of UDP payload that fit in one piece."""
    fragments: bool = True
    """Whether larger packets pass in pieces, where they may be cut at all."""
    icmp: bool = False
    """Whether the sender is told of packets that are too big, or they just vanish."""
    outages: tuple[tuple[float, float], ...] = ()
    """From when to when nothing passes."""
    rates: tuple[tuple[float, float], ...] = ()
    """Moments from which on another rate holds, in order."""

    @property
    def damages(self) -> bool:
        """Whether bytes may arrive that nobody sent; no transport without a checksum of its own can hide that."""
        return bool(self.flip or self.truncate)

    @property
    def clean(self) -> bool:
        """Whether no packet is ever lost, doubled, much later than others or changed, unless the queue is full."""
        return not (
            self.loss or self.duplicate or self.reorder or self.damages or self.outages or self.mtu < ANY_SIZE
        ) and (not self.jitter or (self.in_order and self.jitter <= STEADY))


class TooBig(NamedTuple):
    """What a router says about a packet that does not fit."""

    error: int
    mtu: int
    quoted: bytes


@dataclass(slots=True)
class Counts:
    """What became of the packets that were offered."""

    offered: int = 0
    offered_bytes: int = 0
    delivered: int = 0
    lost: int = 0
    overflowed: int = 0
    too_big: int = 0
    too_big_to_cut: int = 0
    """Of these, packets whose sender did not forbid to cut them: no probes."""
    dropped: int = 0
    """By the test's own rule."""
    longest_wait: float = 0.0
    """Seconds in the queue."""


class Link:
    """Carries datagrams one way.

    Args:
        deliver: called with what arrives, when it arrives.
        complain: called with a `TooBig`, one delay after a packet that did not fit.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        conditions: Conditions,
        rng: Random,
        deliver: Callable[[bytes], None],
        complain: Callable[[TooBig], None],
    ) -> None:
        self.conditions = conditions
        self.counts = Counts()
        self.drop: Callable[[bytes], bool] | None = None
        """A test's own rule: packets for which it is true are gone."""
        self._clockwork = clockwork
        self._rng = rng
        self._deliver = deliver
        self._complain = complain
        self._free_at = 0.0  # when what is queued will have left
        self._last_arrival = 0.0
        self._told = False  # once it was told, the sender's kernel cuts what may be cut

    def send(self, datagram: bytes, dont_fragment: bool, at: float) -> str:
        """Take a datagram that leaves its node at ``at``, not before an earlier one.

        Returns:
            What becomes of it, for a trace.
        """
        fate = self._refused(datagram, dont_fragment, at) or self._queued(len(datagram) + IP_AND_UDP, at)
        counts = self.counts
        counts.offered += 1
        counts.offered_bytes += len(datagram)
        if fate:
            return fate
        conditions, rng = self.conditions, self._rng
        leaves = max(at, self._free_at)
        self._arrive(datagram, leaves)
        if conditions.duplicate and rng.random() < conditions.duplicate:
            self._arrive(datagram, leaves + rng.random() * conditions.detour)
            return "doubled"
        return ""

    def _refused(self, datagram: bytes, dont_fragment: bool, at: float) -> str:
        conditions, counts = self.conditions, self.counts
        if self.drop is not None and self.drop(datagram):
            counts.dropped += 1
            return "dropped"
        if len(datagram) > conditions.mtu and (dont_fragment or not (conditions.fragments or self._told)):
            counts.too_big += 1
            counts.too_big_to_cut += not dont_fragment
            if conditions.icmp:
                self._told = True
                quoted = datagram[: self._rng.choice((20, 28, 500))]
                complaint = TooBig(errno.EMSGSIZE, conditions.mtu + IP_AND_UDP, quoted)
                self._clockwork.at(at + conditions.delay, self._complain, complaint)
            return "too big"
        if any(start <= at < end for start, end in conditions.outages):
            counts.lost += 1
            return "outage"
        if conditions.loss and self._rng.random() < conditions.loss:
            counts.lost += 1
            return "lost"
        return ""

    def _queued(self, size: int, at: float) -> str:
        """Make the datagram wait for its turn; what does not fit any more is dropped."""
        rate = self._rate(at)
        if rate is None:
            return ""
        waits = max(self._free_at - at, 0.0)
        if waits * rate + size > self.conditions.queue and waits > 0.0:
            self.counts.overflowed += 1
            return "queue full"
        self.counts.longest_wait = max(self.counts.longest_wait, waits)
        self._free_at = at + waits + size / rate
        return ""

    def _rate(self, at: float) -> float | None:
        rate = self.conditions.rate
        for since, changed in self.conditions.rates:
            if at >= since:
                rate = changed
        return rate

    def _arrive(self, datagram: bytes, leaves: float) -> None:
        conditions, rng = self.conditions, self._rng
        arrival = leaves + conditions.delay
        if conditions.jitter:
            arrival += rng.random() * conditions.jitter
            if conditions.in_order:
                arrival = max(arrival, self._last_arrival)
        if conditions.reorder and rng.random() < conditions.reorder:
            arrival += rng.random() * conditions.detour
        else:
            self._last_arrival = arrival
        if conditions.flip and rng.random() < conditions.flip:
            datagram = _flipped(datagram, rng)
        if conditions.truncate and rng.random() < conditions.truncate:
            datagram = datagram[: rng.randrange(len(datagram))]
        self.counts.delivered += 1
        self._clockwork.at(arrival, self._deliver, datagram)


def _flipped(datagram: bytes, rng: Random) -> bytes:
    """One bit is wrong: half of the time in the header, where it does most."""
    changed = bytearray(datagram)
    limit = min(len(changed), 24) if rng.random() < 0.5 else len(changed)
    changed[rng.randrange(limit)] ^= 1 << rng.randrange(8)
    return bytes(changed)
