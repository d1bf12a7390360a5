"""`Allowance`: how much of something may happen, at once and for long. Pure."""

from collections import OrderedDict
from collections.abc import Hashable


class Allowance:
    """A token bucket; full at first. Belongs to one thread.

    Args:
        burst: how much may happen at once; at least 1.
        per_second: how much may happen for ever.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at: float | None = None

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._left + max(now - self._at, 0.0) * self._per_second, self._burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether it may happen once more, at ``now`` (seconds); if so, it counts."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self, now: float, amount: float = 1.0) -> float:
        """Seconds from ``now`` until so much may happen (not more than the burst)."""
        self._fill(now)
        return max(min(amount, self._burst) - self._left, 0.0) / self._per_second


class Allowances:
    """An `Allowance` for each of many; those that were not asked for the longest are forgotten.

    Args:
        most: how many are remembered.
        burst, per_second: of each; see `Allowance`.
    """

    def __init__(self, most: int, burst: float, per_second: float) -> None:
        self._most = most
        self._each = burst, per_second
        self._known: OrderedDict[Hashable, Allowance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, who: Hashable, now: float) -> bool:
        """Whether it may happen once more for ``who``; if so, it counts."""
        allowance = self._known.get(who)
        if allowance is None:
            allowance = self._known[who] = Allowance(*self._each)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(who)
        return allowance.take(now)
