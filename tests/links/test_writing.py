"""`crust.links.writing`: what a connection sends, on both of its lanes, with the test in place of the peer."""

import struct

import pytest

from tests.links.connection_bench import Make, idle_connection, live_connection
from tests.together import PATIENCE, Running, until

idle = pytest.fixture(idle_connection)
live = pytest.fixture(live_connection)


def test_messages_of_every_size_arrive(live: Make) -> None:
    bench = live()
    messages = [b"", b"small", bytes(16_385), bytes(65_536), bytes(200_000), b"end"]
    reading = Running(bench.peer.read_messages, len(messages))
    for message in messages:
        bench.outbox.put(message)
    assert reading.result() == messages


def test_an_answer_takes_the_express_lane(live: Make) -> None:
    bench = live()
    bench.ready_for_express()
    written = len(bench.stream.sent)
    bench.outbox.put(b"answer")
    # Done when put() is: this thread has sent it.
    assert len(bench.stream.sent) == written + 1
    assert (bench.connection.info().messages_sent, bench.outbox.waiting_bytes) == (1, 0)
    bench.outbox.put(b"more")
    assert bench.peer.read_messages(2) == [b"answer", b"more"]


def test_what_the_network_does_not_take_at_once_is_for_the_writer(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = live()
    bench.ready_for_express()
    monkeypatch.setattr(bench.stream, "send_waiting", lambda data: bench.stream._sock.send(data[:3]))
    bench.outbox.put(b"answer")
    bench.outbox.put(b"more")
    assert bench.peer.read_messages(2) == [b"answer", b"more"]


def test_the_order_of_each_sender_is_kept_on_both_lanes(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, senders, each = 10, 3, 20
    bench = live()
    express: list[bytes] = []

    def send_now(message: bytes) -> bool:
        express.append(message)
        return bench.connection._send_now(message)

    monkeypatch.setattr(bench.outbox, "_send_now", send_now)
    reading = Running(bench.peer.read_messages, rounds * senders * each)

    def send(sender: int, first: int) -> None:
        for number in range(first, first + each):
            bench.outbox.express = True  # as if something had just been received
            bench.outbox.put(struct.pack("<HH", sender, number), timeout=PATIENCE)

    for number in range(rounds):
        until(lambda: bench.outbox._writer_sleeps)  # so the first of each round takes the express lane
        running = [Running(send, sender, number * each) for sender in range(senders)]
        for one in running:
            one.result()
    found = [struct.unpack("<HH", message) for message in reading.result()]
    for sender in range(senders):
        assert [number for who, number in found if who == sender] == list(range(rounds * each))
    assert rounds <= len(express) < len(found)
    assert bench.connection.info().messages_sent == len(found)
