"""How long a round trip takes, and how long to wait for an acknowledgement (BEP 29 "timeouts"; RFC 6298).

No clock: times are in seconds on any clock that never jumps, and come in as arguments.
"""

from typing import Final

from crust.transport.utp.constants import INITIAL_TIMEOUT, MAX_TIMEOUT, MIN_MARGIN, MIN_TIMEOUT

_LOWEST_SECONDS: Final = 60.0
"""The lowest round trip is that of the last one to two of these: long enough to have met an empty queue, short enough
to forget a path that has changed."""
_MAX_DOUBLINGS: Final = 10  # 0.5 s * 2**10 is far beyond MAX_TIMEOUT already


class RoundTrip:
    """The round trip of one connection. Not thread-safe: it belongs to whoever owns the connection."""

    __slots__ = ("_before", "_changes_at", "_since", "backoffs", "smoothed", "variance")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Seconds; ``None`` before the first sample."""
        self.variance = 0.0
        """Seconds: how far samples are from `smoothed`, usually."""
        self.backoffs = 0
        """Timeouts in a row, with no answer between them."""
        self._before: float | None = None
        self._since: float | None = None
        self._changes_at = 0.0

    @property
    def lowest(self) -> float | None:
        """Seconds: the shortest round trip of the last minutes; ``None`` before the first sample."""
        if self._before is None or self._since is None:
            return self._since
        return min(self._before, self._since)

    @property
    def timeout(self) -> float:
        """Seconds from sending a packet until it counts as lost: `MIN_TIMEOUT` to `MAX_TIMEOUT`.

        BEP 29: ``rtt + 4 * rtt_var``, at least half a second, one second before the first sample, doubled by each
        timeout in a row.
        """
        timeout = (
            INITIAL_TIMEOUT
            if self.smoothed is None
            else max(self.smoothed + max(4 * self.variance, MIN_MARGIN), MIN_TIMEOUT)
        )
        return min(timeout * (1 << min(self.backoffs, _MAX_DOUBLINGS)), MAX_TIMEOUT)

    def sample(self, rtt: float, now: float) -> None:
        """Take a measurement; it ends the back-off.

        Args:
            rtt: seconds from sending to the acknowledgement of a packet that was sent only once: of one sent twice
                nobody knows which of the two was answered (Karn's rule; the caller sees to it).
            now: seconds.
        """
        rtt = max(rtt, 0.0)
        if self.smoothed is None:
            self.smoothed, self.variance = rtt, rtt / 2
        else:
            difference = rtt - self.smoothed
            self.variance += (abs(difference) - self.variance) / 4
            self.smoothed += difference / 8
        self.backoffs = 0
        if now >= self._changes_at:
            self._before, self._since, self._changes_at = self._since, rtt, now + _LOWEST_SECONDS
        elif self._since is None or rtt < self._since:
            self._since = rtt

    def back_off(self) -> None:
        """A timeout passed: the next one is twice as long."""
        self.backoffs += 1

    def forgive(self) -> None:
        """Something new was acknowledged, even if it gave no sample: the next timeout is not doubled."""
        self.backoffs = 0
