"""The one place that reads the clock, and `Deadline`, which carries one timeout through several steps."""

import time
from typing import Final

now: Final = time.monotonic
"""Seconds on a clock that never jumps; only differences mean anything."""


wall_time: Final = time.time
"""Seconds since the epoch, for people to read; it may jump."""


AGES: Final = 1_000_000.0
"""Seconds (11 days) from which on a timeout means "never": system calls refuse longer ones, each from another number
on, and ``float("inf")`` at once."""


class Deadline:
    """A moment by which a whole operation, however many steps it has, must be done.

    Args:
        timeout: seconds from now; ``None``, or `AGES` and more, means never; less than 0 counts as 0.

    Raises:
        ValueError: it is not a number (NaN).
    """

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and timeout != timeout:
            raise ValueError("a timeout of NaN seconds; give a number, or None to wait for ever")
        self._at = None if timeout is None or timeout >= AGES else now() + max(timeout, 0.0)

    def remaining(self) -> float | None:
        """Seconds left, never negative; ``None`` when there is no limit."""
        return None if self._at is None else max(self._at - now(), 0.0)

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self._at is not None and now() >= self._at

    def earlier(self, timeout: float | None) -> "Deadline":
        """The earlier of this deadline and one ``timeout`` seconds from now."""
        remaining = self.remaining()
        if remaining is None:
            return Deadline(timeout)
        return Deadline(remaining if timeout is None else min(remaining, timeout))
