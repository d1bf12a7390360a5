"""Promise 3: nothing queued is lost by an orderly end. Where the program ends, it is a process of its own."""

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from crust import Event
from tests.manager.conftest import CAPACITIES, both_transports
from tests.manager.helpers import Capacity, Node, Nodes, in_parallel, join
from tests.processes import Process

SCRIPTS = str(Path(__file__).with_name("scripts.py"))
NUMBERS = [b"%d" % number for number in range(1000)]

every_capacity = pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)


def the_only_peer_said_everything(node: Node) -> bool:
    """Whether somebody came, said the numbers, and left."""
    (said,) = node.heard.values()
    return said == NUMBERS and node.count["LostConnection"] == 1


@both_transports
@every_capacity
def test_connect_send_stop_delivers(nodes: Nodes) -> None:
    """Also megabytes, which take many turns of the writer; also with hardly any room anywhere."""
    receiver = nodes.make()
    for round_number in range(3):
        sender = nodes.make()
        sender.connect(receiver)
        link = sender.expect(Event.NewConnection).endpoint
        messages = [bytes((number, round_number)) * 50_000 for number in range(40)]
        for message in messages:
            sender.send(link, message)
        sender.stop()
        receiver.expect(Event.LostConnection, round_number + 1)
        assert receiver.heard[sender.id] == messages


@both_transports
@every_capacity
def test_drop_node_delivers_what_was_sent_before(nodes: Nodes) -> None:
    sender, receiver = nodes.pair()
    messages = [bytes((number,)) * 50_000 for number in range(40)]
    link = sender.link(receiver)
    for message in messages:
        sender.send(link, message)
    sender.drop(link)
    assert receiver.expect(Event.LostConnection).reason == "the peer closed the connection"
    assert receiver.heard[sender.id] == messages


@both_transports
def test_what_both_sides_queued_arrives_when_one_ends(nodes: Nodes) -> None:
    """A goodbye is answered with what the other side still had to say."""
    first, second = nodes.pair()
    messages = [bytes((number,)) * 50_000 for number in range(40)]
    here, there = first.link(second), second.link(first)
    for message in messages:
        first.send(here, message)
        second.send(there, message)
    first.stop()
    second.expect(Event.LostConnection)
    assert second.heard[first.id] == messages
    assert first.heard[second.id] == messages


@both_transports
def test_sending_from_many_threads_loses_nothing(nodes: Nodes) -> None:
    """Messages of one thread stay in order; those of several mix."""
    sender, receiver = nodes.pair()
    link = sender.link(receiver)

    def talk(thread: int) -> None:
        for number in range(500):
            sender.send(link, b"%d:%d" % (thread, number))

    in_parallel([lambda thread=thread: talk(thread) for thread in range(4)])
    sender.stop()
    receiver.expect(Event.LostConnection)
    heard = receiver.heard[sender.id]
    for thread in range(4):
        mine = [message for message in heard if message.startswith(b"%d:" % thread)]
        assert mine == [b"%d:%d" % (thread, number) for number in range(500)]
    assert len(heard) == 2000


@pytest.mark.parametrize("script", ["send_and_stop", "send_and_forget", "send_and_lose_the_manager"])
def test_a_short_script_delivers(nodes: Nodes, script: str) -> None:
    """With stop(), without it, and even without a reference to the manager."""
    receiver = nodes.make()
    with Process(SCRIPTS, script, str(receiver.endpoint), env={"PYTHONWARNINGS": "default"}) as process:
        receiver.wait(lambda node: node.count["LostConnection"])
        code, lines = process.end()
    assert code == 0, lines
    assert the_only_peer_said_everything(receiver)
    if script == "send_and_stop":
        assert "threads left: []" in lines
    if script == "send_and_lose_the_manager":
        assert any("ResourceWarning: a ConnectionManager was dropped without stop()" in line for line in lines)


def test_a_connection_has_its_threads_when_it_is_announced(nodes: Nodes) -> None:
    """Whoever hears of it may send and end the program, and a Python that ends makes no threads (3.12 and later)."""
    threads: set[str] = set()

    class Events(queue.Queue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if isinstance(item, Event.NewConnection):
                threads.update(thread.name for thread in threading.enumerate())
            super().put(item, block, timeout)

    hub = nodes.make()
    nodes.capacity = Capacity(Events)
    guest = nodes.make(listen=False)
    guest.connect(hub)
    link = guest.link(hub)
    assert {f"crust-reader {link}", f"crust-writer {link}"} <= threads


def test_a_script_that_fails_delivers_what_it_sent(nodes: Nodes) -> None:
    receiver = nodes.make()
    with Process(SCRIPTS, "fail", str(receiver.endpoint)) as process:
        receiver.wait(lambda node: node.count["LostConnection"])
        code, lines = process.end()
    assert (code, lines[-1]) == (1, "ValueError: the program is wrong")
    assert the_only_peer_said_everything(receiver)


@pytest.mark.slow
def test_control_c_ends_in_order(nodes: Nodes) -> None:
    receiver = nodes.make()
    with Process(SCRIPTS, "wait_for_interrupt", str(receiver.endpoint)) as process:
        process.expect("ready")
        process.interrupt_until("interrupted")
        process.expect(r"last event: Event.Stopped\(\)")
        code, lines = process.end()
    assert code == 0, lines
    receiver.wait(lambda node: node.count["LostConnection"])
    assert the_only_peer_said_everything(receiver)


@both_transports
def test_messages_from_the_peer_are_delivered_during_stop(nodes: Nodes) -> None:
    """What was on its way to us when we stop still comes before Stopped."""
    first, second = nodes.pair()
    messages = [bytes((number,)) * 100_000 for number in range(20)]
    for message in messages:
        second.send(first, message)
    first.stop()
    assert first.heard[second.id] == messages
    assert first.log[-1] == Event.Stopped()
    join(nodes.make(), second)  # the other one is none the worse for it
