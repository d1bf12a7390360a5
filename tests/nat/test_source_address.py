"""`crust.nat.source_address`: what a packet bears is asked of the system, on loopback; which listener that means is
decided for machines that the test makes up."""

import socket

import pytest

from crust import Endpoint
from crust.nat import source_address
from crust.nat.source_address import listener_for_strangers, listener_towards, source_towards

LAN, ALSO_LAN, VPN, LOOPBACK = "192.168.1.2", "192.168.1.3", "10.8.0.2", "127.0.0.1"
OUTSIDE = Endpoint.tcp("198.51.100.7:5483")


def sends_from(monkeypatch: pytest.MonkeyPatch, source: str | None) -> None:
    """The system would choose that address, whoever is sent to."""
    monkeypatch.setattr(source_address, "source_towards", lambda remote: source)
    networks = [f"{LAN}/24", f"{ALSO_LAN}/24", f"{VPN}/24", f"{LOOPBACK}/8"]
    monkeypatch.setattr(source_address, "interface_networks", lambda: networks)


def test_to_this_machine_from_this_machine() -> None:
    assert source_towards(Endpoint.tcp("127.0.0.1:9")) == "127.0.0.1"
    assert source_towards(Endpoint.utp("127.0.0.1:9")) == "127.0.0.1"


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6; build it with IPv6 to test that")
def test_ipv6_without_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sock(socket.socket):
        def connect(self, address: object) -> None:
            assert address == ("fe80::1%eth0", 9)

        def getsockname(self) -> tuple[str, int, int, int]:
            return "fe80::2%eth0", 1, 0, 2

    monkeypatch.setattr(source_address.socket, "socket", Sock)
    assert source_towards(Endpoint.utp("[fe80::1%eth0]:9")) == "fe80::2"


def test_a_name_is_not_looked_up() -> None:
    assert source_towards(Endpoint.tcp("localhost:9")) is None


def test_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sock(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError("Network is unreachable")

    monkeypatch.setattr(source_address.socket, "socket", Sock)
    assert source_towards(Endpoint.tcp("192.0.2.1:9")) is None


@pytest.mark.parametrize("hosts", [(LOOPBACK, LAN), (LAN, LOOPBACK), (VPN, LAN), (LAN, VPN), ("0.0.0.0", LAN)])
def test_of_several_listeners_the_one_on_the_way_whichever_is_named_first(
    hosts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sends_from(monkeypatch, LAN)
    assert listener_towards(hosts, OUTSIDE) == LAN
    assert listener_for_strangers(hosts, 4) == LAN


def test_a_listener_on_every_address_is_always_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    sends_from(monkeypatch, VPN)
    assert listener_towards(["0.0.0.0", "::"], OUTSIDE) == "0.0.0.0"
    assert listener_towards([LAN, "0.0.0.0"], OUTSIDE) == "0.0.0.0"
    assert listener_towards(["0.0.0.0", "::"], Endpoint.utp("[2001:db8::7]:1")) == "::"


def test_another_address_of_the_same_network_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    sends_from(monkeypatch, LAN)
    assert listener_towards([VPN, ALSO_LAN], OUTSIDE) == ALSO_LAN


def test_no_listener_is_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then one dials from another port; but strangers have to meet us somewhere."""
    sends_from(monkeypatch, LAN)
    assert listener_towards([LOOPBACK, VPN], OUTSIDE) is None
    assert listener_for_strangers([LOOPBACK, VPN], 4) == VPN
    assert listener_for_strangers([LOOPBACK], 4) == LOOPBACK
    assert listener_for_strangers([LOOPBACK], 6) is None
    assert listener_towards([], OUTSIDE) is None


def test_where_there_is_no_way_the_first_listener_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    sends_from(monkeypatch, None)
    assert listener_towards([LOOPBACK, LAN, VPN], OUTSIDE) == LAN
    assert listener_towards([LAN, LOOPBACK], Endpoint.utp("127.0.0.1:1")) == LOOPBACK


def test_a_scope_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    sends_from(monkeypatch, "fe80::2")
    assert listener_towards(["fe80::2%eth0"], Endpoint.utp("[fe80::1%eth0]:9")) == "fe80::2%eth0"
