"""`Outbox`: the outbound channel of one connection, between the threads that send and its writer thread."""

import queue
import threading
from collections import deque
from typing import Final

from crust.clock import Deadline
from crust.errors import NotConnected, SendQueueFull
from crust.limits import MESSAGE_OVERHEAD

MAX_WAITING_CONTROLS: Final = 256
"""Control frames that wait for the writer. We make few by ourselves; the rest answer the peer, whose questions we stop
answering (the newest is dropped) while it does not read what we already answered."""


class Outbox:
    """Messages and control frames on their way out, bounded in bytes.

    What counts against the bound is released by the writer only when it has been handed to the network, so the bound
    covers everything that this process holds.

    Args:
        name: of the connection, for error messages.
        limit: bytes that may wait; one message is always taken when nothing else waits.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._lock = threading.Lock()
        # On the path of every message; "with" would cost three times as much.
        self._acquire = self._lock.acquire
        self._release = self._lock.release
        self._room = threading.Condition(self._lock)
        self._waiting_for_room = 0
        self._messages: list[bytes] = []
        self._controls: deque[bytes] = deque()
        self._bytes = 0
        self.closed = False
        """Whether nothing more is taken. Any thread may look."""
        self.discarded = False
        """Whether it was closed without sending what was queued: then no goodbye is due either."""
        self._writer_sleeps = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    # --- any thread -------------------------------------------------------------------------------

    def put(self, data: bytes, timeout: float | None = 0.0) -> None:
        """Queue a message; any thread may call.

        Args:
            data: the message, not changed by anybody any more.
            timeout: seconds to wait for room; ``None`` waits for ever.

        Raises:
            SendQueueFull: there was no room in time.
            NotConnected: the connection has ended, or ends while we wait.
        """
        size = len(data) + MESSAGE_OVERHEAD
        self._acquire()
        try:
            total = self._bytes + size
            if total > self._limit:  # also when closed
                self._wait_for_room(size, timeout)
                total = self._bytes + size
            self._bytes = total
            self._messages.append(data)
            if self._writer_sleeps:
                self._writer_sleeps = False
                self._wake.put(None)
        finally:
            self._release()

    def put_control(self, frame: bytes) -> bool:
        """Queue a control frame ahead of all messages; ``False`` when it was dropped. Any thread may call, none
        waits."""
        with self._lock:
            if self.closed or len(self._controls) >= MAX_WAITING_CONTROLS:
                return False
            self._controls.append(frame)
            if self._writer_sleeps:
                self._writer_sleeps = False
                self._wake.put(None)
            return True

    def close(self, *, discard: bool = False) -> None:
        """Take nothing more. The writer still gets what is queued, unless ``discard``; then it ends. Idempotent."""
        with self._lock:
            self.closed = True
            self._limit = -1
            if discard:
                self.discarded = True
                self._messages = []
                self._controls.clear()
            self._room.notify_all()
            if self._writer_sleeps:
                self._writer_sleeps = False
                self._wake.put(None)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that count against the bound now."""
        return self._bytes

    def _wait_for_room(self, size: int, timeout: float | None) -> None:
        deadline = Deadline(timeout)
        while self._bytes and self._bytes + size > self._limit and not self.closed:
            remaining = deadline.remaining()
            if remaining == 0.0:
                raise SendQueueFull(
                    f"{self._bytes} bytes wait to be sent to {self._name}, the limit is {self._limit}: the peer or "
                    "the network is slower than you send; pass timeout= to wait for room, or raise send_queue_bytes"
                )
            self._waiting_for_room += 1
            try:
                self._room.wait(remaining)
            finally:
                self._waiting_for_room -= 1
        if self.closed:
            raise NotConnected(f"the connection to {self._name} has ended")

    # --- the writer thread ------------------------------------------------------------------------

    def take(self) -> tuple[list[bytes], list[bytes]] | None:
        """Everything that waits, ``(controls, messages)``; blocks until there is something; ``None`` when closed and
        empty."""
        while True:
            with self._lock:
                if self._messages or self._controls:
                    controls = list(self._controls)
                    self._controls.clear()
                    messages, self._messages = self._messages, []
                    return controls, messages
                if self.closed:
                    return None
                self._writer_sleeps = True
            self._wake.get()

    def take_controls(self) -> list[bytes]:
        """The control frames that wait, if any; never blocks. They may pass between the pieces of a large message."""
        if not self._controls:
            return []
        with self._lock:
            controls = list(self._controls)
            self._controls.clear()
            return controls

    def sent(self, size: int) -> None:
        """``size`` bytes (messages with their overhead) are with the network: make room.

        Waiting senders are woken when half of the bound is free, so that they and the writer take turns in large
        steps instead of one message each.
        """
        with self._lock:
            self._bytes -= size
            if self._waiting_for_room and self._bytes <= self._limit // 2:
                self._room.notify_all()
