"""`Errand`: the thread of one survey of a NAT, or of one hole punching, on the UDP ports of uTP and sockets of its own.

The machine inside is pure. It is used by this thread and by those of the ports, under one lock that nobody holds for
longer than it takes to make a few datagrams.
"""

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from crust.nat.errand_thread import ErrandThread
from crust.nat.outgoing import Machine, Outgoing
from crust.threads import clock
from crust.transport.utp.burst import Address
from crust.transport.utp.handlers import Handler

log = logging.getLogger("crust.nat")

ERRAND_LINGER: Final = 3.0
"""Seconds for which late datagrams are still taken, so that nobody else has to make sense of them."""
_MAX_DATAGRAM: Final = 2048
_RECEIVED_AT_ONCE: Final = 64  # datagrams of one socket, before the others have their turn


class Port(Protocol):
    """What an errand needs of a `UtpSocket`."""

    def add_handler(self, handler: Handler) -> None:
        """Give it what belongs to no connection."""

    def remove_handler(self, handler: Handler) -> None:
        """Undo `add_handler`."""

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send without waiting."""


class Errand(ErrandThread):
    """See the module's text. It begins at once; methods are for any thread.

    Args:
        ports: by IP version, 4 and 6; one of them may be missing.
        machine: nobody else may use it until `done` is called.
        done: called once, on the errand's thread, when the machine is over; not if `stop` comes first.
        linger: seconds.

    Raises:
        RuntimeError: the system has no more threads to give.
    """

    def __init__(
        self, ports: Mapping[int, Port], machine: Machine, done: Callable[[], None], linger: float = ERRAND_LINGER
    ) -> None:
        super().__init__()
        self._ports = dict(ports)
        self._machine = machine
        self._done = done
        self._linger = linger
        self._lock = threading.Lock()
        self._own: dict[tuple[int, int], socket.socket] = {}  # by number and IP version; only the thread changes it
        self._handlers: list[tuple[Port, Handler]] = [(port, self._take) for port in self._ports.values()]
        for port, handler in self._handlers:
            port.add_handler(handler)
        self._begin_thread("errand")

    def local_port(self, number: int, version: int = 4) -> int | None:
        """The port of one of the errand's own sockets, for a path that was opened from it; ``None`` if it has none.

        The NAT keeps the mapping when the socket is closed: the port can be bound again as soon as the errand is over.
        """
        sock = self._own.get((number, version))
        return None if sock is None else int(sock.getsockname()[1])

    # --- datagrams in ---
    def _take(self, data: bytes, address: Address) -> bool:
        """The handler; on the thread of a port."""
        with self._lock:
            taken = self._machine.receive(data, (address[0], address[1]), clock.now())
        if taken:
            self._waker.wake()
        return taken

    def _ready(self, number: int, file: Any) -> None:
        sock: socket.socket = file
        for _ in range(_RECEIVED_AT_ONCE):
            try:
                data, address = sock.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about one of ours; some systems report it here
            with self._lock:
                self._machine.receive(data, (address[0], address[1]), clock.now(), number)

    # --- the thread ---
    def _run(self) -> None:
        try:
            self._go_on(until_over=True)
            if not self._stopping:
                self._done()
                self._go_on(until_over=False)
        finally:
            self._free()

    def _go_on(self, until_over: bool) -> None:
        end = None if until_over else clock.now() + self._linger
        while not self._stopping:
            with self._lock:
                self._machine.tick(clock.now())
                outgoing, due = self._machine.outgoing(), self._machine.next_deadline()
                over = self._machine.over
            for datagram in outgoing:
                self._send(datagram)
            if until_over and over:
                return
            wake_at = min((at for at in (due, end) if at is not None), default=None)
            if end is not None and clock.now() >= end:
                return
            self._wait(None if wake_at is None else max(wake_at - clock.now(), 0.0))

    def _send(self, datagram: Outgoing) -> None:
        version = 6 if ":" in datagram.to[0] else 4
        if datagram.socket == 0:
            port = self._ports.get(version)
            if port is not None:
                port.send_datagram(datagram.data, datagram.to)
            return
        try:
            sock = self._own.get((datagram.socket, version)) or self._open(datagram.socket, version)
            if datagram.ttl is None:
                sock.sendto(datagram.data, datagram.to)
            else:
                _send_with_ttl(sock, version, datagram)
        except OSError as error:
            log.debug("a datagram to %s was not sent: %s", datagram.to, error)

    def _open(self, number: int, version: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("0.0.0.0" if version == 4 else "::", 0))
            self._selector.register(sock, selectors.EVENT_READ, number)
        except OSError:
            sock.close()
            raise
        self._own[number, version] = sock
        return sock

    def _free(self) -> None:
        for port, handler in self._handlers:
            port.remove_handler(handler)
        self._close_selector()
        for sock in self._own.values():
            sock.close()


def _send_with_ttl(sock: socket.socket, version: int, datagram: Outgoing) -> None:
    if version == 4:
        level, option = socket.IPPROTO_IP, socket.IP_TTL
    else:
        level, option = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
    usual = sock.getsockopt(level, option)
    sock.setsockopt(level, option, datagram.ttl or usual)
    try:
        sock.sendto(datagram.data, datagram.to)
    finally:
        sock.setsockopt(level, option, usual)
