"""`Outbox`: the outbound channel of one connection, between the threads that send and its writer thread."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from crust.errors import ConnectionLost, NotConnected, SendQueueFull
from crust.limits import KIB, MESSAGE_OVERHEAD
from crust.threads.clock import Deadline
from crust.transport.relay.carried import credit_frame

MAX_WAITING_CONTROLS: Final = 256
"""Control frames that wait for the writer. We make few by ourselves; the rest answer the peer, whose questions we stop
answering (the newest is dropped) while it does not read what we already answered."""


MAX_EXPRESS: Final = 16 * KIB
"""Bytes of a message that its sender may hand to the network itself; larger ones are worth a wake-up."""


CARRIED_SLICE: Final = 64 * KIB
"""Bytes of relayed connections that go out at a time; then it is the turn of this connection's own messages."""


class Outbox:
    """Messages and control frames on their way out, bounded in bytes.

    The express lane: waking the writer costs a thread switch, which is most of the time that a small answer to a small
    question takes. So when something has just been received (`express` is set by the reader) and the writer sleeps, the
    sending thread does the writer's work for that one message, without blocking. It stands in for the writer: while it
    does so nobody wakes the writer, and afterwards it wakes it if there is more to do. In a stream of messages every
    other one goes to the writer, which sends them in large pieces.

    What counts against the bound is released by the writer only when it has been handed to the network, so the bound
    covers everything that this process holds.

    What relayed connections send (`put_carried`) does not count: their credit bounds it.

    Args:
        name: of the connection, for error messages.
        limit: bytes that may wait; one message is always taken when nothing else waits.
        send_now: hands one message to the network without blocking; ``False`` when the writer has to flush the rest.
            Called by one thread at a time, and never while the writer is at work. ``None``: there is no express lane.
    """

    def __init__(self, name: str, limit: int, send_now: Callable[[bytes], bool] | None = None) -> None:
        self._name = name
        self._limit = limit
        self._lock = threading.Lock()
        # Takes the lock at each step of "for", on the path of every message: like "with", it leaves no moment for a
        # Ctrl-C between taking the lock and being ready to give it back, as a call of acquire() does (every second
        # one hits it, and all threads hang); unlike "with" it costs next to nothing.
        self._taking = iter(self._lock.acquire, None)
        self._release = self._lock.release
        self._room = threading.Condition(self._lock)
        self._waiting_for_room = 0
        self._messages: list[bytes] = []
        self._controls: deque[bytes] = deque()
        self._carried: deque[bytes] = deque()
        self._credits: dict[int, int] = {}  # by channel
        self._holds = 0
        self._bytes = 0
        self.closed = False
        """Whether nothing more is taken. Any thread may look."""
        self.discarded = False
        """Whether it was closed without sending what was queued: then no goodbye is due either."""
        self._writer_sleeps = False
        self._send_now = send_now
        self.express = False
        """Whether the next small message may take the express lane. Set by the reader thread."""
        self._stood_in_for = False
        self._unflushed = False
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
        express = False
        try:
            for _ in self._taking:
                try:
                    total = self._bytes + size
                    if total > self._limit:  # also when closed
                        self._wait_for_room(size, timeout)
                        total = self._bytes + size
                    self._bytes = total
                    if not self._writer_sleeps:
                        self._messages.append(data)
                        return
                    express = self.express and size <= MAX_EXPRESS
                    if express:
                        self._stood_in_for = True
                    else:
                        self._messages.append(data)
                        self._wake.put(None)
                    self._writer_sleeps = False
                finally:
                    self._release()
                break
            if express:
                self._send_express(data, size)
        except BaseException:
            if express:
                self._give_back(size, flushed=False)
            raise

    def _send_express(self, data: bytes, size: int) -> None:
        """Stand in for the sleeping writer, for one message."""
        assert self._send_now is not None
        self.express = False
        try:
            flushed = self._send_now(data)
        except ConnectionLost:
            flushed = False  # the writer will find the same, and report it
        self._give_back(size, flushed)

    def _give_back(self, size: int, flushed: bool) -> None:
        """The writer's work is the writer's again. Idempotent: an interrupted sender may not know that it did."""
        with self._lock:
            if not self._stood_in_for:
                return
            if self._something_waits() or self.closed or not flushed:
                self._unflushed = not flushed
                self._wake.put(None)
            else:
                self._writer_sleeps = True
            self._stood_in_for = False
            self._make_room(size)

    def put_control(self, frame: bytes) -> bool:
        """Queue a control frame ahead of all messages; ``False`` when it was dropped. Any thread may call, none
        waits."""
        with self._lock:
            if self.closed or len(self._controls) >= MAX_WAITING_CONTROLS:
                return False
            self._controls.append(frame)
            self._wake_writer()
            return True

    def put_carried(self, frame: bytes) -> bool:
        """Queue a frame of a relayed connection; they keep their order. Also when closed, while somebody holds it;
        ``False`` when it was dropped. Any thread may call, none waits."""
        with self._lock:
            if self._is_over():
                return False
            self._carried.append(frame)
            self._wake_writer()
            return True

    def put_credit(self, channel: int, amount: int) -> None:
        """Give credit to a channel; what waits for the same one is put together. Any thread may call, none waits."""
        with self._lock:
            if not self._is_over():
                self._credits[channel] = self._credits.get(channel, 0) + amount
                self._wake_writer()

    def hold(self) -> None:
        """Let it take frames of relayed connections, and the writer wait for them, also when it is closed (but not when
        it is discarded); until as many calls of `release`. Any thread may call."""
        with self._lock:
            self._holds += 1

    def release(self) -> None:
        """See `hold`."""
        with self._lock:
            self._holds -= 1
            if self.closed:
                self._wake_writer()

    def close(self, *, discard: bool = False, goodbye: bool = False) -> None:
        """Take nothing more. The writer still gets what is queued, unless ``discard``; then it ends. Idempotent.

        Args:
            discard: forget what is queued.
            goodbye: the peer is to be told of the end all the same.
        """
        with self._lock:
            self.closed = True
            self._limit = -1
            if discard:
                self.discarded |= not goodbye
                self._messages = []
                self._controls.clear()
                self._carried.clear()
                self._credits.clear()
            self._room.notify_all()
            self._wake_writer()

    def _wake_writer(self) -> None:
        if self._writer_sleeps:
            # In this order: if a Ctrl-C comes between, the writer is woken once too often.
            self._wake.put(None)
            self._writer_sleeps = False

    def _is_over(self) -> bool:
        return self.closed and (self.discarded or not self._holds)

    def _something_waits(self) -> bool:
        return bool(self._messages or self._controls or self._carried or self._credits)

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
        """What waits, ``(frames, messages)``; blocks until there is something; ``None`` when closed and empty.

        All of it, but of relayed connections only a slice."""
        while True:
            with self._lock:
                if not self._stood_in_for:
                    self._writer_sleeps = False
                    if self._something_waits() or self._unflushed:
                        return self._take_all()
                    if self._is_over():
                        return None
                    self._writer_sleeps = True
            self._wake.get()

    def _take_all(self) -> tuple[list[bytes], list[bytes]]:
        self._unflushed = False
        messages, self._messages = self._messages, []
        return self._take_frames(), messages

    def take_controls(self) -> list[bytes]:
        """The control frames that wait, if any, and a slice of what is relayed; never blocks. They may pass between the
        pieces of a large message."""
        if not (self._controls or self._carried or self._credits):
            return []
        with self._lock:
            return self._take_frames()

    def _take_frames(self) -> list[bytes]:
        frames = list(self._controls)
        self._controls.clear()
        if self._credits:
            frames += [credit_frame(channel, amount) for channel, amount in self._credits.items()]
            self._credits.clear()
        if self._carried:
            frames.append(self._slice())
        return frames

    def _slice(self) -> bytes:
        """Some of what is relayed, as much as goes into one record."""
        carried, size, chosen = self._carried, 0, []
        while carried and size + len(carried[0]) <= CARRIED_SLICE:
            chosen.append(carried.popleft())
            size += len(chosen[-1])
        return b"".join(chosen)

    def sent(self, size: int) -> None:
        """``size`` bytes (messages with their overhead) are with the network: make room.

        Waiting senders are woken when half of the bound is free, so that they and the writer take turns in large
        steps instead of one message each.
        """
        with self._lock:
            self._make_room(size)

    def _make_room(self, size: int) -> None:
        self._bytes -= size
        if self._waiting_for_room and self._bytes <= self._limit // 2:
            self._room.notify_all()
