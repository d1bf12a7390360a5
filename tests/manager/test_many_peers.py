"""What the original's tests did with several peers, and its users expect: everything sent arrives, in order."""

import itertools

import pytest

from crust import Event
from crust.limits import KIB
from tests.manager.conftest import CAPACITIES, both_transports, both_transports_slowly
from tests.manager.helpers import Node, Nodes, in_parallel, join
from tests.manager.test_one_connection import all_dial_all

every_capacity = pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)


@both_transports
@every_capacity
def test_small_stream(nodes: Nodes) -> None:
    """Ten numbers, each answered with its successor, in order."""
    asker, answerer = nodes.pair()
    for number in range(10):
        asker.send(answerer, b"%d" % number)
        answerer.wait(lambda node, number=number: len(node.heard[asker.id]) > number)
        answerer.send(asker, b"%d" % (int(answerer.heard[asker.id][-1]) + 1))
    asker.expect_messages(answerer, [b"%d" % (number + 1) for number in range(10)])


@both_transports
def test_a_hundred_and_one_clients_with_five_messages_each(nodes: Nodes) -> None:
    hub = nodes.make()
    clients = [nodes.make(listen=False) for _ in range(101)]
    for client in clients:
        client.connect(hub)
    for client in clients:
        for number in range(5):
            client.send(hub, b"%d" % number)
    for client in clients:
        hub.expect_messages(client, [b"%d" % number for number in range(5)])
    assert hub.count["NewConnection"] == 101
    in_parallel([client.stop for client in clients])
    hub.expect(Event.LostConnection, 101)


@both_transports_slowly
@every_capacity
def test_five_senders_with_a_thousand_messages_each(nodes: Nodes) -> None:
    """The original's ``sent_messages_are_received``; and each gets as many back."""
    count = 100 if nodes.capacity.small else 1000
    receiver = nodes.make()
    senders = [nodes.make(listen=False) for _ in range(5)]
    for sender in senders:
        join(sender, receiver)
    messages = [b"%d" % number * 20 for number in range(count)]

    def talk(node: Node, other: Node) -> None:
        for message in messages:
            node.send(other, message)

    pairs = [pair for sender in senders for pair in ((sender, receiver), (receiver, sender))]
    in_parallel([lambda a=a, b=b: talk(a, b) for a, b in pairs])
    for node, other in pairs:
        other.expect_messages(node, messages)


@both_transports_slowly
@pytest.mark.parametrize("capacity", ["wide", pytest.param("queue-of-1", marks=pytest.mark.slow)], indirect=True)
def test_ten_services_all_pairs_a_hundred_messages_of_20_kib(nodes: Nodes) -> None:
    """The original's ``sending_receiving_multiple_services``: 176 MiB in all, each way at the same time, in order."""
    services = [nodes.make() for _ in range(10)]
    all_dial_all(services)
    count = 100 if nodes.transport == "tcp" else 20  # one process for all of them: uTP has no kernel to do its work
    messages = [number.to_bytes(1, "big") * (20 * KIB) for number in range(count)]

    def talk(node: Node) -> None:
        for message in messages:
            for other in services:
                if other is not node:
                    node.send(other, message)

    in_parallel([lambda node=node: talk(node) for node in services])
    for node, other in itertools.permutations(services, 2):
        node.expect_messages(other, messages)
    assert [node.count["LostConnection"] for node in services] == [0] * 10
    in_parallel([node.stop for node in services])
    assert [node.count["NewConnection"] for node in services] == [9] * 10


@both_transports
@every_capacity
def test_two_that_connect_to_each_other_talk_and_stop(nodes: Nodes) -> None:
    """The original's ``connection_manager``."""
    first, second = nodes.make(), nodes.make()
    in_parallel([lambda: first.connect(second), lambda: second.connect(first)])
    first.send(second, b"hello")
    second.send(first, b"hello")
    first.expect_messages(second, [b"hello"])
    second.expect_messages(first, [b"hello"])
    in_parallel([first.stop, second.stop])


@both_transports
@every_capacity
def test_one_that_comes_and_goes(nodes: Nodes) -> None:
    """The original's ``connection_manager_start``: the listener sees both and goes on."""
    main = nodes.make()
    for visit in range(5):
        visitor = nodes.make(listen=False)
        visitor.connect(main)
        main.expect(Event.NewConnection, visit + 1)
        visitor.stop()
        assert main.expect(Event.LostConnection, visit + 1).peer_id == visitor.id
