"""Deadlines of one owner, soonest first. Pure: the owner says what time it is."""

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """One pending call; `cancel` forgets it."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Forget the call. Idempotent."""
        self._call = None

    @property
    def pending(self) -> bool:
        """Whether the call is still to be made."""
        return self._call is not None

    def fire(self) -> None:
        """Make the call, once."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Timers:
    """A heap of timers. Not thread-safe: it belongs to one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call ``call`` when the time ``when`` has come."""
        timer = Timer(when, call)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def next_deadline(self) -> float | None:
        """When the soonest pending timer is due; ``None`` when there is none."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run_due(self, now: float) -> None:
        """Fire every timer that is due at ``now``, soonest first; those that they add wait for the next call."""
        first_new = next(self._order)
        while (when := self.next_deadline()) is not None and when <= now and self._heap[0][1] < first_new:
            heapq.heappop(self._heap)[2].fire()
