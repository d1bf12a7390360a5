"""Two nodes for tests that say themselves what happens."""

from collections import Counter
from collections.abc import Callable
from random import Random

from crust.errors import ConnectionLost
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.packet import Packet, PacketType, decode
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State
from tests.transport.utp.simulation.application import pattern
from tests.transport.utp.simulation.clockwork import Hang
from tests.transport.utp.simulation.link import Conditions, Link
from tests.transport.utp.simulation.network import Nat, Network
from tests.transport.utp.simulation.node import Clock, Kernel, Node

PATIENCE = 600.0  # seconds of virtual time; nothing that ends needs so many


class End:
    """One end of a connection: what is sent through it is remembered, and what arrives is read at once.

    Args:
        salt: the bytes that it sends follow from this.
        reads: whether what arrives is read at once, or stays until `read`.
    """

    def __init__(self, node: Node, connection: UtpConnection, salt: int, reads: bool = True) -> None:
        self.node = node
        self.connection = connection
        self.reads = reads
        self.received = bytearray()
        self.finishes = False
        """Finish as soon as all is written."""
        self.finishes_after_peer = False
        self._salt = salt
        self._to_send = 0
        self._written = 0
        node.activities[connection] = self

    def send(self, size: int) -> None:
        """Write ``size`` more bytes, as room comes."""
        self._to_send += size
        self.node.poke(self)

    @property
    def sent(self) -> bytes:
        """Every byte that it was told to send."""
        return pattern(self._salt, 0, self._to_send)

    def finish(self) -> None:
        """End this half after what was sent."""
        self.finishes = True
        self.node.poke(self)

    def abort(self) -> None:
        """Give up."""
        self.node.mux.fail(self.connection, ConnectionLost("given up"), self.node.now)
        self.node.poke(self)

    def read(self) -> None:
        """Read what is there, and from now on at once."""
        self.reads = True
        self.node.poke(self)

    def act(self) -> None:
        """Write and read."""
        connection = self.connection
        while self.reads and connection.readable:
            data = connection.read(1 << 20)
            if not data:
                break
            self.received += data
        if connection.error is not None or connection.state is State.CLOSED:
            return
        while self._written < self._to_send:
            taken = connection.write(pattern(self._salt, self._written, min(self._to_send - self._written, 1 << 18)))
            if not taken:
                return
            self._written += taken
        if self.finishes or (self.finishes_after_peer and connection.at_end):
            connection.finish()
            self.finishes = self.finishes_after_peer = False


class Pair:
    """Two nodes, one link each way, and a record of every packet that either sent."""

    def __init__(
        self,
        there: Conditions | None = None,
        back: Conditions | None = None,
        *,
        seed: int = 0,
        settings: tuple[UtpSettings | None, UtpSettings | None] = (None, None),
        clocks: tuple[Clock | None, Clock | None] = (None, None),
        kernels: tuple[Kernel | None, Kernel | None] = (None, None),
        nats: tuple[Nat | None, Nat | None] = (None, None),
        rngs: tuple[Random | None, Random | None] = (None, None),
    ) -> None:
        self.network = Network(seed)
        self.clockwork = self.network.clockwork
        self.first, self.second = (
            self.network.add(settings[side], clock=clocks[side], kernel=kernels[side], nat=nats[side], rng=rngs[side])
            for side in (0, 1)
        )
        here = there or Conditions()
        self.there: Link = self.network.set_link(self.first.address, self.second.address, here)
        self.back: Link = self.network.set_link(self.second.address, self.first.address, back or here)
        self.sent: list[tuple[float, Node, Packet]] = []
        """Every packet: when, by whom, what."""
        self.accepted: list[End] = []
        self.accepted_reads = True
        self.network.watchers.append(self._remember)
        self.second.on_accept = self._accept

    def _remember(self, node: Node, _: object, datagram: bytes) -> None:
        self.sent.append((self.clockwork.now, node, decode(datagram)))

    def _accept(self, connection: UtpConnection) -> None:
        self.accepted.append(End(self.second, connection, 2 + len(self.accepted) * 2, self.accepted_reads))

    def packets(self, kind: PacketType | None = None, node: Node | None = None) -> list[Packet]:
        """What was sent, of one kind or all, by one node or both."""
        return [
            packet
            for _, by, packet in self.sent
            if (kind is None or packet.type == kind) and (node is None or by is node)
        ]

    def dial(self, node: Node | None = None, *, rendezvous: bool = False, salt: int = 1) -> End:
        """Begin to connect from the first node to the second, or the other way round."""
        node = node or self.first
        other = self.second if node is self.first else self.first
        end = End(node, node.mux.connect(other.address, node.now, rendezvous=rendezvous), salt)
        node.wake()
        return end

    def connected(self) -> tuple[End, End]:
        """Both ends of a connection, once a first byte has proved it to both."""
        dialler = self.dial()
        dialler.send(1)
        self.until(lambda: bool(self.accepted) and bool(self.accepted[-1].received or not self.accepted_reads))
        return dialler, self.accepted[-1]

    def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Let time pass until it holds.

        Raises:
            AssertionError: it does not within ``patience`` seconds of virtual time.
        """
        clockwork = self.clockwork
        limit = clockwork.now + patience
        while not condition():
            following = clockwork.next_due
            if following is None or following > limit:
                raise Hang(f"waited in vain for {patience} s of virtual time")
            clockwork.run(following)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clockwork.run(self.clockwork.now + seconds)

    def closed(self, *ends: End) -> bool:
        """Whether these connections are over."""
        return all(end.connection.state is State.CLOSED for end in ends)

    @property
    def forgotten(self) -> bool:
        """Whether neither node knows of any connection any more."""
        return not len(self.first.mux) and not len(self.second.mux)


def only_once(rule: Callable[[Packet], bool], times: int = 1) -> Callable[[bytes], bool]:
    """A rule for `Link.drop`: the first packet (or as many as ``times``) for which ``rule`` is true is lost."""
    left = [times]

    def drop(datagram: bytes) -> bool:
        if left[0] and rule(decode(datagram)):
            left[0] -= 1
            return True
        return False

    return drop


def of_kind(kind: PacketType) -> Callable[[Packet], bool]:
    """A rule for `only_once`: packets of this kind."""
    return lambda packet: packet.type == kind


def with_data(packet: Packet) -> bool:
    """A rule: packets of more than the byte that proves a connection."""
    return packet.type == PacketType.DATA and len(packet.payload) > 1


def numbered(*positions: int) -> Callable[[Packet], bool]:
    """A rule: the first transmissions of the packets `with_data` at these positions, counted from 0."""
    seen: set[int] = set()

    def rule(packet: Packet) -> bool:
        if not with_data(packet) or packet.seq_nr in seen:
            return False
        seen.add(packet.seq_nr)
        return len(seen) - 1 in positions

    return rule


def transferred(pair: Pair, size: int, patience: float = PATIENCE) -> tuple[End, End]:
    """``size`` bytes go one way over a new connection; how long that took is on the clock."""
    dialler, accepted = pair.connected()
    dialler.send(size)
    pair.until(lambda: len(accepted.received) == size + 1, patience)
    assert bytes(accepted.received) == dialler.sent
    return dialler, accepted


def repetitions(pair: Pair) -> int:
    """Packets of data that were sent more than once."""
    counted = Counter((id(node), packet.seq_nr) for _, node, packet in pair.sent if packet.type == PacketType.DATA)
    return sum(count - 1 for count in counted.values())
