"""Envelopes: they come back out however they were cut, are bounded, and look like nothing."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.transport.masking import (
    MAX_HANDSHAKE_MESSAGE,
    SALT_SIZE,
    NetworkKeys,
    Unmasker,
    envelope,
    network_keys,
)
from tests.transport.uniformity import assert_uniform

KEY = bytes(range(32))
HEADER = SALT_SIZE + 2
messages = st.binary(min_size=96, max_size=MAX_HANDSHAKE_MESSAGE - HEADER)
numbers = st.integers(1, 3)
mask_keys = st.sampled_from([KEY, None])


@given(number=numbers, mask_key=mask_keys, message=messages, rest=st.binary(max_size=40), cuts=st.data())
def test_any_cut_gives_the_same(
    number: int, mask_key: bytes | None, message: bytes, rest: bytes, cuts: st.DataObject
) -> None:
    """Nothing before the end, the message at the end, and what follows is left alone."""
    wire = envelope(mask_key, number, message)
    stream = wire + rest
    whole = Unmasker(mask_key, number)
    assert whole.feed(stream) == message
    assert whole.unused == rest
    pieces = Unmasker(mask_key, number)
    places = sorted({0, len(stream), *cuts.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    for start, end in itertools.pairwise(places):
        assert pieces.feed(stream[start:end]) == (message if end >= len(wire) else None)
    assert pieces.unused == rest


def test_byte_by_byte() -> None:
    message = os.urandom(100)
    wire = envelope(KEY, 1, message)
    unmasker = Unmasker(KEY, 1)
    found = [unmasker.feed(wire[place : place + 1]) for place in range(len(wire))]
    assert found == [None] * (len(wire) - 1) + [message]
    assert unmasker.unused == b""


@pytest.mark.parametrize(("number", "least"), [(1, 48), (2, 96), (3, 64)])
def test_lengths_are_bounded_at_once(number: int, least: int) -> None:
    most = MAX_HANDSHAKE_MESSAGE - HEADER
    for length in (least, most):
        assert Unmasker(None, number).feed(length.to_bytes(2, "little")) is None
    for length in (0, least - 1, most + 1, 65535):
        unmasker = Unmasker(None, number)
        for data in (length.to_bytes(2, "little"), b"again"):
            with pytest.raises(Malformed, match="impossible length"):
                unmasker.feed(data)
        assert unmasker.unused == b""


def test_too_long_a_message_is_not_sent() -> None:
    assert len(envelope(KEY, 1, bytes(MAX_HANDSHAKE_MESSAGE - HEADER))) == MAX_HANDSHAKE_MESSAGE
    with pytest.raises(ValueError, match="at most"):
        envelope(KEY, 1, bytes(MAX_HANDSHAKE_MESSAGE - HEADER + 1))


@given(garbage=st.binary(max_size=1100), number=numbers, mask_key=mask_keys)
def test_garbage_whole_and_byte_by_byte_agree(garbage: bytes, number: int, mask_key: bytes | None) -> None:
    outcomes = []
    for parts in ([garbage], [bytes([byte]) for byte in garbage]):
        unmasker, found = Unmasker(mask_key, number), None
        try:
            for part in parts:
                found = unmasker.feed(part)
            outcomes.append((found, unmasker.unused))
        except Malformed:
            outcomes.append((b"malformed", b""))
    assert outcomes[0] == outcomes[1]


def unmasked(mask_key: bytes, number: int, wire: bytes) -> bytes | None:
    try:
        return Unmasker(mask_key, number).feed(wire + bytes(MAX_HANDSHAKE_MESSAGE))
    except Malformed:
        return None


def test_every_part_of_the_mask_matters() -> None:
    message = bytes(range(200))
    wire = envelope(KEY, 1, message)
    assert unmasked(KEY, 1, wire) == message
    assert unmasked(bytes(32), 1, wire) != message
    assert unmasked(KEY, 2, wire) != message
    assert unmasked(KEY, 3, wire) != message
    for bit in range(8 * SALT_SIZE):
        changed = bytearray(wire)
        changed[bit // 8] ^= 1 << bit % 8
        assert unmasked(KEY, 1, bytes(changed)) != message


def test_the_same_message_never_looks_the_same() -> None:
    salt = bytes(SALT_SIZE)
    wires = [envelope(KEY, number, bytes(100), lambda size: salt)[SALT_SIZE:] for number in (1, 2, 3)]
    wires += [envelope(KEY, 1, bytes(100))[SALT_SIZE:] for _ in range(50)]
    blocks = {wire[place : place + 8] for wire in wires for place in range(0, 96, 8)}
    assert len(blocks) == 53 * 12


def test_envelopes_look_uniform_whatever_they_carry() -> None:
    wires = [envelope(KEY, 1, bytes(64)) for _ in range(2000)]
    assert_uniform(wires, positions=len(wires[0]))


# --- network keys -----------------------------------------------------------------------------------------------------


def test_keys_depend_on_name_and_key() -> None:
    inputs: list[tuple[str, bytes | None]] = [
        ("crust", None),
        ("crust", b""),
        ("crust", b"key"),
        ("crustkey", None),
        ("crustkey", b""),
        ("crustk", b"ey"),
        ("", b"crust"),
        ("", None),
        ("CRUST", None),
        ("grüße", None),
        ("\udcff", None),
    ]
    keys = [network_keys(*given) for given in inputs]
    assert len({key for pair in keys for key in (pair.psk, pair.mask_key)}) == 2 * len(inputs)
    assert all(len(pair.psk) == len(pair.mask_key) == 32 for pair in keys)


def test_keys_never_change() -> None:
    """Nodes of different versions must find each other: these are part of the protocol."""
    assert network_keys("crust", None) == NetworkKeys(
        bytes.fromhex("144ae1bef19305c9c5f97ef5b035ba815f9f4617cf9f93f441bf090179da8eb7"),
        bytes.fromhex("17306baa83c4e6d68713381f25cffb2c9fbf5f3bf12109353b4edbb6aacf4c5a"),
    )
    assert network_keys("grüße", b"\x00\xff") == NetworkKeys(
        bytes.fromhex("380b68beb38f0673ae49a055915b8379351ec004a64131e430e615696d6db50c"),
        bytes.fromhex("5e3f6f7bd56ef9f23799aaa89f1fa395fc6f0f88a215beba57457877e556f074"),
    )


def test_the_example_of_the_specification() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
    keys = network_keys("crust", None)
    assert keys.psk.hex() in text
    assert keys.mask_key.hex() in text
    wire = envelope(keys.mask_key, 1, bytes(48), lambda size: bytes(range(size))).hex()
    assert wire == (
        "000102030405060708090a0b0c0d0e0f7b6d"
        "d359a6d42be9a7aad49140a5518438cb59168437c9466b0d2ab76878a7d7039e22fe0c249a59ea25e7b1d30140be8d87"
    )
    assert wire in "".join(text.split())


def test_keys_do_not_show() -> None:
    keys = network_keys("crust", b"secret")
    assert repr(keys) == "NetworkKeys()"
