"""`Multiplexer`: all uTP connections of one UDP socket, without the socket. Not safe for threads: its owner locks."""

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Final

from crust.errors import ConnectionLost, CrustError, DialFailed, Malformed
from crust.transport.utp import constants as c
from crust.transport.utp.assembly import one
from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.complaints import Explain, Quote, by_name, complain
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.half_open import Asked
from crust.transport.utp.handlers import Handlers, may_be_stun
from crust.transport.utp.packet import Packet, PacketType, could_be_utp, decode
from crust.transport.utp.path_mtu import HEADERS_IPV4, HEADERS_IPV6, PathMtu
from crust.transport.utp.schedule import Schedule
from crust.transport.utp.sequence import SEQ_MASK
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State
from crust.transport.utp.strangers import Random, Strangers
from crust.transport.utp.train import as_train

_LESSER: Final = SEQ_MASK >> 1
_GREATER: Final = SEQ_MASK ^ _LESSER
"""The half of the connection ids that a rendezvous begins with, and the other, for when both sides took the same."""


class Multiplexer:
    """Routes packets to connections, makes them, answers strangers, and says what to send and when to look again.

    Args:
        settings: bounds and times.
        rng: for connection ids and first sequence numbers; unpredictable ones by default.
        ipv6: the family of the socket, for the sizes of packets.
    """

    def __init__(self, settings: UtpSettings | None = None, *, rng: Random | None = None, ipv6: bool = False) -> None:
        self.settings = settings or UtpSettings()
        self.counters: Counter[str] = Counter()
        self.accepted: deque[UtpConnection] = deque()
        self.accepting = False
        self.refuses: Callable[[str], bool] | None = None
        """Whether strangers at an IP address are not welcome."""
        self.explain: Explain = by_name
        self.handlers = Handlers()
        self.touched: dict[UtpConnection, None] = {}
        """Connections to which something happened since the owner looked; it clears this."""
        self._random = rng or random.SystemRandom()
        self._ipv6 = ipv6
        self._mtu_range = self.settings.mtu_range(ipv6)
        self._connections: dict[tuple[Address, int], UtpConnection] = {}
        self._dialling: dict[Address, UtpConnection] = {}  # rendezvous only
        self._lingering: dict[UtpConnection, None] = {}  # they only answer repetitions; the oldest first
        self._strangers = Strangers(self.settings, self._random, self.counters)
        self._half_open = self._strangers.half_open
        self._ready: OrderedDict[UtpConnection, None] = OrderedDict()
        self._schedule: Schedule[UtpConnection] = Schedule()
        self._current: UtpConnection | None = None  # whose burst is out to be sent

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def connections(self) -> list[UtpConnection]:
        """All connections that are not over."""
        return list(self._connections.values())

    @property
    def has_ready(self) -> bool:
        """Whether somebody may have something to send, and `next_burst` was not asked since."""
        return bool(self._ready)

    # --- making and ending connections ---
    def connect(self, address: Address, now: float, *, rendezvous: bool = False) -> UtpConnection:
        """Dial; the connection becomes `established` or gets an ``error``.

        Args:
            address: where to.
            now: seconds.
            rendezvous: the peer dials us as well, at about the same time; both get the same one connection.

        Raises:
            DialFailed: there are too many connections, or a rendezvous with that address is under way.
        """
        if self._is_full():
            raise DialFailed(f"{self.settings.max_connections} uTP connections already: the most on this socket")
        if rendezvous:
            if address in self._dialling:
                raise DialFailed("a rendezvous with that address is under way")
            early = self._came_first(address, now)
            if early is not None:
                return early
        self._make_room(now)
        recv_id = self._free_id(address, _LESSER if rendezvous else SEQ_MASK)
        connection = UtpConnection(
            address,
            recv_id,
            (recv_id + 1) & SEQ_MASK,
            self._random.getrandbits(16),
            self._path_mtu(),
            self.settings,
            now,
            rendezvous=rendezvous,
        )
        self._connections[(address, recv_id)] = connection
        if rendezvous:
            self._dialling[address] = connection
        self.wake(connection, now)
        return connection

    def _came_first(self, address: Address, now: float) -> UtpConnection | None:
        """The connection of a peer who dialled us before we dialled them."""
        for connection in self.accepted:
            if connection.address == address and not connection.over:
                self.accepted.remove(connection)
                return connection
        found = self._half_open.take(address)
        if found is None:
            return None
        recv_id, asked = found
        self._make_room(now)
        connection = UtpConnection(
            address,
            (recv_id - 1) & SEQ_MASK,
            recv_id,
            (asked.our_seq - 1) & SEQ_MASK,
            self._path_mtu(),
            self.settings,
            now,
            rendezvous=True,
        )
        connection.accept_crossing(recv_id, asked.their_seq, now)
        self._connections[(address, recv_id)] = self._dialling[address] = connection
        self.wake(connection, now)
        return connection

    def _path_mtu(self) -> PathMtu:
        return PathMtu(*self._mtu_range, headers=HEADERS_IPV6 if self._ipv6 else HEADERS_IPV4)

    def _free_id(self, address: Address, mask: int = SEQ_MASK, half: int = 0) -> int:
        while True:
            recv_id = self._random.getrandbits(16) & mask | half
            if (address, recv_id) not in self._connections and self._half_open.get(address, recv_id) is None:
                return recv_id

    def fail(self, connection: UtpConnection, error: CrustError, now: float) -> None:
        """End a connection at once, and tell the peer."""
        reset = connection.fail(error)
        if reset:
            self._strangers.answer(connection.address, reset)
        self._after(connection, now)

    def wake(self, connection: UtpConnection, now: float) -> None:
        """Something was written, read or ended: the connection may have packets to send."""
        if not connection.over:
            self._ready[connection] = None
            self._schedule.set(connection, connection.deadline(now))

    def _after(self, connection: UtpConnection, now: float) -> None:
        """What may follow from anything that happened to a connection."""
        self.touched[connection] = None
        if connection.over:
            self._forget(connection)
            self._strangers.told(connection.address, connection.recv_id, now)
            return
        if connection.rendezvous and connection.established:
            self._dialling.pop(connection.address, None)
        if connection.state is State.LINGER:
            self._lingering[connection] = None
        self._ready[connection] = None

    def _forget(self, connection: UtpConnection) -> None:
        self._connections.pop((connection.address, connection.recv_id), None)
        if self._dialling.get(connection.address) is connection:
            del self._dialling[connection.address]
        self._lingering.pop(connection, None)
        self._ready.pop(connection, None)
        self._schedule.set(connection, None)

    # --- datagrams in ---
    def receive(self, data: bytes, address: Address, segment: int, now: float) -> None:
        """Take what came from ``address``.

        Args:
            data: one datagram, or several in a row.
            address: whom they came from.
            segment: bytes of each; the last may be shorter.
            now: seconds.
        """
        size = len(data)
        if size <= segment:
            self._receive_one(data, address, now)
            return
        train = as_train(data, segment)
        if train is not None:
            connection = self._connections.get((address, train.first.connection_id))
            if connection is not None and connection.receive_run(
                train.first, train.last, train.packets, train.payload, now
            ):
                self._after(connection, now)
                return
        view = memoryview(data)
        for start in range(0, size, segment):
            self._receive_one(view[start : start + segment], address, now)

    def _receive_one(self, data: bytes | memoryview, address: Address, now: float) -> None:
        if may_be_stun(data) and self.handlers.offer(data, address, self.counters):
            return
        packet: Packet | None = None
        if could_be_utp(data):
            try:
                packet = decode(data)
            except Malformed:
                packet = None
        if packet is not None:
            connection = self._find(packet, address)
            if connection is not None:
                connection.receive(packet, now)
                if connection.doom is None:
                    self._after(connection, now)
                elif not connection.over:
                    self.fail(connection, connection.doom, now)
                return
        if self.handlers.offer(data, address, self.counters):
            return
        if packet is None:
            self.counters["malformed"] += 1
        else:
            self._from_stranger(packet, address, now)

    def _find(self, packet: Packet, address: Address) -> UtpConnection | None:
        if packet.type == PacketType.SYN:
            connection = self._connections.get((address, self._their_id(packet)))
            return None if connection is None or connection.initiator else connection
        connection = self._connections.get((address, packet.connection_id))
        if connection is None and packet.type == PacketType.RESET:
            # It may carry our own id back: the one that was in our packet.
            for recv_id in (packet.connection_id - 1, packet.connection_id + 1):
                connection = self._connections.get((address, recv_id & SEQ_MASK))
                if connection is not None and connection.send_id == packet.connection_id:
                    return connection
            return None
        return connection

    def _from_stranger(self, packet: Packet, address: Address, now: float) -> None:
        if packet.type == PacketType.SYN:
            self._on_syn(packet, address, now)
            return
        asked = self._half_open.get(address, packet.connection_id)
        if asked is None and self.accepting and packet.type in (PacketType.DATA, PacketType.STATE):
            asked = self._strangers.recognise(packet, address, now)
        if asked is None:
            self.counters["stray"] += 1
            self._strangers.on_stray(packet, address, now)
        elif self._strangers.proves(packet, asked):
            self._open(packet, address, asked, now)
        else:
            self.counters["unproved"] += 1

    def _on_syn(self, packet: Packet, address: Address, now: float) -> None:
        dialling = self._dialling.get(address)
        if dialling is not None and not dialling.established:
            self._crossing(dialling, packet, now)
            return
        welcome = self.accepting and self._has_room() and (address, self._their_id(packet)) not in self._connections
        if welcome and self.refuses is not None:
            welcome = not self.refuses(address[0])
        if not self._strangers.on_syn(packet, address, welcome, now):
            self.counters["syn_refused"] += 1

    def _has_room(self) -> bool:
        return not self._is_full() and len(self.accepted) < self.settings.accept_backlog

    def _is_full(self) -> bool:
        return len(self._connections) - len(self._lingering) >= self.settings.max_connections

    def _make_room(self, now: float) -> None:
        """Where all places are taken, the one that has only answered repetitions for longest gives up its own."""
        while self._lingering and len(self._connections) >= self.settings.max_connections:
            connection = next(iter(self._lingering))
            connection.fail(ConnectionLost("its place was needed"))  # both have said all: no error, and no RESET
            self._after(connection, now)

    @staticmethod
    def _their_id(syn: Packet) -> int:
        """The connection id of the packets that follow a SYN."""
        return (syn.connection_id + 1) & SEQ_MASK

    def _crossing(self, ours: UtpConnection, packet: Packet, now: float) -> None:
        """Both dial: the SYN with the greater numbers counts, which both sides can tell."""
        if ours.state is State.SYN_RECV:
            return  # another SYN of the peer than the one that we answered
        mine, theirs = (ours.syn_seq, ours.recv_id), (packet.seq_nr, packet.connection_id)
        if theirs == mine:
            # Both go to the greater half of the ids: what is still on its way under the old one is the lesser.
            self._renew(ours, self._free_id(ours.address, half=_GREATER))
        if theirs <= mine:
            self.counters["crossing_ignored"] += 1
            return  # they will see ours, and answer it
        if (ours.address, self._their_id(packet)) in self._connections:
            return  # the id is in use between us
        del self._connections[(ours.address, ours.recv_id)]
        ours.accept_crossing(self._their_id(packet), packet.seq_nr, now)
        self._connections[(ours.address, ours.recv_id)] = ours
        self._after(ours, now)

    def _open(self, packet: Packet, address: Address, asked: Asked, now: float) -> None:
        """Somebody who asked has proved to receive at their address."""
        recv_id = packet.connection_id
        if not self.accepting:  # not any more
            self._half_open.remove(address, recv_id)
            self._strangers.on_stray(packet, address, now)
            return
        if not self._has_room():
            self.counters["syn_refused"] += 1
            return
        self._half_open.remove(address, recv_id)
        self._make_room(now)
        connection = UtpConnection.accepted(
            address, recv_id, asked.our_seq, asked.their_seq, self._path_mtu(), self.settings, now
        )
        self._connections[(address, recv_id)] = connection
        self.accepted.append(connection)
        connection.receive(packet, now)
        self._after(connection, now)

    def icmp(self, address: Address, error: int, mtu: int | None, quoted: bytes, now: float) -> None:
        """The network complains about a datagram of ours.

        Args:
            address: where it was to go.
            error: an errno.
            mtu: bytes of the largest IP packet that would pass, where that was said.
            quoted: how the datagram begins.
            now: seconds.
        """
        quote = Quote.read(quoted)
        for recv_id in quote.recv_ids if quote is not None else ():
            connection = self._connections.get((address, recv_id))
            if connection is not None and quote is not None and quote.is_of(connection):
                self.counters["icmp"] += 1
                complain(connection, error, mtu, self.explain, now)
                self._after(connection, now)

    # --- time, and datagrams out ---
    def tick(self, now: float) -> None:
        """Do what is due."""
        for connection in self._schedule.due(now):
            connection.tick(now)
            if connection.state is State.SYN_SENT and not connection.rendezvous:
                self._maybe_renew(connection)
            self._after(connection, now)

    def _maybe_renew(self, connection: UtpConnection) -> None:
        """Dial with another connection id: the answer to this one may have been lost for good."""
        if connection.syns and connection.syns % c.SYNS_PER_ID == 0:
            self._renew(connection, self._free_id(connection.address))

    def _renew(self, connection: UtpConnection, recv_id: int) -> None:
        del self._connections[(connection.address, connection.recv_id)]
        connection.recv_id, connection.send_id = recv_id, (recv_id + 1) & SEQ_MASK
        self._connections[(connection.address, recv_id)] = connection

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        return self._schedule.next()

    def next_burst(self, now: float) -> Burst | None:
        """What to send now; `sent` must follow. ``None``: nothing may be sent now."""
        if self._strangers.answers:
            return one(*self._strangers.answers[0])
        ready = self._ready
        while ready:
            connection = next(iter(ready))
            burst = None if connection.over else connection.next_burst(now)
            if burst is not None:
                self._current = connection
                return burst
            del ready[connection]
            self._schedule.set(connection, None if connection.over else connection.deadline(now))
        return None

    def sent(self, burst: Burst, taken: int, now: float) -> None:
        """The system took the first ``taken`` packets of the burst; the rest is not on its way."""
        connection, self._current = self._current, None
        if connection is None:
            if taken:
                self._strangers.answers.popleft()
            return
        connection.sent(burst, taken, now)
        self._ready.move_to_end(connection)

    def close(self) -> None:
        """End everything: what is left of it are RESETs to send."""
        for connection in self.connections:
            self.fail(connection, ConnectionLost("the socket was closed here"), 0.0)
        self.handlers.clear()
        self.accepting = False
