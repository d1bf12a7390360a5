"""`crust.discovery.link_watch`: that changes are noticed; on real interfaces in ``tests/lab/test_beacon.py``."""

import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from crust.discovery.link_watch import LinkWatch

NEW, DEL, ADDRESS = 16, 17, 20
RUNNING = 0x40
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells; elsewhere there is nothing to test")


def message(kind: int, index: int, flags: int, extra: bytes = b"") -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + extra
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + body + bytes(-length % 4)


@pytest.fixture
def watch() -> Iterator[LinkWatch]:
    watch = LinkWatch()
    yield watch
    watch.close()


@linux
def test_nothing_happens_and_nothing_blocks(watch: LinkWatch) -> None:
    watch.came_up()  # whatever this machine does just now
    assert watch.fileno() > 0


@linux
def test_it_knows_from_the_start_which_have_a_network(watch: LinkWatch) -> None:
    """So one whose cable is plugged in afterwards is noticed."""
    names = dict(socket.if_nameindex())
    assert names.keys() <= watch._running.keys()
    assert watch._running[socket.if_nametoindex("lo")]


@linux
def test_an_interface_that_gets_its_network_came_up(watch: LinkWatch) -> None:
    watch._running.clear()
    assert watch._note(message(NEW, 2, 0)) == set()
    assert watch._note(message(NEW, 2, RUNNING)) == {2}
    assert watch._note(message(NEW, 2, RUNNING)) == set()  # wireless ones say so every minute
    assert watch._note(message(NEW, 3, RUNNING)) == set()  # as far as we know it was always there
    assert watch._note(message(DEL, 3, RUNNING) + message(NEW, 3, RUNNING, b"12345")) == {3}


@linux
def test_several_in_one_datagram_of_odd_lengths(watch: LinkWatch) -> None:
    watch._running.clear()
    data = message(NEW, 2, 0, b"123") + message(ADDRESS, 2, 0) + message(NEW, 2, RUNNING, b"1")
    assert watch._note(data) == {2}


@linux
@pytest.mark.parametrize(
    "data",
    [b"", b"123", bytes(16), bytes(64), message(NEW, 2, RUNNING)[:20], struct.pack("=IHHII", 2**32 - 1, 16, 0, 0, 0)],
)
def test_what_makes_no_sense_is_passed_over(watch: LinkWatch, data: bytes) -> None:
    assert watch._note(data) == set()


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError):
        LinkWatch()
