"""Captures as files: the blocks of pcapng (draft-ietf-opsawg-pcapng) and made-up IP packets to put into them. Pure.

Only what Wireshark needs to open them: one interface of raw IP packets, with time stamps in microseconds.
"""

import ipaddress
import struct
from typing import Final

SYN: Final = 0x02
ACK: Final = 0x10
PUSH: Final = 0x08

_BYTE_ORDER: Final = 0x1A2B3C4D
_RAW_IP: Final = 101  # LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header
_OPTION_COMMENT: Final = 1
_OPTION_APPLICATION: Final = 4
_TCP: Final = 6
_UDP: Final = 17
_HOPS: Final = 64
_WINDOW: Final = 65_535

Address = tuple[str, int]


def section_header(application: str) -> bytes:
    """The beginning of a file, or of a section appended to one; the interface of its packets included."""
    section = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + _options({_OPTION_APPLICATION: application})
    interface = struct.pack("<HHI", _RAW_IP, 0, 0)
    return _block(0x0A0D0D0A, section) + _block(1, interface)


def packet_block(packet: bytes, microseconds: int, comment: str = "", length: int | None = None) -> bytes:
    """A packet.

    Args:
        packet: from its IP header on.
        microseconds: since the epoch.
        comment: for people.
        length: bytes that the packet had, where it was cut off.
    """
    high, low = divmod(microseconds, 2**32)
    size = len(packet) if length is None else length
    body = struct.pack("<IIIII", 0, high, low, len(packet), size) + _padded(packet)
    return _block(6, body + (_options({_OPTION_COMMENT: comment}) if comment else b""))


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _options(values: dict[int, str]) -> bytes:
    texts = {kind: text.encode() for kind, text in values.items()}
    return b"".join(struct.pack("<HH", kind, len(text)) + _padded(text) for kind, text in texts.items()) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


# --- packets --------------------------------------------------------------------------------------


def tcp_packet(source: Address, target: Address, payload: bytes, *, number: int, ack: int, flags: int = ACK) -> bytes:
    """An IP packet with a TCP segment (RFC 9293, section 3.1).

    Args:
        source: numeric address and port; of the same version of IP as the other.
        target: the same.
        payload: at most 65,000 bytes.
        number: of the first byte, taken modulo 2**32.
        ack: the number that is expected next, likewise.
        flags: `SYN`, `ACK`, `PUSH`.
    """
    ports = struct.pack(">HH", source[1], target[1])
    rest = struct.pack(">IIBBHHH", number % 2**32, ack % 2**32, 5 << 4, flags, _WINDOW, 0, 0)
    return _ip_packet(source[0], target[0], _TCP, ports + rest + payload, 16)


def udp_packet(source: Address, target: Address, payload: bytes) -> bytes:
    """An IP packet with a UDP datagram (RFC 768)."""
    header = struct.pack(">HHHH", source[1], target[1], 8 + len(payload), 0)
    return _ip_packet(source[0], target[0], _UDP, header + payload, 6)


def _ip_packet(source: str, target: str, protocol: int, segment: bytes, checksum_at: int) -> bytes:
    one, other = (ipaddress.ip_address(host.partition("%")[0]) for host in (source, target))
    pseudo = one.packed + other.packed + struct.pack(">II", len(segment), protocol)
    checksum = _checksum(pseudo + segment) or 0xFFFF
    segment = segment[:checksum_at] + struct.pack(">H", checksum) + segment[checksum_at + 2 :]
    if one.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(segment), protocol, _HOPS) + one.packed + other.packed + segment
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, _HOPS, protocol, 0)
    header += one.packed + other.packed
    return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + segment


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF  # 2**16 is 1 modulo 2**16 - 1
    return 0xFFFF - total
