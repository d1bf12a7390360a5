"""STUN messages: bytes to values and back. RFC 8489, the Binding method only; attributes of RFC 5780 as well. Pure.

All numbers are big-endian::

    message    =  type         2    class and method, mixed (section 5): 0x0001 request, 0x0011 indication,
                                    0x0101 success, 0x0111 error
               || length       2    bytes that follow the header, a multiple of 4
               || cookie       4    0x2112a442
               || transaction 12    random
               || attributes        each: type 2 || length 2 || value || up to 3 bytes of padding
    address    =  zero 1 || family 1 (1 IPv4, 2 IPv6) || port 2 || address 4 or 16
                  in the XOR- form port and address are XORed with cookie || transaction (section 14.2)
"""

import enum
import ipaddress
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from crust.endpoint import Address
from crust.errors import Malformed

HEADER_SIZE: Final = 20
TRANSACTION_SIZE: Final = 12
MAX_MESSAGE: Final = 2048
"""Bytes of a message that is looked at. RFC 5780 pads to more than an Ethernet frame, nobody needs more than that."""
MAX_ATTRIBUTES: Final = 64
"""Of one message; what fits in a small datagram of useful ones is a dozen."""
MAX_REASON: Final = 128
"""Characters of an error's text (RFC 8489 section 14.8)."""
COOKIE: Final = 0x2112A442
FINGERPRINT_XOR: Final = 0x5354554E  # section 14.7

_HEADER: Final = struct.Struct(">HHI12s")
_ATTRIBUTE: Final = struct.Struct(">HH")
_ADDRESS: Final = struct.Struct(">xBH")
_NUMBER: Final = struct.Struct(">I")
_FINGERPRINT_SIZE: Final = 8  # with its header


class Kind(enum.IntEnum):
    """The class of a Binding message, as its type says it."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


class Attribute(enum.IntEnum):
    """The attributes that are known here. Those below 0x8000 have to be understood by whoever gets them."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003  # RFC 5780 section 7.2
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    XOR_MAPPED_ADDRESS = 0x0020
    PADDING = 0x0026  # RFC 5780 section 7.6
    RESPONSE_PORT = 0x0027  # RFC 5780 section 7.5
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    RESPONSE_ORIGIN = 0x802B  # RFC 5780 section 7.3
    OTHER_ADDRESS = 0x802C  # RFC 5780 section 7.4


REQUIRED_BELOW: Final = 0x8000
CHANGE_HOST: Final = 0x4
CHANGE_PORT: Final = 0x2
"""The flags of CHANGE-REQUEST: answer from the other address, from the other port."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Binding message."""

    kind: Kind
    transaction: bytes
    """12 bytes that an answer gives back."""
    attributes: tuple[tuple[int, bytes], ...] = ()
    """Types and values in order, without FINGERPRINT, which is made and checked with the bytes."""

    def get(self, kind: int) -> bytes | None:
        """The value of the first attribute of a type; later ones do not count (RFC 8489 section 14)."""
        return next((value for each, value in self.attributes if each == kind), None)

    def not_understood(self, understood: Iterable[int]) -> list[int]:
        """The types that have to be understood and are not among ``understood``, each once."""
        known = set(understood)
        return list(dict.fromkeys(kind for kind, _ in self.attributes if kind < REQUIRED_BELOW and kind not in known))

    def encode(self, *, fingerprint: bool = True) -> bytes:
        """The bytes; with a FINGERPRINT, by which they are known from whatever else uses the port."""
        body = b"".join(
            _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in self.attributes
        )
        length = len(body) + (_FINGERPRINT_SIZE if fingerprint else 0)
        data = _HEADER.pack(self.kind, length, COOKIE, self.transaction) + body
        if fingerprint:
            data += _ATTRIBUTE.pack(Attribute.FINGERPRINT, 4) + _NUMBER.pack(_crc(data))
        return data


def _crc(data: bytes) -> int:
    return zlib.crc32(data) ^ FINGERPRINT_XOR


def looks_like_stun(data: bytes) -> bool:
    """Whether a datagram is worth a call of `parse`."""
    return len(data) >= HEADER_SIZE and data[0] < 0x40 and data[4:8] == b"\x21\x12\xa4\x42"


def parse(data: bytes) -> Message:
    """Read a Binding message. Any thread may call.

    Raises:
        Malformed: it is none: not STUN, another method, damaged, or larger than `MAX_MESSAGE`.
    """
    if not looks_like_stun(data) or len(data) > MAX_MESSAGE:
        raise Malformed("not a STUN message")
    kind, length, _, transaction = _HEADER.unpack_from(data)
    if length % 4 or length != len(data) - HEADER_SIZE:
        raise Malformed(f"a STUN message says {length} bytes and has {len(data) - HEADER_SIZE}")
    try:
        kind = Kind(kind)
    except ValueError:
        raise Malformed(f"a STUN message of the type {kind:#06x}, which is not a Binding") from None
    return Message(kind, transaction, _parse_attributes(data))


def _parse_attributes(data: bytes) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    at, end = HEADER_SIZE, len(data)
    while at < end:
        kind, length = _ATTRIBUTE.unpack_from(data, at)  # there are 4 bytes: all lengths are multiples of 4
        value = data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + length]
        if len(value) != length or len(found) >= MAX_ATTRIBUTES:
            raise Malformed("the attributes of a STUN message end too late")
        if kind == Attribute.FINGERPRINT:
            if length != 4 or at + _FINGERPRINT_SIZE != end or _NUMBER.unpack(value)[0] != _crc(data[:at]):
                raise Malformed("a STUN message has a wrong fingerprint")
        else:
            found.append((kind, value))
        at += _ATTRIBUTE.size + length + -length % 4
    return tuple(found)


# --- values -------------------------------------------------------------------------------------------------


def encode_address(address: Address) -> bytes:
    """The value of MAPPED-ADDRESS, OTHER-ADDRESS and RESPONSE-ORIGIN. A scope is left out.

    Raises:
        ValueError: the host is not an IP address.
    """
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    return _ADDRESS.pack(1 if ip.version == 4 else 2, address[1]) + ip.packed


def parse_address(value: bytes) -> Address:
    """Read what `encode_address` gives.

    Raises:
        Malformed: an unknown family, or a wrong length.
    """
    family = value[1] if len(value) > 4 else 0
    if (family, len(value)) not in ((1, 8), (2, 20)):
        raise Malformed("a STUN message has an address of an unknown family, or half of one")
    return str(ipaddress.ip_address(value[4:])), _ADDRESS.unpack_from(value)[1]


def encode_xor_address(address: Address, transaction: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (section 14.2): devices that rewrite addresses in what passes do not see it."""
    return _xor(encode_address(address), transaction)


def parse_xor_address(value: bytes, transaction: bytes) -> Address:
    """Read what `encode_xor_address` gives.

    Raises:
        Malformed: as `parse_address`.
    """
    return parse_address(_xor(value, transaction))


def _xor(value: bytes, transaction: bytes) -> bytes:
    mask = COOKIE.to_bytes(4)[:2] + COOKIE.to_bytes(4) + transaction
    changed = bytes(one ^ other for one, other in zip(value[2:], mask, strict=False))
    return value[:2] + changed + value[2 + len(changed) :]


def encode_error(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE (section 14.8): 300 to 699 and a text of at most `MAX_REASON` characters."""
    return _NUMBER.pack(code // 100 << 8 | code % 100) + reason[:MAX_REASON].encode()


def parse_error(value: bytes) -> tuple[int, str]:
    """Read what `encode_error` gives.

    Raises:
        Malformed: no code from 300 to 699.
    """
    if len(value) < 4:
        raise Malformed("half of a STUN error")
    hundreds, rest = value[2] & 7, value[3]
    if not 3 <= hundreds <= 6 or rest > 99:
        raise Malformed("a STUN error has an impossible code")
    text = value[4:].decode("utf-8", "replace")[:MAX_REASON]
    return hundreds * 100 + rest, "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def encode_types(kinds: Iterable[int]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES (section 14.9)."""
    return b"".join(struct.pack(">H", kind) for kind in kinds)


def encode_change(flags: int) -> bytes:
    """The value of CHANGE-REQUEST: `CHANGE_HOST`, `CHANGE_PORT`, both, or 0."""
    return _NUMBER.pack(flags)


def parse_change(value: bytes) -> int:
    """Read what `encode_change` gives; other flags are dropped.

    Raises:
        Malformed: a wrong length.
    """
    if len(value) != _NUMBER.size:
        raise Malformed("a STUN message has a CHANGE-REQUEST of a wrong length")
    flags: int = _NUMBER.unpack(value)[0]
    return flags & (CHANGE_HOST | CHANGE_PORT)
