"""`Strangers`: what is answered to those with whom there is no connection, without keeping much for any of them."""

from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from hashlib import blake2b
from typing import Final, Protocol

from crust.defence.allowance import Allowance
from crust.transport.utp import constants as c
from crust.transport.utp.burst import Address
from crust.transport.utp.half_open import Asked, HalfOpen
from crust.transport.utp.packet import Packet, PacketType, header
from crust.transport.utp.sequence import MICROS_MASK, SEQ_MASK, micros
from crust.transport.utp.settings import UtpSettings

FIRST_PACKETS: Final = 4
"""Packets after a SYN by which its sender is recognised without a record: the very first ones may be lost."""

NUMBER_SECONDS: Final = 30.0
"""Seconds for which the number in an answer, or the one after it, opens a connection without a record."""

NEW_AT_ONCE: Final = 1024
NEW_PER_SECOND: Final = 500.0
"""SYNs of those who have not asked before that are answered. Beyond that only who asks again is, a second later: forged
senders do not. To answer costs five times what it costs to read a SYN, as most answers to forged senders bring a
complaint of the network besides; at 10,000 a second the connections that there are would get no time any more."""

AGAIN_AT_ONCE: Final = 1024
AGAIN_PER_SECOND: Final = 500.0
"""SYNs of those who have asked before that are answered."""

STRAYS_AT_ONCE: Final = 1024
STRAYS_PER_SECOND: Final = 500.0
"""Stray packets that are answered."""

ASKS_KEPT: Final = 1 << 17
"""SYNs that were put off and are remembered, in two bytes each. Each may take the place of another: of 10,000 in the
second until one is repeated, one in thirteen does."""

_ANSWERS_WAITING: Final = 1024
"""Answers that wait to be sent; beyond it the strangers can ask again."""


def _slot(now: float) -> int:
    return int(now // NUMBER_SECONDS)


class Random(Protocol):
    """Where connection ids and first sequence numbers come from."""

    def getrandbits(self, k: int, /) -> int:
        """A number of ``k`` bits."""
        ...


class Asks:
    """Who has asked before, as good as certainly; somebody else may have taken their place."""

    def __init__(self) -> None:
        self._marks = array("H", bytes(2 * ASKS_KEPT))

    def again(self, who: Hashable) -> bool:
        """Whether they asked before; from now on they did."""
        number = hash(who)  # of text, so nobody outside this process knows it
        place, mark = number % ASKS_KEPT, number // ASKS_KEPT % 0xFFFF + 1
        known = self._marks[place] == mark
        self._marks[place] = mark
        return known


class Strangers:
    """Answers SYNs and stray packets, each with no more bytes than it has. See docs/utp.md, "abuse".

    Args:
        settings: the bounds.
        rng: for sequence numbers.
        counters: ``resets_sent``, ``answers_dropped``, ``syn_put_off``, ``strays_ignored``.
    """

    def __init__(self, settings: UtpSettings, rng: Random, counters: Counter[str]) -> None:
        self.half_open = HalfOpen(settings.half_open, settings.half_open_per_host)
        self.answers: deque[tuple[Address, bytes]] = deque()
        self._settings = settings
        self._random = rng
        self._counters = counters
        self._secret = rng.getrandbits(128).to_bytes(16)
        self._resets: OrderedDict[tuple[Address, int, int], float] = OrderedDict()
        self._new = Allowance(NEW_AT_ONCE, NEW_PER_SECOND)
        self._again = Allowance(AGAIN_AT_ONCE, AGAIN_PER_SECOND)
        self._strays = Allowance(STRAYS_AT_ONCE, STRAYS_PER_SECOND)
        self._asks = Asks()

    def answer(self, address: Address, data: bytes) -> None:
        """Queue a packet."""
        if len(self.answers) < _ANSWERS_WAITING:
            self.answers.append((address, data))
        else:
            self._counters["answers_dropped"] += 1

    def on_syn(self, packet: Packet, address: Address, welcome: bool, now: float) -> bool:
        """Somebody dials; whether they are answered.

        Args:
            packet: the SYN.
            address: whom it came from.
            welcome: whether they may, if they have not asked before.
            now: seconds.
        """
        recv_id = (packet.connection_id + 1) & SEQ_MASK
        asked = self.half_open.get(address, recv_id)
        if asked is None:
            if not welcome or not self._has_time(address, recv_id, packet.seq_nr, now):
                return False
            seq_nr = self._number(address, recv_id, packet.seq_nr, _slot(now))
            self.half_open.add(address, recv_id, packet.seq_nr, seq_nr, now)
        elif asked.their_seq == packet.seq_nr and self._again.take(now):
            seq_nr = asked.our_seq
        else:
            return False
        # As long as the question: nothing is amplified for somebody whose address was forged.
        difference = (micros(now) - packet.timestamp) & MICROS_MASK
        window = self._settings.receive_window
        fields = (PacketType.STATE, packet.connection_id, micros(now), difference, window)
        self.answer(address, header(*fields, seq_nr, packet.seq_nr))
        return True

    def _has_time(self, address: Address, recv_id: int, their_seq: int, now: float) -> bool:
        """Whether somebody who asks is to be answered now, or if they ask again.

        Where too many ask in the name of one network, nobody there is kept out for that: they have to ask twice.
        """
        if self.half_open.has_room(address, now) and self._new.take(now):
            return True
        if self._asks.again((address, recv_id, their_seq)) and self._again.take(now):
            return True
        self._counters["syn_put_off"] += 1
        return False

    def _number(self, address: Address, recv_id: int, their_seq: int, slot: int) -> int:
        """Our first sequence number for somebody who asks now: nobody can guess it, or use it for long."""
        asked = f"{address[0]} {address[1]} {recv_id} {their_seq} {slot}".encode()
        return int.from_bytes(blake2b(asked, key=self._secret, digest_size=2).digest())

    def recognise(self, packet: Packet, address: Address, now: float) -> Asked | None:
        """Somebody whose record had to make room for others, by a packet that proves that they got our answer.

        So a flood of SYNs keeps nobody out, however long a round trip takes: the number in the answer is itself the
        record (as in RFC 4987 section 3.6, "SYN cookies"). The packet is one of the first after the SYN.
        """
        if (address, packet.connection_id, -1) in self._resets:
            return None  # that connection was, and is over
        our_seq = (packet.ack_nr + 1) & SEQ_MASK
        for ahead in range(1, FIRST_PACKETS + 1):
            their_seq = (packet.seq_nr - ahead) & SEQ_MASK
            for slot in (_slot(now), _slot(now) - 1):
                if self._number(address, packet.connection_id, their_seq, slot) == our_seq:
                    return Asked(their_seq, our_seq, now, "")
        return None

    def proves(self, packet: Packet, asked: Asked) -> bool:
        """Whether the packet shows that its sender got our answer: only then they know our number.

        The number has 16 bits; a guess that is right wins an empty connection.
        """
        return packet.type != PacketType.RESET and (packet.ack_nr - asked.our_seq + 1) & SEQ_MASK == 0

    def told(self, address: Address, recv_id: int, now: float) -> None:
        """A connection is over: what the peer had sent before it knew is not answered with a RESET, and opens nothing.

        libutp never frees a connection that gets two RESETs.
        """
        self._remember((address, recv_id, -1), now)

    def _remember(self, key: tuple[Address, int, int], now: float) -> bool:
        resets = self._resets
        while resets and (now - next(iter(resets.values())) >= c.RESET_SECONDS or len(resets) >= c.RESETS_REMEMBERED):
            resets.popitem(last=False)
        if key in resets:
            return False
        resets[key] = now
        return True

    def on_stray(self, packet: Packet, address: Address, now: float) -> None:
        """Tell somebody that there is no such connection; once."""
        if packet.type in (PacketType.RESET, PacketType.SYN):
            return
        told_at = self._resets.get((address, packet.connection_id, -1))
        if told_at is not None and now - told_at < c.TOLD_SECONDS:
            return
        if not self._strays.take(now):
            self._counters["strays_ignored"] += 1
            return
        if not self._remember((address, packet.connection_id, packet.seq_nr), now):
            return
        self._counters["resets_sent"] += 1
        fields = (PacketType.RESET, packet.connection_id, micros(now), 0, 0, self._random.getrandbits(16))
        self.answer(address, header(*fields, packet.seq_nr))
