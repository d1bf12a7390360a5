"""The link of a sender, with a manager that does what the test says."""

import queue
from collections.abc import Callable
from typing import Any

import pytest

from crust.cli.transfer_link import Link
from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, DialFailed, HandshakeFailed, NotConnected, SendQueueFull
from crust.event import Event
from crust.identity import PeerId

HERE = Endpoint.tcp("192.0.2.1:1")
ELSEWHERE = Endpoint.tcp("192.0.2.2:2")
ADA = PeerId(b"a" * 32)
BEN = PeerId(b"b" * 32)
CONNECTED = Event.NewConnection(HERE, ADA)
FAILED = Event.ConnectionFailed((HERE,), {HERE: "nobody answered"})
LOST = Event.LostConnection(HERE, ADA, "the peer went away")


class ScriptedManager:
    """Each `connect` is answered by the next of ``answers``."""

    def __init__(self, *answers: Any) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.answers = list(answers)
        self.dropped: list[Endpoint] = []
        self.sent: list[bytes] = []
        self.on_send: Callable[[], None] = lambda: None

    def connect(self, endpoints: Any) -> None:
        assert endpoints == (HERE,)
        self.events.put(self.answers.pop(0))

    def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        assert endpoint == HERE
        self.on_send()
        self.sent.append(data)

    def drop_node(self, endpoint: Endpoint) -> None:
        self.dropped.append(endpoint)

    def link(self, peer_id: PeerId | None = None) -> Link:
        return Link(self, self.events, [HERE], peer_id)


def test_it_connects() -> None:
    link = ScriptedManager(CONNECTED).link()
    assert not link.connected
    link.open(0.0)
    assert link.connected
    assert link.peer_id == ADA


def test_one_attempt_is_all_unless_told_to_wait() -> None:
    manager = ScriptedManager(FAILED)
    with pytest.raises(DialFailed, match=r"tcp://192\.0\.2\.1:1: nobody answered"):
        manager.link().open(0.0)


def test_it_tries_again_for_as_long_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.cli.transfer_link.FIRST_PAUSE", 0.001)
    manager = ScriptedManager(FAILED, FAILED, CONNECTED)
    manager.link().open(60.0)
    assert not manager.answers
    with pytest.raises(DialFailed):
        ScriptedManager(*[FAILED] * 100).link().open(0.01)


def test_another_peer_than_wanted_is_left_alone() -> None:
    manager = ScriptedManager(CONNECTED)
    with pytest.raises(HandshakeFailed, match=f"is {ADA.hex()}, not the one asked for"):
        manager.link(BEN).open(60.0)
    assert manager.dropped == [HERE]
    ScriptedManager(CONNECTED).link(ADA).open(0.0)


def test_messages_come_in_order_and_then_the_end_with_its_reason() -> None:
    manager = ScriptedManager(CONNECTED)
    link = manager.link()
    link.open(0.0)
    for event in (
        Event.NewMessage(HERE, b"one"),
        Event.NewMessage(ELSEWHERE, b"not ours"),
        Event.NewMessage(HERE, b"two"),
        LOST,
    ):
        manager.events.put(event)
    assert [link.receive(0.0), link.receive(0.0)] == [b"one", b"two"]
    with pytest.raises(ConnectionLost, match="the peer went away"):
        link.receive(0.0)
    with pytest.raises(ConnectionLost):
        link.send(b"", 0.0)


def test_nothing_in_time_is_none() -> None:
    link = ScriptedManager(CONNECTED).link()
    link.open(0.0)
    assert link.receive(0.0) is None


def test_a_full_queue_is_said_and_an_ended_connection_is_heard_of_later() -> None:
    manager = ScriptedManager(CONNECTED)
    link = manager.link()
    link.open(0.0)

    def full() -> None:
        raise SendQueueFull("full")

    def ended() -> None:
        raise NotConnected("ended")

    manager.on_send = full
    assert not link.send(b"x", 0.0)
    manager.on_send = ended
    assert link.send(b"x", 0.0)
    manager.events.put(Event.NewMessage(HERE, b"last word"))
    assert link.receive(0.0) == b"last word"


def test_a_manager_that_stops_ends_the_link() -> None:
    manager = ScriptedManager(CONNECTED)
    link = manager.link()
    link.open(0.0)
    manager.events.put(Event.Stopped())
    with pytest.raises(ConnectionLost):
        link.receive(0.0)


def test_a_pause_ends_when_the_connection_comes_or_goes() -> None:
    manager = ScriptedManager(CONNECTED)
    link = manager.link()
    manager.events.put(CONNECTED)
    link.pause(60.0)
    assert link.connected
    manager.events.put(LOST)
    link.pause(60.0)
    assert not link.connected
    link.pause(0.0)


def test_dropping_is_done_once() -> None:
    manager = ScriptedManager(CONNECTED)
    link = manager.link()
    link.open(0.0)
    link.drop()
    link.drop()
    assert manager.dropped == [HERE]
    assert not link.connected
