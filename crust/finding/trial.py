"""`Trial`: a contact that `bootstrap()` is trying, and how long it may take while others wait."""

from dataclasses import dataclass
from typing import Final

from crust.connecting.attempts import Job
from crust.discovery.contact_book import Entry

LOOKS: Final = (0.4, 1.5)
"""Seconds that a contact gets in its first and second try of a round while others wait. One that does not answer may be
dead, which takes ``dial_timeout`` to find out; so it stands back until all others had their turn, and then is tried
with more patience. An answer takes one round trip of the network, after which a handshake takes two: where somebody
answers, the first try may take longer (`HANDSHAKE`), and the second of these times is the most."""
HANDSHAKE: Final = (4.0, 0.2)
"""Where somebody answers, a first try gets so many times what the answer took, and so many seconds more: the round trip
of that answer, two of the handshake, one to spare, and time for the other machine to compute. A contact that accepts
and says nothing costs little more than a dead one."""


@dataclass(slots=True, eq=False)
class Trial:
    """A contact being tried."""

    entry: Entry
    look: int
    """Which try of this round it is, from 0."""
    began: float
    job: Job | None = None
    stands_back: bool = False

    @property
    def is_answering(self) -> bool:
        """Whether somebody has proved to be there, and only the choice is still to come."""
        job = self.job
        if job is None or job.expected:
            return True
        asking = job.race.running | {attempt for attempt, _ in job.race.waiting}
        return not asking.isdisjoint(job.running)

    def patience(self, waiting: int) -> float:
        """Seconds that it may take.

        Args:
            waiting: which try of theirs the others wait for: 0 for their first, or 1.
        """
        running = self.job.running if self.job is not None else ()
        answers = [each.reached_after for each in running if each.reached_after is not None]
        if not answers:
            return LOOKS[waiting]
        times, more = HANDSHAKE
        enough = times * max(answers) + more if waiting == 0 else LOOKS[1]
        return min(max(enough, LOOKS[0]), LOOKS[1])
