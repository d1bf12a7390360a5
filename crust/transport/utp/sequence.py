"""Numbers that wrap around: 16-bit sequence numbers, and times of 32 bits in microseconds (BEP 29, "header format").

All of it is plain arithmetic, for any thread. Numbers are compared by their signed distance: of two that lie less than
half of the circle apart, the one that is reached by counting up is the later one.
"""

from typing import Final

SEQ_MASK: Final = 0xFFFF
"""The greatest sequence number."""
MICROS_MASK: Final = 0xFFFF_FFFF
"""The greatest time on the wire, in microseconds: it starts anew after 71.6 minutes."""

_SEQ_HALF: Final = 0x8000
_MICROS_HALF: Final = 0x8000_0000


def seq_add(a: int, n: int) -> int:
    """The sequence number ``n`` after ``a``; ``n`` may be negative."""
    return (a + n) & SEQ_MASK


def seq_distance(a: int, b: int) -> int:
    """How far ``b`` is after ``a``, -32768 to 32767; negative when it is before."""
    return ((b - a + _SEQ_HALF) & SEQ_MASK) - _SEQ_HALF


def seq_before(a: int, b: int) -> bool:
    """Whether ``a`` is before ``b``. Numbers exactly half a circle apart are before each other in neither direction."""
    return 0 < ((b - a) & SEQ_MASK) < _SEQ_HALF


def micros(now: float) -> int:
    """A time in seconds as it goes on the wire: whole microseconds, modulo 2**32."""
    return int(now * 1e6) & MICROS_MASK


def micros_distance(a: int, b: int) -> int:
    """How far ``b`` is after ``a`` in microseconds, -2**31 to 2**31 - 1; negative when it is before."""
    return ((b - a + _MICROS_HALF) & MICROS_MASK) - _MICROS_HALF
