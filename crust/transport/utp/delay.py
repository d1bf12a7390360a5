"""One-way delay: how much of it is queueing (RFC 6817, sections 2.4 and 4).

The two clocks are not set alike, so a one-way delay has an unknown offset; what is above the lowest one of the last
minutes, the base, is time spent in queues. Clocks also run at different speeds. The base lives for `BASE_HISTORY`
minutes only, which bounds the error; and when the delays in the other direction fall, the clocks are drifting apart,
and the base of this direction is raised by as much (`DelayTracker.shift`, as libutp does).

Delays are whole microseconds modulo 2**32 and are compared by their signed distance. No clock: times come in.
"""

from collections import deque
from typing import Final

from crust.transport.utp.constants import BASE_HISTORY, DELAY_FILTER, MAX_DRIFT_STEP
from crust.transport.utp.sequence import MICROS_MASK, micros_distance

_MINUTE: Final = 60.0
_HALF: Final = 1 << 31  # of the circle of times: what is nearer counting up is later


class BaseDelay:
    """The lowest one-way delay of the last `BASE_HISTORY` minutes. Not thread-safe."""

    __slots__ = ("_minima", "_minute_ends", "value")

    def __init__(self) -> None:
        self.value = 0
        """Microseconds modulo 2**32; means nothing before the first `observe`."""
        self._minute_ends = -1.0
        self._minima: deque[list[int]] = deque()  # [minute, lowest in it], the current one last

    def observe(self, value_us: int, now: float) -> int:
        """Take a measurement.

        Args:
            value_us: microseconds modulo 2**32.
            now: seconds, never negative.

        Returns:
            By how many microseconds it is below the base until now; 0 when it is not, or is the first one.
        """
        if now >= self._minute_ends:
            self._turn(int(now // _MINUTE), value_us)
        # There is one of these for each packet, so `micros_distance` is written out.
        lowest = self._minima[-1]
        if 0 < ((lowest[1] - value_us) & MICROS_MASK) < _HALF:
            lowest[1] = value_us
        fall = (self.value - value_us) & MICROS_MASK
        if not 0 < fall < _HALF:
            return 0
        self.value = value_us
        return fall

    def shift(self, microseconds: int) -> None:
        """Raise the base, and every minute's minimum."""
        self.value = (self.value + microseconds) & MICROS_MASK
        for entry in self._minima:
            entry[1] = (entry[1] + microseconds) & MICROS_MASK

    def _turn(self, minute: int, value_us: int) -> None:
        """Begin another minute, and forget what is older than the history, also after a pause."""
        while self._minima and self._minima[0][0] <= minute - BASE_HISTORY:
            self._minima.popleft()
        kept = [lowest for _, lowest in self._minima] or [value_us]
        self.value = min(kept, key=lambda lowest: micros_distance(value_us, lowest))
        self._minute_ends = (minute + 1) * _MINUTE
        self._minima.append([minute, value_us])


class DelayTracker:
    """The one-way delay of what we send, as the peer tells it in `timestamp_difference`. Not thread-safe."""

    __slots__ = ("_base", "_recent", "queueing")

    def __init__(self) -> None:
        self.queueing = 0.0
        """Seconds in queues, by the last samples; 0.0 before the first one."""
        self._base = BaseDelay()
        self._recent: deque[int] = deque(maxlen=DELAY_FILTER)

    def sample(self, difference: int, now: float, rtt: float | None = None) -> float:
        """Take what the peer measured.

        Args:
            difference: microseconds modulo 2**32; never 0, which says that the peer has measured nothing yet.
            now: seconds.
            rtt: seconds; a round trip measured just now. No queue on the way there takes longer than there and back, so
                a queueing delay above it means that a clock was set, and the base is raised (as libutp does).

        Returns:
            Seconds in queues: the lowest of the last `DELAY_FILTER` samples, as single ones may be late for any reason.
        """
        base, recent = self._base, self._recent
        base.observe(difference, now)
        recent.append(difference)
        zero = base.value - _HALF
        queueing = min([(delay - zero) & MICROS_MASK for delay in recent]) - _HALF
        if rtt is not None and queueing > rtt * 1e6:
            excess = queueing - int(rtt * 1e6)
            base.shift(excess)
            queueing -= excess
        self.queueing = queueing / 1e6 if queueing > 0 else 0.0
        return self.queueing

    def shift(self, microseconds: int) -> None:
        """The base of the other direction fell by so much: the clocks drift apart, so ours rises as much.

        A fall of more than `MAX_DRIFT_STEP` is a change of the path or a clock that was set, and is ignored.
        """
        if 0 < microseconds <= MAX_DRIFT_STEP:
            self._base.shift(microseconds)
