"""`crust.defence.networks`: addresses in sets of networks, and the cost of large ones."""

import ipaddress
import random

import pytest

from crust.defence.networks import Network, NetworkSet, address_of, neighbourhood, network_of, subscriber, text_of


def made_of(*texts: str) -> NetworkSet:
    networks = NetworkSet()
    for text in texts:
        networks.add(network_of(text))
    return networks


def has(networks: NetworkSet, text: str) -> bool:
    address = address_of(text)
    assert address is not None
    return address in networks


def test_what_comes_goes_again() -> None:
    networks = made_of("192.0.2.0/24", "192.0.2.0/25", "2001:db8::/32", "0.0.0.0/0", "192.0.2.0/24")
    assert len(networks) == 4
    assert [text_of(network) for network in networks] == ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/25", "2001:db8::/32"]
    networks.discard(network_of("0.0.0.0/0"))
    networks.discard(network_of("198.51.100.0/24"))
    assert has(networks, "192.0.2.200")
    networks.discard(network_of("192.0.2.0/24"))
    assert not has(networks, "192.0.2.200")
    assert has(networks, "192.0.2.1")
    assert networks.has(network_of("192.0.2.0/25"))
    assert not networks.has(network_of("192.0.2.0/24"))
    networks.discard(network_of("192.0.2.0/25"))
    networks.discard(network_of("2001:db8::/32"))
    assert not networks


def test_the_two_kinds_of_addresses_are_apart() -> None:
    assert not has(made_of("0.0.0.0/0"), "::1")
    assert not has(made_of("::/0"), "127.0.0.1")
    assert has(made_of("::ffff:192.0.2.0/120"), "192.0.2.9")
    assert has(made_of("192.0.2.9"), "::ffff:192.0.2.9")


def test_a_set_agrees_with_a_scan() -> None:
    dice = random.Random(6)
    networks = NetworkSet()
    plain: list[Network] = []
    for _ in range(300):
        network = ipaddress.IPv4Network((dice.getrandbits(32), dice.randrange(8, 33)), strict=False)
        networks.add(network)
        plain.append(network)
    for _ in range(2000):
        address = ipaddress.IPv4Address(dice.getrandbits(32))
        assert (address in networks) is any(address in network for network in plain)


def test_a_look_up_does_not_depend_on_how_many_there_are() -> None:
    """Ten thousand networks of three lengths: three steps."""
    networks = NetworkSet()
    for number in range(10_000):
        networks.add(ipaddress.IPv4Network((number << 12, (20, 22, 24)[number % 3])))
    assert len(networks) == 10_000
    assert [len(lengths) for lengths in networks._lengths.values()] == [3, 0]


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2", "192.0.2.0/24"])
def test_what_is_no_address(text: str) -> None:
    assert address_of(text) is None


def test_neighbours_and_subscribers() -> None:
    assert neighbourhood("192.0.2.7") == neighbourhood("::ffff:192.0.2.8") == "192.0.2.0/24"
    assert neighbourhood("2001:db8::1%eth0") == subscriber("2001:db8::ffff") == "2001:db8::/64"
    assert neighbourhood("2001:db8:0:1::1") != neighbourhood("2001:db8::1")
    assert subscriber("192.0.2.7") == "192.0.2.7"
    assert neighbourhood("127.0.0.2") == subscriber("127.0.0.2") == "127.0.0.2"
    assert neighbourhood("::1") == subscriber("::1") == "::1"
    assert neighbourhood("example.org") == subscriber("example.org") == "example.org"
