"""What a user hears of those who send too much, or break the protocol."""

from contextlib import ExitStack, closing
from typing import Any

import pytest

from crust import Event
from crust.connecting import acceptor
from crust.defence import ledger, metering
from crust.defence.metering import CONTROLS, FAILURES, HANDSHAKES, MESSAGES
from crust.manager import core as manager_core
from crust.transport.framing import CHOOSE, CONTACTS, control_frame
from tests.hand_clock import HandClock
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Node, Nodes, join, wait_until
from tests.manager.test_hostile import assert_serves
from tests.manager.wire import WirePeer, raw_socket, read_to_end

NEWS = control_frame(0x5A, {})


def settled(node: Node) -> WirePeer:
    """A peer that is connected and does what the test likes."""
    peer = WirePeer.dial(node.endpoint)
    peer.settle()
    node.link(peer.id)
    return peer


def test_a_flood_of_control_frames_is_told_once_and_ends(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "READ_PAUSE", 0.01)
    node = nodes.make()
    with settled(node) as peer:
        try:
            while node.count["LostConnection"] == 0:
                peer.send_frame(*[NEWS] * 1000)
        except ConnectionError:
            pass
        lost = node.expect(Event.LostConnection)
        assert lost.reason.endswith("control frames a second, where 50 are allowed, and did not slow down")
    flood = node.expect(Event.Flood)
    assert (flood.endpoint, flood.peer_id, flood.kind, flood.limit) == (lost.endpoint, peer.id, CONTROLS, 50)
    assert flood.rate > 50
    assert node.count["Flood"] == 1
    assert node.log.index(flood) < node.log.index(lost)
    assert_serves(node, nodes)


@both_transports
def test_a_peer_that_sends_too_much_is_slowed_and_loses_nothing(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sends is left in the network: everything arrives, at the limit, however much comes at once. Pauses of
    this kind are not cut short, so no debt is left for the next look."""
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 0.1))
    monkeypatch.setattr(metering, "READ_PAUSE", 0.001)
    host = nodes.make(max_messages_per_second=100)
    fast = nodes.make()
    join(fast, host)
    messages = [b"%d" % number + bytes(10_000) for number in range(100)]  # more than one look finds
    for message in messages:
        fast.send(host, message)
    host.expect_messages(fast, messages)
    flood = host.expect(Event.Flood)
    assert (flood.peer_id, flood.kind, flood.limit) == (fast.id, MESSAGES, 100)
    assert not host.losses(fast)


def test_a_peer_that_is_held_back_for_too_long_has_to_go(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 0.1))
    monkeypatch.setattr(metering, "LONGEST_FLOOD", 0.2)
    host = nodes.make(max_messages_per_second=100)
    with settled(host) as peer:
        try:
            while not host.losses(peer.id):
                peer.send_messages(*[bytes(10_000)] * 5)  # at one look there are a few dozen at the most
        except ConnectionError:
            pass
        lost = host.expect(Event.LostConnection)
    assert lost.reason.endswith("messages a second, where 100 are allowed, and did not slow down")
    assert host.expect(Event.Flood).kind == MESSAGES
    assert_serves(host, nodes)


def test_by_default_a_fast_peer_is_never_told_of(nodes: Nodes) -> None:
    host = nodes.make()
    fast = nodes.make()
    join(fast, host)
    for _ in range(20_000):
        fast.send(host, b"x")
    for _ in range(20):
        fast.send(host, bytes(1_000_000))
    host.wait(lambda node: node.count["NewMessage"] == 20_020)
    assert host.count["Flood"] == fast.count["Flood"] == 0


def test_a_neighbourhood_has_half_of_the_places(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of this machine have no neighbours, so here those of a /24 of it are taken for some."""
    monkeypatch.setattr(acceptor, "neighbourhood", lambda host: host.rpartition(".")[0])
    node = nodes.make(max_half_open=8, max_half_open_per_address=2, handshake_timeout=600.0)
    with ExitStack() as stack:

        def come(network: str, count: int) -> list[Any]:
            found = [raw_socket(node.endpoint, f"{network}.{number}") for number in range(1, 1 + count)]
            return [stack.enter_context(closing(sock)) for sock in found]

        first = come("127.5.0", 7)
        assert [read_to_end(sock) for sock in first[:3]] == [b""] * 3, "the eldest of them have to go"
        assert node.manager._started().half_open == 4
        come("127.6.0", 4)
        wait_until(lambda: node.manager._started().half_open == 8)


def test_who_was_here_before_comes_back_while_others_knock_too_often(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a peer has proved itself there is more patience: strangers from elsewhere are turned away by then."""
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 10.0))
    monkeypatch.setattr(ledger, "now", HandClock())  # nothing is forgiven meanwhile, however slow the machine
    node, friend = nodes.make(max_handshakes_per_second=1, handshake_timeout=600.0), nodes.make(listen=False)
    join(friend, node)
    friend.drop(friend.link(node))
    node.wait(lambda node: node.losses(friend))
    for source in ("127.5.0.1", LOOPBACK):
        knocking = [raw_socket(node.endpoint, source) for _ in range(12)]
        if source != LOOPBACK:
            assert read_to_end(knocking[-1]) == b"", "refused at once"
        for sock in knocking:
            sock.close()
    assert node.expect(Event.Flood, 2).kind == HANDSHAKES
    friend.connect(node)
    node.wait(lambda node: len(node.news) == 2)


def test_strangers_who_come_too_often(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 5.0))
    node = nodes.make(max_handshakes_per_second=2, handshake_timeout=2.0)
    for _ in range(12):
        with raw_socket(node.endpoint) as stranger:
            stranger.sendall(bytes(600))
    kinds = [node.expect(Event.Flood, number).kind for number in (1, 2)]
    assert set(kinds) == {HANDSHAKES, FAILURES}
    assert all(event.peer_id is None for event in node.log if isinstance(event, Event.Flood))
    assert_serves(node, nodes)


# --- misbehaviour ---------------------------------------------------------------------------------------

CRIMES: dict[str, Any] = {
    "a forged record": lambda peer: peer.sock.sendall(bytes(500)),
    "a frame of no kind": lambda peer: peer.send_frame(b"\xfe\x00\x00\x00"),
    "a second choice": lambda peer: peer.send_frame(control_frame(CHOOSE, {"serial": 9})),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_who_breaks_the_protocol_is_named_and_dropped(nodes: Nodes, crime: str) -> None:
    node = nodes.make()
    with settled(node) as peer:
        CRIMES[crime](peer)
        lost = node.expect(Event.LostConnection)
        read_to_end(peer.sock)
    told = node.expect(Event.Misbehaviour)
    assert (told.endpoint, told.peer_id) == (lost.endpoint, peer.id)
    assert told.reason in lost.reason
    assert node.log.index(told) < node.log.index(lost)


def test_nonsense_in_gossip_is_told_and_no_reason_to_leave(nodes: Nodes) -> None:
    node = nodes.make()
    with settled(node) as peer:
        for _ in range(50):
            peer.send_frame(control_frame(CONTACTS, {"nonsense": 1}))
        told = node.expect(Event.Misbehaviour)
        assert "breaks the rules of gossip" in told.reason
        peer.send_messages(b"anyway")
        node.expect_messages(peer.id, [b"anyway"])
    assert node.count["Misbehaviour"] == 1


def test_who_breaks_the_protocol_before_the_choice_is_named(nodes: Nodes) -> None:
    """It has proved who it is; a connection there never was."""
    node = nodes.make()
    with WirePeer.dial(node.endpoint) as peer:
        peer.send_messages(b"")
        if peer._greater:  # the choice was its own to make
            told = node.expect(Event.Misbehaviour)
            assert told.peer_id == peer.id
            assert not node.news


def test_who_does_not_read_events_is_not_flooded_with_them(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_core, "MAX_WAITING_CONNECTS", -1)
    node = nodes.make()
    core = node.manager._started()
    core.inbox.put(manager_core.notices.Misbehaved(node.endpoint, node.id, "whatever"))
    node.manager.bootstrap_status()  # answered after it
    wait_until(lambda: core.inbox.empty())
    assert node.count["Misbehaviour"] == 0
