"""`WaitingLine`: meetings that wait until carriers have room for their letters (`crust.reach.letter_pace`). Pure."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crust.identity import PeerId
from crust.reach.letters import LETTERS_BURST, LETTERS_INTERVAL

TURN_PATIENCE: Final = 60.0
"""Seconds that a meeting waits for its turn: so much later the meeting itself and the longest plain way to punch still
fit into the time that a wish has."""
NO_TURN: Final = (
    f"too many meetings at once: who arranges them carries {LETTERS_BURST} notes for a node, two for each meeting, and "
    f"then one in {LETTERS_INTERVAL:g} s; try again in a minute"
)


@dataclass(slots=True, eq=False)
class Wanted:
    """A meeting that we want, and have not asked for yet."""

    peer_id: PeerId
    failed: Callable[[str], None]
    until: float
    """When it is given up, if nobody could be asked."""
    refused: dict[PeerId, str] = field(default_factory=dict)
    """Who has refused to carry it, or the peer through whom, and why."""

    @property
    def reasons(self) -> list[str]:
        """Why it was refused, each reason once."""
        return list(dict.fromkeys(self.refused.values()))


class WaitingLine:
    """See the module's text. Who is to be given up first is the first one, also when it had its turn and comes back."""

    def __init__(self) -> None:
        self._line: list[Wanted] = []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    @property
    def first(self) -> Wanted:
        """Whose turn it is next; there has to be one."""
        return self._line[0]

    def add(self, wanted: Wanted) -> None:
        """It waits."""
        insort(self._line, wanted, key=lambda each: each.until)

    def take(self) -> Wanted:
        """It is the turn of the first one; there has to be one."""
        return self._line.pop(0)

    def take_late(self, now: float) -> list[Wanted]:
        """Those that have waited too long."""
        late = [each for each in self._line if each.until <= now]
        self._line = self._line[len(late) :]
        return late

    def remove(self, peer_id: PeerId) -> None:
        """A meeting with that peer is not wanted any more, if it was."""
        self._line = [each for each in self._line if each.peer_id != peer_id]
