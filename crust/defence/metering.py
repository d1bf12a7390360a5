"""How much of something comes from somebody, and what follows: token buckets with two limits. Pure.

Whoever passes the first limit is reported, once for an episode, and slowed: what they send is left in the network until
it is within the limit again. An episode ends when the bucket is full again. What the second limit is, at which it is
over, depends on the kind:

* Messages fill the network and then the sender's own queue, so a pause holds their sender back for as long as it lasts
  (`HELD_BACK`). How much had been sent before it, and comes with one look, is not the sender's doing; so nobody is
  thrown out for amounts. It is over for who had to be held back for `LONGEST_FLOOD` in one episode.
* No program causes much of the other kinds, however much it has to say. Who goes on with them gets into debt, and it is
  over at `PATIENCE_FACTOR` bursts of it.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, NamedTuple

BYTES: Final = "bytes"
MESSAGES: Final = "messages"
RECORDS: Final = "records"
CONTROLS: Final = "control frames"
HANDSHAKES: Final = "handshakes"
FAILURES: Final = "failed authentications"

BURST_SECONDS: Final[Mapping[str, float]] = {
    BYTES: 10.0,
    MESSAGES: 10.0,
    RECORDS: 10.0,
    CONTROLS: 10.0,
    HANDSHAKES: 40.0,
    FAILURES: 128.0,
}
"""Seconds' worth of the limit that may come at once. Handshakes: with the default, the 2000 of a full house that comes
back at the same moment. Failed authentications: with the default, as many as ``max_half_open_per_address``."""
HELD_BACK: Final = frozenset({BYTES, MESSAGES, RECORDS})
"""Kinds of which a pause is as long as it takes to pay for what came."""
LONGEST_FLOOD: Final = 3600.0
"""Seconds in debt, in all of an episode, at which it is over for those who can be held back. Meanwhile they cost no
more than the limit; so this is long, for whoever has much to say and does no harm."""
PATIENCE_FACTOR: Final = 4.0
"""Bursts' worth of debt of another kind at which it is over."""
READ_PAUSE: Final = 5.0
"""Seconds without reading, at the most, for a debt of another kind: who is slowed down can still say goodbye."""


class Limit(NamedTuple):
    """So much of a kind for each second."""

    kind: str
    per_second: float


class Alert(NamedTuple):
    """A limit was passed, for the first time in this episode."""

    kind: str
    rate: float
    """For each second of the episode so far."""
    limit: float


class Judgement(NamedTuple):
    """What follows from what came."""

    pause: float = 0.0
    """Seconds to leave alone whoever it was."""
    alerts: tuple[Alert, ...] = ()
    over: Alert | None = None
    """The second limit was passed: no more of them."""

    def __or__(self, other: "Judgement") -> "Judgement":
        """Both."""
        return Judgement(max(self.pause, other.pause), self.alerts + other.alerts, self.over or other.over)


FINE: Final = Judgement()


class Bucket:
    """How much of one kind came; full at first. ``now`` is seconds on a clock that never jumps."""

    __slots__ = ("_at", "_burst", "_held", "_in_debt", "_level", "_limit", "_reported", "_since", "_used")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._burst = self._level = max(limit.per_second * BURST_SECONDS[limit.kind], 1.0)
        self._at = self._since = 0.0
        self._used = 0.0
        self._in_debt = 0.0  # seconds of this episode
        self._held = limit.kind in HELD_BACK
        self._reported = False

    def charge(self, amount: float, now: float) -> Judgement:
        """So much came, up to ``now``."""
        was = self._fill(now)
        self._level -= amount
        self._used += amount
        if self._level >= 0:
            return FINE
        alert = Alert(self._limit.kind, self._used / max(now - self._since, 1.0), self._limit.per_second)
        alerts = () if self._reported else (alert,)
        self._reported = True
        # Only who was in debt before: what comes at once, however much, may be the work of one moment.
        over = alert if self._is_over(PATIENCE_FACTOR) and (self._held or was < 0) else None
        return Judgement(self._pause, alerts, over)

    def judge(self, now: float, patience: float = PATIENCE_FACTOR) -> Judgement:
        """What follows from what came before, with nothing new; ``patience`` as `PATIENCE_FACTOR`."""
        self._fill(now)
        if self._level >= 0:
            return FINE
        over = None
        if self._is_over(patience):
            over = Alert(self._limit.kind, self._used / max(now - self._since, 1.0), self._limit.per_second)
        return Judgement(self._pause, (), over)

    def _is_over(self, patience: float) -> bool:
        return self._in_debt >= LONGEST_FLOOD if self._held else -self._level > patience * self._burst

    @property
    def _pause(self) -> float:
        owed = -self._level / self._limit.per_second
        return owed if self._held else min(owed, READ_PAUSE)

    def _fill(self, now: float) -> float:
        passed = max(now - self._at, 0.0)
        self._in_debt += min(passed, max(-self._level / self._limit.per_second, 0.0))
        self._level = min(self._level + passed * self._limit.per_second, self._burst)
        self._at = now
        if self._level >= self._burst:
            self._since, self._used, self._in_debt, self._reported = now, 0.0, 0.0, False
        return self._level


class Meter:
    """The buckets of one of those who send.

    Args:
        limits: of 0 for a second there is none.
    """

    __slots__ = ("_buckets", "kinds")

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._buckets = {limit.kind: Bucket(limit) for limit in limits if limit.per_second}
        self.kinds = frozenset(self._buckets)
        """What is limited at all."""

    def charge(self, amounts: Mapping[str, float], now: float) -> Judgement:
        """So much of each kind came, up to ``now``."""
        judgement = FINE
        for kind, bucket in self._buckets.items():
            amount = amounts.get(kind)
            if amount:
                judgement |= bucket.charge(amount, now)
        return judgement

    def judge(self, now: float, patience: float = PATIENCE_FACTOR) -> Judgement:
        """What follows from what came before; ``patience`` as `PATIENCE_FACTOR`."""
        judgement = FINE
        for bucket in self._buckets.values():
            judgement |= bucket.judge(now, patience)
        return judgement


class Meters:
    """A `Meter` for each of many; those of whom nothing came for the longest are forgotten.

    Args:
        limits: of each.
        most: how many are remembered.
    """

    def __init__(self, limits: Iterable[Limit], most: int) -> None:
        self._limits = tuple(limits)
        self._most = most
        self._known: OrderedDict[Hashable, Meter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def charge(self, who: Hashable, amounts: Mapping[str, float], now: float) -> Judgement:
        """So much of each kind came from ``who``, up to ``now``."""
        meter = self._known.get(who)
        if meter is None:
            meter = self._known[who] = Meter(self._limits)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(who)
        return meter.charge(amounts, now)

    def judge(self, who: Hashable, now: float, patience: float = PATIENCE_FACTOR) -> Judgement:
        """What follows from what came from ``who`` before; ``patience`` as `PATIENCE_FACTOR`."""
        meter = self._known.get(who)
        return FINE if meter is None else meter.judge(now, patience)
