"""The congestion window."""

from typing import Final

from crust.transport.utp.constants import INITIAL_WINDOW, MIN_WINDOW, TARGET_DELAY

_EXIT_DELAY: Final = TARGET_DELAY / 4


class Ledbat:
    """How many bytes may be on their way."""

    __slots__ = ("_last_cut", "_maximum", "_threshold", "packet_size", "window")

    def __init__(self, packet_size: int, maximum: int) -> None:
        self.packet_size = packet_size
        self._maximum = float(maximum)
        self._threshold = float(maximum)
        self.window = float(INITIAL_WINDOW * packet_size)
        self._last_cut = float("-inf")

    @property
    def slow_start(self) -> bool:
        return self.window < self._threshold

    def on_ack(self, acked: int, in_flight: int, queueing: float, rtt: float, now: float) -> None:
        if in_flight * 2 < self.window:
            return
        if self.window < self._threshold:
            if queueing < _EXIT_DELAY:
                self.window = min(self.window + acked, self._threshold)
                return
            self._threshold = self.window
        off = 1 - queueing / TARGET_DELAY
        change = off * self.packet_size if off > 0 else max(off, -0.5) * self.window
        window = self.window + change * min(acked / self.window, 1.0)
        self.window = min(max(window, self.packet_size * MIN_WINDOW), self._maximum)

    def on_loss(self, now: float, rtt: float, queueing: float) -> bool:
        if now < self._last_cut + rtt:
            return False
        self._last_cut = now
        factor = 0.85 - 0.35 * min(1.0, 2 * queueing / TARGET_DELAY)
        self.window = max(self.window * factor, self.packet_size * MIN_WINDOW)
        self._threshold = self.window
        return True

    def on_timeout(self, now: float) -> None:
        if self.window > self.packet_size * MIN_WINDOW:
            self._threshold = max(self.window / 2, self.packet_size * MIN_WINDOW)
        self.window = float(self.packet_size)

    def on_idle(self, now: float, idle: float, timeout: float) -> None:
        initial = float(INITIAL_WINDOW * self.packet_size)
        if self.window > initial:
            self._threshold = max(self._threshold, self.window * 0.75) if self.slow_start else self.window * 0.75
            self.window = max(initial, self.window * 0.5 ** (idle / timeout))

    def pacing_rate(self, rtt: float) -> float:
        return self.window / max(rtt, 1e-6) * (2.0 if self.slow_start else 1.25)
