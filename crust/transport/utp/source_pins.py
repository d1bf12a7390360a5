"""`SourcePins`: whom a socket that is bound to all addresses answers from which of them (Linux).

The system sends from the address that its routes suggest. On a machine with several addresses that need not be the one
that the peer has sent to, and whoever gets an answer from elsewhere, a NAT or a peer, makes nothing of it. So each
datagram goes out from the address at which the latest one of that peer came in (RFC 8085, section 5.1.5).
"""

import logging
import socket
import struct
import sys
from collections import OrderedDict
from typing import Final

from crust.transport.utp.burst import Address
from crust.transport.utp.udp_options import Ancillary

log = logging.getLogger("crust.utp")

MAX_PINS: Final = 16_384
"""Peers that are remembered; the one that was silent for the longest is forgotten, and answered from the address that
the routes suggest. Far more than there are connections: strangers with forged addresses take a while to fill it."""
_MAX_FORMS: Final = 256  # local addresses with their interfaces; all are forgotten when there are more

# Since Linux 2.2 and 2.6.14; Python names them on some systems only.
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IN_PKTINFO: Final = struct.Struct("=i4s4s")
"""``struct in_pktinfo``: interface, the address to answer from, the address that the datagram was sent to."""
_IN6_PKTINFO: Final = struct.Struct("=16si")
"""``struct in6_pktinfo``: address, interface."""
_LINK_LOCAL: Final = b"\xfe\x80"

Pin = tuple[int, int, bytes]
"""One item for ``sendmsg``."""


class SourcePins:
    """See the module's text. For the one thread that uses the socket.

    Args:
        sock: bound; where it is bound to one address, or the system is another, nothing is ever remembered.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._ipv6 = sock.family == socket.AF_INET6
        self.ancillary_bytes = 0
        """Room that ``recvmsg`` needs for what `took` is to see; 0 if nothing comes."""
        self._pins: OrderedDict[Address, Pin] = OrderedDict()
        self._forms: dict[bytes, Pin] = {}
        if sys.platform != "linux" or sock.getsockname()[0] not in ("0.0.0.0", "::"):
            return
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO) if self._ipv6 else (socket.IPPROTO_IP, _IP_PKTINFO)
        try:
            sock.setsockopt(level, option, 1)
        except OSError as error:
            log.debug("the system does not say where datagrams come in: %s", error)
            return
        self.ancillary_bytes = socket.CMSG_SPACE((_IN6_PKTINFO if self._ipv6 else _IN_PKTINFO).size)

    def __len__(self) -> int:
        return len(self._pins)

    def took(self, address: Address, ancillary: Ancillary) -> None:
        """A datagram came from there, with what ``recvmsg`` said of it."""
        for level, kind, data in ancillary:
            if (level, kind) in _KINDS:
                pin = self._forms.get(data) or self._form(level, kind, data)
                if pin is not None:
                    self._pin(address, pin)
                return

    def _pin(self, address: Address, pin: Pin) -> None:
        if self._pins.get(address) is pin:
            self._pins.move_to_end(address)
            return
        self._pins[address] = pin
        self._pins.move_to_end(address)
        if len(self._pins) > MAX_PINS:
            self._pins.popitem(last=False)

    def toward(self, address: Address) -> Pin | None:
        """What makes ``sendmsg`` send from the right address; ``None``: the routes may choose."""
        return self._pins.get(address)

    def unpin(self, address: Address) -> None:
        """The system does not send from there any more."""
        self._pins.pop(address, None)

    def _form(self, level: int, kind: int, data: bytes) -> Pin | None:
        if len(data) != _KINDS[level, kind].size:
            return None
        # The interface is for the routes to choose, but for addresses that exist on each of them.
        if level == socket.IPPROTO_IP:
            _, answer_from, _ = _IN_PKTINFO.unpack(data)
            said = _IN_PKTINFO.pack(0, answer_from, bytes(4))
        else:
            own, interface = _IN6_PKTINFO.unpack(data)
            said = _IN6_PKTINFO.pack(own, interface if own.startswith(_LINK_LOCAL) else 0)
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        pin = self._forms[data] = (level, kind, said)
        return pin


_KINDS: Final = {
    (socket.IPPROTO_IP, _IP_PKTINFO): _IN_PKTINFO,
    (socket.IPPROTO_IPV6, _IPV6_PKTINFO): _IN6_PKTINFO,
}
