"""`Schedule`: which connection has something to do when."""

import heapq
from itertools import count
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SLACK: Final = 64  # superseded entries that are worth no work


class Schedule(Generic[T]):
    """A heap of deadlines, one per item; moving a deadline costs nothing where it moves to later."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._wanted: dict[T, float] = {}  # when it is due
        self._queued: dict[T, float] = {}  # when the heap will name it: never later than it is due
        self._numbers = count()

    def set(self, item: T, at: float | None) -> None:
        """The item is due at ``at`` and not at the time said before; ``None``: it is not."""
        if at is None:
            self._wanted.pop(item, None)
            return
        self._wanted[item] = at
        queued = self._queued.get(item)
        if queued is None or at < queued:
            self._queued[item] = at
            heapq.heappush(self._heap, (at, next(self._numbers), item))
            if len(self._heap) > 2 * len(self._queued) + _SLACK:
                self._rebuild()

    def _rebuild(self) -> None:
        """Drop what was superseded by earlier deadlines and has not come to the top."""
        self._heap = [(at, next(self._numbers), item) for item, at in self._queued.items()]
        heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The earliest deadline; ``None`` when there is none."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """Take out the items whose deadline has come."""
        found: list[T] = []
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > now:
                return found
            _at, _number, item = heapq.heappop(self._heap)
            del self._wanted[item], self._queued[item]
            found.append(item)

    def _settle(self) -> None:
        """Make the top of the heap true."""
        heap = self._heap
        while heap:
            at, _number, item = heap[0]
            if self._queued.get(item) != at:
                heapq.heappop(heap)  # an earlier deadline was set after this one
                continue
            wanted = self._wanted.get(item)
            if wanted is None:
                heapq.heappop(heap)
                del self._queued[item]
            elif wanted > at:
                self._queued[item] = wanted
                heapq.heapreplace(heap, (wanted, next(self._numbers), item))
            else:
                return
