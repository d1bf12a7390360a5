"""Frames: what goes in comes out, in the same order; whatever lies is Malformed, and costs no more than was sent."""

import json
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.limits import MESSAGE_SIZE_CEILING
from crust.transport import framing
from crust.transport.framing import (
    BYE,
    CHOOSE,
    CHOSEN,
    FIRST,
    FRAGMENT_SIZE,
    LAST_CONTROL,
    MAX_CONTROL,
    MAX_FRAME,
    MAX_SMALL,
    MESSAGE,
    MESSAGES,
    NEXT,
    PING,
    PONG,
    Decoder,
    control_frame,
    encode_messages,
    message_frame,
    parse_control,
)
from crust.transport.records import MAX_RECORD_PLAINTEXT

LIMIT = 300_000  # bytes of the largest message in most of these tests
EDGES = [
    *(edge + step for edge in (MAX_SMALL, FRAGMENT_SIZE, 2 * FRAGMENT_SIZE) for step in (-1, 0, 1)),
    FRAGMENT_SIZE - framing._COUNT.size - framing._LENGTH_SIZE,
    4 * FRAGMENT_SIZE + 5,
]
PATTERN = bytes(range(251)) * (LIMIT // 251 + 2)  # 251 is prime: a shifted piece shows
sizes = st.one_of(st.integers(0, 40), st.sampled_from(EDGES), st.integers(0, 70_000))


def pattern(number: int, size: int) -> bytes:
    """A message that differs from its neighbours and from itself shifted."""
    return PATTERN[number % 251 : number % 251 + size]


messages_lists = st.lists(sizes, max_size=12).map(lambda chosen: [pattern(n, size) for n, size in enumerate(chosen)])
small_lists = st.lists(st.binary(max_size=20), max_size=60)


def encoded(messages: list[bytes]) -> list[bytes]:
    """The frames, after looking at what is promised of them."""
    frames, count, size = [], 0, 0
    for pieces, completed, carried in encode_messages(messages):
        frames.append(b"".join(pieces))
        count, size = count + completed, size + carried
    assert (count, size) == (len(messages), sum(map(len, messages)))
    assert all(len(frame) <= MAX_FRAME <= MAX_RECORD_PLAINTEXT for frame in frames)
    return frames


def decoded(records: list[bytes], limit: int = LIMIT) -> list[bytes]:
    """The messages of records of whole frames, all of which have to be finished."""
    decoder = Decoder(limit)
    for record in records:
        decoder.feed(record)
    messages, size = decoder.take_messages()
    assert size == sum(map(len, messages))
    assert not decoder._missing
    return messages


def frame(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A frame that may lie about its length."""
    return struct.pack("<I", kind | (len(body) if length is None else length) << 8) + body


def batch(lengths: list[int], content: bytes, count: int | None = None) -> bytes:
    """A MESSAGES frame that may lie about its count and lengths."""
    number = len(lengths) if count is None else count
    return frame(MESSAGES, struct.pack(f"<H{len(lengths)}H", number, *lengths) + content)


def first(total: int, size: int = FRAGMENT_SIZE) -> bytes:
    """A FIRST frame that may lie."""
    return frame(FIRST, struct.pack("<I", total) + bytes(size))


def refuse(*records: bytes, limit: int = LIMIT, match: str = "") -> None:
    """The last of the records is Malformed, and none before it."""
    decoder = Decoder(limit)
    for record in records[:-1]:
        decoder.feed(record)
    with pytest.raises(Malformed, match=match):
        decoder.feed(records[-1])


# --- round trips ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(messages=messages_lists)
@example(messages=[pattern(n, size) for n, size in enumerate(EDGES)])
def test_what_goes_in_comes_out(messages: list[bytes]) -> None:
    frames = encoded(messages)
    assert decoded(frames) == messages
    if frames:
        assert decoded([b"".join(frames)]) == messages, "several frames in one record are the same as one in each"


@given(messages=small_lists)
def test_small_messages_are_packed_together(messages: list[bytes]) -> None:
    frames = encoded(messages)
    assert len(frames) == bool(messages)
    assert decoded(frames) == messages


@pytest.mark.parametrize("size", [0, 1, 7])
def test_very_many_tiny_messages(size: int) -> None:
    """More than one count can express, so that there are at least two frames; and few of them."""
    messages = [pattern(n, size) for n in range(70_000)]
    frames = encoded(messages)
    assert decoded(frames) == messages
    assert 2 <= len(frames) <= 1 + 70_000 * (size + 2) // (framing._BATCH_BUDGET - (size + 2))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 32, 33, 100])
@pytest.mark.parametrize("size", [0, 1, 64])
def test_messages_of_equal_length(count: int, size: int) -> None:
    """They have a faster way of their own, in blocks."""
    messages = [pattern(n, size) for n in range(count)]
    assert decoded(encoded(messages)) == messages


def test_the_largest_batch_is_full() -> None:
    """The budget is used to the last byte, and not passed."""
    rest = FRAGMENT_SIZE - 2 - 4 * (MAX_SMALL - 10) - 5 * 2
    assert [len(part) for part in encoded([bytes(MAX_SMALL - 10)] * 4 + [bytes(rest)])] == [4 + FRAGMENT_SIZE]
    assert len(encoded([bytes(MAX_SMALL - 10)] * 4 + [bytes(rest + 1)])) == 2


def test_nothing_makes_no_frame() -> None:
    assert list(encode_messages([])) == []


def test_a_large_message_completes_with_its_last_piece() -> None:
    steps = [(count, size) for _, count, size in encode_messages([b"a", bytes(2 * FRAGMENT_SIZE + 1), b"b"])]
    assert steps == [(1, 1), (0, FRAGMENT_SIZE), (0, FRAGMENT_SIZE), (1, 1), (1, 1)]


def test_large_messages_are_not_copied() -> None:
    message = bytes(3 * FRAGMENT_SIZE)
    for pieces, _, _ in encode_messages([message]):
        assert isinstance(pieces[-1], memoryview)
        assert pieces[-1].obj is message


@pytest.mark.parametrize("size", [0, 1, FRAGMENT_SIZE])
def test_a_message_frame(size: int) -> None:
    assert decoded([message_frame(pattern(3, size))]) == [pattern(3, size)]


def test_the_layout_never_changes() -> None:
    """Nodes of different versions must understand each other."""
    assert encoded([b"one", b"three"])[0] == bytes.fromhex("01 0e0000 0200 0300 0500") + b"onethree"
    assert encoded([b"one"])[0] == bytes.fromhex("02 030000") + b"one"
    pieces = encoded([bytes(FRAGMENT_SIZE + 2)])
    assert pieces[0][:8] == bytes.fromhex("03 040001 02000100")
    assert pieces[1] == bytes.fromhex("04 020000 0000")
    assert control_frame(PING, {"t": 7}) == bytes.fromhex("10 070000") + b'{"t":7}'


# --- control frames ---------------------------------------------------------------------------------------------------


@given(
    contents=st.lists(
        st.tuples(
            st.integers(PING, LAST_CONTROL),
            st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20) | st.none(), max_size=4),
        ),
        max_size=5,
    )
)
def test_control_frames_come_out(contents: list[tuple[int, dict[str, object]]]) -> None:
    decoder = Decoder(LIMIT)
    for kind, content in contents:
        decoder.feed(control_frame(kind, content))
    assert decoder.has_controls == bool(contents)
    assert decoder.take_controls() == contents
    assert decoder.take_controls() == []
    assert not decoder.has_controls


@pytest.mark.parametrize("kind", [PING, PONG, CHOOSE, CHOSEN, BYE, LAST_CONTROL])
def test_control_frames_pass_between_the_pieces_of_a_message(kind: int) -> None:
    message = pattern(9, 2 * FRAGMENT_SIZE + 9)
    between = control_frame(kind, {"t": 1})
    frames = encoded([message])
    decoder = Decoder(LIMIT)
    for part in frames:
        decoder.feed(between + part)
    assert decoder.take_messages() == ([message], len(message))
    assert decoder.take_controls() == [(kind, {"t": 1})] * len(frames)


def test_a_control_frame_has_a_limit() -> None:
    room = MAX_CONTROL - len('{"text":""}')
    assert parse_control(control_frame(BYE, {"text": "x" * room})[4:]) == {"text": "x" * room}
    with pytest.raises(ValueError, match="limit is 4096"):
        control_frame(BYE, {"text": "x" * (room + 1)})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{]",
        b'{"t":1}}',
        b"\xff\xfe\xfa",
        b'{"t":"\xff"}',
        b"[]",
        b"17",
        b"null",
        b'"text"',
        b"[" * MAX_CONTROL,
        b'{"a":' * (MAX_CONTROL // 5),
        b"9" * MAX_CONTROL,
        b'{"t":' + b" " * MAX_CONTROL + b"1}",
    ],
)
def test_what_is_no_control_frame(body: bytes) -> None:
    with pytest.raises(Malformed, match="a control frame"):
        parse_control(body)
    refuse(frame(PING, body), match="a control frame")


def test_a_huge_number_in_a_control_frame_is_a_number() -> None:
    """As long as a body may be, and Python takes it: whoever uses it has to look at its range."""
    digits = b"9" * (MAX_CONTROL - len(b'{"t":}'))
    assert parse_control(b'{"t":' + digits + b"}") == {"t": int(digits)}


@given(st.binary(max_size=64) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nothing_but_malformed_escapes_from_control_frames(body: bytes | str) -> None:
    try:
        content = parse_control(body if isinstance(body, bytes) else body.encode())
    except Malformed:
        return
    assert isinstance(content, dict)


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"", "empty record"),
        (b"\x02", "header is cut"),
        (b"\x02\x00\x00", "header is cut"),
        (message_frame(b"whole") + b"\x02\x00", "header is cut"),
        (frame(MESSAGE, b"text", 5), "says 5 bytes but 4"),
        (frame(MESSAGE, b"", 0xFFFFFF), "says 16777215 bytes but 0"),
        (frame(0x00, b""), "unknown kind 0x00"),
        (frame(0x05, b""), "unknown kind 0x05"),
        (frame(0x0F, b""), "unknown kind 0x0f"),
        (frame(0x80, b"{}"), "unknown kind 0x80"),
        (frame(0xFF, b"{}"), "unknown kind 0xff"),
        (frame(MESSAGES, b""), "without a count"),
        (frame(MESSAGES, b"\x01"), "without a count"),
        (batch([], b""), "0 messages"),
        (batch([], b"content"), "0 messages"),
        (batch([], b"", count=1), "1 messages"),
        (batch([1], b"x", count=2), "2 messages"),
        (batch([1, 1], b"xx", count=0xFFFF), "65535 messages"),
        (batch([1, 2], b"xx"), "do not add up"),
        (batch([1, 2], b"xxxx"), "do not add up"),
        (batch([1, 1], b""), "do not add up"),
        (batch([0xFFFF] * 3, b"x"), "do not add up"),
        (frame(MESSAGE, bytes(FRAGMENT_SIZE + 1)), "limit is 65536"),
        (first(2 * FRAGMENT_SIZE, FRAGMENT_SIZE - 1), "first piece of a message has 65535"),
        (first(2 * FRAGMENT_SIZE, FRAGMENT_SIZE + 1), "first piece of a message has 65537"),
        (frame(FIRST, b""), "first piece"),
        (frame(FIRST, b"\x00\x00"), "first piece"),
        (first(0), "a message of 0 bytes in pieces"),
        (first(FRAGMENT_SIZE), "a message of 65536 bytes in pieces"),
        (first(LIMIT + 1), "a message of 300001 bytes in pieces"),
        (first(0xFFFFFFFF), "a message of 4294967295 bytes in pieces"),
        (frame(NEXT, b"x"), "not begun"),
        (frame(NEXT, b""), "not begun"),
    ],
)
def test_every_lie_is_malformed(record: bytes, why: str) -> None:
    refuse(record, match=why)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (message_frame(b""), "not finished"),
        (batch([1], b"x"), "not finished"),
        (first(2 * FRAGMENT_SIZE), "not finished"),
        (frame(0x05, b""), "not finished"),
        (frame(NEXT, b""), "a piece of 0 bytes where 65536"),
        (frame(NEXT, bytes(FRAGMENT_SIZE - 1)), "a piece of 65535 bytes where 65536"),
        (frame(NEXT, bytes(FRAGMENT_SIZE + 1)), "a piece of 65537 bytes where 65536"),
    ],
)
def test_lies_within_a_large_message(record: bytes, why: str) -> None:
    refuse(first(2 * FRAGMENT_SIZE + 5), record, match=why)


@pytest.mark.parametrize("size", [0, 1, 4, 6, FRAGMENT_SIZE])
def test_the_last_piece_has_the_size_that_is_left(size: int) -> None:
    whole = first(FRAGMENT_SIZE + 5)
    refuse(whole, frame(NEXT, bytes(size)), match="where 5 were due")
    assert len(decoded([whole, frame(NEXT, bytes(5))])[0]) == FRAGMENT_SIZE + 5
    refuse(whole, frame(NEXT, bytes(5)), frame(NEXT, bytes(5)), match="not begun")


@pytest.mark.parametrize("limit", [1, 10, MAX_SMALL, FRAGMENT_SIZE, FRAGMENT_SIZE + 1, 3 * FRAGMENT_SIZE])
def test_the_limit_of_a_message(limit: int) -> None:
    """Holds to the byte, whatever frames the message comes in."""
    fits, too_long = pattern(0, limit), pattern(0, limit + 1)
    assert decoded(encoded([fits]), limit) == [fits]
    refuse(encoded([too_long])[0], limit=limit, match="a message of")
    if limit < MAX_SMALL:
        assert decoded(encoded([fits, b"x"]), limit) == [fits, b"x"]
        refuse(encoded([b"x", too_long])[0], limit=limit, match="a message of")


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_what_is_only_promised_is_not_allocated() -> None:
    """The greatest promise, and little that comes of it: the buffer is at most twice what came."""
    decoder = Decoder(MESSAGE_SIZE_CEILING)
    decoder.feed(first(MESSAGE_SIZE_CEILING))
    assert len(decoder._partial) <= 2 * FRAGMENT_SIZE
    for came in range(2, 40):
        decoder.feed(frame(NEXT, bytes(FRAGMENT_SIZE)))
        assert len(decoder._partial) <= 2 * came * FRAGMENT_SIZE
    assert decoder.take_messages() == ([], 0)


@pytest.mark.parametrize(("size", "kept"), [(3 * FRAGMENT_SIZE, True), (framing._KEPT_PARTIAL + 1, False)])
def test_the_buffer_of_an_exceptional_message_is_given_back(size: int, kept: bool) -> None:
    decoder = Decoder(2 * framing._KEPT_PARTIAL)
    for part in encoded([bytes(size)]):
        decoder.feed(part)
    assert decoder.waiting_bytes == size
    assert len(decoder._partial) == (size if kept else 0)


def test_messages_in_the_kept_buffer_do_not_mix() -> None:
    """A long one, a shorter one and a longer one, one after the other in the same buffer."""
    messages = [pattern(n, size) for n, size in enumerate([200_000, 70_000, 280_000, 65_537])]
    assert decoded(encoded(messages)) == messages


def test_what_was_taken_is_gone() -> None:
    decoder = Decoder(LIMIT)
    decoder.feed(message_frame(b"one"))
    assert decoder.waiting_bytes == 3
    assert decoder.take_messages() == ([b"one"], 3)
    assert decoder.waiting_bytes == 0
    assert decoder.take_messages() == ([], 0)


def test_messages_do_not_share_the_memory_that_they_came_in() -> None:
    """The receive buffer is written to again as soon as a record was fed."""
    messages = [b"one", b"three", *[b"equal"] * 40]
    buffer = bytearray(b"".join(encoded(messages) + encoded([b"alone"]) + encoded([b"same"] * 40)))
    decoder = Decoder(LIMIT)
    decoder.feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert decoder.take_messages()[0] == [*messages, b"alone", *[b"same"] * 40]


# --- anything at all --------------------------------------------------------------------------------------------------


def survives(record: bytes) -> None:
    """Nothing but Malformed escapes, and what is delivered is no more than what came."""
    decoder = Decoder(LIMIT)
    try:
        decoder.feed(record)
    except Malformed:
        pass
    messages, size = decoder.take_messages()
    assert size == sum(map(len, messages)) <= len(record)


@given(record=st.binary(max_size=200))
def test_nothing_but_malformed_escapes(record: bytes) -> None:
    survives(record)


@given(kind=st.integers(0, 20), body=st.binary(max_size=60), rest=st.binary(max_size=10))
def test_nothing_but_malformed_escapes_from_whole_frames(kind: int, body: bytes, rest: bytes) -> None:
    survives(frame(kind, body) + rest)


@settings(deadline=None)
@given(data=st.data(), messages=small_lists.filter(bool), large=st.booleans())
def test_nothing_but_malformed_escapes_from_changed_frames(
    data: st.DataObject, messages: list[bytes], large: bool
) -> None:
    parts = encoded([*messages, bytes(FRAGMENT_SIZE + 3)] if large else messages)
    stream = bytearray(b"".join([*parts, control_frame(CHOOSE, {"serial": 3})]))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, min(len(stream) - 1, 150)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(stream)))
    survives(bytes(stream))
    survives(bytes(stream[:cut]))
