"""Promise 6: dead peers are noticed, and nobody else is taken for dead."""

import pytest

import crust
from crust import ConnectionManager, Endpoint, Event
from crust.transport.framing import PING, PONG, control_frame
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, SCALE, Nodes, loopback_config, wait_until
from tests.manager.proxy import Proxy
from tests.manager.wire import WirePeer

TICK = 0.05 * SCALE
"""Seconds; the keep-alive interval of these tests. Much shorter, and a busy machine would look like a dead peer."""
LIVELY = {"keepalive_interval": TICK, "dead_after": 10 * TICK}


@both_transports
def test_a_peer_from_which_nothing_comes_is_lost(nodes: Nodes) -> None:
    """The original's ``drop_peer_when_no_message_received_within_inactivity_period``."""
    node = nodes.make(**LIVELY)
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        lost = node.expect(Event.LostConnection)
        assert lost.peer_id == peer.id
        assert lost.reason == f"nothing was heard from the peer for {10 * TICK:g} s"
        peer.read_until_closed()


@pytest.mark.parametrize("half", ["both ways", "our way"])
def test_a_cut_cable_is_noticed_by_both(nodes: Nodes, half: str) -> None:
    """Nothing is closed; the network just carries no more."""
    first, second = nodes.make(**LIVELY), nodes.make(**LIVELY)
    with Proxy(second.endpoint) as way:
        first.connect(way.endpoint)
        first.link(second)
        second.link(first)
        way.freeze()
        for node in (first, second):
            assert "nothing was heard" in node.expect(Event.LostConnection).reason


def test_any_byte_is_a_sign_of_life(nodes: Nodes) -> None:
    """A peer of another make that asks instead of answering is alive."""
    node = nodes.make(**LIVELY)
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        for number in range(40):  # each answer comes at the node's next keep-alive at the latest
            peer.send_frame(control_frame(PING, {"t": number}))
            assert peer.await_control(PONG) == {"t": number}
            assert peer.await_control(PING)
        assert node.count["LostConnection"] == 0


@both_transports
def test_an_idle_pair_stays_connected(nodes: Nodes) -> None:
    """The original's ``do_not_drop_peer_even_when_no_data_messages_are_exchanged_within_inactivity_period``."""
    first, second = nodes.pair(**LIVELY)
    # Keep-alives enough for several times the period after which a silent peer is lost.
    idle = first.info(second).bytes_received + 5 * 10 * 25
    wait_until(lambda: first.info(second).bytes_received > idle)
    assert first.count["LostConnection"] == second.count["LostConnection"] == 0
    first.send(second, b"still there?")
    second.expect_messages(first, [b"still there?"])


@both_transports
def test_a_keepalive_measures_the_round_trip(nodes: Nodes) -> None:
    first, second = nodes.pair(**LIVELY)
    at_first = first.info(second).rtt
    assert at_first is not None
    wait_until(lambda: first.info(second).rtt != at_first)
    assert 0 < first.info(second).rtt < 10 * SCALE


def test_a_busy_connection_needs_no_keepalives(nodes: Nodes) -> None:
    """Who sends anyway does not send signs of life as well: the bytes on the wire are those of the messages."""
    node = nodes.make(keepalive_interval=1000.0, dead_after=3000.0)
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        link = node.link(peer.id)
        for number in range(100):
            node.send(link, b"%d" % number)
        assert peer.read_messages(100) == [b"%d" % number for number in range(100)]
        assert PING not in [kind for kind, _ in peer._decoder.take_controls()]


def test_a_user_who_reads_no_events_loses_nobody(nodes: Nodes) -> None:
    """We do not listen to the peer meanwhile; that is not its fault, and it must not think that we are gone either."""
    events = crust.channel(maxsize=1)
    talker = nodes.make(send_queue_bytes=1_000_000, **LIVELY)
    config = loopback_config(max_waiting_events=1, max_waiting_bytes=1, **LIVELY)
    with ConnectionManager(events, config) as manager:
        manager.start_listening()
        talker.connect(Endpoint.tcp((LOOPBACK, manager.start_listening()[0].port)))
        link = talker.expect(Event.NewConnection).endpoint
        for number in range(3):
            talker.send(link, b"%d" % number)
        from_it = talker.info(manager.identity.peer_id).bytes_received + 5 * 10 * 25
        wait_until(lambda: talker.info(manager.identity.peer_id).bytes_received > from_it)
        assert talker.count["LostConnection"] == 0
        assert isinstance(events.get(), Event.NewConnection)
        assert [events.get().data for _ in range(3)] == [b"0", b"1", b"2"]
