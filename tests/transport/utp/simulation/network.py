"""Nodes, and the links between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from crust.errors import Malformed
from crust.transport.utp.burst import Address
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import PacketType, decode
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.clockwork import Clockwork
from tests.transport.utp.simulation.link import Conditions, Link
from tests.transport.utp.simulation.node import Clock, Kernel, Node

Trace = Callable[[str], None]


@dataclass(slots=True)
class Nat:
    """A NAT or firewall in front of a node: lets in only packets from where its node has sent to."""

    forgets_after: float = 120.0
    """Seconds without a packet from inside until a way in is closed again (RFC 4787 asks for at least 120)."""
    _open_until: dict[Address, float] = field(default_factory=dict)

    def sent(self, destination: Address, at: float) -> None:
        """The node behind it sent something there."""
        self._open_until[destination] = at + self.forgets_after

    def lets_in(self, source: Address, at: float) -> bool:
        """Whether a packet from there gets through."""
        return at <= self._open_until.get(source, -1.0)


class Network:
    """Everything of one simulated run.

    Args:
        seed: of everything that is left to chance here; the same gives the same run.
        conditions: of links that `set_link` has not set.
        trace: called with a line for each packet and what became of it.
    """

    def __init__(self, seed: int | str = 0, conditions: Conditions | None = None, trace: Trace | None = None) -> None:
        self.clockwork = Clockwork()
        self.nodes: dict[Address, Node] = {}
        self.nats: dict[Address, Nat] = {}
        self.outsiders: dict[Address, Callable[[bytes, Address], None]] = {}
        """Addresses where no node is, but somebody who takes datagrams and from whom they came."""
        self.trace = trace
        self.watchers: list[Callable[[Node, Address, bytes], None]] = []
        """Called with each packet that a node sends."""
        self._conditions = conditions or Conditions()
        self._links: dict[tuple[Address, Address], Link] = {}
        self._rng = Random(f"network {seed}")

    def add(
        self,
        settings: UtpSettings | None = None,
        *,
        clock: Clock | None = None,
        kernel: Kernel | None = None,
        nat: Nat | None = None,
        rng: Random | None = None,
    ) -> Node:
        """A new node; its address is made up.

        Args:
            rng: from where its multiplexer takes numbers to begin with.
        """
        number = len(self.nodes) + 1
        address = (f"10.0.{number >> 8}.{number & 255}", 40_000 + number)
        mux = Multiplexer(settings or UtpSettings(), rng=rng or Random(self._rng.getrandbits(64)))
        mux.accepting = True
        node_rng = Random(self._rng.getrandbits(64))
        node = Node(self, address, mux, clock or Clock(), kernel or Kernel(), node_rng)
        self.nodes[address] = node
        if nat is not None:
            self.nats[address] = nat
        return node

    def link(self, source: Address, destination: Address) -> Link:
        """The way from one address to another."""
        link = self._links.get((source, destination))
        return link or self.set_link(source, destination, self._conditions)

    def set_link(self, source: Address, destination: Address, conditions: Conditions) -> Link:
        """Make the way from one address to another like this."""

        def deliver(datagram: bytes) -> None:
            self._deliver(datagram, source, destination)

        link = Link(
            self.clockwork,
            conditions,
            Random(self._rng.getrandbits(64)),
            deliver,
            lambda complaint: self.nodes[source].complained(destination, complaint),
        )
        self._links[source, destination] = link
        return link

    def send(self, node: Node, destination: Address, datagram: bytes, dont_fragment: bool, at: float) -> None:
        """Carry a datagram from a node; it leaves at ``at``."""
        for watch in self.watchers:
            watch(node, destination, datagram)
        nat = self.nats.get(node.address)
        if nat is not None:
            nat.sent(destination, at)
        self._carry(node.address, destination, datagram, dont_fragment, at)

    def inject(self, source: Address, destination: Address, datagram: bytes) -> None:
        """Carry a datagram that no node sent: from a stranger, or from one who writes ``source`` on it."""
        self._carry(source, destination, datagram, False, self.clockwork.now)

    def _carry(self, source: Address, destination: Address, datagram: bytes, dont_fragment: bool, at: float) -> None:
        fate = self.link(source, destination).send(datagram, dont_fragment, at)
        if self.trace is not None:
            self.trace(f"{at:11.6f}  {_short(source)} -> {_short(destination)}  {described(datagram)}  {fate}".rstrip())

    def _deliver(self, datagram: bytes, source: Address, destination: Address) -> None:
        nat = self.nats.get(destination)
        if nat is not None and not nat.lets_in(source, self.clockwork.now):
            self._tell(destination, "kept out by the NAT", datagram)
        elif destination in self.nodes:
            self._tell(destination, "arrived", datagram)
            self.nodes[destination].arrived(datagram, source)
        elif destination in self.outsiders:
            self.outsiders[destination](datagram, source)
        else:
            self._tell(destination, "nobody there", datagram)

    def _tell(self, destination: Address, fate: str, datagram: bytes) -> None:
        if self.trace is not None:
            self.trace(f"{self.clockwork.now:11.6f}  at {_short(destination):6}  {fate}: {described(datagram)}")


def described(datagram: bytes) -> str:
    """A packet in a line."""
    try:
        packet = decode(datagram)
    except Malformed as error:
        return f"malformed ({error}) {len(datagram)} bytes"
    kind = PacketType(packet.type).name
    sack = f" sack={packet.sack.hex()}" if packet.sack else ""
    return (
        f"{kind:5} id={packet.connection_id:<5} seq={packet.seq_nr:<5} ack={packet.ack_nr:<5} wnd={packet.window:<7} "
        f"{len(packet.payload)} B{sack}"
    )


def _short(address: Address) -> str:
    return address[0].removeprefix("10.0.0.")
