"""Reaching peers that cannot simply be dialled: through a peer in common, and with lines of text; on real sockets."""

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import crust
from crust import ConfigError, ConnectionManager, Endpoint, Event, Identity, ManagerStopped
from crust.discovery.contact import Contact, Source
from crust.discovery.contact_book import Promise
from crust.errors import Malformed
from crust.finding.finder import Finder
from crust.identity import PeerId
from crust.nat.connection_info import PREFIX, ConnectionInfo
from crust.reach import reach, wishes
from crust.reach.encounter import TCP_NAME, UDP_NAME
from crust.reach.meetings import NO_CARRIER
from crust.reach.wishes import MEETING_NAME, RELAY_NAME
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, PATIENCE, Node, Nodes, in_parallel, join, loopback_config, wait_until
from tests.manager.test_stop import crust_threads

BOTH = {"tcp_port": 0, "utp_port": 0}


@pytest.fixture
def nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gossip tells of peers is not dialled, so that there is nothing but a meeting."""
    monkeypatch.setattr(Finder, "endpoints_of", lambda finder, peer_id: ())


@pytest.fixture
def closed() -> Iterator[Endpoint]:
    """Where nobody listens, and nobody will: it is bound."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        yield Endpoint.tcp(sock.getsockname())


def core(node: Node) -> Any:
    """What its thread works on."""
    return node.manager._core


def around_a_third(nodes: Nodes, **settings: Any) -> tuple[Node, Node, Node]:
    """Two nodes, and one to which both are connected."""
    carrier, one, other = (nodes.make(**settings) for _ in range(3))
    join(one, carrier)
    join(other, carrier)
    return one, other, carrier


def talk(one: Node, other: Node) -> None:
    """They have one connection, and messages go both ways."""
    for here, there in ((one, other), (other, one)):
        link = here.link(there)
        here.send(link, b"from %d" % id(here))
    one.expect_messages(other, [b"from %d" % id(other)])
    other.expect_messages(one, [b"from %d" % id(one)])
    for here, there in ((one, other), (other, one)):
        assert len([event for event in here.news if getattr(event, "peer_id", None) == there.id]) == 1
        assert not here.losses(there)
        assert here.count["ConnectionFailed"] == 0


# --- by the peer's id -----------------------------------------------------------------------------


@both_transports
def test_one_reaches_the_other_through_the_third(nodes: Nodes, nobody_tells: None) -> None:
    one, other, carrier = around_a_third(nodes)
    one.manager.connect_peer(other.id)
    talk(one, other)
    assert one.link(other).protocol is one.endpoint.protocol
    assert carrier.count["NewConnection"] == 2


@pytest.mark.parametrize("settings", [{}, BOTH], ids=["one transport", "two transports"])
@both_transports
def test_both_reach_for_each_other_at_once(nodes: Nodes, nobody_tells: None, settings: dict[str, int]) -> None:
    """One connection comes of it, and one event each."""
    one, other, _ = around_a_third(nodes, **settings)
    in_parallel([lambda: one.manager.connect_peer(other.id), lambda: other.manager.connect_peer(one.id)])
    talk(one, other)


def test_tcp_is_favoured(nodes: Nodes, nobody_tells: None) -> None:
    one, other, _ = around_a_third(nodes, **BOTH)
    one.manager.connect_peer(other.id)
    talk(one, other)
    assert str(one.link(other)).startswith("tcp://")


def test_what_is_known_of_the_peer_is_dialled(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody in between."""
    one, other = nodes.make(), nodes.make()
    monkeypatch.setattr(Finder, "endpoints_of", lambda finder, peer_id: (other.endpoint,))
    one.manager.connect_peer(other.id)
    talk(one, other)
    assert one.link(other) == other.endpoint


def test_who_is_connected_is_not_reached_again(nodes: Nodes) -> None:
    one, other = nodes.pair()
    one.manager.connect_peer(other.id)
    talk(one, other)


def test_a_peer_that_nobody_knows(nodes: Nodes) -> None:
    """The event says whom it is about, and what was tried."""
    one, _, _ = around_a_third(nodes)
    stranger = Identity().peer_id
    one.manager.connect_peer(stranger)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.peer_id == stranger
    assert failed.endpoints == ()
    assert failed.reason == {}
    assert list(failed.methods) == [MEETING_NAME, RELAY_NAME]
    assert failed.methods[MEETING_NAME].count("has no connection with that peer") == 1


def test_a_node_that_is_alone(nodes: Nodes) -> None:
    one = nodes.make()
    one.manager.connect_peer(Identity().peer_id)
    assert one.expect(Event.ConnectionFailed).methods == {MEETING_NAME: NO_CARRIER}


def test_who_is_on_the_blacklist_is_not_met(nodes: Nodes, nobody_tells: None) -> None:
    one, other, _ = around_a_third(nodes, **BOTH)
    other.manager.blacklist(one.id)
    one.manager.connect_peer(other.id)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.peer_id == other.id
    assert "it is not welcome here" in failed.methods[MEETING_NAME]
    assert other.count == {"NewConnection": 1}
    assert one.count == {"NewConnection": 1, "ConnectionFailed": 1}


def test_peers_that_prove_nothing_carry_nothing(nodes: Nodes, nobody_tells: None) -> None:
    """Over tracer connections anybody may claim to be anybody."""
    one, other, carrier = (nodes.make(tcp_port=None, tracer_port=0, allow_tracer=True) for _ in range(3))
    for node in (one, other):
        node.connect(carrier)
        node.expect(Event.NewConnection)
    one.manager.connect_peer(other.id)
    assert one.expect(Event.ConnectionFailed).methods == {MEETING_NAME: NO_CARRIER}
    assert other.count == {"NewConnection": 1}


@pytest.mark.parametrize("wrong", [None, "", "00" * 32, b"1" * 32])
def test_what_is_no_peer_id(wrong: Any) -> None:
    manager = ConnectionManager(crust.channel(), loopback_config())
    with pytest.raises(ConfigError, match=r"write PeerId\.parse"):
        manager.connect_peer(wrong)
    with pytest.raises(ConfigError, match="own id"):
        manager.connect_peer(manager.identity.peer_id)
    manager.stop()
    with pytest.raises(ManagerStopped):
        manager.connect_peer(Identity().peer_id)


# --- connect() that comes to nothing --------------------------------------------------------------


def know(node: Node, peer_id: PeerId, *endpoints: Endpoint) -> None:
    """As if gossip or the cache had told."""
    core(node).finder._book.add(Contact(endpoints, peer_id, Source.CACHE), Promise.TOLD)


@both_transports
def test_a_known_peer_that_cannot_be_dialled_is_met(nodes: Nodes, closed: Endpoint) -> None:
    one, other, _ = around_a_third(nodes)
    know(one, other.id, closed)
    one.manager.connect(closed)
    talk(one, other)


def test_a_known_peer_that_is_not_there_any_more(nodes: Nodes, closed: Endpoint) -> None:
    """One event tells what became of the dialling and of the meeting."""
    one, _, _ = around_a_third(nodes)
    gone = Identity().peer_id
    know(one, gone, closed)
    one.manager.connect(closed)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.endpoints == (closed,)
    assert "nothing listens" in failed.reason[closed]
    assert failed.peer_id == gone
    assert MEETING_NAME in failed.methods


def test_an_unknown_endpoint_fails_at_once(nodes: Nodes, closed: Endpoint) -> None:
    one, _, _ = around_a_third(nodes)
    one.manager.connect(closed)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.peer_id is None
    assert failed.methods == {}


def test_an_old_endpoint_of_who_is_connected_fails_at_once(nodes: Nodes, closed: Endpoint) -> None:
    """There is nobody to be met: the peer is there already, and its connection stays."""
    one, other, _ = around_a_third(nodes)
    join(one, other)
    know(one, other.id, closed)
    one.manager.connect(closed)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.endpoints == (closed,)
    assert failed.methods == {}
    assert not one.losses(other)


# --- with lines of text ---------------------------------------------------------------------------


def line(node: Node, count: int = 1) -> str:
    """What is to be brought to the peer."""
    node.manager.prepare_connection_info(("my token", count))
    prepared = node.expect(Event.ConnectionInfoPrepared, count)
    assert prepared.token == ("my token", count)
    assert prepared.info.peer_id == node.id
    text: str = prepared.info.encode()
    return text


@both_transports
def test_two_people_bring_each_other_a_line(nodes: Nodes) -> None:
    """Nobody else is there. One line comes broken, as e-mail breaks it."""
    one, other = nodes.make(), nodes.make()
    here, there = line(one), line(other)
    one.manager.rendezvous_connect(there[:40] + "\r\n   " + there[40:] + "\n")
    other.manager.rendezvous_connect(ConnectionInfo.parse(here))
    talk(one, other)


def test_an_older_line_is_as_good_if_one_says_which(nodes: Nodes) -> None:
    one, other = nodes.make(**BOTH), nodes.make(**BOTH)
    first = line(one)
    second = line(one, 2)
    assert first != second
    there = line(other)
    one.manager.rendezvous_connect(there, first)
    other.manager.rendezvous_connect(first)
    talk(one, other)


def test_both_over_the_lines_and_through_a_third(nodes: Nodes, nobody_tells: None) -> None:
    one, other, _ = around_a_third(nodes, **BOTH)
    here, there = line(one), line(other)
    one.manager.connect_peer(other.id)
    other.manager.rendezvous_connect(here)
    one.manager.rendezvous_connect(there)
    other.manager.connect_peer(one.id)
    talk(one, other)


def test_who_is_connected_is_not_met(nodes: Nodes) -> None:
    one, other = nodes.pair()
    one.manager.rendezvous_connect(line(other), line(one))
    talk(one, other)


def test_a_line_of_ones_own_is_needed(nodes: Nodes) -> None:
    one, other = nodes.make(), nodes.make()
    theirs = line(other)
    one.manager.rendezvous_connect(theirs)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.peer_id == other.id
    assert failed.endpoints == (other.endpoint,)
    assert "prepare_connection_info() comes first" in failed.methods[MEETING_NAME]


def test_lines_that_are_none(nodes: Nodes) -> None:
    one, other = nodes.make(), nodes.make()
    own, theirs = line(one), line(other)
    for wrong, why in (
        ("", "copy the whole line"),
        ("hello", "copy the whole line"),
        (PREFIX, "incomplete or damaged"),
        (theirs[:-1], "incomplete or damaged"),
        (theirs[:30] + ("A" if theirs[30] != "A" else "B") + theirs[31:], "incomplete or damaged"),
        (theirs + theirs, "incomplete or damaged"),
    ):
        with pytest.raises(Malformed, match=why):
            one.manager.rendezvous_connect(wrong)
        with pytest.raises(Malformed, match=why):
            one.manager.rendezvous_connect(theirs, wrong)
    with pytest.raises(ConfigError, match="wants the peer's"):
        one.manager.rendezvous_connect(own)
    one.manager.rendezvous_connect(theirs)
    other.manager.rendezvous_connect(own)
    talk(one, other)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rendezvous takes a second, and not a minute."""
    monkeypatch.setattr(reach, "RENDEZVOUS_SECONDS", 1.0)
    monkeypatch.setattr(reach, "PUNCH_SECONDS", 1.0)


def test_the_peer_does_not_come(nodes: Nodes, hasty: None, closed: Endpoint) -> None:
    """What each way met is told."""
    one, other = nodes.make(**BOTH), nodes.make(**BOTH)
    theirs = ConnectionInfo.parse(line(other))
    other.stop()
    line(one)
    one.manager.rendezvous_connect(theirs)
    failed = one.expect(Event.ConnectionFailed)
    assert failed.peer_id == other.id
    assert set(failed.methods) == {TCP_NAME, UDP_NAME}
    assert all(failed.methods.values())


def test_somebody_else_is_there(nodes: Nodes, hasty: None) -> None:
    """Who is at the addresses of a line and is not the one of the line does not become a connection."""
    one, other = nodes.make(), nodes.make()
    theirs = ConnectionInfo.parse(line(other))
    line(one)
    one.manager.rendezvous_connect(ConnectionInfo(Identity().peer_id, theirs.candidates))
    failed = one.expect(Event.ConnectionFailed)
    assert f"{other.id} is there, and not {failed.peer_id}" in failed.methods[TCP_NAME]
    assert one.count["NewConnection"] == other.count["NewConnection"] == 0


# --- stop() in the middle -------------------------------------------------------------------------


def stop_and_look(node: Node) -> None:
    """Nothing is left (and no descriptor: every test is watched for that), and nothing was said after the end."""
    node.stop()
    assert node.log[-1] == Event.Stopped()


@both_transports
def test_stop_right_after_connect_peer(nodes: Nodes, nobody_tells: None) -> None:
    for stopper in range(2):
        trio = around_a_third(nodes)
        one, other, _ = trio
        one.manager.connect_peer(other.id)
        stop_and_look(trio[stopper])
        in_parallel([node.stop for node in trio])
        assert crust_threads() == []


def test_stop_while_the_carrier_says_nothing(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.reach.meetings.Meetings._carry", lambda *_: None)
    one, other, _ = around_a_third(nodes)
    one.manager.connect_peer(other.id)
    wait_until(lambda: core(one).reach._meetings._sought)
    stop_and_look(one)
    assert one.count["ConnectionFailed"] == 0


def test_stop_while_dialling_before_the_meeting(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wish is there, dialling goes on, and nobody has been asked yet."""
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen(16)
        monkeypatch.setattr(Finder, "endpoints_of", lambda *_: (Endpoint.tcp(silent.getsockname()),))
        monkeypatch.setattr(wishes, "MEETING_AFTER", PATIENCE)
        one = nodes.make(linger=0.0)
        for _ in range(3):
            one.manager.connect_peer(Identity().peer_id)
        wait_until(lambda: len(core(one).reach.wishes) == 3)
        stop_and_look(one)
        assert crust_threads() == []
        assert one.count == {"Stopped": 1}


@both_transports
def test_stop_while_holes_are_punched(nodes: Nodes, closed: Endpoint) -> None:
    one, other = nodes.make(linger=0.0), nodes.make()
    theirs = ConnectionInfo.parse(line(other))
    line(one)
    other.stop()
    one.manager.rendezvous_connect(theirs)
    wait_until(lambda: any(name in ("crust-errand", "crust-tcp-punch") for name in crust_threads()))
    stop_and_look(one)
    assert crust_threads() == []
    assert one.count["ConnectionFailed"] == 0


def test_stop_while_others_are_asked_where_they_see_us(nodes: Nodes) -> None:
    """Servers that do not answer take seconds, and names that nobody has take longer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        server = f"{LOOPBACK}:{silent.getsockname()[1]}"
        one = nodes.make(linger=0.0, utp_port=0, stun_servers=(server, "localhost:9"))
        one.manager.prepare_connection_info()
        silent.settimeout(PATIENCE)
        assert silent.recv(2000)
        stop_and_look(one)
        assert crust_threads() == []
        assert one.count == {"Stopped": 1}


def test_after_stop_nothing_works(nodes: Nodes) -> None:
    one, other = nodes.make(), nodes.make()
    theirs = line(other)
    one.stop()
    with pytest.raises(ManagerStopped):
        one.manager.connect_peer(other.id)
    with pytest.raises(ManagerStopped):
        one.manager.prepare_connection_info()
    with pytest.raises(ManagerStopped):
        one.manager.rendezvous_connect(theirs)


# --- how the node is reached ----------------------------------------------------------------------


def test_the_status_can_be_asked_for_at_any_time(nodes: Nodes, nobody_tells: None) -> None:
    one, other, carrier = around_a_third(nodes, **BOTH)
    assert str(one.endpoint) in str(one.manager.nat_status())
    one.manager.connect_peer(other.id)
    while one.count["NewConnection"] < 2:
        for node in (one, other, carrier):
            assert node.manager.nat_status().lines()
    talk(one, other)
    one.stop()
    assert one.manager.nat_status().lines(), "it knows nothing any more, and says so"
    assert one.manager.nat_status().own == ()


def test_a_manager_that_did_nothing_has_a_status() -> None:
    manager = ConnectionManager(crust.channel(), loopback_config())
    assert manager.nat_status().as_dict()["own"] == []
    manager.stop()


def test_the_status_from_inside_ones_own_put() -> None:
    """The manager thread cannot wait for itself."""

    class Asker:
        def __init__(self) -> None:
            self.told: queue.SimpleQueue[str] = queue.SimpleQueue()

        def put(self, event: Any) -> None:
            if isinstance(event, Event.ConnectionFailed):
                self.told.put(f"{threading.current_thread().name}: {manager.nat_status().lines()[0]}")

    events = Asker()
    with ConnectionManager(events, loopback_config()) as manager:
        manager.connect_peer(Identity().peer_id)
        assert events.told.get(timeout=PATIENCE).startswith("crust-manager: ")


def test_where_others_see_it_is_found_out(nodes: Nodes) -> None:
    """By the answers of other nodes; on this machine there is no translation."""
    servers = [nodes.make(**BOTH) for _ in range(2)]
    addresses = [node.manager.start_listening()[1] for node in servers]
    one = nodes.make(**BOTH, stun_servers=tuple(f"{LOOPBACK}:{each.port}" for each in addresses))
    info = ConnectionInfo.parse(line(one))
    assert info.behaviour.mapping.consistent
    status = one.manager.nat_status()
    assert (status.nat.asked, status.nat.answered) == (2, 2)
    assert "There is no address translation" in str(status)
