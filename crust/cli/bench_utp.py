"""``crust bench`` over uTP: packets beside messages, and a trace of the connection."""

import csv
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from crust.threads.clock import now
from crust.threads.workers import start_thread
from crust.transport.utp import UtpStats

SAMPLE: Final = 0.02
"""Seconds between two lines of a trace: a few for each round trip of a long path, and no load of its own."""
COLUMNS: Final = (
    "seconds",
    "window_kib",
    "in_flight_kib",
    "queueing_ms",
    "rtt_ms",
    "retransmissions",
    "cuts",
    "sent_mb",
    "received_mb",
)

Look = Callable[[], UtpStats | None]
"""Gives the figures of the connection now; ``None`` when there is none, or not over uTP."""


@dataclass(frozen=True, slots=True)
class Packets:
    """What went over the network at one end during a measurement. Bytes are of payload: encrypted messages."""

    seconds: float
    sent: int
    received: int
    bytes_sent: int
    bytes_received: int
    retransmissions: int
    window: int
    """Bytes; the congestion window of this end at the end."""
    round_trip: float | None
    """Seconds, smoothed, at the end."""

    @classmethod
    def between(cls, before: UtpStats | None, after: UtpStats | None, seconds: float) -> Self | None:
        """From the figures at both ends of a measurement; ``None`` when it was not over uTP."""
        if before is None or after is None or seconds <= 0:
            return None
        return cls(
            seconds,
            after.packets_sent - before.packets_sent,
            after.packets_received - before.packets_received,
            after.bytes_sent - before.bytes_sent,
            after.bytes_received - before.bytes_received,
            after.retransmissions - before.retransmissions,
            after.window,
            after.round_trip,
        )


class Trace:
    """Writes the figures of a connection to a CSV file, many times a second, while the context lasts.

    Args:
        path: the file; it is replaced.
        look: where the figures come from; called on a thread of its own.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, look: Look) -> None:
        self._look = look
        self._file = path.open("w", encoding="ascii", newline="")
        self._lines = csv.writer(self._file)
        self._lines.writerow(COLUMNS)
        self._began = now()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = start_thread("bench trace", self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE):
            figures = self._look()
            if figures is not None:
                self.write(now() - self._began, figures)

    def write(self, seconds: float, figures: UtpStats) -> None:
        """One line: ``seconds`` since the beginning, and what the connection says."""
        self._lines.writerow(
            (
                f"{seconds:.3f}",
                f"{figures.window / 1024:.1f}",
                f"{figures.in_flight / 1024:.1f}",
                f"{1000 * figures.queueing_delay:.2f}",
                f"{1000 * (figures.round_trip or 0.0):.2f}",
                figures.retransmissions,
                figures.losses,
                f"{figures.bytes_sent / 1e6:.3f}",
                f"{figures.bytes_received / 1e6:.3f}",
            )
        )
