"""The sockets of a beacon: to hear what is said to all, on a port that all nodes of a host share, and to talk.

Answers go to the port that a question came from. That must be a port of one process only, as the system hands what is
sent to one host to just one of those that share a port. So there are two sockets for each version of IP. What fails on
one link, or for one version, changes nothing for the others.
"""

import errno
import logging
import os
import selectors
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from crust.discovery.beacon_census import Address
from crust.discovery.beacon_links import Link, is_near
from crust.discovery.beacon_packet import DATAGRAM_SIZE

log = logging.getLogger("crust.beacon")

GROUP: Final = "ff12::f275:7374"
"""The IPv6 group of all beacons: of link-local scope, transient (RFC 4291 section 2.7), with a number from those for
groups that nobody assigned (RFC 3307 section 4.3)."""
EVERYBODY: Final = "255.255.255.255"
RETRIES: Final = 3
"""How often a link that nothing could be sent on is tried again when interfaces change: an IPv6 address takes a second
or two to become usable."""
_BAD_READS: Final = 16  # errors in a row that make a socket be replaced
_ABOUT_DATAGRAMS: Final = frozenset(
    {errno.EMSGSIZE, errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}
)
"""Errors of receiving that strangers can cause: one was too large (Windows), or what we sent was not taken."""
_READ_SIZE: Final = DATAGRAM_SIZE + 1  # of larger ones this much is enough to see that they are
_IP_PKTINFO: Final = 8  # Linux
_PKTINFO: Final = struct.Struct("=i4s4s")  # interface, source address, (ignored)
_ANY: Final = {4: ("0.0.0.0", socket.AF_INET), 6: ("::", socket.AF_INET6)}


class BeaconSockets:
    """See the module's text. Belongs to one thread.

    Args:
        port: where to hear, 1 to 65535, shared with others; or 0 for a free one.
        towards: the port that is spoken to when all are meant.
        selector: where to register what may become readable, with this object as its data.
        versions: of IP, for tests.
    """

    def __init__(
        self, port: int, towards: int, selector: selectors.BaseSelector, versions: tuple[int, ...] = (4, 6)
    ) -> None:
        self.port = port
        """Where we hear, once `refresh` has found out."""
        self._towards = towards
        self._selector = selector
        self._versions = versions
        self.deaf: tuple[tuple[int, str], ...] = ()
        """Versions of IP over which others are not heard although there are links for it, and why. Any thread."""
        self._deafness: dict[int, str] = {}
        self._hearing: dict[int, socket.socket] = {}
        self._talking: dict[int, socket.socket] = {}
        self._complaints: set[str] = set()
        self._bad_reads: dict[socket.socket, int] = {}
        self._joined: set[int] = set()
        self._links: list[Link] = []
        self._failures: dict[Link, int] = {}

    @property
    def links(self) -> list[Link]:
        """Those that `refresh` was given last."""
        return self._links

    @property
    def complete(self) -> bool:
        """Whether all sockets are there; else `refresh` again after a while."""
        return len(self._hearing) == len(self._talking) == len(self._versions)

    @property
    def hearing_port(self) -> int | None:
        """Where others are heard; ``None`` if nowhere."""
        return self.port if self._hearing else None

    def refresh(self, links: Iterable[Link], came_up: Iterable[int] = ()) -> list[Link]:
        """Open what is missing, and use these links from now on.

        Args:
            links: all there are.
            came_up: interfaces that count as new.

        Returns:
            Those that were not there before, or on which nothing could be sent.
        """
        for version in self._versions:
            self._open(version)
        before = set(self._links)
        self._links = [link for link in links if link.version in self._versions]
        renewed = set(came_up)
        new = [
            link
            for link in self._links
            if link not in before or link.index in renewed or 0 < self._failures.get(link, 0) <= RETRIES
        ]
        for link in set(self._failures) - set(self._links):
            del self._failures[link]
        self._join()
        spoken = {link.version for link in self._links}
        self.deaf = tuple((version, why) for version, why in self._deafness.items() if version in spoken)
        return new

    # --- opening ---
    def _open(self, version: int) -> None:
        if version not in self._talking:
            self._try(version, self._talking, "talk", self._open_talking)
        if version not in self._hearing:
            self._deafness.pop(version, None)
            error = self._try(version, self._hearing, f"hear others on UDP port {self.port}", self._open_hearing)
            if error is not None:
                taken = error.errno == errno.EADDRINUSE
                self._deafness[version] = "its port is taken" if taken else error.strerror or str(error)

    def _try(
        self, version: int, where: dict[int, socket.socket], what: str, opens: Callable[[int], socket.socket]
    ) -> OSError | None:
        """What went wrong."""
        text = f"the beacon cannot {what} with IPv{version}"
        try:
            sock = where[version] = opens(version)
        except OSError as error:
            if text not in self._complaints:
                self._complaints.add(text)
                # A machine without IPv6 is nothing to worry about.
                level = logging.WARNING if version == 4 else logging.INFO
                log.log(level, "%s, and will try again: %s", text, error.strerror or error)
            return error
        self._complaints.discard(text)
        self._selector.register(sock, selectors.EVENT_READ, self)
        return None

    def _open_talking(self, version: int) -> socket.socket:
        sock = _new(version)
        try:
            if version == 4:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind((_ANY[version][0], 0))
        except OSError:
            sock.close()
            raise
        return sock

    def _open_hearing(self, version: int) -> socket.socket:
        sock = _new(version)
        try:
            if self.port:
                _share(sock)
            sock.bind((_ANY[version][0], self.port))
            if not self.port:
                self.port = sock.getsockname()[1]
                _share_late(sock)
        except OSError:
            sock.close()
            raise
        if version == 6:
            self._joined.clear()
        return sock

    def _join(self) -> None:
        hearing = self._hearing.get(6)
        if hearing is None:
            return
        wanted = {link.index: link for link in self._links if link.version == 6}
        for index in self._joined - wanted.keys():
            try:
                hearing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, _membership(index))
            except OSError:
                pass  # the interface is gone, and our membership with it
            self._joined.discard(index)
        for index in wanted.keys() - self._joined:
            try:
                hearing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _membership(index))
                self._joined.add(index)
            except OSError as error:
                log.debug("cannot join the group of beacons on %s: %s", wanted[index].name, error)

    # --- out ---
    def send_to_all(self, datagram: Callable[[], bytes]) -> int:
        """Send on every link.

        Args:
            datagram: makes one for each link: who hears several shall not take them for repetitions.

        Returns:
            On how many it worked.
        """
        sent = 0
        for link in self._links:
            sock = self._talking.get(link.version)
            if sock is None:
                continue
            try:
                self._broadcast(sock, link, datagram())
            except OSError as error:
                if not self._failures.get(link):
                    log.debug("cannot speak on %r: %s", link, error)
                self._failures[link] = self._failures.get(link, 0) + 1
            else:
                self._failures.pop(link, None)
                sent += 1
        return sent

    def _broadcast(self, sock: socket.socket, link: Link, data: bytes) -> None:
        if link.version == 6:
            sock.sendto(data, (GROUP, self._towards, 0, link.index))
        elif sys.platform == "linux" and not link.is_loopback:
            # This leaves by the interface that is meant, even where another has the same network.
            which = _PKTINFO.pack(link.index, socket.inet_aton(link.address), bytes(4))
            sock.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, which)], 0, (EVERYBODY, self._towards))
        else:
            sock.sendto(data, (link.broadcast, self._towards))

    def send(self, datagram: bytes, address: Address) -> None:
        """Send to one; it may be lost, as on its way."""
        sock = self._talking.get(6 if ":" in address[0] else 4)
        if sock is not None:
            try:
                sock.sendto(datagram, address)
            except OSError as error:
                log.debug("cannot answer %s: %s", address[0], error)

    # --- in ---
    def receive(self, sock: socket.socket) -> tuple[bytes, Address] | None:
        """The next datagram and its sender's address; ``None`` when nothing is there now.

        What comes from elsewhere than our networks, or has another size than ours have, is given as empty.
        """
        try:
            data, address = sock.recvfrom(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _ABOUT_DATAGRAMS:
                self._on_bad_read(sock, error)
            return None
        self._bad_reads.pop(sock, None)
        if len(data) != DATAGRAM_SIZE or not is_near(address[0], self._links):
            return b"", address
        return data, (f"{address[0]}%{scope_name(address[3])}", *address[1:]) if len(address) == 4 else address

    def _on_bad_read(self, sock: socket.socket, error: OSError) -> None:
        log.debug("receiving: %s", error)
        self._bad_reads[sock] = self._bad_reads.get(sock, 0) + 1
        if self._bad_reads[sock] < _BAD_READS:
            return
        log.warning("the beacon replaces a socket that only gives errors: %s", error)
        for where in (self._hearing, self._talking):
            for version in [version for version, one in where.items() if one is sock]:
                del where[version]
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        self._bad_reads.pop(sock, None)
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass  # it is broken, which may be why
        sock.close()

    def close(self) -> None:
        """Free all ports. Any number of times."""
        for where in (self._hearing, self._talking):
            for sock in where.values():
                self._drop(sock)
            where.clear()


def _new(version: int) -> socket.socket:
    sock = socket.socket(_ANY[version][1], socket.SOCK_DGRAM)
    sock.setblocking(False)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _share(sock: socket.socket) -> None:
    """Let others hear on the same port; all get what is sent to all."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # BSD and macOS want this one. Linux gives each datagram to one of those that have it, unless it is for all, and
    # lets only one user share; there the other is enough.
    if os.name == "posix" and sys.platform != "linux" and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _share_late(sock: socket.socket) -> None:
    """The same for a port that the system chose: if asked before, it might have chosen one that others share."""
    try:
        _share(sock)
    except OSError as error:  # not every system allows it then
        log.debug("no other process can share the port: %s", error)


def scope_name(index: int) -> str:
    """What stands behind the ``%`` of a link-local address, so that this system understands it."""
    try:
        return str(index) if os.name == "nt" else socket.if_indextoname(index)
    except OSError:  # it is gone
        return str(index)


def _membership(index: int) -> Any:
    return socket.inet_pton(socket.AF_INET6, GROUP) + struct.pack("@I", index)
