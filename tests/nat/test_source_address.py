"""`crust.nat.source_address`: asked of the system, on loopback."""

import socket

import pytest

from crust import Endpoint
from crust.nat import source_address
from crust.nat.source_address import source_towards


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
