"""The UDP socket of uTP: bursts go out, what came in and what the network complains about come back. Never blocks.

On Linux a burst is one system call, and so is the receiving of what arrived in a row; elsewhere each datagram is one.
"""

import errno
import ipaddress
import logging
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.errors import DialFailed
from crust.transport.tcp import explain
from crust.transport.utp import icmp
from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.constants import BYTES_PER_CALL, SEGMENTS_PER_CALL
from crust.transport.utp.icmp import IcmpError
from crust.transport.utp.source_pins import SourcePins
from crust.transport.utp.udp_options import (
    GRO_ANCILLARY_BYTES,
    Ancillary,
    Fragmentation,
    enable_offload,
    gro_segment,
    keep_freed_memory,
    open_socket,
    segment_ancillary,
)

log = logging.getLogger("crust.utp")

_LARGEST: Final = 65_536  # bytes; no datagram and no batch of them is larger
_SKIPPED_AT_ONCE: Final = 16  # errors and empty datagrams passed over before the caller gets another turn
_REFUSALS: Final = 4  # bursts that the kernel would not segment, before the first that it did, until we stop asking
_ERRORS_KEPT: Final = 256
_QUOTED_BYTES: Final = 128

_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")

_NO_ROOM: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN})
# Sent again they would be too many again, and to wait until the socket is writable would not wait: it is.
_DROPPED: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})
# The address that is to be sent from is gone. EINVAL may have other reasons, which show when it is tried without it.
_NOT_FROM_THERE: Final = frozenset({errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH})
_NEVER_SEGMENTED: Final = frozenset({errno.EIO, errno.EOPNOTSUPP})
_NOT_SEGMENTED: Final = _NEVER_SEGMENTED | {errno.EINVAL, errno.EMSGSIZE}


class Received(NamedTuple):
    """Datagrams that came from one address."""

    data: bytes
    """All of them in a row; never empty."""
    address: Address
    segment: int
    """Bytes of each datagram in `data`; the last may be shorter. ``len(data)`` for a single one."""


@dataclass(slots=True)
class Counters:
    """What a socket has done so far."""

    sent: int = 0
    """Datagrams that the kernel took."""
    received: int = 0
    """Datagrams."""
    send_calls: int = 0
    """System calls that sent, or tried to."""
    receive_calls: int = 0
    """System calls that received, or found nothing."""
    lost: int = 0
    """Datagrams that could not leave this host."""
    errors: int = 0
    """Complaints of the network or of this host."""
    refused: int = 0
    """Bursts that the kernel would not segment, and that went out one datagram at a time."""


class Datagrams:
    """A UDP socket. One thread uses it, but for `fileno` and `address`, which any thread may read.

    Args:
        host: an IPv4 or IPv6 address; ``0.0.0.0`` and ``::`` stand for all (of that family only).
        port: 1 to 65535, or 0 for a free one.
        offload: whether to use segmentation offload; ``None``: where the kernel has it.

    Raises:
        ListenFailed: the port cannot be opened; the message says why.
    """

    def __init__(self, host: str, port: int, *, offload: bool | None = None) -> None:
        keep_freed_memory()
        self._sock = open_socket(host, port)
        self.address: Address = self._sock.getsockname()
        self.closed = False
        self.counters = Counters()
        self._receives_batches = offload is not False and enable_offload(self._sock)
        self.offload = self._receives_batches
        """Whether a burst is sent in one system call."""
        self.errors_waiting = False
        """Whether `errors` has something to tell. Besides, a selector reports the socket as readable for errors."""
        self._pins = SourcePins(self._sock)
        self._ancillary_bytes = self._pins.ancillary_bytes + (GRO_ANCILLARY_BYTES if self._receives_batches else 0)
        self._has_error_queue = icmp.enable(self._sock)
        self._fragmentation = Fragmentation(self._sock)
        self._errors: deque[IcmpError] = deque(maxlen=_ERRORS_KEPT)
        self._local_mtu: int | None = None
        self._has_worked = False
        self._segment = 0
        self._ancillary: Ancillary = []

    def fileno(self) -> int:
        """For selectors; -1 once it is closed."""
        return self._sock.fileno()

    def normal(self, address: tuple[str, int] | Address) -> Address:
        """An address to dial as the system names it when something comes from there; raises `DialFailed`."""
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        try:
            found = socket.getaddrinfo(address[0], address[1], family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        except OSError as error:
            raise DialFailed(f"{address[0]} is not an address of this socket's family: {error}") from error
        host = ipaddress.ip_address(found[0][4][0].partition("%")[0])  # type: ignore[union-attr]
        if host.is_unspecified:
            raise DialFailed(f"{host} stands for all addresses of a machine: dial one (of this one: 127.0.0.1, ::1)")
        if host.is_multicast or host == _BROADCAST:
            raise DialFailed(f"{host} stands for several machines: dial one")
        if not 0 < address[1] <= 65535:
            raise DialFailed(f"port {address[1]} cannot be dialled: ports are 1 to 65535")
        return found[0][4]  # type: ignore[return-value]

    def explain(self, code: int) -> str:
        """What an errno of sending to somebody means, and what to do about it."""
        if code == errno.EINVAL:
            return f"this socket is bound to {self.address[0]}, and from there the system sends nothing to that address"
        return explain(OSError(code, os.strerror(code)))

    def close(self) -> None:
        """Free the port. Any number of times."""
        self.closed = True
        self._sock.close()

    def send(self, burst: Burst) -> int:
        """Send packets.

        Returns:
            How many the kernel took, from the first on: all, or fewer when its buffer is full. What can never leave
            (no route, forbidden, too big) counts as taken: it is lost, as it might be anywhere on its way, and `errors`
            tells why.
        """
        if burst.dont_fragment:
            return self._send_whole(burst)
        if burst.count > 1 and self.offload:
            return self._send_segmented(burst)
        return self._send_each(burst)

    def _send_segmented(self, burst: Burst) -> int:
        """As many packets in one system call as the kernel takes; what it will not segment goes one by one."""
        if burst.segment != self._segment:
            self._segment = burst.segment
            self._ancillary = segment_ancillary(burst.segment)
        buffers, count, done = burst.buffers, burst.count, 0
        most = max(min(SEGMENTS_PER_CALL, BYTES_PER_CALL // burst.segment), 1)
        while done < count:
            packets = min(most, count - done)
            # Joining is cheaper than to let the kernel gather a hundred small pieces (benches/datagrams.py).
            data = b"".join(buffers if packets == count else buffers[2 * done : 2 * (done + packets)])
            code = self._attempt(data, self._ancillary, burst.address)
            if code == 0:
                self._has_worked = True
                self.counters.sent += packets
            elif code in _NO_ROOM:
                return done
            elif code in _DROPPED:
                self.counters.lost += packets
            else:
                self._refused(code)
                return self._send_each(burst, done)
            done += packets
        return count

    def _refused(self, code: int) -> None:
        # A path whose MTU has shrunk below the packets is refused as well (EINVAL, EMSGSIZE); that is about one peer.
        # A network card that cannot do it, or a kernel where it has never worked, is about all.
        if code not in _NOT_SEGMENTED:
            return  # nothing leaves, in whichever way
        self.counters.refused += 1
        never_worked = not self._has_worked and self.counters.refused >= _REFUSALS
        if code in _NEVER_SEGMENTED or never_worked:
            self.offload = False
            name = errno.errorcode.get(code, code)
            log.info("segmentation offload does not work here (%s); sending datagrams one by one", name)

    def _send_whole(self, burst: Burst) -> int:
        if not self._fragmentation.forbid():
            for number in range(burst.count):
                self._lose(burst, number, errno.EMSGSIZE)
            return burst.count
        try:
            return self._send_each(burst)
        finally:
            self._fragmentation.allow()

    def _send_each(self, burst: Burst, first: int = 0) -> int:
        buffers, address, count = burst.buffers, burst.address, burst.count
        for number in range(first, count):
            code = self._attempt(b"".join(buffers[2 * number : 2 * number + 2]), None, address)
            if code == 0:
                self.counters.sent += 1
            elif code in _NO_ROOM:
                return number
            elif code in _DROPPED:
                self.counters.lost += 1
            else:
                self._lose(burst, number, code)
        return count

    def _attempt(self, data: bytes, ancillary: Ancillary | None, address: Address) -> int:
        """Send one datagram, or a whole burst with ``ancillary``; 0 or the errno."""
        code = 0
        pin = self._pins.toward(address)
        for _ in range(2):
            self.counters.send_calls += 1
            try:
                if pin is not None:
                    self._sock.sendmsg([data], [*(ancillary or ()), pin], 0, address)
                elif ancillary is not None:
                    self._sock.sendmsg([data], ancillary, 0, address)
                else:
                    self._sock.sendto(data, address)
                return 0
            except OSError as error:
                code = error.errno or errno.EIO
                if code in _NO_ROOM or code in _DROPPED:
                    return code
                # It may be about something sent earlier; once that has been taken note of, it does not come again.
                self._collect()
            if pin is not None and code in _NOT_FROM_THERE:
                self._pins.unpin(address)
                return self._attempt(data, ancillary, address)
        return code

    def _lose(self, burst: Burst, number: int, code: int) -> None:
        quoted = b"".join(burst.buffers[2 * number : 2 * number + 2])[:_QUOTED_BYTES]
        mtu = self._local_mtu if code == errno.EMSGSIZE else None
        self._note(IcmpError(burst.address, code, mtu, quoted))
        self.counters.lost += 1
        log.debug("a datagram to %s could not be sent: %s", burst.address, errno.errorcode.get(code, code))

    def receive(self) -> Received | None:
        """What has arrived next; ``None`` when nothing is there now (or after errors: wait for the selector then)."""
        for _ in range(_SKIPPED_AT_ONCE):
            self.counters.receive_calls += 1
            segment = 0
            try:
                if self._ancillary_bytes:
                    data, ancillary, _flags, address = self._sock.recvmsg(_LARGEST, self._ancillary_bytes)
                    if ancillary:
                        segment = gro_segment(ancillary)
                        self._pins.took(address, ancillary)
                else:
                    data, address = self._sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return None
            except OSError:  # about something sent earlier: ECONNREFUSED on Linux, WSAECONNRESET on Windows
                self._collect()
                continue
            size = len(data)
            if 0 < segment < size:
                self.counters.received += -(-size // segment)
                return Received(data, address, segment)
            self.counters.received += 1
            if size:
                return Received(data, address, size)
        return None

    def errors(self) -> list[IcmpError]:
        """Take what the network and this host have said about datagrams sent earlier; the oldest first."""
        self._collect()
        found = list(self._errors)
        self._errors.clear()
        self.errors_waiting = False
        return found

    def _collect(self) -> None:
        if not self._has_error_queue:
            return
        for entry in icmp.drain(self._sock):
            if entry.local:
                self._local_mtu = entry.error.mtu  # the send that it is about has failed just now, and tells the rest
            else:
                self._note(entry.error)

    def _note(self, error: IcmpError) -> None:
        self.counters.errors += 1
        self._errors.append(error)
        self.errors_waiting = True
