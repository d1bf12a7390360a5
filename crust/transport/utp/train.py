"""Packets of one connection in a row: recognised at the cost of a few slices, not of one decoding each."""

from typing import Final, NamedTuple

from crust.transport.utp.packet import HEADER_SIZE, VERSION, Packet, PacketType, decode
from crust.transport.utp.sequence import SEQ_MASK

_DATA: Final = bytes([PacketType.DATA << 4 | VERSION])
_SEQ_HIGH: Final = bytes(number >> 8 for number in range(SEQ_MASK + 1))
_SEQ_LOW: Final = bytes(number & 0xFF for number in range(SEQ_MASK + 1))


class Train(NamedTuple):
    """DATA packets without extensions, of one connection, with sequence numbers that follow each other."""

    first: Packet
    last: Packet
    packets: int
    payload: bytes


def as_train(data: bytes, segment: int) -> Train | None:
    """What was received in one go, as a train; ``None`` if it is anything else.

    Args:
        data: datagrams in a row.
        segment: bytes of each; the last may be shorter.
    """
    size = len(data)
    count = -(-size // segment)
    if segment <= HEADER_SIZE or size - (count - 1) * segment < HEADER_SIZE:
        return None
    seq_nr = int.from_bytes(data[16:18])
    if seq_nr + count > SEQ_MASK + 1:
        return None  # around the end of the numbers: once in a thousand times
    if (
        data[0::segment] != _DATA * count
        or data[1::segment] != bytes(count)
        or data[2::segment] != data[2:3] * count
        or data[3::segment] != data[3:4] * count
        or data[16::segment] != _SEQ_HIGH[seq_nr : seq_nr + count]
        or data[17::segment] != _SEQ_LOW[seq_nr : seq_nr + count]
    ):
        return None
    inner = segment - HEADER_SIZE
    payload = b"".join([data[start : start + inner] for start in range(HEADER_SIZE, size, segment)])
    last = (count - 1) * segment
    return Train(decode(data[:HEADER_SIZE]), decode(data[last : last + HEADER_SIZE]), count, payload)
