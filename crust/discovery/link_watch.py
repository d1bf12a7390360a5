"""`LinkWatch`: hears from the system when interfaces and addresses come, go, and get their cables plugged in."""

import errno
import logging
import socket
import struct
import sys
from typing import Final

log = logging.getLogger("crust.beacon")

# Linux, include/uapi/linux/netlink.h and rtnetlink.h
_NETLINK_ROUTE: Final = 0
_GROUPS: Final = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_GETLINK: Final = 18
_REQUEST_ALL: Final = 0x1 | 0x300  # NLM_F_REQUEST, NLM_F_DUMP
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFF_RUNNING: Final = 0x40
_LARGEST: Final = 65_536
_READS: Final = 64  # messages taken at once
_MAX_KNOWN: Final = 4096  # interfaces


class LinkWatch:
    """A socket that becomes readable when something about the interfaces changes. Belongs to one thread.

    Raises:
        OSError: this system has no such thing, or does not let us: look at the interfaces from time to time instead.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "only Linux tells")
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        try:
            self._sock.bind((0, _GROUPS))
            self._sock.setblocking(False)
            self._running: dict[int, bool] = {}
            # What has no network now is to be noticed when it gets one.
            body = _LINK.pack(0, 0, 0, 0, 0)
            self._sock.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _REQUEST_ALL, 1, 0) + body)
            self.came_up()
        except OSError:
            self._sock.close()
            raise

    def fileno(self) -> int:
        """For selectors."""
        return self._sock.fileno()

    def close(self) -> None:
        """Free the socket. Any number of times."""
        self._sock.close()

    def came_up(self) -> set[int]:
        """Take what was told: the numbers of the interfaces that had no network before and have one now."""
        up: set[int] = set()
        for _ in range(_READS):
            try:
                data = self._sock.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError as error:  # ENOBUFS: something was lost, so look at everything, which the caller does
                log.debug("changes of interfaces: %s", error)
                break
            up |= self._note(data)
        return up

    def _note(self, data: bytes) -> set[int]:
        up: set[int] = set()
        start = 0
        while start + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, start)
            body = start + _HEADER.size
            if length < _HEADER.size:
                break
            if kind in (_RTM_NEWLINK, _RTM_DELLINK) and body + _LINK.size <= len(data):
                _, _, index, flags, _ = _LINK.unpack_from(data, body)
                running = kind == _RTM_NEWLINK and bool(flags & _IFF_RUNNING)
                if running and self._running.get(index) is False:
                    up.add(index)
                if len(self._running) >= _MAX_KNOWN:
                    self._running.clear()
                self._running[index] = running
            start += -(-length // 4) * 4  # NLMSG_ALIGN
        return up
