"""What is to be sent, what is on its way, and what of that must be sent again."""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from crust.transport.utp.packet import PacketType
from crust.transport.utp.sequence import SEQ_MASK

LOSS_THRESHOLD: Final = 3
"""Packets sent later that must have arrived before one counts as lost (BEP 29: 3 duplicate ACKs; RFC 9002 6.1.1)."""


class OutPacket:
    """A packet that takes a sequence number: DATA or FIN. Its payload never changes: packets are counted, not bytes."""

    __slots__ = ("flying", "order", "payload", "queued", "sacked", "sends", "sent_at", "seq_nr", "size", "type")

    def __init__(self, kind: int, seq_nr: int, payload: bytes | memoryview, size: int) -> None:
        self.type = kind
        self.seq_nr = seq_nr
        self.payload = payload
        self.size = size  # of the payload
        self.sends = 0
        self.order = 0  # of its last transmission among all
        self.sent_at = 0.0
        self.flying = False  # sent, and neither acknowledged nor lost
        self.queued = False  # waits for its first or next transmission
        self.sacked = False


class Acked(NamedTuple):
    """What an acknowledgement was news about."""

    size: int
    """Bytes of payload that are now known to have arrived."""
    packets: int
    round_trip_of: OutPacket | None
    """The packet sent last among them, if it was sent only once (Karn's rule)."""
    newest: int
    """The order of the transmission that was the last one among them; 0 when there is none."""
    fin: bool
    """Our FIN, and so everything, has arrived."""


NOTHING: Final = Acked(0, 0, None, 0, False)


class SendBuffer:
    """The sending half of a connection.

    Args:
        seq_nr: the first sequence number.
    """

    __slots__ = (
        "_offset",
        "_order",
        "_pending",
        "_resend",
        "_sacked",
        "first",
        "flight",
        "in_flight",
        "missing",
        "newest",
        "next_seq",
        "pending",
        "unacked",
    )

    def __init__(self, seq_nr: int) -> None:
        self.next_seq = seq_nr
        self.first = seq_nr  # the oldest one that is not acknowledged
        self.flight: dict[int, OutPacket] = {}
        self.in_flight = 0  # bytes that are flying
        self.unacked = 0  # bytes in packets that are not acknowledged
        self.missing = 0  # bytes of those that did not arrive out of order either: what the peer must have room for
        self.pending = 0  # bytes that are in no packet yet
        self.newest = 0  # order of the last transmission that is known to have arrived
        self._pending: deque[memoryview] = deque()
        self._offset = 0  # in the first piece
        self._resend: deque[OutPacket] = deque()
        self._order = 0
        self._sacked = 0  # packets that arrived out of order

    @property
    def outstanding(self) -> int:
        """Packets that have a sequence number and are not acknowledged."""
        return (self.next_seq - self.first) & SEQ_MASK

    @property
    def waiting(self) -> int:
        """Bytes that are written and not acknowledged."""
        return self.pending + self.unacked

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes to send; they are kept, not copied, and must not change."""
        if data:
            self._pending.append(memoryview(data))
            self.pending += len(data)

    # --- packets to send ---
    def to_resend(self) -> OutPacket | None:
        """The next packet that waits for its first or next transmission; it stays first until `taken`."""
        resend = self._resend
        while resend and not resend[0].queued:
            resend.popleft()
        return resend[0] if resend else None

    def all_to_resend(self, size: int, budget: int, most: int) -> list[OutPacket]:
        """The next ones that fit into one burst: of ``size`` bytes of payload each, the last maybe smaller."""
        found: list[OutPacket] = []
        for packet in self._resend:
            if not packet.queued:
                continue
            if found and (packet.type != found[0].type or packet.size > min(size, budget) or len(found) == most):
                break
            found.append(packet)
            budget -= packet.size
            if packet.size < size:
                break
        return found

    def cut(self, size: int, most: int) -> list[OutPacket]:
        """Make up to ``most`` new packets of ``size`` bytes of payload, the last one with what is left."""
        packets: list[OutPacket] = []
        flight, pieces, seq_nr = self.flight, self._pending, self.next_seq
        taken = 0
        while pieces and len(packets) < most:
            piece, start = pieces[0], self._offset
            whole = min((len(piece) - start) // size, most - len(packets))
            if whole:
                stop = start + whole * size
                for offset in range(start, stop, size):
                    packet = OutPacket(PacketType.DATA, seq_nr, piece[offset : offset + size], size)
                    packets.append(packet)
                    flight[seq_nr] = packet
                    seq_nr = (seq_nr + 1) & SEQ_MASK
                taken += stop - start
                self._skip(stop)
                continue
            payload = self._gather(size)
            packet = OutPacket(PacketType.DATA, seq_nr, payload, len(payload))
            packets.append(packet)
            flight[seq_nr] = packet
            seq_nr = (seq_nr + 1) & SEQ_MASK
            taken += len(payload)
        self.next_seq = seq_nr
        self.pending -= taken
        self.unacked += taken
        self.missing += taken
        self._queue_new(packets)
        return packets

    def cut_fin(self) -> OutPacket:
        """Make the FIN: it takes a sequence number and has no payload."""
        packet = OutPacket(PacketType.FIN, self.next_seq, b"", 0)
        self.flight[packet.seq_nr] = packet
        self.next_seq = (self.next_seq + 1) & SEQ_MASK
        self._queue_new([packet])
        return packet

    def _queue_new(self, packets: list[OutPacket]) -> None:
        # Until the system has taken them they wait like any that must be sent again.
        for packet in packets:
            packet.queued = True
        self._resend.extend(packets)

    def _skip(self, offset: int) -> None:
        if offset == len(self._pending[0]):
            self._pending.popleft()
            self._offset = 0
        else:
            self._offset = offset

    def _gather(self, size: int) -> bytes | memoryview:
        """The next ``size`` bytes, or what is left of all, from as many pieces as it takes."""
        parts: list[memoryview] = []
        while size and self._pending:
            piece = self._pending[0][self._offset : self._offset + size]
            parts.append(piece)
            size -= len(piece)
            self._skip(self._offset + len(piece))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def taken(self, packets: Iterable[OutPacket], now: float) -> None:
        """The system took these: they are on their way."""
        order, resend, flown = self._order, self._resend, 0
        for packet in packets:
            order += 1
            packet.order = order
            packet.sends += 1
            packet.sent_at = now
            packet.queued = False
            if not packet.flying:
                packet.flying = True
                flown += packet.size
        while resend and not resend[0].queued:
            resend.popleft()
        self._order = order
        self.in_flight += flown

    # --- what the peer says ---
    def acknowledge(self, ack_nr: int, sacked: Iterable[int] = ()) -> Acked:
        """Everything up to ``ack_nr`` has arrived, and the packets in ``sacked``. The caller checked ``ack_nr``."""
        count = (ack_nr - self.first + 1) & SEQ_MASK
        if not count and not sacked:
            return NOTHING
        flight, first = self.flight, self.first
        size = packets = unacked = flown = newest = 0
        last: OutPacket | None = None
        fin = False
        for step in range(count):
            packet = flight.pop((first + step) & SEQ_MASK)
            packet.queued = False
            unacked += packet.size
            if packet.sacked:
                self._sacked -= 1
                continue
            size += packet.size
            packets += 1
            if packet.flying:
                flown += packet.size
            if packet.order > newest:
                newest, last = packet.order, packet
            if packet.type == PacketType.FIN:
                fin = True
        for seq_nr in sacked:
            packet_or_none = flight.get(seq_nr)
            if packet_or_none is None or packet_or_none.sacked or not packet_or_none.sends:
                continue
            packet = packet_or_none
            packet.sacked = True
            packet.queued = False
            self._sacked += 1
            size += packet.size
            packets += 1
            if packet.flying:
                packet.flying = False
                flown += packet.size
            if packet.order > newest:
                newest, last = packet.order, packet
        self.first = (first + count) & SEQ_MASK
        self.unacked -= unacked
        self.missing -= size
        self.in_flight -= flown
        if newest > self.newest:
            self.newest = newest
        return Acked(size, packets, last if last is not None and last.sends == 1 else None, newest, fin)

    def find_lost(self) -> list[OutPacket]:
        """Queue what was overtaken by `LOSS_THRESHOLD` later transmissions that arrived; say what that was.

        Transmissions are counted, not packets, so that a lost repetition is found as well.
        """
        if not self._sacked:
            return []
        limit = self.newest - LOSS_THRESHOLD
        lost = [packet for packet in self.flight.values() if packet.flying and packet.order <= limit]
        self._lose(lost)
        return lost

    def lose_first(self) -> OutPacket | None:
        """Queue the oldest packet again: the peer asked for it by repeating itself (three duplicate ACKs)."""
        packet = self.flight.get(self.first)
        if packet is None or not packet.flying or packet.sends > 1:
            return None
        self._lose([packet])
        return packet

    def lose_last(self) -> OutPacket | None:
        """Queue the packet sent last again, for the answer that it brings (RFC 8985 7, "tail loss probe")."""
        packet = max((p for p in self.flight.values() if p.flying), key=lambda p: p.order, default=None)
        if packet is not None:
            self._lose([packet])
        return packet

    def lose(self, packet: OutPacket) -> None:
        """Queue a packet that is flying again."""
        self._lose([packet])

    def lose_all(self) -> int:
        """Queue everything that is not known to have arrived; how many that is."""
        lost = [packet for packet in self.flight.values() if packet.flying]
        self._lose(lost)
        return len(lost)

    def _lose(self, lost: list[OutPacket]) -> None:
        for packet in lost:
            packet.flying = False
            self.in_flight -= packet.size
            if not packet.queued:
                packet.queued = True
                self._resend.append(packet)

    def clear(self) -> None:
        """The connection is over: free everything."""
        self._pending.clear()
        self._resend.clear()
        self.flight.clear()
        self._offset = self.pending = self.unacked = self.missing = self.in_flight = self._sacked = 0
        self.first = self.next_seq
