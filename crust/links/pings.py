"""`Pings`: questions for a sign of life that wait for their answers. The manager thread asks, the reader answers."""

from collections import OrderedDict
from typing import Final

from crust.transport.framing import PING, control_frame

MAX_OPEN_PINGS: Final = 4
"""PINGs whose PONG we still wait for; older ones are forgotten."""


class Pings:
    """See the module's text; one for each connection."""

    def __init__(self) -> None:
        self._asked: OrderedDict[int, float] = OrderedDict()
        self._count = 0

    def ask(self, at: float) -> bytes:
        """The frame of one more question, asked at ``at`` (seconds)."""
        self._count += 1
        self._asked[self._count] = at
        while len(self._asked) > MAX_OPEN_PINGS:
            self._asked.popitem(last=False)
        return control_frame(PING, {"t": self._count})

    def answered(self, number: int, at: float) -> float | None:
        """A PONG came at ``at``; the seconds that it took, if it answers one of the questions."""
        asked = self._asked.pop(number, None)
        return None if asked is None else at - asked
