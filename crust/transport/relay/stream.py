"""`RelayStream`: one end of a relayed connection, as a `Stream` over a channel of another connection."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, PeerMisbehaved, TimedOut
from crust.threads.clock import Deadline
from crust.transport.framing import RELAY, control_frame
from crust.transport.relay.carried import CARRIED_OVERHEAD, MAX_CARRIED, RELAY_WINDOW, Intake, carried_frame, cost_of
from crust.transport.relay.channels import Carrier, Channels
from crust.transport.relay.notes import Abort

_ENDED_HERE: Final = "the connection was ended here"
_CARRIER_GONE: Final = "the connection with the peer in the middle has ended"
_LEAST_PIECE: Final = 1024
"""Bytes; with less credit than this there is nothing to send but the rest of something."""


class RelayStream:
    """A `crust.transport.base.Stream`. While it lives the carrying connection ends in order only after it.

    Args:
        outbox: of the carrying connection.
        channels: of the carrying connection; whoever makes the stream enters it there.
        number: of the channel.
        local, remote: its names.
    """

    def __init__(self, outbox: Carrier, channels: Channels, number: int, local: Endpoint, remote: Endpoint) -> None:
        self.local = local
        self.remote = remote
        self.number = number
        self._outbox = outbox
        self._channels = channels
        self._deadline: Deadline | None = None
        self._lock = threading.Lock()  # guards all below
        self._readable = threading.Condition(self._lock)
        self._writable = threading.Condition(self._lock)
        self._chunks: deque[memoryview] = deque()
        self._costs: deque[int] = deque()
        self._intake = Intake()
        self._credit = 0
        self._finished = False  # we have said that nothing more comes
        self._failure: str | None = None
        self._gone = False  # nothing more is sent or taken: it has been taken off the carrier
        outbox.hold()

    def set_deadline(self, deadline: Deadline | None) -> None:
        """See `Stream.set_deadline`."""
        self._deadline = deadline

    # --- receiving ------------------------------------------------------------------------------------

    def receive_into(self, buffer: memoryview) -> int:
        """See `Stream.receive_into`."""
        deadline = self._deadline
        with self._lock:
            while not self._chunks:
                if self._intake.ended and self._failure is not _ENDED_HERE:
                    return 0
                if self._failure is not None:
                    raise ConnectionLost(self._failure)
                _wait(self._readable, deadline, "the peer did not answer in time")
            count, given = self._read(buffer)
        self._give(given)
        return count

    def receive_waiting(self, buffer: memoryview) -> int:
        """See `Stream.receive_waiting`."""
        with self._lock:
            if not self._chunks:
                return 0
            count, given = self._read(buffer)
        self._give(given)
        return count

    def _read(self, buffer: memoryview) -> tuple[int, int]:
        """Move what is there; how many bytes, and what credit that gives back."""
        at, read = 0, 0
        while self._chunks and at < len(buffer):
            chunk = self._chunks[0]
            piece = chunk[: len(buffer) - at]
            buffer[at : at + len(piece)] = piece
            at += len(piece)
            if len(piece) < len(chunk):
                self._chunks[0] = chunk[len(piece) :]
            else:
                self._chunks.popleft()
                read += self._costs.popleft()
        return at, self._intake.read(read)

    def _give(self, credit: int) -> None:
        if credit:
            self._outbox.put_credit(self.number, credit)

    # --- sending --------------------------------------------------------------------------------------

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Stream.send_all`."""
        deadline = self._deadline
        left = memoryview(data)
        while left:
            with self._lock:
                while not (count := self._sendable(len(left))):
                    _wait(self._writable, deadline, "the peer did not take what we sent in time")
                self._credit -= count + CARRIED_OVERHEAD
            self._put(left[:count])
            left = left[count:]

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        """See `Stream.send_waiting`."""
        left = memoryview(data)
        while left:
            with self._lock:
                count = self._sendable(len(left))
                if not count:
                    break
                self._credit -= count + CARRIED_OVERHEAD
            self._put(left[:count])
            left = left[count:]
        return len(data) - len(left)

    def _sendable(self, size: int) -> int:
        """How many bytes of so many may go in a frame now."""
        if self._failure is not None or self._gone or self._finished:
            raise ConnectionLost(self._failure or _ENDED_HERE)
        room = self._credit - CARRIED_OVERHEAD
        return min(size, room, MAX_CARRIED) if room >= min(size, _LEAST_PIECE) else 0

    def _put(self, data: memoryview) -> None:
        if not self._outbox.put_carried(carried_frame(self.number, data)):
            raise ConnectionLost(_CARRIER_GONE)

    def finish_sending(self) -> None:
        """See `Stream.finish_sending`."""
        with self._lock:
            if self._finished or self._gone:
                return
            self._finished = True
            both = self._intake.ended
        self._outbox.put_carried(carried_frame(self.number, b""))
        if both:
            self._leave()

    # --- what the carrier's reader brings, and the manager thread -----------------------------------------

    @property
    def outstanding(self) -> int:
        """See `Sink.outstanding`."""
        return self._intake.outstanding

    def carried(self, data: bytes) -> None:
        """See `Sink.carried`."""
        with self._lock:
            self._intake.came(data)
            if data:
                self._chunks.append(memoryview(data))
                self._costs.append(cost_of(data))
            both = self._intake.ended and self._finished
            self._readable.notify()
        if both:
            self._leave()

    def credited(self, amount: int) -> None:
        """See `Sink.credited`."""
        with self._lock:
            if self._credit + amount > RELAY_WINDOW:
                raise PeerMisbehaved(f"it gave credit for more than {RELAY_WINDOW} bytes on a relayed channel")
            self._credit += amount
            self._writable.notify()

    def ended(self, reason: str) -> None:
        """See `Sink.ended`: what has come is still to be read."""
        with self._lock:
            self._failure = self._failure or reason
            self._wake_all()
        self._leave()

    # --- the end ----------------------------------------------------------------------------------------

    def abort(self) -> None:
        """See `Stream.abort`."""
        with self._lock:
            self._failure = _ENDED_HERE
            self._chunks.clear()
            self._costs.clear()
            self._wake_all()
        self.close()

    def close(self) -> None:
        """See `Stream.close`: if it has not ended on both sides, the other one is told, after what was sent."""
        self._leave(lambda: self._outbox.put_carried(control_frame(RELAY, Abort(self.number, "").content())))

    def _wake_all(self) -> None:
        self._readable.notify_all()
        self._writable.notify_all()

    def _leave(self, parting: Callable[[], object] = lambda: None) -> None:
        """It is off the carrier from now on; ``parting`` is called if it was still on it."""
        with self._lock:
            if self._gone:
                return
            self._gone = True
        self._channels.remove(self.number)
        parting()
        self._outbox.release()


def _wait(condition: threading.Condition, deadline: Deadline | None, late: str) -> None:
    remaining = None if deadline is None else deadline.remaining()
    if remaining == 0.0:
        raise TimedOut(late)
    condition.wait(remaining)
