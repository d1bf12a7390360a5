"""`crust.nat.interfaces`: which addresses are worth telling others."""

import errno
import ipaddress
import os
import socket
from types import SimpleNamespace
from typing import Any

import ifaddr
import pytest

from crust import Endpoint
from crust.nat.interfaces import (
    all_own_endpoints,
    interface_addresses,
    interface_networks,
    own_endpoints,
    reachable_addresses,
)

OWN = ["127.0.0.1", "192.0.2.5", "169.254.7.7", "::1", "2001:db8::5", "fe80::5", "10.1.2.3"]


def test_loopback_is_among_the_addresses_of_this_machine() -> None:
    addresses = interface_addresses()
    assert "127.0.0.1" in addresses
    assert len(addresses) == len(set(addresses))
    for address in addresses:
        ipaddress.ip_address(address)  # it can be understood
        assert "%" not in address


def adapter(*addresses: Any) -> SimpleNamespace:
    return SimpleNamespace(ips=[SimpleNamespace(ip=address) for address in addresses])


def test_every_interface_counts_and_no_address_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's order; IPv6 addresses come as tuples, and a link-local one may be on several interfaces."""
    adapters = [
        adapter(("::1", 0, 0), "127.0.0.1"),
        adapter(),
        adapter("192.0.2.7", ("fe80::7", 0, 2), "192.0.2.8"),
        adapter("192.0.2.7", ("fe80::7", 0, 3)),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    assert interface_addresses() == ["::1", "127.0.0.1", "192.0.2.7", "fe80::7", "192.0.2.8"]


def test_what_the_system_does_not_tell_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes a descriptor to ask. Who has none left must not think that all addresses are gone."""

    def none_left() -> list[Any]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = interface_addresses(), interface_networks()
    monkeypatch.setattr(ifaddr, "get_adapters", none_left)
    assert (interface_addresses(), interface_networks()) == before
    assert "as before" in caplog.text
    assert "Too many open files" in caplog.text


def test_listening_everywhere_means_every_address_of_that_family() -> None:
    assert reachable_addresses(["0.0.0.0"], OWN) == ["192.0.2.5", "10.1.2.3"]
    assert reachable_addresses(["::"], OWN) == ["2001:db8::5"]
    assert reachable_addresses(["0.0.0.0", "::"], OWN) == ["192.0.2.5", "10.1.2.3", "2001:db8::5"]


def test_an_address_that_is_listened_on_is_told_whatever_it_is() -> None:
    for address in ("127.0.0.1", "::1", "fe80::5%lo", "169.254.7.7", "198.51.100.1"):
        assert reachable_addresses([address], OWN) == [address]
    assert reachable_addresses(["127.0.0.1", "::"], OWN) == ["127.0.0.1", "2001:db8::5"]


def test_each_address_is_told_once() -> None:
    assert reachable_addresses(["192.0.2.5", "0.0.0.0"], [*OWN, "192.0.2.5"]) == ["192.0.2.5", "10.1.2.3"]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (["127.0.0.1", "169.254.7.7", "fe80::5"], ["127.0.0.1"]),
        (["0.0.0.0", "::", "224.0.0.1", "ff02::1"], []),
        ([], []),
    ],
)
def test_loopback_is_better_than_nothing(own: list[str], expected: list[str]) -> None:
    assert reachable_addresses(["0.0.0.0", "::"], own) == expected


def test_not_listening_means_not_reachable() -> None:
    assert reachable_addresses([], OWN) == []


def test_what_is_told_can_be_listened_on() -> None:
    for address in reachable_addresses(["0.0.0.0"], interface_addresses()):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))


def test_own_endpoints_are_those_of_each_port() -> None:
    bound = [Endpoint.tcp("0.0.0.0:1"), Endpoint.tcp("[::]:1"), Endpoint.utp("0.0.0.0:2"), Endpoint.tcp("127.0.0.1:3")]
    assert own_endpoints(bound, OWN) == [
        Endpoint.tcp("192.0.2.5:1"),
        Endpoint.tcp("10.1.2.3:1"),
        Endpoint.tcp("[2001:db8::5]:1"),
        Endpoint.utp("192.0.2.5:2"),
        Endpoint.utp("10.1.2.3:2"),
        Endpoint.tcp("127.0.0.1:3"),
    ]
    assert own_endpoints([], OWN) == []


def test_all_that_leads_to_this_node_is_own() -> None:
    """TRAPS T-28: it must never dial itself, by whatever address."""
    assert all_own_endpoints([Endpoint.tcp("0.0.0.0:1"), Endpoint.utp("[fe80::5]:2")], OWN) == {
        Endpoint.tcp("127.0.0.1:1"),
        Endpoint.tcp("192.0.2.5:1"),
        Endpoint.tcp("169.254.7.7:1"),
        Endpoint.tcp("10.1.2.3:1"),
        Endpoint.utp("[fe80::5]:2"),
    }
