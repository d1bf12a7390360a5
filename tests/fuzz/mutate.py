"""Changes to valid inputs of which a parser may not have thought."""

from random import Random

_BYTES = (0x00, 0x01, 0x02, 0x0F, 0x10, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x01",
    b"\xed\xa0\x80",  # a surrogate, which UTF-8 does not allow
    b"\xef\xbb\xbf",
    "٣".encode(),  # a digit, to Python
    "ı".encode(),
    b"\r\n",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"0x1f",
    b"9" * 40,
    b"[" * 60,
    b'{"a":' * 60,
    b"}",
    b"]",
    b'"',
    b"'",
    b": ",
    b"- ",
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"2001-13-45",
    b"::",
    b"%",
    b"\\ud800",
)
_HEAD = 48  # bytes; headers are worth more attention than what they announce


def _place(rng: Random, size: int) -> int:
    return rng.randrange(min(size, _HEAD) + 1 if rng.random() < 0.5 else size + 1)


def _changed(rng: Random, data: bytes, seeds: list[bytes]) -> bytes:
    at = _place(rng, len(data))
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 9, 40)))
    piece = data[at:end]
    match rng.randrange(9):
        case 0:  # a bit
            piece = bytes([piece[0] ^ 1 << rng.randrange(8)]) + piece[1:] if piece else b"\x01"
        case 1:  # a byte
            piece = bytes([rng.choice(_BYTES)]) + piece[1:]
        case 2:  # one more or less, as in lengths
            piece = bytes([(piece[0] + rng.choice((-1, 1))) % 256]) + piece[1:] if piece else b""
        case 3:
            piece = b""
        case 4:
            piece = piece * rng.choice((2, 3, 20))
        case 5:
            piece = rng.randbytes(rng.randrange(1, 12))
        case 6:
            piece = rng.choice(_WORDS) + (piece if rng.random() < 0.5 else b"")
        case 7:  # the rest is that of another one
            other = rng.choice(seeds)
            return data[:at] + other[_place(rng, len(other)) :]
        case _:
            return data[:at]
    return data[:at] + piece + data[end:]


def mutate(rng: Random, seeds: list[bytes]) -> bytes:
    """One of the ``seeds``, with none to a few changes."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        data = _changed(rng, data, seeds)
    return data
