"""Bursts of packets from what a connection has to say."""

from typing import Final

from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.constants import MAX_SEGMENTS
from crust.transport.utp.outgoing import Outgoing
from crust.transport.utp.packet import header
from crust.transport.utp.padding import pad
from crust.transport.utp.receiver import Receiver
from crust.transport.utp.sender import Sender
from crust.transport.utp.sequence import SEQ_MASK, micros

_SEQ_BYTES: Final = tuple((number & SEQ_MASK).to_bytes(2) for number in range(SEQ_MASK + 1 + MAX_SEGMENTS))
"""Sequence numbers as they are on the wire: looking one up is cheaper than making it."""


def one(address: Address, packet: bytes) -> Burst:
    """A burst of one packet without payload."""
    return Burst(address, [packet, b""], len(packet))


def control(kind: int, connection_id: int, sender: Sender, receiver: Receiver, now: float) -> bytes:
    """A packet without payload that takes no sequence number: STATE or RESET."""
    sack = receiver.buffer.sack()
    fields = (kind, connection_id, micros(now), receiver.difference, receiver.window)
    return header(*fields, sender.buffer.next_seq, receiver.buffer.ack_nr, sack)


def data_burst(
    address: Address,
    outgoing: Outgoing,
    connection_id: int,
    timestamp: int,
    difference: int,
    window: int,
    ack_nr: int,
    sack: bytes,
) -> Burst:
    """The packets of ``outgoing`` with a header each; they differ in nothing but their number.

    Args:
        address: where to.
        outgoing: what to send.
        connection_id: as the other fields, of `crust.transport.utp.packet.Packet`.
        timestamp: microseconds.
        difference: microseconds.
        window: bytes.
        ack_nr: of all of them.
        sack: of all of them; left out of a probe of the path MTU.
    """
    kind, size = outgoing.type, outgoing.size
    if outgoing.pad_to:
        head = pad(header(kind, connection_id, timestamp, difference, window, 0, ack_nr), outgoing.pad_to - size)
    else:
        head = header(kind, connection_id, timestamp, difference, window, 0, ack_nr, sack)
    front, back = head[:16], head[18:]
    buffers: list[bytes | memoryview] = []
    add = buffers.append
    if outgoing.run is not None:
        number = outgoing.run.seq_nr
        for payload in outgoing.run.payloads():
            add(front + _SEQ_BYTES[number] + back)
            add(payload)
            number += 1
    for packet in outgoing.packets:
        add(front + _SEQ_BYTES[packet.seq_nr] + back)
        add(packet.payload)
    return Burst(address, buffers, len(head) + size, dont_fragment=bool(outgoing.pad_to))
