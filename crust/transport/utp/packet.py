"""uTP packets: bytes to values and back (BEP 29, "header format" and "extension"). No sockets, threads or clocks.

Big endian::

     0       4       8               16              24              32
    +-------+-------+---------------+---------------+---------------+
    | type  | ver 1 | extension     | connection_id                 |
    +-------+-------+---------------+---------------+---------------+
    | timestamp: when it was sent, in microseconds                  |
    +---------------+---------------+---------------+---------------+
    | timestamp_difference: one-way delay of what the sender of     |
    |                       this got last, in microseconds          |
    +---------------+---------------+---------------+---------------+
    | window: bytes that its sender has room for                    |
    +---------------+---------------+---------------+---------------+
    | seq_nr                        | ack_nr                        |
    +---------------+---------------+---------------+---------------+

``extension`` is 0, or the kind of the first of a chain of extensions, each ``next kind (1 byte), length (1), body``;
after the one whose next kind is 0 the payload begins. Unknown kinds are skipped.

======  ==============  ==============================================================================================
kind    name            body
======  ==============  ==============================================================================================
1       SACK            bits of what was received after ``ack_nr + 1``, the lowest bit of the first byte is
                        ``ack_nr + 2``; at least 4 bytes, a multiple of 4
2       EXTENSION_BITS  8 bytes that nobody uses any more: skipped, whatever its length
3       CLOSE_REASON    libtorrent's: 4 bytes, the lower 16 bits say why; of another length it is skipped, as there
======  ==============  ==============================================================================================

Of several extensions of a kind the last one counts, as in libutp. libutp also takes a SACK of any length; BEP 29
forbids those, so they are `Malformed` here. libutp does not take packets for uTP whose *first* extension is of a kind
above 2, so a reason to close is never sent as the first: without a SACK, eight bytes of EXTENSION_BITS go before it.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from crust.errors import Malformed
from crust.transport.utp.sequence import SEQ_MASK

VERSION: Final = 1
HEADER_SIZE: Final = 20  # bytes, without extensions
MAX_SACK: Final = 252
"""Bytes of a SACK, at most: the greatest multiple of 4 whose length fits into a byte. 2016 packets."""
MAX_EXTENSIONS: Final = 64
"""Extensions in a packet, at most. Even as padding up to jumbo frames there are fewer; more would only be work for
us."""

_FIELDS: Final = Struct(">BBHIIIHH")
_pack: Final = _FIELDS.pack
_unpack: Final = _FIELDS.unpack_from
_new: Final = tuple.__new__
_REASON: Final = Struct(">HH")
_NO_BITS: Final = bytes(8)


class PacketType(IntEnum):
    """What a packet is for."""

    DATA = 0
    FIN = 1
    STATE = 2
    """An acknowledgement without data; it has no sequence number of its own."""
    RESET = 3
    SYN = 4


class Extension(IntEnum):
    """Kinds of extensions."""

    SACK = 1
    EXTENSION_BITS = 2
    CLOSE_REASON = 3


_FIRST_BYTES: Final = frozenset(kind << 4 | VERSION for kind in PacketType)
_SACK: Final = int(Extension.SACK)
_CLOSE_REASON: Final = int(Extension.CLOSE_REASON)


class Packet(NamedTuple):
    """A packet. Numbers are unsigned, of 16 bits where not said otherwise."""

    type: int
    """A `PacketType`."""
    connection_id: int
    timestamp: int
    """When it was sent on its sender's clock, in microseconds modulo 2**32."""
    timestamp_difference: int
    """Microseconds modulo 2**32 between the timestamp of what its sender received last and the reception; 0: none
    yet."""
    window: int
    """Bytes that its sender has room for; 32 bits."""
    seq_nr: int
    ack_nr: int
    sack: bytes = b""
    """What was received out of order; see `sack_bits`. A multiple of 4 bytes, at most `MAX_SACK`."""
    close_reason: int | None = None
    """Why the connection ends."""
    payload: bytes | memoryview = b""

    def __str__(self) -> str:
        text = f"{PacketType(self.type).name} id={self.connection_id} seq={self.seq_nr} ack={self.ack_nr}"
        text += f" window={self.window}"
        if self.sack:
            text += f" sack={self.sack.hex()}"
        if self.close_reason is not None:
            text += f" reason={self.close_reason}"
        return f"{text} payload={len(self.payload)}"


def could_be_utp(datagram: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram looks like uTP: long enough, of version 1 and a known type. What is not may be for others."""
    return len(datagram) >= HEADER_SIZE and datagram[0] in _FIRST_BYTES


def decode(datagram: bytes | memoryview) -> Packet:
    """Read a packet.

    Args:
        datagram: all of it. Of a view the payload is a view as well, which is valid as long as its buffer is; what else
            the packet holds is copied.

    Raises:
        Malformed: not a packet. Nothing else is raised.
    """
    if len(datagram) < HEADER_SIZE:
        raise Malformed(f"a uTP packet of {len(datagram)} bytes")
    first, extension, connection_id, sent, difference, window, seq_nr, ack_nr = _unpack(datagram)
    if first not in _FIRST_BYTES:
        raise Malformed(f"a uTP packet of version {first & 0x0F} and type {first >> 4}")
    sack, reason, at = b"", None, HEADER_SIZE
    if extension:
        sack, reason, at = _extensions(datagram, extension)
    # A tuple made from a tuple, not by calling the class: it takes half the time, and there is one for each packet.
    return _new(
        Packet, (first >> 4, connection_id, sent, difference, window, seq_nr, ack_nr, sack, reason, datagram[at:])
    )


def _extensions(datagram: bytes | memoryview, kind: int) -> tuple[bytes, int | None, int]:
    """The SACK, the reason to close, and where the payload begins."""
    sack, reason, at = b"", None, HEADER_SIZE
    for _ in range(MAX_EXTENSIONS):
        body = at + 2
        if body > len(datagram) or body + datagram[at + 1] > len(datagram):
            raise Malformed("an extension of a uTP packet is cut off")
        following, size = datagram[at], datagram[at + 1]
        at = body + size
        if kind == _SACK:
            if not size or size % 4:
                raise Malformed(f"a SACK of {size} bytes")
            sack = bytes(datagram[body:at])
        elif kind == _CLOSE_REASON and size == _REASON.size:
            reason = _REASON.unpack_from(datagram, body)[1]
        if not following:
            return sack, reason, at
        kind = following
    raise Malformed(f"a uTP packet with more than {MAX_EXTENSIONS} extensions")


def header(
    type: int,
    connection_id: int,
    timestamp: int,
    difference: int,
    window: int,
    seq_nr: int,
    ack_nr: int,
    sack: bytes = b"",
    close_reason: int | None = None,
) -> bytes:
    """What comes before the payload; the arguments are the fields of `Packet`, which must be in their ranges."""
    if not sack and close_reason is None:
        return _pack(type << 4 | VERSION, 0, connection_id, timestamp, difference, window, seq_nr, ack_nr)
    first, body = (Extension.SACK, sack) if sack else (Extension.EXTENSION_BITS, _NO_BITS)
    fixed = _pack(type << 4 | VERSION, first, connection_id, timestamp, difference, window, seq_nr, ack_nr)
    if close_reason is None:
        return b"%b\0%c%b" % (fixed, len(body), body)
    return b"%b%c%c%b\0%c%b" % (
        fixed,
        Extension.CLOSE_REASON,
        len(body),
        body,
        _REASON.size,
        _REASON.pack(0, close_reason),
    )


def encode(packet: Packet) -> bytes:
    """A whole packet as bytes; the inverse of `decode`."""
    return b"".join((header(*packet[:9]), packet.payload))


# --- selective acknowledgements ---------------------------------------------------------------------------------------

_SET_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
_MAX_BITS: Final = 8 * MAX_SACK
_FIRST: Final = 2  # ack_nr + 1 is the one that is missing; a SACK begins behind it


def sack_bits(sack: bytes, ack_nr: int) -> Iterator[int]:
    """The sequence numbers that a SACK names as received, in order.

    Args:
        sack: as in `Packet`; any length.
        ack_nr: of the same packet.
    """
    base = ack_nr + _FIRST
    for byte in sack:
        for bit in _SET_BITS[byte]:
            yield (base + bit) & SEQ_MASK
        base += 8


def sack_mask(ack_nr: int, received: Iterable[int]) -> bytes:
    """The SACK that names ``received``: as short as can be, at most `MAX_SACK` bytes, and empty for none.

    Args:
        ack_nr: of the packet that it goes into.
        received: sequence numbers in any order; those that a SACK after ``ack_nr`` cannot name are left out.
    """
    mask, last, base = bytearray(MAX_SACK), -1, ack_nr + _FIRST
    for seq_nr in received:
        bit = (seq_nr - base) & SEQ_MASK
        if bit < _MAX_BITS:
            mask[bit >> 3] |= 1 << (bit & 7)
            if bit > last:
                last = bit
    return bytes(mask[: (last + 32) // 32 * 4])
