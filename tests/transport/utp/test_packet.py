"""The codec: published vectors both ways, round trips, what is hostile, and selective acknowledgements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport.utp.packet import (
    HEADER_SIZE,
    MAX_EXTENSIONS,
    MAX_SACK,
    Packet,
    PacketType,
    could_be_utp,
    decode,
    encode,
    header,
    sack_bits,
    sack_mask,
)

# From the wire test vectors of the uTP specification of the Portal network, which is BEP 29 inside another transport.
VECTORS = {
    "41002741c9b699ba00000000001000002e6c0000": Packet(PacketType.SYN, 10049, 3384187322, 0, 1048576, 11884, 0),
    "21002741005e885e36a7e8830010000041a72e6d": Packet(
        PacketType.STATE, 10049, 6195294, 916973699, 1048576, 16807, 11885
    ),
    "21012741005e885e36a7e8830010000041a72e6d000401000080": Packet(
        PacketType.STATE, 10049, 6195294, 916973699, 1048576, 16807, 11885, sack=bytes([1, 0, 0, 128])
    ),
    "0100667d0f0cbacf0e710cbf00100000208e41a600010203040506070809": Packet(
        PacketType.DATA, 26237, 252492495, 242289855, 1048576, 8334, 16806, payload=bytes(range(10))
    ),
    "11004a3b1eb5be8f1e7c94d100100000a05a41a6": Packet(
        PacketType.FIN, 19003, 515227279, 511481041, 1048576, 41050, 16806
    ),
    "3100f34d2cc6cfbb0000000000000000d87541a7": Packet(PacketType.RESET, 62285, 751226811, 0, 0, 55413, 16807),
}

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
sacks = st.integers(0, MAX_SACK // 4).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
packets = st.builds(
    Packet,
    type=st.sampled_from(PacketType).map(int),
    connection_id=u16,
    timestamp=u32,
    timestamp_difference=u32,
    window=u32,
    seq_nr=u16,
    ack_nr=u16,
    sack=sacks,
    close_reason=st.one_of(st.none(), u16),
    payload=st.binary(max_size=100),
)
PLAIN = Packet(PacketType.DATA, 1, 2, 3, 4, 5, 6, payload=b"payload")


@pytest.mark.parametrize("text", VECTORS)
def test_the_published_vectors(text: str) -> None:
    assert decode(bytes.fromhex(text)) == VECTORS[text]
    assert encode(VECTORS[text]).hex() == text


@given(packets)
def test_what_is_encoded_can_be_decoded(packet: Packet) -> None:
    datagram = encode(packet)
    assert could_be_utp(datagram)
    assert decode(datagram) == packet
    assert decode(memoryview(datagram)) == packet
    assert type(decode(datagram)) is Packet
    assert datagram == header(*packet[:9]) + bytes(packet.payload)


def test_the_payload_of_a_view_is_no_copy() -> None:
    buffer = bytearray(b"before" + encode(PLAIN))
    payload = decode(memoryview(buffer)[6:]).payload
    buffer[-1:] = b"D"
    assert bytes(payload) == b"payloaD"


def _with(extensions: bytes, first: int) -> bytes:
    plain = encode(PLAIN)
    return plain[:1] + bytes([first]) + plain[2:HEADER_SIZE] + extensions + plain[HEADER_SIZE:]


@pytest.mark.parametrize("first", [2, 4, 77, 255])
def test_unknown_extensions_are_skipped(first: int) -> None:
    assert decode(_with(bytes([0, 0]), first)) == PLAIN
    assert decode(_with(bytes([99, 3, 1, 2, 3, 0, 1, 9]), first)) == PLAIN
    many = bytes([99, 1, 0]) * (MAX_EXTENSIONS - 1) + bytes([0, 0])
    assert decode(_with(many, first)) == PLAIN


def test_known_extensions_are_read_among_others() -> None:
    extensions = bytes.fromhex("02 04 0102030403 08 000000000000000063 04 ffff010500 02 0000")
    assert decode(_with(extensions, 1)) == PLAIN._replace(sack=bytes([1, 2, 3, 4]), close_reason=0x105)


def test_the_last_sack_counts_as_in_libutp() -> None:
    assert decode(_with(bytes.fromhex("01 04 ffffffff 00 04 00000001"), 1)).sack == bytes([0, 0, 0, 1])


def test_a_close_reason_of_another_length_is_skipped() -> None:
    assert decode(_with(bytes.fromhex("00 02 0105"), 3)) == PLAIN
    assert decode(_with(bytes.fromhex("00 04 00000105"), 3)).close_reason == 0x105


@given(packets)
def test_the_first_extension_is_one_that_libutp_takes(packet: Packet) -> None:
    assert encode(packet)[1] in (0, 1, 2)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        encode(PLAIN)[: HEADER_SIZE - 1],
        b"\x00" + encode(PLAIN)[1:],  # version 0
        b"\x02" + encode(PLAIN)[1:],  # version 2
        b"\x51" + encode(PLAIN)[1:],  # type 5
        b"\xf1" + encode(PLAIN)[1:],
    ],
)
def test_what_is_not_utp(datagram: bytes) -> None:
    assert not could_be_utp(datagram)
    with pytest.raises(Malformed):
        decode(datagram)


@pytest.mark.parametrize(
    "extensions",
    [
        "",  # it is said that there is one
        "00",
        "00 04 010203",
        "02 04 01020304",  # and another one
        "02 04 01020304 00 ff 00",
        "00 00",  # SACKs whose length is not allowed
        "00 03 010203",
        "00 06 010203040506",
        "01 00" * 80,
    ],
)
def test_extensions_that_make_no_sense(extensions: str) -> None:
    datagram = _with(bytes.fromhex(extensions), 1)[: HEADER_SIZE + len(bytes.fromhex(extensions))]
    with pytest.raises(Malformed):
        decode(datagram)
    with pytest.raises(Malformed):
        decode(memoryview(datagram))


def test_work_is_bounded() -> None:
    with pytest.raises(Malformed, match="more than"):
        decode(_with(bytes([99, 0]) * MAX_EXTENSIONS + bytes([0, 0]), 99))


@given(st.binary(max_size=80), packets)
def test_only_malformed_is_raised(data: bytes, packet: Packet) -> None:
    datagram = encode(packet)
    for changed in (data, b"\x01" + data, datagram[:HEADER_SIZE] + data, datagram[: len(data)]):
        try:
            found = decode(changed)
        except Malformed:
            continue
        assert decode(encode(found)) == found


def test_a_packet_can_be_read_in_a_log() -> None:
    assert str(PLAIN) == "DATA id=1 seq=5 ack=6 window=4 payload=7"
    packet = Packet(PacketType.RESET, 1, 2, 3, 4, 5, 6, sack=bytes([255, 0, 0, 1]), close_reason=8)
    assert f"{packet}" == "RESET id=1 seq=5 ack=6 window=4 sack=ff000001 reason=8 payload=0"


def test_the_first_bit_of_a_sack() -> None:
    assert list(sack_bits(bytes([1, 0, 0, 128]), 11885)) == [11887, 11885 + 2 + 31]
    assert sack_mask(11885, [11887, 11918]) == bytes([1, 0, 0, 128])
    assert list(sack_bits(bytes([1, 0, 0, 0]), 0xFFFE)) == [0]
    assert list(sack_bits(b"", 5)) == []


@pytest.mark.parametrize(
    ("received", "size"),
    [([], 0), ([2], 4), ([33], 4), ([34], 8), ([2 + 8 * MAX_SACK - 1], MAX_SACK), ([2 + 8 * MAX_SACK], 0), ([1, 0], 0)],
)
def test_a_sack_is_as_long_as_it_must_be(received: list[int], size: int) -> None:
    assert len(sack_mask(0, received)) == size


@given(ack_nr=u16, offsets=st.sets(st.integers(2, 8 * MAX_SACK + 1)))
def test_a_sack_names_what_was_received(ack_nr: int, offsets: set[int]) -> None:
    received = [(ack_nr + offset) % 2**16 for offset in offsets]
    mask = sack_mask(ack_nr, received)
    assert len(mask) % 4 == 0
    assert list(sack_bits(mask, ack_nr)) == [(ack_nr + offset) % 2**16 for offset in sorted(offsets)]
