"""Virtual time: what is due when, in order."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Hang(AssertionError):
    """Something did not come to an end in virtual time, or went on without getting anywhere."""


class Clockwork:
    """Runs actions at their times; between two of them no time passes.

    Args:
        most_steps: how many actions a run may take before it counts as a storm of events.
    """

    __slots__ = ("_count", "_due", "_stopped", "most_steps", "now", "steps")

    def __init__(self, most_steps: int = 1_000_000) -> None:
        self.now = 0.0
        """Seconds of virtual time since the start."""
        self.steps = 0
        """Actions run so far."""
        self.most_steps = most_steps
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0  # among actions of the same moment the first one asked for comes first
        self._stopped = False

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Run ``action(*args)`` at ``when``, or now where that has passed."""
        self._count += 1
        heappush(self._due, (when, self._count, action, args))

    def after(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        """Run ``action(*args)`` in ``seconds``."""
        self.at(self.now + seconds, action, *args)

    def stop(self) -> None:
        """Let `run` return after the action that is running."""
        self._stopped = True

    @property
    def next_due(self) -> float | None:
        """When something happens next; ``None`` when nothing will."""
        return max(self._due[0][0], self.now) if self._due else None

    def run(self, until: float) -> bool:
        """Run what is due, up to the moment ``until``.

        Returns:
            Whether `stop` was called; else the time is now ``until``, or nothing is due any more.

        Raises:
            Hang: more than ``most_steps`` actions.
        """
        due = self._due
        self._stopped = False
        while due and due[0][0] <= until:
            when, _, action, args = heappop(due)
            if when > self.now:
                self.now = when
            self.steps += 1
            if self.steps > self.most_steps:
                raise Hang(f"{self.steps} events by {self.now:.3f} s of virtual time: a storm; the last: {action}")
            action(*args)
            if self._stopped:
                return True
        self.now = max(self.now, until)
        return False
