"""`Outlet`: how events reach the user's queue without ever blocking the manager thread or growing without bound.

The user's queue is whatever was passed to the manager. While it holds as much as the configuration allows, events wait
here, the connections that they came from are not read (so TCP and uTP push back on the senders), and the outlet finds
out when the user has taken some:

* a `Channel` calls back from the consumer's thread;
* a ``queue.Queue`` notifies its ``not_full`` condition at every ``get()``; a small thread waits on that, only while
  events wait;
* anything else that has ``qsize()`` (``queue.SimpleQueue``, or a ``queue.Queue`` with a ``put()`` of its own) is looked
  at again after a short pause, only while events wait;
* an object with ``put()`` alone cannot tell; it is given everything at once and must look after itself.

If ``put()`` raises ``queue.Full``, the event waits; after any other exception that one event is lost, and the log says
so.
"""

import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from crust.channel import Channel
from crust.event import AnyEvent
from crust.threads.workers import start_thread

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

    def done(self) -> None:
        """All of it is in the user's queue."""
        if self.delivered is not None:
            self.delivered(self.weight)


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
        self._most = min(max_events, self._target.maxsize) if self._target.maxsize > 0 else max_events
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
        try:
            while self._waiting:
                waiting = self._waiting.popleft()
                self._target.force(waiting.events[waiting.taken :])
                waiting.done()
            self._target.force([last])
        finally:
            self._target.close()

    def _room(self) -> int:
        """How many events may be put now."""
        size = self._target.size()
        if not size:  # nothing waits there, or it cannot be told
            self._ledger.clear()
            self._ledger_bytes = 0
            return sys.maxsize if size is None else self._most
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
        waiting.done()
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

    def __init__(self, events: Any) -> None:
        self._events = events
        self._qsize: Callable[[], int] | None = getattr(events, "qsize", None)
        maxsize = getattr(events, "maxsize", 0)
        self.maxsize = maxsize if isinstance(maxsize, int) else 0
        self.must_retry = True

    def size(self) -> int | None:
        try:
            return None if self._qsize is None else self._qsize()
        except NotImplementedError:  # multiprocessing.Queue on macOS
            return None

    def put(self, events: Sequence[AnyEvent]) -> int:
        """Put what finds room; how many those were."""
        for done, event in enumerate(events):
            try:
                self._events.put(event)
            except queue.Full:
                return done
            except Exception:
                log.exception("put() of the events channel raised; this event is lost: %r", event)
        return len(events)

    def force(self, events: Sequence[AnyEvent]) -> None:
        """Put them whatever the bounds."""
        left = len(events) - self.put(events)
        if left:
            log.error("the events channel is full: %d of the last events are lost", left)

    def call_when(self, low: int) -> None:
        """Arrange for a call when no more than ``low`` events wait; nothing can be arranged here."""

    def close(self) -> None:
        """No more calls."""


class _ChannelTarget(_Target):
    def __init__(self, events: Channel[AnyEvent], room_made: Callable[[], None]) -> None:
        super().__init__(events)
        self._channel = events
        self._room_made = room_made
        self.must_retry = False
        events.attach()

    def put(self, events: Sequence[AnyEvent]) -> int:
        self._channel.put_many(events)
        return len(events)

    def call_when(self, low: int) -> None:
        self._channel.call_when_taken(low, self._room_made)

    def close(self) -> None:
        self._channel.detach()


_watched: set[int] = set()
_watched_lock = threading.Lock()


class _QueueTarget(_Target):
    """A ``queue.Queue`` (or one of its kin): its ``not_full`` condition tells of every ``get``.

    Others may wait on that condition as well, to put something. A notification that the watcher takes may have been
    theirs, so it passes every one on. Two watchers would pass them to each other for ever: a queue has one at the most.
    """

    def __init__(self, events: "queue.Queue[AnyEvent]", room_made: Callable[[], None]) -> None:
        super().__init__(events)
        self._queue = events
        self._room_made = room_made
        self.must_retry = False
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._asked = False
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
        put, lost = self._queue._put, 0
        for event in events:
            try:
                put(event)
            except Exception:  # such as events that a PriorityQueue cannot compare
                log.exception("the events channel cannot hold it; this event is lost: %r", event)
                lost += 1
        self._queue.unfinished_tasks += len(events) - lost
        self._queue.not_empty.notify(len(events) - lost)
        return len(events)

    def call_when(self, low: int) -> None:
        if self._watcher is None and not self.must_retry:
            self._start_watcher()
        if self._watcher is not None and not self._asked:
            self._asked = True
            self._wanted.put(low)

    def _start_watcher(self) -> None:
        with _watched_lock:
            self.must_retry = id(self._queue) in _watched
            if self.must_retry:
                return
            _watched.add(id(self._queue))
        try:
            self._watcher = start_thread("events-watch", self._watch)
        except RuntimeError as error:
            log.warning("no thread could be made to watch the events channel (%s); it is polled instead", error)
            self._stop_watching()
            self.must_retry = True

    def _stop_watching(self) -> None:
        with _watched_lock:
            _watched.discard(id(self._queue))

    def _watch(self) -> None:
        while (low := self._wanted.get()) is not None:
            with self._queue.not_full:
                # At most as many times as would do if nobody else put anything: others could keep it full for ever.
                for _ in range(self._queue._qsize() - low):
                    if self._queue._qsize() <= low or self._closed:
                        break
                    self._queue.not_full.wait()
                    self._queue.not_full.notify()
            self._asked = False
            if not self._closed:
                self._room_made()

    def close(self) -> None:
        self._closed = True
        if self._watcher is None:
            return
        self._wanted.put(None)
        with self._queue.not_full:
            self._queue.not_full.notify_all()
        self._watcher.join()
        self._stop_watching()


def _target_for(events: Any, room_made: Callable[[], None]) -> _Target:
    if isinstance(events, Channel):
        return _ChannelTarget(events, room_made)
    if isinstance(events, queue.Queue) and type(events).put is queue.Queue.put:
        return _QueueTarget(events, room_made)
    return _Target(events)
