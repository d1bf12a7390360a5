"""A node: one multiplexer, driven as the thread of a real socket drives it, with a clock and a kernel of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.constants import MAX_BURST, MAX_SEGMENTS
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import HEADER_SIZE
from tests.transport.utp.simulation.clockwork import Hang
from tests.transport.utp.simulation.link import IP_AND_UDP, TooBig

if TYPE_CHECKING:
    from tests.transport.utp.simulation.network import Network

MOST_FUTILE_WAKES = 50
"""Timers in a row that come too late to wait for and get nothing done: a busy loop in a real socket."""

NEVER = float("inf")


class Activity(Protocol):
    """Something that uses a connection."""

    connection: UtpConnection

    def act(self) -> None:
        """Look whether there is something to do."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a node takes for the time."""

    offset: float = 1000.0
    """Seconds it shows at the start."""
    drift: float = 0.0
    """Share by which it is too fast."""
    lateness: float = 1e-6
    """Seconds by which a timer fires late: the resolution of waiting. Never early."""

    def shows(self, now: float) -> float:
        """What it shows at ``now``."""
        return self.offset + now * (1.0 + self.drift)

    def when(self, shown: float) -> float:
        """When it shows ``shown``."""
        return (shown - self.offset) / (1.0 + self.drift)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the operating system of a node does between the socket and the wire."""

    rate: float | None = None
    """Bytes per second that its device sends; ``None`` is without limit."""
    buffer: int = 1 << 20
    """Bytes that the socket keeps for the device; what does not fit is not taken."""
    refuses: float = 0.0
    """Share of bursts of which it takes only a part, for no reason that we know."""
    pause: float = 0.003
    """Seconds until it is writable again after that."""
    coalesces: float = 0.0
    """Seconds for which it may keep what arrives, so that several packets are read at once."""
    segments: bool = True
    """Whether a burst is taken in one piece or not at all (``UDP_SEGMENT``), and equal packets come as one."""


class Node:
    """A multiplexer, its clock, its kernel and what uses it."""

    def __init__(
        self, network: "Network", address: Address, mux: Multiplexer, clock: Clock, kernel: Kernel, rng: Random
    ) -> None:
        self.address = address
        self.mux = mux
        self.clock = clock
        self.kernel = kernel
        self.activities: dict[UtpConnection, Activity] = {}
        """What uses each connection; asked after each turn in which something happened to it."""
        self.on_accept: Callable[[UtpConnection], None] | None = None
        """Takes incoming connections; without it they stay with the multiplexer."""
        self.wakes = 0
        self.bursts = 0
        """Packets are handed to the kernel in so many calls,"""
        self.reads = 0
        """and read in so many."""
        self.packets_sent = 0
        self.packets_read = 0
        self._network = network
        self._clockwork = network.clockwork
        self._rng = rng
        self._poked: list[Activity] = []
        self._inbox: list[tuple[bytes, Address]] = []
        self._reading_at = NEVER
        self._timer_at = NEVER
        self._blocked_until = 0.0
        self._device_free_at = 0.0
        self._futile = 0

    @property
    def now(self) -> float:
        """What its clock shows."""
        return self.clock.shows(self._clockwork.now)

    # --- what wakes it -----------------------------------------------------------------------------------------------

    def arrived(self, datagram: bytes, source: Address) -> None:
        """A datagram came; it is read at once or with those that come soon after it."""
        self._inbox.append((datagram, source))
        if not self.kernel.coalesces:
            self.wake()
        elif self._reading_at == NEVER:
            self._reading_at = self._clockwork.now + self._rng.random() * self.kernel.coalesces
            self._clockwork.at(self._reading_at, self.wake)

    def complained(self, destination: Address, complaint: TooBig) -> None:
        """A router says that something did not fit."""
        self.mux.icmp(destination, complaint.error, complaint.mtu, complaint.quoted, self.now)
        self.wake()

    def wake(self) -> None:
        """One turn: read, run timers, let the applications act, send, and arm the timer again."""
        self.wakes += 1
        now = self.now
        if self._inbox:
            self._read(now)
        due = self.mux.next_deadline()
        if due is not None and due <= now:
            self.mux.tick(now)
        while self.on_accept is not None and self.mux.accepted:
            self.on_accept(self.mux.accepted.popleft())
        self._let_act(now)
        self._send(now)
        self._arm(now)

    def poke(self, activity: Activity) -> None:
        """Wake up, and ask this one as well, whatever happened to its connection."""
        self._poked.append(activity)
        self.wake()

    def _let_act(self, now: float) -> None:
        mux = self.mux
        while self._poked or mux.touched:
            asked, self._poked = self._poked, []
            asked += [self.activities[connection] for connection in mux.touched if connection in self.activities]
            mux.touched.clear()
            for activity in asked:
                activity.act()
                mux.wake(activity.connection, now)

    def _read(self, now: float) -> None:
        self._reading_at = NEVER
        inbox, self._inbox = self._inbox, []
        self.packets_read += len(inbox)
        first = 0
        while first < len(inbox):
            datagram, source = inbox[first]
            end = first + 1
            while self.kernel.segments and end < len(inbox) and end - first < MAX_SEGMENTS:
                following, its_source = inbox[end]
                if its_source != source or not 0 < len(following) <= len(datagram):
                    break
                end += 1
                if len(following) < len(datagram):  # a shorter one ends a batch
                    break
            batch = b"".join(packet for packet, _ in inbox[first:end])
            self.reads += 1
            self.mux.receive(batch, source, max(len(datagram), 1), now)
            first = end

    # --- sending -----------------------------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        at = self._clockwork.now
        while at >= self._blocked_until:
            burst = self.mux.next_burst(now)
            if burst is None:
                return
            packets = packets_of(burst)
            taken = self._room_for(packets, at)
            self.bursts += 1
            self.packets_sent += taken
            for packet in packets[:taken]:
                self._network.send(self, burst.address, packet, burst.dont_fragment, self._leaves(len(packet), at))
            self.mux.sent(burst, taken, now)
            if taken < len(packets):
                self._clockwork.at(self._blocked_until, self.wake)

    def _room_for(self, packets: list[bytes], at: float) -> int:
        """How many of these the kernel takes; where fewer than all, it is also said until when it takes no more."""
        kernel = self.kernel
        taken = len(packets)
        if kernel.rate is not None:
            queued = max(self._device_free_at - at, 0.0) * kernel.rate
            # An empty buffer takes one datagram, or one burst, however large it is.
            sure = 0 if queued else len(packets) if kernel.segments else 1
            for number, packet in enumerate(packets):
                queued += len(packet) + IP_AND_UDP
                if queued > kernel.buffer and number >= sure:
                    taken = number
                    self._blocked_until = at + kernel.buffer / 2 / kernel.rate
                    break
        if kernel.refuses and self._rng.random() < kernel.refuses:
            taken = min(taken, self._rng.randrange(len(packets)))
            self._blocked_until = max(self._blocked_until, at + self._rng.random() * kernel.pause)
        return 0 if kernel.segments and taken < len(packets) else taken

    def _leaves(self, size: int, at: float) -> float:
        if self.kernel.rate is None:
            return at
        self._device_free_at = max(self._device_free_at, at) + (size + IP_AND_UDP) / self.kernel.rate
        return self._device_free_at

    # --- the timer ---------------------------------------------------------------------------------------------------

    def _arm(self, now: float) -> None:
        due = self.mux.next_deadline()
        if due is None:
            return
        if due <= now:
            if self._clockwork.now < self._blocked_until:
                return  # what is due waits for the kernel, which says when it takes more
            self._futile += 1
            if self._futile > MOST_FUTILE_WAKES:
                raise Hang(f"{self.address}: {self._futile} times in a row the next deadline is past after a turn")
        else:
            self._futile = 0
        when = max(self.clock.when(due), self._clockwork.now) + self.clock.lateness
        if when < self._timer_at:
            self._timer_at = when
            self._clockwork.at(when, self._timer, when)

    def _timer(self, armed_for: float) -> None:
        if armed_for != self._timer_at:
            return  # a timer for an earlier moment took its place
        self._timer_at = NEVER
        now, due = self.now, self.mux.next_deadline()
        if due is not None and due > now:
            self._arm(now)  # it moved to later
        else:
            self.wake()


def packets_of(burst: Burst) -> list[bytes]:
    """The datagrams of a burst, as the kernel cuts them; it is also looked whether the kernel would take it at all."""
    buffers, segment = burst.buffers, burst.segment
    packets = [b"".join(buffers[index : index + 2]) for index in range(0, len(buffers), 2)]
    assert packets, "an empty burst"
    assert len(packets) == burst.count <= MAX_SEGMENTS, f"{len(packets)} packets in a burst"
    sizes = [len(packet) for packet in packets]
    assert sum(sizes) <= MAX_BURST, f"{sum(sizes)} bytes in a burst"
    assert all(size == segment for size in sizes[:-1]), f"a burst of segments of {segment} bytes has packets of {sizes}"
    assert HEADER_SIZE <= sizes[-1] <= segment, f"the last packet of a burst of {segment} bytes has {sizes[-1]}"
    return packets
