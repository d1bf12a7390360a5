"""Whole managers on a machine whose addresses change; the system that tells of them is the test's. With real addresses
in ``tests/lab/test_moving.py``."""

import socket

import pytest

from crust import Event
from crust.finding import lan, moves, own_addresses
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Node, Nodes, loopback_config, wait_until

GRACE = 0.2  # seconds, in place of `moves.ADDRESS_GRACE`


class Watch:
    """Stands in for `LinkWatch`."""

    all: "list[Watch]"

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self.closed = False
        Watch.all.append(self)

    def fileno(self) -> int:
        return self._theirs.fileno()

    def came_up(self) -> set[int]:
        self._theirs.recv(64)
        return set()

    def tell(self) -> None:
        self._ours.send(b"!")

    def close(self) -> None:
        self.closed = True
        self._ours.close()
        self._theirs.close()


class System:
    """The addresses of the machine, as it tells of them."""

    def __init__(self) -> None:
        self.addresses = [LOOPBACK, "192.0.2.1"]

    def change(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        for watch in Watch.all:
            watch.tell()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    system, Watch.all = System(), []
    monkeypatch.setattr(lan, "LinkWatch", Watch)
    monkeypatch.setattr(own_addresses, "interface_addresses", lambda: list(system.addresses))
    monkeypatch.setattr(moves, "ADDRESS_GRACE", GRACE)
    return system


def one_lost_its_address(guest: Node, host: Node) -> bool:
    """Both live on this machine and have lost it. Whoever notices first ends the connection for the other as well."""
    reason = f"this machine no longer has the address {LOOPBACK}, which the connection needs"
    return reason in {node.expect(Event.LostConnection).reason for node in (guest, host)}


def friends(nodes: Nodes) -> tuple[Node, Node]:
    """One that was given the other and keeps looking for it."""
    host = nodes.make()
    guest = nodes.make(fallback=[host.endpoint], bootstrap_backoff_min=0.05)
    guest.manager.bootstrap(keep_going=True)
    for node, other in ((guest, host), (host, guest)):
        node.link(other)
        wait_until(lambda node=node: node.manager._core.finder._addresses.moves._footings)  # type: ignore[misc]
    return guest, host


def test_without_a_beacon_changes_are_told_at_once(nodes: Nodes, system: System) -> None:
    """Not at the next look, half a minute later."""
    node = nodes.make(config=loopback_config(listen_addresses=("0.0.0.0",)))
    wait_until(lambda: node.manager._core.finder._addresses.endpoints)
    system.change(LOOPBACK, "192.0.2.1", "198.51.100.1")
    assert [each.host for each in node.expect(Event.OwnEndpointsChanged).endpoints] == ["192.0.2.1", "198.51.100.1"]
    node.stop()
    assert [watch.closed for watch in Watch.all] == [True]


@both_transports
def test_who_has_moved_is_connected_again(nodes: Nodes, system: System) -> None:
    guest, host = friends(nodes)
    system.change("192.0.2.1")
    assert one_lost_its_address(guest, host)
    guest.expect(Event.NewBootstrapConnection, 2)
    guest.send(host, b"here again")
    host.expect_messages(guest, [b"here again"])


@both_transports
def test_an_address_that_is_back_in_time(nodes: Nodes, system: System) -> None:
    guest, host = friends(nodes)
    system.change("192.0.2.1")
    asleep = [node.manager._core.finder._addresses.moves for node in (guest, host)]
    wait_until(lambda: all(each._suspects for each in asleep))
    system.change(LOOPBACK, "192.0.2.1")
    wait_until(lambda: not any(each._suspects for each in asleep))
    for one, other in ((guest, host), (host, guest)):
        one.send(other, b"still here")
        other.expect_messages(one, [b"still here"])
    assert guest.count["LostConnection"] == host.count["LostConnection"] == 0


def test_a_node_that_does_not_listen_looks_now_and_then(
    nodes: Nodes, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_addresses, "ADDRESS_CHECK", 0.05)
    host, guest = nodes.make(), nodes.make(listen=False)
    guest.connect(host)
    guest.link(host)
    wait_until(lambda: guest.manager._core.finder._addresses.moves._known)
    system.addresses.remove(LOOPBACK)
    wait_until(lambda: guest.manager._core.finder._addresses.moves._known == {"192.0.2.1"})
    assert one_lost_its_address(guest, host)


def test_an_end_that_comes_first_is_explained(nodes: Nodes, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the peer resets what comes from an address that it does not know."""
    monkeypatch.setattr(moves, "ADDRESS_GRACE", 1000.0)
    guest, host = friends(nodes)
    system.change("192.0.2.1")
    wait_until(lambda: guest.manager._core.finder._addresses.moves._suspects)
    host.manager._core.routes[host.link(guest)].abort()
    reason = guest.expect(Event.LostConnection).reason
    assert reason.startswith(f"this machine no longer has the address {LOOPBACK}, which the connection needs; the peer")
