"""Relayed connections: two nodes that are connected to a third, which carries what they say to each other."""

import random

import pytest

from crust import Endpoint, Event
from crust.connecting.attempts import Job, Race
from crust.connecting.notices import Do
from crust.manager.core import ManagerCore
from crust.transport.relay import carried as carried_frames
from crust.transport.relay.carried import RELAY_WINDOW, carried_frame, cost_of
from tests.manager.helpers import PATIENCE, Node, Nodes, in_parallel, join, two_identities, wait_until
from tests.together import until

FAST = {"relay": True, "relay_bytes_per_second": 0}


def core(node: Node) -> ManagerCore:
    found = node.manager._core
    assert isinstance(found, ManagerCore)
    return found


def open_relay(node: Node, peer: Node, via: Node) -> list[str]:
    """Have ``via`` carry a connection; gives a list of why it failed, which fills later if it does."""
    failures: list[str] = []

    def ended(job: Job) -> None:
        failures.extend(job.reasons().values())

    def begin() -> None:
        manager = core(node)
        job = manager._dialer.hold(Race(1), ended)
        carrier = manager._connections.with_peer(via.id)
        assert carrier is not None

        def failed(reason: str) -> None:
            failures.append(reason)
            manager._dialer.give_up(job)

        manager.reach.relays.open(peer.id, carrier, job, failed)

    core(node).inbox.put(Do(begin))
    return failures


def trio(nodes: Nodes, greater: str = "a", **settings: object) -> tuple[Node, Node, Node]:
    """A and B, both connected to R and not to each other."""
    lesser_id, greater_id = two_identities()
    ids = (greater_id, lesser_id) if greater == "a" else (lesser_id, greater_id)
    middle = nodes.make(**(settings or FAST))
    first, second = (nodes.make(identity=identity) for identity in ids)
    join(first, middle)
    join(second, middle)
    return first, middle, second


def relayed(nodes: Nodes, greater: str = "a", **settings: object) -> tuple[Node, Node, Node]:
    """The same, and A has opened a relayed connection to B."""
    first, middle, second = trio(nodes, greater, **settings)
    assert open_relay(first, second, middle) == []
    first.link(second)
    second.link(first)
    return first, middle, second


def carried(middle: Node) -> int:
    """How many connections it carries."""
    return len(core(middle).reach.relays.desk)


def story(node: Node, peer: Node) -> list[tuple[str, bool]]:
    """The events about a peer's connections: which, and whether it is a relayed one."""
    return [
        (type(event).__name__, event.endpoint.is_relayed)
        for event in node.log
        if isinstance(event, Event.NewConnection | Event.LostConnection) and event.peer_id == peer.id
    ]


@pytest.mark.parametrize("greater", ["a", "b"])
def test_messages_go_both_ways_and_it_is_known_to_be_relayed(nodes: Nodes, greater: str) -> None:
    first, middle, second = relayed(nodes, greater)
    first.send(second, b"there")
    second.expect_messages(first, [b"there"])
    second.send(first, b"and back")
    first.expect_messages(second, [b"and back"])
    for node, peer in ((first, second), (second, first)):
        endpoint = node.link(peer)
        assert endpoint.is_relayed
        assert endpoint.host == node.link(middle).host
        assert node.info(peer).relayed
        assert not node.info(middle).relayed
    assert carried(middle) == 1
    assert middle.count["NewMessage"] == 0


def test_much_goes_through(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes)
    dice = random.Random(4)
    there = [dice.randbytes(size) for size in (5_000_000, 0, 1, 70_000, 3_000_000, *[1000] * 1000)]
    back = [dice.randbytes(500_000) for _ in range(4)]
    in_parallel(
        [
            lambda: [first.send(second, data) for data in there],
            lambda: [second.send(first, data) for data in back],
            lambda: [first.send(middle, b"beside it") for _ in range(10)],
        ]
    )
    second.expect_messages(first, there)
    first.expect_messages(second, back)
    middle.expect_messages(first, [b"beside it"] * 10)
    assert first.count["Misbehaviour"] == middle.count["Misbehaviour"] == 0


def test_who_carries_it_can_read_nothing(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = bytearray()

    def look(data: bytes) -> int:
        seen.extend(data)
        return cost_of(data)

    monkeypatch.setattr(carried_frames, "cost_of", look)  # for each frame that comes in, in the middle as well
    first, middle, second = relayed(nodes)
    secret = b"a secret that is long enough not to come up by chance"
    first.send(second, secret * 20)
    second.expect_messages(first, [secret * 20])
    assert len(seen) > 20 * len(secret), "nothing was looked at"
    assert secret not in seen
    assert bytes(first.id) not in seen
    assert middle.info(first).bytes_received > 20 * len(secret)


# --- when it may not be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"relay": False}, "does not relay (relay: true"),
        ({"relay": True, "relay_connections": 1}, "as many connections as it allows"),
        ({"relay": True, "relay_connections_per_peer": 1}, "as many connections as it allows"),
    ],
)
def test_it_says_why_not(nodes: Nodes, settings: dict[str, object], reason: str) -> None:
    first, middle, second = trio(nodes, **settings)
    if settings["relay"]:
        third = nodes.make()
        join(third, middle)
        open_relay(first, third, middle)
        first.link(third)
    failures = open_relay(first, second, middle)
    wait_until(lambda: failures)
    assert reason in failures[0]
    assert second.count["NewConnection"] == 1


def test_only_to_who_is_connected_there(nodes: Nodes) -> None:
    first, middle, _ = trio(nodes)
    stranger = nodes.make()
    failures = open_relay(first, stranger, middle)
    wait_until(lambda: failures)
    assert "no direct connection with that peer" in failures[0]
    failures = open_relay(first, middle, middle)
    wait_until(lambda: failures)


def test_who_is_on_the_blacklist_is_not_let_in_that_way(nodes: Nodes) -> None:
    first, middle, second = trio(nodes)
    second.manager.blacklist(first.id)
    failures = open_relay(first, second, middle)
    wait_until(lambda: failures)
    assert "does not want" in failures[0]
    assert second.count["NewConnection"] == 1


def test_who_asks_too_often_is_told_so(nodes: Nodes) -> None:
    first, middle, _ = trio(nodes)
    stranger = nodes.make()
    tries = [open_relay(first, stranger, middle) for _ in range(12)]
    wait_until(lambda: all(tries))
    assert any("asked too often" in failures[0] for failures in tries)


def test_nothing_is_relayed_over_what_is_relayed(nodes: Nodes) -> None:
    first, _, second = relayed(nodes)
    third = nodes.make()
    join(second, third)
    failures = open_relay(first, third, second)
    wait_until(lambda: failures)
    assert "only a direct connection" in failures[0]


# --- the end ----------------------------------------------------------------------------------------------


def test_when_the_one_in_the_middle_stops_both_lose_it(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes)
    middle.stop()
    for node, peer in ((first, second), (second, first)):
        node.wait(lambda node, peer=peer: node.losses(peer))  # type: ignore[misc]
        assert node.losses(peer)[0].endpoint.is_relayed


def test_when_one_end_is_gone_the_other_learns_it(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes)
    in_parallel([lambda: second.stop(0.0)])
    first.wait(lambda node: node.losses(second))
    wait_until(lambda: carried(middle) == 0)


def test_the_end_is_in_order(nodes: Nodes) -> None:
    """What was sent just before the end of a manager arrives, though the connection that carries it ends as well."""
    first, middle, second = relayed(nodes)
    words = [b"last words %d" % number for number in range(200)]
    for word in words:
        first.send(second, word)
    first.stop(PATIENCE)
    second.expect_messages(first, words)
    assert second.expect(Event.LostConnection).reason == "the peer closed the connection"
    wait_until(lambda: carried(middle) == 0)


def test_it_can_be_dropped_like_any_other(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes)
    first.send(second, b"goodbye")
    first.drop(first.link(second))
    second.expect_messages(first, [b"goodbye"])
    assert second.expect(Event.LostConnection).peer_id == first.id
    wait_until(lambda: carried(middle) == 0)
    assert {info.peer_id for info in first.manager.connections()} == {middle.id}


def test_without_its_carrier_it_is_lost(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes)
    first.drop(first.link(middle))
    for node, peer in ((first, second), (second, first)):
        node.wait(lambda node, peer=peer: node.losses(peer))  # type: ignore[misc]


# --- a better one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("greater", ["a", "b"])
@pytest.mark.parametrize("dials", ["a", "b"])
def test_a_direct_connection_takes_its_place(nodes: Nodes, greater: str, dials: str) -> None:
    first, middle, second = relayed(nodes, greater)
    messages = [b"%d" % number * 1000 for number in range(300)]
    sent = {first: 0, second: 0}

    def talk(node: Node, peer: Node) -> None:
        endpoint = node.link(peer)
        for message in messages:
            while not node.try_send(endpoint, message):
                wait_until(lambda old=endpoint: node.link(peer) != old)  # type: ignore[misc]
                endpoint = node.link(peer)
            sent[node] += 1

    def dial() -> None:
        until(lambda: min(sent.values()) > 20)
        if dials == "a":
            first.connect(second)
        else:
            second.connect(first)

    in_parallel([lambda: talk(first, second), lambda: talk(second, first), dial])
    for node, peer in ((first, second), (second, first)):
        node.wait(lambda node, peer=peer: not node.link(peer).is_relayed)  # type: ignore[misc]
        node.expect_messages(peer, messages)
        assert story(node, peer) == [("NewConnection", True), ("LostConnection", True), ("NewConnection", False)]
        assert node.losses(peer)[0].reason == "a direct connection has taken its place"
        assert not node.info(peer).relayed
    wait_until(lambda: carried(middle) == 0)


@pytest.mark.parametrize("greater", ["a", "b"])
def test_what_waits_for_a_slow_relay_arrives_all_the_same(nodes: Nodes, greater: str) -> None:
    """The other side has nothing to say and is done at once; it reads on until we are."""
    first, _, second = relayed(nodes, greater, relay=True, relay_bytes_per_second=4_000_000)
    messages = [b"%d" % number * 50_000 for number in range(40)]
    for message in messages:
        first.send(second, message)
    first.connect(second)
    for node, peer in ((first, second), (second, first)):
        node.wait(lambda node, peer=peer: not node.link(peer).is_relayed)  # type: ignore[misc]
    first.send(second, b"directly")
    second.expect_messages(first, [*messages, b"directly"])


@pytest.mark.parametrize("greater", ["a", "b"])
def test_where_there_is_a_direct_one_a_relayed_one_is_a_duplicate(nodes: Nodes, greater: str) -> None:
    first, middle, second = trio(nodes, greater)
    join(first, second)
    assert open_relay(first, second, middle) == []
    wait_until(lambda: carried(middle) == 0 and not core(first)._dialer._jobs)
    for node, peer in ((first, second), (second, first)):
        assert story(node, peer) == [("NewConnection", False)]


# --- limits ---------------------------------------------------------------------------------------------------


def test_a_limit_of_bytes_is_kept(nodes: Nodes) -> None:
    first, middle, second = relayed(nodes, relay=True, relay_bytes_per_second=1_000_000)
    desk = core(middle).reach.relays.desk
    (forward,) = desk._forwards
    data = bytes(2 * RELAY_WINDOW)
    first.send(second, data)
    second.expect_messages(first, [data])
    assert forward._throttles[0]._debt > 0, "credit went through without being counted"


def test_data_for_nothing_is_misbehaviour(nodes: Nodes) -> None:
    first, second = nodes.pair()
    connection = core(first)._connections.with_peer(second.id)
    assert connection is not None
    connection.outbox.put_carried(carried_frame(1, b"for whom?"))
    assert "none was opened" in second.expect(Event.Misbehaviour).reason
    second.expect(Event.LostConnection)


def test_a_lost_relayed_endpoint_is_no_address(nodes: Nodes) -> None:
    first, _, second = relayed(nodes)
    endpoint = first.link(second)
    first.manager.connect([endpoint, second.endpoint])
    first.wait(lambda node: not node.link(second).is_relayed)
    assert isinstance(endpoint, Endpoint)
