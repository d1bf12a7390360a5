"""`crust.blacklist`: who is meant by an entry, and who is not."""

import ipaddress
from typing import Any

import pytest

from crust.blacklist import Blacklist
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.identity import PeerId

BAD, GOOD = PeerId.parse("ba" * 32), PeerId.parse("60" * 32)


def test_an_empty_one_refuses_nobody() -> None:
    nobody = Blacklist()
    assert not nobody.has_peer(BAD)
    assert not nobody.has_address("192.0.2.1")


@pytest.mark.parametrize("entry", [BAD, BAD.hex()])
def test_peers(entry: PeerId | str) -> None:
    blacklist = Blacklist([entry])
    assert blacklist.has_peer(BAD)
    assert not blacklist.has_peer(GOOD)
    assert not blacklist.has_address("192.0.2.1")


@pytest.mark.parametrize(
    ("entry", "meant", "not_meant"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "::1"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:c000:207"], ["192.0.3.0"]),
        ("192.0.2.77/24", ["192.0.2.1"], ["192.0.3.0"]),
        ("0.0.0.0/0", ["8.8.8.8"], ["::1"]),
        ("2001:db8::1", ["2001:db8::1", "2001:DB8:0::1", "2001:db8::1%eth0"], ["2001:db8::2"]),
        ("2001:db8::/32", ["2001:db8:1::"], ["2001:db9::"]),
        ("fe80::1%eth0", ["fe80::1", "fe80::1%eth1"], ["fe80::2"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9"], ["192.0.3.9"]),
        ("tcp://192.0.2.1:5483", ["192.0.2.1"], ["192.0.2.2"]),
        ("192.0.2.1:5483", ["192.0.2.1"], ["192.0.2.2"]),
        ("[2001:db8::1]:5483", ["2001:db8::1"], ["2001:db8::2"]),
        (Endpoint.tcp("192.0.2.1:1"), ["192.0.2.1"], ["192.0.2.2"]),
        (Endpoint.utp("[2001:db8::1]:1"), ["2001:db8::1"], ["2001:db8::2"]),
        (ipaddress.ip_address("192.0.2.1"), ["192.0.2.1"], ["192.0.2.2"]),
    ],
)
def test_addresses(entry: Any, meant: list[str], not_meant: list[str]) -> None:
    blacklist = Blacklist([entry, BAD])
    for host in meant:
        assert blacklist.has_address(host), host
    for host in [*not_meant, "example.org", "", "192.0.2", "not an address"]:
        assert not blacklist.has_address(host), host
    assert blacklist.has_peer(BAD)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "example.org",
        "example.org:5483",
        "tcp://example.org:5483",
        Endpoint.tcp("example.org:1"),
        "192.0.2.0/33",
        "2001:db8::/129",
        "192.0.2",
        "abcdef",
        "ftp://192.0.2.1:1",
        b"192.0.2.1",
        None,
        ["192.0.2.1"],
        GOOD.hex()[:-1],
    ],
)
def test_anything_else_is_refused_with_what_would_do(entry: Any) -> None:
    with pytest.raises(ConfigError, match=r"none of: a peer id, an endpoint .* 192\.0\.2\.0/24"):
        Blacklist([entry])
