"""What the network says about datagrams that did not arrive (RFC 792, RFC 4443), as Linux hands it to the sender.

Linux keeps such messages in an error queue of the socket (``IP_RECVERR``, see ip(7)). Each comes with the address that
the datagram went to and its first bytes as the router sent them back, so that a forged one can be told apart. Other
systems tell an unconnected UDP socket nothing: `enable` returns ``False`` there.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from crust.transport.utp.burst import Address

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_MSG_ERRQUEUE: Final = 0x2000

# struct sock_extended_err: errno, origin, type, code, padding, info (the MTU for EMSGSIZE), data
_EXTENDED_ERROR: Final = struct.Struct("=IBBBxII")
_ORIGIN_LOCAL: Final = 1
_ANCILLARY_BYTES: Final = 512
_QUOTED_BYTES: Final = 128  # a uTP header with extensions; routers may quote as few as 8 bytes
_MOST_AT_ONCE: Final = 256  # a flood of errors must not keep the thread from its packets


class IcmpError(NamedTuple):
    """An error that concerns datagrams to one address."""

    address: Address
    """Where the datagram went."""
    error: int
    """The errno: ``ECONNREFUSED`` (nobody listens there), ``EMSGSIZE`` (too big for the path), ``EHOSTUNREACH`` ..."""
    mtu: int | None
    """With ``EMSGSIZE``: bytes that the link in question carries, IP header included, if it is known. Not verified."""
    quoted: bytes
    """The first bytes of the datagram (its UDP payload) that it is about; may be empty."""


class QueuedError(NamedTuple):
    """An entry of the error queue."""

    error: IcmpError
    local: bool
    """Whether this host itself found it (the datagram is larger than the MTU of its interface)."""


def enable(sock: socket.socket) -> bool:
    """Make the kernel keep errors for `drain`; whether it does."""
    if sys.platform != "linux":
        return False
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    except OSError:
        return False
    return True


def parse(ancillary: list[tuple[int, int, bytes]], quoted: bytes, address: Address) -> QueuedError | None:
    """One entry of the error queue, from what ``recvmsg`` returned; ``None`` if it says nothing about an error."""
    for level, kind, data in ancillary:
        if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
            continue
        if len(data) < _EXTENDED_ERROR.size:
            continue
        code, origin, _type, _code, info, _data = _EXTENDED_ERROR.unpack_from(data)
        mtu = info if code == errno.EMSGSIZE and info else None
        return QueuedError(IcmpError(address, code, mtu, quoted), origin == _ORIGIN_LOCAL)
    return None


def drain(sock: socket.socket) -> Iterator[QueuedError]:
    """Take the entries of the error queue of a socket on which `enable` succeeded; a few hundred at most."""
    for _ in range(_MOST_AT_ONCE):
        try:
            quoted, ancillary, _flags, address = sock.recvmsg(_QUOTED_BYTES, _ANCILLARY_BYTES, _MSG_ERRQUEUE)
        except OSError:  # empty
            return
        found = parse(ancillary, quoted, address)
        if found is not None:
            yield found
