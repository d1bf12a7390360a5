"""Frames: what goes in comes out, in the same order; whatever lies is Malformed, and costs no more than was sent."""

import json
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport import framing
from crust.transport.framing import (
    BYE,
    CARRIED,
    CHOOSE,
    CHOSEN,
    CREDIT,
    FRAGMENT_SIZE,
    LAST_CONTROL,
    MAX_CONTROL,
    MAX_CONTROLS,
    MAX_FRAME,
    MAX_SMALL,
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
INTEGERS = st.integers(-(2**63), 2**63 - 1)
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
            st.integers(PING, LAST_CONTROL).filter(lambda kind: kind != BYE),
            st.dictionaries(st.text(max_size=8), INTEGERS | st.text(max_size=20) | st.none(), max_size=4),
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


@pytest.mark.parametrize("kind", [PING, PONG, CHOOSE, CHOSEN, LAST_CONTROL])
def test_control_frames_pass_between_the_pieces_of_a_message(kind: int) -> None:
    message = pattern(9, 2 * FRAGMENT_SIZE + 9)
    between = control_frame(kind, {"t": 1})
    frames = encoded([message])
    decoder = Decoder(LIMIT)
    for part in frames:
        decoder.feed(between + part)
    assert decoder.take_messages() == ([message], len(message))
    assert decoder.take_controls() == [(kind, {"t": 1})] * len(frames)


def test_nothing_counts_after_the_goodbye() -> None:
    goodbye = control_frame(BYE, {"reason": "bye"})
    decoder = Decoder(LIMIT)
    decoder.feed(message_frame(b"last") + goodbye + message_frame(b"more") + goodbye + b"garbage")
    decoder.feed(b"more garbage")
    assert decoder.take_messages() == ([b"last"], 4)
    assert decoder.take_controls() == [(BYE, {"reason": "bye"})]


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


@pytest.mark.parametrize("number", [0, -1, 2**64, -(2**63), 10**20, -(10**19), int("9" * 4000)])
def test_integers_have_at_most_20_characters(number: int) -> None:
    """Longer ones take long to print, and no field needs them."""
    body = b'{"t":[%d]}' % number
    if len(str(number)) <= 20:
        assert parse_control(body) == {"t": [number]}
    else:
        with pytest.raises(Malformed, match="more than 20 characters"):
            parse_control(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"t":1,"t":1}', "a key comes twice"),
        (b'{"a":{"t":1,"t":2}}', "a key comes twice"),
        (b'{"t":NaN}', "not finite"),
        (b'{"t":-Infinity}', "not finite"),
        (b'{"t":1e999}', "not finite"),
        (b'\xef\xbb\xbf{"t":1}', "not JSON"),
        ('{"t":1}'.encode("utf-16"), "not JSON"),
        ('{"t":1}'.encode("utf-32-le"), "not JSON"),
        (b'{"t":"\xed\xa0\x80"}', "not JSON"),
        (b'{"t":' + b"[" * 8 + b"]" * 8 + b"}", "more than 8 levels"),
        (b'{"t":' * 8 + b"{}" + b"}" * 8, "more than 8 levels"),
        (b'{"t":' + b"[" * 900 + b"]" * 900 + b"}", "nested|not JSON"),
    ],
)
def test_readers_could_not_agree_on_this(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_control(body)


def test_a_control_frame_may_be_nested_a_little() -> None:
    assert parse_control(b'{"t":' + b"[" * 7 + b"1.5" + b"]" * 7 + b"}")
    assert parse_control(b'{"t":' * 8 + b"null" + b"}" * 8)


def test_we_send_only_what_others_may_read() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        control_frame(PING, {"t": float("nan")})


def test_control_frames_are_bounded() -> None:
    """Each takes much more memory than it has bytes; what nobody waits for is forgotten, the end is not."""
    decoder = Decoder(LIMIT)
    for _ in range(2):
        decoder.feed(frame(LAST_CONTROL, b"{}") * MAX_CONTROLS)
        decoder.feed(control_frame(PING, {"t": 1}) * 10)
        assert decoder.take_controls() == [(LAST_CONTROL, {})] * MAX_CONTROLS
    decoder.feed(frame(LAST_CONTROL, b"{}") * MAX_CONTROLS)
    with pytest.raises(Malformed, match="not JSON"):
        decoder.feed(frame(LAST_CONTROL, b"{"))
    decoder.feed(control_frame(BYE, {"reason": "bye"}))
    assert decoder.take_controls()[-1] == (BYE, {"reason": "bye"})
    assert decoder.controls_seen == 2 * (MAX_CONTROLS + 10) + MAX_CONTROLS + 1 + 1


@given(st.binary(max_size=64) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nothing_but_malformed_escapes_from_control_frames(body: bytes | str) -> None:
    try:
        content = parse_control(body if isinstance(body, bytes) else body.encode())
    except Malformed:
        return
    assert isinstance(content, dict)


# --- relayed connections ----------------------------------------------------------------------------


def test_what_is_relayed_comes_out_in_order_and_between_the_pieces_of_a_large_message() -> None:
    pieces = encoded([pattern(1, 3 * FRAGMENT_SIZE)])
    decoder = Decoder(LIMIT)
    for number, piece in enumerate(pieces):
        decoder.feed(piece)
        decoder.feed(frame(CARRIED, b"data %d" % number) + frame(CREDIT, b"credit %d" % number))
    assert decoder.has_relayed
    expected = [(CARRIED, b"data %d"), (CREDIT, b"credit %d")]
    assert decoder.take_relayed() == [(kind, body % number) for number in range(3) for kind, body in expected]
    assert not decoder.has_relayed
    assert decoder.take_relayed() == []
    assert decoder.take_messages()[0] == [pattern(1, 3 * FRAGMENT_SIZE)]
    assert decoder.controls_seen == 0


@pytest.mark.parametrize("kind", [CARRIED, CREDIT])
def test_nothing_is_relayed_before_the_choice(kind: int) -> None:
    refuse(frame(kind, b"body"), limit=0, match="unknown kind")
