"""`crust.discovery.beacon_sockets`: one host's processes share a port, and no failure reaches further than it must."""

import errno
import logging
import selectors
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from crust.discovery import beacon_sockets
from crust.discovery.beacon_links import Link
from crust.discovery.beacon_packet import DATAGRAM_SIZE
from crust.discovery.beacon_sockets import RETRIES, BeaconSockets, scope_name
from tests.discovery.beacon_loopback import LOOPBACK, PATIENCE, free_port

DATA = bytes(DATAGRAM_SIZE)
NOWHERE = Link(4, 999_999, "gone0", "192.0.2.1", 24)


class Host:
    """Sockets with a selector; closes both."""

    def __init__(self, port: int, towards: int, versions: tuple[int, ...] = (4,)) -> None:
        self.selector = selectors.DefaultSelector()
        self.sockets = BeaconSockets(port, towards, self.selector, versions)

    def wait(self) -> tuple[bytes, Any]:
        """What comes next."""
        for key, _ in self.selector.select(PATIENCE):
            assert isinstance(key.fileobj, socket.socket)
            received = self.sockets.receive(key.fileobj)
            assert received
            return received
        raise AssertionError("nothing came")

    def nothing_came(self) -> bool:
        return not self.selector.select(0.05)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    hosts: list[Host] = []
    yield hosts
    for host in hosts:
        host.sockets.close()
        host.selector.close()


def host(hosts: list[Host], port: int, towards: int = 0, **more: Any) -> Host:
    hosts.append(Host(port, towards or port, **more))
    hosts[-1].sockets.refresh([LOOPBACK])
    return hosts[-1]


def test_several_on_one_host_share_the_port_and_all_hear(hosts: list[Host]) -> None:
    """TRAPS T-67: only one listener per host."""
    port = free_port()
    three = [host(hosts, port) for _ in range(3)]
    assert [each.sockets.hearing_port for each in three] == [port] * 3
    assert three[0].sockets.send_to_all(lambda: DATA) == 1
    senders = {each.wait()[1] for each in three}
    assert len(senders) == 1
    [sender] = senders
    assert sender[1] != port
    three[2].sockets.send(DATA, sender)
    assert three[0].wait()[0] == DATA  # an answer comes to the one that asked
    assert three[1].nothing_came()


def test_port_0_is_a_free_one_that_others_may_share(hosts: list[Host]) -> None:
    first = host(hosts, 0, free_port())
    port = first.sockets.hearing_port
    assert port
    second = host(hosts, port)
    second.sockets.send_to_all(lambda: DATA)
    assert first.wait()[0] == second.wait()[0] == DATA


def test_a_port_that_a_stranger_keeps_is_tried_again(hosts: list[Host], caplog: pytest.LogCaptureFixture) -> None:
    """TRAPS T-67: no random port instead, on which nobody looks; it still speaks, and hears answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("", 0))
        port = stranger.getsockname()[1]
        with caplog.at_level(logging.INFO, "crust.beacon"):
            ours = host(hosts, port)
            ours.sockets.refresh([LOOPBACK])
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"UDP port {port}" in caplog.text
        assert ours.sockets.hearing_port is None
        assert ours.sockets.send_to_all(lambda: DATA) == 1
        assert stranger.recvfrom(200)[0] == DATA
    ours.sockets.refresh([LOOPBACK])
    assert ours.sockets.complete
    assert ours.sockets.hearing_port == port


def test_it_is_known_over_which_version_of_ip_others_are_not_heard(hosts: list[Host]) -> None:
    """A program that does not share the port holds it for IPv4 only: the beacon is half deaf."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("", 0))
        ours = host(hosts, stranger.getsockname()[1], versions=(6, 4))
        assert ours.sockets.deaf == ((4, "its port is taken"),)
        ours.sockets.refresh([])
        assert ours.sockets.deaf == (), "there is nobody to be heard"
    ours.sockets.refresh([LOOPBACK])
    assert ours.sockets.deaf == ()


def test_a_link_that_fails_does_not_keep_the_others(hosts: list[Host]) -> None:
    """TRAPS T-67: an error on one interface."""
    ours = host(hosts, free_port())
    ours.sockets.refresh([NOWHERE, LOOPBACK])
    datagrams = [DATA, DATA]  # each link has one of its own
    assert ours.sockets.send_to_all(datagrams.pop) == 1
    assert not datagrams
    assert ours.wait()[0] == DATA


def test_a_link_that_fails_counts_as_new_a_few_times(hosts: list[Host]) -> None:
    """An IPv6 address cannot be used for its first seconds."""
    ours = host(hosts, free_port())
    assert ours.sockets.refresh([NOWHERE, LOOPBACK]) == [NOWHERE]
    for attempt in range(RETRIES + 2):
        ours.sockets.send_to_all(lambda: DATA)
        assert ours.sockets.refresh([NOWHERE, LOOPBACK]) == ([NOWHERE] if attempt < RETRIES else [])
    assert ours.sockets.refresh([LOOPBACK]) == []
    assert ours.sockets.refresh([NOWHERE, LOOPBACK]) == [NOWHERE]  # it was gone


def test_an_interface_that_came_up_counts_as_new(hosts: list[Host]) -> None:
    ours = host(hosts, free_port())
    assert ours.sockets.refresh([LOOPBACK]) == []
    assert ours.sockets.refresh([LOOPBACK], came_up=[LOOPBACK.index]) == [LOOPBACK]


@pytest.mark.parametrize("size", [0, 1, DATAGRAM_SIZE - 1, DATAGRAM_SIZE + 1, 1400, 9000])
def test_other_sizes_are_no_use_and_no_harm(hosts: list[Host], size: int) -> None:
    ours = host(hosts, free_port())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(bytes(size), ("127.0.0.1", ours.sockets.port))
    assert ours.wait()[0] == b""


def test_what_comes_from_elsewhere_is_no_use(hosts: list[Host]) -> None:
    ours = host(hosts, free_port())
    ours.sockets.refresh([NOWHERE])  # so loopback is not one of our networks
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(DATA, ("127.0.0.1", ours.sockets.port))
    assert ours.wait()[0] == b""


class Broken:
    """A socket that only gives errors, in the place of a real one."""

    def __init__(self, real: socket.socket, code: int) -> None:
        self.real = real
        self.code = code

    def recvfrom(self, size: int) -> Any:
        raise OSError(self.code, "broken")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_a_socket_that_only_gives_errors_is_replaced(hosts: list[Host]) -> None:
    ours = host(hosts, free_port())
    real = ours.sockets._hearing[4]
    broken: Any = Broken(real, errno.EIO)
    ours.selector.unregister(real)
    ours.sockets._hearing[4] = broken
    ours.selector.register(broken, selectors.EVENT_READ)
    for _ in range(beacon_sockets._BAD_READS):
        assert ours.sockets.hearing_port
        assert ours.sockets.receive(broken) is None
    assert not ours.sockets.hearing_port
    assert real.fileno() == -1
    ours.sockets.refresh([LOOPBACK])
    ours.sockets.send_to_all(lambda: DATA)
    assert ours.wait()[0] == DATA


@pytest.mark.parametrize("code", [errno.EMSGSIZE, errno.ECONNRESET])
def test_errors_that_strangers_can_cause_cost_no_socket(hosts: list[Host], code: int) -> None:
    """TRAPS T-67: a malformed datagram deafens. Windows reports one that is too large as an error."""
    ours = host(hosts, free_port())
    broken: Any = Broken(ours.sockets._hearing[4], code)
    for _ in range(1000):
        assert ours.sockets.receive(broken) is None
    assert ours.sockets.complete


def test_answers_that_cannot_be_sent_are_lost(hosts: list[Host]) -> None:
    ours = host(hosts, free_port())
    ours.sockets.send(DATA, ("127.0.0.1", 0))
    ours.sockets.send(DATA, ("fe80::1%nowhere", 7, 0, 999_999))
    ours.sockets.close()
    ours.sockets.send(DATA, ("127.0.0.1", 7))


def test_without_pktinfo_the_network_s_own_broadcast_address_will_do(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    ours = host(hosts, free_port())
    ours.sockets.refresh([Link(4, 1, "lo", "127.3.0.1", 16)])
    assert ours.sockets.send_to_all(lambda: DATA) in (0, 1)  # 127.3.255.255 is not one everywhere


def test_scopes_have_names() -> None:
    index, name = socket.if_nameindex()[0]
    assert scope_name(index) == name
    assert scope_name(999_999) == "999999"
