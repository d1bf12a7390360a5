"""The receiving half of a connection: what has come, what is said about it, and what the peer's clock shows."""

from typing import Final

from crust.transport.utp.acknowledgements import Acknowledgements
from crust.transport.utp.constants import REORDER_WINDOW, SMALLEST_WINDOW
from crust.transport.utp.delay import BaseDelay
from crust.transport.utp.packet import Packet, PacketType
from crust.transport.utp.receive_buffer import Arrival, ReceiveBuffer
from crust.transport.utp.sequence import MICROS_MASK, SEQ_MASK, micros

_NO_SAMPLE: Final = frozenset({0, 0x7FFF_FFFF})
"""Timestamp differences by which libutp says that it has none."""


class Receiver:
    """Takes DATA and FIN in whatever order they come.

    Args:
        capacity: bytes that may wait for the reader.
    """

    def __init__(self, capacity: int) -> None:
        self.buffer = ReceiveBuffer(0, capacity)
        self.acks = Acknowledgements()
        self.difference = 0
        """Microseconds that the peer's last packet took, as far as the clocks tell; it goes back to them."""
        self.bytes = 0
        self.packets = 0
        self.duplicates = 0
        self._base = BaseDelay()

    def heard(self, packet: Packet, now: float) -> int:
        """Note the times of a packet; by how many microseconds the peer's clock has run ahead of ours since."""
        self.packets += 1
        if not packet.timestamp:
            return 0
        self.difference = (micros(now) - packet.timestamp) & MICROS_MASK
        return self._base.observe(self.difference, now)

    @staticmethod
    def sample_in(packet: Packet) -> int | None:
        """What the packet says about how long ours took, in microseconds."""
        difference = packet.timestamp_difference
        return None if difference in _NO_SAMPLE else difference

    def add_run(self, seq_nr: int, count: int, payload: bytes, now: float) -> bool:
        """Take DATA packets in a row, joined; ``False`` when they are not the next ones."""
        if not self.buffer.add_run(seq_nr, count, payload):
            return False
        self.packets += count - 1  # the last one was heard
        self.bytes += len(payload)
        self.acks.came(count, now)
        return True

    def is_new(self, packet: Packet) -> bool:
        """Whether it has a number that has not come yet."""
        return (packet.seq_nr - self.buffer.ack_nr - 1) & SEQ_MASK < REORDER_WINDOW

    def add(self, packet: Packet, now: float) -> Arrival:
        """Take a DATA or FIN packet, and see to it that it is acknowledged."""
        buffer = self.buffer
        before = buffer.at_end
        if packet.type == PacketType.DATA:
            arrival = buffer.add(packet.seq_nr, packet.payload)
        else:
            arrival = buffer.finish(packet.seq_nr, packet.payload)
        if arrival in (Arrival.IN_ORDER, Arrival.EARLY):
            self.bytes += len(packet.payload)
        elif arrival is Arrival.DUPLICATE:
            self.duplicates += 1
        if arrival is Arrival.IN_ORDER and buffer.at_end == before and not buffer.has_early:
            self.acks.came(1, now)
        else:
            self.acks.now()
        return arrival

    @property
    def window(self) -> int:
        """Bytes to advertise. Room for less than a packet is none to libutp, which would wait for ever."""
        free = self.buffer.free
        return free if free >= SMALLEST_WINDOW else 0

    def was_read(self) -> None:
        """The reader made room."""
        self.acks.window_opened(self.window)
