"""The congestion window: LEDBAT (RFC 6817), which yields to whatever fills the same queue, with changes.

The window grows while packets wait less than the target in queues, and shrinks when they wait longer. No clock: times
are seconds, sizes are bytes. What differs from libutp and from RFC 6817, and why:

* **Above the target the window shrinks in proportion to itself** (as in LEDBAT++, draft-irtf-iccrg-ledbat-plus-plus
  4.2), not by at most a packet each round trip: beside TCP the way is free at once, and of two flows the larger one
  gives way more, so that they come to share alike.
* **Slowdowns** (LEDBAT++ 4.4): a flow that starts while the queue is full takes the full queue for an empty one, and
  pushes the others out. So each flow now and then stops filling the queue, sees how empty it gets, and goes on with
  what the path holds without a queue, which is known from how far the delay fell. Soon after the start first, then
  ever more rarely, and never for more than 1/`SLOWDOWN_SHARE` of the time. If the queue stays full meanwhile, others
  fill it, TCP most likely: then it goes on with half of that.
* **Slowdowns are joined** (not in LEDBAT++; BBR's flows meet in PROBE_RTT likewise). If the queue falls to less than
  half of what it usually is, another flow has begun a slowdown, and we begin ours, unless the last was just now. Only
  so does everybody see an empty queue. And if two take turns, the one that has had its turn is always the smaller one:
  in the lab two flows with turns 1.5 s apart shared 64:36 for good, and have 51:49 since they join.
* **Losses cost by what waits in the queue** (RFC 6817 2.4.2 and libutp always halve). With an empty queue they are the
  radio's doing: up to 2 % of the packets may be lost so for nothing (as in BBRv2), more cost 15 % of the window. The
  more waits, the more a loss costs, half at a fifth of the target, and seven tenths from a third on: somebody overfills
  the queue who heeds nothing but losses, and TCP, which gives up 30 %, is to come out of it ahead. At most once in a
  round trip, where libutp says 100 ms.
* **Growth fades with the cube** of what is left to the target, not in proportion: who comes when TCP has filled the
  queue takes what TCP never empties for the base, and sees a queue that is far from the target but never empty.
* **Slow start ends at 8 ms** (libutp: 90 % of the target), with half of the window it had come to, because it doubles
  until what it did a round trip ago is seen: half is what made the 8 ms.
* At most a packet per round trip is gained (RFC 6817; libutp 3000 bytes), and no more than was used (2.4.1; RFC 7661).

In the lab (20 Mbit/s, 200 ms of queue; `python -m benches.congestion`, and docs/utp.md for all figures) CUBIC keeps
97 % of the link beside it (beside libutp 86 %); with 1 % of loss at 40 ms it has 89 % of the link (CUBIC 14 %), and had
30 % when every loss did cost.
"""

from typing import Final

from crust.transport.utp.constants import (
    FIRST_SLOWDOWN,
    INITIAL_WINDOW,
    LATER_SLOWDOWNS,
    MIN_WINDOW,
    SLOW_START_DELAY,
    SLOWDOWN_SHARE,
    TARGET_DELAY,
)

_NEVER: Final = float("inf")
_EMPTY_QUEUE: Final = 0.003  # seconds; clocks and schedulers are no better than that
_TOLERATED: Final = 0.02  # of packets, that may be lost while the queue is empty (BBRv2's BBRLossThresh)
_ALLOWANCE: Final = 8.0  # packets: so many tolerated losses can be saved up, so that bursts of losses do count
_OTHERS_QUEUE: Final = TARGET_DELAY * 0.4  # seconds; when so much waits while we send nothing, others fill the queue
_OTHERS_LEFT: Final = 0.5  # of the usual queue; when it falls below that, somebody else has begun a slowdown
_USUAL: Final = 8.0  # round trips
_LOSS_FACTOR: Final = 0.85  # what is left of the window after a loss with an empty queue
_LOSS_FLOOR: Final = 0.3  # what is left of it at least
_LOSS_DELAY: Final = 1.75 / TARGET_DELAY  # how much less is left per second of queueing, down to the floor


class Ledbat:
    """How many bytes of one connection may be on their way. Not thread-safe: it belongs to the connection.

    Args:
        packet_size: bytes of an ordinary full packet.
        maximum: bytes; the window never gets larger.
    """

    __slots__ = (
        "_allowance",
        "_drained_at",
        "_full_queue",
        "_full_rtt",
        "_joins_at",
        "_last_cut",
        "_lowest_queue",
        "_lowest_rtt",
        "_maximum",
        "_pause",
        "_queued",
        "_resume",
        "_slow_since",
        "_slowdown_at",
        "_threshold",
        "_usual_queue",
        "packet_size",
        "window",
    )

    def __init__(self, packet_size: int, maximum: int) -> None:
        self.packet_size = packet_size
        """Bytes of an ordinary full packet; set it when the path MTU changes."""
        self.window = float(INITIAL_WINDOW * packet_size)
        """Bytes that may be on their way."""
        self._maximum = float(maximum)
        self._threshold = _NEVER  # bytes; below it the window doubles each round trip
        self._last_cut = -_NEVER
        self._allowance = _ALLOWANCE / 2  # packets that may be lost for nothing
        self._pause = FIRST_SLOWDOWN
        self._slowdown_at = self._joins_at = _NEVER
        self._usual_queue = 0.0  # seconds; the mean of some round trips
        self._queued = False  # since the last slowdown there was a queue to speak of
        self._resume: float | None = None  # the window before the slowdown; None: there is none now
        self._slow_since = self._full_rtt = self._lowest_rtt = self._full_queue = self._lowest_queue = 0.0
        self._drained_at: float | None = None

    @property
    def slow_start(self) -> bool:
        """Whether the window doubles each round trip."""
        return self.window < self._threshold and self._resume is None

    def on_ack(self, acked: int, in_flight: int, queueing: float, rtt: float, now: float) -> None:
        """Something arrived.

        Args:
            acked: bytes that are acknowledged now and were not before.
            in_flight: bytes that were on their way before this acknowledgement.
            queueing: seconds in queues (`DelayTracker.queueing`).
            rtt: seconds; the round trip of what is acknowledged, not smoothed if there is a choice.
            now: seconds.
        """
        self._allowance = min(self._allowance + _TOLERATED * acked / self.packet_size, _ALLOWANCE)
        if self._resume is not None:
            self._during_slowdown(in_flight - acked, queueing, rtt, now)
            return
        if in_flight * 2 < self.window:
            return  # the window was not the limit, so nothing is known about a larger one
        usual = self._usual_queue
        self._usual_queue = usual + (queueing - usual) * min(acked / self.window, 1.0) / _USUAL
        if queueing > SLOW_START_DELAY:
            self._queued = True
            if self.window < self._threshold:
                self.window = max(self.window / 2, float(self.packet_size * MIN_WINDOW))
                self._end_slow_start(now)
        others_slow_down = queueing < usual * _OTHERS_LEFT and usual > SLOW_START_DELAY
        due = self._joins_at if others_slow_down else self._slowdown_at
        if now >= due and self._slow_down(queueing, rtt, now):
            return
        self._adjust(acked, queueing)

    def on_loss(self, now: float, rtt: float, queueing: float, lost: int = 1) -> bool:
        """Packets were lost, and later ones arrived.

        Args:
            now: seconds.
            rtt: seconds; losses within one round trip are one.
            queueing: seconds in queues.
            lost: packets.

        Returns:
            Whether the window was cut.
        """
        self._allowance = max(self._allowance - lost, -1.0)
        if self._allowance >= 0 and queueing < _EMPTY_QUEUE:
            return False
        if now < self._last_cut + rtt:
            return False
        self._last_cut = now
        factor = max(_LOSS_FACTOR - _LOSS_DELAY * queueing, _LOSS_FLOOR)
        if self._resume is not None:
            self._resume = max(self._resume * factor, self.window)
            return True
        if self.window < self._threshold:
            self._end_slow_start(now)
        self.window = max(self.window * factor, float(self.packet_size * MIN_WINDOW))
        self._threshold = self.window
        return True

    def on_timeout(self, now: float) -> None:
        """Nothing came back: one packet at a time, and then up to half of the window at once (RFC 5681, 3.1)."""
        window = self.window if self._resume is None else self._resume
        self._resume = None
        least = float(self.packet_size * MIN_WINDOW)
        if window > least:  # otherwise it is a time-out after another one, which says nothing new
            self._threshold = max(window / 2, least)
        self.window = float(self.packet_size)
        self._last_cut = now

    def on_idle(self, now: float, idle: float, timeout: float) -> None:
        """Nothing was on its way for ``idle`` seconds, more than ``timeout``: what was known fades (RFC 7661, 4.3).

        The window halves with each time-out that passed, down to the initial one, and may double back to three
        quarters of what it was.
        """
        if self._resume is not None:
            self.window, self._resume = self._resume, None
        self._schedule(now)  # a pause is a slowdown
        initial = float(INITIAL_WINDOW * self.packet_size)
        if self.window > initial:
            self._threshold = max(self._threshold if self.slow_start else 0.0, 0.75 * self.window)
            self.window = max(initial, self.window * 0.5 ** (idle / timeout))

    def pacing_rate(self, rtt: float) -> float:
        """Bytes a second at which to send: somewhat more than a window each round trip (``rtt``, in seconds)."""
        return self.window / max(rtt, 1e-6) * (2.0 if self.slow_start else 1.25)

    def _adjust(self, acked: int, queueing: float) -> None:
        window = self.window
        if window < self._threshold:
            self.window = min(window + acked, self._threshold, self._maximum)
            return
        left = 1.0 - queueing / TARGET_DELAY
        change = left**3 * self.packet_size if left > 0 else max(left, -0.5) * window
        window += change * min(acked / window, 1.0)
        self.window = min(max(window, float(self.packet_size * MIN_WINDOW)), self._maximum)

    def _end_slow_start(self, now: float) -> None:
        self._threshold = self.window
        if self._slowdown_at == _NEVER:
            self._schedule(now)

    # --- slowdowns ----------------------------------------------------------------------------------------------------

    def _schedule(self, now: float) -> None:
        """The next slowdown: of our own accord after a pause, with others after half of it."""
        self._slowdown_at, self._joins_at, self._usual_queue = now + self._pause, now + self._pause / 2, 0.0

    def _slow_down(self, queueing: float, rtt: float, now: float) -> bool:
        """Begin a slowdown, unless there is nothing to see."""
        least = float(self.packet_size * MIN_WINDOW)
        if not self._queued or self.window <= 2 * least:
            self._schedule(now)
            return False
        self._resume, self.window = self.window, least
        self._lowest_rtt, self._lowest_queue = max(rtt, 1e-6), queueing
        self._full_queue = max(queueing, self._usual_queue)  # who joins does so when the queue has fallen already
        self._full_rtt = self._lowest_rtt + self._full_queue - queueing
        self._slow_since, self._drained_at = now, None
        return True

    def _during_slowdown(self, left: int, queueing: float, rtt: float, now: float) -> None:
        """Wait until what was on its way has arrived, then one round trip more, which meets an empty queue."""
        self._lowest_rtt, self._lowest_queue = min(self._lowest_rtt, rtt), min(self._lowest_queue, queueing)
        if self._drained_at is None:
            if left <= self.window:
                self._drained_at = now
            return
        # Others who still fill the queue may be about to join, and then it is soon empty.
        round_trips = 2.0 if self._lowest_queue > _EMPTY_QUEUE else 0.9
        if now >= self._drained_at + self._lowest_rtt * round_trips:
            self._end_slowdown(queueing, now)

    def _end_slowdown(self, queueing: float, now: float) -> None:
        assert self._resume is not None
        # The one-way delay counts too, because the peer may keep back what acknowledges a packet or two. But where the
        # base was wrong until now, only the round trip has fallen.
        fall = max(self._full_rtt - self._lowest_rtt, self._full_queue - self._lowest_queue)
        kept = max(1 - fall / self._full_rtt, 0.0)
        if queueing > _OTHERS_QUEUE:
            kept /= 2
        window = max(self._resume * kept, self.window)
        self._resume, self.window, self._threshold, self._queued = None, window, window, False
        self._pause = max(min(2 * self._pause, LATER_SLOWDOWNS), (now - self._slow_since) * SLOWDOWN_SHARE)
        self._schedule(now)
