"""The encrypted link: every byte once and in order, whatever the stream takes and gives; few calls, little memory."""

import itertools
import os
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Endpoint
from crust.errors import Malformed
from crust.threads.clock import Deadline
from crust.transport import link
from crust.transport.aead import AEGIS256, CHACHA20
from crust.transport.base import Stream
from crust.transport.link import FLUSH_BYTES, MUCH, FrameReader, FrameWriter, Link, RecordReader, RecordWriter
from crust.transport.records import MAX_RECORD, MAX_RECORD_PLAINTEXT, RECORD_OVERHEAD, Opener, Sealer

KEY = bytes(range(32))
FULL = os.urandom(MAX_RECORD_PLAINTEXT)
texts_lists = st.lists(st.binary(max_size=200), max_size=12)


class FakeStream:
    """A `Stream` in memory: gives ``incoming`` and keeps what is sent, in pieces of the sizes that the test wants."""

    def __init__(self, incoming: bytes = b"", reads: Iterable[int] = (), takes: Iterable[int] = ()) -> None:
        self.local = self.remote = Endpoint.tcp("127.0.0.1:1")
        self.incoming = incoming
        self.reads = iter(reads)
        """Bytes that the next receives give at most; after the last one, as many as fit."""
        self.takes = iter(takes)
        """Bytes that the next `send_waiting` take at most; after the last one, all."""
        self.sent = bytearray()
        self.receives: list[str] = []
        self.sends: list[int] = []

    def receive_into(self, buffer: memoryview) -> int:
        self.receives.append("blocking")
        return self._give(buffer)

    def receive_waiting(self, buffer: memoryview) -> int:
        self.receives.append("waiting")
        return self._give(buffer)

    def _give(self, buffer: memoryview) -> int:
        assert len(buffer), "a read of nothing would look like the end of the stream"
        piece = self.incoming[: min(len(buffer), next(self.reads, len(buffer)))]
        buffer[: len(piece)] = piece
        self.incoming = self.incoming[len(piece) :]
        return len(piece)

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends.append(len(data))
        self.sent += data

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        count = min(len(data), next(self.takes, len(data)))
        self.sent += data[:count]
        return count

    def set_deadline(self, deadline: Deadline | None) -> None:
        pass

    def finish_sending(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def sealed(texts: Iterable[bytes], cipher: str = CHACHA20) -> bytes:
    sealer = Sealer(KEY, cipher)
    return b"".join(sealer.seal(text) for text in texts)


def reader(stream: FakeStream, cipher: str = CHACHA20) -> RecordReader:
    return RecordReader(stream, Opener(KEY, cipher))


def writer(stream: FakeStream, cipher: str = CHACHA20) -> RecordWriter:
    return RecordWriter(stream, Sealer(KEY, cipher))


def taken(source: RecordReader) -> list[bytes]:
    """Everything that was read so far."""
    found = []
    while (piece := source.next()) is not None:
        found.append(bytes(piece))
    return found


def read_all(stream: FakeStream, cipher: str = CHACHA20) -> list[bytes]:
    """Everything until the stream ends."""
    source = reader(stream, cipher)
    found = []
    size = len(stream.incoming)
    while source.fill():
        found += taken(source)
    assert source.bytes_read == size
    return found


def room(target: RecordWriter) -> int:
    """Bytes of memory that the writer holds."""
    return len(target._out)


def test_the_fake_and_the_halves_are_what_they_stand_for() -> None:
    """For the type checker as much as for the reader."""
    stream: Stream = FakeStream()
    halves: tuple[FrameReader, FrameWriter] = reader(FakeStream()), writer(FakeStream())
    assert Link(stream, *halves).reader is halves[0]


# --- reading ----------------------------------------------------------------------------------------------------------


@given(
    texts=texts_lists, pieces=st.lists(st.integers(1, 60), max_size=30), cipher=st.sampled_from([AEGIS256, CHACHA20])
)
def test_reads_of_any_size_give_the_same(texts: list[bytes], pieces: list[int], cipher: str) -> None:
    wire = sealed(texts, cipher)
    assert read_all(FakeStream(wire), cipher) == texts
    assert read_all(FakeStream(wire, reads=pieces), cipher) == texts
    assert read_all(FakeStream(wire, reads=itertools.repeat(1)), cipher) == texts


def test_full_records() -> None:
    texts = [FULL, b"small", FULL, FULL]
    assert read_all(FakeStream(sealed(texts))) == texts
    assert read_all(FakeStream(sealed(texts), reads=itertools.repeat(10_007))) == texts


def test_the_end_of_the_stream() -> None:
    source = reader(FakeStream())
    assert not source.fill()
    assert source.next() is None
    assert source.bytes_read == 0


def test_a_record_that_is_cut_off_is_not_delivered() -> None:
    assert read_all(FakeStream(sealed([b"whole", b"cut"])[:-1])) == [b"whole"]


def test_a_forged_record_is_malformed() -> None:
    wire = bytearray(sealed([b"genuine", b"forged"]))
    wire[-1] ^= 1
    source = reader(FakeStream(bytes(wire)))
    assert source.fill()
    assert source.next() == b"genuine"
    with pytest.raises(Malformed):
        source.next()


@pytest.mark.parametrize(("came", "looks"), [(1, False), (MUCH - 1, False), (MUCH, True), (MUCH + 1, True)])
def test_more_is_looked_for_only_after_a_large_read(came: int, looks: bool) -> None:
    """A look costs a system call: with a small message nothing else is expected to be there."""
    stream = FakeStream(sealed([FULL, FULL]))
    source = reader(stream)
    source._opener._allocate(2 * MAX_RECORD)
    stream.reads = iter([came, 1])
    assert source.fill()
    assert source.next() is None
    assert source.fill_waiting() is looks
    assert stream.receives == ["blocking", *["waiting"] * looks]
    assert source.bytes_read == came + looks


def test_nothing_is_looked_for_before_the_first_read() -> None:
    stream = FakeStream(sealed([FULL]))
    assert not reader(stream).fill_waiting()
    assert stream.receives == []


def test_a_look_that_finds_little_is_the_last() -> None:
    """Nothing, or less than much: the next read waits."""
    for found in (0, MUCH - 1):
        stream = FakeStream(sealed([FULL] * 2))
        source = reader(stream)
        source._opener._allocate(2 * MAX_RECORD)
        stream.reads = iter([MUCH, found])
        assert source.fill()
        assert source.next() is None
        assert source.fill_waiting() is bool(found)
        assert not source.fill_waiting()
        assert stream.receives == ["blocking", "waiting"]


def test_what_waits_is_read_in_order() -> None:
    texts = [bytes([number]) * 20_000 for number in range(40)]
    stream = FakeStream(sealed(texts))
    total = len(stream.incoming)
    source = reader(stream)
    found = []
    while source.fill():
        found += taken(source)
        while source.fill_waiting():
            found += taken(source)
    assert found == texts
    assert source.bytes_read == total
    assert "waiting" in stream.receives


# --- writing ----------------------------------------------------------------------------------------------------------


@given(texts=texts_lists, flushes=st.sets(st.integers(0, 12)))
def test_what_is_written_is_read(texts: list[bytes], flushes: set[int]) -> None:
    stream = FakeStream()
    target = writer(stream)
    for number, text in enumerate(texts):
        assert not target.add(text)
        if number in flushes:
            target.flush()
    target.flush()
    assert bytes(stream.sent) == sealed(texts)
    assert target.bytes_written == len(stream.sent)


def test_nothing_goes_out_before_a_flush_and_nothing_twice() -> None:
    stream = FakeStream()
    target = writer(stream)
    assert not target.add(b"text")
    assert (bytes(stream.sent), target.bytes_written) == (b"", 0)
    target.flush()
    assert target.bytes_written == len(stream.sent) == 4 + RECORD_OVERHEAD - 16
    target.flush()
    assert stream.sends == [len(stream.sent)], "a flush of nothing is no system call"


@pytest.mark.parametrize("cipher", [AEGIS256, CHACHA20])
def test_much_is_sent_with_few_calls(cipher: str) -> None:
    stream = FakeStream()
    target = writer(stream, cipher)
    flushed = [target.add(FULL) for _ in range(24)]
    target.flush()
    assert flushed == ([False] * 7 + [True]) * 3
    assert len(stream.sends) == 3
    assert all(FLUSH_BYTES <= size < FLUSH_BYTES + MAX_RECORD for size in stream.sends)
    assert target.bytes_written == sum(stream.sends)
    assert read_all(FakeStream(bytes(stream.sent)), cipher) == [FULL] * 24


@pytest.mark.parametrize("short", [1, 0])
def test_the_flush_comes_with_the_last_byte(short: int) -> None:
    stream = FakeStream()
    target = writer(stream)
    for _ in range(7):
        target.add(FULL)
    overhead = len(sealed([b""]))
    left = FLUSH_BYTES - target._used - overhead - short
    assert target.add(FULL[:left]) is not short
    assert stream.sends == ([] if short else [FLUSH_BYTES])


def test_memory_grows_with_what_is_sent_and_has_a_bound() -> None:
    target = writer(FakeStream())
    assert room(target) == link._FIRST_OUT, "thousands of idle connections must not cost much"
    seen = set()
    for _ in range(20):
        target.add(FULL)
        seen.add(room(target))
    assert max(seen) <= FLUSH_BYTES + MAX_RECORD
    assert len(seen) <= 3, "it is not copied again and again"


@pytest.mark.parametrize("waiting", [False, True])
def test_a_quiet_writer_gives_its_memory_back(waiting: bool) -> None:
    """Also one whose small messages all take the way that never blocks, and not while that has left something over."""
    stream = FakeStream()
    target = writer(stream)
    target.add(FULL)
    target.flush()
    large = room(target)
    texts = [b"%d" % number for number in range(link._SMALL_FLUSHES + 5)]
    rooms = []
    for text in texts:
        target.add(text)
        if waiting:
            assert target.flush_waiting()
        else:
            target.flush()
        rooms.append(room(target))
    assert rooms == [large] * (link._SMALL_FLUSHES - 1) + [link._FIRST_OUT] * 6
    assert read_all(FakeStream(bytes(stream.sent))) == [FULL, *texts]


def test_what_is_left_over_is_not_given_back_with_the_memory() -> None:
    """A stream that takes one byte at a time makes every flush a small one."""
    stream = FakeStream(takes=itertools.repeat(1, 3 * link._SMALL_FLUSHES))
    target = writer(stream)
    target.add(FULL)
    target.flush()
    target.add(bytes(1000))
    for _ in range(3 * link._SMALL_FLUSHES):
        assert not target.flush_waiting()
    assert target.flush_waiting()
    assert bytes(stream.sent) == sealed([FULL, bytes(1000)])
    assert room(target) == link._FIRST_OUT


def test_a_busy_writer_keeps_its_memory() -> None:
    """A large flush now and then is enough: making the buffer anew each time would cost more than it holds."""
    target = writer(FakeStream())
    target.add(FULL)
    target.flush()
    large = room(target)
    for number in range(4 * link._SMALL_FLUSHES):
        target.add(FULL if number % (link._SMALL_FLUSHES - 1) == 0 else b"small")
        target.flush()
        assert room(target) == large


# --- without waiting --------------------------------------------------------------------------------------------------


def test_a_stream_that_takes_nothing() -> None:
    stream = FakeStream(takes=[0, 0])
    target = writer(stream)
    target.add(b"text")
    assert not target.flush_waiting()
    assert not target.flush_waiting()
    assert (bytes(stream.sent), target.bytes_written) == (b"", 0)
    assert target.flush_waiting()
    assert bytes(stream.sent) == sealed([b"text"])
    assert target.bytes_written == len(stream.sent)


def test_the_rest_is_for_flush() -> None:
    stream = FakeStream(takes=[3])
    target = writer(stream)
    target.add(b"one")
    assert not target.flush_waiting()
    target.add(b"two")
    target.flush()
    assert bytes(stream.sent) == sealed([b"one", b"two"])
    assert target.bytes_written == len(stream.sent)


@given(
    steps=st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, 20_000).map(lambda size: FULL[:size]),
            st.integers(0, 400),
            st.just("flush"),
        ),
        max_size=30,
    ),
    cipher=st.sampled_from([AEGIS256, CHACHA20]),
)
def test_every_byte_goes_out_once_and_in_order(steps: list[bytes | int | str], cipher: str) -> None:
    """Records added, flushes that take only so many bytes, and whole flushes, in any order."""
    texts = [step for step in steps if isinstance(step, bytes)]
    stream = FakeStream(takes=[step for step in steps if isinstance(step, int)])
    target = writer(stream, cipher)
    for step in steps:
        if isinstance(step, bytes):
            target.add(step)
        elif isinstance(step, int):
            assert target.flush_waiting() is (not target._used)
        else:
            target.flush()
        assert target.bytes_written == len(stream.sent)
    target.flush()
    assert bytes(stream.sent) == sealed(texts, cipher)
