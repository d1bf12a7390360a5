"""The header of a uTP packet, 32 bits a row."""

from typing import Final

from svg import Drawing

FIELDS: Final = (
    ("type", 4, ""),
    ("version", 4, "1"),
    ("extension", 8, "kind of the first, or 0"),
    ("connection_id", 16, "of the receiver"),
    ("timestamp", 32, "when it was sent, on its sender's clock, in microseconds"),
    ("timestamp_difference", 32, "what its sender's last packet from the other side took, in microseconds"),
    ("window", 32, "bytes that its sender has room for"),
    ("seq_nr", 16, "number of this packet"),
    ("ack_nr", 16, "everything up to here has come"),
)
"""Each field with its bits and its meaning, in order."""

_BIT, _ROW, _LEFT, _TOP, _BITS = 24, 50, 20, 44, 32


def draw() -> str:
    """The picture as SVG."""
    rows = -(-sum(bits for _, bits, _ in FIELDS) // _BITS)
    picture = Drawing(2 * _LEFT + _BITS * _BIT, _TOP + (rows + 2) * _ROW + 14, "The header of a uTP packet")
    for bit in range(0, _BITS + 1, 8):
        picture.words(_LEFT + bit * _BIT, 34, str(bit))
    picture.words(_LEFT + _BITS * _BIT / 2, 16, "bit")
    at = 0
    for name, bits, meaning in FIELDS:
        x, y = _LEFT + at % _BITS * _BIT, _TOP + at // _BITS * _ROW
        picture.box(x, y, bits * _BIT, _ROW, "thread", name, [meaning] if meaning else [])
        at += bits
    width, y = _BITS * _BIT, _TOP + rows * _ROW
    picture.box(_LEFT, y, width, _ROW, "queue", "extensions", ["next kind (8), length (8), body; until the next is 0"])
    picture.box(
        _LEFT, y + _ROW, width, _ROW, "user", "payload", ["of DATA; its length is what is left of the datagram"]
    )
    return picture.text()
