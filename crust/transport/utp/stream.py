"""`UtpStream`: the blocking face of one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError, TimedOut
from crust.threads import clock
from crust.threads.clock import Deadline
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.stats import UtpStats

PIECE: Final = 64 * 1024
"""Bytes that a large write is cut into: as much as the buffer has room for can be handed to the socket's thread without
waiting for the lock, while the rest of the write waits for room."""
_ENDED_HERE = "the connection was ended here"


class Owner(Protocol):
    """What a stream needs of its `UtpSocket`. Call with `lock`, where nothing else is said."""

    lock: threading.Lock

    def pump(self, connection: UtpConnection) -> None:
        """Something was written, read or ended: send what follows from it now."""
        ...

    def stage(self, stream: UtpStream, data: bytes) -> bool:
        """Take a write without the lock; whether it did."""
        ...

    def take_staged(self) -> None:
        """Give connections what `stage` took for them."""
        ...

    def abort(self, connection: UtpConnection, error: CrustError) -> None:
        """End a connection at once. Takes the lock itself."""
        ...

    def forget(self, connection: UtpConnection) -> None:
        """Its stream is no longer interested."""
        ...


class UtpStream:
    """A `crust.transport.base.Stream` over uTP; made by `UtpSocket`, which must outlive it.

    One thread may receive while another sends; `abort` and `stats` are for any thread. The methods with the names of
    ``socket.socket`` do what those do. A context manager; leaving closes.
    """

    def __init__(self, owner: Owner, connection: UtpConnection, local: Endpoint, remote: Endpoint) -> None:
        self.local = local
        self.remote = remote
        self._owner = owner
        self._connection = connection
        self._changed = threading.Condition(owner.lock)
        self._deadline: Deadline | None = None
        self._wanted_room = 0  # bytes for which a sender waits
        # Bytes in writes that were handed over without the lock, and of these what has arrived in the connection. Each
        # is changed by one thread at a time: the sender, and who holds the lock.
        self._staged = self._unstaged = 0
        self._readers = 0
        self._dialling = False
        self._closed = False

    @property
    def connection(self) -> UtpConnection:
        """For the owner."""
        return self._connection

    @property
    def initiator(self) -> bool:
        """Whether it counts as dialled by this side; of a rendezvous, exactly one side's does."""
        return self._connection.initiator

    def on_change(self) -> None:
        """Something happened to the connection; the owner's thread calls this with the lock held."""
        connection = self._connection
        if (
            (self._readers and (connection.readable or connection.at_end))
            or (self._wanted_room and connection.room() >= self._wanted_room)
            or (self._dialling and connection.established)
            or connection.error is not None
            or connection.over
        ):
            self._changed.notify_all()

    def on_owner_closed(self) -> None:
        """The owner is closed, and sees to the connection; nobody uses this any more. It calls with the lock held."""
        self._closed = True
        self._changed.notify_all()

    # --- receiving ---
    def receive_into(self, buffer: memoryview) -> int:
        """See `Stream.receive_into`."""
        with self._owner.lock:
            self._wait_for_data(self._deadline)
            filled = self._connection.read_into(buffer)
            self._owner.pump(self._connection)
            return filled

    def receive_waiting(self, buffer: memoryview) -> int:
        """See `Stream.receive_waiting`."""
        with self._owner.lock:
            connection = self._connection
            if not connection.readable:
                if connection.error is not None:
                    raise self._lost()
                return 0
            filled = connection.read_into(buffer)
            self._owner.pump(connection)
            return filled

    def recv(self, limit: int, *, timeout: float | None = None) -> bytes:
        """Up to ``limit`` bytes, as soon as there are some; ``b""`` at the end.

        Args:
            limit: bytes, at least 1.
            timeout: seconds; ``None``: the deadline that was set, if one was.

        Raises:
            ConnectionLost: the connection is broken or was aborted.
            TimedOut: nothing came in time.
            ValueError: ``limit`` is less than 1.
        """
        if limit < 1:  # `b""` would look like the end
            raise ValueError(f"limit: was {limit}; allowed: 1 or more bytes")
        with self._owner.lock:
            self._wait_for_data(self._deadline if timeout is None else Deadline(timeout))
            data = self._connection.read(limit)
            self._owner.pump(self._connection)
            return data

    def _wait_for_data(self, deadline: Deadline | None) -> None:
        connection = self._connection

        def ready() -> bool:
            told = bool(connection.readable) or connection.at_end
            return told or self._closed or connection.error is not None or connection.over

        if not ready():
            self._readers += 1
            try:
                self._wait(ready, deadline, "the peer did not answer in time")
            finally:
                self._readers -= 1
        if self._closed:
            raise ConnectionLost(_ENDED_HERE)
        if connection.readable or connection.at_end:
            return  # as TCP: what came in order is not taken back by a RESET
        if connection.error is not None or (connection.over and not connection.at_end):
            raise self._lost()

    # --- sending ---
    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Stream.send_all`."""
        self._send(data, self._deadline)

    def sendall(self, data: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Send all of ``data``; blocks while the peer, or the network, is slower.

        Args:
            data: any length.
            timeout: seconds for all of it; ``None``: the deadline that was set, if one was.

        Raises:
            ConnectionLost: the connection is broken, was aborted, or this side has ended its half.
            TimedOut: it did not fit into the send buffer in time; some of it may have been sent.
            TypeError: ``data`` is not bytes, or what can be seen as bytes.
        """
        self._send(data, self._deadline if timeout is None else Deadline(timeout))

    def _send(self, data: bytes | bytearray | memoryview, deadline: Deadline | None) -> None:
        # What may change must be copied: it is kept until the peer has acknowledged it.
        kept = data if isinstance(data, bytes) else bytes(memoryview(data))  # bytes(5) would be five of them
        if len(kept) <= PIECE:
            self._send_piece(kept, deadline)
            return
        for start in range(0, len(kept), PIECE):
            self._send_piece(kept[start : start + PIECE], deadline)

    def _send_piece(self, kept: bytes, deadline: Deadline | None) -> None:
        size, done = len(kept), 0
        if self._stage(kept, size):
            return
        with self._owner.lock:
            self._owner.take_staged()
            while done < size:
                done += self._write(kept, done)
                if done < size:
                    self._wait_for_room(deadline)

    def _stage(self, data: bytes, size: int) -> bool:
        """Hand a write to the socket's thread without the lock, which that thread mostly has; whether it could be done.

        What is read of the connection here may be in the middle of a change, so its buffer may exceed its size, by what
        the thread moves at once.
        """
        connection = self._connection
        if self._closed or connection.error is not None or connection.finishing:
            return False  # where the lock is held it is told why
        if connection.room() - self._staged + self._unstaged < size:
            return False
        self._staged += size
        if self._owner.stage(self, data):
            return True
        self._staged -= size
        return False

    def take_staged(self, data: bytes) -> None:
        """Take a write that was staged; the owner calls this with the lock held."""
        self._unstaged += len(data)
        if self._connection.error is None:
            try:
                self._connection.write(data, beyond=True)
            except ConnectionLost:
                pass  # our half was ended by another thread at the same time; a write that came later would raise

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        """See `Stream.send_waiting`."""
        with self._owner.lock:
            self._owner.take_staged()
            if not isinstance(data, bytes):
                data = bytes(memoryview(data).cast("B")[: self._connection.room()])
            return self._write(data, 0)

    def _write(self, data: bytes, start: int) -> int:
        if self._closed or self._connection.error is not None:
            raise self._lost()
        taken = self._connection.write(data, start)
        if taken:
            self._owner.pump(self._connection)
        return taken

    def _wait_for_room(self, deadline: Deadline | None) -> None:
        connection = self._connection
        # Woken for little, a sender would run once per acknowledgement.
        self._wanted_room = connection.send_buffer // 4

        def ready() -> bool:
            over = self._closed or connection.error is not None or connection.over
            return over or connection.room() >= self._wanted_room

        try:
            self._wait(ready, deadline, "the peer did not take what we sent in time")
        finally:
            self._wanted_room = 0

    # --- both ---
    def _wait(self, ready: Callable[[], bool], deadline: Deadline | None, why: str) -> None:
        while not ready():
            remaining = None if deadline is None else deadline.remaining()
            if remaining == 0.0:
                raise TimedOut(why)
            self._changed.wait(remaining)

    def _lost(self) -> CrustError:
        error = self._connection.error
        if error is None:
            return ConnectionLost(_ENDED_HERE)
        return type(error)(*error.args)  # a new one each time: each has a traceback of its own

    def set_deadline(self, deadline: Deadline | None) -> None:
        """See `Stream.set_deadline`."""
        self._deadline = deadline

    def finish_sending(self) -> None:
        """See `Stream.finish_sending`."""
        with self._owner.lock:
            self._owner.take_staged()
            if not self._connection.over:
                self._connection.finish()
                self._owner.pump(self._connection)

    shutdown = finish_sending

    def abort(self) -> None:
        """See `Stream.abort`."""
        self._owner.abort(self._connection, ConnectionLost(_ENDED_HERE))

    def close(self) -> None:
        """See `Stream.close`. What was sent is still delivered, as long as the `UtpSocket` lives."""
        with self._owner.lock:
            if not self._closed:
                self._owner.take_staged()
                self._closed = True
                self._connection.close()
                self._owner.pump(self._connection)
                self._owner.forget(self._connection)
                self._changed.notify_all()

    def __enter__(self) -> UtpStream:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def stats(self) -> UtpStats:
        """What the connection has counted so far. Any thread."""
        with self._owner.lock:
            return self._connection.stats()

    def wait_established(self, deadline: Deadline) -> None:
        """Wait until the peer has answered.

        Raises:
            DialFailed: it refused, or it cannot be reached.
            TimedOut: it did not answer in time.
        """
        connection = self._connection
        with self._owner.lock:
            self._dialling = True
            self._wait(lambda: connection.established or connection.over, deadline, "no answer in time")
            self._dialling = False
            if not connection.established:
                raise self._lost()

    def __repr__(self) -> str:
        return f"<UtpStream {self.local} to {self.remote}, {self._connection.state.name}, at {clock.now():.1f}>"
