"""The bytes of a file transfer: what goes in comes out, and only `Malformed` escapes from reading a stranger's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli import transfer_wire as wire
from crust.cli.transfer_wire import Chunk, Code, Message, encode, is_transfer, parse_untrusted
from crust.errors import Malformed

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
positions = st.integers(0, wire.MAX_FILE_SIZE)
texts = st.text(st.characters(codec="utf-8"), max_size=200)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(wire.Offer, ids, positions, st.integers(0, 2**32 - 1), texts),
    st.builds(wire.Have, ids, positions),
    st.builds(wire.Proof, ids, positions, hashes),
    st.builds(wire.Start, ids, positions),
    st.builds(wire.Chunk, ids, positions, st.binary(min_size=1, max_size=99).map(memoryview)),
    st.builds(wire.Finish, ids, positions, hashes),
    st.builds(wire.Saved, ids, st.booleans(), hashes, texts),
    st.builds(wire.Refused, ids, st.sampled_from(Code), texts),
    st.builds(wire.Cancel, ids, texts),
    st.builds(wire.Position, ids, positions),
    st.just(wire.End()),
)
ID = bytes(range(16))


@given(messages)
def test_what_is_encoded_is_read_back(message: Message) -> None:
    data = encode(message)
    assert is_transfer(data)
    assert parse_untrusted(data) == message


@given(messages, st.data())
def test_only_malformed_escapes_from_changed_messages(message: Message, data: st.DataObject) -> None:
    changed = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    try:
        again = parse_untrusted(bytes(changed[:cut]))
    except Malformed:
        return
    parse_untrusted(encode(again))


@given(st.binary(max_size=100))
def test_only_malformed_escapes_from_garbage(garbage: bytes) -> None:
    with pytest.raises(Malformed):
        parse_untrusted(b"x" + garbage)
    try:
        parse_untrusted(b"CF\x01" + garbage)
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a message"),
        (b"CF\x01\x05", "not a message"),
        (b"CG\x01\x05" + ID, "not a message"),
        (b"CF\x02\x05" + ID, "version 2"),
        (b"CF\x01\x00" + ID, "no message of kind 0"),
        (b"CF\x01\x0c" + ID, "no message of kind 12"),
        (b"CF\x01\x02" + ID + bytes(7), "body of 7 bytes"),
        (b"CF\x01\x02" + ID + bytes(9), "body of 9 bytes"),
        (b"CF\x01\x05" + ID + bytes(8), "a piece of 0 bytes"),
        (b"CF\x01\x05" + ID + bytes(8) + bytes(wire.MAX_CHUNK + 1), "a piece of 1048577 bytes"),
        (b"CF\x01\x01" + ID + b"\xff" * 12 + b"name", "no file system"),
        (b"CF\x01\x01" + ID + bytes(12) + b"\xff", "not UTF-8"),
        (b"CF\x01\x09" + ID + b"x" * 1025, "a text of 1025 bytes"),
        (b"CF\x01\x0b" + ID, "names a transfer"),
        (b"CF\x01\x0b" + bytes(16) + b"x", "body of 1 bytes"),
    ],
)
def test_what_no_correct_peer_sends_is_named(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_untrusted(data)


def test_the_layout_on_the_wire_is_the_documented_one() -> None:
    assert encode(Chunk(ID, 0x0102, memoryview(b"data"))) == b"CF\x01\x05" + ID + bytes(6) + b"\x01\x02data"
    assert encode(wire.Offer(ID, 5, 2, "é")) == b"CF\x01\x01" + ID + bytes(7) + b"\x05\0\0\0\x02\xc3\xa9"
    assert encode(wire.Refused(ID, Code.EXISTS, "no")) == b"CF\x01\x08" + ID + b"\x02no"
    assert encode(wire.Saved(ID, True, b"h" * 32, "n")) == b"CF\x01\x07" + ID + b"\x01" + b"h" * 32 + b"n"
    assert encode(wire.End()) == b"CF\x01\x0b" + bytes(16)
    assert len(encode(Chunk(ID, 0, memoryview(b"x")))) == wire.CHUNK_OVERHEAD + 1


def test_a_code_of_a_newer_version_is_read_as_other() -> None:
    assert parse_untrusted(b"CF\x01\x08" + ID + b"\xc8later") == wire.Refused(ID, Code.OTHER, "later")


def test_long_and_unencodable_texts_are_cut_to_something_that_can_be_read() -> None:
    long = parse_untrusted(encode(wire.Cancel(ID, "é" * 1000)))
    assert long == wire.Cancel(ID, "é" * 512)
    assert parse_untrusted(encode(wire.Cancel(ID, "a\ud800b"))) == wire.Cancel(ID, "a?b")
