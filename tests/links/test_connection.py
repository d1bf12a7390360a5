"""`crust.links.connection`: how it ends, what it tells of itself, and how it is kept alive, with the test in place
of the manager and of the peer."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from crust import NotConnected
from crust.limits import MESSAGE_OVERHEAD
from crust.links import connection
from crust.links.connection import MAX_TEXT
from crust.links.connection_news import ReaderEnded, WriterEnded
from crust.links.pings import MAX_OPEN_PINGS
from crust.threads.clock import now
from crust.transport.framing import BYE, PING, PONG, control_frame
from tests.links.connection_bench import NAME, Bench, Make, idle_connection, live_connection
from tests.together import PATIENCE, until

idle = pytest.fixture(idle_connection)
live = pytest.fixture(live_connection)


# --- the end --------------------------------------------------------------------------------------------


def test_finish_sends_what_is_queued_and_then_goodbye(live: Make) -> None:
    bench = live()
    for number in range(50):
        bench.outbox.put(b"%d" % number)
    bench.connection.finish()
    bench.connection.finish()
    with pytest.raises(NotConnected):
        bench.outbox.put(b"too late")
    goodbye = bench.peer.await_control(BYE)
    assert bench.peer.read_messages(51) == [b"%d" % number for number in range(50)]  # and the end after them
    assert goodbye["reason"] == "bye"
    ended = bench.next()
    assert isinstance(ended, WriterEnded)
    assert (ended.connection, ended.error) == (bench.connection, None)
    bench.peer.send_messages(b"still heard")
    bench.peer.say_goodbye()
    assert bench.batch() == [b"still heard"]
    assert bench.next().goodbye
    bench.connection.release()


def test_a_retired_connection_reads_on(live: Make) -> None:
    bench = live()
    bench.connection.farewell = "something better has come"
    bench.connection.retire()
    assert bench.peer.await_control(BYE) == {"reason": "bye", "text": "something better has come"}
    assert isinstance(bench.next(), WriterEnded)
    bench.peer.send_messages(b"on its way")
    assert bench.batch() == [b"on its way"]


def test_who_is_cut_off_is_told_why_and_nothing_else(idle: Make) -> None:
    bench = idle()
    bench.outbox.put(b"queued")
    bench.connection.cut_off("refused", "x" * 1000)
    bench.start()
    assert bench.peer.await_control(BYE) == {"reason": "refused", "text": "x" * MAX_TEXT}
    assert isinstance(bench.next(), WriterEnded)
    assert bench.peer.read_messages(1) == []


def test_abort_wakes_both_threads(live: Make) -> None:
    bench = live()
    until(lambda: bench.outbox._writer_sleeps)
    bench.connection.abort()
    bench.connection.abort()
    assert {type(bench.next()), type(bench.next())} == {ReaderEnded, WriterEnded}
    bench.connection.release()
    assert bench.peer.read_controls() == []


def test_abort_wakes_a_writer_whose_peer_does_not_read(live: Make) -> None:
    bench = live(send_queue_bytes=64_000_000)
    for _ in range(40):
        bench.outbox.put(bytes(1_000_000))
    until(lambda: len(bench.stream.sent) >= 2)
    bench.connection.abort()
    ended = [bench.next(), bench.next()]
    (written,) = [one for one in ended if isinstance(one, WriterEnded)]
    assert written.error is not None
    bench.connection.release()
    with pytest.raises(NotConnected):
        bench.outbox.put(b"too late")


def test_a_reset_ends_reading_and_the_next_writing(live: Make) -> None:
    bench = live()
    bench.peer.reset()
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert not ended.goodbye
    bench.outbox.put(b"in vain")
    written = bench.next()
    assert isinstance(written, WriterEnded)
    assert "closed the connection" in written.error or "reset" in written.error  # type: ignore[operator]
    assert bench.outbox.discarded


def test_without_threads_to_be_had_the_caller_is_told(idle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = idle()
    started: list[str] = []

    def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(name)
        thread = threading.Thread(target=target, name="test", daemon=True)
        thread.start()
        return thread

    monkeypatch.setattr(connection, "start_thread", start_thread)
    with pytest.raises(RuntimeError):
        bench.start()
    assert started == [f"reader {NAME}"]
    assert (bench.connection.threads_left, bench.connection.started) == (1, True)


# --- looking ----------------------------------------------------------------------------------------------


def test_what_it_tells_of_itself(live: Make) -> None:
    bench = live()
    before = bench.connection.info()
    assert (before.endpoint, before.peer_id, before.rtt, before.since) == (NAME, bench.connection.peer_id, 0.5, 1e9)
    assert (before.messages_sent, before.messages_received, before.waiting_bytes) == (0, 0, 0)
    bench.peer.send_messages(b"a", b"b", b"c")
    bench.batch()
    bench.outbox.put(b"d")
    assert bench.peer.read_messages(1) == [b"d"]
    until(lambda: bench.connection.info().waiting_bytes == 0)
    after = bench.connection.info()
    assert (after.messages_sent, after.messages_received) == (1, 3)
    assert after.bytes_sent == sum(map(len, bench.stream.sent)) > 0
    assert after.bytes_received > 3


def test_what_waits_to_be_sent_is_told(idle: Make) -> None:
    bench = idle()
    bench.outbox.put(bytes(100))
    assert bench.connection.info().waiting_bytes == 100 + MESSAGE_OVERHEAD


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
    at_1000.connection.traffic.last_sent = 1020.0
    assert check(1025.0) == 1040.0
    assert at_1000.pinged() == 0


def test_a_check_finds_the_dead(at_1000: Bench) -> None:
    check = at_1000.connection.check
    assert check(1059.9) is not None
    at_1000.connection.traffic.last_sent = 1059.0
    assert check(1059.9) == pytest.approx(1064.9)
    assert check(1060.0) is None


def test_a_peer_is_not_dead_while_we_do_not_listen(at_1000: Bench) -> None:
    at_1000.connection.pace.paused = True
    assert at_1000.connection.check(5000.0) is not None
    assert at_1000.connection.silence(5000.0) == 0.0
    at_1000.connection.pace.paused = False
    assert at_1000.connection.check(5059.0) is not None
    assert at_1000.connection.silence(5059.0) == 59.0
    assert at_1000.connection.check(5060.0) is None


def test_nothing_is_asked_at_the_end(at_1000: Bench) -> None:
    at_1000.connection.finish()
    assert at_1000.connection.check(1030.0) is not None
    assert at_1000.pinged() == 0
