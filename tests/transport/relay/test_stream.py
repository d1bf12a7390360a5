"""`crust.transport.relay.stream`: a stream like any other, over a channel; two of them with a connection between."""

import random
import threading
from collections.abc import Iterator

import pytest

from crust.errors import ConnectionLost, PeerMisbehaved, TimedOut
from crust.threads.clock import Deadline
from crust.transport.relay.carried import CARRIED_OVERHEAD, RELAY_WINDOW
from crust.transport.relay.stream import RelayStream
from tests.together import Running, until
from tests.transport.relay.bench import Link, Side


@pytest.fixture
def link() -> Iterator[Link]:
    with Link() as made:
        yield made


@pytest.fixture
def ends(link: Link) -> Iterator[tuple[RelayStream, RelayStream]]:
    pair = link.left.stream(), link.right.stream()
    yield pair
    for stream in pair:
        stream.abort()


def read_all(stream: RelayStream, size: int = 5000) -> bytes:
    found, buffer = bytearray(), memoryview(bytearray(size))
    while count := stream.receive_into(buffer):
        found += buffer[:count]
    return bytes(found)


def test_much_goes_both_ways_at_once_and_in_order(ends: tuple[RelayStream, RelayStream]) -> None:
    dice = random.Random(1)
    there, back = dice.randbytes(3_000_000), dice.randbytes(2_000_000)

    def send(stream: RelayStream, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = dice.choice([1, 100, 70_000, 500_000])
            stream.send_all(data[at : at + size])
            at += size
        stream.finish_sending()

    sending = [Running(send, ends[0], there), Running(send, ends[1], back)]
    reading = Running(read_all, ends[0])
    assert read_all(ends[1]) == there
    assert reading.result() == back
    for each in sending:
        each.result()


def test_when_both_have_ended_nothing_is_left(link: Link, ends: tuple[RelayStream, RelayStream]) -> None:
    first, second = ends
    first.send_all(b"question")
    first.finish_sending()
    assert read_all(second) == b"question"
    second.send_all(b"answer")
    second.finish_sending()
    second.close()
    assert read_all(first) == b"answer"
    first.finish_sending()
    first.close()
    assert not len(link.left.channels)
    assert not len(link.right.channels)
    assert not any(b"abort" in frame for frame in (*link.leftwards.frames, *link.rightwards.frames))


def test_nobody_sends_more_than_the_other_has_room_for(link: Link, ends: tuple[RelayStream, RelayStream]) -> None:
    first, second = ends
    sent = 0
    while count := first.send_waiting(bytes(10_000)):
        sent += count
    assert RELAY_WINDOW * 0.9 < sent < RELAY_WINDOW
    assert first.send_waiting(b"x" * 2000) == 0
    sending = Running(first.send_all, bytes(RELAY_WINDOW))
    buffer = memoryview(bytearray(1000))
    received = 0
    while received < sent + RELAY_WINDOW:
        received += second.receive_into(buffer)
    sending.result()
    assert link.leftwards.misbehaved is link.rightwards.misbehaved is None


def test_receive_waiting_never_blocks(ends: tuple[RelayStream, RelayStream]) -> None:
    first, second = ends
    buffer = memoryview(bytearray(10))
    assert second.receive_waiting(buffer) == 0
    first.send_all(b"here")
    until(lambda: second.receive_waiting(buffer))
    assert bytes(buffer[:4]) == b"here"
    first.abort()
    with pytest.raises(ConnectionLost):
        second.receive_into(buffer)


def test_deadlines(ends: tuple[RelayStream, RelayStream]) -> None:
    first, _ = ends
    first.set_deadline(Deadline(0.02))
    with pytest.raises(TimedOut, match="did not answer"):
        first.receive_into(memoryview(bytearray(1)))
    first.set_deadline(Deadline(0.02))
    with pytest.raises(TimedOut, match="did not take"):
        first.send_all(bytes(2 * RELAY_WINDOW))
    first.set_deadline(None)
    reading = Running(read_all, first)
    first.abort()
    with pytest.raises(ConnectionLost, match="ended here"):
        reading.result()


def test_abort_wakes_both_threads_and_tells_the_other_end(link: Link, ends: tuple[RelayStream, RelayStream]) -> None:
    first, second = ends
    reading, sending = Running(read_all, first), Running(first.send_all, bytes(2 * RELAY_WINDOW))
    until(lambda: not first.send_waiting(b"x" * 2000))
    first.abort()
    for each in (reading, sending):
        with pytest.raises(ConnectionLost, match="ended here"):
            each.result()
    with pytest.raises(ConnectionLost, match="broke it off"):
        read_all(second)  # after what was sent before
    with pytest.raises(ConnectionLost):
        second.send_all(b"x")
    assert not len(link.right.channels)


def test_what_was_sent_before_an_end_of_any_kind_arrives(ends: tuple[RelayStream, RelayStream]) -> None:
    first, second = ends
    first.send_all(b"last words")
    first.close()
    buffer = memoryview(bytearray(100))
    assert second.receive_into(buffer) == 10
    with pytest.raises(ConnectionLost):
        second.receive_into(buffer)


def test_with_the_carrier_it_ends(link: Link, ends: tuple[RelayStream, RelayStream]) -> None:
    first, _ = ends
    reading = Running(read_all, first)
    link.left.channels.end("the carrier is gone")
    with pytest.raises(ConnectionLost, match="the carrier is gone"):
        reading.result()
    with pytest.raises(ConnectionLost, match="the carrier is gone"):
        first.send_all(b"x")


def test_a_carrier_that_is_to_end_waits_for_it() -> None:
    side = Side(True)
    stream = side.stream()
    taking = Running(side.outbox.take)
    side.outbox.close()
    stream.send_all(b"still")
    assert taking.result() is not None
    side.outbox.put_credit(1, 20_000)
    assert side.outbox.take() is not None
    ending = Running(side.outbox.take)
    stream.abort()
    assert ending.result() is not None, "the abort"
    assert side.outbox.take() is None
    assert not side.outbox.put_carried(b"x")


def test_a_carrier_that_is_cut_off_does_not() -> None:
    side = Side(True)
    stream = side.stream()
    side.outbox.close(discard=True)
    assert side.outbox.take() is None
    with pytest.raises(ConnectionLost, match="in the middle"):
        stream.send_all(b"x")
    stream.abort()


def test_the_one_in_the_middle_must_keep_to_the_credit() -> None:
    side = Side(False)
    stream = side.stream()
    with pytest.raises(PeerMisbehaved, match="credit for more"):
        stream.credited(1)
    for _ in range(RELAY_WINDOW // (1000 + CARRIED_OVERHEAD)):
        stream.carried(bytes(1000))
    with pytest.raises(PeerMisbehaved, match="more on a relayed channel"):
        stream.carried(bytes(1000))
    stream.carried(b"")
    with pytest.raises(PeerMisbehaved, match="after the end"):
        stream.carried(b"x")
    stream.abort()


def test_closing_and_aborting_by_many_at_once_tells_once() -> None:
    for _ in range(20):
        side = Side(True)
        stream = side.stream()
        start = threading.Barrier(4)

        def end(how: str, stream: RelayStream = stream, start: threading.Barrier = start) -> None:
            start.wait()
            getattr(stream, how)()

        running = [Running(end, how) for how in ("abort", "close", "abort", "finish_sending")]
        for each in running:
            each.result()
        work = side.outbox.take()
        assert work is not None
        assert b"".join(work[0]).count(b'"abort"') == 1
        side.outbox.close()
        assert side.outbox.take() is None
