"""What is to be sent, what is on its way, and what of that must be sent again."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from crust.transport.utp.outgoing import Acked, OutPacket, OutRun
from crust.transport.utp.packet import PacketType
from crust.transport.utp.sequence import SEQ_MASK

LOSS_THRESHOLD: Final = 3
"""Packets sent later that must have arrived before one counts as lost (BEP 29: 3 duplicate ACKs; RFC 9002 6.1.1)."""

SMALL: Final = 1024
"""Bytes: what is written in pieces up to here is gathered."""

GATHERED: Final = 4096
"""Bytes: how much is gathered; each small write may copy so many."""

_NOTHING: Final = Acked(0, 0, None, False)


class SendBuffer:
    """The sending half of a connection.

    What was sent is kept as runs, at the cost of one object for a burst. When something happens to one packet of a run
    (it is lost, or a later one arrives before it), the run and all before it become single packets. So the oldest ones
    are single packets and the youngest are runs.

    Args:
        seq_nr: the first sequence number.
    """

    __slots__ = (
        "_at",
        "_order",
        "_pending",
        "_resend",
        "_runs",
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
        self.flight: dict[int, OutPacket] = {}  # in order of their numbers
        self.in_flight = 0  # bytes that are flying
        self.unacked = 0  # bytes in packets that are not acknowledged
        self.missing = 0  # bytes of those that did not arrive out of order either: what the peer must have room for
        self.pending = 0  # bytes that are in no packet yet
        self.newest = 0  # order of the last transmission that is known to have arrived
        self._runs: deque[OutRun] = deque()
        self._pending: deque[tuple[bytes, int, int]] = deque()
        self._at = 0  # in the first piece
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

    def write(self, data: bytes, start: int, stop: int) -> None:
        """Take the bytes from ``start`` to ``stop`` to send; they are kept, and copied only where they are few."""
        if start == stop:
            return
        self.pending += stop - start
        if self._pending and stop - start <= SMALL:
            last, first, end = self._pending[-1]
            if len(self._pending) == 1:
                first = self._at
            if end - first <= GATHERED:
                # One byte at a time, each with an object of its own, would take seventy times its size.
                data, start, stop = last[first:end] + data[start:stop], 0, end - first + stop - start
                self._pending.pop()
        if not self._pending:
            self._at = start
        self._pending.append((data, start, stop))

    # --- new packets ---
    def peek_run(self, size: int, most: int) -> OutRun:
        """The next new packets of ``size`` bytes of payload, up to ``most``, the last one with what is left.

        Nothing changes until `take_run`. There must be something pending.
        """
        data, _start, stop = self._pending[0]
        at = self._at
        left = stop - at
        if len(self._pending) == 1 or left // size >= (most + 1) // 2:
            # The last packet may be short only where nothing follows in another piece.
            whole = left // size * size if len(self._pending) > 1 else left
            return OutRun(self.next_seq, data, at, at + min(whole, size * most), size)
        # Copying costs less than another burst for the few packets up to the end of the piece, and one across it.
        gathered = self._gather(size * most)
        return OutRun(self.next_seq, gathered, 0, len(gathered), size)

    def _gather(self, size: int) -> bytes:
        """The next ``size`` bytes, or what is left of all, from as many pieces as it takes."""
        parts: list[bytes] = []
        at = self._at
        for number, (data, start, stop) in enumerate(self._pending):
            part = data[at if not number else start : stop][:size]
            parts.append(part)
            size -= len(part)
            if not size:
                break
        return b"".join(parts)

    def take_run(self, run: OutRun, taken: int, now: float) -> None:
        """The system took the first ``taken`` packets, at least one, of the run that `peek_run` gave."""
        run.keep_first(taken)
        run.order = self._order + 1
        run.sent_at = now
        self._order += run.count
        self._runs.append(run)
        self.next_seq = (run.seq_nr + run.count) & SEQ_MASK
        size = left = run.length
        while left:
            available = self._pending[0][2] - self._at
            if available > left:
                self._at += left
                break
            self._pending.popleft()
            self._at = self._pending[0][1] if self._pending else 0
            left -= available
        self.pending -= size
        self.unacked += size
        self.missing += size
        self.in_flight += size

    def make_fin(self) -> OutPacket:
        """Make the FIN, which has no payload. It is queued like what must be sent again.

        It takes its sequence number when it leaves: nobody can acknowledge it before.
        """
        self._split_all()
        packet = OutPacket(PacketType.FIN, self.next_seq, b"")
        self.flight[packet.seq_nr] = packet
        packet.queued = True
        self._resend.append(packet)
        return packet

    # --- packets that were sent before ---
    def to_resend(self) -> OutPacket | None:
        """The next packet that waits for another transmission; it stays first until `taken`."""
        resend = self._resend
        while resend and not resend[0].queued:
            resend.popleft()
        return resend[0] if resend else None

    def all_to_resend(self, budget: int, most: int) -> tuple[OutPacket, ...]:
        """The next ones that fit into one burst: of one type and size, the last maybe smaller."""
        found: list[OutPacket] = []
        for packet in self._resend:
            if not packet.queued:
                continue
            if found:
                first = found[0]
                if packet.type != first.type or packet.size > min(first.size, budget) or len(found) == most:
                    break
            found.append(packet)
            budget -= packet.size
            if packet.size < found[0].size:
                break
        return tuple(found)

    def taken(self, packets: Iterable[OutPacket], now: float) -> None:
        """The system took these: they are on their way."""
        resend = self._resend
        for packet in packets:
            self._order += 1
            packet.order = self._order
            if packet.seq_nr == self.next_seq:  # the FIN leaves for the first time
                self.next_seq = (self.next_seq + 1) & SEQ_MASK
            packet.sends += 1
            packet.sent_at = now
            packet.queued = False
            if not packet.flying:
                packet.flying = True
                self.in_flight += packet.size
        while resend and not resend[0].queued:
            resend.popleft()

    # --- what the peer says ---
    def acknowledge(self, ack_nr: int, sacked: Iterable[int] = ()) -> Acked:
        """Everything up to ``ack_nr`` has arrived, and the packets in ``sacked``. The caller checked ``ack_nr``."""
        count = (ack_nr - self.first + 1) & SEQ_MASK
        if not count and not sacked:
            return _NOTHING
        packets: list[OutPacket] = []
        fin = False
        single = min(count, len(self.flight))
        for step in range(single):
            packet = self.flight.pop((self.first + step) & SEQ_MASK)
            packet.queued = False
            self.unacked -= packet.size
            fin = packet.type == PacketType.FIN
            if packet.sacked:
                self._sacked -= 1
            else:
                packets.append(packet)
        self.first = (self.first + count) & SEQ_MASK
        size, arrived, sent_at = self._acknowledge_runs(count - single)
        if sacked:
            packets += self._acknowledge_early(sacked)
        if packets:
            size, sent_at = self._acknowledge_single(packets, size, sent_at)
        return Acked(size, arrived + len(packets), sent_at, fin)

    def _acknowledge_runs(self, count: int) -> tuple[int, int, float | None]:
        """The oldest ``count`` packets of the runs have arrived: bytes, packets, and when the last one was sent."""
        size, left, sent_at = 0, count, None
        while left:
            run = self._runs[0]
            sent_at = run.sent_at
            if left >= run.count:
                size += run.length
                left -= run.count
                self.newest = max(self.newest, run.order + run.count - 1)
                self._runs.popleft()
            else:
                self.newest = max(self.newest, run.order + left - 1)
                size += run.drop_first(left)
                left = 0
        self.unacked -= size
        self.missing -= size
        self.in_flight -= size
        return size, count, sent_at

    def _acknowledge_early(self, sacked: Iterable[int]) -> list[OutPacket]:
        """Mark what arrived out of order, and say what of it was not known."""
        found: list[OutPacket] = []
        for seq_nr in sacked:
            packet = self.flight.get(seq_nr)
            if packet is None and (seq_nr - self.first) & SEQ_MASK < self.outstanding:
                self._split_to(seq_nr)
                packet = self.flight.get(seq_nr)
            if packet is not None and not packet.sacked and packet.sends:
                packet.sacked = True
                packet.queued = False
                self._sacked += 1
                found.append(packet)
        return found

    def _acknowledge_single(
        self, packets: list[OutPacket], size: int, sent_at: float | None
    ) -> tuple[int, float | None]:
        """Account for single packets that arrived: bytes in all, and when the last one was sent, if only once."""
        last = packets[0]
        for packet in packets:
            size += packet.size
            self.missing -= packet.size
            if packet.flying:
                packet.flying = False
                self.in_flight -= packet.size
            if packet.order > last.order:
                last = packet
        self.newest = max(self.newest, last.order)
        return size, last.sent_at if sent_at is None and last.sends == 1 else sent_at

    def _split_to(self, seq_nr: int) -> None:
        """Make single packets of the run with that number and of all before it."""
        while self._runs and seq_nr not in self.flight:
            for packet in self._runs.popleft().split():
                self.flight[packet.seq_nr] = packet

    def _split_all(self) -> None:
        while self._runs:
            self._split_to(self._runs[0].seq_nr)

    # --- losses ---
    def find_lost(self) -> list[OutPacket]:
        """Queue what was overtaken by `LOSS_THRESHOLD` later transmissions that arrived; say what that was.

        Transmissions are counted, not packets, so that a lost repetition is found as well.
        """
        if not self._sacked:
            return []
        limit = self.newest - LOSS_THRESHOLD
        lost = [packet for packet in self.flight.values() if packet.flying and packet.order <= limit]
        self.lose(lost)
        return lost

    def lose_last(self) -> list[OutPacket]:
        """Queue the packet sent last again, for the answer that it brings (RFC 8985 7, "tail loss probe")."""
        self._split_all()
        packet = max((p for p in self.flight.values() if p.flying), key=lambda p: p.order, default=None)
        lost = [] if packet is None else [packet]
        self.lose(lost)
        return lost

    def lose_all(self) -> int:
        """Queue everything that is not known to have arrived; how many that is."""
        self._split_all()
        lost = [packet for packet in self.flight.values() if packet.flying]
        self.lose(lost)
        return len(lost)

    def lose_number(self, seq_nr: int) -> None:
        """Queue one packet, if it is flying."""
        self._split_to(seq_nr)
        packet = self.flight.get(seq_nr)
        if packet is not None and packet.flying:
            self.lose([packet])

    def lose(self, lost: list[OutPacket]) -> None:
        """Queue packets that are flying; the oldest always goes first: over there all others may wait for it."""
        resend = self._resend
        in_order = True
        for packet in lost:
            packet.flying = False
            self.in_flight -= packet.size
            if not packet.queued:
                packet.queued = True
                in_order = in_order and (not resend or self._age(resend[-1]) < self._age(packet))
                resend.append(packet)
        if not in_order:
            self._resend = deque(packet for packet in self.flight.values() if packet.queued)

    def _age(self, packet: OutPacket) -> int:
        return (packet.seq_nr - self.first) & SEQ_MASK

    def clear(self) -> None:
        """The connection is over: free everything."""
        self._pending.clear()
        self._resend.clear()
        self._runs.clear()
        self.flight.clear()
        self._at = self.pending = self.unacked = self.missing = self.in_flight = self._sacked = 0
        self.first = self.next_seq
