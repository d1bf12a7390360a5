"""`UtpSocket`: a UDP port, the thread that serves it, and the uTP connections on it."""

from __future__ import annotations

import logging
import selectors
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError, DialFailed, TimedOut
from crust.threads import clock
from crust.threads.clock import Deadline
from crust.threads.waker import selector_with_waker
from crust.threads.workers import start_thread
from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.handlers import Handler
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.stream import UtpStream

log = logging.getLogger("crust.utp")

_BATCHES: Final = 4
"""What is received before it is acknowledged, in system calls: a fraction of a window, so that the sender goes on."""
_NOT_TAKEN: Final = ConnectionLost("nobody accepts connections any more")
_MAX_STAGED: Final = 64
"""Writes that wait for the thread without the lock: they are there for a moment, but each is an object."""
LINGER: Final = 5.0
"""Seconds for which `UtpSocket.close` waits until what was sent has arrived."""


class UtpSocket:
    """A UDP port with any number of uTP connections on it, all served by one thread. Methods are for any thread.

    Args:
        address: host and port to bind; ``("0.0.0.0", 0)`` and ``("::", 0)`` take any address of their family.
        settings: bounds and times.
        offload: whether to send and receive many packets per system call; ``None``: where the system can.
        accepting: whether strangers may connect; `start_accepting` lets them in later.
        refuses: whether strangers at an IP address are not welcome; asked before anything is kept of them, with the
            lock held.
        name: of the thread, behind ``crust-``.

    Raises:
        ListenFailed: the port cannot be opened; the message says why.
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
        self.lock = threading.Lock()
        self._datagrams = Datagrams(*address, offload=offload)
        self.local_address: Address = self._datagrams.address
        self._multiplexer = Multiplexer(settings, ipv6=":" in self.local_address[0])
        self._multiplexer.accepting = accepting
        self._multiplexer.refuses = refuses
        self._streams: dict[UtpConnection, UtpStream] = {}
        self._changed = threading.Condition(self.lock)  # for accept() and close()
        self._on_incoming: Callable[[], object] | None = None
        self._raw: deque[tuple[Address, bytes]] = deque()
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

    # --- for users ---
    def connect(
        self,
        address: tuple[str, int] | Address,
        timeout: float = 5.0,
        *,
        rendezvous: bool = False,
        started: Callable[[UtpStream], None] | None = None,
    ) -> UtpStream:
        """Dial an address (not a name).

        Args:
            address: host and port.
            timeout: seconds.
            rendezvous: see `rendezvous`.
            started: called with the stream, whose ``abort()`` ends the attempt, before anything can block.

        Raises:
            DialFailed: it refused, it cannot be reached, or did not answer in time; the message says which.
        """
        deadline = Deadline(timeout)
        remote = Endpoint.utp((address[0], address[1]))
        known = self._datagrams.normal(address)
        with self.lock:
            if self._closing:
                raise DialFailed("the socket was closed")
            connection = self._multiplexer.connect(known, clock.now(), rendezvous=rendezvous)
            stream = self._stream(connection, remote)
            self.pump(connection)
        try:
            if started is not None:
                started(stream)
            stream.wait_established(deadline)
        except TimedOut:
            why = "no answer; the host is off, or a firewall drops what we send"
            self.abort(connection, DialFailed(why))
            raise DialFailed(why) from None
        except CrustError as error:
            raise DialFailed(str(error)) from error
        except BaseException:
            self.abort(connection, DialFailed("given up"))
            raise
        return stream

    def rendezvous(self, address: tuple[str, int] | Address, timeout: float = 10.0) -> UtpStream:
        """Dial somebody who dials us: NATs that let answers in let both in, and both get the same one connection.

        Args:
            address: the peer's, as we must send to it.
            timeout: seconds.

        Raises:
            DialFailed: nothing came through in time.
        """
        return self.connect(address, timeout, rendezvous=True)

    def accept(self, timeout: float | None = None) -> UtpStream:
        """The next connection that somebody made to us.

        Args:
            timeout: seconds; ``None``: for ever.

        Raises:
            TimedOut: nobody came in time.
            ConnectionLost: the socket was closed.
        """
        deadline = Deadline(timeout)
        with self.lock:
            while not self._multiplexer.accepted:
                if self._closing:
                    raise ConnectionLost("the socket was closed")
                remaining = deadline.remaining()
                if remaining == 0.0:
                    raise TimedOut("nobody connected in time")
                self._changed.wait(remaining)
            connection = self._multiplexer.accepted.popleft()
            return self._stream(connection, Endpoint.utp(connection.address))

    def start_accepting(self, on_incoming: Callable[[], object]) -> None:
        """Let strangers connect, and say so whenever `accept` has somebody.

        Args:
            on_incoming: called on the socket's thread with its lock held: it must not block, and not call the socket.
        """
        with self.lock:
            self._on_incoming = on_incoming
            self._multiplexer.accepting = not self._closing

    def stop_accepting(self) -> None:
        """Let nobody in any more; those whom nobody has accepted yet are sent away. Idempotent."""
        with self.lock:
            self._on_incoming = None
            self._multiplexer.accepting = False
            while self._multiplexer.accepted:
                self._multiplexer.fail(self._multiplexer.accepted.popleft(), _NOT_TAKEN, clock.now())
            self._flush(clock.now())

    def add_handler(self, handler: Handler) -> None:
        """Hand datagrams that belong to no connection to ``handler(data, address) -> bool``, which says whether they
        were meant for it. It runs on the socket's thread, must not block, and must not call the socket but for
        `send_datagram`."""
        with self.lock:
            self._multiplexer.handlers.append(handler)

    def remove_handler(self, handler: Handler) -> None:
        """Undo `add_handler`."""
        with self.lock:
            self._multiplexer.handlers.remove(handler)

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send a datagram that is not uTP from the same port; like any, it may be lost. For handlers as well."""
        self._raw.append((address, data))
        self._waker.wake()

    def close(self, linger: float = LINGER) -> None:
        """End all connections, in order where that takes no longer than ``linger`` seconds, and free the port.

        Idempotent; returns when the thread has ended.
        """
        deadline = Deadline(linger)
        with self.lock:
            first = not self._closing
            self._closing = True
            self._multiplexer.accepting = False
            self.take_staged()
            if first:
                for connection in self._multiplexer.connections:
                    if connection.established:
                        connection.close()
                        self.pump(connection)
                    else:
                        self._multiplexer.fail(connection, DialFailed("the socket was closed"), clock.now())
                while any(not each.delivered for each in self._multiplexer.connections):
                    remaining = deadline.remaining()
                    if remaining == 0.0:
                        break
                    self._changed.wait(remaining)
                self._multiplexer.close()
                self._flush(clock.now())
                self._notify()
                self._stopped = True
            self._changed.notify_all()
        self._waker.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> UtpSocket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def counters(self) -> Counter[str]:
        """What happened that concerns no connection: malformed and stray packets, refused SYNs and so on."""
        with self.lock:
            return Counter(self._multiplexer.counters)

    @property
    def datagram_counters(self) -> dict[str, int]:
        """Datagrams and system calls each way so far."""
        return {name: getattr(self._datagrams.counters, name) for name in self._datagrams.counters.__slots__}

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
        blocked = False
        while self._raw and not blocked:
            address, data = self._raw[0]
            if datagrams.send(Burst(address, [data, b""], len(data))):
                self._raw.popleft()
            else:
                blocked = True
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
