"""Padding that every decoder skips: of any size, and none where there is no room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.packet import HEADER_SIZE, Extension, PacketType, decode, header
from crust.transport.utp.padding import PADDING_KIND, pad

HEAD = header(PacketType.DATA, 1, 2, 3, 4, 5, 6)


def kinds(padded: bytes) -> list[int]:
    """The kinds of its extensions, in order."""
    kind, at, found = padded[1], HEADER_SIZE, []
    while kind:
        found.append(kind)
        kind, at = padded[at], at + 2 + padded[at + 1]
    assert at == len(padded)
    return found


@given(size=st.integers(HEADER_SIZE + 10, 9000))
def test_a_padded_header_is_as_long_as_asked_and_means_the_same(size: int) -> None:
    padded = pad(HEAD, size)
    # An extension has two bytes at least: where one is left over, it cannot be filled.
    assert len(padded) == size or (len(padded) == size - 1 and size - HEADER_SIZE - 10 == 1)
    assert decode(padded + b"payload") == decode(HEAD + b"payload")


@given(size=st.integers(HEADER_SIZE + 10, 9000))
def test_the_first_extension_is_one_that_libutp_knows(size: int) -> None:
    first, *others = kinds(pad(HEAD, size))
    assert first == Extension.EXTENSION_BITS
    assert set(others) <= {PADDING_KIND}
    assert PADDING_KIND not in list(Extension)


@pytest.mark.parametrize("size", [0, HEADER_SIZE, HEADER_SIZE + 9])
def test_where_there_is_no_room_the_header_stays_as_it_is(size: int) -> None:
    assert pad(HEAD, size) == HEAD


def test_a_header_with_extensions_stays_as_it_is() -> None:
    head = header(PacketType.DATA, 1, 2, 3, 4, 5, 6, b"\1\0\0\0")
    assert pad(head, 1472) == head
