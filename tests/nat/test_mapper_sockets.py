"""`crust.nat.mapper_sockets`: datagrams to and from a router, on loopback."""

import selectors
import socket
from collections.abc import Iterator

import pytest

from crust.endpoint import Port
from crust.nat import gateway_answer, ssdp
from crust.nat.gateway_session import GatewaySession, Way
from crust.nat.mapper_sockets import PathSockets, hear_announcements, open_announcements
from crust.nat.mapping_report import Method
from crust.nat.paths import Path
from tests.nat.router_on_loopback import LoopbackRouter
from tests.nat.test_ssdp import answer as ssdp_answer

PATH = Path("lo", "127.0.0.1", 8, "127.0.0.1")
PATIENCE = 10.0


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


def take(selector: selectors.BaseSelector, now: float) -> None:
    ready = selector.select(PATIENCE)
    assert ready
    for key, _ in ready:
        key.data.ready(key.fileobj, now)


def test_a_router_answers(monkeypatch: pytest.MonkeyPatch, selector: selectors.BaseSelector) -> None:
    with LoopbackRouter(2) as router:
        monkeypatch.setattr(gateway_answer, "PORT", router.port)
        session = GatewaySession(PATH, 0.0)
        session.want([Port.tcp(5483)], 0.0)
        sockets = PathSockets(session, selector)
        for way, data in session.outgoing(0.0):
            sockets.send(way, data, 0.0)
        take(selector, 0.0)
        assert session.report().method is Method.PCP
        sockets.close()
        assert not selector.get_map()


def test_a_closed_port_is_told_of(monkeypatch: pytest.MonkeyPatch, selector: selectors.BaseSelector) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        monkeypatch.setattr(gateway_answer, "PORT", placeholder.getsockname()[1])
    session = GatewaySession(PATH, 0.0)
    session.want([Port.tcp(5483)], 0.0)
    sockets = PathSockets(session, selector)
    for _ in range(2):  # PCP, NAT-PMP
        for way, data in session.outgoing(0.0):
            sockets.send(way, data, 0.0)
        take(selector, 0.0)
    assert next(way for way, _ in session.outgoing(0.0)) is Way.GROUP  # the next method has its turn
    sockets.close()


def test_searching_has_its_own_socket_and_hears_who_answers(
    monkeypatch: pytest.MonkeyPatch, selector: selectors.BaseSelector
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(PATIENCE)
        monkeypatch.setattr(ssdp, "GROUP", "127.0.0.1")
        monkeypatch.setattr(ssdp, "PORT", device.getsockname()[1])
        session = GatewaySession(PATH, 0.0, [Method.UPNP])
        session.want([Port.tcp(5483)], 0.0)
        sockets = PathSockets(session, selector)
        sockets.searching(session.searching)
        for way, data in session.outgoing(0.0):
            assert way is Way.GROUP
            sockets.send(way, data, 0.0)
        data, address = device.recvfrom(2048)
        assert data.startswith(b"M-SEARCH")
        device.sendto(ssdp_answer("http://127.0.0.1:1/x"), address)
        take(selector, 0.1)
        session.outgoing(0.1)
        call = session.take_call(0.1)
        assert call is not None
        assert call.url == "http://127.0.0.1:1/x"
        sockets.searching(session.searching)
        assert not selector.get_map()  # nobody can write to it any more


def test_over_ipv6_it_searches_the_link_and_hears_who_answers(
    monkeypatch: pytest.MonkeyPatch, selector: selectors.BaseSelector
) -> None:
    with ipv6_loopback() as device:
        device.settimeout(PATIENCE)
        monkeypatch.setattr(ssdp, "GROUP_IPV6", "::1")
        monkeypatch.setattr(ssdp, "PORT", device.getsockname()[1])
        session = GatewaySession(Path("lo", "::1", 128, "::1"), 0.0, [Method.UPNP])
        session.want([Port.tcp(5483)], 0.0)
        sockets = PathSockets(session, selector)
        for way, data in session.outgoing(0.0):
            sockets.send(way, data, 0.0)
        _, address = device.recvfrom(2048)
        device.sendto(ssdp_answer("http://[2a00::1]:1/x", ssdp.TARGETS_IPV6[0]), address)
        take(selector, 0.1)
        session.outgoing(0.1)
        call = session.take_call(0.1)
        assert call is not None
        assert call.url == "http://[::1]:1/x"
        sockets.close()


def ipv6_loopback() -> socket.socket:
    """A UDP socket on ``::1``; the test is skipped where there is none."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.bind(("::1", 0))
    except OSError as error:
        sock.close()
        pytest.skip(f"this machine has no IPv6: {error}")
    return sock


def test_an_address_that_is_not_ours_any_more_is_no_crash(selector: selectors.BaseSelector) -> None:
    session = GatewaySession(Path("gone0", "192.0.2.77", 24, "192.0.2.1"), 0.0)
    session.want([Port.tcp(5483)], 0.0)
    sockets = PathSockets(session, selector)
    for way, data in session.outgoing(0.0):
        sockets.send(way, data, 0.0)
    assert not selector.get_map()
    sockets.close()


def test_an_interface_that_is_gone_is_no_crash(selector: selectors.BaseSelector) -> None:
    session = GatewaySession(Path("gone0", "::1", 64, "fe80::1%gone0"), 0.0)
    session.want([Port.tcp(5483)], 0.0)
    sockets = PathSockets(session, selector)
    for way, data in session.outgoing(0.0):
        sockets.send(way, data, 0.0)
    sockets.close()


def test_announcements_are_heard_by_all_programs_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as placeholder:
        placeholder.bind(("", 0))
        monkeypatch.setattr(gateway_answer, "ANNOUNCE_PORT", placeholder.getsockname()[1])
    first, second = open_announcements(), open_announcements()
    assert first is not None
    assert second is not None
    with first, second, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as router:
        assert hear_announcements(first) == set()
        router.sendto(b"anything", ("127.0.0.1", first.getsockname()[1]))
        assert hear_announcements(second) | hear_announcements(first) == {"127.0.0.1"}


def test_a_port_that_another_program_keeps_for_itself_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        monkeypatch.setattr(gateway_answer, "ANNOUNCE_PORT", other.getsockname()[1])
        assert open_announcements() is None
