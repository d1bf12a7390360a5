"""`crust.transport.utp.icmp`: what the kernel says about datagrams that did not arrive."""

import errno
import socket
import struct
import sys
from contextlib import closing

import pytest

from crust.transport.utp import icmp
from crust.transport.utp.icmp import IcmpError, QueuedError
from tests.transport.test_tcp import everywhere
from tests.transport.utp.udp import wait

PEER = ("192.0.2.1", 7)
LOCAL, FROM_ICMP = 1, 2
V4, V6 = (socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)


def entry(kind: tuple[int, int], code: int, info: int = 0, origin: int = FROM_ICMP) -> tuple[int, int, bytes]:
    offender = bytes(16)
    return (*kind, struct.pack("=IBBBBII", code, origin, 3, 3, 0, info, 0) + offender)


@pytest.mark.parametrize("kind", [V4, V6])
def test_an_entry_says_what_is_wrong_and_with_which_datagram(kind: tuple[int, int]) -> None:
    found = icmp.parse([(1, 2, b"other"), entry(kind, errno.ECONNREFUSED)], b"start", PEER)
    assert found == QueuedError(IcmpError(PEER, errno.ECONNREFUSED, None, b"start"), local=False)


@pytest.mark.parametrize(("info", "mtu"), [(1300, 1300), (0, None)])
def test_only_a_datagram_too_big_comes_with_an_mtu(info: int, mtu: int | None) -> None:
    found = icmp.parse([entry(V4, errno.EMSGSIZE, info, LOCAL)], b"", PEER)
    assert found == QueuedError(IcmpError(PEER, errno.EMSGSIZE, mtu, b""), local=True)
    other = icmp.parse([entry(V4, errno.EHOSTUNREACH, info)], b"", PEER)
    assert other is not None
    assert other.error.mtu is None


@pytest.mark.parametrize("ancillary", [[], [(*V4, b"too short")], [(*V6, bytes(15))], [(0, 12, bytes(32))]])
def test_what_is_no_error_is_none(ancillary: list[tuple[int, int, bytes]]) -> None:
    assert icmp.parse(ancillary, b"", PEER) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has error queues")
@everywhere
def test_a_port_where_nobody_listens_is_reported_with_the_start_of_the_datagram(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.bind((host, 0))
        sock.setblocking(False)
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as other:
            other.bind((host, 0))
            nobody = other.getsockname()
        assert icmp.enable(sock)
        assert list(icmp.drain(sock)) == []
        sock.sendto(b"hello" * 100, nobody)
        wait(sock)
        (found,) = icmp.drain(sock)
        assert found.error.address == nobody
        assert found.error.error == errno.ECONNREFUSED
        assert len(found.error.quoted) >= 8
        assert (b"hello" * 100).startswith(found.error.quoted)
        assert not found.local
        assert list(icmp.drain(sock)) == []


def test_a_system_without_error_queues_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        assert not icmp.enable(sock)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has error queues")
def test_a_kernel_that_refuses_the_option_says_so() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        assert not icmp.enable(sock)
