"""Promise 5: one slow, silent or hostile peer never delays another. (Strangers are in ``test_hostile.py``.)"""

import socket
import threading
from contextlib import ExitStack

import pytest

from crust import Endpoint, Event
from tests.manager.conftest import both_transports, both_transports_slowly
from tests.manager.helpers import LOOPBACK, PATIENCE, Node, Nodes, fill_send_queue, join, two_identities, wait_until
from tests.manager.test_stop import black_hole, crust_threads
from tests.manager.wire import WirePeer, raw_socket


def assert_lively(first: Node, second: Node, turns: int = 20) -> None:
    """The two talk to and fro."""
    here, there = first.link(second), second.link(first)
    before = len(first.heard[second.id])
    for turn in range(turns):
        first.send(here, b"to %d" % turn)
        second.wait(lambda node, turn=turn: node.heard[first.id][-1:] == [b"to %d" % turn])
        second.send(there, b"fro %d" % turn)
        first.wait(lambda node, turn=turn: len(node.heard[second.id]) == before + turn + 1)


@both_transports_slowly
def test_peers_that_never_read(nodes: Nodes) -> None:
    """Their queues are full, the others' are not."""
    hub, friend = nodes.pair(linger=0.0)
    with ExitStack() as stack:
        for _ in range(5):
            deaf = stack.enter_context(WirePeer.dial(hub.endpoint))
            deaf.settle()
            fill_send_queue(hub, hub.link(deaf.id))
        assert_lively(hub, friend)
        late = nodes.make()
        join(late, hub)
        assert_lively(hub, late)


@both_transports_slowly
def test_peers_that_talk_without_end(nodes: Nodes) -> None:
    """A flood is read no faster than the user takes it; others are heard in between.

    How soon depends on how much may wait for the user, since there is one queue for all.
    """
    hub, friend = nodes.pair(max_waiting_events=500)
    enough = threading.Event()

    def flood(chatterbox: WirePeer) -> None:
        while not enough.is_set():
            chatterbox.send_messages(*[bytes(1000)] * 50)

    with ExitStack() as stack:
        floods = []
        for _ in range(3):
            chatterbox = stack.enter_context(WirePeer.dial(hub.endpoint))
            chatterbox.settle()
            floods.append(threading.Thread(target=flood, args=(chatterbox,), name="test-flood"))
            floods[-1].start()
        try:
            hub.wait(lambda node: node.count["NewMessage"] > 1000)
            assert_lively(hub, friend, turns=5)
        finally:
            enough.set()
            for thread in floods:
                thread.join(PATIENCE)


@both_transports
def test_peers_in_the_middle_of_their_handshakes(nodes: Nodes) -> None:
    """Strangers who are silent, members who owe us their choice."""
    lesser, greater = two_identities()
    hub = nodes.make(identity=lesser)
    friend = nodes.make()
    join(friend, hub)
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(raw_socket(hub.endpoint))
        for _ in range(10):
            stack.enter_context(WirePeer.dial(hub.endpoint, identity=greater))
        wait_until(lambda: hub.manager._core.half_open == 20)
        assert_lively(hub, friend)
        late = nodes.make()
        join(late, hub)
        assert_lively(hub, late)


def test_addresses_that_do_not_answer(nodes: Nodes) -> None:
    """connect() tries the next one after a moment, and other calls go on."""
    hub = nodes.make()
    with black_hole() as nowhere:
        node = nodes.make(dial_timeout=60.0)
        for _ in range(10):
            node.connect(nowhere)
        node.manager.connect([nowhere, hub.endpoint])
        node.link(hub)
        assert_lively(hub, node)


def test_a_name_look_up_that_hangs(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It blocks a thread of the dialer, and nothing else."""
    hub = nodes.make()
    looking, go_on = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *arguments: object, **more: object) -> object:
        if host == "slow.invalid":
            looking.set()
            assert go_on.wait(PATIENCE)
        return real(host, *arguments, **more)

    monkeypatch.setattr("socket.getaddrinfo", slow)
    node = nodes.make()
    try:
        node.connect(Endpoint.parse("tcp://slow.invalid:1"))
        assert looking.wait(PATIENCE)
        join(node, hub)
        assert_lively(hub, node)
    finally:
        go_on.set()
    node.expect(Event.ConnectionFailed)


@both_transports_slowly
def test_a_peer_that_is_being_dropped_and_does_not_care(nodes: Nodes) -> None:
    """drop_node() returns at once, and the name is free at once, however long the peer takes."""
    hub, friend = nodes.pair(linger=0.3)
    with WirePeer.dial(hub.endpoint) as deaf:
        deaf.settle()
        link = hub.link(deaf.id)
        fill_send_queue(hub, link)
        hub.drop(link)
        assert_lively(hub, friend)
        wait_until(lambda: not any(str(link) in name for name in crust_threads()))


def test_a_listener_that_breaks_takes_nothing_with_it(nodes: Nodes) -> None:
    """One event says so; other listeners and all connections go on (T-16, T-17)."""
    hub = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2"))
    friend = nodes.make()
    join(friend, hub)
    broken = hub.manager._core._acceptor._listeners[1]
    port = hub.endpoint.port
    broken.shutdown(socket.SHUT_RDWR)  # accept() fails from now on
    event = hub.expect(Event.ListenerFailed)
    assert event.port.port == port
    assert event.reason
    assert_lively(hub, friend)
    late = nodes.make()
    late.connect(Endpoint.tcp((LOOPBACK, port)))
    late.link(hub)
