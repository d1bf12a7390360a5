"""A bottleneck in virtual time, and flows through it that always have something to send.

Only what congestion control sees is modelled: one queue that holds so many bytes and drains at a constant rate, delay
there and back, random loss, and an acknowledgement of each packet. A run depends on nothing but its arguments.
"""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from random import Random
from typing import Protocol

from crust.transport.utp.delay import DelayTracker
from crust.transport.utp.ledbat import Ledbat
from crust.transport.utp.round_trip import RoundTrip
from crust.transport.utp.sequence import micros

PACKET = 1400  # bytes
_REORDERED = 3  # packets sent later that arrive before one counts as lost
_MANY = 1 << 24  # bytes; a window that never is the limit


class Window(Protocol):
    """What a flow asks its congestion control."""

    window: float

    def on_ack(self, acked: int, in_flight: int, queueing: float, rtt: float, now: float) -> None: ...
    def on_loss(self, now: float, rtt: float, queueing: float, lost: int = 1) -> bool: ...
    def on_timeout(self, now: float) -> None: ...
    def pacing_rate(self, rtt: float) -> float: ...


class Cubic:
    """The kernel's TCP, roughly (RFC 9438): slow start until the first loss or, as HyStart, until the delay grows."""

    def __init__(self) -> None:
        self.window = 10.0 * PACKET
        self._slow, self._top, self._origin, self._epoch = True, 0.0, 0.0, 0.0
        self._friendly = 0.0
        self._cut = -1.0

    def on_ack(self, acked: int, in_flight: int, queueing: float, rtt: float, now: float) -> None:
        if self._slow:
            self.window += acked
            if queueing > 0.016:
                self._slow, self._top, self._epoch, self._friendly = False, self.window, now, self.window
            return
        top, least = self._top / PACKET, 0.7 * self._top / PACKET
        offset = ((top - least) / 0.4) ** (1 / 3)
        self._friendly += 0.53 * PACKET * acked / self.window
        target = PACKET * (top + 0.4 * (now - self._epoch + rtt - offset) ** 3)
        if target > self.window:
            self.window += min(target - self.window, self.window / 2) * acked / self.window
        self.window = max(self.window, self._friendly)

    def on_loss(self, now: float, rtt: float, queueing: float, lost: int = 1) -> bool:
        if now < self._cut + rtt:
            return False
        self._slow, self._cut, self._epoch, self._top = False, now, now, self.window
        self.window = self._friendly = max(0.7 * self.window, 2 * PACKET)
        return True

    def on_timeout(self, now: float) -> None:
        self._top, self.window, self._slow = self.window, PACKET, True

    def pacing_rate(self, rtt: float) -> float:
        return self.window / rtt * (2.0 if self._slow else 1.2)  # as Linux with fq


class Flow:
    """A sender with endless data, and what came of it."""

    def __init__(self, network: "Network", congestion: Window, start: float, drift: float) -> None:
        self.congestion = congestion
        self.delay, self.round_trip = DelayTracker(), RoundTrip()
        self.arrived: list[tuple[float, int]] = []  # when, bytes
        self.windows: list[tuple[float, float]] = []
        self.cuts = self.timeouts = 0
        self._network, self._drift = network, drift
        self._next, self._in_flight, self._paced_until = 0, 0, 0.0
        self._sent: dict[int, float] = {}
        self._wakes_at = float("inf")
        self._progress_at = start
        self._watched = False
        network.at(start, self._send)

    def rate(self, since: float, until: float) -> float:
        """Bytes a second that arrived."""
        return sum(size for when, size in self.arrived if since <= when < until) / (until - since)

    def _send(self) -> None:
        network, now = self._network, self._network.now
        while self._in_flight + PACKET <= self.congestion.window or not self._in_flight:
            if self._paced_until > now:
                if self._wakes_at <= now or self._wakes_at > self._paced_until:
                    self._wakes_at = self._paced_until
                    network.at(self._paced_until, self._send)
                return
            number, self._next = self._next, self._next + 1
            self._sent[number] = now
            self._in_flight += PACKET
            if self.round_trip.smoothed is not None:
                rate = self.congestion.pacing_rate(self.round_trip.smoothed)
                self._paced_until = max(now - 0.001, self._paced_until) + PACKET / rate
            arrival = network.carry()
            if arrival is not None:
                difference = micros((arrival - now) + 1000 + self._drift * now)
                self.arrived.append((arrival, PACKET))
                network.at(arrival + network.way_back, partial(self._acked, number, difference))
        self._watch()

    def _watch(self) -> None:
        """See to it that a time-out is noticed."""
        if not self._watched:
            self._watched = True
            self._network.at(self._progress_at + self.round_trip.timeout, self._maybe_timed_out)

    def _maybe_timed_out(self) -> None:
        now, self._watched = self._network.now, False
        if now < self._progress_at + self.round_trip.timeout:
            self._watch()
            return
        self._progress_at = now
        self._sent.clear()
        self._in_flight = 0
        self.timeouts += 1
        self.round_trip.back_off()
        self.congestion.on_timeout(now)
        self._send()

    def _acked(self, number: int, difference: int) -> None:
        now, sent_at = self._network.now, self._sent.pop(number, None)
        if sent_at is None:
            return
        self._progress_at = now
        rtt = now - sent_at
        self.round_trip.sample(rtt, now)
        queueing = self.delay.sample(difference or 1, now, rtt)
        before = self._in_flight
        self._in_flight -= PACKET
        lost = list(takewhile(lambda other: other <= number - _REORDERED, self._sent))
        for other in lost:
            del self._sent[other]
            self._in_flight -= PACKET
        if lost and self.congestion.on_loss(now, self.round_trip.smoothed or rtt, queueing, len(lost)):
            self.cuts += 1
        self.congestion.on_ack(PACKET, before, queueing, rtt, now)
        self.windows.append((now, self.congestion.window))
        self._send()


class Network:
    """The bottleneck, and the time.

    Args:
        rate: bytes a second.
        queue: bytes that wait at most.
        round_trip: seconds, with an empty queue.
        loss: of all packets, at random.
        seed: for the loss.
    """

    def __init__(self, rate: float, queue: float, round_trip: float, loss: float = 0.0, seed: int = 1) -> None:
        self.now = 0.0
        self.rate, self.way_back = rate, round_trip / 2
        self.dropped = 0
        self.queueing: list[tuple[float, float]] = []  # when, seconds in the queue
        self._queue, self._loss, self._random = queue, loss, Random(seed)
        self._busy_until = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def flow(self, start: float = 0.0, congestion: Window | None = None, drift: float = 0.0) -> Flow:
        """A flow that begins at ``start``, of uTP if nothing else is said; its clock gains ``drift`` seconds each
        second."""
        return Flow(self, congestion or Ledbat(PACKET, _MANY), start, drift)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something done."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def carry(self) -> float | None:
        """When a packet sent now arrives; ``None``: never."""
        waiting = max(self._busy_until - self.now, 0.0)
        if waiting * self.rate + PACKET > self._queue:
            self.dropped += 1
            return None
        self.queueing.append((self.now, waiting))
        self._busy_until = self.now + waiting + PACKET / self.rate
        if self._random.random() < self._loss:
            return None
        return self._busy_until + self.way_back

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def mean_queueing(self, since: float) -> float:
        """Seconds that packets waited, on average over packets."""
        waits = [wait for when, wait in self.queueing if when >= since]
        return sum(waits) / len(waits)
