"""`Channel`: a queue that moves batches, the fast choice for events.

It has the methods of ``queue.Queue``, but for ``task_done`` and ``join``, and can be used in its place. What makes it
fast: a producer hands over a whole batch with one call and at most one wake-up, and a consumer that finds something
waiting takes no lock.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from crust.threads.clock import Deadline

T = TypeVar("T")

_NEGATIVE: Final = "'timeout' must be a non-negative number"


class Channel(Generic[T]):
    """A first-in first-out queue between threads. Every method may be called from any thread.

    ``for item in channel`` yields items until every producer that attached itself has detached (a manager does so
    after its last event, `Event.Stopped`) and all items are taken.

    Args:
        maxsize: the most items that may wait; 0 means no limit of its own (a manager keeps to its configuration's).
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        # Wake-ups are tokens: never lost, and an extra one only makes its taker look again.
        self._getters = 0
        self._get_tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._putters = 0
        self._put_tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._room_calls: dict[Callable[[], None], int] = {}  # of each producer that waits for room: when to call it
        self._watched = False  # whether somebody wants to know that items were taken
        self._producers = 0
        self._had_producer = False

    # --- consumers --------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item.

        Args:
            block: whether to wait for one.
            timeout: seconds to wait at the most; ``None`` waits for ever.

        Raises:
            queue.Empty: there was none in time.
            ValueError: a negative ``timeout``.
        """
        if timeout is not None and timeout < 0 and block:
            raise ValueError(_NEGATIVE)
        try:
            item = self._items.popleft()
        except IndexError:
            item = self._wait_for_item(block, timeout)
        if self._watched:
            self._item_taken()
        return item

    def get_nowait(self) -> T:
        """Take the next item; raises ``queue.Empty`` when there is none."""
        return self.get(block=False)

    def __iter__(self) -> Iterator[T]:
        take = self._items.popleft
        while True:
            try:
                item = take()
            except IndexError:
                try:
                    item = self._wait_for_item(True, None, until_ended=True)
                except queue.Empty:
                    return
            if self._watched:
                self._item_taken()
            yield item

    def qsize(self) -> int:
        """How many items wait."""
        return len(self._items)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    def full(self) -> bool:
        """Whether ``maxsize`` items wait."""
        return 0 < self.maxsize <= len(self._items)

    def _wait_for_item(self, block: bool, timeout: float | None, until_ended: bool = False) -> T:
        deadline = Deadline(timeout if block else 0.0)
        while True:
            with self._lock:
                self._getters += 1
            # Looked at after being counted: a producer either sees us counted or we see its item.
            try:
                item = self._items.popleft()
            except IndexError:
                ended = until_ended and self._had_producer and not self._producers
                if not block or ended or not self._sleep(deadline):
                    self._stop_waiting()
                    try:
                        return self._items.popleft()
                    except IndexError:
                        raise queue.Empty from None
            else:
                self._stop_waiting()
                return item
            try:
                return self._items.popleft()  # what we were woken for, unless another consumer was faster
            except IndexError:
                continue

    def _sleep(self, deadline: Deadline) -> bool:
        try:
            self._get_tokens.get(timeout=deadline.remaining())
        except queue.Empty:
            return False
        return True

    def _stop_waiting(self) -> None:
        """Take ourselves off the count, or take back the token that was already put for us."""
        with self._lock:
            if self._getters:
                self._getters -= 1
                return
        try:
            self._get_tokens.get_nowait()
        except queue.Empty:
            pass

    def _item_taken(self) -> None:
        due: list[Callable[[], None]] = []
        with self._lock:
            waiting = len(self._items)
            if self._putters and waiting < self.maxsize:
                self._putters -= 1
                self._put_tokens.put(None)
            if self._room_calls:
                due = [call for call, low in self._room_calls.items() if waiting <= low]
                for call in due:
                    del self._room_calls[call]
            self._watched = bool(self._putters or self._room_calls)
        for call in due:
            call()

    # --- producers --------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item, waiting for room where ``maxsize`` says so.

        Raises:
            queue.Full: there was no room in time.
            ValueError: a negative ``timeout``.
        """
        if self.maxsize > 0:
            self._put_bounded(item, block, timeout)
        else:
            self._items.append(item)
        if self._getters:
            self._wake_getters(1)

    def put_nowait(self, item: T) -> None:
        """Add an item; raises ``queue.Full`` when there is no room."""
        self.put(item, block=False)

    def put_many(self, items: Sequence[T] | Iterable[T]) -> None:
        """Add items at once, whatever ``maxsize`` says: whoever moves batches looks at `qsize` before."""
        self._items.extend(items)
        if self._getters:
            # One for each item there is, not only for the new ones: of the others some may be gone by now, so that
            # the difference would say too little.
            self._wake_getters(len(self._items))

    def _wake_getters(self, most: int) -> None:
        with self._lock:
            woken = min(self._getters, most)
            self._getters -= woken
            # Inside the lock: who is off the count finds its token there.
            for _ in range(woken):
                self._get_tokens.put(None)

    def _put_bounded(self, item: T, block: bool, timeout: float | None) -> None:
        if block and timeout is not None and timeout < 0:
            raise ValueError(_NEGATIVE)
        deadline = Deadline(timeout if block else 0.0)
        while True:
            with self._lock:
                if len(self._items) < self.maxsize:
                    self._items.append(item)
                    return
                self._putters += 1
                self._watched = True
            if len(self._items) < self.maxsize:  # taken meanwhile, before the taker could see us
                self._leave_putters()
                continue
            try:
                self._put_tokens.get(timeout=deadline.remaining())
            except queue.Empty:
                self._leave_putters()
                raise queue.Full from None

    def _leave_putters(self) -> None:
        with self._lock:
            if self._putters:
                self._putters -= 1
                return
        try:
            self._put_tokens.get_nowait()
        except queue.Empty:
            pass

    # --- for the manager --------------------------------------------------------------------------

    def call_when_taken(self, low: int, call: Callable[[], None]) -> None:
        """Call ``call`` once, from the consumer's thread, as soon as no more than ``low`` items wait.

        Several producers may wait, each with a ``call`` of its own; if one asks again, the new ``low`` counts.
        """
        with self._lock:
            self._room_calls[call] = low
            self._watched = True
        if len(self._items) <= low:
            self._item_taken()

    def attach(self) -> None:
        """Say that a producer will put items; iteration goes on until it detaches."""
        with self._lock:
            self._producers += 1
            self._had_producer = True

    def detach(self) -> None:
        """Say that a producer has put its last item."""
        with self._lock:
            self._producers -= 1
            waiting, self._getters = self._getters, 0
            for _ in range(waiting):
                self._get_tokens.put(None)


def channel(maxsize: int = 0) -> Channel[Any]:
    """Make a channel for a manager's events: ``events = crust.channel()``.

    Args:
        maxsize: the most events that may wait; 0 leaves it to the configuration (``max_waiting_events``).
    """
    return Channel(maxsize)
