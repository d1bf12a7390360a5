"""`crust.nat.stun`: the bytes of RFC 8489, against the published test vectors and against nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.nat import stun
from crust.nat.stun import Attribute, Kind, Message

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

# RFC 5769 sections 2.2 and 2.3: the same transaction over IPv4 and IPv6. The integrity of both is by a password.
OVER_IPV4 = bytes.fromhex(
    "0101003c 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004 c07d4c96"
)
OVER_IPV6 = bytes.fromhex(
    "01010048 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004 c8fb0b4c"
)


@pytest.mark.parametrize(
    ("data", "address"),
    [(OVER_IPV4, ("192.0.2.1", 32853)), (OVER_IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
    ids=["IPv4", "IPv6"],
)
def test_the_published_vectors(data: bytes, address: tuple[str, int]) -> None:
    message = stun.parse(data)
    assert (message.kind, message.transaction) == (Kind.SUCCESS, TRANSACTION)
    assert message.get(Attribute.SOFTWARE) == b"test vector"
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.parse_xor_address(value, TRANSACTION) == address
    assert stun.encode_xor_address(address, TRANSACTION) == value


def test_what_is_encoded_is_read_again() -> None:
    for fingerprint in (True, False):
        message = Message(Kind.REQUEST, TRANSACTION, ((0x8022, b"a"), (0x8022, b"bc"), (3, bytes(4))))
        data = message.encode(fingerprint=fingerprint)
        assert len(data) == 20 + 8 + 8 + 8 + 8 * fingerprint
        assert stun.parse(data) == message
        assert message.get(0x8022) == b"a", "the first counts"
        assert message.get(1) is None


def test_every_bit_that_is_turned_over_is_noticed() -> None:
    """But in types and lengths of attributes: one that hides the fingerprint makes a message without fingerprint."""
    for bit in range(len(OVER_IPV4) * 8):
        data = bytearray(OVER_IPV4)
        data[bit // 8] ^= 1 << bit % 8
        if bit // 8 in {*range(20, 24), *range(36, 40), *range(48, 52), *range(72, 76)}:
            assert _parsed(bytes(data)) != stun.parse(OVER_IPV4) or bit // 8 in range(72, 76)
        else:
            assert _parsed(bytes(data)) is None


def _parsed(data: bytes) -> Message | None:
    try:
        return stun.parse(data)
    except Malformed:
        return None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a STUN"),
        (OVER_IPV4[:19], "not a STUN"),
        (OVER_IPV4[:-4], "says 60 bytes and has 56"),
        (OVER_IPV4 + bytes(4), "says 60 bytes and has 64"),
        (bytes.fromhex("00010002 2112a442") + TRANSACTION + b"ab", "says 2 bytes"),
        (bytes.fromhex("00010000 2112a443") + TRANSACTION, "not a STUN"),
        (bytes.fromhex("40010000 2112a442") + TRANSACTION, "not a STUN"),
        (bytes.fromhex("00030000 2112a442") + TRANSACTION, "0x0003, which is not a Binding"),
        (bytes.fromhex("00010004 2112a442") + TRANSACTION + bytes.fromhex("80220001"), "too late"),
        (bytes.fromhex("00010004 2112a442") + TRANSACTION + bytes.fromhex("80280000"), "fingerprint"),
        (Message(Kind.REQUEST, TRANSACTION, ((1, b""),) * 65).encode(), "too late"),
        (Message(Kind.REQUEST, TRANSACTION, ((0x8022, bytes(2048)),)).encode(), "not a STUN"),
    ],
)
def test_what_is_no_message(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        stun.parse(data)


def test_a_fingerprint_is_the_last() -> None:
    inside = Message(Kind.REQUEST, TRANSACTION, ((0x8022, b"later"),)).encode(fingerprint=False)
    with_fingerprint = Message(Kind.REQUEST, TRANSACTION).encode()
    data = bytearray(with_fingerprint + inside[20:])
    data[2:4] = (len(data) - 20).to_bytes(2)
    with pytest.raises(Malformed, match="fingerprint"):
        stun.parse(bytes(data))


@pytest.mark.parametrize(
    "value", [b"", bytes(4), b"\0\3" + bytes(6), b"\0\1" + bytes(18), b"\0\2" + bytes(6), bytes(8)]
)
def test_what_is_no_address(value: bytes) -> None:
    with pytest.raises(Malformed):
        stun.parse_address(value)
    with pytest.raises(Malformed):
        stun.parse_xor_address(value, TRANSACTION)


def test_a_scope_is_not_told() -> None:
    assert stun.parse_address(stun.encode_address(("fe80::1%eth0", 5))) == ("fe80::1", 5)


def test_errors() -> None:
    assert stun.parse_error(stun.encode_error(420, "Unknown Attribute")) == (420, "Unknown Attribute")
    assert stun.parse_error(stun.encode_error(699, "x" * 500)) == (699, "x" * stun.MAX_REASON)
    nonsense = stun.parse_error(b"\0\0\4\0\x1b[2J\n\xff")
    assert nonsense == (400, "\ufffd[2J\ufffd\ufffd"), "nothing that a terminal would obey"
    for bad in (b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\x64"):
        with pytest.raises(Malformed):
            stun.parse_error(bad)


def test_types_and_changes() -> None:
    assert stun.encode_types([3, 0x8022]) == b"\0\3\x80\x22"
    for flags in (0, 2, 4, 6):
        assert stun.parse_change(stun.encode_change(flags)) == flags
    assert stun.parse_change(b"\xff\xff\xff\xff") == 6
    with pytest.raises(Malformed):
        stun.parse_change(b"\0\0\0")


def test_what_has_to_be_understood() -> None:
    message = Message(Kind.REQUEST, TRANSACTION, ((0x7FFF, b""), (0x8000, b""), (3, b""), (0x7FFF, b"")))
    assert message.not_understood([Attribute.CHANGE_REQUEST]) == [0x7FFF]


@given(st.binary(max_size=80))
def test_nothing_but_malformed_comes_of_any_bytes(body: bytes) -> None:
    body = body[: len(body) & ~3]
    data = b"\0\1" + len(body).to_bytes(2) + OVER_IPV4[4:20] + body
    try:
        message = stun.parse(data)
    except Malformed:
        return
    assert stun.parse(message.encode()) == message
