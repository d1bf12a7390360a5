"""TCP and uTP beside each other: both are listened on, TCP is favoured, and there is one connection all the same."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from crust import Endpoint, Event, ListenFailed, Port, Protocol
from crust.limits import TCP_HEAD_START
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Node, Nodes, in_parallel, two_identities, wait_until
from tests.manager.test_stop import black_hole, crust_threads
from tests.manager.utp_wire import UtpWire
from tests.manager.wire import PATIENCE, WirePeer


def over_both(nodes: Nodes, **settings: object) -> Node:
    """A node that listens on TCP and uTP."""
    return nodes.make(utp_port=0, **settings)


def doors(node: Node) -> dict[Protocol, Endpoint]:
    """Where it listens."""
    return {endpoint.protocol: endpoint for endpoint in node.manager.get_own_endpoints()}


def utp_sockets(node: Node) -> int:
    """How many UDP sockets it has."""
    return len(node.manager._core.utp.sockets)


@pytest.fixture
def unused() -> Iterator[int]:
    """A port on which nobody listens, neither on TCP nor on UDP."""
    with ExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


# --- listening ------------------------------------------------------------------------------------


def test_both_are_listened_on_with_one_number(nodes: Nodes) -> None:
    node = over_both(nodes)
    tcp, utp = node.manager.start_listening()
    assert (tcp.protocol, utp.protocol) == (Protocol.TCP, Protocol.UTP)
    assert tcp.port == utp.port  # any would do, so the one that is known already is tried first
    assert node.manager.get_own_endpoints() == [
        Endpoint.tcp((LOOPBACK, tcp.port)),
        Endpoint.utp((LOOPBACK, utp.port)),
    ]


def test_a_busy_udp_port_does_not_touch_tcp(nodes: Nodes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as busy:
        busy.bind((LOOPBACK, 0))
        port = busy.getsockname()[1]
        tcp, utp = nodes.make(utp_port=port).manager.start_listening()
    assert tcp.protocol is Protocol.TCP
    assert utp.protocol is Protocol.UTP
    assert utp.port not in (0, port)


def test_one_transport_that_cannot_be_listened_on_is_reported(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(hosts: tuple[str, ...], port: int, failed: dict[str, str]) -> list[socket.socket]:
        raise ListenFailed("made up")

    monkeypatch.setattr("crust.connecting.listening.listen_everywhere", listen)
    node = over_both(nodes)
    (utp,) = node.manager.start_listening()
    assert utp.protocol is Protocol.UTP
    assert node.expect(Event.ListenerFailed) == Event.ListenerFailed(Port.tcp(0), "made up")
    nodes.make(listen=False).connect(node)
    node.expect(Event.NewConnection)


# --- connecting -----------------------------------------------------------------------------------


def test_tcp_is_favoured(nodes: Nodes) -> None:
    hub, guest = over_both(nodes), nodes.make(listen=False)
    guest.manager.connect(sorted(hub.manager.get_own_endpoints(), reverse=True))
    assert guest.expect(Event.NewConnection).endpoint.protocol is Protocol.TCP
    assert utp_sockets(guest) == 0


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_utp_is_the_fallback(nodes: Nodes, unused: int, how: str) -> None:
    """At once where TCP is refused; where it is silent, when its head start is over."""
    hub, guest = over_both(nodes), nodes.make(listen=False)
    with black_hole() as silent:
        closed = Endpoint.tcp((LOOPBACK, unused))
        guest.manager.connect([doors(hub)[Protocol.UTP], closed if how == "refused" else silent])
        assert guest.expect(Event.NewConnection).endpoint == doors(hub)[Protocol.UTP]
    guest.send(hub, b"over uTP")
    hub.expect_messages(guest, [b"over uTP"])


def test_why_each_failed_is_told(nodes: Nodes, unused: int) -> None:
    guest = nodes.make(listen=False)
    tcp, utp = Endpoint.tcp((LOOPBACK, unused)), Endpoint.utp((LOOPBACK, unused))
    guest.manager.connect([utp, tcp])
    failed = guest.expect(Event.ConnectionFailed)
    assert set(failed.reason) == {tcp, utp}
    assert all("nothing listens on that port" in reason for reason in failed.reason.values())


def test_one_dials_from_the_port_that_one_listens_on(nodes: Nodes) -> None:
    hub, guest = over_both(nodes), over_both(nodes)
    guest.connect(doors(hub)[Protocol.UTP])
    assert hub.expect(Event.NewConnection).endpoint == doors(guest)[Protocol.UTP]
    assert utp_sockets(guest) == 1


def test_who_does_not_listen_opens_one_udp_socket_and_keeps_it(nodes: Nodes) -> None:
    hubs, guest = [over_both(nodes) for _ in range(3)], nodes.make(listen=False)
    for hub in hubs:
        guest.connect(doors(hub)[Protocol.UTP])
        guest.link(hub)
    assert len({event.endpoint for hub in hubs for event in hub.news}) == 1
    assert utp_sockets(guest) == 1
    for hub in hubs:
        guest.drop(guest.link(hub))
    assert utp_sockets(guest) == 1
    guest.stop()
    for hub in hubs:
        hub.expect(Event.LostConnection)


# --- one connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("greater", ["dialler", "listener"])
def test_reached_by_both_at_once_is_one_connection(nodes: Nodes, greater: str) -> None:
    for _ in range(5):
        lesser_id, greater_id = two_identities()
        ids = (greater_id, lesser_id) if greater == "dialler" else (lesser_id, greater_id)
        guest, hub = (over_both(nodes, identity=identity) for identity in ids)
        in_parallel([partial(guest.connect, door) for door in doors(hub).values()])
        for number in range(20):
            guest.send(hub, b"%d" % number)
        hub.expect_messages(guest, [b"%d" % number for number in range(20)])
        assert len(hub.manager.connections()) == len(guest.manager.connections()) == 1
        in_parallel([guest.stop, hub.stop])
        assert (guest.count["NewConnection"], hub.count["NewConnection"]) == (1, 1)


def test_one_over_tcp_the_other_over_utp_at_once(nodes: Nodes) -> None:
    for _ in range(5):
        first, second = over_both(nodes), over_both(nodes)
        there, back = doors(second)[Protocol.TCP], doors(first)[Protocol.UTP]
        in_parallel([partial(first.connect, there), partial(second.connect, back)])
        first.send(second, b"hello")
        second.send(first, b"hello")
        first.expect_messages(second, [b"hello"])
        second.expect_messages(first, [b"hello"])
        in_parallel([first.stop, second.stop])
        assert (first.count["NewConnection"], second.count["NewConnection"]) == (1, 1)


def test_who_is_connected_over_one_is_not_dialled_over_the_other(nodes: Nodes) -> None:
    """The other endpoint leads to the same connection."""
    hub, guest = over_both(nodes), nodes.make(listen=False)
    guest.connect(doors(hub)[Protocol.TCP])
    guest.link(hub)
    guest.connect(doors(hub)[Protocol.UTP])
    wait_until(lambda: doors(hub)[Protocol.UTP] in guest.manager._core.routes)
    guest.manager.send(doors(hub)[Protocol.UTP], b"hello")
    hub.expect_messages(guest, [b"hello"])
    assert (guest.count["NewConnection"], hub.count["NewConnection"]) == (1, 1)


def test_a_new_node_at_the_address_of_one_that_has_vanished_gets_in_at_once(nodes: Nodes) -> None:
    """It has the port, so the other has not: nobody waits until that one's silence is noticed."""
    hub = over_both(nodes, keepalive_interval=100.0, dead_after=200.0)
    with WirePeer(UtpWire(doors(hub)[Protocol.UTP], LOOPBACK, PATIENCE)) as first:
        first.prove()
        first.settle()
        hub.link(first.id)
        port = first.sock.getsockname()[1]
        first.sock.vanish()
        with WirePeer(UtpWire(doors(hub)[Protocol.UTP], LOOPBACK, PATIENCE, port=port)) as second:
            second.prove()
            second.settle()
            hub.link(second.id)
            second.send_messages(b"hello")
            hub.wait(lambda node: node.heard[second.id] == [b"hello"])
            (lost,) = hub.losses(first.id)
            # Which of the two is noticed first is chance: the newcomer, or its answer to what was meant for the other.
            assert lost.reason.startswith(("another node has come from its address", "the peer reset the connection"))
            assert [info.peer_id for info in hub.manager.connections()] == [second.id]


# --- the end --------------------------------------------------------------------------------------


@both_transports
def test_nothing_is_left_after_stop(nodes: Nodes) -> None:
    first, second = over_both(nodes), over_both(nodes)
    first.connect(doors(second)[Protocol.UTP if nodes.transport == "utp" else Protocol.TCP])
    first.link(second)
    in_parallel([first.stop, second.stop])
    assert crust_threads() == []


def test_the_head_start_is_shorter_than_anybodys_patience() -> None:
    """And longer than a round trip over most paths."""
    assert 0.1 <= TCP_HEAD_START <= 0.5
