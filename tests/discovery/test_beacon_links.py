"""`crust.discovery.beacon_links`: where a beacon speaks, and whom it listens to."""

from types import SimpleNamespace
from typing import Any

import pytest

from crust.discovery.beacon_links import MAX_LINKS, Link, is_near, links


def adapter(name: str, index: int | None, *ips: tuple[Any, int]) -> SimpleNamespace:
    return SimpleNamespace(
        index=index, ips=[SimpleNamespace(ip=ip, network_prefix=prefix, nice_name=name) for ip, prefix in ips]
    )


def v6(address: str) -> tuple[str, int, int]:
    return (address, 0, 0)


LO = adapter("lo", 1, ("127.0.0.1", 8), (v6("::1"), 128))
ETH = adapter("eth0", 2, ("192.0.2.5", 24), (v6("fe80::5"), 64), (v6("2001:db8::5"), 64))
WLAN = adapter("wlan0", 3, ("192.0.2.6", 24), (v6("fe80::6%3"), 64))


def test_every_interface_with_both_versions() -> None:
    assert links([LO, ETH, WLAN]) == [
        Link(4, 2, "eth0", "192.0.2.5", 24),
        Link(6, 2, "eth0", "fe80::5", 64),
        Link(4, 3, "wlan0", "192.0.2.6", 24),
        Link(6, 3, "wlan0", "fe80::6", 64),
    ]


def test_loopback_where_there_is_nothing_else() -> None:
    """So peers of a machine without a network find each other all the same."""
    assert links([LO]) == [Link(4, 1, "lo", "127.0.0.1", 8)]
    assert links([]) == []


def test_loopback_alone_if_wanted() -> None:
    assert links([LO, ETH], loopback=True) == [Link(4, 1, "lo", "127.0.0.1", 8)]
    assert links([ETH], loopback=True) == []


def test_only_the_interfaces_that_have_certain_addresses() -> None:
    on_wlan = links([WLAN])
    assert links([LO, ETH, WLAN], only={"192.0.2.6"}) == on_wlan
    assert links([LO, ETH, WLAN], only={"fe80::6"}) == on_wlan
    assert links([LO, ETH, WLAN], only={"2001:db8::5"}) == links([ETH])
    assert links([LO, ETH], only={"198.51.100.1"}) == []


def test_networks_of_one_interface_count_once_each() -> None:
    many = adapter(
        "eth0", 2, ("10.0.0.1", 24), ("10.0.0.2", 24), ("10.0.1.1", 24), (v6("fe80::1"), 64), (v6("fe80::2"), 64)
    )
    assert [link.address for link in links([many])] == ["10.0.0.1", "10.0.1.1", "fe80::1"]


@pytest.mark.parametrize(
    "useless",
    [
        adapter("tun0", 4, ("10.8.0.2", 32)),
        adapter("ppp0", 4, ("10.8.0.2", 31)),
        adapter("eth1", 4, ("0.0.0.0", 0)),
        adapter("eth1", 4, (v6("2001:db8::1"), 64)),
        adapter("odd", None, ("10.0.0.1", 24)),
    ],
    ids=lambda it: str(it.ips[0].ip),
)
def test_links_without_anybody_to_speak_to(useless: SimpleNamespace) -> None:
    assert links([useless]) == []


def test_the_number_of_links_is_bounded() -> None:
    assert len(links([adapter(f"veth{number}", number, (v6("fe80::1"), 64)) for number in range(500)])) == MAX_LINKS


def test_this_machine_has_links() -> None:
    assert links()


def test_broadcast_addresses() -> None:
    assert Link(4, 2, "eth0", "192.0.2.5", 24).broadcast == "192.0.2.255"
    assert Link(4, 2, "eth0", "10.1.2.3", 20).broadcast == "10.1.15.255"
    assert Link(4, 1, "lo", "127.0.0.1", 8).broadcast == "127.255.255.255"


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("192.0.2.77", True),
        ("192.0.3.77", False),
        ("8.8.8.8", False),
        ("127.0.0.1", False),  # not while there is another link
        ("fe80::77%eth0", True),
        ("fe80::77", True),
        ("2001:db8::77", False),
        ("::1", False),
    ],
)
def test_only_neighbours_are_near(host: str, near: bool) -> None:
    assert is_near(host, links([LO, ETH])) is near
