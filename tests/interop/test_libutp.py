"""Our uTP with libutp, in both roles. What libutp is not sent first by its dialler it never answers, nor do we."""

import hashlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from crust.errors import ConnectionLost, TimedOut
from crust.transport.utp import UtpSocket, UtpStream
from tests.interop.forwarder import Fate, Forwarder, all_pass, lossy
from tests.interop.peer import PATIENCE, Peer, content

ROLES = ("dials", "listens")
"""What libutp does."""
MB = 1_000_000
CHUNK = 64 * 1024  # bytes
LIBUTP_MTU = 1402  # bytes of UDP payload, its largest packet with IPv4
WINDOW = slice(12, 16)  # of a packet: the window that it advertises
RESET_IN = 400  # writes; far more than fit on the way before a RESET must have come


@pytest.fixture
def sock() -> Iterator[UtpSocket]:
    with UtpSocket(("127.0.0.1", 0)) as sock:
        yield sock


@contextmanager
def link(
    sock: UtpSocket,
    libutp: Path,
    role: str,
    plan: str,
    size: object = 0,
    *,
    there: Fate = all_pass,
    back: Fate = all_pass,
) -> Iterator[tuple[UtpStream, Peer]]:
    """A stream of ours and the libutp peer at its other end, with a forwarder between them.

    What libutp listens with begins its plan at our first byte.
    """
    if role == "listens":
        with Peer(libutp, "serve", plan, size) as peer, Forwarder(("127.0.0.1", peer.port), there, back) as forwarder:
            stream = sock.connect(forwarder.address, timeout=PATIENCE)
            yield stream, peer
            stream.close()
    else:
        with Forwarder((sock.local_address[0], sock.local_address[1]), there, back) as forwarder:
            with Peer(libutp, "dial", forwarder.address[1], plan, size) as peer:
                stream = sock.accept(timeout=PATIENCE)
                yield stream, peer
                stream.close()


def read_exactly(stream: UtpStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = stream.recv(size - len(data), timeout=PATIENCE)
        assert more, f"the stream ended after {len(data)} of {size} bytes"
        data += more
    return bytes(data)


def read_all(stream: UtpStream) -> bytes:
    """Until the peer's end."""
    return b"".join(iter(lambda: stream.recv(CHUNK, timeout=PATIENCE), b""))


def echo(stream: UtpStream) -> None:
    """Send back what comes, and close."""
    while data := stream.recv(CHUNK, timeout=PATIENCE):
        stream.sendall(data)
    stream.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def exchange(stream: UtpStream, ours: bytes) -> bytes:
    """Send ``ours`` and its end while reading to theirs; what they sent."""

    def send() -> None:
        stream.sendall(ours, timeout=10 * PATIENCE)
        stream.shutdown()

    sender = threading.Thread(target=send, name="test-sender")
    sender.start()
    theirs = read_all(stream)
    sender.join(10 * PATIENCE)
    return theirs


# --- orderly ------------------------------------------------------------------------------------
SIZES = (1, 100, 1382, 1383, 5000, 100_000)


def test_libutp_dials_and_we_echo(sock: UtpSocket, libutp: Path) -> None:
    with link(sock, libutp, "dials", "ask", ",".join(map(str, SIZES))) as (stream, peer):
        echo(stream)
        echoed = [peer.expect("echoed") for _ in SIZES]
        assert [(fields["bytes"], fields["same"]) for fields in echoed] == [(size, True) for size in SIZES]
        assert peer.expect("closed")["error"] is None


def test_we_dial_and_libutp_echoes(sock: UtpSocket, libutp: Path) -> None:
    with link(sock, libutp, "listens", "echo") as (stream, peer):
        for size in SIZES:
            stream.sendall(content(size))
            assert read_exactly(stream, size) == content(size)
        stream.shutdown()
        assert stream.recv(1, timeout=PATIENCE) == b""
        stream.close()
        closed = peer.expect("closed")
        assert (closed["bytes"], closed["error"]) == (sum(SIZES), None)


def both_ways(
    sock: UtpSocket, libutp: Path, role: str, size: int, there: Fate = all_pass, back: Fate = all_pass
) -> None:
    ours = content(size, 1)
    with link(sock, libutp, role, "exchange", size, there=there, back=back) as (stream, peer):
        assert digest(exchange(stream, ours)) == digest(content(size))
        closed = peer.expect("closed")
        assert (closed["bytes"], closed["sha256"], closed["error"]) == (size, digest(ours), None)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_much_goes_both_ways_at_once(sock: UtpSocket, libutp: Path, role: str) -> None:
    both_ways(sock, libutp, role, 20 * MB)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "role", [pytest.param("dials", marks=pytest.mark.slow), pytest.param("listens", marks=pytest.mark.long)]
)
def test_very_much_goes_both_ways_at_once(sock: UtpSocket, libutp: Path, role: str) -> None:
    both_ways(sock, libutp, role, 100 * MB)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_fifty_streams_share_two_ports(sock: UtpSocket, libutp: Path, role: str) -> None:
    count, size = 50, 50_000
    arguments: tuple[object, ...] = ("serve", "exchange", size)
    if role == "dials":
        arguments = ("dial", sock.local_address[1], "exchange", size, count)
    ours = [content(size, 1000 + number) for number in range(count)]
    with Peer(libutp, *arguments) as peer, ThreadPoolExecutor(count) as pool:
        if role == "dials":
            streams = [sock.accept(timeout=PATIENCE) for _ in range(count)]
        else:
            streams = [sock.connect(("127.0.0.1", peer.port), timeout=PATIENCE) for _ in range(count)]
        theirs = set(pool.map(lambda pair: digest(exchange(*pair)), zip(streams, ours, strict=True)))
        closed = [peer.expect("closed") for _ in range(count)]
        for stream in streams:
            stream.close()
    assert theirs == {digest(content(size, number)) for number in range(count)}
    assert {fields["sha256"] for fields in closed} == set(map(digest, ours))
    assert {fields["error"] for fields in closed} == {None}


@pytest.mark.slow
def test_two_libutps_may_choose_the_same_connection_id(sock: UtpSocket, libutp: Path) -> None:
    # They always do: its random numbers are the same in every new process.
    port = sock.local_address[1]
    with (
        Peer(libutp, "dial", port, "ask", "10,20000") as first,
        Peer(libutp, "dial", port, "ask", "10,20000") as second,
    ):
        with ThreadPoolExecutor(2) as pool:
            streams = [sock.accept(timeout=PATIENCE) for _ in range(2)]
            list(pool.map(echo, streams))
        for peer in (first, second):
            assert [peer.expect("echoed")["same"] for _ in range(2)] == [True, True]
            assert peer.expect("closed")["error"] is None


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_an_idle_connection_is_kept_alive_from_both_ends(sock: UtpSocket, libutp: Path, role: str) -> None:
    idle = threading.Event()
    heard = {"there": threading.Event(), "back": threading.Event()}

    def watch(direction: str) -> Fate:
        def fate(_: bytes) -> bool:
            if idle.is_set():
                heard[direction].set()
            return True

        return fate

    with link(sock, libutp, role, "listen", there=watch("there"), back=watch("back")) as (stream, peer):
        stream.sendall(b"hello")
        assert read_exactly(stream, 5) == b"hello"
        with pytest.raises(TimedOut):  # acknowledgements have come by then
            stream.recv(1, timeout=2.0)
        idle.set()
        assert all(event.wait(PATIENCE) for event in heard.values())
        stream.sendall(b"still here")
        stream.close()
        closed = peer.expect("closed")
        assert (closed["bytes"], closed["error"]) == (len(b"hello" + b"still here"), None)


# --- ends ---------------------------------------------------------------------------------------
def test_we_end_first_and_read_on(sock: UtpSocket, libutp: Path) -> None:
    # Only as the dialler: libutp would wait for us, and we for its first byte.
    with link(sock, libutp, "listens", "answer", 300_000) as (stream, peer):
        stream.sendall(b"question")
        stream.shutdown()
        assert read_all(stream) == content(300_000)
        stream.close()
        closed = peer.expect("closed")
        assert (closed["bytes"], closed["error"]) == (len(b"question"), None)


@pytest.mark.parametrize("role", ROLES)
def test_libutp_ends_first_and_reads_on(sock: UtpSocket, libutp: Path, role: str) -> None:
    first, rest = b"a first word", content(300_000, 1)
    with link(sock, libutp, role, "question") as (stream, peer):
        stream.sendall(first)
        assert read_all(stream) == b"question"
        stream.sendall(rest)
        stream.close()
        closed = peer.expect("closed")
        assert (closed["sha256"], closed["error"]) == (digest(first + rest), None)


@pytest.mark.parametrize("role", ROLES)
def test_libutp_hears_of_our_abort(sock: UtpSocket, libutp: Path, role: str) -> None:
    with link(sock, libutp, role, "listen") as (stream, peer):
        stream.sendall(b"hello")
        assert read_exactly(stream, 5) == b"hello"
        stream.abort()
        assert peer.expect("closed")["error"] == "UTP_ECONNRESET"


def send_until_lost(stream: UtpStream) -> None:
    for _ in range(RESET_IN):
        stream.sendall(content(CHUNK), timeout=PATIENCE)


def test_what_libutp_has_left_is_lost(sock: UtpSocket, libutp: Path) -> None:
    with link(sock, libutp, "listens", "leave") as (stream, _):
        stream.sendall(b"hello")
        assert stream.recv(1, timeout=PATIENCE) == b""  # it says goodbye, as it always does
        with pytest.raises(ConnectionLost):
            send_until_lost(stream)


def test_a_peer_that_has_left_is_closed_without_waiting_long(sock: UtpSocket, libutp: Path) -> None:
    # libutp forgets everything as soon as its end is acknowledged, so that ours is answered by a RESET or by nothing.
    with link(sock, libutp, "listens", "leave") as (stream, peer):
        stream.sendall(b"hello")
        assert stream.recv(1, timeout=PATIENCE) == b""
        stream.close()
        assert peer.expect("closed")["error"] is None
    sock.close(linger=PATIENCE)
    assert sock.counters["malformed"] == 0


@pytest.mark.slow
def test_a_libutp_that_was_killed_is_noticed(sock: UtpSocket, libutp: Path) -> None:
    # No forwarder here: it is the system that says at once that the port is closed.
    with Peer(libutp, "serve", "echo") as peer:
        stream = sock.connect(("127.0.0.1", peer.port), timeout=PATIENCE)
        stream.sendall(b"hello")
        assert read_exactly(stream, 5) == b"hello"
        peer.kill()
        with pytest.raises(ConnectionLost):
            send_until_lost(stream)


# --- bad networks -------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("role", ROLES)
def test_one_packet_in_twenty_is_lost_each_way(sock: UtpSocket, libutp: Path, role: str, seed: int) -> None:
    both_ways(sock, libutp, role, 500_000, lossy(0.05, seed), lossy(0.05, seed + 100))


def all_but_the_first() -> Fate:
    count = itertools.count()
    return lambda _: next(count) > 0


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("role", ROLES)
def test_the_first_packet_of_either_side_may_be_lost(sock: UtpSocket, libutp: Path, role: str, direction: str) -> None:
    # libutp never repeats the answer to a SYN: whoever dials it has to begin anew with another connection id.
    fates: dict[str, Fate] = {direction: all_but_the_first()}
    both_ways(sock, libutp, role, 10_000, **fates)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_a_reader_that_pauses_stops_libutp_and_starts_it_again(sock: UtpSocket, libutp: Path, role: str) -> None:
    size, full = 3 * MB, threading.Event()
    windows: list[int] = []

    def watch(packet: bytes) -> bool:
        windows.append(int.from_bytes(packet[WINDOW], "big"))
        if windows[-1] == 0:
            full.set()
        return True

    fates: dict[str, Fate] = {"back" if role == "dials" else "there": watch}
    with link(sock, libutp, role, "exchange", size, **fates) as (stream, peer):
        stream.sendall(b"hello")
        assert full.wait(PATIENCE), f"the window never closed; it was {windows[-5:]}"
        assert read_all(stream) == content(size)
        stream.shutdown()
        assert peer.expect("closed")["error"] is None
    # A window that holds no full packet would stop libutp for ever.
    assert [window for window in windows if 0 < window < LIBUTP_MTU] == []


def test_a_lost_window_update_is_repeated(sock: UtpSocket, libutp: Path) -> None:
    # Else libutp would look for itself only 15 seconds later.
    size, full = 3 * MB, threading.Event()
    lost: list[bytes] = []
    story: list[str] = []

    def ours(packet: bytes) -> bool:
        window = int.from_bytes(packet[WINDOW], "big")
        if window == 0:
            full.set()
        elif full.is_set() and not lost:
            lost.append(packet)
            return False
        elif lost:
            story.append("ours")
        return True

    def theirs(_: bytes) -> bool:
        if lost:
            story.append("theirs")
        return True

    with link(sock, libutp, "dials", "exchange", size, there=theirs, back=ours) as (stream, peer):
        assert full.wait(PATIENCE), "the window never closed"
        start = stream.recv(size, timeout=PATIENCE)  # all that waits, so that the window opens just once
        assert start + read_all(stream) == content(size)
        stream.shutdown()
        assert peer.expect("closed")["error"] is None
    assert story[0] == "ours"
