"""UDP sockets and their options: what only some systems have, each with what stands in for it elsewhere.

Segmentation offload on Linux: ``UDP_SEGMENT`` (4.18) sends many datagrams of one size in one call, ``UDP_GRO`` (5.0)
receives those that came in a row as one.
"""

import logging
import os
import socket
import struct
import sys
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import ListenFailed
from crust.transport.inherited import not_for_children
from crust.transport.tcp import explain

log = logging.getLogger("crust.utp")

BUFFER_BYTES: Final = 4 * 2**20
"""Asked for each way: at 400 MB/s the bytes of 10 ms, for which Python may be busy elsewhere."""

_PRIMING_BYTES: Final = 2 * 2**20

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

_GRO_SIZE: Final = struct.Struct("=i")
GRO_ANCILLARY_BYTES: Final[int] = socket.CMSG_SPACE(_GRO_SIZE.size) if hasattr(socket, "CMSG_SPACE") else 0

Ancillary = list[tuple[int, int, bytes]]


def open_socket(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket with large buffers.

    Args:
        host: an IPv4 or IPv6 address; ``0.0.0.0`` and ``::`` stand for all (of that family only).
        port: 1 to 65535, or 0 for a free one.

    Raises:
        ListenFailed: the port cannot be opened; the message says why.
    """
    endpoint = Endpoint.utp((host, port))
    sock = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if os.name == "nt":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ListenFailed(f"cannot listen on {endpoint}: {explain(error)}") from error
    _enlarge(sock, socket.SO_SNDBUF, _SO_SNDBUFFORCE)
    _enlarge(sock, socket.SO_RCVBUF, _SO_RCVBUFFORCE)
    return not_for_children(sock)


def _enlarge(sock: socket.socket, option: int, force: int) -> None:
    # The forcing variant goes past the limit of the system, if we are privileged.
    for candidate in (force, option) if sys.platform == "linux" else (option,):
        try:
            sock.setsockopt(socket.SOL_SOCKET, candidate, BUFFER_BYTES)
            return
        except OSError as error:
            log.debug("socket option %d: %s", candidate, error)


def keep_freed_memory() -> None:
    """Keep the memory of a batch of datagrams for the next one; costs microseconds.

    glibc returns the end of the heap to the kernel when 128 KiB there are free, which is two batches: then every
    batch is received into pages that the kernel must first find and clear, for five times the cost of the call. That
    threshold rises to twice the size of a block that was mapped alone and freed, as this one is. It is never touched.
    """
    bytes(_PRIMING_BYTES)


def enable_offload(sock: socket.socket) -> bool:
    """Switch on receiving of many datagrams at once; whether that and sending so are there."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)  # only asks: the size is given with each burst
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    except OSError as error:
        log.debug("no segmentation offload: %s", error)
        return False
    return True


def segment_ancillary(segment: int) -> Ancillary:
    """What makes ``sendmsg`` cut its data into datagrams of ``segment`` bytes (1 to 65535)."""
    return [(_SOL_UDP, _UDP_SEGMENT, struct.pack("=H", segment))]


def gro_segment(ancillary: Ancillary) -> int:
    """The size of the datagrams that ``recvmsg`` returned together; 0 if it was one only."""
    for level, kind, data in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO and len(data) == _GRO_SIZE.size:
            size: int = _GRO_SIZE.unpack(data)[0]
            return size
    return 0


class Fragmentation:
    """Whether routers (and this host) may cut datagrams of a socket into fragments; at first they may.

    Where the system cannot forbid it, `forbid` returns ``False`` and nothing changes.
    """

    # Linux: PROBE sets DF and heeds only the interface's MTU. OMIT clears DF and ignores what ICMP claims about the
    # path, which anybody could forge, but unlike DONT still queues it for us. With IPv6 OMIT would hide it, and DONT
    # (fragment here, for nobody else can) shows it.
    _LINUX: Final = {socket.AF_INET: (10, 5, 3), socket.AF_INET6: (23, 0, 3)}
    _DARWIN: Final = {socket.AF_INET: (28, 0, 1), socket.AF_INET6: (62, 0, 1)}
    _WINDOWS: Final = {socket.AF_INET: (14, 0, 1), socket.AF_INET6: (14, 0, 1)}

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        systems = {"linux": self._LINUX, "darwin": self._DARWIN, "win32": self._WINDOWS}
        self._level = socket.IPPROTO_IPV6 if sock.family == socket.AF_INET6 else socket.IPPROTO_IP
        choice = systems.get(sys.platform, {}).get(sock.family)
        self._known = choice is not None
        self._option, self._allow, self._forbid = choice or (0, 0, 0)
        self.allow()

    def allow(self) -> bool:
        """Datagrams sent from now on may be fragmented; whether this could be set."""
        return self._set(self._allow)

    def forbid(self) -> bool:
        """Datagrams sent from now on must arrive whole or not at all; whether this could be set."""
        return self._set(self._forbid)

    def _set(self, value: int) -> bool:
        if not self._known:
            return False
        try:
            self._sock.setsockopt(self._level, self._option, value)
        except OSError as error:
            log.debug("cannot control fragmentation: %s", error)
            return False
        return True
