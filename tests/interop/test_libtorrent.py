"""Our uTP with libtorrent, whose uTP is its own: the first words of the BitTorrent protocol over one connection."""

import json
import struct
from collections.abc import Iterator

import pytest

from crust.transport.utp import UtpSocket, UtpStream
from tests.processes import Process

pytest.importorskip("libtorrent", reason="needs libtorrent: pip install libtorrent")

from tests.interop.libtorrent_peer import INFO_HASH

PATIENCE = 60.0  # seconds
HANDSHAKE = struct.Struct(">20s8s20s20s")
GREETING = b"\x13BitTorrent protocol"
OURS = HANDSHAKE.pack(GREETING, bytes(8), INFO_HASH, b"-CR0001-0123456789ab")


@pytest.fixture
def sock() -> Iterator[UtpSocket]:
    with UtpSocket(("127.0.0.1", 0)) as sock:
        yield sock


def libtorrent_peer(*arguments: str) -> Process:
    return Process("-m", "tests.interop.libtorrent_peer", *arguments)


def shake_hands(stream: UtpStream, peer: Process) -> None:
    data = b""
    while len(data) < HANDSHAKE.size:
        more = stream.recv(HANDSHAKE.size - len(data), timeout=PATIENCE)
        assert more, f"it ended after {data!r}"
        data += more
    greeting, _, info_hash, peer_id = HANDSHAKE.unpack(data)
    assert (greeting, info_hash) == (GREETING, INFO_HASH)
    assert peer_id.startswith(b"-LT")
    peer.expect('"handshake"')


def part(stream: UtpStream, peer: Process) -> None:
    """It drops the torrent: what it still says is read to its end."""
    peer.type("leave")
    while stream.recv(4096, timeout=PATIENCE):
        pass
    stream.close()
    peer.expect('"gone"')


def test_libtorrent_dials_and_says_hello(sock: UtpSocket) -> None:
    with libtorrent_peer("dial", str(sock.local_address[1])) as peer:
        stream = sock.accept(timeout=PATIENCE)
        stream.sendall(OURS)
        shake_hands(stream, peer)
        part(stream, peer)


def test_we_dial_and_libtorrent_answers(sock: UtpSocket) -> None:
    with libtorrent_peer("serve") as peer:
        port = json.loads(peer.expect('"port"').string)["port"]
        stream = sock.connect(("127.0.0.1", port), timeout=PATIENCE)
        stream.sendall(OURS)
        shake_hands(stream, peer)
        part(stream, peer)
