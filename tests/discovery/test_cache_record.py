import os
import re
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given

from crust.discovery import cache_record
from crust.discovery.cache_record import (
    MAX_CAPACITY,
    MAX_FAILURES,
    MAX_MILLISECONDS,
    MAX_VERSION,
    SIZE,
    SPARE_SLOTS,
    Header,
    NewerLayout,
    Record,
    _checksum,
    decode,
    decode_header,
    encode,
    encode_header,
    is_free,
    milliseconds,
    network_tag,
)
from crust.discovery.contact import Source
from crust.endpoint import Endpoint, Protocol
from crust.errors import Malformed
from crust.identity import PeerId
from tests.documents import rows, section

PEER = PeerId(bytes(range(32)))
FULL = Record(
    Endpoint.utp("[2001:db8::7]:5483"),
    PEER,
    Source.GOSSIP,
    b"network!",
    1_700_000_000_123,
    1_800_000_000_456,
    7,
    3,
    8,
    9,
)
# Independent of the code: laid out by hand from the table in the module's docstring.
FULL_BODY = bytes.fromhex(
    "0000000000000009 0000000000000008 01 06 05 01 156b 0003"
    "20010db8000000000000000000000007"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "6e6574776f726b21 0000018bcfe5687b 000001a3185c51c8 0000000000000007"
    "00000000000000000000000000000000"
)

times = st.integers(0, MAX_MILLISECONDS)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
records = st.builds(
    lambda protocol, address, port, version, recency, **rest: Record(
        Endpoint(protocol, str(address), port), version=version, recency=min(recency, version), **rest
    ),
    protocol=st.sampled_from([Protocol.TCP, Protocol.UTP]),
    address=addresses,
    port=st.integers(0, 65535),
    peer_id=st.one_of(st.none(), st.binary(min_size=32, max_size=32).map(PeerId)),
    source=st.sampled_from(Source),
    network=st.binary(min_size=8, max_size=8),
    first_success=times,
    last_success=times,
    last_failure=times,
    failures=st.integers(0, MAX_FAILURES),
    version=st.integers(1, MAX_VERSION),
    recency=st.integers(0, MAX_VERSION),
)


def sealed(body: bytes) -> bytes:
    return _checksum(body) + body


@given(records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    raw = encode(record)
    assert len(raw) == SIZE
    assert not is_free(raw)
    assert decode(raw) == record


def test_the_bytes_are_those_of_the_table() -> None:
    assert encode(FULL)[8:] == FULL_BODY
    assert decode(sealed(FULL_BODY)) == FULL


@given(st.integers(0, SIZE * 8 - 1))
def test_every_changed_bit_is_noticed(bit: int) -> None:
    raw = bytearray(encode(FULL))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Malformed):
        decode(bytes(raw))


@given(st.integers(1, SIZE - 17))  # what comes behind is zero in both
def test_a_torn_record_is_noticed(written: int) -> None:
    old, new = encode(FULL), encode(Record(Endpoint.tcp("192.0.2.7:1"), None, Source.CONFIG, version=10))
    with pytest.raises(Malformed):
        decode(new[:written] + old[written:])


@given(st.binary(max_size=2 * SIZE))
def test_any_bytes_are_a_record_or_malformed(data: bytes) -> None:
    for attempt in (data, sealed(data.ljust(SIZE - 8, b"\0")[: SIZE - 8])):
        try:
            encode(decode(attempt))
        except Malformed:
            pass


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, bytes(8)),  # version 0
        (0, b"\xff" * 8),
        (8, b"\0\0\0\0\0\0\0\x0a"),  # worked after the last change
        (16, b"\2"),  # tracer
        (16, b"\3"),
        (17, b"\5"),
        (17, b"\4"),  # IPv4 with bytes in front
        (18, b"\0"),
        (18, b"\7"),
        (19, b"\2"),
        (80, b"\x7f" + b"\xff" * 7),  # the year 292 million
    ],
)
def test_what_no_record_says_is_malformed_although_the_checksum_is_right(at: int, value: bytes) -> None:
    with pytest.raises(Malformed):
        decode(sealed(FULL_BODY[:at] + value + FULL_BODY[at + len(value) :]))


def documented(title: str) -> list[tuple[int, int]]:
    """Offset and size of each field in a table of the documentation."""
    table = section("docs/discovery.md", "Layout").split(title, 1)[1].split("\n\n")[1]
    return [(int(row[0]), int(row[1])) for row in rows(table) if row[0].isdigit()]


@pytest.mark.parametrize(
    ("title", "layout"), [("The header:", cache_record._HEADER), ("A slot.", cache_record._RECORD)]
)
def test_the_documented_layout_is_that_of_the_code(title: str, layout: struct.Struct) -> None:
    fields = re.findall(r"(\d*)([a-zA-Z])", layout.format)
    sizes = [
        size
        for count, kind in fields
        for size in ([int(count)] if kind in "sx" else [struct.calcsize(f"!{kind}")] * int(count or 1))
    ]
    if sum(sizes) < SIZE:
        sizes.append(SIZE - sum(sizes))
    assert documented(title) == [(sum(sizes[:place]), size) for place, size in enumerate(sizes)]


def test_readers_ignore_what_a_later_version_may_add_at_the_end() -> None:
    assert decode(sealed(FULL_BODY[:-16] + b"x" * 16)) == FULL


@pytest.mark.parametrize("address", ["example.org:1", "[fe80::1%eth0]:1"])
def test_names_and_scopes_have_no_room_in_a_record(address: str) -> None:
    with pytest.raises(ValueError):
        encode(Record(Endpoint.tcp(address), None, Source.CONFIG))


@pytest.mark.parametrize("capacity", [1, 1500, MAX_CAPACITY])
def test_a_header_is_read_as_it_was_written(capacity: int) -> None:
    header = Header(capacity)
    assert decode_header(encode_header(header)) == header
    assert header.file_size == SIZE * (1 + capacity + SPARE_SLOTS)


@pytest.mark.parametrize("capacity", [0, -1, MAX_CAPACITY + 1])
def test_a_capacity_has_bounds(capacity: int) -> None:
    with pytest.raises(ValueError, match="1 to 100000"):
        Header(capacity)


@given(st.integers(0, 32 * 8 - 1))
def test_every_changed_bit_of_a_header_is_noticed(bit: int) -> None:
    raw = bytearray(encode_header(Header(1500)))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Malformed):
        decode_header(bytes(raw))


@given(st.binary(max_size=SIZE))
def test_any_bytes_are_a_header_or_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_header(data)


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [(8, b"\0\2", NewerLayout), (8, b"\0\0", Malformed), (10, b"\1\0", Malformed), (12, bytes(4), Malformed)],
)
def test_a_sound_header_with_other_sizes(at: int, value: bytes, error: type[Malformed]) -> None:
    body = bytearray(encode_header(Header(1500))[:24])
    body[at : at + len(value)] = value
    with pytest.raises(Malformed) as caught:
        decode_header(bytes(body) + _checksum(bytes(body)))
    assert caught.type is error


def test_a_clock_that_is_wrong_still_gives_a_time_that_can_be_stored() -> None:
    assert milliseconds(1_700_000_000.1234) == 1_700_000_000_123
    assert milliseconds(-5.0) == milliseconds(0.0) == 1  # 0 stands for never
    assert milliseconds(1e300) == MAX_MILLISECONDS


def test_a_tag_tells_networks_apart_without_their_key() -> None:
    one, other = os.urandom(32), os.urandom(32)
    assert network_tag(one) == network_tag(one) != network_tag(other)
    assert network_tag(one) not in one
    assert len(network_tag(one)) == 8
