"""Who is answered from which address; and that strangers cannot make it remember more than it may."""

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from crust.transport.utp import source_pins
from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.source_pins import MAX_PINS, SourcePins

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems are not asked where a datagram came in")
ALL = {4: "0.0.0.0", 6: "::"}
PEER: Address = ("192.0.2.1", 7)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def udp(opened: ExitStack, host: str) -> socket.socket:
    sock = opened.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind((host, 0))
    sock.settimeout(30.0)
    return sock


def pins_of(opened: ExitStack, host: str) -> SourcePins:
    return SourcePins(udp(opened, host))


def came_in(own: str, interface: int = 3) -> list[tuple[int, int, bytes]]:
    """What the system says of a datagram."""
    if ":" in own:
        return [(socket.IPPROTO_IPV6, 50, struct.pack("=16si", socket.inet_pton(socket.AF_INET6, own), interface))]
    packed = socket.inet_aton(own)
    return [(17, 104, bytes(4)), (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", interface, packed, packed))]


def burst(data: bytes, address: Address, count: int = 1) -> Burst:
    return Burst(address, [data, b""] * count, len(data))


# --- what is remembered -----------------------------------------------------------------------------------------------


@linux
def test_a_peer_is_answered_from_where_it_came_in_last(opened: ExitStack) -> None:
    pins = pins_of(opened, ALL[4])
    assert pins.toward(PEER) is None
    pins.took(PEER, came_in("10.0.0.1"))
    assert pins.toward(PEER) == (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", 0, bytes([10, 0, 0, 1]), bytes(4)))
    pins.took(PEER, came_in("10.0.0.2"))
    assert pins.toward(PEER) == (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", 0, bytes([10, 0, 0, 2]), bytes(4)))
    pins.unpin(PEER)
    pins.unpin(PEER)
    assert pins.toward(PEER) is None


@linux
@pytest.mark.parametrize(("own", "interface"), [("2001:db8::1", 0), ("fe80::1", 3)])
def test_the_interface_counts_for_addresses_that_are_on_each(opened: ExitStack, own: str, interface: int) -> None:
    pins = pins_of(opened, ALL[6])
    pins.took(PEER, came_in(own))
    assert pins.toward(PEER) == came_in(own, interface)[0]


@linux
def test_strangers_push_out_only_who_was_silent(opened: ExitStack) -> None:
    pins = pins_of(opened, ALL[4])
    pins.took(PEER, came_in("10.0.0.1"))
    pins.took(("192.0.2.2", 7), came_in("10.0.0.1"))
    for number in range(MAX_PINS):
        pins.took(PEER, came_in("10.0.0.1"))
        pins.took(("198.51.100.1", number), came_in("10.0.0.1"))
    assert len(pins) == MAX_PINS
    assert pins.toward(PEER) is not None
    assert pins.toward(("192.0.2.2", 7)) is None


@linux
def test_local_addresses_are_bounded(opened: ExitStack) -> None:
    pins = pins_of(opened, ALL[4])
    for number in range(1000):
        pins.took(PEER, came_in("10.0.0.1", number))
    assert len(pins._forms) <= source_pins._MAX_FORMS


@linux
def test_what_has_another_size_says_nothing(opened: ExitStack) -> None:
    pins = pins_of(opened, ALL[4])
    pins.took(PEER, [(socket.IPPROTO_IP, 8, b"short")])
    pins.took(PEER, [])
    assert not len(pins)


def test_who_is_bound_to_one_address_asks_for_nothing(opened: ExitStack) -> None:
    assert pins_of(opened, "127.0.0.1").ancillary_bytes == 0


def test_other_systems_are_not_asked(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert pins_of(opened, ALL[4]).ancillary_bytes == 0


# --- on a real socket -------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("offload", [None, False])
@pytest.mark.parametrize("count", [1, 3])
def test_an_answer_comes_from_the_address_that_was_asked(opened: ExitStack, offload: bool | None, count: int) -> None:
    node = opened.enter_context(closing(Datagrams(ALL[4], 0, offload=offload)))
    peer = udp(opened, "127.0.0.1")
    for own in ("127.0.0.2", "127.0.0.3", "127.0.0.1"):
        peer.sendto(b"question", (own, node.address[1]))
        received = node.receive()
        assert received is not None
        assert (received.data, received.segment) == (b"question", 8)
        assert node.send(burst(b"answer", received.address, count)) == count
        assert [peer.recvfrom(100) for _ in range(count)] == [(b"answer", (own, node.address[1]))] * count


@linux
def test_over_ipv6_as_well(opened: ExitStack) -> None:
    node = opened.enter_context(closing(Datagrams(ALL[6], 0)))
    peer = udp(opened, "::1")
    peer.sendto(b"question", ("::1", node.address[1]))
    received = node.receive()
    assert received is not None
    assert node._pins.toward(received.address) is not None
    node.send(burst(b"answer", received.address))
    assert peer.recvfrom(100)[1][:2] == ("::1", node.address[1])


@linux
@pytest.mark.parametrize("count", [1, 3])
def test_when_that_address_is_gone_the_routes_choose(opened: ExitStack, count: int) -> None:
    node = opened.enter_context(closing(Datagrams(ALL[4], 0)))
    peer = udp(opened, "127.0.0.1")
    address = peer.getsockname()
    node._pins.took(address, came_in("192.0.2.77"))  # nobody's here
    assert node.send(burst(b"answer", address, count)) == count
    assert [peer.recvfrom(100) for _ in range(count)] == [(b"answer", ("127.0.0.1", node.address[1]))] * count
    assert node._pins.toward(address) is None
    assert node.offload, "segmentation is not to blame"
    assert errno.EINVAL not in {error.error for error in node.errors()}
