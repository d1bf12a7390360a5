"""`crust.connection`: the two threads of a connection, with the test in place of the manager and of the peer."""

import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, Event, Identity, NotConnected, connection
from crust.clock import now
from crust.connection import MAX_OPEN_PINGS, Connection, PeerSaid, ReaderEnded, WriterEnded
from crust.limits import MESSAGE_OVERHEAD
from crust.peers import Candidate
from crust.transport.aead import supported_ciphers
from crust.transport.framing import BYE, CHOOSE, CHOSEN, PING, PONG, control_frame, message_frame
from crust.transport.link import Link, RecordReader, RecordWriter
from crust.transport.records import Opener, Sealer
from tests.manager.wire import WirePeer
from tests.streams import Pair
from tests.together import PATIENCE, Running, until

CIPHER = supported_ciphers()[0]
TO_US, TO_THEM = bytes(32), bytes([1] * 32)  # keys
NAME = Endpoint.tcp("192.0.2.1:5483")
RESET = struct.pack("ii", 1, 0)
NEWS = 0x5A  # a kind of control frame that the connection has no answer for


class Peer(WirePeer):
    """The other end, whose handshake is done."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sealer = Sealer(TO_US, CIPHER)
        self._opener = Opener(TO_THEM, CIPHER)

    def reset(self) -> None:
        """End without any order."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Bench:
    """A connection, the inbox that it reports to, and its peer."""

    def __init__(self, pair: Pair, **settings: Any) -> None:
        self.stream = pair.stream(pair.ours)
        self.peer = Peer(pair.theirs)
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reader = RecordReader(self.stream, Opener(TO_US, CIPHER))
        self.link = Link(self.stream, reader, RecordWriter(self.stream, Sealer(TO_THEM, CIPHER)))
        candidate = Candidate(Identity().peer_id, "192.0.2.1", b"session1")
        self.connection = Connection(candidate, self.link, NAME, self.inbox, Config(**settings), 1e9, 0.5)
        self.outbox = self.connection.outbox

    def next(self) -> Any:
        """The next thing that it reports."""
        return self.inbox.get(timeout=PATIENCE)

    def batch(self) -> list[bytes]:
        """The messages of the next thing, which is a batch."""
        which, events, _ = self.next()
        assert which is self.connection
        assert all(isinstance(event, Event.NewMessage) and event.endpoint == NAME for event in events)
        return [event.data for event in events]

    def messages(self, count: int) -> list[bytes]:
        """So many messages; each batch is with the user at once."""
        found: list[bytes] = []
        while len(found) < count:
            _, events, weight = self.next()
            found += [event.data for event in events]
            self.connection.delivered(weight)
        return found

    def pinged(self) -> int:
        """How many PINGs wait for the writer."""
        return sum(frame[0] == PING for frame in self.outbox.take_controls())

    def ready_for_express(self) -> None:
        """Have something received and the writer asleep."""
        self.peer.send_messages(b"question")
        self.messages(1)
        until(lambda: self.outbox.express and self.outbox._writer_sleeps)


Make = Callable[..., Bench]


@pytest.fixture
def idle() -> Iterator[Make]:
    """Makes a connection whose threads have not been started."""
    made: list[Bench] = []
    with Pair() as pair:

        def make(**settings: Any) -> Bench:
            made.append(Bench(pair, **settings))
            return made[0]

        yield make
        for bench in made:
            bench.connection.abort()
            bench.connection.release()


@pytest.fixture
def live(idle: Make) -> Make:
    """Makes a connection whose threads run."""

    def make(**settings: Any) -> Bench:
        bench = idle(**settings)
        bench.connection.start()
        return bench

    return make


# --- receiving ------------------------------------------------------------------------------------------


def test_messages_come_as_batches_with_their_weight(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"one", b"", b"three")
    which, events, weight = bench.next()
    assert which is bench.connection
    assert events == [Event.NewMessage(NAME, data) for data in (b"one", b"", b"three")]
    assert weight == 8 + 3 * MESSAGE_OVERHEAD


def test_batches_and_notices_come_in_the_order_sent(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"first")
    assert bench.batch() == [b"first"]
    bench.peer.send_frame(control_frame(CHOSEN, {"serial": 1}))
    said = bench.next()
    assert isinstance(said, PeerSaid)
    assert (said.connection, said.kind, said.serial) == (bench.connection, CHOSEN, 1)
    bench.peer.send_messages(b"second")
    assert bench.batch() == [b"second"]


def test_a_kind_that_this_version_does_not_know_goes_no_further(live: Make) -> None:
    bench = live()
    for number in range(100):
        bench.peer.send_frame(control_frame(NEWS, {"n": number}))
    bench.peer.send_messages(b"after")
    assert bench.batch() == [b"after"]


def test_what_comes_at_once_is_one_batch_before_the_end(live: Make) -> None:
    bench = live()
    frames = (message_frame(b"1"), message_frame(b"2"), control_frame(BYE, {"text": "so long"}), message_frame(b"3"))
    bench.peer.send_frame(*frames)
    assert bench.batch()[:2] == [b"1", b"2"]
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert (ended.connection, ended.reason, ended.goodbye) == (bench.connection, "so long", True)
    assert bench.inbox.empty()


def test_what_the_handshake_read_already_is_not_forgotten(idle: Make) -> None:
    bench = idle()
    reader: Any = bench.link.reader
    reader._opener.feed(bench.peer.seal(message_frame(b"early")))
    bench.connection.start()
    assert bench.batch() == [b"early"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"text": "a\x1b[31m red\nline\x00"}, "a?[31m red?line?"),
        ({"text": "\u202eltr"}, "?ltr"),
        ({"text": "x" * 3000}, "x" * 200),
        ({"text": ["not", "text"]}, "the peer closed the connection"),
        ({}, "the peer closed the connection"),
    ],
)
def test_what_a_goodbye_says_is_fit_for_a_log(live: Make, content: dict[str, Any], text: str) -> None:
    bench = live()
    bench.peer.send_frame(control_frame(BYE, content))
    ended = bench.next()
    assert (ended.reason, ended.goodbye) == (text, True)


def test_an_end_without_goodbye(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"last words")
    bench.peer.sock.shutdown(socket.SHUT_WR)
    assert bench.batch() == [b"last words"]
    ended = bench.next()
    assert not ended.goodbye
    assert "without a goodbye" in ended.reason


def test_messages_before_a_forged_record_count(live: Make) -> None:
    bench = live()
    genuine, forged = bench.peer.seal(message_frame(b"genuine")), bytearray(bench.peer.seal(message_frame(b"forged")))
    forged[-1] ^= 1
    bench.peer.sock.sendall(genuine + forged)
    assert bench.batch() == [b"genuine"]
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert not ended.goodbye
    assert "does not authenticate" in ended.reason


def test_an_error_of_ours_ends_the_connection_and_is_logged(
    idle: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = idle()
    monkeypatch.setattr(bench.link.reader, "next", lambda: 1 / 0)
    bench.connection.start()
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert ended.reason.startswith("an internal error: ZeroDivisionError")
    bench.connection.abort()
    bench.connection.release()
    assert "please report this" in caplog.text


@pytest.mark.parametrize("kind", [CHOOSE, CHOSEN])
@pytest.mark.parametrize("content", [{}, *({"serial": bad} for bad in (-1, 2**63, True, "1", 1.5))])
def test_the_choice_without_its_serial(live: Make, kind: int, content: dict[str, Any]) -> None:
    bench = live()
    bench.peer.send_frame(control_frame(kind, content))
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert "without the number 'serial'" in ended.reason or "is not JSON" in ended.reason


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
    bench.connection.retire()
    assert bench.peer.await_control(BYE)["reason"] == "bye"
    assert isinstance(bench.next(), WriterEnded)
    bench.peer.send_messages(b"on its way")
    assert bench.batch() == [b"on its way"]


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
        bench.connection.start()
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
