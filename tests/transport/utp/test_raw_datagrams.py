"""Datagrams beside uTP: mistakes are told to whoever makes them, and what waits is bounded."""

import errno
from collections.abc import Iterator

import pytest

from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.raw_datagrams import MOST_WAITING, RawDatagrams, checked
from tests.transport.utp.loopback import HOST
from tests.transport.utp.udp import make_fail, receive

TO = (HOST, 9)


@pytest.fixture
def ends() -> Iterator[tuple[Datagrams, Datagrams]]:
    one, other = Datagrams(HOST, 0), Datagrams(HOST, 0)
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("address", [("0.0.0.0", 0), ("192.0.2.7", 65535)])
def test_ipv4_addresses(address: tuple[str, int]) -> None:
    assert checked(address, False) is address


@pytest.mark.parametrize("address", [("::1", 9), ("fe80::1%eth0", 9, 0, 2), ("2001:db8::1", 9, 0, 0)])
def test_ipv6_addresses(address: tuple[str, int]) -> None:
    assert checked(address, True) is address


@pytest.mark.parametrize("address", ["127.0.0.1", ("127.0.0.1",), (b"127.0.0.1", 9), ("127.0.0.1", "9"), None, 5])
@pytest.mark.parametrize("ipv6", [False, True])
def test_what_is_no_pair_is_refused(address: object, ipv6: bool) -> None:
    with pytest.raises(TypeError, match="an address is"):
        checked(address, ipv6)


@pytest.mark.parametrize("host", ["::1", "nosuch.example", "a" * 300, "", "127.0.0.1\0", "127.1", "\udc80"])
def test_names_and_other_families_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 address; names are not looked up"):
        checked((host, 9), False)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_ports_that_cannot_be_are_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"port {port} is not a number from 0 to 65535"):
        checked((HOST, port), False)


def test_they_leave_in_order_as_they_were_when_they_were_handed_over(ends: tuple[Datagrams, Datagrams]) -> None:
    one, other = ends
    raw, second = RawDatagrams(False), bytearray(b"second")
    assert raw.add(b"first", other.address)
    assert raw.add(second, other.address)
    second[:] = b"edited"
    assert raw.send(one)
    assert receive(other, 2) == [b"first", b"second"]
    assert len(raw) == 0


@pytest.mark.parametrize("data", ["text", 5, None])
def test_only_bytes_can_be_sent(data: bytes) -> None:
    raw = RawDatagrams(False)
    with pytest.raises(TypeError):
        raw.add(data, TO)
    assert len(raw) == 0


def test_what_the_system_does_not_take_waits_and_no_more_than_a_bound(ends: tuple[Datagrams, Datagrams]) -> None:
    one, other = ends
    raw = RawDatagrams(False)
    assert [raw.add(b"x", other.address) for _ in range(MOST_WAITING + 3)].count(False) == 3
    full: list[OSError | None] = [OSError(errno.EAGAIN, "full")]
    make_fail(one, sendto=list(full), sendmsg=list(full))
    assert not raw.send(one)
    assert len(raw) == MOST_WAITING
    assert raw.send(one)
    assert len(raw) == 0


def test_one_that_cannot_be_sent_keeps_no_other_back(
    ends: tuple[Datagrams, Datagrams], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = ends
    make_fail(one, sendto=[OverflowError("too big")], sendmsg=[OverflowError("too big")])  # type: ignore[list-item]
    raw = RawDatagrams(False)
    raw.add(b"first", other.address)
    raw.add(b"second", other.address)
    assert raw.send(one)
    assert receive(other, 1) == [b"second"]
    assert "was dropped: too big" in caplog.text
