"""Writes that are handed to the socket's thread without its lock: nothing waits, and nothing changes its place."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crust.errors import ConnectionLost
from crust.transport.utp import UtpSettings, UtpSocket, UtpStream
from crust.transport.utp.stream import PIECE
from crust.transport.utp.udp_port import _MAX_STAGED
from tests.together import PATIENCE, Running, until
from tests.transport.utp.loopback import SMALL, join, read, sockets


@contextmanager
def busy(sock: UtpSocket) -> Iterator[None]:
    """While the thread is in the middle of its work, and so has the lock."""
    with sock.lock:
        asleep_until, sock._asleep_until = sock._asleep_until, None
        yield
        sock._asleep_until = asleep_until
        sock._waker.wake()


def staged(sock: UtpSocket) -> list[bytes]:
    return [data for _, data in sock._staged]


def test_a_write_does_not_wait_for_a_thread_that_is_awake() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(b"first ")
            stream.sendall(b"second ")
            assert staged(one) == [b"first ", b"second "], "nobody took the lock, which is held here"
        stream.sendall(b"third")
        assert read(accepted, 18) == b"first second third"


def test_a_large_write_is_handed_over_in_pieces() -> None:
    data = random.Random(1).randbytes(3 * PIECE + 1)
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(data)
            assert list(map(len, staged(one))) == [PIECE, PIECE, PIECE, 1]
        assert read(accepted, len(data)) == data


def test_a_thread_that_is_asleep_is_not_relied_upon() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with one.lock:
            one._asleep_until = float("inf")
            assert not stream._stage(b"data", 4)
        assert not one._staged
        stream.sendall(b"data")
        assert read(accepted, 4) == b"data"


def test_a_thread_that_falls_asleep_at_that_moment_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        answers = iter([False, True])
        monkeypatch.setattr(one, "_asleep", lambda: next(answers, True))
        stream.sendall(b"data")
        assert read(accepted, 4) == b"data"


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_the_end_comes_after_what_was_staged(end: str) -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(b"the last words")
            ending = Running(getattr(stream, end))  # it waits for the lock
        assert read(accepted, 100) == b"the last words"
        ending.result()


def test_a_socket_that_is_closed_delivers_what_was_staged() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(b"the last words")
        one.close(linger=5.0)
        assert read(accepted, 100) == b"the last words"


def test_no_more_is_staged_than_there_is_room_for() -> None:
    with sockets(settings=SMALL) as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(bytes(SMALL.send_buffer - 10))
            assert not stream._stage(bytes(11), 11)
            assert stream._stage(bytes(10), 10)
        assert read(accepted, SMALL.send_buffer) == bytes(SMALL.send_buffer)


def test_few_writes_are_staged_however_small() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            taken = sum(stream._stage(b"x", 1) for _ in range(1000))
        assert taken == _MAX_STAGED
        assert read(accepted, taken) == b"x" * taken
        assert stream._staged == stream._unstaged == taken


def test_what_was_staged_for_a_connection_that_breaks_is_forgotten() -> None:
    with sockets() as (one, other):
        stream, _ = join(one, other)
        with busy(one):
            stream.sendall(b"too late")
            one._multiplexer.fail(stream.connection, ConnectionLost("it broke"), 0.0)
        with pytest.raises(ConnectionLost, match="it broke"):
            stream.sendall(b"more")
        with one.lock:
            one.take_staged()
        assert not one._staged


def test_what_was_staged_after_the_end_of_this_half_is_dropped() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        with busy(one):
            stream.sendall(b"too late")
            stream.connection.finish()
        assert read(accepted, 100) == b""


def test_who_writes_after_the_end_of_this_half_is_told_though_the_thread_is_awake() -> None:
    with sockets() as (one, other):
        stream, accepted = join(one, other)
        stream.shutdown()
        with busy(one):
            assert not stream._stage(b"too late", 8)
        with pytest.raises(ConnectionLost, match="this side of the connection was ended before"):
            stream.sendall(b"too late")
        assert read(accepted, 100) == b""


@pytest.mark.parametrize("write", [UtpStream.sendall, UtpStream.send_waiting])
def test_what_another_write_took_from_the_thread_is_sent_though_that_one_finds_no_room(
    write: Callable[[UtpStream, bytes], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = UtpSettings(send_buffer=30_000, keepalive=3600.0)  # nothing else wakes anybody
    with sockets(settings=settings) as (one, other):
        stream, accepted = join(one, other)
        fall_asleep, awake, go_on = one._sleep, threading.Event(), threading.Event()

        def hesitate() -> None:
            awake.set()
            go_on.wait(PATIENCE)
            fall_asleep()

        monkeypatch.setattr(one, "_sleep", hesitate)
        one._waker.wake()
        assert awake.wait(PATIENCE)
        stream.sendall(bytes(settings.send_buffer))
        assert staged(one)
        writing = Running(write, stream, b"more")
        until(lambda: not staged(one))
        go_on.set()
        assert read(accepted, settings.send_buffer) == bytes(settings.send_buffer)
        writing.result()


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_size_keep_their_order(seed: int) -> None:
    dice = random.Random(seed)
    content = dice.randbytes(2_000_000)
    with sockets() as (one, other):
        stream, accepted = join(one, other)

        def send(stream: UtpStream) -> None:
            at = 0
            while at < len(content):
                size = dice.choice([1, 7, 1000, 1380, 20_000, 65_536])
                stream.sendall(content[at : at + size])
                at += size
            stream.shutdown()

        sending = Running(send, stream)
        assert read(accepted, len(content) + 1) == content
        sending.result()
