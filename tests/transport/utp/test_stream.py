"""The blocking face of a connection: real sockets on loopback, and nobody stays blocked."""

from collections.abc import Callable
from random import Random

import pytest

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, TimedOut
from crust.threads.clock import Deadline
from crust.transport.utp import UtpStats, UtpStream
from tests.together import PATIENCE, Running, until
from tests.transport.test_tcp import everywhere
from tests.transport.utp.loopback import SMALL, SOON, pair, read

offloads = pytest.mark.parametrize("offload", [None, False], ids=["offload", "plain"])
MUCH = Random(5).randbytes(3 << 20)


def blocked_in_recv(stream: UtpStream) -> Running[bytes]:
    reader = Running(stream.recv, 10, timeout=PATIENCE)
    until(lambda: stream._readers)
    return reader


def blocked_in_send(stream: UtpStream) -> Running[None]:
    sender = Running(stream.sendall, MUCH, timeout=PATIENCE)
    until(lambda: stream._connection.room() < stream._wanted_room and not stream.stats().peer_window)
    return sender


# --- data ---
@everywhere
def test_both_ways(host: str) -> None:
    with pair(host) as (dialled, accepted):
        assert dialled.local == accepted.remote
        assert dialled.remote == accepted.local
        assert dialled.remote == Endpoint.utp((host, accepted.local.port))
        assert dialled.initiator
        assert not accepted.initiator
        dialled.sendall(b"to the listener")
        accepted.send_all(bytearray(b"to the dialler"))
        assert read(accepted, 15) == b"to the listener"
        assert read(dialled, 14) == b"to the dialler"


@offloads
def test_megabytes_both_ways_at_once(offload: bool | None) -> None:
    with pair(offload=offload) as streams:
        sending = [Running(stream.sendall, memoryview(MUCH), timeout=PATIENCE) for stream in streams]
        reading = [Running(read, stream, len(MUCH)) for stream in streams]
        assert [each.result() == MUCH for each in reading] == [True, True]
        for each in sending:
            each.result()


def test_nothing_is_something_to_send() -> None:
    with pair() as (one, other):
        one.sendall(b"")
        one.sendall(b"x")
        assert read(other, 1) == b"x"


@pytest.mark.parametrize("send", [UtpStream.sendall, UtpStream.send_all, UtpStream.send_waiting])
@pytest.mark.parametrize("data", [5, "text", [1, 2], None])
def test_only_bytes_can_be_sent(send: Callable[[UtpStream, object], object], data: object) -> None:
    with pair() as (one, other):
        with pytest.raises(TypeError):
            send(one, data)
        one.sendall(memoryview(b"-f-i-n-e")[1::2])
        assert read(other, 4) == b"fine"


@pytest.mark.parametrize("limit", [0, -1, -2])
def test_a_limit_that_lets_nothing_through_is_refused(limit: int) -> None:
    with pair() as (one, other):
        one.sendall(b"data")
        with pytest.raises(ValueError, match=f"limit: was {limit}; allowed: 1 or more"):
            other.recv(limit, timeout=PATIENCE)
        assert read(other, 4) == b"data"


def test_what_was_sent_may_change_afterwards() -> None:
    with pair(settings=SMALL) as (one, other):
        data = bytearray(b"a" * 20_000)
        one.sendall(data, timeout=PATIENCE)
        data[:] = b"b" * len(data)
        assert read(other, 20_000) == b"a" * 20_000


def test_one_speaks_first_whichever_it_is() -> None:
    for first in (0, 1):
        with pair() as streams:
            streams[first].sendall(b"hello")
            assert read(streams[1 - first], 5) == b"hello"


def test_into_a_buffer_and_without_waiting() -> None:
    with pair() as (one, other):
        buffer = bytearray(4)
        assert one.receive_waiting(memoryview(buffer)) == 0
        other.sendall(b"abcdef")
        assert one.receive_into(memoryview(buffer)) == 4
        assert buffer == b"abcd"
        until(lambda: one.receive_waiting(memoryview(buffer)) == 2)
        assert buffer[:2] == b"ef"
        assert one.send_waiting(b"xyz") == 3
        assert read(other, 3) == b"xyz"


def test_sending_without_waiting_takes_what_there_is_room_for() -> None:
    with pair(settings=SMALL) as (one, other):
        taken = 0
        while count := one.send_waiting(MUCH[taken : taken + 100_000]):
            taken += count
            assert taken <= SMALL.send_buffer + SMALL.receive_window
        assert read(other, taken) == MUCH[:taken]
        until(lambda: one.send_waiting(b"more"), "there is room again")


def test_a_slow_reader_holds_the_sender_back() -> None:
    with pair(settings=SMALL) as (one, other):
        sender = blocked_in_send(one)
        for _ in range(5):
            assert one.stats().bytes_sent <= other.stats().bytes_received + SMALL.receive_window
        until(lambda: other._connection.readable > SMALL.receive_window - 1500)
        assert other._connection.readable <= SMALL.receive_window
        assert not sender.ended
        assert read(other, len(MUCH)) == MUCH
        sender.result()


def test_figures() -> None:
    with pair() as (one, other):
        one.sendall(b"x" * 5000)
        read(other, 5000)
        until(lambda: one.stats().in_flight == 0)
        ours, theirs = one.stats(), other.stats()
        assert isinstance(ours, UtpStats)
        assert ours.bytes_sent == theirs.bytes_received == 5000
        assert ours.packets_sent >= 4
        assert ours.round_trip is not None
        assert "CONNECTED" in repr(one)
        assert str(one.remote) in repr(one)


# --- deadlines ---
@pytest.mark.parametrize("buffered", [False, True])
def test_receiving_ends_in_time(buffered: bool) -> None:
    with pair() as (one, _):
        one.set_deadline(Deadline(SOON))
        with pytest.raises(TimedOut, match="the peer did not answer in time"):
            one.receive_into(memoryview(bytearray(1))) if buffered else one.recv(1)
        one.set_deadline(None)
        with pytest.raises(TimedOut):
            one.recv(1, timeout=0)


def test_sending_ends_in_time() -> None:
    with pair(settings=SMALL) as (one, other):
        with pytest.raises(TimedOut, match="the peer did not take what we sent in time"):
            one.sendall(MUCH, timeout=SOON)
        one.set_deadline(Deadline(SOON))
        with pytest.raises(TimedOut):
            one.send_all(MUCH)
        assert read(other, 10_000) == MUCH[:10_000], "it goes on with what was taken"


# --- ends ---
@offloads
def test_the_end_of_one_half_leaves_the_other(offload: bool | None) -> None:
    with pair(offload=offload) as (one, other):
        one.sendall(b"last words")
        one.shutdown()
        one.finish_sending()
        assert read(other, 100) == b"last words"
        assert other.recv(10, timeout=PATIENCE) == b""
        assert other.recv(10, timeout=PATIENCE) == b"", "and it stays the end"
        assert other.receive_waiting(memoryview(bytearray(10))) == 0
        with pytest.raises(ConnectionLost, match="this side of the connection was ended before"):
            one.sendall(b"more")
        other.sendall(b"answer")
        other.shutdown()
        assert read(one, 100) == b"answer"


def test_what_was_sent_arrives_though_the_stream_is_closed() -> None:
    with pair() as (one, other):
        one.sendall(MUCH[: 1 << 20], timeout=PATIENCE)
        one.close()
        one.close()
        assert read(other, len(MUCH)) == MUCH[: 1 << 20]
        other.close()


def test_leaving_it_closes_it_and_what_was_sent_arrives() -> None:
    with pair() as (one, other):
        with one as entered:
            assert entered is one
            one.sendall(b"goodbye")
        assert read(other, 100) == b"goodbye"
        with pytest.raises(ConnectionLost, match="the connection was ended here"):
            one.recv(1, timeout=PATIENCE)


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.recv(1, timeout=PATIENCE),
        lambda stream: stream.receive_into(memoryview(bytearray(1))),
        lambda stream: stream.sendall(b"x"),
        lambda stream: stream.send_waiting(b"x"),
    ],
)
@pytest.mark.parametrize("end", [UtpStream.close, UtpStream.abort])
def test_a_stream_that_was_ended_here_says_so(
    end: Callable[[UtpStream], None], use: Callable[[UtpStream], object]
) -> None:
    with pair() as (one, _):
        end(one)
        with pytest.raises(ConnectionLost, match="the connection was ended here"):
            use(one)


@pytest.mark.parametrize("blocked", [blocked_in_recv, blocked_in_send])
@pytest.mark.parametrize("end", [UtpStream.close, UtpStream.abort])
def test_ending_it_wakes_who_is_blocked(
    end: Callable[[UtpStream], None], blocked: Callable[[UtpStream], Running[object]]
) -> None:
    with pair(settings=SMALL) as (one, _):
        waiting = blocked(one)
        end(one)
        with pytest.raises(ConnectionLost, match="ended"):
            waiting.result(PATIENCE / 3)


@pytest.mark.parametrize("blocked", [blocked_in_recv, blocked_in_send])
def test_the_peer_giving_up_wakes_who_is_blocked(blocked: Callable[[UtpStream], Running[object]]) -> None:
    with pair(settings=SMALL) as (one, other):
        waiting = blocked(one)
        other.abort()
        other.abort()
        with pytest.raises(ConnectionLost, match="the peer reset the connection"):
            waiting.result()


def test_what_came_before_a_reset_is_read_first_and_each_error_is_a_new_one() -> None:
    with pair() as (one, other):
        other.sendall(b"read me")
        until(lambda: one._connection.readable == 7)
        other.abort()
        until(lambda: one._connection.error)
        assert read(one, 7) == b"read me"
        errors = []
        for _ in range(2):
            with pytest.raises(ConnectionLost) as raised:
                one.recv(1, timeout=PATIENCE)
            errors.append(raised.value)
        assert errors[0] is not errors[1]
        with pytest.raises(ConnectionLost, match="reset"):
            one.receive_waiting(memoryview(bytearray(1)))
        one.shutdown()
        one.close()


def test_who_sends_to_somebody_who_has_closed_is_told() -> None:
    def send_on() -> None:
        while True:
            other.sendall(bytes(1000), timeout=PATIENCE)

    with pair() as (one, other):
        one.close()
        assert other.recv(1, timeout=PATIENCE) == b""
        with pytest.raises(ConnectionLost, match="reset"):
            send_on()
