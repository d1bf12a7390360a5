"""What peers did wrong in gossip, and when it is enough. Pure.

Every offence has points, which are forgiven with time; whoever reaches `POINTS_LIMIT` is reported. An honest peer with
old software, a wrong clock or bad luck stays far below it; who forges does not.
"""

import enum
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from crust.identity import PeerId

POINTS_LIMIT: Final = 100
"""Points with which a peer is reported."""
FORGIVEN_PER_SECOND: Final = 0.1
"""Points; six a minute: an honest peer never comes near them."""
MUTE_TIME: Final = 3600.0
"""Seconds for which nothing is taken from a peer that was reported, and nothing told."""
MAX_OFFENDERS: Final = 1024
"""Peers whose offences are remembered, also when they have gone; the oldest are forgotten."""


class Offence(enum.Enum):
    """What a peer did, and its points."""

    FORGED = ("sent forged records, or such of another network", 20)
    MALFORMED = ("sent what is no record or no gossip", 20)
    OVERSIZED = ("sent records that are too large, or too many at once", 20)
    OLD = ("sent records older than those that it was told we have", 2)
    STALE = ("sent records that have expired, or never would", 1)
    FLOOD = ("sent more, or more often, than it may", 2)

    def __init__(self, text: str, points: int) -> None:
        self.text = text
        self.points = points


@dataclass(slots=True)
class _Sheet:
    points: float = 0.0
    at: float = 0.0
    muted_until: float = 0.0
    counts: Counter[Offence] = field(default_factory=Counter)


class Conduct:
    """Offences by peer. Belongs to one thread; ``now`` is in seconds on a clock that never jumps."""

    def __init__(self) -> None:
        self._sheets: OrderedDict[PeerId, _Sheet] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sheets)

    def offence(self, peer: PeerId, offence: Offence, now: float) -> str | None:
        """Count one.

        Returns:
            If that was enough: why, to be reported. The peer is muted from now on.
        """
        sheet = self._sheets.setdefault(peer, _Sheet(at=now))
        self._sheets.move_to_end(peer)
        while len(self._sheets) > MAX_OFFENDERS:
            self._sheets.popitem(last=False)
        sheet.points = max(sheet.points - (now - sheet.at) * FORGIVEN_PER_SECOND, 0.0) + offence.points
        sheet.at = now
        sheet.counts[offence] += 1
        if sheet.points < POINTS_LIMIT or now < sheet.muted_until:
            return None
        sheet.points = 0.0
        sheet.muted_until = now + MUTE_TIME
        return "; ".join(f"{each.text} ({count} times)" for each, count in sheet.counts.most_common())

    def is_muted(self, peer: PeerId, now: float) -> bool:
        """Whether the peer was reported a short while ago."""
        sheet = self._sheets.get(peer)
        return sheet is not None and now < sheet.muted_until

    def counts(self, peer: PeerId) -> dict[Offence, int]:
        """What it did so far, as far as that is remembered."""
        sheet = self._sheets.get(peer)
        return dict(sheet.counts) if sheet else {}
