"""`UdpPort`: a UDP port, and the thread that carries packets between it and the uTP connections on it."""

from __future__ import annotations

import logging
import selectors
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError
from crust.threads import clock
from crust.threads.waker import selector_with_waker
from crust.threads.workers import start_thread
from crust.transport.utp.burst import Address
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.raw_datagrams import RawDatagrams
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.stream import UtpStream

log = logging.getLogger("crust.utp")

_BATCHES: Final = 4
"""What is received before it is acknowledged, in system calls: a fraction of a window, so that the sender goes on."""
_MAX_STAGED: Final = 64
"""Writes that wait for the thread without the lock: they are there for a moment, but each is an object."""


class UdpPort:
    """What `UtpSocket` is without its face, and the `Owner` of its streams. The arguments are those of `UtpSocket`.

    The thread sleeps until packets come or something is due. Who writes or reads meanwhile sends by itself what follows
    from it (`pump`), and wakes the thread where it has to wait for something else from now on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        settings: UtpSettings | None = None,
        offload: bool | None = None,
        accepting: bool = True,
        refuses: Callable[[str], bool] | None = None,
        name: str = "utp",
    ) -> None:
        if isinstance(address, str) or len(address) != 2:
            raise TypeError(f"address is a pair of host and port, as in ('127.0.0.1', 0); was {address!r}")
        self.lock = threading.Lock()
        self._datagrams = Datagrams(*address, offload=offload)
        self.local_address: Address = self._datagrams.address
        self._multiplexer = Multiplexer(settings, ipv6=":" in self.local_address[0])
        self._multiplexer.accepting = accepting
        self._multiplexer.refuses = refuses
        self._multiplexer.explain = self._datagrams.explain
        self._streams: dict[UtpConnection, UtpStream] = {}
        self._changed = threading.Condition(self.lock)  # for accept() and close()
        self._on_incoming: Callable[[], object] | None = None
        self._raw = RawDatagrams(":" in self.local_address[0])
        self._staged: deque[tuple[UtpStream, bytes]] = deque()
        self._write_blocked = False
        self._asleep_until: float | None = None
        self._closing = False
        self._stopped = False
        try:
            self._selector, self._waker = selector_with_waker()
        except OSError:
            self._datagrams.close()
            raise
        self._events = selectors.EVENT_READ  # for which the thread waits; only it changes them
        self._selector.register(self._datagrams.fileno(), self._events)
        try:
            self._thread = start_thread(f"{name}", self._run)
        except RuntimeError:
            self._free()
            raise

    # --- for streams, with the lock held ---
    def pump(self, connection: UtpConnection) -> None:
        """Something was written, read or ended: send what follows from it now."""
        now = clock.now()
        self._multiplexer.wake(connection, now)
        if not self._write_blocked and self._flush(now):
            self._waker.wake()  # the thread must wait for something else now
        deadline = self._multiplexer.next_deadline()
        if deadline is not None and self._asleep_until is not None and deadline < self._asleep_until:
            self._waker.wake()

    def _asleep(self) -> bool:
        return self._asleep_until is not None

    def take_staged(self) -> None:
        """Give connections what `stage` took for them."""
        while self._staged:
            stream, data = self._staged.popleft()
            stream.take_staged(data)
            self._multiplexer.wake(stream.connection, clock.now())

    def forget(self, connection: UtpConnection) -> None:
        """Its stream is no longer interested."""
        self._streams.pop(connection, None)

    def abort(self, connection: UtpConnection, error: CrustError) -> None:
        """End a connection at once. Takes the lock itself."""
        with self.lock:
            if not connection.over:
                self._multiplexer.fail(connection, error, clock.now())
                self.pump(connection)
                self._notify()

    def stage(self, stream: UtpStream, data: bytes) -> bool:
        """Take a write without the lock, if the thread is awake and so will come to it at once; whether it did."""
        if self._asleep() or len(self._staged) >= _MAX_STAGED:
            return False
        self._staged.append((stream, data))
        if self._asleep():  # If it fell asleep only now, it has seen the write: it looks after it has said so.
            with self.lock:
                self.take_staged()
                self.pump(stream.connection)
        return True

    def _stream(self, connection: UtpConnection, remote: Endpoint) -> UtpStream:
        local = Endpoint.utp((self.local_address[0], self.local_address[1]))
        stream = self._streams[connection] = UtpStream(self, connection, local, remote)
        return stream

    # --- the thread ---
    def _run(self) -> None:
        try:
            while True:
                self._sleep()
                more = True
                while more:
                    with self.lock:
                        if self._stopped:
                            return
                        more = self._turn()
        except Exception:
            log.exception("the thread of %s crashed; please report this", self.local_address)
            with self.lock:  # nobody may wait for what will never come
                self._closing = self._stopped = True
                for connection in self._multiplexer.connections:
                    connection.fail(ConnectionLost("the thread that serves the UDP port has crashed"))
                    self._multiplexer.touched[connection] = None
                self._notify()
        finally:
            self._free()

    def _free(self) -> None:
        self._selector.close()
        self._datagrams.close()
        self._waker.close()

    def _sleep(self) -> None:
        with self.lock:
            # While the system takes nothing, what is due cannot be done: wait until it takes something.
            deadline = None if self._write_blocked else self._multiplexer.next_deadline()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._write_blocked else 0)
            self._asleep_until = float("inf") if deadline is None else deadline
            # Whoever got the lock before us may have taken what was staged, and need not have sent anything.
            if self._staged or (self._multiplexer.has_ready and not self._write_blocked):
                deadline = 0.0
        if events != self._events:
            self._events = events
            self._selector.modify(self._datagrams.fileno(), events)
        timeout = None if deadline is None else max(deadline - clock.now(), 0.0)
        for key, _events in self._selector.select(timeout):
            if key.fileobj is self._waker:
                self._waker.clear()

    def _turn(self) -> bool:
        """Receive some, do what is due, send; whether more may be waiting to be received."""
        self._asleep_until = None
        multiplexer, datagrams = self._multiplexer, self._datagrams
        received = None
        for _ in range(_BATCHES):
            if (received := datagrams.receive()) is None:
                break
            multiplexer.receive(received.data, received.address, received.segment, clock.now())
        now = clock.now()
        if datagrams.errors_waiting:
            for error in datagrams.errors():
                multiplexer.icmp(error.address, error.error, error.mtu, error.quoted, now)
        self.take_staged()
        multiplexer.tick(now)
        self._flush(now)
        self._notify()
        return received is not None

    def _flush(self, now: float) -> bool:
        """Send what may be sent; whether the system took less than that."""
        multiplexer, datagrams = self._multiplexer, self._datagrams
        blocked = not self._raw.send(datagrams)
        while not blocked and (burst := multiplexer.next_burst(now)) is not None:
            taken = datagrams.send(burst)
            multiplexer.sent(burst, taken, now)
            blocked = taken < len(burst.buffers) // 2
        self._write_blocked = blocked
        return blocked

    def _notify(self) -> None:
        touched = self._multiplexer.touched
        if not touched:
            return
        for connection in touched:
            stream = self._streams.get(connection)
            if stream is not None:
                stream.on_change()
                if connection.over:
                    del self._streams[connection]
        touched.clear()
        if self._multiplexer.accepted or self._closing:
            self._changed.notify_all()
            if self._on_incoming is not None and self._multiplexer.accepted:
                self._on_incoming()
