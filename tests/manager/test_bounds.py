"""Promise 4: every bound is kept, can be set, and says its name when it is reached (T-11, T-12)."""

import itertools
from contextlib import ExitStack
from typing import Any

import pytest

from crust import Endpoint, Event, Identity, MessageTooLarge, NotConnected
from crust.limits import KIB
from tests.manager.conftest import both_transports
from tests.manager.helpers import Node, Nodes, in_parallel, join, two_identities, wait_until
from tests.manager.test_stop import black_hole, crust_threads
from tests.manager.wire import WirePeer, raw_socket


def sorted_identities(count: int) -> list[Identity]:
    """Fresh ones, the least id first."""
    return sorted((Identity() for _ in range(count)), key=lambda identity: identity.peer_id)


# --- connections ----------------------------------------------------------------------------------


def was_turned_away(node: Node) -> bool:
    """Who dials and has the greater id chooses before it can hear the answer; then it is connected for a moment."""
    return node.count["ConnectionFailed"] + node.count["LostConnection"] == 1


@pytest.mark.parametrize("bound", ["max_connections", "max_connections_per_address"])
@pytest.mark.parametrize("hub_is", ["least", "greatest"])
def test_no_more_connections_than_allowed(nodes: Nodes, bound: str, hub_is: str) -> None:
    """Also when all come at once; and the place of one who left can be taken."""
    identities = sorted_identities(9)
    hub = nodes.make(identity=identities.pop(0 if hub_is == "least" else -1), **{bound: 3})
    guests = [nodes.make(identity=identity, listen=False) for identity in identities]
    in_parallel([lambda guest=guest: guest.connect(hub) for guest in guests])
    wait_until(lambda: sum(map(was_turned_away, guests)) == 5)
    hub.wait(lambda node: node.count["NewConnection"] == 3)
    for guest in filter(was_turned_away, guests):
        end = guest.log[-1]
        reason = end.reason if isinstance(end, Event.LostConnection) else next(iter(end.reason.values()))
        assert "has as many connections as it allows" in reason
    assert len(hub.manager.connections()) == hub.count["NewConnection"] == 3
    welcome = next(guest for guest in guests if guest.id in hub.peers.values())
    other = next(guest for guest in guests if guest.id not in hub.peers.values())
    welcome.drop(welcome.link(hub))
    hub.expect(Event.LostConnection)
    join(other, hub)


def test_the_bound_holds_for_outgoing_connections_too(nodes: Nodes) -> None:
    hubs = [nodes.make() for _ in range(3)]
    node = nodes.make(max_connections=2)
    for hub in hubs[:2]:
        join(node, hub)
    node.connect(hubs[2])
    assert "max_connections" in node.expect(Event.ConnectionFailed).reason[hubs[2].endpoint]


# --- half-open connections ------------------------------------------------------------------------


def is_open(stranger: Any) -> bool:
    """Whether the other side has not closed the connection of a stranger (to whom it says nothing)."""
    stranger.setblocking(False)
    try:
        return stranger.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@both_transports
@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ({"max_half_open": 5}, ["127.0.0.1"]),
        ({"max_half_open": 5}, [f"127.0.0.{number}" for number in range(1, 9)]),
        ({"max_half_open": 100, "max_half_open_per_address": 5}, ["127.0.0.1"]),
    ],
    ids=["in all, one address", "in all, many addresses", "of one address"],
)
def test_the_oldest_half_open_connection_gives_way(nodes: Nodes, settings: dict[str, int], sources: list[str]) -> None:
    node = nodes.make(**settings)
    with ExitStack() as stack:
        strangers = []
        for source in itertools.islice(itertools.cycle(sources), 8):
            strangers.append(stack.enter_context(raw_socket(node.endpoint, source)))
            wait_until(lambda: sum(map(is_open, strangers)) == min(len(strangers), 5))
        assert [is_open(stranger) for stranger in strangers] == [False] * 3 + [True] * 5
        assert node.manager._core.half_open == 5
        join(nodes.make(), node)  # and who is honest gets in: the oldest gives way to it too
        wait_until(lambda: node.manager._core.half_open == 4)


@both_transports
def test_one_address_cannot_push_out_the_others(nodes: Nodes) -> None:
    node = nodes.make(max_half_open=10, max_half_open_per_address=3)
    with ExitStack() as stack:
        quiet = [stack.enter_context(raw_socket(node.endpoint, f"127.0.0.{number}")) for number in (2, 3)]
        flood = [stack.enter_context(raw_socket(node.endpoint)) for _ in range(20)]
        wait_until(lambda: sum(map(is_open, flood)) == 3)
        assert all(map(is_open, quiet))


# --- what we do ourselves -------------------------------------------------------------------------


def test_no_more_dials_at_a_time_than_allowed(nodes: Nodes) -> None:
    """The others wait for their turn (the original ran out of descriptors)."""
    with black_hole() as nowhere:
        node = nodes.make(max_dials=3, dial_timeout=0.2)
        for number in range(12):
            node.connect(Endpoint.tcp((nowhere.host, nowhere.port)) if number == 0 else nowhere)
        most = 0
        while node.count["ConnectionFailed"] < 12:
            most = max(most, sum(name.startswith("crust-dialer") for name in crust_threads()))
            seen = len(node.log)
            node.wait(lambda node, seen=seen: len(node.log) > seen)
        assert most == 3


def test_no_more_connects_in_progress_than_allowed(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.manager.core.MAX_WAITING_CONNECTS", 5)
    with black_hole() as nowhere:
        node = nodes.make()
        for _ in range(6):
            node.connect(nowhere)
        assert "wait for their events first" in node.expect(Event.ConnectionFailed).reason[nowhere]
        assert node.count["ConnectionFailed"] == 1


def test_threads_do_not_pile_up(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for each connection, one manager, one listener, and pools whose threads end when they are idle."""
    monkeypatch.setattr("crust.threads.workers.IDLE_WORKER_SECONDS", 0.05)
    hub = nodes.make()
    guests = [nodes.make(listen=False) for _ in range(20)]
    for guest in guests:
        join(guest, hub)
        guest.stop()
    hub.expect(Event.LostConnection, 20)
    wait_until(lambda: sorted(crust_threads()) == ["crust-listener", "crust-manager"])


# --- messages -------------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_refused_where_it_is_sent(nodes: Nodes) -> None:
    first, second = nodes.pair(max_message_size=100_000)
    link = first.link(second)
    with pytest.raises(MessageTooLarge, match=r"a message of 100001 bytes; the limit is 100000 .*both sides"):
        first.manager.send(link, bytes(100_001))
    first.send(link, bytes(100_000))
    second.expect_messages(first, [bytes(100_000)])


@both_transports
@pytest.mark.parametrize("size", [10_001, 65_536, 70_000, 1_000_000])
def test_a_message_that_is_too_large_for_the_receiver_ends_the_connection(nodes: Nodes, size: int) -> None:
    """The two were configured differently: the reason says so, and nothing of the message is delivered."""
    sender, receiver = nodes.make(), nodes.make(max_message_size=10_000)
    join(sender, receiver)
    sender.send(sender.link(receiver), b"fits")
    receiver.expect_messages(sender, [b"fits"])
    sender.send(sender.link(receiver), bytes(size))
    assert "10000" in receiver.expect(Event.LostConnection).reason
    assert receiver.heard[sender.id] == [b"fits"]
    sender.expect(Event.LostConnection)


@both_transports
@pytest.mark.parametrize("why", ["too large a message", "blacklist"])
def test_who_is_cut_off_is_told_why(nodes: Nodes, why: str) -> None:
    """It must not think that the other one crashed."""
    outcast, host = nodes.make(), nodes.make(max_message_size=1000)
    join(outcast, host)
    if why == "blacklist":
        host.manager.blacklist(outcast.id)
        expected = "the peer does not want to talk to us"
    else:
        outcast.send(outcast.link(host), bytes(1001))
        expected = "cut off by the peer, which says: a message of 1001 bytes in one frame; the limit is 1000"
    assert outcast.expect(Event.LostConnection).reason == expected


def test_any_bytes_like_object_can_be_sent_and_changed_afterwards(nodes: Nodes) -> None:
    first, second = nodes.pair()
    link = first.link(second)
    data = bytearray(b"before")
    for view in (data, memoryview(data), memoryview(b"x-y-z")[::2], b"bytes"):
        first.manager.send(link, view)
    data[:] = b"after!"
    second.expect_messages(first, [b"before", b"before", b"xyz", b"bytes"])
    for nonsense in ("text", None, 5):
        with pytest.raises(TypeError):
            first.manager.send(link, nonsense)


def test_what_is_not_an_endpoint_is_told_so(nodes: Nodes) -> None:
    node = nodes.make()
    with pytest.raises(NotConnected, match="not an Endpoint"):
        node.manager.send("tcp://127.0.0.1:1", b"")


@pytest.mark.parametrize("size", [64, 64 * KIB])
def test_a_send_queue_takes_what_fits_and_one_message_of_any_size(nodes: Nodes, size: int) -> None:
    """Who is ready to wait for room gets it, however small the queue."""
    lesser, greater = two_identities()
    node = nodes.make(identity=greater, send_queue_bytes=size, linger=0.0)
    with WirePeer.dial(node.endpoint, identity=lesser) as peer:
        peer.settle()
        link = node.link(peer.id)
        node.send(link, bytes(1_000_000))
        assert peer.read_messages(1) == [bytes(1_000_000)]
        messages = [b"%d" % number * size for number in range(50)]
        read: list[bytes] = []
        in_parallel([lambda: [node.send(link, each) for each in messages], lambda: read.extend(peer.read_messages(50))])
        assert read == messages
