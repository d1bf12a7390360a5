"""`crust.finding.lan`: the beacon of a manager; on loopback, with real sockets."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, Identity
from crust.connecting.notices import Inbox, LanNews
from crust.discovery.beacon import Beacon
from crust.discovery.contact import Contact, Source
from crust.finding.lan import MAX_WAITING_FOUND, Lan, _state
from tests.discovery.beacon_loopback import PATIENCE, free_port
from tests.together import until

LOCAL = ("127.0.0.1",)
SOMEBODY = Contact((Endpoint.tcp("127.0.0.1:1"),), Identity().peer_id, Source.BEACON)


class Node:
    """A `Lan`, and the manager that empties its inbox."""

    def __init__(self, **settings: Any) -> None:
        self.inbox = Inbox()
        self.id = Identity().peer_id
        self.lan = Lan(Config(**{"listen_addresses": LOCAL, "network": "lan test", **settings}), self.id, self.inbox)

    def find(self) -> Contact:
        """The next who is found."""
        while True:
            assert isinstance(self.inbox.get(timeout=PATIENCE), LanNews)
            found, _ = self.lan.take_news()
            if found:
                return found[0]


@pytest.fixture
def make() -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def node(**settings: Any) -> Node:
        made.append(Node(**settings))
        return made[-1]

    yield node
    for one in made:
        one.lan.stop()


Make = Callable[..., Node]


def test_two_nodes_find_each_other_and_how_to_connect(make: Make) -> None:
    port = free_port()
    first, second = make(beacon_port=port), make(beacon_port=port)
    first.lan.start(1000, 2000)
    second.lan.start(1001, 0)
    assert second.find() == Contact(
        (Endpoint.tcp("127.0.0.1:1000"), Endpoint.utp("127.0.0.1:2000")), first.id, Source.BEACON
    )
    assert first.find() == Contact((Endpoint.tcp("127.0.0.1:1001"),), second.id, Source.BEACON)
    assert first.lan.acceptor_port == port
    assert first.lan.state == f"hears others on UDP port {port}"


def test_who_does_not_listen_seeks_and_is_not_found(make: Make) -> None:
    port = free_port()
    first, second = make(beacon_port=port), make(beacon_port=port)
    first.lan.start(1000, 2000)
    second.lan.start()
    second.lan.seek()
    assert second.find().peer_id == first.id
    second.lan.start(3000, 0)  # from now on it listens
    second.lan.seek()
    assert first.find() == Contact((Endpoint.tcp("127.0.0.1:3000"),), second.id, Source.BEACON)


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"beacon_port": None}, "off (beacon_port is null)"),
        ({"listen_addresses": ("0.0.0.0",)}, "off (CRUST_ISOLATED is set)"),
    ],
)
def test_where_there_is_to_be_no_beacon(make: Make, settings: dict[str, Any], state: str) -> None:
    node = make(**settings)
    node.lan.start(1000, 2000)
    node.lan.seek()
    assert (node.lan.possible, node.lan.acceptor_port, node.lan.state) == (False, None, state)
    assert not [thread for thread in threading.enumerate() if thread.name == "crust-beacon"]


@pytest.mark.parametrize("error", [OSError("no descriptors"), RuntimeError("no threads")])
def test_a_beacon_that_cannot_be_started_is_no_reason_to_fail(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def start(_: Beacon) -> None:
        raise error

    monkeypatch.setattr(Beacon, "start", start)
    node = make(beacon_port=free_port())
    node.lan.start(1000)
    node.lan.start(1000)
    assert node.lan.state == f"could not be started: {error}"
    assert len(caplog.records) == 1


def test_a_beacon_that_is_deaf_says_so(make: Make) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("", 0))
        node = make(beacon_port=stranger.getsockname()[1])
        node.lan.start(1000)
        until(lambda: node.lan.state.endswith(": its port is taken"))


@pytest.mark.parametrize(
    ("port", "deaf", "text"),
    [
        (5483, (), "hears others on UDP port 5483"),
        (5483, ((4, "its port is taken"),), "hears others on UDP port 5483; not over IPv4: its port is taken"),
        (None, ((4, "its port is taken"),), "does not hear others: its port is taken"),
        (None, (), "does not hear others"),
    ],
)
def test_what_people_read_of_it(port: int | None, deaf: tuple[tuple[int, str], ...], text: str) -> None:
    assert _state(port, deaf) == text


def test_it_ends_for_good(make: Make) -> None:
    node = make(beacon_port=free_port())
    node.lan.start(1000)
    node.lan.stop()
    node.lan.stop()
    node.lan.start(1000)
    assert (node.lan.acceptor_port, node.lan.possible) == (None, False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of changes; there is nothing to test elsewhere")
def test_without_a_beacon_somebody_else_may_watch_the_interfaces(make: Make) -> None:
    """Only one of the two does."""
    assert make(beacon_port=0).lan.watch_links() is None
    node = make(beacon_port=None)
    watch = node.lan.watch_links()
    assert watch is not None
    node.lan.links_changed(watch)
    watch.close()
    assert isinstance(node.inbox.get_nowait(), LanNews)
    assert node.lan.take_news() == ([], True)


def test_where_the_system_does_not_tell_nobody_watches(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert make(beacon_port=None).lan.watch_links() is None


def test_news_waits_for_the_manager_in_one_notice(make: Make) -> None:
    """A flood of beacons does not fill the inbox."""
    node = make()
    for _ in range(2 * MAX_WAITING_FOUND):
        node.lan._on_found(SOMEBODY)
    node.lan._on_change()
    assert node.inbox.qsize() == 1
    found, changed = node.lan.take_news()
    assert (len(found), changed) == (MAX_WAITING_FOUND, True)
    assert node.lan.take_news() == ([], False)
    node.lan._on_found(SOMEBODY)
    assert node.inbox.qsize() == 2
