"""CARRIED and CREDIT frames of relayed connections, and how credit counts (docs/nat.md, Relays). Pure.

::

    CARRIED  channel u32 LE | 0 to 16,384 bytes; none: the end of this direction
    CREDIT   channel u32 LE | count u32 LE

The receiver at the far end of a channel says how much may be sent to it; whoever is in the middle passes that on. A
CARRIED frame takes its bytes and `CARRIED_OVERHEAD` of it; the end of a direction is free.
"""

import struct
from typing import Final, NamedTuple

from crust.errors import Malformed, PeerMisbehaved
from crust.limits import KIB
from crust.transport.framing import CARRIED, CREDIT, HEADER

MAX_CARRIED: Final = 16 * KIB
"""Bytes in one frame: little enough that other frames of the carrying connection pass between."""
CARRIED_OVERHEAD: Final = 64
"""Bytes that a frame takes of the credit beside its content: what it costs to hold it."""
RELAY_WINDOW: Final = 256 * KIB
"""The most credit that there may be: for each direction of a channel nobody holds more. Enough for 2.5 MB/s where a
round trip takes 100 ms."""
LEAST_CREDIT: Final = 16 * KIB
"""The least that one frame may give: otherwise each byte could be paid for with a frame."""
CREDIT_STEP: Final = RELAY_WINDOW // 4
"""What was read is given back in steps of so much."""
CHANNEL_LIMIT: Final = 2**32
"""Channels have smaller numbers than this."""
_CHANNEL: Final = struct.Struct("<I")
_CREDIT: Final = struct.Struct("<II")
_CARRIED_HEAD: Final = struct.Struct("<II")  # frame header, channel


class Carried(NamedTuple):
    """Data of a channel; none is the end of its direction."""

    channel: int
    data: bytes


class Credit(NamedTuple):
    """So much more may be sent on a channel."""

    channel: int
    amount: int


def carried_frame(channel: int, data: bytes | memoryview) -> bytes:
    """A CARRIED frame."""
    return _CARRIED_HEAD.pack(CARRIED | _CHANNEL.size + len(data) << 8, channel) + data


def credit_frame(channel: int, amount: int) -> bytes:
    """A CREDIT frame."""
    return HEADER.pack(CREDIT | _CREDIT.size << 8) + _CREDIT.pack(channel, amount)


def parse_relayed(kind: int, body: bytes) -> Carried | Credit:
    """Read the body of a CARRIED or CREDIT frame.

    Raises:
        Malformed: it is none.
    """
    if kind == CARRIED:
        if not _CHANNEL.size <= len(body) <= _CHANNEL.size + MAX_CARRIED:
            raise Malformed(f"a CARRIED frame of {len(body)} bytes; the limit is {_CHANNEL.size + MAX_CARRIED}")
        return Carried(_CHANNEL.unpack_from(body)[0], body[_CHANNEL.size :])
    if len(body) != _CREDIT.size:
        raise Malformed(f"a CREDIT frame of {len(body)} bytes, not {_CREDIT.size}")
    credit = Credit(*_CREDIT.unpack(body))
    if not LEAST_CREDIT <= credit.amount <= RELAY_WINDOW:
        raise Malformed(f"a credit of {credit.amount} bytes; allowed are {LEAST_CREDIT} to {RELAY_WINDOW}")
    return credit


def cost_of(data: bytes | memoryview) -> int:
    """What a CARRIED frame with that content takes of the credit."""
    return len(data) + CARRIED_OVERHEAD if data else 0


class Intake:
    """The receiver's side of one direction: what may still come, and what to give back. Belongs to one lock.

    Args:
        credit: what was given at the beginning.
    """

    __slots__ = ("_read", "ended", "outstanding")

    def __init__(self, credit: int = RELAY_WINDOW) -> None:
        self.outstanding = credit
        """What the sender may still send."""
        self.ended = False
        """Whether it has said that nothing more comes."""
        self._read = 0

    def came(self, data: bytes) -> None:
        """A frame came.

        Raises:
            PeerMisbehaved: it must not have.
        """
        cost = cost_of(data)
        if self.ended:
            raise PeerMisbehaved("it sent data on a relayed channel after the end")
        if cost > self.outstanding:
            raise PeerMisbehaved("it sent more on a relayed channel than it had credit for")
        self.outstanding -= cost
        self.ended = not data

    def read(self, cost: int) -> int:
        """The content of frames of that cost was read; how much credit to give now, maybe none."""
        self._read += cost
        if self._read < CREDIT_STEP or self.ended:
            return 0
        given, self._read = self._read, 0
        self.outstanding += given
        return given


class Passage:
    """One direction in the middle: what the receiver will still take, and what of that the sender knows. Belongs to one
    lock.

    Args:
        credit: what the receiver gave at the beginning, and was passed on.
    """

    __slots__ = ("_held", "_room", "ended")

    def __init__(self, credit: int) -> None:
        self._room = credit
        self._held = 0
        self.ended = False
        """Whether the sender has said that nothing more comes."""

    @property
    def outstanding(self) -> int:
        """What the sender may still send."""
        return 0 if self.ended else self._room - self._held

    @property
    def held(self) -> int:
        """Credit that is to be passed on."""
        return 0 if self.ended else self._held

    def came(self, data: bytes) -> None:
        """A frame came from the sender, and goes on.

        Raises:
            PeerMisbehaved: it must not have.
        """
        cost = cost_of(data)
        if self.ended:
            raise PeerMisbehaved("it sent data on a relayed channel after the end")
        if cost > self._room - self._held:
            raise PeerMisbehaved("it sent more on a relayed channel than it had credit for")
        self._room -= cost
        self.ended = not data

    def credited(self, amount: int) -> None:
        """The receiver gave credit.

        Raises:
            PeerMisbehaved: more than there may be.
        """
        if self._room + amount > RELAY_WINDOW:
            raise PeerMisbehaved(f"it gave credit for more than {RELAY_WINDOW} bytes on a relayed channel")
        self._room += amount
        self._held += amount

    def pass_on(self) -> int:
        """What is held goes to the sender now."""
        given, self._held = self._held, 0
        return given


class Throttle:
    """Lets so much through for each second, over time. ``now`` is seconds on a clock that never jumps.

    Args:
        per_second: 0 for no limit.
    """

    __slots__ = ("_at", "_debt", "_per_second")

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._debt = 0.0
        self._at = 0.0

    def take(self, amount: int, now: float) -> float:
        """Seconds to wait before ``amount`` may go; 0: it goes now, and counts."""
        if not self._per_second:
            return 0.0
        self._debt = max(self._debt - max(now - self._at, 0.0) * self._per_second, 0.0)
        self._at = now
        if self._debt > 0:
            return self._debt / self._per_second
        self._debt = amount
        return 0.0
