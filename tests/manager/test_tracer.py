"""Tracer connections in the manager: off unless allowed, as good as others, and never in the way of a proven peer."""

import socket
import threading
from collections.abc import Iterator

import pytest

from crust import Config, Endpoint, Event, Identity, Port, Protocol, TransportUnavailable
from crust.errors import ConfigError
from crust.identity import UnprovenPeerId
from crust.transport.framing import CHOOSE, CHOSEN, HEADER, control_frame, message_frame
from crust.transport.masking import network_keys
from crust.transport.tracer_hello import HELLO, MAGIC, TracerInitiator, TracerResponder
from tests.manager.helpers import LOOPBACK, Node, Nodes, in_parallel, join, two_identities, wait_until
from tests.manager.wire import PATIENCE

TRACER = {"tcp_port": None, "tracer_port": 0, "allow_tracer": True}
BOTH = {"tracer_port": 0, "allow_tracer": True}


def claim(node: Node) -> UnprovenPeerId:
    """Who it says it is on a tracer connection."""
    return UnprovenPeerId(bytes(node.id))


def door(node: Node, protocol: Protocol) -> Endpoint:
    """Where it listens for one transport."""
    return next(e for e in node.manager.get_own_endpoints() if e.protocol is protocol)


class Impostor:
    """Somebody at a plain socket who claims an identity over a tracer connection, as the one who dials."""

    def __init__(self, victim: Node, claimed: Identity) -> None:
        self.socket = socket.create_connection(door(victim, Protocol.TRACER).address, PATIENCE)
        # Not the identity's secret: whoever knows a peer id can say that it is theirs.
        self._hand = TracerInitiator(claimed, network_keys("crust", None), b"impostor")
        self.socket.sendall(self._hand.start())
        while not self._hand.receive(self._read()):
            pass
        self.socket.sendall(self._hand.finish(1, True))
        self.serial = 1

    def _read(self) -> bytes:
        data = self.socket.recv(65_536)
        assert data, "the connection was ended"
        return data

    def choose(self) -> None:
        """As the one with the greater id."""
        self.socket.sendall(control_frame(CHOOSE, {"serial": self.serial}))

    def obey(self) -> None:
        """As the one with the lesser id: wait for the choice and answer it."""
        (word,) = HEADER.unpack(self.socket.recv(HEADER.size, socket.MSG_WAITALL))
        assert word & 0xFF == CHOOSE, f"frame 0x{word & 0xFF:02x}"
        self.socket.recv(word >> 8, socket.MSG_WAITALL)
        self.socket.sendall(control_frame(CHOSEN, {"serial": self.serial}))

    def flood(self) -> None:
        """Send until that is not possible any more."""
        try:
            while True:
                self.socket.sendall(message_frame(b"noise") * 100)
        except OSError:
            pass

    def rest(self) -> bytes:
        """All that is still to come, to the end."""
        found = b""
        try:
            while data := self.socket.recv(65_536):
                found += data
        except ConnectionResetError:
            pass
        return found


@pytest.fixture
def impostors() -> Iterator[list[Impostor]]:
    """Those that a test makes; closed at its end."""
    made: list[Impostor] = []
    yield made
    for one in made:
        one.socket.close()


# --- off unless allowed -----------------------------------------------------------------------------------------------


def test_it_is_off(nodes: Nodes) -> None:
    node = nodes.make()
    assert {port.protocol for port in node.manager.start_listening()} == {Protocol.TCP}
    clear = Endpoint.tracer((LOOPBACK, 1))
    with pytest.raises(TransportUnavailable, match=f"{clear}: tracer .* clear text .*allow_tracer: true"):
        node.manager.connect(clear)
    with pytest.raises(ConfigError, match="allow_tracer"):
        Config(tracer_port=0)


def test_beside_others_a_tracer_endpoint_is_passed_over(nodes: Nodes) -> None:
    hub, guest = nodes.make(), nodes.make(listen=False)
    clear, nobody = Endpoint.tracer((LOOPBACK, 1)), nodes.make()
    guest.manager.connect([clear, hub.endpoint])
    guest.link(hub)
    closed = nobody.endpoint
    nobody.stop()
    guest.manager.connect([clear, closed])
    assert "allow_tracer: true" in guest.expect(Event.ConnectionFailed).reason[clear]


# --- as good as others ------------------------------------------------------------------------------------------------


def test_messages_both_ways(nodes: Nodes) -> None:
    first, second = nodes.make(**TRACER), nodes.make(**TRACER)
    (port,) = second.manager.start_listening()
    assert port.protocol is Protocol.TRACER
    assert door(second, Protocol.TRACER) == Endpoint.tracer((LOOPBACK, port.port))
    first.connect(second)
    messages = [b"", b"small", b"m" * 70_000, bytes(range(256)) * 2000]
    there, here = first.link(claim(second)), second.link(claim(first))
    assert there == Endpoint.tracer((LOOPBACK, port.port))
    assert here.protocol is Protocol.TRACER
    for message in messages:
        first.send(there, message)
        second.send(here, message)
    second.expect_messages(claim(first), messages)
    first.expect_messages(claim(second), messages)
    info = first.info(claim(second))
    assert (info.peer_id.proven, str(info.peer_id)) == (False, f"unproven:{second.id}")
    assert not first.manager.peer_id(there).proven
    assert first.manager.peer_id(there) != second.id
    first.drop(there)
    assert second.expect(Event.LostConnection).reason == "the peer closed the connection"


def test_what_it_sends_is_in_clear(nodes: Nodes, impostors: list[Impostor]) -> None:
    lesser, greater = two_identities()
    node = nodes.make(identity=greater, **TRACER)
    other = Impostor(node, lesser)
    impostors.append(other)
    other.obey()
    node.send(node.link(UnprovenPeerId(bytes(lesser.peer_id))), b"in clear")
    assert other.socket.recv(12, socket.MSG_WAITALL) == message_frame(b"in clear")


def test_both_dial_each_other_and_end_with_one(nodes: Nodes) -> None:
    for _ in range(5):
        first, second = nodes.make(**TRACER), nodes.make(**TRACER)
        first.connect(second)
        second.connect(first)
        first.send(first.link(claim(second)), b"one")
        second.send(second.link(claim(first)), b"other")
        second.expect_messages(claim(first), [b"one"])
        first.expect_messages(claim(second), [b"other"])
        assert len(first.manager.connections()) == len(second.manager.connections()) == 1


def test_another_network_or_no_crust_at_all(nodes: Nodes) -> None:
    node, stranger = nodes.make(**TRACER), nodes.make(network="another", dial_timeout=0.3, **TRACER)
    stranger.connect(node)
    stranger.expect(Event.ConnectionFailed)
    secure = nodes.make()
    node = nodes.make(dial_timeout=0.3, **TRACER)
    node.connect(Endpoint.tracer(secure.endpoint.address))
    assert node.expect(Event.ConnectionFailed)
    assert not node.manager.connections()


@pytest.mark.parametrize("said", [{"version": 1}, {"version": 2}, {"version": 2, "network": "00" * 8}])
def test_a_stranger_gets_no_byte(nodes: Nodes, said: dict[str, object]) -> None:
    """Nor the name of the network, with which it could come in."""
    node = nodes.make(handshake_timeout=0.6, network_key=b"k" * 16, **TRACER)
    node.manager.start_listening()
    with socket.create_connection(door(node, Protocol.TRACER).address, PATIENCE) as stranger:
        stranger.sendall(MAGIC + control_frame(HELLO, said))
        assert stranger.recv(1) == b""


# --- never in the way of a proven peer --------------------------------------------------------------------------------


@pytest.mark.parametrize("victim_chooses", [True, False])
def test_a_claim_gets_nothing_of_a_proven_connection(
    nodes: Nodes, impostors: list[Impostor], victim_chooses: bool
) -> None:
    lesser, greater = two_identities()
    victim = nodes.make(identity=greater if victim_chooses else lesser, **BOTH)
    genuine = nodes.make(identity=lesser if victim_chooses else greater)
    join(genuine, victim)
    impostor = Impostor(victim, lesser if victim_chooses else greater)
    impostors.append(impostor)
    assert b'"reason":"duplicate"' in impostor.rest()
    genuine.send(victim, b"still here")
    victim.expect_messages(genuine, [b"still here"])
    assert not victim.count["LostConnection"]
    (info,) = victim.manager.connections()
    assert info.peer_id == genuine.id


@pytest.mark.parametrize("victim_chooses", [True, False])
def test_the_genuine_peer_takes_the_place_of_a_claim(
    nodes: Nodes, impostors: list[Impostor], victim_chooses: bool
) -> None:
    """Also of one that sends all the time: it is not waited for."""
    lesser, greater = two_identities()
    victim = nodes.make(identity=greater if victim_chooses else lesser, **BOTH)
    other = lesser if victim_chooses else greater
    impostor = Impostor(victim, other)
    impostors.append(impostor)
    (impostor.obey if victim_chooses else impostor.choose)()
    false = UnprovenPeerId(bytes(other.peer_id))
    at = victim.link(false)
    impostor.socket.sendall(message_frame(b"a lie"))
    victim.expect_messages(false, [b"a lie"])
    flood = threading.Thread(target=impostor.flood, name="test-flood")
    flood.start()

    genuine = nodes.make(identity=other)
    genuine.connect(door(victim, Protocol.TCP))
    victim.link(genuine)
    flood.join(PATIENCE)
    assert not flood.is_alive()
    (loss,) = victim.losses(false)
    assert loss == Event.LostConnection(at, false, loss.reason)
    assert "unproven" in loss.reason
    genuine.send(victim, b"the truth")
    victim.expect_messages(genuine, [b"the truth"])
    assert victim.heard[other.peer_id] == [b"the truth"]


def test_claims_leave_every_place_to_the_proven(nodes: Nodes, impostors: list[Impostor]) -> None:
    lesser, greater = two_identities()
    victim = nodes.make(identity=greater, max_connections=1, max_connections_per_address=1, **BOTH)
    impostors.append(Impostor(victim, lesser))
    impostors[0].obey()
    victim.link(UnprovenPeerId(bytes(lesser.peer_id)))
    genuine = nodes.make()
    join(genuine, victim)
    assert len(victim.manager.connections()) == 2


def test_honest_nodes_end_with_the_proven_connection(nodes: Nodes) -> None:
    """Whichever is made first."""
    for clear_first in (True, False):
        first, second = nodes.make(**BOTH), nodes.make(**BOTH)
        ways = [door(second, Protocol.TRACER), door(second, Protocol.TCP)]
        for way in ways if clear_first else ways[::-1]:
            first.connect(way)
            if way.protocol is Protocol.TRACER and clear_first:
                second.link(claim(first))
        first.link(second)
        second.link(first)
        for node, peer in ((first, second), (second, first)):
            wait_until(lambda node=node, peer=peer: [i.peer_id for i in node.manager.connections()] == [peer.id])


def test_both_dial_each_other_in_every_way_at_once(nodes: Nodes) -> None:
    for turn in range(5):
        first, second = nodes.make(**BOTH), nodes.make(**BOTH)
        ways = [door(second, Protocol.TRACER), door(second, Protocol.TCP)]
        back = [door(first, Protocol.TRACER), door(first, Protocol.TCP)][:: -1 if turn % 2 else 1]
        pairs = ((first, way) for way in ways), ((second, way) for way in back)
        in_parallel([lambda pair=pair: [node.connect(way) for node, way in pair] for pair in pairs])
        for node, peer in ((first, second), (second, first)):
            node.link(peer)
            wait_until(lambda node=node, peer=peer: [i.peer_id for i in node.manager.connections()] == [peer.id])
            node.send(node.link(peer), b"here")
            peer.expect_messages(node, [b"here"])


def test_what_leads_to_a_proven_connection_stays_with_it(nodes: Nodes) -> None:
    """A tracer endpoint of a peer that is connected leads to the secure connection."""
    first, second = nodes.make(**BOTH), nodes.make(**BOTH)
    first.connect(door(second, Protocol.TCP))
    first.link(second)
    clear = door(second, Protocol.TRACER)
    first.connect(clear)
    wait_until(lambda: clear in first.manager._core.routes)
    first.manager.send(clear, b"sealed all the same")
    second.expect_messages(first, [b"sealed all the same"])
    assert first.count["NewConnection"] == 1


def test_a_listener_in_use_is_replaced(nodes: Nodes) -> None:
    with socket.create_server((LOOPBACK, 0)) as busy:
        taken = busy.getsockname()[1]
        (port,) = nodes.make(tcp_port=None, tracer_port=taken, allow_tracer=True).manager.start_listening()
    assert port.protocol is Protocol.TRACER
    assert port != Port.tracer(taken)


def test_an_answer_that_claims_to_be_somebody(nodes: Nodes) -> None:
    """We dial in clear, and whoever answers says that it is a peer whom we are connected with: that peer is meant."""
    lesser, greater = two_identities()
    node, genuine = nodes.make(identity=greater, **BOTH), nodes.make(identity=lesser)
    join(node, genuine)
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(PATIENCE)
        elsewhere = Endpoint.tracer(server.getsockname())
        node.connect(elsewhere)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(PATIENCE)
            hand = TracerResponder(lesser, network_keys("crust", None), b"impostor")
            sock.sendall(hand.receive(sock.recv(4096)))
            assert sock.recv(4096) == b"", "no word more to somebody who only claims to be a peer"
    wait_until(lambda: elsewhere in node.manager._core.routes)
    node.manager.send(elsewhere, b"for the genuine one")
    genuine.expect_messages(node, [b"for the genuine one"])
