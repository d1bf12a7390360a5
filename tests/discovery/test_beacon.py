"""`crust.discovery.beacon`: threads that find each other, and end."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from crust.discovery.beacon import Beacon, contact_of
from crust.discovery.beacon_core import Found
from crust.discovery.beacon_links import Link
from crust.discovery.beacon_packet import DATAGRAM_SIZE, Announcement
from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.threads.clock import Deadline
from tests.discovery.beacon_loopback import PATIENCE, config, free_port, only_loopback, some_node

Start = Callable[..., "Node"]


class Node:
    """A beacon, and what it found."""

    def __init__(self, port: int, network: str, about: Announcement, towards: int | None) -> None:
        self.about = about
        self.found: queue.SimpleQueue[Contact] = queue.SimpleQueue()
        self.beacon = Beacon(
            config(port, network), lambda: self.about, self.take, towards=towards, find_links=only_loopback
        )

    def take(self, contact: Contact) -> None:
        self.found.put(contact)

    def next(self) -> Contact:
        return self.found.get(timeout=PATIENCE)

    def counted(self, name: str, least: int = 1) -> bool:
        """Whether a counter gets there."""
        deadline = Deadline(PATIENCE)
        while self.beacon.counters[name] < least and not deadline.expired:
            threading.Event().wait(0.01)
        return self.beacon.counters[name] >= least


@pytest.fixture
def start() -> Iterator[Start]:
    nodes: list[Node] = []

    def make(
        port: int, network: str = "beacon test", about: Announcement | None = None, towards: int | None = None
    ) -> Node:
        nodes.append(Node(port, network, about or some_node(), towards))
        nodes[-1].beacon.start()
        return nodes[-1]

    yield make
    for node in nodes:
        node.beacon.stop()


def test_nodes_of_one_host_find_each_other(start: Start) -> None:
    port = free_port()
    nodes = [start(port, about=some_node(1000 + number, 2000 + number)) for number in range(3)]
    for node in nodes:
        others = {node.next(), node.next()}
        assert others == {
            Contact(
                (
                    Endpoint.tcp(("127.0.0.1", other.about.tcp_port)),
                    Endpoint.utp(("127.0.0.1", other.about.utp_port)),
                ),
                other.about.peer_id,
                Source.BEACON,
            )
            for other in nodes
            if other is not node
        }
    assert nodes[0].beacon.acceptor_port == port


def test_other_networks_never_appear(start: Start) -> None:
    """TRAPS T-36: cross-talk of different networks."""
    port = free_port()
    ours, strange = start(port), start(port, "another")
    friend = start(port)
    assert ours.next().peer_id == friend.about.peer_id
    assert friend.next().peer_id == ours.about.peer_id
    assert ours.counted("foreign")
    assert strange.counted("foreign")
    assert strange.found.empty()
    assert ours.found.empty()


def test_seek_reports_again(start: Start) -> None:
    port = free_port()
    ours, other = start(port), start(port)
    assert ours.next().peer_id == other.about.peer_id
    ours.beacon.seek()
    assert ours.next().peer_id == other.about.peer_id


def test_a_beacon_on_any_port_is_found_by_who_knows_it(start: Start) -> None:
    """MAID-1162: tests ask for the port."""
    hidden = start(0, towards=free_port())
    port = hidden.beacon.acceptor_port
    assert port
    ours = start(free_port(), towards=port)
    assert ours.next().peer_id == hidden.about.peer_id


def test_malformed_datagrams_do_not_deafen_it(start: Start) -> None:
    """TRAPS T-67."""
    port = free_port()
    ours = start(port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(300):
            stranger.sendto(bytes([number & 255]) * (number if number % 2 else DATAGRAM_SIZE), ("127.0.0.1", port))
    assert ours.counted("foreign", 100)
    other = start(port)
    assert ours.next().peer_id == other.about.peer_id


def test_callbacks_that_fail_do_not_end_it(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    def failing(contact: Contact) -> None:
        ours.take(contact)
        raise ZeroDivisionError

    port = free_port()
    ours = start(port)
    ours.beacon._on_found = failing
    other = start(port)
    assert ours.next().peer_id == other.about.peer_id
    ours.beacon.seek()
    assert ours.next().peer_id == other.about.peer_id
    assert "ZeroDivisionError" in caplog.text


def test_it_can_be_stopped_from_its_own_thread(start: Start) -> None:
    def stopping(contact: Contact) -> None:
        ours.beacon.stop()
        ours.take(contact)

    port = free_port()
    ours = start(port)
    ours.beacon._on_found = stopping
    start(port)
    ours.next()
    ours.beacon.stop()
    assert ours.beacon.acceptor_port is None


def test_stop_frees_the_port_and_start_comes_once(start: Start) -> None:
    port = free_port()
    node = start(port)
    with pytest.raises(RuntimeError):
        node.beacon.start()
    node.beacon.stop()
    node.beacon.stop()
    node.beacon.seek()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
    with pytest.raises(RuntimeError):
        node.beacon.start()


def test_stop_before_start() -> None:
    node = Node(free_port(), "beacon test", some_node(), None)
    node.beacon.seek()
    node.beacon.stop()
    assert node.beacon.acceptor_port is None
    with pytest.raises(RuntimeError):
        node.beacon.start()


def test_no_beacon_is_asked_for() -> None:
    with pytest.raises(ValueError):
        Beacon(config(None), some_node, lambda contact: None)


@pytest.mark.parametrize(
    ("host", "tcp", "utp", "endpoints"),
    [
        ("192.0.2.7", 5, 6, ["tcp://192.0.2.7:5", "utp://192.0.2.7:6"]),
        ("192.0.2.7", 0, 6, ["utp://192.0.2.7:6"]),
        ("fe80::1%eth0", 5, 0, ["tcp://[fe80::1%eth0]:5"]),
        ("127.0.0.1", 5, 0, ["tcp://127.0.0.1:5"]),
        ("fe80::1", 5, 6, []),  # nobody knows on which interface
        ("192.0.2.7", 0, 0, []),
    ],
)
def test_what_a_contact_consists_of(host: str, tcp: int, utp: int, endpoints: list[str]) -> None:
    about = some_node(tcp, utp)
    contact = contact_of(Found(host, about, bytes(16)))
    if endpoints:
        assert contact == Contact(tuple(map(Endpoint.parse, endpoints)), about.peer_id, Source.BEACON)
    else:
        assert contact is None


def test_changes_of_the_interfaces_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and whenever the system tells of one; what goes wrong there is not the beacon's end."""
    told: queue.SimpleQueue[None] = queue.SimpleQueue()
    seen: list[int] = []

    def change() -> None:
        told.put(None)
        raise RuntimeError("out of order")

    def find_links() -> list[Link]:
        seen.append(1)
        return only_loopback()

    beacon = Beacon(config(free_port()), some_node, lambda contact: None, find_links=find_links, on_change=change)
    beacon.start()
    try:
        told.get(timeout=PATIENCE)
        assert seen
        assert beacon.acceptor_port is not None
    finally:
        beacon.stop()
    assert "out of order" in caplog.text
