"""A peer whose every packet a test writes down, and that sees every packet sent to it."""

from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.sequence import SEQ_MASK, micros
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.network import Network
from tests.transport.utp.simulation.node import Node
from tests.transport.utp.simulation.pair import End

ADDRESS = ("10.0.99.1", 7)
WINDOW = 1 << 20  # bytes that it says it has room for, unless told otherwise


class ScriptedPeer:
    """Talks to one node, as the test says.

    Args:
        node: to whom.
        connection_id: of the SYN that it sends: the one at which it receives.
        seq_nr: of its SYN.
    """

    def __init__(
        self,
        network: Network,
        node: Node,
        *,
        connection_id: int = 1000,
        seq_nr: int = 1,
        address: tuple[str, int] = ADDRESS,
    ) -> None:
        self.network = network
        self.node = node
        self.address = address
        self.received: list[Packet] = []
        self.window = WINDOW
        self.receive_id = connection_id
        self.send_id = (connection_id + 1) & SEQ_MASK
        self.seq_nr = seq_nr
        """Of the next packet that takes one."""
        self.ack_nr = 0
        """What it acknowledges."""
        network.outsiders[address] = self._take

    def _take(self, datagram: bytes, _: object) -> None:
        self.received.append(decode(datagram))

    def say(
        self,
        kind: PacketType,
        payload: bytes = b"",
        *,
        seq_nr: int | None = None,
        ack_nr: int | None = None,
        connection_id: int | None = None,
        sack: bytes = b"",
        close_reason: int | None = None,
    ) -> None:
        """Send a packet and let it arrive; what is not said is as a correct peer has it, but no number advances."""
        packet = Packet(
            type=kind,
            connection_id=self.send_id if connection_id is None else connection_id,
            timestamp=micros(self.network.clockwork.now),
            timestamp_difference=20_000,
            window=self.window,
            seq_nr=self.seq_nr if seq_nr is None else seq_nr,
            ack_nr=self.ack_nr if ack_nr is None else ack_nr,
            sack=sack,
            close_reason=close_reason,
            payload=payload,
        )
        self.say_raw(encode(packet))

    def say_raw(self, datagram: bytes) -> None:
        """Send any bytes and let them arrive."""
        self.network.inject(self.address, self.node.address, datagram)
        self.pass_time(0.03)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        clockwork = self.network.clockwork
        clockwork.run(clockwork.now + seconds)

    def dial(self, first: bytes = b"!") -> None:
        """Connect to the node, and prove it with ``first``."""
        self.say(PacketType.SYN, connection_id=self.receive_id)
        answer = self.last(PacketType.STATE)
        assert answer.ack_nr == self.seq_nr
        # As libutp has it: the first DATA of who accepts has the number of the STATE.
        self.ack_nr = (answer.seq_nr - 1) & SEQ_MASK
        self.seq_nr = (self.seq_nr + 1) & SEQ_MASK
        if first:
            self.data(first)

    def answer(self) -> None:
        """Accept the SYN that the node sent."""
        syn = self.last(PacketType.SYN)
        self.send_id = syn.connection_id
        self.receive_id = (syn.connection_id + 1) & SEQ_MASK
        self.ack_nr = syn.seq_nr
        self.say(PacketType.STATE)

    def data(self, payload: bytes) -> None:
        """Send the next packet of data."""
        self.say(PacketType.DATA, payload)
        self.seq_nr = (self.seq_nr + 1) & SEQ_MASK

    def take_all(self) -> bytes:
        """Acknowledge what came in order, and return its bytes."""
        taken = b""
        by_number = {
            packet.seq_nr: packet for packet in self.received if packet.type in (PacketType.DATA, PacketType.FIN)
        }
        while (following := (self.ack_nr + 1) & SEQ_MASK) in by_number:
            taken += bytes(by_number[following].payload)
            self.ack_nr = following
        self.say(PacketType.STATE)
        return taken

    def last(self, kind: PacketType) -> Packet:
        """The last packet of a kind that the node sent."""
        return self.of_kind(kind)[-1]

    def of_kind(self, kind: PacketType) -> list[Packet]:
        """All packets of a kind that the node sent."""
        return [packet for packet in self.received if packet.type == kind]


def connected_to_script(**settings: int) -> tuple[ScriptedPeer, End]:
    """A scripted peer that has connected and sent one byte, and the other end of that connection."""
    network = Network()
    node = network.add(UtpSettings(**settings))
    ends: list[End] = []
    node.on_accept = lambda connection: ends.append(End(node, connection, 2))
    peer = ScriptedPeer(network, node)
    peer.dial(b"!")
    assert ends, "connected once data came"
    assert bytes(ends[0].received) == b"!"
    return peer, ends[0]
