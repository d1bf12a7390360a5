"""The sockets of a port mapper: for each path one to the router and one to search with, and one for announcements."""

import errno
import logging
import selectors
import socket
import sys
from typing import Any, Final

from crust.nat import gateway_answer, ssdp
from crust.nat.gateway_session import GatewaySession, Way
from crust.nat.paths import Path

log = logging.getLogger("crust.nat")

_LARGEST: Final = 8192  # bytes of a datagram
_AT_ONCE: Final = 32  # datagrams of one socket before the others have their turn
_TTL: Final = 2  # of searches; UPnP Device Architecture 1.1, section 1.3.2
_UNREACHABLE: Final = (errno.ECONNREFUSED, errno.ECONNRESET)  # the second is Windows' word for it


class PathSockets:
    """The sockets of one session. Belongs to one thread.

    Args:
        session: what to send, and who takes what comes.
        selector: where the sockets are registered, each with its `PathSockets`.
    """

    def __init__(self, session: GatewaySession, selector: selectors.BaseSelector) -> None:
        self.session = session
        self._selector = selector
        self._open: dict[Way, socket.socket] = {}

    def send(self, way: Way, data: bytes, now: float) -> None:
        """Send a datagram; what cannot be sent is lost, as on the way."""
        try:
            sock = self._open.get(way) or self._make(way)
            if way is Way.GROUP:
                sock.sendto(data, _group(self.session.path))
            else:
                sock.send(data)
        except OSError as error:
            self._failed(error, now)

    def ready(self, sock: object, now: float) -> None:
        """Take what came in on one of the sockets."""
        for way, own in list(self._open.items()):
            if own is sock:
                for _ in range(_AT_ONCE):
                    if not self._read(way, own, now):
                        return

    def searching(self, wanted: bool) -> None:
        """Close the socket that searches when there is nothing to hear any more: anybody could write to it."""
        if not wanted and Way.GROUP in self._open:
            self._shut(Way.GROUP)

    def close(self) -> None:
        """Close all."""
        for way in list(self._open):
            self._shut(way)

    def _read(self, way: Way, sock: socket.socket, now: float) -> bool:
        """One datagram; whether there may be more."""
        try:
            data, address = sock.recvfrom(_LARGEST)
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(error, now)
            return False
        if way is Way.GROUP:
            self.session.heard(data, _sender(address), now)
        else:
            self.session.received(data, now)
        return True

    def _failed(self, error: OSError, now: float) -> None:
        log.debug("towards the router of %s: %s", self.session.path.local, error)
        if error.errno in _UNREACHABLE:
            self.session.unreachable(now)

    def _make(self, way: Way) -> socket.socket:
        path = self.session.path
        family = socket.AF_INET6 if path.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # The router maps ports to the address that asks.
            sock.bind((path.local, 0))
            if way is Way.GROUP and path.version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _TTL)
            elif way is Way.GROUP:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(path.local))
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
            else:
                # The system then drops what comes from elsewhere, and tells of ICMP errors.
                sock.connect(_address(path))
            self._selector.register(sock, selectors.EVENT_READ, self)
        except OSError:
            sock.close()
            raise
        self._open[way] = sock
        return sock

    def _shut(self, way: Way) -> None:
        sock = self._open.pop(way)
        self._selector.unregister(sock)
        sock.close()


def _address(path: Path) -> tuple[str, int] | tuple[str, int, int, int]:
    assert path.gateway is not None, "who has no router is not asked over PCP or NAT-PMP"
    host, _, scope = path.gateway.partition("%")
    if path.version == 4:
        return host, gateway_answer.PORT
    return host, gateway_answer.PORT, 0, _index(scope)


def _group(path: Path) -> tuple[str, int] | tuple[str, int, int, int]:
    """All UPnP devices of the network that a path leads through."""
    if path.version == 4:
        return ssdp.GROUP, ssdp.PORT
    scope = path.gateway.partition("%")[2] if path.gateway is not None else ""
    return ssdp.GROUP_IPV6, ssdp.PORT, 0, _index(scope or path.interface)


def _index(scope: str) -> int:
    """The number of an interface; 0, which leaves it to the system, if it is not known."""
    try:
        return int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return 0


def _sender(address: tuple[Any, ...]) -> str:
    """Who a datagram came from, as it can be answered: a link-local address with its scope."""
    host, scope = str(address[0]), address[3] if len(address) == 4 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


def open_announcements() -> socket.socket | None:
    """A socket that hears what routers say to all; ``None`` if another program does not share the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT") and sys.platform != "linux":
            # On Linux SO_REUSEADDR is enough, and both together would share datagrams instead of copying them.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", gateway_answer.ANNOUNCE_PORT))
    except OSError as error:
        log.debug("announcements of routers are not heard: %s", error)
        sock.close()
        return None
    return sock


def hear_announcements(sock: socket.socket) -> set[str]:
    """Who has announced something; reads what is there, up to a bound."""
    heard: set[str] = set()
    for _ in range(_AT_ONCE):
        try:
            _, address = sock.recvfrom(_LARGEST)
        except OSError:
            break
        heard.add(address[0])
    return heard
