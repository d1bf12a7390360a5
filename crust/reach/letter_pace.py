"""`LetterPace`: how many letters each carrier would still carry for us. Pure.

Who carries letters allows each writer so many (`crust.reach.letters`), and says no to the others. What it counts is
counted here as well, so that a meeting is begun only where it can be brought to its end.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from crust.identity import PeerId
from crust.reach.letters import KNOWN_WRITERS, LETTERS_BURST, LETTERS_INTERVAL

LETTERS_SPARE: Final = 4
"""Of a carrier's allowance, letters that are not used: they may reach it in less time than they were written in."""
MEETING_LETTERS: Final = 2
"""Letters of a meeting that the one who asks for it writes: OFFER and GO."""
_BURST: Final = LETTERS_BURST - LETTERS_SPARE
_ROUNDING: Final = 1e-6  # letters; so that who has waited for as long as it was told does not have to wait again


class LetterPace:
    """See the module's text. Belongs to one thread; all times are seconds on one clock."""

    def __init__(self) -> None:
        self._left: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()  # letters, and when that was so

    def __len__(self) -> int:
        """Carriers that are remembered."""
        return len(self._left)

    def _left_at(self, carrier: PeerId, now: float) -> float:
        left, at = self._left.get(carrier, (_BURST, now))
        return min(left + max(now - at, 0.0) / LETTERS_INTERVAL, _BURST)

    def _change(self, carrier: PeerId, by: float, now: float) -> None:
        # (What is refused does not count there; so it cannot be less than nothing there either.)
        self._left[carrier] = min(max(self._left_at(carrier, now) + by, -LETTERS_SPARE), _BURST), now
        self._left.move_to_end(carrier)
        if len(self._left) > KNOWN_WRITERS:
            self._left.popitem(last=False)

    def reserve(self, carrier: PeerId, now: float) -> bool:
        """Whether a carrier would carry our letters of one more meeting; if so, they count."""
        if self._left_at(carrier, now) < MEETING_LETTERS - _ROUNDING:
            return False
        self._change(carrier, -MEETING_LETTERS, now)
        return True

    def give_back(self, carrier: PeerId, now: float) -> None:
        """It was an OFFER, and no GO follows."""
        self._change(carrier, +1, now)

    def written(self, carrier: PeerId, now: float) -> None:
        """A letter was written for which nothing was reserved."""
        self._change(carrier, -1, now)

    def wait(self, carriers: Iterable[PeerId], now: float) -> float:
        """Seconds from ``now`` until the first of them has room for a meeting; 0 if there are none."""
        most = max((self._left_at(carrier, now) for carrier in carriers), default=MEETING_LETTERS)
        return max(MEETING_LETTERS - most, 0.0) * LETTERS_INTERVAL
