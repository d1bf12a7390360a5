"""The tools of these tests: libutp against itself through our forwarder, so that a failure elsewhere is our uTP's."""

import hashlib
import socket
from pathlib import Path

import pytest

from tests.interop.forwarder import Forwarder, lossy
from tests.interop.peer import Peer, content


def test_the_forwarder_loses_what_the_plan_says() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target, socket.socket(type=socket.SOCK_DGRAM) as dialler:
        target.bind(("127.0.0.1", 0))
        target.settimeout(10)
        dialler.settimeout(10)
        fates = iter([True, False, True])
        with Forwarder(target.getsockname(), there=lambda _: next(fates)) as forwarder:
            dialler.connect(forwarder.address)
            for word in (b"one", b"two", b"three"):
                dialler.send(word)
            first, way = target.recvfrom(100)
            assert (first, target.recv(100)) == (b"one", b"three")
            target.sendto(b"back", way)
            assert dialler.recv(100) == b"back"
            assert forwarder.lost == {True: 1, False: 0}
            assert forwarder.passed == {True: 2, False: 1}


def test_the_same_seed_loses_the_same_packets() -> None:
    first, again, other = lossy(0.05, 1), lossy(0.05, 1), lossy(0.05, 2)
    fates = [first(b"") for _ in range(2000)]
    assert fates == [again(b"") for _ in range(2000)]
    assert fates != [other(b"") for _ in range(2000)]
    assert 60 <= fates.count(False) <= 140


def test_content_is_the_same_in_both_languages(libutp: Path) -> None:
    size = 10_000
    with Peer(libutp, "serve", "exchange", size) as server, Peer(libutp, "dial", server.port, "exchange", size) as peer:
        closed = peer.expect("closed")
        assert (closed["bytes"], closed["error"]) == (size, None)
        assert closed["sha256"] == hashlib.sha256(content(size)).hexdigest()


@pytest.mark.parametrize("sizes", ["1,100,1382,1383,20000"])
def test_libutp_echoes_itself_through_the_forwarder(libutp: Path, sizes: str) -> None:
    with Peer(libutp, "serve", "echo") as server, Forwarder(("127.0.0.1", server.port)) as forwarder:
        with Peer(libutp, "dial", forwarder.address[1], "ask", sizes) as peer:
            echoed = [peer.expect("echoed") for _ in sizes.split(",")]
            assert [fields["bytes"] for fields in echoed] == [int(size) for size in sizes.split(",")]
            assert all(fields["same"] for fields in echoed)
            assert peer.expect("closed")["error"] is None
