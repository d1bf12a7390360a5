"""`crust.links.connection`, continued: keep-alive, how far it reads ahead, and what it sends."""

import struct
from typing import Any

import pytest

from crust.links import connection
from crust.links.connection_news import ReaderEnded, WriterEnded
from crust.links.pings import MAX_OPEN_PINGS
from crust.threads.clock import now
from crust.transport.framing import PING, PONG, control_frame
from tests.links.connection_bench import Bench, Make, idle_connection, live_connection
from tests.together import PATIENCE, Running, until

idle = pytest.fixture(idle_connection)
live = pytest.fixture(live_connection)


# --- keep-alive -----------------------------------------------------------------------------------------


def test_a_ping_is_answered(live: Make) -> None:
    bench = live()
    for number in (0, 7, 2**63 - 1):
        bench.peer.send_frame(control_frame(PING, {"t": number}))
        assert bench.peer.await_control(PONG) == {"t": number}
    assert bench.inbox.empty()


@pytest.mark.parametrize("kind", [PING, PONG])
@pytest.mark.parametrize("content", [{}, *({"t": bad} for bad in (-1, 2**63, True, "1", 1.5))])
def test_a_ping_without_its_number(live: Make, kind: int, content: dict[str, Any]) -> None:
    bench = live()
    bench.peer.send_frame(control_frame(kind, content))
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    # What is no number of 64 bits is refused before anybody looks for a meaning in it.
    assert "without the number 't'" in ended.reason or "is not JSON" in ended.reason


def test_the_answer_to_our_ping_sets_the_round_trip(live: Make) -> None:
    bench = live()
    bench.connection.ping(now() - 1000.0)
    asked = bench.peer.await_control(PING)
    bench.peer.send_frame(control_frame(PONG, asked))
    until(lambda: bench.connection.rtt != 0.5)
    assert 1000.0 <= (bench.connection.info().rtt or 0.0) < 1000.0 + PATIENCE


def test_answers_to_what_was_not_asked_are_ignored(live: Make) -> None:
    bench = live()
    for _ in range(MAX_OPEN_PINGS + 1):
        bench.connection.ping(now())
    bench.peer.send_frame(control_frame(PONG, {"t": 1}), control_frame(PONG, {"t": 999}))
    bench.peer.send_frame(control_frame(PING, {"t": 5}))
    bench.peer.await_control(PONG)  # so what came before it has been looked at
    assert bench.connection.rtt == 0.5
    bench.peer.send_frame(control_frame(PONG, {"t": 2}))
    until(lambda: bench.connection.rtt != 0.5)


@pytest.fixture
def at_1000(idle: Make, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A connection that was made at 1000 s and has neither sent nor received since."""
    monkeypatch.setattr(connection, "now", lambda: 1000.0)
    return idle(keepalive_interval=20.0, dead_after=60.0)


def test_a_check_asks_after_silence_of_our_own(at_1000: Bench) -> None:
    check = at_1000.connection.check
    assert check(1010.0) == 1020.0
    assert at_1000.pinged() == 0
    assert check(1020.0) == 1025.0  # not sent yet: looked at again soon, but not at once
    assert at_1000.pinged() == 1
    at_1000.connection._last_sent = 1020.0
    assert check(1025.0) == 1040.0
    assert at_1000.pinged() == 0


def test_a_check_finds_the_dead(at_1000: Bench) -> None:
    check = at_1000.connection.check
    assert check(1059.9) is not None
    at_1000.connection._last_sent = 1059.0
    assert check(1059.9) == pytest.approx(1064.9)
    assert check(1060.0) is None


def test_a_peer_is_not_dead_while_we_do_not_listen(at_1000: Bench) -> None:
    at_1000.connection._paused = True
    assert at_1000.connection.check(5000.0) is not None
    assert at_1000.connection.silence(5000.0) == 0.0
    at_1000.connection._paused = False
    assert at_1000.connection.check(5059.0) is not None
    assert at_1000.connection.silence(5059.0) == 59.0
    assert at_1000.connection.check(5060.0) is None


def test_nothing_is_asked_at_the_end(at_1000: Bench) -> None:
    at_1000.connection.finish()
    assert at_1000.connection.check(1030.0) is not None
    assert at_1000.pinged() == 0


# --- no further ahead of the user than allowed ----------------------------------------------------------


@pytest.fixture
def paused(live: Make) -> Bench:
    """A connection whose reader has handed over more than the user has taken."""
    bench = live(max_waiting_bytes=1_000)
    bench.peer.send_messages(bytes(2_000))
    until(lambda: bench.connection._paused)
    return bench


def test_reading_pauses_until_the_user_has_taken(paused: Bench) -> None:
    bench = paused
    _, _, weight = bench.next()
    bench.peer.send_messages(b"waits")
    bench.connection.delivered(weight - 1_001)  # still one byte too much
    assert bench.connection._paused
    received = bench.connection.info().bytes_received
    assert bench.inbox.empty()
    bench.connection.delivered(1_001)
    assert bench.batch() == [b"waits"]
    assert bench.connection.info().bytes_received > received


@pytest.mark.parametrize("end", ["finish", "abort"])
def test_a_paused_reader_wakes_for_the_end(paused: Bench, end: str) -> None:
    paused.next()
    getattr(paused.connection, end)()
    paused.peer.sock.close()
    ended = {type(paused.next()), type(paused.next())}
    assert ended == {ReaderEnded, WriterEnded}


# --- sending --------------------------------------------------------------------------------------------


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
