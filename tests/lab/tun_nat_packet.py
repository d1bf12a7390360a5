"""IPv4 packets as a NAT sees them: addresses and ports to be changed, and the answers of a router.

An endpoint is six bytes here, address and port as they stand in a packet; that makes it a quick dictionary key. For an
ICMP query the identifier is the port of the one who asks, and 0 that of the one who is asked (RFC 5508 section 3.1).
"""

import struct

ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

ECHO_REPLY, UNREACHABLE, SOURCE_QUENCH, ECHO_REQUEST, TIME_EXCEEDED, PARAMETER_PROBLEM = 0, 3, 4, 8, 11, 12
PORT_UNREACHABLE = 3
_ERRORS = {UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED, PARAMETER_PROBLEM}

_FRAGMENT = 0x3FFF  # "more fragments" and the offset
_LONGEST = 65_535
_TTL = 64
_QUOTED = 28  # bytes of a packet that an error about it carries: header and eight more (RFC 792)
_CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6}
_SHORTEST = {ICMP: 8, TCP: 20, UDP: 8}


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 2**16 is 1 modulo 2**16 - 1, so all of it is one number to divide."""
    number = int.from_bytes(data + bytes(len(data) % 2), "big")
    return 0xFFFF - (number and (number % 0xFFFF or 0xFFFF))


def adjusted(old_sum: int, old: bytes, new: bytes) -> int:
    """The checksum after a part of what it covers (whole 16-bit words) has changed (RFC 1624)."""
    total = 0xFFFF - old_sum + int.from_bytes(new, "big") - int.from_bytes(old, "big")
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)


class Packet:
    """A packet that can be translated. Made by `parse`."""

    __slots__ = ("_checksum_at", "body", "data", "protocol")

    def __init__(self, data: bytearray, body: int, protocol: int) -> None:
        self.data = data
        self.body = body  # where the header of the transport begins
        self.protocol = protocol
        self._checksum_at = body + _CHECKSUM_AT[protocol]

    @classmethod
    def parse(cls, data: bytes, *, quoted: bool = False) -> "Packet | None":
        """None for what is no whole IPv4 packet of a known protocol; fragments are not translated.

        Args:
            quoted: it stands in an ICMP error, so no more than the ports need to be there.
        """
        if len(data) < 28 or data[0] >> 4 != 4 or data[9] not in _CHECKSUM_AT:
            return None
        body, protocol = (data[0] & 15) * 4, data[9]
        length = int.from_bytes(data[2:4], "big")
        if quoted:
            length = len(data)
        if body < 20 or length > len(data) or length < body + (8 if quoted else _SHORTEST[protocol]):
            return None
        if int.from_bytes(data[6:8], "big") & _FRAGMENT:
            return None
        return cls(bytearray(data[:length]), body, protocol)  # without the padding of short frames

    @property
    def is_error(self) -> bool:
        return self.protocol == ICMP and self.data[self.body] in _ERRORS

    @property
    def is_query(self) -> bool:
        """Whether it is an ICMP message that is translated by its identifier."""
        return self.protocol == ICMP and self.data[self.body] in (ECHO_REQUEST, ECHO_REPLY)

    @property
    def asks_for_echo(self) -> bool:
        return self.protocol == ICMP and self.data[self.body] == ECHO_REQUEST

    @property
    def flags(self) -> int:
        """The flags of TCP."""
        return self.data[self.body + 13]

    @property
    def source(self) -> bytes:
        data, body = self.data, self.body
        if self.protocol == ICMP:
            port = data[body + 4 : body + 6] if data[body] == ECHO_REQUEST else b"\0\0"
        else:
            port = data[body : body + 2]
        return bytes(data[12:16] + port)

    @source.setter
    def source(self, endpoint: bytes) -> None:
        self._change(12, self.body + (4 if self.protocol == ICMP else 0), endpoint)

    @property
    def destination(self) -> bytes:
        data, body = self.data, self.body
        if self.protocol == ICMP:
            port = data[body + 4 : body + 6] if data[body] == ECHO_REPLY else b"\0\0"
        else:
            port = data[body + 2 : body + 4]
        return bytes(data[16:20] + port)

    @destination.setter
    def destination(self, endpoint: bytes) -> None:
        self._change(16, self.body + (4 if self.protocol == ICMP else 2), endpoint)

    def _change(self, host_at: int, port_at: int, endpoint: bytes) -> None:
        data = self.data
        old = bytes(data[host_at : host_at + 4] + data[port_at : port_at + 2])
        data[host_at : host_at + 4] = endpoint[:4]
        data[port_at : port_at + 2] = endpoint[4:]
        self._adjust(10, old[:4], endpoint[:4])
        at = self._checksum_at
        if at + 2 > len(data):  # quoted, and the checksum was cut off
            return
        if self.protocol == ICMP:  # no pseudo-header: addresses do not count
            self._adjust(at, old[4:], endpoint[4:])
        elif self.protocol == TCP:
            self._adjust(at, old, endpoint)
        elif data[at] or data[at + 1]:  # else it has no checksum, and shall have none
            self._adjust(at, old, endpoint)
            if not (data[at] or data[at + 1]):
                data[at : at + 2] = b"\xff\xff"

    def _adjust(self, at: int, old: bytes, new: bytes) -> None:
        data = self.data
        data[at : at + 2] = adjusted(int.from_bytes(data[at : at + 2], "big"), old, new).to_bytes(2, "big")

    def hop(self) -> bool:
        """Count down its time to live; False when it is over."""
        data = self.data
        if data[8] <= 1:
            return False
        old = bytes(data[8:10])
        data[8] -= 1
        self._adjust(10, old, bytes(data[8:10]))
        return True

    def quoted(self) -> "Packet | None":
        """The packet that this ICMP error is about."""
        return Packet.parse(bytes(self.data[self.body + 8 :]), quoted=True)

    def quote(self, packet: "Packet", source: bytes, destination: bytes) -> bytes:
        """This ICMP error, about ``packet`` and between other hosts."""
        rest = bytes(self.data[self.body + 4 : self.body + 8])
        kind, code = self.data[self.body], self.data[self.body + 1]
        return _icmp(source, destination, kind, code, rest + bytes(packet.data), ttl=self.data[8])


def _ip(source: bytes, destination: bytes, protocol: int, body: bytes, ttl: int = _TTL) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, ttl, protocol, 0) + source + destination
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + body


def _icmp(source: bytes, destination: bytes, kind: int, code: int, rest: bytes, ttl: int = _TTL) -> bytes:
    body = bytes((kind, code, 0, 0)) + rest
    return _ip(source, destination, ICMP, body[:2] + checksum(body).to_bytes(2, "big") + rest, ttl)


def datagram(protocol: int, source: bytes, destination: bytes, payload: bytes, ttl: int = _TTL) -> bytes:
    """A UDP datagram, or a TCP segment whose header without ports is the first part of ``payload``."""
    ports = source[4:] + destination[4:]
    body = ports + (struct.pack("!HH", 8 + len(payload), 0) if protocol == UDP else b"") + payload
    pseudo = source[:4] + destination[:4] + struct.pack("!HH", protocol, len(body))
    at = _CHECKSUM_AT[protocol]
    value = checksum(pseudo + body)
    if protocol == UDP:
        value = value or 0xFFFF
    return _ip(source[:4], destination[:4], protocol, body[:at] + value.to_bytes(2, "big") + body[at + 2 :], ttl)


def segment(source: bytes, destination: bytes, flags: int, number: int = 0, acknowledged: int = 0) -> bytes:
    """A TCP segment without data."""
    return datagram(TCP, source, destination, struct.pack("!IIBBHHH", number, acknowledged, 0x50, flags, 0, 0, 0))


def echo(source: bytes, destination: bytes, kind: int, identifier: int, payload: bytes = b"") -> bytes:
    """An ICMP echo request or reply."""
    return _icmp(source[:4], destination[:4], kind, 0, struct.pack("!HH", identifier, 1) + payload)


def error_about(packet: Packet, kind: int, code: int, sender: bytes) -> bytes | None:
    """The ICMP error of the host ``sender``; None where none may be sent (RFC 1122 section 3.2.2)."""
    if packet.is_error:
        return None
    return _icmp(sender, bytes(packet.data[12:16]), kind, code, bytes(4) + bytes(packet.data[: packet.body + 8]))


def answer(packet: Packet) -> bytes | None:
    """What a router says to a packet for itself: to a ping its echo, else that there is nothing."""
    here, there = bytes(packet.data[16:20]), bytes(packet.data[12:16])
    if packet.protocol == TCP:
        return _reset(packet)
    if packet.protocol == UDP:
        return error_about(packet, UNREACHABLE, PORT_UNREACHABLE, here)
    if packet.asks_for_echo:
        return _icmp(here, there, ECHO_REPLY, 0, bytes(packet.data[packet.body + 4 :]))
    return None


def _reset(packet: Packet) -> bytes | None:
    """RFC 9293 section 3.10.7.1: what a closed port answers."""
    if packet.flags & RST:
        return None
    number, acknowledged = struct.unpack_from("!II", packet.data, packet.body + 4)
    if packet.flags & ACK:
        return segment(packet.destination, packet.source, RST, acknowledged)
    length = len(packet.data) - packet.body - (packet.data[packet.body + 12] >> 4) * 4
    taken = number + length + bool(packet.flags & SYN) + bool(packet.flags & FIN)
    return segment(packet.destination, packet.source, RST | ACK, 0, taken & 0xFFFFFFFF)
