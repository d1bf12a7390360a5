"""Promise 1: events are in order. (T-19 to T-22; every test here also has its events judged when it ends.)"""

import threading

import pytest

from crust import Event, NotConnected
from crust.links.outbox import Outbox
from tests.manager.conftest import CAPACITIES, both_transports
from tests.manager.helpers import Nodes, in_parallel, join, two_identities, wait_until
from tests.manager.test_stop import crust_threads

pytestmark = [both_transports, pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)]


def test_both_sides_learn_of_a_connection_and_of_each_other(nodes: Nodes) -> None:
    first, second = nodes.make(), nodes.make()
    first.connect(second)
    here, there = first.expect(Event.NewConnection), second.expect(Event.NewConnection)
    assert here == Event.NewConnection(second.endpoint, second.id)
    assert there.peer_id == first.id
    assert first.manager.peer_id(second.endpoint) == second.id


def test_messages_come_whole_and_in_the_order_sent(nodes: Nodes) -> None:
    first, second = nodes.pair()
    sizes = [0, 1, 100, 16_384, 16_385, 65_536, 65_537, 300_000, 0, 7]
    messages = [number.to_bytes(1, "big") * size for number, size in enumerate(sizes)]
    for message in messages:
        first.send(second, message)
    second.expect_messages(first, messages)


def test_what_is_sent_upon_the_first_event_comes_after_the_others_first_event(nodes: Nodes) -> None:
    """The sender may know of the connection long before the receiver does (T-20)."""
    first, second = nodes.make(), nodes.make()
    for number in range(10):
        first.connect(second)
        first.expect(Event.NewConnection, number + 1)
        first.send(first.link(second), b"%d" % number)
        second.expect_messages(first, [b"%d" % one for one in range(number + 1)])
        first.drop(first.link(second))
        second.expect(Event.LostConnection, number + 1)


def test_one_can_send_as_soon_as_one_has_the_event(nodes: Nodes) -> None:
    """Not even for a moment does a connection that was announced not exist (T-22)."""
    hub = nodes.make()
    others = [nodes.make() for _ in range(5)]
    for other in others:
        other.connect(hub)
    for other in others:
        other.send(hub, b"at once")
        hub.send(hub.link(other), b"welcome")
    for other in others:
        hub.expect_messages(other, [b"at once"])
        other.expect_messages(hub, [b"welcome"])


def test_the_end_comes_after_the_last_message_and_once(nodes: Nodes) -> None:
    first, second = nodes.pair()
    messages = [b"%d" % number * 1000 for number in range(200)]
    for message in messages:
        first.send(second, message)
    first.stop()
    lost = second.expect(Event.LostConnection)
    assert lost.peer_id == first.id
    assert second.heard[first.id] == messages
    second.stop()
    assert second.count["LostConnection"] == 1


def test_who_drops_a_connection_hears_nothing_of_its_end(nodes: Nodes) -> None:
    first, second = nodes.pair()
    first.drop(first.link(second))
    second.expect(Event.LostConnection)
    first.stop()
    assert first.count == {"NewConnection": 1, "Stopped": 1}


def test_a_drop_is_no_loss_however_fast_the_peer_is(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the connection is over before drop_node() returns."""
    first, second = nodes.pair()
    link = first.link(second)
    close = Outbox.close

    def close_and_wait(outbox: Outbox, *, discard: bool = False) -> None:
        close(outbox, discard=discard)
        if threading.current_thread() is threading.main_thread():
            wait_until(lambda: not any(name.endswith(str(link)) for name in crust_threads()))

    monkeypatch.setattr(Outbox, "close", close_and_wait)
    first.drop(link)
    third = nodes.make()
    join(first, third)
    first.stop()
    assert first.count == {"NewConnection": 2, "Stopped": 1}


def test_both_may_drop_at_once(nodes: Nodes) -> None:
    for _ in range(10):
        first, second = nodes.pair()
        links = (first, first.link(second)), (second, second.link(first))
        in_parallel([lambda node=node, link=link: node.drop(link) for node, link in links])
        in_parallel([first.stop, second.stop])
        assert first.count["LostConnection"] <= 1
        assert second.count["LostConnection"] <= 1


def test_an_end_by_us_and_an_end_by_the_peer_are_told_apart(nodes: Nodes) -> None:
    """Nobody hears of their own stop(); the peer gets a reason in words."""
    first, second = nodes.pair()
    first.stop()
    assert second.expect(Event.LostConnection).reason == "the peer closed the connection"
    assert first.count["LostConnection"] == 0


def test_after_the_end_the_name_leads_nowhere(nodes: Nodes) -> None:
    first, second = nodes.pair()
    link = second.link(first)
    first.stop()
    second.expect(Event.LostConnection)
    with pytest.raises(NotConnected, match="wait for its NewConnection event"):
        second.manager.send(link, b"too late")
    with pytest.raises(NotConnected):
        second.manager.peer_id(link)
    assert second.manager.connections() == []
    second.manager.drop_node(link)  # nothing to drop, nothing happens


def test_a_node_that_only_listened_says_stopped_and_nothing_else(nodes: Nodes) -> None:
    node = nodes.make()
    node.stop()
    assert node.log == [Event.Stopped()]


@pytest.mark.parametrize("chooser", ["dialler", "listener"])
def test_it_makes_no_difference_who_has_the_greater_id(nodes: Nodes, chooser: str) -> None:
    lesser, greater = two_identities()
    first = nodes.make(identity=greater if chooser == "dialler" else lesser)
    second = nodes.make(identity=lesser if chooser == "dialler" else greater)
    join(first, second)
    first.send(second, b"there")
    second.expect_messages(first, [b"there"])
    second.send(first, b"and back")
    first.expect_messages(second, [b"and back"])
