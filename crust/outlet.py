"""`Outlet`: how events reach the user's queue without ever blocking the manager thread or growing without bound.

The user's queue is whatever was passed to the manager. While it holds as much as the configuration allows, events wait
here, the connections that they came from are not read (so TCP and uTP push back on the senders), and the outlet finds
out when the user has taken some:

* a `Channel` calls back from the consumer's thread;
* a ``queue.Queue`` notifies its ``not_full`` condition at every ``get()``; a small thread waits on that, only while
  events wait;
* anything else that has ``qsize()`` (``queue.SimpleQueue``) is looked at again after a short pause, only while events
  wait;
* an object with ``put()`` alone cannot tell; it is given everything at once and must look after itself.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from crust import limits
from crust.channel import Channel
from crust.event import AnyEvent
from crust.workers import start_thread

log = logging.getLogger("crust.outlet")

RETRY_SECONDS: Final = 0.02
"""Between two looks at a queue that cannot call back; only while events wait for room in it."""

Delivered = Callable[[int], None]


class _Waiting:
    """A batch that found no room yet."""

    __slots__ = ("delivered", "events", "taken", "weight")

    def __init__(self, events: Sequence[AnyEvent], weight: int, delivered: Delivered | None) -> None:
        self.events = events
        self.weight = weight
        self.delivered = delivered
        self.taken = 0


class Outlet:
    """Delivers events in order. All methods belong to the manager thread.

    Args:
        events: the user's queue.
        max_events: events that may wait in it.
        max_bytes: bytes of messages that may wait in it (one batch may go past it).
        room_made: called from some other thread when `flush` should be called again.
    """

    def __init__(self, events: Any, max_events: int, max_bytes: int, room_made: Callable[[], None]) -> None:
        self._target = _target_for(events, room_made)
        self._most = min(max_events, self._target.maxsize or max_events)
        self._max_bytes = max_bytes
        self._waiting: deque[_Waiting] = deque()
        self._put_total = 0
        # What was delivered and may not be taken yet: (count of all events put up to and with this batch, its weight).
        self._ledger: deque[tuple[int, int]] = deque()
        self._ledger_bytes = 0

    @property
    def congested(self) -> bool:
        """Whether events wait for room."""
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many batches wait."""
        return len(self._waiting)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to call `flush` again although nobody called back; ``None`` when somebody will."""
        return RETRY_SECONDS if self._waiting and self._target.must_retry else None

    def deliver(self, events: Sequence[AnyEvent], weight: int = 0, delivered: Delivered | None = None) -> None:
        """Hand over a batch; ``delivered(weight)`` is called when all of it is in the user's queue."""
        waiting = _Waiting(events, weight, delivered)
        if self._waiting or not self._put(waiting):
            self._waiting.append(waiting)
            if len(self._waiting) == 1:
                self._ask_for_call()

    def flush(self) -> None:
        """Hand over what waits, as far as there is room now."""
        while self._waiting and self._put(self._waiting[0]):
            self._waiting.popleft()
        if self._waiting:
            self._ask_for_call()

    def finish(self, last: AnyEvent) -> None:
        """Put everything that waits and the last event, whatever the bounds: nothing more will follow."""
        for waiting in self._waiting:
            self._target.force(waiting.events[waiting.taken :])
        self._waiting.clear()
        self._target.force([last])
        self._target.close()

    def _room(self) -> int:
        """How many events may be put now."""
        size = self._target.size()
        if not size:  # nothing waits there, or it cannot be told
            self._ledger.clear()
            self._ledger_bytes = 0
            return self._most
        taken = self._put_total - size
        ledger = self._ledger
        while ledger and ledger[0][0] <= taken:
            self._ledger_bytes -= ledger.popleft()[1]
        return 0 if self._ledger_bytes >= self._max_bytes else self._most - size

    def _put(self, waiting: _Waiting) -> bool:
        """Put what there is room for; whether that was all."""
        room = self._room()
        left = len(waiting.events) - waiting.taken
        if room < left:
            # Batches are bounded by what one read can hold, so only a bound of the user's own queue needs a cut.
            if room > 0:
                part = waiting.events[waiting.taken : waiting.taken + room]
                waiting.taken += self._count(self._target.put(part), 0)
            return False
        part = waiting.events[waiting.taken :] if waiting.taken else waiting.events
        put = self._target.put(part)
        if put < left:  # somebody else filled it meanwhile
            waiting.taken += self._count(put, 0)
            return False
        self._count(put, waiting.weight)
        if waiting.delivered is not None:
            waiting.delivered(waiting.weight)
        return True

    def _count(self, put: int, weight: int) -> int:
        self._put_total += put
        if weight:
            self._ledger.append((self._put_total, weight))
            self._ledger_bytes += weight
        return put

    def _ask_for_call(self) -> None:
        size = self._target.size() or 0
        self._target.call_when(size // 2)


class _Target:
    """A queue that has ``put`` and maybe ``qsize``."""

    maxsize = 0
    must_retry = True

    def __init__(self, events: Any) -> None:
        self._events = events
        self._qsize: Callable[[], int] | None = getattr(events, "qsize", None)

    def size(self) -> int | None:
        return None if self._qsize is None else self._qsize()

    def put(self, events: Sequence[AnyEvent]) -> int:
        for event in events:
            self._events.put(event)
        return len(events)

    def force(self, events: Sequence[AnyEvent]) -> None:
        self.put(events)

    def call_when(self, low: int) -> None:
        """Arrange for a call when no more than ``low`` events wait; nothing can be arranged here."""

    def close(self) -> None:
        """No more calls."""


class _ChannelTarget(_Target):
    must_retry = False

    def __init__(self, events: Channel[AnyEvent], room_made: Callable[[], None]) -> None:
        super().__init__(events)
        self._channel = events
        self._room_made = room_made
        self.maxsize = events.maxsize
        events.attach()

    def put(self, events: Sequence[AnyEvent]) -> int:
        self._channel.put_many(events)
        return len(events)

    def call_when(self, low: int) -> None:
        self._channel.call_when_taken(low, self._room_made)

    def close(self) -> None:
        self._channel.detach()


class _QueueTarget(_Target):
    """A ``queue.Queue`` (or one of its kin): its ``not_full`` condition tells of every ``get``."""

    must_retry = False

    def __init__(self, events: "queue.Queue[AnyEvent]", room_made: Callable[[], None]) -> None:
        super().__init__(events)
        self._queue = events
        self._room_made = room_made
        self.maxsize = events.maxsize
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._closed = False
        self._watcher: threading.Thread | None = None

    def put(self, events: Sequence[AnyEvent]) -> int:
        with self._queue.mutex:
            room = self.maxsize - self._queue._qsize() if self.maxsize > 0 else len(events)
            return self._put_locked(events[: max(room, 0)] if room < len(events) else events)

    def force(self, events: Sequence[AnyEvent]) -> None:
        # Past maxsize on purpose: the alternative at the very end is to lose events or to wait for a reader who has
        # left.
        with self._queue.mutex:
            self._put_locked(events)

    def _put_locked(self, events: Sequence[AnyEvent]) -> int:
        """What ``Queue.put`` does for each item, with one lock and one wake-up for the batch. The mutex is held."""
        put = self._queue._put
        for event in events:
            put(event)
        self._queue.unfinished_tasks += len(events)
        self._queue.not_empty.notify(len(events))
        return len(events)

    def call_when(self, low: int) -> None:
        if self._watcher is None:
            self._watcher = start_thread("events-watch", self._watch)
        self._wanted.put(low)

    def _watch(self) -> None:
        while (low := self._wanted.get()) is not None:
            with self._queue.not_full:
                while self._queue._qsize() > low and not self._closed:
                    self._queue.not_full.wait()
                self._queue.not_full.notify()  # the notification may have been meant for somebody who waits to put
            if not self._closed:
                self._room_made()

    def close(self) -> None:
        self._closed = True
        self._wanted.put(None)
        with self._queue.not_full:
            self._queue.not_full.notify_all()
        if self._watcher is not None:
            self._watcher.join()


def _target_for(events: Any, room_made: Callable[[], None]) -> _Target:
    if isinstance(events, Channel):
        return _ChannelTarget(events, room_made)
    if isinstance(events, queue.Queue):
        return _QueueTarget(events, room_made)
    return _Target(events)


def weight_of(count: int, size: int) -> int:
    """What ``count`` messages of ``size`` bytes together count against the bounds."""
    return size + count * limits.MESSAGE_OVERHEAD
