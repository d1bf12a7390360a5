"""The one place that reads the clock, and `Deadline`, which carries one timeout through several steps."""

import time
from typing import Final

now: Final = time.monotonic
"""Seconds on a clock that never jumps; only differences mean anything."""


wall_time: Final = time.time
"""Seconds since the epoch, for people to read; it may jump."""


class Deadline:
    """A moment by which a whole operation, however many steps it has, must be done.

    Args:
        timeout: seconds from now; ``None`` means never; less than 0 counts as 0.
    """

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else now() + max(timeout, 0.0)

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
