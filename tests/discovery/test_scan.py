"""`crust.discovery.scan`: one line for each node, and nobody learns of us."""

import queue
from collections.abc import Callable, Iterator

import pytest

from crust.discovery import scan as module
from crust.discovery.beacon import Beacon
from crust.discovery.beacon_packet import Announcement
from crust.discovery.contact import Contact
from crust.discovery.scan import scan
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from tests.discovery.beacon_loopback import config, free_port, only_loopback, some_node

SECONDS = 0.5


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_loopback(config: object, own: Callable[[], Announcement], on_found: Callable[[Contact], None]) -> Beacon:
        return Beacon(config, own, on_found, find_links=only_loopback)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "Beacon", on_loopback)


@pytest.fixture
def nodes() -> Iterator[tuple[int, list[Announcement], "queue.SimpleQueue[Contact]"]]:
    """Two beacons: their port, what they tell, and whom they found."""
    port, found = free_port(), queue.SimpleQueue[Contact]()
    abouts = [some_node(1000, 2000), some_node(1001, 0)]
    beacons = [Beacon(config(port), lambda it=about: it, found.put, find_links=only_loopback) for about in abouts]  # type: ignore[misc]
    for beacon in beacons:
        beacon.start()
    for _ in beacons:
        found.get(timeout=20.0)  # each other
    yield port, abouts, found
    for beacon in beacons:
        beacon.stop()


def test_who_answers_is_listed_and_learns_nothing(
    nodes: tuple[int, list[Announcement], "queue.SimpleQueue[Contact]"],
) -> None:
    port, abouts, found_by_them = nodes
    for _ in range(20):
        found = scan(config(port), SECONDS)
        if len(found) == len(abouts):
            break  # a busy machine may be late with an answer
    assert [contact.peer_id for contact in found] == [about.peer_id for about in abouts]
    assert found[0].endpoints == (Endpoint.tcp("127.0.0.1:1000"), Endpoint.utp("127.0.0.1:2000"))
    assert found[1].endpoints == (Endpoint.tcp("127.0.0.1:1001"),)
    assert found_by_them.empty()


def test_another_network_answers_nothing(
    nodes: tuple[int, list[Announcement], "queue.SimpleQueue[Contact]"],
) -> None:
    assert scan(config(nodes[0], "another"), SECONDS) == []


def test_it_asks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[Beacon] = []
    monkeypatch.setattr(module, "ASK_AGAIN", 0.05)
    monkeypatch.setattr(Beacon, "seek", lambda self: sought.append(self))
    assert scan(config(free_port()), 0.3) == []
    assert len(sought) >= 2


def test_without_a_beacon_there_is_nothing_to_ask_with() -> None:
    with pytest.raises(ConfigError, match="beacon_port"):
        scan(config(None), SECONDS)
