"""`crust.nat.ranges`: what is local, and what only looks so."""

import pytest

from crust.nat.ranges import is_local


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "127.0.0.1"),
        *("169.254.1.1", "::1", "fd00::1", "fe80::1%eth0", "fec0::1", "::ffff:192.168.1.1"),
    ],
)
def test_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["11.0.0.1", "172.32.0.1", "192.169.1.1", "100.128.0.1", "203.0.113.9", "2001:db8::1", "::ffff:11.1.1.1"]
)
def test_public(host: str) -> None:
    assert not is_local(host)


def test_names_are_no_addresses() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        is_local("host.example")
