"""`RawDatagrams`: what is sent from a UDP port beside uTP, checked when it is handed over, and kept until it leaves."""

import logging
import socket
from collections import deque
from typing import Final

from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.datagrams import Datagrams

log = logging.getLogger("crust.utp")

MOST_WAITING: Final = 1024
"""Datagrams that wait. They leave at once unless the system takes none now, and then they may be lost as any other."""


def checked(address: object, ipv6: bool) -> Address:
    """An address to which a socket of that family sends without asking anybody for a name.

    Raises:
        TypeError: it is no pair of text and a whole number (IPv6: or four, as the ``socket`` module has them).
        ValueError: the host is no address of that family, or the port is not 0 to 65535.
    """
    if not isinstance(address, tuple) or len(address) not in ((2, 4) if ipv6 else (2,)):
        raise TypeError(f"an address is a pair of host and port, as in ('192.0.2.7', 5483); was {address!r}")
    host, port = address[:2]
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"an address is text and a whole number, as in ('192.0.2.7', 5483); was {address!r}")
    try:
        socket.inet_pton(socket.AF_INET6 if ipv6 else socket.AF_INET, host.partition("%")[0] if ipv6 else host)
    except (OSError, ValueError):  # a null character is a ValueError
        raise ValueError(f"{host!r} is not an IPv{6 if ipv6 else 4} address; names are not looked up") from None
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not a number from 0 to 65535")
    return address


class RawDatagrams:
    """A bounded queue. Any thread may add; one at a time sends.

    Args:
        ipv6: the family of the socket.
    """

    def __init__(self, ipv6: bool) -> None:
        self._ipv6 = ipv6
        self._waiting: deque[tuple[Address, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: bytes, address: Address) -> bool:
        """Take a datagram to send; ``False``: too many wait, and it is lost.

        Raises:
            TypeError: ``data`` is not bytes, or see `checked`.
            ValueError: see `checked`.
        """
        item = (checked(address, self._ipv6), bytes(memoryview(data)))
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(item)
        return True

    def send(self, datagrams: Datagrams) -> bool:
        """Send what waits; whether the system took all of it."""
        while self._waiting:
            address, data = self._waiting[0]
            try:
                taken = datagrams.send(Burst(address, [data, b""], len(data)))
            except Exception as error:  # the thread serves all connections: nobody's mistake may end it
                log.warning("a datagram to %s was dropped: %s", address, error)
                taken = 1
            if not taken:
                return False
            self._waiting.popleft()
        return True
