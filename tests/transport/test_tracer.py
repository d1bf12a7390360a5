"""`crust.transport.tracer`: frames in clear, whatever pieces the network makes of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Endpoint
from crust.errors import Malformed
from crust.transport.framing import (
    FRAGMENT_SIZE,
    HEADER,
    MAX_CONTROL,
    MAX_FRAME,
    MESSAGE,
    PING,
    control_frame,
    encode_messages,
    message_frame,
)
from crust.transport.link import FLUSH_BYTES
from crust.transport.tracer import TracerReader, TracerWriter


class FakeStream:
    """Gives the pieces it was made with, and takes so many bytes without waiting."""

    def __init__(self, pieces: list[bytes], takes: int = 10**9) -> None:
        self.local = self.remote = Endpoint.tracer("127.0.0.1:1")
        self.pieces = pieces
        self.takes = takes
        self.sent = b""
        self.calls = 0

    def receive_into(self, buffer: memoryview) -> int:
        assert len(buffer), "no room to read into would look like the end"
        if not self.pieces:
            return 0
        piece, self.pieces[0] = self.pieces[0][: len(buffer)], self.pieces[0][len(buffer) :]
        if not self.pieces[0]:
            del self.pieces[0]
        buffer[: len(piece)] = piece
        return len(piece)

    receive_waiting = receive_into

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.calls += 1
        self.sent += data

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        taken = bytes(data[: self.takes])
        self.sent += taken
        return len(taken)

    def set_deadline(self, deadline: object) -> None: ...

    def finish_sending(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


def frames_of(reader: TracerReader) -> list[bytes]:
    found = []
    more = True
    while more:
        while (frame := reader.next()) is not None:
            found.append(frame)
        more = reader.fill()
    return found


FRAMES = [
    control_frame(PING, {"t": 1}),
    message_frame(b""),
    message_frame(b"m" * FRAGMENT_SIZE),
    *(b"".join(parts) for parts, _, _ in encode_messages([b"x" * 150_000, b"a", b"b"])),
    HEADER.pack(0x7F | MAX_CONTROL << 8) + b" " * MAX_CONTROL,
]


@given(cuts=st.lists(st.integers(0, sum(map(len, FRAMES))), max_size=30), early=st.integers(0, 9))
def test_frames_come_out_as_they_went_in(cuts: list[int], early: int) -> None:
    data = b"".join(FRAMES)
    edges = [early, *sorted(cut for cut in cuts if cut > early), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges) if b > a]
    reader = TracerReader(FakeStream(pieces), data[:early])
    assert frames_of(reader) == FRAMES
    assert reader.bytes_read == len(data) - early


def test_byte_by_byte() -> None:
    data = b"".join(FRAMES[:2])
    assert frames_of(TracerReader(FakeStream([data[i : i + 1] for i in range(len(data))]))) == FRAMES[:2]


def test_a_quiet_connection_holds_little_and_a_busy_one_not_much() -> None:
    quiet, busy = TracerReader(FakeStream([])), TracerReader(FakeStream(list(FRAMES) * 20))
    assert len(quiet._room) <= 4096
    assert len(frames_of(busy)) == len(FRAMES) * 20
    assert len(busy._room) <= 2 * MAX_FRAME


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(PING | (MAX_CONTROL + 1) << 8),
        HEADER.pack(0x7F | 0xFFFFFF << 8),
        HEADER.pack(MESSAGE | (MAX_FRAME - 3) << 8),
        HEADER.pack(0xFF | 0xFFFFFF << 8),
    ],
)
def test_a_length_that_cannot_be_is_noticed_at_once(header: bytes) -> None:
    reader = TracerReader(FakeStream([header]))
    assert reader.fill()
    with pytest.raises(Malformed, match="the limit is"):
        reader.next()


def test_more_is_looked_for_only_when_much_came() -> None:
    stream = FakeStream([b"\x01" * 10, b"\x02"])
    reader = TracerReader(stream)
    reader.fill()
    assert not reader.fill_waiting()
    big = FakeStream([message_frame(b"m" * FRAGMENT_SIZE) * 4, message_frame(b"last")])
    reader = TracerReader(big)
    while reader._latest < 40_000:
        reader.fill()
        while reader.next():
            pass
    assert reader.fill_waiting()


def test_what_is_written_is_sent_together() -> None:
    stream = FakeStream([])
    writer = TracerWriter(stream)
    assert not writer.add(FRAMES[0])
    assert not writer.add(FRAMES[1])
    assert stream.sent == b""
    writer.flush()
    writer.flush()
    assert (stream.sent, stream.calls) == (FRAMES[0] + FRAMES[1], 1)
    assert writer.bytes_written == len(stream.sent)
    assert writer.wrap(b"frame") == b"frame"


def test_much_is_not_gathered_for_ever() -> None:
    stream = FakeStream([])
    writer = TracerWriter(stream)
    frame = message_frame(b"m" * FRAGMENT_SIZE)
    flushed = [writer.add(frame) for _ in range(FLUSH_BYTES // len(frame) + 1)]
    assert flushed.count(True) == 1
    assert flushed[-1]


def test_without_waiting_the_rest_is_kept() -> None:
    stream = FakeStream([], takes=5)
    writer = TracerWriter(stream)
    writer.add(b"0123456789ab")
    assert not writer.flush_waiting()
    assert (stream.sent, writer.bytes_written) == (b"01234", 5)
    writer.flush()
    assert (stream.sent, writer.bytes_written) == (b"0123456789ab", 12)
    assert writer.flush_waiting()
