"""`crust.discovery.beacon_packet`: only members read it, nobody can change it, all look alike."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.discovery.beacon_packet import (
    DATAGRAM_SIZE,
    GUID_SIZE,
    NONCE_SIZE,
    TOKEN_SIZE,
    Announcement,
    Kind,
    Message,
    Seal,
    decode,
)
from crust.errors import Malformed
from crust.identity import PeerId
from crust.transport.masking import network_keys

SEAL = Seal(network_keys("crust", None))
PORTS = st.integers(0, 65535)
MESSAGES = st.builds(
    Message,
    st.sampled_from(Kind),
    st.binary(min_size=GUID_SIZE, max_size=GUID_SIZE),
    st.builds(Announcement, st.builds(PeerId, st.binary(min_size=32, max_size=32)), PORTS, PORTS),
    st.binary(min_size=TOKEN_SIZE, max_size=TOKEN_SIZE),
    st.binary(min_size=TOKEN_SIZE, max_size=TOKEN_SIZE),
)
MESSAGE = Message(Kind.ASK, bytes(range(16)), Announcement(PeerId(bytes(range(32))), 5483, 5484), b"12345678")


@given(MESSAGES)
def test_what_is_sealed_opens(message: Message) -> None:
    datagram = SEAL.close(message)
    assert SEAL.open(datagram) == message
    assert len(datagram) == DATAGRAM_SIZE == 120


def test_the_layout_is_as_documented() -> None:
    """Pinned: another version of the program must read it."""
    body = MESSAGE._replace(echo=b"abcdefgh").encode()
    assert body.hex() == (
        "0101156b156c" + bytes(range(16)).hex() + bytes(range(32)).hex() + b"12345678abcdefgh".hex() + "00" * 10
    )
    fixed = Seal(network_keys("example", b"k" * 16), bytes)
    assert (
        fixed.close(MESSAGE)[NONCE_SIZE:]
        .hex()
        .startswith("44f0617f2cf4a1048e4c864dd2b89febd01c56eb497d2552983d835d3ebfc053")
    )


def test_spare_bytes_are_for_later_versions() -> None:
    assert decode(MESSAGE.encode()[:-10] + b"0123456789") == MESSAGE


@pytest.mark.parametrize(("name", "key"), [("other", None), ("crust", b"k" * 16), ("", None)])
def test_another_network_reads_nothing(name: str, key: bytes | None) -> None:
    assert Seal(network_keys(name, key)).open(SEAL.close(MESSAGE)) is None


def test_the_key_is_not_that_of_the_handshake() -> None:
    keys = network_keys("crust", None)
    assert Seal(keys)._key not in (keys.psk, keys.mask_key)


def test_every_changed_bit_is_noticed() -> None:
    datagram = SEAL.close(MESSAGE)
    for bit in range(8 * len(datagram)):
        changed = bytearray(datagram)
        changed[bit // 8] ^= 1 << bit % 8
        assert SEAL.open(bytes(changed)) is None


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=DATAGRAM_SIZE, max_size=DATAGRAM_SIZE)))
def test_noise_is_not_ours(data: bytes) -> None:
    assert SEAL.open(data) is None


@given(st.binary(min_size=80, max_size=80))
def test_a_member_that_sends_nonsense_causes_nothing_but_malformed(body: bytes) -> None:
    try:
        assert decode(body).encode()[:70] == body[:70]
    except Malformed:
        assert body[0] != 1 or body[1] not in range(1, 6)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "size"),
        (MESSAGE.encode() + b"x", "size"),
        (b"\x02" + MESSAGE.encode()[1:], "version 2"),
        (b"\x01\x00" + MESSAGE.encode()[2:], "kind 0"),
        (b"\x01\x06" + MESSAGE.encode()[2:], "kind 6"),
    ],
)
def test_malformed_bodies_say_why(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(body)


def test_nobody_can_tell_kinds_or_senders_apart() -> None:
    """All have one size, and every bit of them is set half of the time."""
    rng = random.Random(1)
    count = 2000
    ones = [0] * DATAGRAM_SIZE
    for _ in range(count):
        for place, byte in enumerate(SEAL.close(MESSAGE._replace(kind=rng.choice(list(Kind))))):
            ones[place] += byte.bit_count()
    assert max(abs(one / (8 * count) - 0.5) for one in ones) < 0.03  # seven standard deviations


def test_each_datagram_has_a_nonce_of_its_own() -> None:
    assert len({SEAL.close(MESSAGE)[:NONCE_SIZE] for _ in range(1000)}) == 1000


def test_what_can_be_connected_to() -> None:
    peer = PeerId(os.urandom(32))
    assert Announcement(peer, 1, 0).reachable
    assert Announcement(peer, 0, 1).reachable
    assert not Announcement(peer, 0, 0).reachable
