"""The sending half of a connection: which packets may leave now, and what acknowledgements mean for the next ones."""

from collections.abc import Iterable
from typing import Final

from crust.transport.utp.constants import (
    BYTES_PER_CALL,
    MAX_BURST,
    MAX_SEGMENTS,
    PACING_CREDIT,
    PACING_LATENESS,
    REORDER_WINDOW,
    STALE_ACKS,
    ZERO_WINDOW_PROBE,
    ZERO_WINDOW_PROBE_MAX,
)
from crust.transport.utp.delay import DelayTracker
from crust.transport.utp.ledbat import Ledbat
from crust.transport.utp.outgoing import Outgoing, OutPacket
from crust.transport.utp.packet import HEADER_SIZE
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.round_trip import RoundTrip
from crust.transport.utp.send_buffer import SendBuffer
from crust.transport.utp.sequence import SEQ_MASK

TAIL_PROBE_SLACK: Final = 0.05
"""Seconds beyond two round trips until the last packet is sent again: the peer may delay its ACK, and be busy."""

BLACK_HOLE_TIMEOUTS: Final = 2
"""Time-outs in a row after which the path may have become narrower than the packets are."""


class Sender:
    """Window, pacing, retransmission and path MTU of one connection.

    Args:
        seq_nr: of the first packet that takes one.
        mtu: the search for the largest packet that passes.
        maximum: bytes, the largest congestion window.
    """

    def __init__(self, seq_nr: int, mtu: PathMtu, maximum: int) -> None:
        self.buffer = SendBuffer(seq_nr)
        self.mtu = mtu
        self.round_trip = RoundTrip()
        self.delay = DelayTracker()
        self.congestion = Ledbat(mtu.size, maximum)
        self.peer_window = 0
        self.timeouts = 0  # in a row
        self.bytes_sent = 0  # not counting repetitions
        self.retransmissions = 0
        self.losses = 0  # times that the window was cut
        self._timer: float | None = None  # when what is in flight counts as lost
        self._tail_probe: float | None = None  # when the last packet is sent again, to hear what is missing
        self._tail_probed = False
        self._window_probe: float | None = None  # when a closed window is tried
        self._window_probe_pause = ZERO_WINDOW_PROBE
        self._probe_now = False
        self._paced_until = 0.0
        self._mtu_probe: int | None = None  # its sequence number
        self._idle_since: float | None = None
        self.fin: OutPacket | None = None
        self.waiting_since: float | None = None
        """When something that is on its way was last acknowledged, or sent; ``None``: nothing is on its way."""
        self.progress_at = 0.0  # when anything was last acknowledged

    # --- what may leave ---
    def next(self, now: float, finish: bool) -> Outgoing | None:
        """The packets that may leave now; `sent` must follow.

        Args:
            now: seconds.
            finish: whether a FIN goes after the last byte.
        """
        buffer = self.buffer
        resend = buffer.to_resend()
        if resend is None and not buffer.pending and not (finish and self.fin is None):
            return None
        if self._paced_until - now > PACING_CREDIT:
            return None
        budget = self._budget(now)
        if resend is not None:
            return self._resend(resend, budget)
        if buffer.pending:
            return self._new(budget, now)
        if buffer.outstanding < REORDER_WINDOW - 1:
            self.fin = buffer.make_fin()
            return Outgoing(packets=(self.fin,))
        return None

    def _budget(self, now: float) -> int:
        """Bytes of payload that may be put on the way now."""
        in_flight = self.buffer.in_flight
        if not in_flight and self._idle_since is not None:
            timeout = self.round_trip.timeout
            if now - self._idle_since > timeout:
                self.congestion.on_idle(now, now - self._idle_since, timeout)
            self._idle_since = None
        budget = int(self.congestion.window) - in_flight
        if in_flight:
            return budget
        if self.peer_window:
            # With nothing on its way a packet always may leave, or nothing would ever open the window.
            return max(budget, self.mtu.size - HEADER_SIZE)
        if self._probe_now:
            return self.mtu.size - HEADER_SIZE
        if self._window_probe is None:
            self._window_probe = now + self._window_probe_pause
        return 0

    def _resend(self, first: OutPacket, budget: int) -> Outgoing | None:
        if first.size > budget and (self.buffer.in_flight or budget <= 0 < first.size):
            return None
        most = min(MAX_SEGMENTS, max(MAX_BURST // (first.size + HEADER_SIZE), 1))
        return Outgoing(packets=self.buffer.all_to_resend(max(budget, first.size), most))

    def _new(self, budget: int, now: float) -> Outgoing | None:
        buffer = self.buffer
        size = self.mtu.size - HEADER_SIZE
        room = REORDER_WINDOW - 1 - buffer.outstanding
        if not self._probe_now:
            budget = min(budget, self.peer_window - buffer.missing)
        if budget < min(size, buffer.pending):
            if buffer.in_flight or budget <= 0:
                return None
            size = budget  # the peer's window is smaller than a packet
        if room <= 0 or self._may_wait(budget):
            return None
        probe = self.mtu.probe(now) if buffer.pending >= size and not self._probe_now else None
        if probe is not None:
            return Outgoing(buffer.peek_run(size, 1), pad_to=probe)
        most = min(MAX_SEGMENTS, MAX_BURST // (size + HEADER_SIZE), room, max(budget // size, 1), self._quantum(size))
        return Outgoing(buffer.peek_run(size, most))

    def _may_wait(self, budget: int) -> bool:
        """Whether to wait for the next acknowledgement, because by then more can leave in one system call.

        Only where the window is many calls wide; then seven eighths of it are on their way meanwhile, and what counts
        is the processor. Elsewhere the path counts, and the window is used up to its last packet.
        """
        if budget >= self.buffer.pending or not self.buffer.in_flight:
            return False
        eighth = int(self.congestion.window) // 8
        return eighth > BYTES_PER_CALL and budget < min(MAX_BURST, eighth)

    def _quantum(self, size: int) -> int:
        """Packets that may leave together: what the rate gives in the credit, so that bursts fill no queue."""
        smoothed = self.round_trip.smoothed
        if smoothed is None:
            return MAX_SEGMENTS
        return max(int(self.congestion.pacing_rate(smoothed) * PACING_CREDIT) // size, 1)

    def sent(self, outgoing: Outgoing, taken: int, now: float) -> None:
        """The system took the first ``taken`` packets; the rest waits."""
        run = outgoing.run
        if not self.buffer.in_flight and self.waiting_since is None:
            self.waiting_since = now
        if run is not None:
            self.buffer.take_run(run, taken, now)
            size = run.length
            self.bytes_sent += size
        else:
            packets = outgoing.packets[:taken]
            size = sum(packet.size for packet in packets)
            self.retransmissions += sum(packet.sends > 0 for packet in packets)
            self.buffer.taken(packets, now)
        if run is not None and outgoing.pad_to:
            self._mtu_probe = run.seq_nr
            self.mtu.probe_sent(outgoing.pad_to, now)
        if self._probe_now:
            self._probe_now = False
            self._window_probe_pause = min(2 * self._window_probe_pause, ZERO_WINDOW_PROBE_MAX)
        smoothed = self.round_trip.smoothed
        if self._timer is None:
            self._timer = now + self.round_trip.timeout
        if smoothed is not None:
            # Who was woken late catches up; who waited for the window does not.
            since = self._paced_until if now - self._paced_until < PACING_LATENESS else now
            self._paced_until = since + size / self.congestion.pacing_rate(smoothed)
            if not self.timeouts and not self._tail_probed:
                self._tail_probe = now + self._patience(smoothed)

    def _patience(self, smoothed: float) -> float:
        """Seconds until the last packet is sent again to hear what is missing."""
        return max(2 * smoothed, smoothed + 4 * self.round_trip.variance) + TAIL_PROBE_SLACK

    # --- what the peer says ---
    def ack_makes_sense(self, ack_nr: int) -> bool:
        """Whether it can be meant for something that we sent: else the packet is forged, or of another connection."""
        return (self.buffer.next_seq - 1 - ack_nr) & SEQ_MASK <= self.buffer.outstanding + STALE_ACKS

    def is_stale(self, ack_nr: int) -> bool:
        """Whether it acknowledges less than is known already."""
        return (ack_nr - self.buffer.first + 1) & SEQ_MASK > self.buffer.outstanding

    def is_ours(self, seq_nr: int) -> bool:
        """Whether it is the number of something on its way; our acknowledgements carry the number that comes next."""
        return (self.buffer.next_seq - seq_nr) & SEQ_MASK <= self.buffer.outstanding + 1

    def acknowledged(self, ack_nr: int, sacked: Iterable[int], window: int, now: float) -> bool:
        """An acknowledgement within our window came; whether our FIN, and so everything, has now arrived.

        Args:
            ack_nr: everything up to here has arrived.
            sacked: and these.
            window: bytes for which the peer has room.
            now: seconds.
        """
        buffer = self.buffer
        if window > self.peer_window or not window:
            self._window_changed(window, now)
        self.peer_window = window
        in_flight = buffer.in_flight
        news = buffer.acknowledge(ack_nr, sacked)
        if not news.packets:
            if not buffer.outstanding and self.waiting_since is not None:
                self._progress(now)  # all of it was known to have arrived early
            return news.fin
        self._progress(now)
        if news.sent_at is not None:
            self.round_trip.sample(now - news.sent_at, now)
        else:
            self.round_trip.forgive()
        self._check_mtu_probe(now)
        if buffer.flight:
            lost = buffer.find_lost()
            if lost:
                self._on_lost(lost, now)
        rtt = self.round_trip.smoothed or 0.0 if news.sent_at is None else now - news.sent_at
        self.congestion.on_ack(news.size, in_flight, self.delay.queueing, rtt, now)
        return news.fin

    def _window_changed(self, window: int, now: float) -> None:
        if window:
            if not self.peer_window and self.waiting_since is not None:
                self.waiting_since = now  # until now nothing could arrive
            self._window_probe = None
            self._probe_now = False
            self._window_probe_pause = ZERO_WINDOW_PROBE

    def _progress(self, now: float) -> None:
        """Something new arrived there: the path works, and the timer starts again."""
        self.timeouts = 0
        self._tail_probed = False
        self.progress_at = now
        self.waiting_since = now if self.buffer.outstanding else None
        if self.buffer.outstanding:
            self._timer = now + self.round_trip.timeout
            smoothed = self.round_trip.smoothed
            self._tail_probe = None if smoothed is None else now + self._patience(smoothed)
        else:
            self._timer = self._tail_probe = None
            self._idle_since = now

    def _on_lost(self, lost: list[OutPacket], now: float) -> None:
        probe = self._mtu_probe
        if probe is not None and any(packet.seq_nr == probe for packet in lost):
            self._mtu_probe = None
            self.mtu.probe_lost(now)
            self._mtu_changed()
            if len(lost) == 1:
                return  # it says how wide the path is, not how full
        rtt = self.round_trip.smoothed or self.round_trip.timeout
        if self.congestion.on_loss(now, rtt, self.delay.queueing, len(lost)):
            self.losses += 1

    def _check_mtu_probe(self, now: float) -> None:
        probe, buffer = self._mtu_probe, self.buffer
        if probe is None:
            return
        packet = buffer.flight.get(probe)
        arrived = (probe - buffer.first) & SEQ_MASK >= max(buffer.outstanding, 1)
        if arrived or (packet is not None and packet.sacked):
            self._mtu_probe = None
            self.mtu.probe_acked(now)
            self._mtu_changed()

    def _mtu_changed(self) -> None:
        self.congestion.packet_size = self.mtu.size

    def too_big(self, mtu: int | None, now: float) -> None:
        """The system, or a router, says that a packet of ours was too large.

        Args:
            mtu: bytes of UDP payload that would pass, when it was said.
            now: seconds.
        """
        self.mtu.too_big(mtu, now)
        self._mtu_changed()
        probe, self._mtu_probe = self._mtu_probe, None
        if probe is not None:
            self.buffer.lose_number(probe)

    # --- time ---
    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        due = [at for at in (self._timer, self._tail_probe, self._window_probe) if at is not None]
        return min(due) if due else None

    def paced_until(self, now: float) -> float | None:
        """When the next packets may leave, where only the rate holds them back."""
        if self._paced_until - now <= PACING_CREDIT:
            return None
        return self._paced_until - PACING_CREDIT / 2

    def tick(self, now: float) -> bool:
        """Do what is due; whether packets may be waiting to be sent because of it."""
        due = False
        if self._window_probe is not None and now >= self._window_probe:
            self._window_probe = None
            self._probe_now = due = True
        if self._tail_probe is not None and now >= self._tail_probe:
            self._tail_probe = None
            if self._timer is not None and now < self._timer and self.peer_window:
                due = self._probe_tail(now)
        if self._timer is not None and now >= self._timer:
            self._time_out(now)
            due = True
        return due

    def _probe_tail(self, now: float) -> bool:
        self._tail_probed = True  # once; then it is for the timer, which goes on, to say that all is lost
        lost = self.buffer.lose_last()
        if lost and lost[0].seq_nr == self._mtu_probe:
            self._mtu_probe = None
            self.mtu.probe_lost(now)
        return bool(lost)

    def _time_out(self, now: float) -> None:
        buffer = self.buffer
        self._tail_probe = None
        probe = self._mtu_probe
        only_the_probe = probe is not None and buffer.outstanding == 1
        if not buffer.outstanding:
            self._timer = None
            return
        if probe is not None:
            self._mtu_probe = None
            self.mtu.probe_lost(now)
        flying = buffer.lose_all()
        self._paced_until = now
        if flying and not only_the_probe and self.peer_window:
            self.timeouts += 1
            self.congestion.on_timeout(now)
            self.round_trip.back_off()
            if self.timeouts >= BLACK_HOLE_TIMEOUTS:
                self.mtu.black_hole(now)
        self._mtu_changed()
        self._timer = now + self.round_trip.timeout if flying else None

    def stop(self) -> None:
        """The connection is over: nothing more is sent, and no timer runs."""
        self.buffer.clear()
        self.waiting_since = None
        self._timer = self._tail_probe = self._window_probe = None
