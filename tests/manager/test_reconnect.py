"""Promise 2, continued: who comes back replaces their own stale connection, and nothing in transit is lost (T-56)."""

import socket
from pathlib import Path

import pytest

from crust import Endpoint, Event, Identity
from crust.transport.framing import BYE
from crust.transport.hello import SESSION_SIZE
from tests.manager.conftest import CAPACITIES, both_transports, both_transports_slowly
from tests.manager.helpers import LOOPBACK, Node, Nodes, in_parallel, join, two_identities, wait_until
from tests.manager.proxy import Proxy
from tests.manager.wire import WirePeer, raw_socket
from tests.processes import Process

PEER = str(Path(__file__).with_name("scripted_peer.py"))


def ordered(who: str) -> tuple[Identity, Identity]:
    """Identities of (the one who stays, the one who comes back); ``who`` has the greater id."""
    lesser, greater = two_identities()
    return (greater, lesser) if who == "stays" else (lesser, greater)


@pytest.fixture
def long_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was replaced is read for ever, as long as it does not end by itself."""
    monkeypatch.setattr("crust.connecting.retired.QUIET", 1000.0)


def assert_replaced(node: Node, old: Endpoint, new: Endpoint) -> None:
    """The events about the two connections, in order: New(old), Lost(old), New(new)."""
    story = [
        (type(event).__name__, event.endpoint)
        for event in node.log
        if isinstance(event, Event.NewConnection | Event.LostConnection)
    ]
    assert story == [("NewConnection", old), ("LostConnection", old), ("NewConnection", new)]


def held_besides(node: Node, seen: set[Endpoint]) -> Endpoint:
    """Wait until a node with one peer holds a connection that is none of ``seen``, and say which."""
    wait_until(lambda: {info.endpoint for info in node.manager.connections()} - seen)
    (info,) = node.manager.connections()
    return info.endpoint


@pytest.mark.parametrize("greater", ["stays", "comes back"])
@pytest.mark.parametrize("dials_again", ["the one who comes back", "the one who stays"])
def test_a_frozen_connection_is_replaced_when_its_peer_comes_back(nodes: Nodes, greater: str, dials_again: str) -> None:
    """The old process is gone, but nothing on the network said so; the new one has the same identity."""
    stays_id, back_id = ordered(greater)
    stays, gone = nodes.make(identity=stays_id), nodes.make(identity=back_id)
    with Proxy(stays.endpoint) as way:
        gone.connect(way.endpoint)
        old = stays.link(gone)
        gone.link(stays)
        way.freeze()
        gone.stop(0.0)
        assert stays.count["LostConnection"] == 0, "the proxy did not freeze"
        back = nodes.make(identity=back_id)
        if dials_again == "the one who comes back":
            back.connect(stays)
        else:
            stays.connect(back)
        back.send(stays, b"here I am again")
        stays.wait(lambda node: node.heard[back_id.peer_id] == [b"here I am again"])
        new = stays.link(back)
        assert_replaced(stays, old, new)
        assert "new connection in place of this one" in stays.losses(back)[0].reason
        stays.send(new, b"welcome back")
        back.expect_messages(stays, [b"welcome back"])
        assert [info.endpoint for info in stays.manager.connections()] == [new]


@pytest.mark.parametrize("greater", ["stays", "comes back"])
@pytest.mark.parametrize("dialled_first", ["stays", "comes back"])
def test_the_same_run_of_a_peer_may_come_back_as_well(nodes: Nodes, greater: str, dialled_first: str) -> None:
    """Its address changed, say: it gave the old connection up, and the other side does not know."""
    stays_id, back_id = ordered(greater)
    stays, mover = nodes.make(identity=stays_id), nodes.make(identity=back_id)
    dials, listens = (stays, mover) if dialled_first == "stays" else (mover, stays)
    with Proxy(listens.endpoint) as way:
        dials.connect(way.endpoint)
        old = stays.link(mover)
        mover.send(stays, b"before")
        stays.expect_messages(mover, [b"before"])  # and with it, or before, whatever the two tell each other
        way.freeze()
        mover.drop(mover.link(stays))
        mover.connect(stays)
        mover.expect(Event.NewConnection, 2)
        mover.send(stays, b"after")
        stays.expect_messages(mover, [b"before", b"after"])
        assert_replaced(stays, old, stays.link(mover))


@pytest.mark.slow
@both_transports
@pytest.mark.parametrize("greater", ["stays", "comes back"])
def test_a_killed_process_that_comes_back_is_welcome_at_once(nodes: Nodes, tmp_path: Path, greater: str) -> None:
    stays_id, back_id = ordered(greater)
    stays = nodes.make(identity=stays_id)
    arguments = (PEER, back_id.seed.hex(), str(stays.endpoint))
    for life in (1, 2, 3):
        with Process(*arguments) as process:
            process.expect("connected")
            stays.expect(Event.NewConnection, life)
            stays.send(stays.link(back_id.peer_id), b"life %d" % life)
            process.expect(f"heard life {life}")
        # The end of "with" kills it: no goodbye.
    stays.expect(Event.LostConnection, 3)
    assert {event.reason for event in stays.losses(back_id.peer_id)} <= {
        "the peer ended without a goodbye (it crashed, was killed, or the network was cut)",
        "Connection reset by peer: the peer or a box on the way reset the connection",
        "the peer has made a new connection in place of this one",
        "the peer's port is closed: its program ended, or its address changed",  # uTP: the system says so for the dead
    }


@pytest.mark.parametrize("greater", ["stays", "comes back"])
def test_who_comes_back_again_and_again_is_connected_once(nodes: Nodes, long_quiet: None, greater: str) -> None:
    """While the oldest connection is still being read, of those that wait only the latest counts."""
    stays_id, back_id = ordered(greater)
    stays = nodes.make(identity=stays_id)
    with Proxy(stays.endpoint) as way:
        gone = nodes.make(identity=back_id)
        gone.connect(way.endpoint)
        old = stays.link(gone)
        gone.link(stays)
        way.freeze()
        gone.stop(0.0)
        seen = {old}
        for _ in range(2):
            waiting = nodes.make(identity=back_id)
            waiting.connect(stays)
            waiting.link(stays)
            seen.add(held_besides(stays, seen))
            waiting.stop(0.0)
        back = nodes.make(identity=back_id)
        back.connect(stays)
        back.send(stays, b"here I am again")
        latest = held_besides(stays, seen)  # who chooses knows of the connection before the other one does
        assert stays.count == {"NewConnection": 1}
    # The proxy is gone, and with it the oldest connection.
    stays.wait(lambda node: node.heard[back_id.peer_id] == [b"here I am again"])
    assert_replaced(stays, old, latest)


@pytest.mark.parametrize("end", ["stop", "drop"])
def test_a_connection_that_waits_for_its_predecessor_can_be_ended(nodes: Nodes, long_quiet: None, end: str) -> None:
    """It was never announced, so nothing is said of it; the other side hears that it ended."""
    stays, gone = nodes.make(), nodes.make()
    with Proxy(stays.endpoint) as way:
        gone.connect(way.endpoint)
        old = stays.link(gone)
        gone.link(stays)
        way.freeze()
        gone.stop(0.0)
        back = nodes.make(identity=gone.manager.identity)
        stays.connect(back)
        back.link(stays)
        wait_until(lambda: [info.endpoint for info in stays.manager.connections()] == [back.endpoint])
        if end == "stop":
            stays.stop(0.0)
        else:
            stays.manager.drop_node(back.endpoint)
        back.expect(Event.LostConnection)
        assert stays.count["LostConnection"] == 0
    if end == "drop":
        assert stays.expect(Event.LostConnection).endpoint == old
    assert stays.count["NewConnection"] == 1


def test_a_choice_that_did_not_arrive_is_given_up(nodes: Nodes) -> None:
    """The network died between CHOOSE and CHOSEN: the peer knows nothing of a connection that we believe in."""
    silent, honest, greatest = sorted((Identity() for _ in range(3)), key=lambda identity: identity.peer_id)
    node = nodes.make(identity=greatest, handshake_timeout=1.5, dead_after=1000.0, keepalive_interval=500.0)
    answering = nodes.make(identity=honest)
    join(node, answering)
    session = bytes(SESSION_SIZE)
    with socket.create_server((LOOPBACK, 0)) as server:
        node.connect(Endpoint.tcp(server.getsockname()))
        with WirePeer(server.accept()[0], dials=False, identity=silent, session=session) as peer:
            peer.prove()
            lost = node.expect(Event.LostConnection)
    assert (lost.peer_id, lost.reason) == (
        silent.peer_id,
        "the peer did not answer within 1.5 s that this connection was chosen",
    )
    with WirePeer.dial(node.endpoint, identity=silent, session=session) as back:
        back.settle()
        back.send_messages(b"here I am again")
        node.expect_messages(silent.peer_id, [b"here I am again"])
        # Who has answered stays, however silent it is since.
        assert {info.peer_id for info in node.manager.connections()} == {silent.peer_id, honest.peer_id}


@pytest.mark.parametrize(
    ("serial", "alone", "why"),
    [(2, False, "it still has the first one"), (0, True, "its handshake is older than the first one's")],
)
def test_a_second_connection_does_not_replace_a_good_one(nodes: Nodes, serial: int, alone: bool, why: str) -> None:
    """The same run of a peer, which has given nothing up."""
    lesser, greater = two_identities()
    hub = nodes.make(identity=greater)
    session = bytes(SESSION_SIZE)
    with (
        WirePeer(raw_socket(hub.endpoint), identity=lesser, session=session) as first,
        WirePeer(raw_socket(hub.endpoint), identity=lesser, session=session) as second,
    ):
        first.prove(serial=1)
        first.settle()
        hub.link(lesser.peer_id)
        second.prove(serial, alone)
        ((kind, content),) = second.read_controls()
        assert (kind, content["reason"]) == (BYE, "duplicate"), why
        first.send_messages(b"still here")
        hub.expect_messages(lesser.peer_id, [b"still here"])
        assert hub.count["NewConnection"] == 1


@both_transports
@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
def test_what_both_send_at_once_upon_the_first_event_all_arrives(nodes: Nodes) -> None:
    """Both dial at once, so there are two connections to choose from, and both talk as soon as they may (T-56)."""
    for _ in range(15):
        pair = nodes.make(), nodes.make()
        words = [b"%d" % number for number in range(50)]

        def talk(node: Node, other: Node, words: list[bytes] = words) -> None:
            node.connect(other)
            for word in words:
                node.send(other, word)

        in_parallel([lambda a=a, b=b: talk(a, b) for a, b in (pair, pair[::-1])])
        for node, other in (pair, pair[::-1]):
            node.expect_messages(other, words)
        in_parallel([node.stop for node in pair])
        assert [node.count["NewConnection"] for node in pair] == [1, 1]


@both_transports_slowly
@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
@pytest.mark.parametrize("greater", ["stays", "comes back"])
def test_what_was_sent_before_a_drop_arrives_although_a_new_connection_follows(nodes: Nodes, greater: str) -> None:
    """``send``, ``drop_node``, ``connect``: the old connection is still delivering when the new one comes up."""
    stays_id, back_id = ordered(greater)
    stays, mover = nodes.make(identity=stays_id), nodes.make(identity=back_id)
    join(mover, stays)
    before = [b"%d" % number + bytes(100_000) for number in range(30)]
    for word in before:
        mover.send(stays, word)
    mover.drop(mover.link(stays))
    mover.connect(stays)
    mover.expect(Event.NewConnection, 2)
    mover.send(stays, b"after")
    stays.expect_messages(mover, [*before, b"after"])
