"""The record layer: what goes in comes out, however it was cut; what was changed never does."""

import itertools
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport import records
from crust.transport.aead import AEGIS256, CHACHA20, TAG_SIZES, FastAead, PortableAead
from crust.transport.records import MAX_RECORD, MAX_RECORD_PLAINTEXT, RECORD_OVERHEAD, Opener, Sealer
from tests.transport.independent import IndependentDirection
from tests.transport.uniformity import assert_uniform, surprise

KEY = bytes(range(32))
SPECIFICATION = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
ciphers = pytest.mark.parametrize("cipher", [AEGIS256, CHACHA20])
plaintexts = st.lists(st.binary(max_size=300), max_size=12)


def opened(opener: Opener) -> list[bytes]:
    """Everything that can be opened now."""
    found = []
    while (plaintext := opener.open_next()) is not None:
        found.append(bytes(plaintext))
    return found


def sealed(texts: Iterable[bytes], cipher: str = CHACHA20, **options: Any) -> list[bytes]:
    sealer = Sealer(KEY, cipher, **options)
    return [sealer.seal(text) for text in texts]


def fed(stream: bytes, pieces: Iterable[int], cipher: str = CHACHA20, **options: Any) -> list[bytes]:
    """What comes out of a stream that is read in pieces of these sizes, then the rest in one, through ``writable``."""
    opener = Opener(KEY, cipher, **options)
    found = []
    for size in [*pieces, len(stream)]:
        while size and stream:
            room = opener.writable()
            count = min(size, len(room), len(stream))
            room[:count] = stream[:count]
            opener.received(count)
            stream, size = stream[count:], size - count
            found += opened(opener)
    return found


@ciphers
@given(texts=plaintexts, pieces=st.lists(st.integers(1, 50), max_size=20))
def test_any_cut_gives_the_same(cipher: str, texts: list[bytes], pieces: list[int]) -> None:
    stream = b"".join(sealed(texts, cipher))
    assert fed(stream, pieces, cipher) == texts
    byte_by_byte = Opener(KEY, cipher)
    found = []
    for byte in stream:
        byte_by_byte.feed(bytes([byte]))
        found += opened(byte_by_byte)
    assert found == texts
    assert byte_by_byte.pending == 0


@ciphers
@pytest.mark.parametrize("size", [0, 1, 65536, MAX_RECORD_PLAINTEXT])
def test_sizes(cipher: str, size: int) -> None:
    text = os.urandom(size)
    record = sealed([text], cipher)[0]
    assert len(record) == 4 + size + TAG_SIZES[cipher] <= size + RECORD_OVERHEAD
    assert fed(record, [], cipher) == [text]


@ciphers
@pytest.mark.parametrize("pair", [(FastAead, PortableAead), (PortableAead, FastAead)])
def test_fast_and_portable_understand_each_other(cipher: str, pair: tuple[Any, Any]) -> None:
    texts = [b"one", b"", b"x" * 3000]
    stream = b"".join(sealed(texts, cipher, make_aead=pair[0]))
    assert fed(stream, [5, 700], cipher, make_aead=pair[1]) == texts


@ciphers
def test_many_records_and_epochs(cipher: str) -> None:
    """Across several blocks of masks and several keys, and where both end together."""
    texts = [number.to_bytes(2, "big") for number in range(1100)]
    for per_key in (1, 3, 256, 300, 2**20):
        stream = b"".join(sealed(texts, cipher, rekey_records=per_key))
        assert fed(stream, [1000, 1000], cipher, rekey_records=per_key) == texts


def test_a_new_key_changes_everything() -> None:
    sealer = Sealer(KEY, CHACHA20, rekey_records=2)
    first_keys = (sealer._aead, sealer._mask_key, sealer._chain)
    wire = [sealer.seal(b"same") for _ in range(2)]
    assert all(new != old for new, old in zip((sealer._aead, sealer._mask_key, sealer._chain), first_keys, strict=True))
    wire += [sealer.seal(b"same") for _ in range(2)]
    assert len({record[:4] for record in wire}) == len({record[4:] for record in wire}) == 4


@given(texts=plaintexts, per_key=st.integers(1, 5))
def test_an_independent_implementation_agrees(texts: list[bytes], per_key: int) -> None:
    stream = b"".join(sealed(texts, rekey_records=per_key))
    theirs = IndependentDirection(KEY, per_key)
    for text in texts:
        plaintext, stream = theirs.open(stream)
        assert plaintext == text
    assert stream == b""
    theirs = IndependentDirection(KEY, per_key)
    assert fed(b"".join(map(theirs.seal, texts)), [], rekey_records=per_key) == texts


def test_the_independent_implementation_agrees_after_many_records() -> None:
    theirs = IndependentDirection(KEY)
    texts = [bytes(number % 7) for number in range(600)]
    assert fed(b"".join(map(theirs.seal, texts)), []) == texts


@pytest.mark.parametrize(
    ("cipher", "wire"),
    [
        (
            CHACHA20,
            [
                "449c8d69 c1c9b7b01bce3b393da5f671cac21c9469ebbf664a",
                "612afc1e 72c40060525fbd89cd3b1e90018d2c4640527229b1",
            ],
        ),
        (
            AEGIS256,
            [
                "c48005e2 868a70a934aac5d7ccb1db8360d07486d548dcb9664d4f2eff5acc66f9a121d4984618b5c3",
                "64c888d3 bbd43e645ed7da747dc4db8de9c8985a72650d0469d61fa4176bf2e2c13d30bcf49b7cf05e",
            ],
        ),
    ],
)
def test_the_example_of_the_specification(cipher: str, wire: list[str]) -> None:
    """Nodes of different versions must understand each other: these bytes never change."""
    assert sealed([b"hello", b"hello"], cipher) == [bytes.fromhex(record) for record in wire]
    assert all(record in SPECIFICATION for record in wire)


# --- what was changed -------------------------------------------------------------------------------------------------


@ciphers
def test_no_changed_bit_is_delivered(cipher: str) -> None:
    """Every bit of the second of three records: the first is delivered, nothing after it, and the failure stays."""
    stream = sealed([b"first", b"second", b"third"], cipher)
    for bit in range(8 * len(stream[1])):
        changed = bytearray(stream[1])
        changed[bit // 8] ^= 1 << bit % 8
        opener = Opener(KEY, cipher)
        opener.feed(stream[0] + changed + stream[2])
        assert opener.open_next() == b"first"
        waiting = False
        try:
            waiting = opener.open_next() is None
        except Malformed:
            pass
        if waiting:  # a length that grew and is possible: it shows once that many bytes are there
            assert bit < 32
            opener.feed(bytes(MAX_RECORD))
            with pytest.raises(Malformed):
                opener.open_next()
        for use in (opener.open_next, opener.writable, lambda: opener.feed(b"more")):  # noqa: B023
            with pytest.raises(Malformed):
                use()


@given(data=st.data(), texts=st.lists(st.binary(max_size=60), min_size=2, max_size=5))
def test_a_stream_cut_and_joined_otherwise_fails(data: st.DataObject, texts: list[bytes]) -> None:
    """Dropped, repeated, swapped, or foreign records: what is delivered is a beginning of what was sent."""
    stream = sealed(texts)
    order = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=6))
    opener = Opener(KEY, CHACHA20)
    opener.feed(b"".join(stream[place] for place in order))
    found: list[bytes] = []
    expected = next((n for n, place in enumerate(order) if n != place), len(order))
    try:
        while (plaintext := opener.open_next()) is not None:
            found.append(bytes(plaintext))
    except Malformed:
        assert expected < len(order)
    assert found == texts[:expected]


@given(garbage=st.binary(min_size=4, max_size=400))
def test_garbage_gives_nothing(garbage: bytes) -> None:
    """Whole and byte by byte: never a plaintext, and nothing but Malformed escapes; both end in the same state."""
    whole, pieces = Opener(KEY, CHACHA20), Opener(KEY, CHACHA20)
    outcomes = []
    for opener, parts in ((whole, [garbage]), (pieces, [bytes([byte]) for byte in garbage])):
        try:
            for part in parts:
                opener.feed(part)
                assert opener.open_next() is None
            outcomes.append("waits")
        except Malformed as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@ciphers
@pytest.mark.parametrize("how", ["other key", "other cipher", "other epoch"])
def test_other_keys_open_nothing(cipher: str, how: str) -> None:
    other = CHACHA20 if cipher == AEGIS256 else AEGIS256
    openers = {
        "other key": lambda: Opener(bytes(32), cipher),
        "other cipher": lambda: Opener(KEY, other),
        "other epoch": lambda: Opener(KEY, cipher, rekey_records=1),
    }
    opener = openers[how]()
    opener.feed(b"".join(sealed([b"text"] * 2, cipher)) + bytes(MAX_RECORD))
    with pytest.raises(Malformed):
        opened(opener)


@ciphers
@pytest.mark.parametrize("past", [0, 1])
@pytest.mark.parametrize("low", [True, False])
def test_the_length_is_bounded_at_once(cipher: str, past: int, low: bool) -> None:
    """The header alone decides: nothing has to be received, let alone stored, for a length that lies."""
    tag = TAG_SIZES[cipher]
    length = tag - past if low else MAX_RECORD_PLAINTEXT + tag + past
    opener = Opener(KEY, cipher)
    opener.feed((length ^ opener._masks[0]).to_bytes(4, "little"))
    if past:
        with pytest.raises(Malformed, match="impossible length"):
            opener.open_next()
    else:
        assert opener.open_next() is None


# --- sealing ----------------------------------------------------------------------------------------------------------


@ciphers
def test_sealing_into_a_batch(cipher: str) -> None:
    sealer, out, offset = Sealer(KEY, cipher), bytearray(1000), 7
    texts: list[bytes | bytearray | memoryview] = [b"bytes", bytearray(b"bytearray"), memoryview(b"a view")[2:]]
    for text in texts:
        before = offset
        offset = sealer.seal_into(out, offset, text, len(text))
        assert offset == before + 4 + len(text) + TAG_SIZES[cipher]
    assert out[:7] == bytes(7)
    assert out[offset:] == bytes(1000 - offset)
    assert fed(bytes(out[7:offset]), [], cipher) == [b"bytes", b"bytearray", b"view"]


def test_a_part_of_a_plaintext() -> None:
    sealer, out = Sealer(KEY, CHACHA20), bytearray(100)
    end = sealer.seal_into(out, 0, b"beginning and end", 9)
    assert fed(bytes(out[:end]), []) == [b"beginning"]


@ciphers
@pytest.mark.parametrize(
    ("offset", "length"),
    [(-1, 5), (-4, 5), (98, 5), (70, 50), (2**40, 5), (0, 6), (0, -1), (0, MAX_RECORD_PLAINTEXT + 1)],
)
def test_what_does_not_fit_is_refused_and_uses_up_nothing(cipher: str, offset: int, length: int) -> None:
    sealer = Sealer(KEY, cipher)
    plaintext = bytes(length) if length > 10 else b"12345"
    with pytest.raises(ValueError, match="fit"):
        sealer.seal_into(bytearray(100), offset, plaintext, length)
    assert fed(sealer.seal(b"next"), [], cipher) == [b"next"]


def test_too_long_even_for_a_large_buffer() -> None:
    with pytest.raises(ValueError, match="too long"):
        Sealer(KEY, CHACHA20).seal(bytes(MAX_RECORD_PLAINTEXT + 1))


def test_the_output_can_be_replaced_and_is_never_resized_under_the_pointer_to_it() -> None:
    sealer, outputs = Sealer(KEY, AEGIS256), [bytearray(100), bytearray(50), bytearray(100)]
    stream = b""
    for number, out in enumerate(outputs):
        end = sealer.seal_into(out, 0, b"text%d" % number, 5)
        stream += out[:end]
    with pytest.raises(BufferError):
        outputs[-1].extend(b"more")
    outputs[0].extend(b"more")  # nothing points to an older one
    assert fed(stream, [], AEGIS256) == [b"text0", b"text1", b"text2"]


@pytest.mark.parametrize(
    ("key", "cipher", "per_key"),
    [(KEY[1:], CHACHA20, 1), (KEY, "rot13", 1), (KEY, CHACHA20, 0), (KEY, CHACHA20, 2**33)],
)
def test_arguments_are_checked(key: bytes, cipher: str, per_key: int) -> None:
    for make in (Sealer, Opener):
        with pytest.raises(ValueError, match="needs a"):
            make(key, cipher, rekey_records=per_key)


# --- the receive buffer -----------------------------------------------------------------------------------------------


def pump(opener: Opener, stream: bytes, at_most: int = 2**30) -> list[bytes]:
    """Read ``stream`` as a socket would give it: whenever there is room, as much as fits."""
    found, place = [], 0
    while place < len(stream):
        room = opener.writable()
        assert room, "an empty buffer would read as the end of the stream"
        count = min(len(room), len(stream) - place, at_most)
        room[:count] = stream[place : place + count]
        opener.received(count)
        place += count
        found += opened(opener)
    return found


@ciphers
def test_the_buffer_grows_with_the_traffic_and_shrinks_after_it(cipher: str) -> None:
    sealer, opener = Sealer(KEY, cipher), Opener(KEY, cipher)
    idle = opener.capacity
    assert idle <= 32 * 1024, "thousands of idle connections must not cost much"
    text = os.urandom(65536)
    assert pump(opener, b"".join(sealer.seal(text) for _ in range(40))) == [text] * 40
    assert opener.capacity == records.RECEIVE_CAPACITY
    for _ in range(100):
        assert pump(opener, sealer.seal(b"ping")) == [b"ping"]
    assert opener.capacity == idle


def test_one_large_record_gets_room_without_a_flood() -> None:
    sealer, opener = Sealer(KEY, CHACHA20), Opener(KEY, CHACHA20)
    text = os.urandom(MAX_RECORD_PLAINTEXT)
    assert pump(opener, sealer.seal(text), at_most=1000) == [text]
    assert opener.capacity < 2 * MAX_RECORD


@pytest.mark.parametrize("capacity", [MAX_RECORD, MAX_RECORD + 1, 100_000, records.RECEIVE_CAPACITY])
@pytest.mark.parametrize("seed", range(3))
def test_random_sizes_and_reads(capacity: int, seed: int) -> None:
    chance = random.Random(seed)
    sealer, opener = Sealer(KEY, AEGIS256), Opener(KEY, AEGIS256, capacity=capacity)
    texts = [chance.randbytes(int(MAX_RECORD_PLAINTEXT ** chance.random())) for _ in range(150)]
    stream = b"".join(map(sealer.seal, texts))
    found, place = [], 0
    while place < len(stream):
        room = opener.writable()
        count = min(chance.choice([1, 7, 1400, 60_000, 10**6]), len(room), len(stream) - place)
        room[:count] = stream[place : place + count]
        opener.received(count)
        place += count
        found += opened(opener)
        assert opener.capacity <= capacity
    assert found == texts


def test_a_partial_record_moves_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a peer that sends byte by byte would make us move 64 KiB for each byte."""
    sealer, opener = Sealer(KEY, AEGIS256), Opener(KEY, AEGIS256)
    pump(opener, b"".join(sealer.seal(bytes(65536)) for _ in range(30)))
    pump(opener, sealer.seal(b"small") + (record := sealer.seal(bytes(50_000)))[:5])
    starts = []
    for byte in record[5:-1]:
        room = opener.writable()
        room[0] = byte
        opener.received(1)
        assert opener.open_next() is None
        starts.append(opener._start)
    assert sum(before != after for before, after in itertools.pairwise(starts)) <= 1


def test_what_came_with_the_handshake_may_be_larger_than_the_buffer() -> None:
    sealer, opener = Sealer(KEY, AEGIS256), Opener(KEY, AEGIS256, capacity=MAX_RECORD)
    texts = [os.urandom(60_000) for _ in range(20)]
    opener.feed(b"".join(map(sealer.seal, texts)))
    assert opened(opener) == texts


def test_a_full_buffer_is_an_error_of_ours() -> None:
    opener = Opener(KEY, AEGIS256, capacity=MAX_RECORD)
    record = sealed([bytes(MAX_RECORD_PLAINTEXT)], AEGIS256)[0]
    with pytest.raises(ValueError, match="open_next"):  # noqa: PT012
        while True:
            room = opener.writable()
            count = min(len(room), 100_000)
            room[:count] = (record * 2)[:count]
            opener.received(count)


@pytest.mark.parametrize("count", [-1, 2**20])
def test_more_than_there_was_room_for(count: int) -> None:
    opener = Opener(KEY, AEGIS256)
    opener.writable()
    with pytest.raises(ValueError, match="room"):
        opener.received(count)


def test_a_buffer_that_cannot_hold_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        Opener(KEY, AEGIS256, capacity=MAX_RECORD - 1)


def test_plaintexts_of_one_read_stay_valid_together() -> None:
    opener = Opener(KEY, AEGIS256)
    opener.feed(b"".join(sealed([b"one", b"two"], AEGIS256)))
    first, second = opener.open_next(), opener.open_next()
    assert first == b"one"
    assert second == b"two"
    assert opener.open_next() is None


# --- what it looks like -----------------------------------------------------------------------------------------------


@ciphers
def test_records_look_uniform(cipher: str) -> None:
    """The beginning of the stream, position by position, over many sessions with the same content."""
    starts = []
    for _ in range(2000):
        sealer = Sealer(os.urandom(32), cipher)
        starts.append(sealer.seal(b"") + sealer.seal(bytes(40)))
    assert_uniform(starts, positions=len(starts[0]))
    sealer = Sealer(KEY, cipher)
    assert_uniform([b"".join(sealer.seal(bytes(100)) for _ in range(3000))], positions=0)


@ciphers
def test_lengths_look_uniform(cipher: str) -> None:
    sealer = Sealer(KEY, cipher)
    headers = [sealer.seal(b"always the same")[:4] for _ in range(4000)]
    assert_uniform(headers, positions=4)
    assert len(set(headers)) > 3990


def test_the_measure_sees_what_is_not_uniform() -> None:
    chance = random.Random(1)
    assert abs(surprise(chance.randbytes(100_000))) < 7
    assert surprise(byte & 0xFE for byte in chance.randbytes(5000)) > 7
    assert surprise(bytes(range(256)) * 20) < -7, "suspiciously even"
