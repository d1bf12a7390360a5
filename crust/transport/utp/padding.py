"""Packets made larger by extensions that every peer skips: probes of the path MTU that lose no data when they are lost.

A packet keeps its payload for all its retransmissions, because sequence numbers count packets. Were a probe large by
its payload, then a path on which it does not fit would never carry it. So a probe has an ordinary payload and padding
(BEP 29, "extension": unknown ones are skipped). libutp wants the first extension to be of a kind that it knows.
"""

from typing import Final

from crust.transport.utp.packet import HEADER_SIZE, Extension

PADDING_KIND: Final = 0x50
"""The kind of our padding; nobody else's, as far as is known."""

_FIRST_SIZE: Final = 10  # EXTENSION_BITS with its two bytes of head
_LARGEST: Final = 257  # an extension of 255 bytes


def pad(head: bytes, size: int) -> bytes:
    """A header without extensions, with padding, ``size`` bytes long in all (or one byte less, where that cannot be).

    The header comes back as it was when there is no room for padding.
    """
    room = size - HEADER_SIZE
    if len(head) != HEADER_SIZE or room < _FIRST_SIZE:
        return head
    sizes: list[int] = []
    left = room - _FIRST_SIZE
    while left >= 2:
        part = min(left, _LARGEST)
        if left - part == 1:
            part -= 1
        sizes.append(part)
        left -= part
    parts = [head[:1], bytes([Extension.EXTENSION_BITS]), head[2:], bytes([PADDING_KIND if sizes else 0, 8]), bytes(8)]
    for number, part in enumerate(sizes, 1):
        parts.append(bytes([PADDING_KIND if number < len(sizes) else 0, part - 2]) + bytes(part - 2))
    return b"".join(parts)
