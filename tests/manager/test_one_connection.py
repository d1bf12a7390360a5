"""Promise 2: exactly one connection between any two nodes, found by identity, and none with oneself."""

import itertools

import pytest

from crust import Config, Endpoint, Event, Identity
from tests.manager.conftest import CAPACITIES, both_transports
from tests.manager.helpers import (
    LOOPBACK,
    PATIENCE,
    Node,
    Nodes,
    in_parallel,
    join,
    loopback_config,
    two_identities,
    wait_until,
)
from tests.manager.proxy import Proxy

HELLO = b"hello"


every_capacity = pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)


def all_dial_all(nodes: list[Node]) -> None:
    """Every node dials every other one, all at the same time."""

    def dial(node: Node) -> None:
        for other in nodes:
            if other is not node:
                node.connect(other)

    in_parallel([lambda node=node: dial(node) for node in nodes])


def news(node: Node) -> int:
    """How many connections a node was told of."""
    return node.count["NewConnection"] + node.count["NewBootstrapConnection"]


@both_transports
@every_capacity
def test_two_that_dial_each_other_at_once_get_one_connection(nodes: Nodes) -> None:
    for round_number in range(10):
        pair = [nodes.make(), nodes.make()]
        all_dial_all(pair)
        for node, other in itertools.permutations(pair):
            node.send(other, b"%d" % round_number)
        for node, other in itertools.permutations(pair):
            node.expect_messages(other, [b"%d" % round_number])
        in_parallel([node.stop for node in pair])
        assert [news(node) for node in pair] == [1, 1]


def network(nodes: Nodes, size: int, messages: int) -> None:
    """The acceptance test of the original's wish "at most one connection between any two peers"."""
    crowd = [nodes.make(dial_timeout=PATIENCE, handshake_timeout=PATIENCE) for _ in range(size)]
    all_dial_all(crowd)
    for node in crowd:
        node.wait(lambda node: news(node) >= size - 1)

    def talk(node: Node) -> None:
        for number in range(messages):
            for other in crowd:
                if other is not node:
                    node.send(other, b"%d" % number)

    in_parallel([lambda node=node: talk(node) for node in crowd])
    expected = [b"%d" % number for number in range(messages)]
    for node, other in itertools.permutations(crowd, 2):
        node.expect_messages(other, expected)
    assert [len(node.manager.connections()) for node in crowd] == [size - 1] * size
    # Each stops only when all have seen everything: nobody may have lost anything until then.
    assert [node.count["LostConnection"] for node in crowd] == [0] * size
    in_parallel([node.stop for node in crowd])
    assert [news(node) for node in crowd] == [size - 1] * size
    assert [node.count["ConnectionFailed"] for node in crowd] == [0] * size
    assert {len(node.heard[other.id]) for node, other in itertools.permutations(crowd, 2)} == {messages}


@both_transports
@pytest.mark.parametrize("round_number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))])
def test_ten_nodes_all_pairs_dialling_both_ways_at_once(nodes: Nodes, round_number: int) -> None:
    network(nodes, size=10, messages=10)


@both_transports
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("round_number", range(10))
def test_ten_nodes_again_and_again(nodes: Nodes, round_number: int) -> None:
    network(nodes, size=10, messages=10)


@both_transports
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("round_number", range(50))
def test_ten_nodes_many_times_more(nodes: Nodes, round_number: int) -> None:
    network(nodes, size=10, messages=10)


@both_transports
@every_capacity
def test_five_nodes_all_pairs_dialling_both_ways_at_once(nodes: Nodes) -> None:
    network(nodes, size=5, messages=10)


@both_transports
def test_several_addresses_of_one_peer_make_one_connection(nodes: Nodes) -> None:
    """All are tried, the first to succeed wins, the others are dropped."""
    hub = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2", "127.0.0.3"))
    doors = [hub.at(host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
    guests = [nodes.make() for _ in range(4)]
    for number, guest in enumerate(guests):
        for turn in range(6):  # as one call and as several, in different orders
            order = doors[(number + turn) % 3 :] + doors[: (number + turn) % 3]
            guest.manager.connect(order if turn % 2 else order[0])
    for guest in guests:
        guest.send(hub, HELLO)
        hub.expect_messages(guest, [HELLO])
    in_parallel([node.stop for node in (hub, *guests)])
    assert news(hub) == len(guests)
    assert [news(guest) for guest in guests] == [1] * len(guests)


@both_transports
def test_a_call_for_a_peer_that_is_connected_under_another_name_is_satisfied(nodes: Nodes) -> None:
    """The second name leads to the same connection; there is no second event, and nothing fails."""
    hub = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2"))
    guest = nodes.make()
    join(guest, hub)
    second_door = hub.at("127.0.0.2")
    witness = nodes.make()
    guest.manager.connect([second_door])
    guest.manager.connect(witness.endpoint)
    guest.link(witness)
    wait_until(lambda: second_door in guest.manager._core.routes)
    guest.manager.send(second_door, HELLO)
    hub.expect_messages(guest, [HELLO])
    assert len(guest.manager.connections()) == 2
    guest.drop(guest.link(hub))
    hub.expect(Event.LostConnection)
    guest.stop()
    assert guest.count == {"NewConnection": 2, "Stopped": 1}


def test_connecting_to_where_one_is_connected_does_nothing(nodes: Nodes) -> None:
    """It is not even dialled (T-27)."""
    first, second, third = nodes.make(), nodes.make(), nodes.make()
    with Proxy(second.endpoint) as way:
        first.connect(way.endpoint)
        first.link(second)
        for _ in range(20):
            first.connect(way.endpoint)
        join(first, third)  # calls are dealt with in order, so those above are done with
        assert way.accepted == 1
        first.stop()
        assert first.count == {"NewConnection": 2, "Stopped": 1}
        assert news(second) == 1


@both_transports
def test_a_node_does_not_connect_to_itself(nodes: Nodes) -> None:
    """Neither by its address nor by another of its addresses (T-20, T-28, T-45)."""
    node = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2"))
    endpoints = [node.at(host) for host in ("127.0.0.1", "127.0.0.2", "localhost")]
    for number, endpoint in enumerate(endpoints):
        node.connect(endpoint)
        failed = node.expect(Event.ConnectionFailed, number + 1)
        assert failed.endpoints == (endpoint,)
        assert "that is this node itself" in failed.reason[endpoint]
    node.stop()
    assert news(node) == 0


@both_transports
def test_two_nodes_with_one_identity_file_are_told(nodes: Nodes) -> None:
    identity, _ = two_identities()
    node, twin = nodes.make(identity=identity), nodes.make(identity=identity)
    node.connect(twin)
    failed = node.expect(Event.ConnectionFailed)
    assert "or one with the same identity file" in failed.reason[twin.endpoint]


@both_transports
def test_an_own_address_among_others_does_no_harm(nodes: Nodes) -> None:
    first, second = nodes.make(), nodes.make()
    first.manager.connect([first.endpoint, second.endpoint])
    first.send(second, HELLO)
    second.expect_messages(first, [HELLO])
    first.stop()
    assert first.count == {"NewConnection": 1, "Stopped": 1}


@both_transports
def test_two_nodes_of_one_identity_do_not_connect(nodes: Nodes) -> None:
    """A copied identity file must not look like a peer."""
    identity = Identity()
    first, second = nodes.make(identity=identity), nodes.make(identity=identity)
    first.connect(second)
    assert "this node itself" in first.expect(Event.ConnectionFailed).reason[second.endpoint]


@both_transports
def test_a_dead_address_among_good_ones_is_no_failure(nodes: Nodes) -> None:
    """No error is reported when a parallel way succeeded (T-20, T-25)."""
    first, second = nodes.make(), nodes.make()
    closed = nodes.make()
    nobody = closed.endpoint
    closed.stop()
    first.manager.connect([nobody, second.endpoint])
    first.link(second)
    first.stop()
    assert first.count == {"NewConnection": 1, "Stopped": 1}


def test_why_each_address_failed_is_told(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.connecting.dialing.CUT_EARLY", 0.0)  # no second tries
    node, other_network = nodes.make(dial_timeout=20.0), nodes.make(network="another", handshake_timeout=0.6)
    closed = nodes.make()
    nobody = closed.endpoint
    closed.stop()
    unknown = Endpoint.parse("tcp://nobody.invalid:5483")
    node.manager.connect([nobody, other_network.endpoint, unknown])
    failed = node.expect(Event.ConnectionFailed)
    assert failed.endpoints == (nobody, other_network.endpoint, unknown)
    assert "is the peer running" in failed.reason[nobody]
    assert "network and network_key" in failed.reason[other_network.endpoint]
    assert "cannot be resolved" in failed.reason[unknown]


@both_transports
@pytest.mark.parametrize(
    "settings", [{"network": "other"}, {"network_key": b"k" * 32}, {"network": "other", "network_key": b"k" * 32}]
)
def test_nodes_of_other_networks_cannot_talk(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    """Both ways; and neither sees the other in its events (T-36)."""
    monkeypatch.setattr("crust.connecting.dialing.CUT_EARLY", 0.0)  # no second tries
    ours = nodes.make(handshake_timeout=0.6, dial_timeout=2.0)
    theirs = nodes.make(handshake_timeout=0.6, dial_timeout=2.0, **settings)
    ours.connect(theirs)
    theirs.connect(ours)
    for node in (ours, theirs):
        (reason,) = node.expect(Event.ConnectionFailed).reason.values()
        assert "network" in reason
    in_parallel([ours.stop, theirs.stop])
    assert news(ours) == news(theirs) == 0


@both_transports
def test_members_of_a_closed_network_talk(nodes: Nodes) -> None:
    first, second = nodes.pair(network="club", network_key=b"secret" * 6)
    first.send(second, HELLO)
    second.expect_messages(first, [HELLO])


@both_transports
def test_a_blacklisted_peer_is_refused_both_ways(nodes: Nodes) -> None:
    lesser, greater = two_identities()
    outcast = nodes.make(identity=lesser)
    host = nodes.make(identity=greater, blacklist=[outcast.id])
    outcast.connect(host)
    (reason,) = outcast.expect(Event.ConnectionFailed).reason.values()
    assert "refuses to talk to us" in reason
    host.connect(outcast)
    (reason,) = host.expect(Event.ConnectionFailed).reason.values()
    assert "blacklist" in reason
    assert news(outcast) == news(host) == 0


def test_an_outcast_that_chooses_is_connected_for_a_moment(nodes: Nodes) -> None:
    """Who dials and has the greater id may talk half a round trip before the refusal can reach it."""
    lesser, greater = two_identities()
    outcast = nodes.make(identity=greater)
    host = nodes.make(identity=lesser, blacklist=[outcast.id])
    outcast.connect(host)
    assert "does not want to talk to us" in outcast.expect(Event.LostConnection).reason
    assert news(host) == 0


@pytest.mark.slow
@both_transports
def test_a_blacklisted_address_gets_nothing(nodes: Nodes) -> None:
    outcast, host = nodes.make(dial_timeout=5.0), nodes.make(blacklist=[LOOPBACK])
    outcast.connect(host)
    outcast.expect(Event.ConnectionFailed)
    assert host.manager._core.half_open == 0


def test_the_settings_of_the_tests_reach_no_network() -> None:
    assert loopback_config().listen_addresses == (LOOPBACK,) != Config().listen_addresses
