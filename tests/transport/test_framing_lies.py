"""Frames that lie or were changed: always Malformed, and never dearer than what was sent."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.limits import MAX_MESSAGE_SIZE
from crust.transport import framing
from crust.transport.framing import (
    CHOOSE,
    FIRST,
    FRAGMENT_SIZE,
    MAX_SMALL,
    MESSAGE,
    MESSAGES,
    NEXT,
    Decoder,
    control_frame,
    message_frame,
)
from tests.transport.test_framing import LIMIT, decoded, encoded, frame, pattern, refuse, small_lists


def batch(lengths: list[int], content: bytes, count: int | None = None) -> bytes:
    """A MESSAGES frame that may lie about its count and lengths."""
    number = len(lengths) if count is None else count
    return frame(MESSAGES, struct.pack(f"<H{len(lengths)}H", number, *lengths) + content)


def first(total: int, size: int = FRAGMENT_SIZE) -> bytes:
    """A FIRST frame that may lie."""
    return frame(FIRST, struct.pack("<I", total) + bytes(size))


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
        (frame(0x07, b""), "unknown kind 0x07"),
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
        (batch([0xFFFF, 0xFFFF], bytes(2 * 0xFFFF)), "MESSAGES frame of 131076 bytes; the limit is 65536"),
        (batch([0] * 32_768, b""), "MESSAGES frame of 65538 bytes"),
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
        (frame(0x07, b""), "not finished"),
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


@pytest.mark.parametrize("sizes", [[5, 5, 5, 11], [1, 2, 3, 11, 4], [11, 1], [0, 11, 12]])
def test_what_is_packed_before_too_large_a_message_counts(sizes: list[int]) -> None:
    """It is whole and genuine; that message, and what comes after it, is not taken."""
    decoder = Decoder(10)
    messages = [pattern(number, size) for number, size in enumerate(sizes)]
    with pytest.raises(Malformed, match="a message of 11 bytes; the limit is 10"):
        decoder.feed(batch(sizes, b"".join(messages)))
    whole = messages[: sizes.index(11)]
    assert decoder.take_messages() == (whole, sum(map(len, whole)))


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_what_is_only_promised_is_not_allocated() -> None:
    """A great promise, and little that comes of it: the buffer is at most twice what came."""
    decoder = Decoder(MAX_MESSAGE_SIZE)
    decoder.feed(first(MAX_MESSAGE_SIZE))
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
