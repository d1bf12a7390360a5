"""`UtpConnection`: one connection as a pure state machine. Packets and times go in, bursts of packets come out."""

from crust.errors import ConnectionLost, CrustError, DialFailed
from crust.transport.utp import constants as c
from crust.transport.utp.assembly import control, data_burst, one
from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.liveness import Liveness, syn_pause
from crust.transport.utp.outgoing import Outgoing
from crust.transport.utp.packet import HEADER_SIZE, Packet, PacketType, header, sack_bits
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.receive_buffer import Arrival
from crust.transport.utp.receiver import Receiver
from crust.transport.utp.sender import Sender
from crust.transport.utp.sequence import SEQ_MASK, micros
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import ESTABLISHED, MAY_RECEIVE, MAY_SEND, Happening, State, after
from crust.transport.utp.stats import UtpStats, stats_of


class UtpConnection:
    """One end of a uTP connection. Made by `Multiplexer`, which also routes packets to it. Not safe for threads.

    Args:
        address: the peer's.
        recv_id: the connection id of packets to us.
        send_id: the connection id of ours (a SYN carries ``recv_id``).
        seq_nr: of our first packet.
        mtu: the search for the largest packet that passes.
        settings: bounds and times.
        now: seconds.
        rendezvous: both sides dial.
    """

    def __init__(
        self,
        address: Address,
        recv_id: int,
        send_id: int,
        seq_nr: int,
        mtu: PathMtu,
        settings: UtpSettings,
        now: float,
        *,
        rendezvous: bool = False,
    ) -> None:
        self.address = address
        self.recv_id = recv_id
        self.send_id = send_id
        self.state = State.SYN_SENT
        self.initiator = True
        self.rendezvous = rendezvous
        self.error: CrustError | None = None
        self.doom: CrustError | None = None  # why the multiplexer must end it with a RESET
        self.closed_here = False  # nobody reads any more
        self.syn_seq = seq_nr
        self.syns = 0
        self._settings = settings
        self._sender = Sender((seq_nr + 1) & SEQ_MASK, mtu, settings.send_buffer)
        self.has_sent = self._sender.is_ours
        self._receiver = Receiver(settings.receive_window)
        self.finishing = False  # our half ends after the last byte
        self._outgoing: Outgoing | None = None
        self._silent = False  # what is sent leaves out what came early
        self._syn_at: float | None = now  # when the next SYN, or answer to one, is due
        self._alive = Liveness(settings, now)
        self._packets_sent = 0

    @classmethod
    def accepted(
        cls,
        address: Address,
        recv_id: int,
        seq_nr: int,
        their_seq: int,
        mtu: PathMtu,
        settings: UtpSettings,
        now: float,
    ) -> "UtpConnection":
        """The connection that a SYN asked for, whose sender has proved to receive at its address."""
        connection = cls(address, recv_id, (recv_id - 1) & SEQ_MASK, seq_nr - 1 & SEQ_MASK, mtu, settings, now)
        connection._become_acceptor(their_seq, now)
        connection._prove()
        return connection

    def accept_crossing(self, recv_id: int, their_seq: int, now: float) -> None:
        """Both dialled, and the peer's SYN is the one that counts: answer it instead of repeating ours."""
        self.recv_id, self.send_id = recv_id, (recv_id - 1) & SEQ_MASK
        self._become_acceptor(their_seq, now)

    def _become_acceptor(self, their_seq: int, now: float) -> None:
        self.state = after(self.state, Happening.CROSSING_SYN)
        self.initiator = False
        self._receiver.buffer.ack_nr = their_seq
        self._syn_at = now

    def _prove(self) -> None:
        self.state = after(self.state, Happening.PROOF)
        self._syn_at = None

    # --- the user's side ---
    @property
    def established(self) -> bool:
        """Whether both sides know of the connection."""
        return self.state in ESTABLISHED

    @property
    def over(self) -> bool:
        """Whether nothing more can happen."""
        return self.state is State.CLOSED

    @property
    def readable(self) -> int:
        """Bytes that can be read now."""
        return self._receiver.buffer.waiting

    @property
    def at_end(self) -> bool:
        """Whether everything that the peer ever sent was read."""
        return self._receiver.buffer.at_end and not self._receiver.buffer.waiting

    @property
    def delivered(self) -> bool:
        """Whether everything that was written, and the end of it, has arrived; or cannot any more."""
        return self.state in (State.FIN_ACKED, State.LINGER, State.CLOSED)

    @property
    def send_buffer(self) -> int:
        """Bytes that may be written and not acknowledged."""
        return self._settings.send_buffer

    def room(self) -> int:
        """Bytes that `write` would take now."""
        return max(self._settings.send_buffer - self._sender.buffer.waiting, 0)

    def write(self, data: bytes, start: int = 0, *, beyond: bool = False) -> int:
        """Queue the bytes from ``start`` on, as many as there is room for; how many that is. They are kept, not copied.

        With ``beyond`` all are taken: the caller has seen to the room.

        Raises:
            ConnectionLost: the connection is over, or this side has ended its half.
        """
        if self.error is not None:
            raise self.error
        if self.finishing or (self.state not in MAY_SEND and self.established):
            raise ConnectionLost("this side of the connection was ended before")
        size = len(data) - start if beyond else min(len(data) - start, self.room())
        self._sender.buffer.write(data, start, start + size)
        return size

    def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; ``b""`` when nothing waits (`at_end` tells the end)."""
        data = self._receiver.buffer.read(limit)
        self._was_read()
        return data

    def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as what waits goes and say how far that is."""
        filled = self._receiver.buffer.read_into(buffer)
        self._was_read()
        return filled

    def _was_read(self) -> None:
        if self.state in MAY_RECEIVE:
            self._receiver.was_read()

    def finish(self) -> None:
        """End our half: a FIN goes after the last byte. Idempotent."""
        self.finishing = True

    def close(self) -> None:
        """End our half, and read nothing more."""
        self.finish()
        self.closed_here = True
        self._receiver.buffer.discard()

    def fail(self, error: CrustError) -> bytes:
        """End the connection at once; what comes back is the RESET for the peer, if it is to be told."""
        told = self.state is State.SYN_RECV or (self.established and not self.over)  # who knows of it
        reset = self._control(PacketType.RESET, 0.0) if told else b""
        self._over(error)
        return reset

    def _over(self, error: CrustError | None) -> None:
        if self.state is State.CLOSED:
            return
        # libutp forgets a connection as soon as its own FIN is acknowledged, and answers ours with a RESET.
        clean = self.state is State.LINGER or (self.state is State.CLOSING and not self._sender.buffer.waiting)
        if self.error is None and not clean:
            self.error = error
        self.state = after(self.state, Happening.FAILURE)
        self._sender.stop()
        if self.error is not None and self.closed_here:
            self._receiver.buffer.discard()

    def stats(self) -> UtpStats:
        """What the connection has counted so far."""
        return stats_of(self._sender, self._receiver, self._packets_sent)

    # --- packets in ---
    def receive(self, packet: Packet, now: float) -> None:
        """Take a packet with our connection id from our peer's address; one that makes no sense changes nothing."""
        kind = packet.type
        if kind == PacketType.RESET:
            self._on_reset(packet)
        elif kind == PacketType.SYN:
            self._on_syn(packet)
        elif self.state is State.SYN_SENT:
            self._on_syn_ack(packet, now)
        elif self.state is not State.CLOSED and self._sender.ack_makes_sense(packet.ack_nr):
            if self.state is State.SYN_RECV:
                self._prove()
            self._heard(packet, now)
            self._on_ack(packet, now)
            if kind != PacketType.STATE:
                self._on_data(packet, now)

    def receive_run(self, first: Packet, last: Packet, count: int, payload: bytes, now: float) -> bool:
        """Take DATA packets in order at once, payloads joined, the last one's times for all; ``False``: one by one."""
        if self.state not in MAY_RECEIVE or self.closed_here or not self._sender.ack_makes_sense(last.ack_nr):
            return False
        if not self._receiver.add_run(first.seq_nr, count, payload, now):
            return False
        self._heard(last, now)
        self._on_ack(last, now)
        return True

    def _heard(self, packet: Packet, now: float) -> None:
        self._alive.heard(now)
        drift = self._receiver.heard(packet, now)
        if drift:  # their clock runs faster than ours, and so the delay that they measure of us grows
            self._sender.delay.shift(drift)
        sample = self._receiver.sample_in(packet)
        if sample is not None:
            self._sender.delay.sample(sample, now)

    def _on_ack(self, packet: Packet, now: float) -> None:
        if self._sender.is_stale(packet.ack_nr):
            return  # it was overtaken, or it is libutp's keep-alive, which acknowledges one less
        sacked = list(sack_bits(packet.sack, packet.ack_nr)) if packet.sack else ()
        if self._sender.acknowledged(packet.ack_nr, sacked, packet.window, now):
            self.state = after(self.state, Happening.OUR_FIN_ACKED)
            self._alive.changed_at = now

    def _on_data(self, packet: Packet, now: float) -> None:
        receiver = self._receiver
        if self.state not in MAY_RECEIVE:
            receiver.duplicates += 1
            receiver.acks.now()
        elif packet.payload and self.closed_here and receiver.is_new(packet):
            self.doom = ConnectionLost("the peer sent more after this side had closed the connection")
        elif receiver.add(packet, now) is Arrival.CONTRADICTION:
            self.doom = ConnectionLost("the peer ended its half and had sent more; or somebody forged either")
        elif receiver.buffer.at_end:
            self.state = after(self.state, Happening.THEIR_FIN)
            self._alive.changed_at = now

    def _on_syn(self, packet: Packet) -> None:
        """The answer to their SYN was lost."""
        if not self.initiator and packet.seq_nr == self._receiver.buffer.ack_nr:
            if self.state is State.SYN_RECV:
                self._syn_at = self._alive.heard_at
            else:
                self._receiver.acks.now()

    def _on_syn_ack(self, packet: Packet, now: float) -> None:
        if packet.type != PacketType.STATE or packet.ack_nr != self.syn_seq:
            return
        self.state = after(self.state, Happening.SYN_ACK)
        self._syn_at = None
        # As libutp has it: the number in the answer is that of the first packet with data.
        self._receiver.buffer.ack_nr = (packet.seq_nr - 1) & SEQ_MASK
        self._heard(packet, now)
        self._sender.peer_window = packet.window
        if self.syns == 1:
            self._sender.round_trip.sample(now - self._alive.sent_at, now)
        self._receiver.acks.now()  # it is the proof that we receive at our address

    def _on_reset(self, packet: Packet) -> None:
        dialling = self.state is State.SYN_SENT
        sensible = packet.ack_nr == self.syn_seq if dialling else self._sender.is_ours(packet.ack_nr)
        if sensible:
            known = self.established
            self._over(ConnectionLost("the peer reset the connection") if known else DialFailed("the peer refused"))

    def unreachable(self, why: str, now: float) -> None:
        """The system says that the peer's port cannot be reached; it may be forged, so it only counts in silence."""
        if self.rendezvous and not self.established:
            return  # the other side's NAT is not open yet
        if not self.established:
            self._over(DialFailed(why))
        elif self.state is State.CLOSING and not self._sender.buffer.waiting:
            self._over(None)  # both have said all, and the peer's program has ended since
        else:
            self._alive.unreachable(now)

    def too_big(self, mtu: int | None, now: float) -> None:
        """A packet of ours was too large for the path."""
        self._sender.too_big(mtu, now)

    # --- packets out ---
    def next_burst(self, now: float) -> Burst | None:
        """What is to be sent now; `sent` must follow."""
        state = self.state
        if state is State.CLOSED:
            return None
        if self._syn_at is not None:
            return self._next_syn(now)
        outgoing = self._sender.next(now, self.finishing)
        if outgoing is not None:
            self._outgoing = outgoing
            sack, window = self._sack_beside(outgoing.size), self._receiver.window
            return data_burst(
                self.address,
                outgoing,
                self.send_id,
                micros(now),
                self._receiver.difference,
                window,
                self._receiver.buffer.ack_nr,
                sack,
            )
        if self._receiver.acks.due(now) or self._alive.keepalive_due(now):
            return one(self.address, self._control(PacketType.STATE, now))
        return None

    def _sack_beside(self, size: int) -> bytes:
        """What came early, where a packet with ``size`` bytes of payload still passes with it; else a STATE says it."""
        sack = self._receiver.buffer.sack()
        self._silent = len(sack) + 2 + HEADER_SIZE + size > self._sender.mtu.size if sack else False
        return b"" if self._silent else sack

    def _next_syn(self, now: float) -> Burst | None:
        if self._syn_at is None or now < self._syn_at:
            return None
        if self.state is State.SYN_SENT:
            fields = (PacketType.SYN, self.recv_id, micros(now), 0, self._receiver.buffer.free, self.syn_seq, 0)
            return one(self.address, header(*fields))
        return one(self.address, self._control(PacketType.STATE, now))

    def _control(self, kind: int, now: float) -> bytes:
        return control(kind, self.send_id, self._sender, self._receiver, now)

    def sent(self, burst: Burst, taken: int, now: float) -> None:
        """The system took the first ``taken`` packets of what `next_burst` gave; the rest is not on its way."""
        outgoing, self._outgoing = self._outgoing, None
        if not taken:
            return
        self._packets_sent += taken
        self._alive.sent_at = now
        if self._syn_at is not None:
            self._syn_sent(now)
            return
        if outgoing is None or not self._silent:
            self._receiver.acks.sent(self._receiver.window, now)
        if outgoing is None:
            return
        self._sender.sent(outgoing, taken, now)
        fin = self._sender.fin
        if fin is not None and fin.sends and self.state in MAY_SEND:
            self.state = after(self.state, Happening.OUR_FIN)

    def _syn_sent(self, now: float) -> None:
        self.syns += 1
        self._syn_at = now + syn_pause(self.syns, self.rendezvous)

    # --- time ---
    def deadline(self, now: float) -> float | None:
        """When `tick`, or `next_burst` without anything new, has something to do; ``None``: never."""
        if self.state is State.CLOSED:
            return None
        if self._syn_at is not None:
            return self._syn_at
        sender = self._sender
        at = self._alive.deadline(self.state, self._waiting_since(now), self.closed_here)
        others = (sender.deadline, self._receiver.acks.deadline, sender.paced_until(now))
        return min([at, *(other for other in others if other is not None)])

    def _waiting_since(self, now: float) -> float | None:
        sender, orphan = self._sender, self.closed_here and not self.delivered
        return self._alive.waiting_since(sender.waiting_since, sender.peer_window, sender.progress_at, orphan, now)

    def tick(self, now: float) -> None:
        """Do what is due; `next_burst` is to be asked afterwards."""
        if self.state is State.CLOSED:
            return
        if self._syn_at is not None:
            if now >= self._alive.changed_at + c.DIAL_TIMEOUT:
                self._over(DialFailed("no answer; the host is off, or a firewall drops what we send"))
            return
        if self._alive.lingered(self.state, now):
            self.state = after(self.state, Happening.LINGERED)
            self._sender.stop()
            return
        verdict = self._alive.verdict(self.state, self._waiting_since(now), self.closed_here, now)
        if verdict is not None:
            self._over(verdict)
        else:
            self._sender.tick(now)
