"""Promise 4: a user who reads no events leaves memory flat and the sender with `SendQueueFull`; and nothing is lost."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import crust
from crust import ConnectionManager, Endpoint, Event, PeerId, SendQueueFull
from crust.limits import KIB, MIB
from crust.transport.framing import BYE
from tests.manager.conftest import both_transports, both_transports_slowly
from tests.manager.helpers import LOOPBACK, PATIENCE, SCALE, Node, Nodes, loopback_config, wait_until
from tests.manager.wire import WirePeer

QUEUES: dict[str, Callable[[], Any]] = {
    "channel": crust.channel,
    "channel-of-3": lambda: crust.channel(maxsize=3),
    "Queue": queue.Queue,
    "Queue-of-3": lambda: queue.Queue(maxsize=3),
    "SimpleQueue": queue.SimpleQueue,
}
WAITING = 256 * KIB  # max_waiting_bytes of the one who does not read
HELD = 4 * WAITING + 2 * MIB
"""More than a manager may hold for a user with that setting and one sender: what waits, as much read ahead, and what
one round of reading can bring beyond."""
STUCK = 0.3 * SCALE  # seconds without room after which a sender is stuck for good, and not just for a moment


@contextmanager
def sleeper(events: Any, **settings: Any) -> Iterator[tuple[ConnectionManager, Endpoint]]:
    """A manager whose user does not read, and where it listens."""
    with ConnectionManager(events, loopback_config(max_waiting_bytes=WAITING, **settings)) as manager:
        yield manager, Endpoint.tcp((LOOPBACK, manager.start_listening()[0].port))


def send_until_stuck(sender: Node, endpoint: Endpoint, size: int) -> list[bytes]:
    """Send numbered messages until there is no room; which ones were taken."""
    sent = []
    for number in itertools.count():
        message = number.to_bytes(8, "big") * (size // 8)
        try:
            sender.manager.send(endpoint, message, timeout=STUCK)
        except SendQueueFull as error:
            assert "send_queue_bytes" in str(error)
            return sent
        sent.append(message)
    raise AssertionError("unreachable")


def take_messages(events: Any, count: int) -> list[tuple[Endpoint, bytes]]:
    """Take events until that many messages were among them."""
    taken: list[tuple[Endpoint, bytes]] = []
    while len(taken) < count:
        event = events.get(timeout=PATIENCE)
        assert not isinstance(event, Event.LostConnection)
        if isinstance(event, Event.NewMessage):
            taken.append((event.endpoint, event.data))
    return taken


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("size", [512, 64 * KIB])
def test_a_user_who_stops_reading_stops_the_sender_and_nothing_is_lost(nodes: Nodes, kind: str, size: int) -> None:
    events = QUEUES[kind]()
    sender = nodes.make(send_queue_bytes=MIB)
    with sleeper(events) as (manager, door):
        sender.connect(door)
        link = sender.expect(Event.NewConnection).endpoint
        sent = send_until_stuck(sender, link, size)
        (info,) = manager.connections()
        assert info.bytes_received < HELD
        assert sender.info(manager.identity.peer_id).waiting_bytes <= MIB
        assert len(sent) * size > info.bytes_received, "the sender was stopped before the receiver was full"
        assert not events.empty()
        # The user wakes up: everything flows again, in order, also what is sent from now on.
        assert [data for _, data in take_messages(events, len(sent))] == sent
        sender.send(link, b"and more")
        assert [data for _, data in take_messages(events, 1)] == [b"and more"]
        assert sender.count["LostConnection"] == 0


def test_many_events_are_bounded_as_well_as_many_bytes(nodes: Nodes) -> None:
    """``max_waiting_events`` bounds their number."""
    events: queue.Queue[Any] = queue.Queue()
    sender = nodes.make(send_queue_bytes=64 * KIB)
    with sleeper(events, max_waiting_events=10) as (_, door):
        sender.connect(door)
        link = sender.expect(Event.NewConnection).endpoint
        sent = send_until_stuck(sender, link, KIB)
        assert events.qsize() == 10
        assert len(take_messages(events, len(sent))) == len(sent)


@both_transports
def test_several_senders_are_stopped_each_and_all_come_through(nodes: Nodes) -> None:
    """What waits is bounded for all together, plus what is read ahead for each."""
    events = crust.channel()
    senders = [nodes.make(send_queue_bytes=MIB) for _ in range(4)]
    with sleeper(events) as (manager, door):
        expected: dict[PeerId, list[bytes]] = {}
        for sender in senders:
            sender.connect(door)
            expected[sender.id] = send_until_stuck(sender, sender.expect(Event.NewConnection).endpoint, 10 * KIB)
        held = sum(info.bytes_received for info in manager.connections())
        assert held < len(senders) * HELD
        peers = {info.endpoint: info.peer_id for info in manager.connections()}
        heard: dict[PeerId, list[bytes]] = {sender.id: [] for sender in senders}
        for endpoint, data in take_messages(events, sum(map(len, expected.values()))):
            heard[peers[endpoint]].append(data)
        assert heard == expected


@both_transports_slowly
def test_a_user_who_reads_slowly_gets_everything_in_order(nodes: Nodes) -> None:
    """One message at a time, again and again to the brim: every wake-up must come."""
    for make_events in QUEUES.values():
        events = make_events()
        sender = nodes.make(send_queue_bytes=1)
        with sleeper(events, max_waiting_events=2) as (_, door):
            sender.connect(door)
            link = sender.expect(Event.NewConnection).endpoint
            taken: list[tuple[Endpoint, bytes]] = []
            for number in range(100):
                sender.send(link, b"%d" % number)
                if number % 7 == 0:
                    taken += take_messages(events, 1)
            taken += take_messages(events, 100 - len(taken))
            assert [data for _, data in taken] == [b"%d" % number for number in range(100)]


@both_transports
def test_one_message_may_be_larger_than_every_bound(nodes: Nodes) -> None:
    """Whatever room there is, a message of the largest size comes through."""
    events: queue.Queue[Any] = queue.Queue(maxsize=1)
    sender = nodes.make(send_queue_bytes=1, max_waiting_events=1, max_waiting_bytes=1)
    with sleeper(events, max_waiting_events=1) as (manager, door):
        sender.connect(door)
        link = sender.expect(Event.NewConnection).endpoint
        messages = [bytes((number,)) * (16 * MIB - number) for number in range(3)]
        wait_until(lambda: manager.connections())
        for message in messages[:2]:
            sender.send(link, message)
        taken = take_messages(events, 1)
        sender.send(link, messages[2])
        taken += take_messages(events, 2)
        assert [data for _, data in taken] == messages


@both_transports_slowly
def test_stop_does_not_wait_for_a_user_who_does_not_read(nodes: Nodes) -> None:
    """The peer still gets what we sent; what it sends us and nobody takes is given up, and leaves no gap."""
    events: queue.Queue[Any] = queue.Queue(maxsize=3)
    sender = nodes.make(send_queue_bytes=MIB)
    with sleeper(events) as (manager, door):
        sender.connect(door)
        link = sender.expect(Event.NewConnection).endpoint
        sent = send_until_stuck(sender, link, KIB)
        (info,) = manager.connections()
        manager.send(info.endpoint, b"goodbye", timeout=PATIENCE)
        manager.stop()
    sender.expect(Event.LostConnection)
    assert sender.heard[manager.identity.peer_id] == [b"goodbye"]
    left = [events.get_nowait() for _ in range(events.qsize())]
    assert isinstance(left[0], Event.NewConnection)
    assert left[-1] == Event.Stopped()
    messages = [event.data for event in left[1:-1]]
    assert messages == sent[: len(messages)]


@both_transports_slowly
def test_a_user_who_wakes_up_during_stop_gets_no_gap(nodes: Nodes) -> None:
    """Once something of a connection had to be given up, nothing that comes later is delivered."""
    events: queue.Queue[Any] = queue.Queue(maxsize=2)
    with sleeper(events) as (manager, door), WirePeer.dial(door) as peer:
        peer.settle()
        sent = [b"%d" % number for number in range(30)]
        for message in sent[:10]:
            peer.send_messages(message)
        wait_until(lambda: manager._core._outlet.congested)
        stopper = threading.Thread(target=manager.stop, args=(PATIENCE,), name="test-stop")
        stopper.start()
        peer.await_control(BYE)
        for message in sent[10:20]:
            peer.send_messages(message)
        wait_until(lambda: manager._core._unread)
        taken = []
        while manager._core._outlet.congested or not events.empty():
            taken.append(events.get(timeout=PATIENCE))
        for message in sent[20:]:
            peer.send_messages(message)
        peer.say_goodbye()
        stopper.join(PATIENCE)
        while not taken or taken[-1] != Event.Stopped():
            taken.append(events.get(timeout=PATIENCE))
    heard = [event.data for event in taken if isinstance(event, Event.NewMessage)]
    assert heard == sent[: len(heard)]
    assert len(heard) < 20


@both_transports
def test_a_peer_that_does_not_read_costs_no_more_than_its_queue(nodes: Nodes) -> None:
    """And whoever sends to it learns of it: at once, or after the time that they are ready to wait."""
    node = nodes.make(send_queue_bytes=MIB, linger=0.0)
    with WirePeer.dial(node.endpoint) as deaf:
        deaf.settle()
        link = node.link(deaf.id)
        send_until_stuck(node, link, 100 * KIB)
        before = node.info(deaf.id)
        assert before.waiting_bytes <= MIB
        with pytest.raises(SendQueueFull, match=f"the limit is {MIB}"):
            node.manager.send(link, bytes(MIB))
        assert node.info(deaf.id) == before, "what was refused must not be queued"
