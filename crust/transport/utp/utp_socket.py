"""`UtpSocket`: a UDP port with uTP connections on it, as its users see it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError, DialFailed, TimedOut
from crust.threads import clock
from crust.threads.clock import Deadline
from crust.transport.utp.burst import Address
from crust.transport.utp.handlers import Handler
from crust.transport.utp.stream import UtpStream
from crust.transport.utp.udp_port import UdpPort

_NOT_TAKEN: Final = ConnectionLost("nobody accepts connections any more")
LINGER: Final = 5.0
"""Seconds for which `UtpSocket.close` waits until what was sent has arrived."""


class UtpSocket(UdpPort):
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

    # --- connections ---
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
        """Send a datagram that is not uTP from the same port; like any, it may be lost. For handlers as well.

        Raises:
            TypeError: ``data`` is not bytes, or ``address`` no pair of host and port.
            ValueError: the host is no address of the socket's family, or there is no such port.
        """
        if self._raw.add(data, address):
            self._waker.wake()
        else:
            self._datagrams.counters.lost += 1

    def close(self, linger: float = LINGER) -> None:
        """End all connections, in order where that takes no longer than ``linger`` seconds, and free the port.

        Whoever is blocked in this socket or a stream of it is woken with an error at once. Idempotent; returns when the
        thread has ended.
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
                for stream in self._streams.values():
                    stream.on_owner_closed()
                self._notify()  # accept() as well: nobody else need wait for what we wait for now
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
