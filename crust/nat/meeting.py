"""`Meeting`: two peers agree, through somebody who knows both, on when to begin (docs/nat.md, "The meeting"). Pure.

One offers its info, the other accepts with its own, and the first says when to go: it then waits for half of the round
trip that it measured, and the other begins as soon as it hears it (the scheme of libp2p's DCUtR). Messages are small
JSON objects; how they travel is not this module's business.
"""

import enum
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from crust.errors import Malformed
from crust.nat.connection_info import MAX_INFO_TEXT, ConnectionInfo

MEETING_TIMEOUT: Final = 10.0
"""Seconds from the offer to the start; the peer may have to ask others first where they see it."""
MAX_ROUND_TRIP: Final = 5.0
"""Seconds; who needs longer is not waited for."""
MAX_REASON: Final = 200
"""Characters of a refusal."""
ID_LIMIT: Final = 2**48
"""Meetings have smaller numbers: what JSON carries exactly anywhere."""


class Step(enum.StrEnum):
    """What a message says."""

    OFFER = "offer"
    ACCEPT = "accept"
    GO = "go"
    REFUSE = "refuse"


class Note(NamedTuple):
    """A message of a meeting."""

    step: Step
    meeting: int
    """Which meeting; the one who offers chooses the number at random."""
    info: str = ""
    """Of OFFER and ACCEPT: a `ConnectionInfo` as text."""
    took: float = 0.0
    """Of ACCEPT: seconds that it took to get the info together, which are no part of the round trip."""
    reason: str = ""
    """Of REFUSE: why not."""

    def content(self) -> dict[str, Any]:
        """For a control frame."""
        content: dict[str, Any] = {"step": self.step.value, "meeting": self.meeting}
        if self.info:
            content["info"] = self.info
        if self.step is Step.ACCEPT:
            content["took"] = round(self.took, 4)
        if self.step is Step.REFUSE:
            content["reason"] = self.reason[:MAX_REASON]
        return content


def parse_note(content: object) -> Note:
    """Read what `Note.content` gives; the info is looked at later.

    Raises:
        Malformed: it is none.
    """
    if not isinstance(content, dict):
        raise Malformed("a note of a meeting is no object")
    step, meeting = content.get("step"), content.get("meeting")
    if not isinstance(step, str) or step not in set(Step):
        raise Malformed("a note of a meeting has an unknown step")
    if not isinstance(meeting, int) or isinstance(meeting, bool) or not 0 <= meeting < ID_LIMIT:
        raise Malformed("a note of a meeting has no number")
    step = Step(step)
    info, took, reason = content.get("info", ""), content.get("took", 0.0), content.get("reason", "")
    if not isinstance(info, str) or len(info) > MAX_INFO_TEXT or bool(info) != (step in (Step.OFFER, Step.ACCEPT)):
        raise Malformed(f"a note of a meeting has the step {step} and a wrong info")
    if isinstance(took, bool) or not isinstance(took, int | float) or not 0 <= took <= MEETING_TIMEOUT:
        raise Malformed("a note of a meeting took an impossible time")
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise Malformed("a note of a meeting has a wrong reason")
    took = float(took) if step is Step.ACCEPT else 0.0
    return Note(step, meeting, info, took, reason if step is Step.REFUSE else "")


@dataclass(slots=True)
class Meeting:
    """One side of a meeting. Belongs to one thread; all times are seconds on one clock.

    Make it with `offer` or `answer`.
    """

    number: int
    ours: ConnectionInfo
    offers: bool
    """Whether it is we who asked."""
    began: float
    theirs: ConnectionInfo | None = None
    start: float | None = None
    """When to begin, once that is known."""
    failure: str = ""
    """Why there is no meeting, once that is clear."""

    @classmethod
    def offer(cls, number: int, ours: ConnectionInfo, now: float) -> tuple["Meeting", Note]:
        """Ask for a meeting; the note is to be sent."""
        return cls(number, ours, True, now), Note(Step.OFFER, number, ours.encode())

    @classmethod
    def answer(cls, note: Note, ours: ConnectionInfo, came: float, now: float) -> tuple["Meeting", Note]:
        """Accept an offer; the note is to be sent.

        Args:
            note: the offer.
            ours: our info.
            came: when the offer came.
            now: seconds.

        Raises:
            Malformed: its info is none; do not answer.
        """
        theirs = ConnectionInfo.parse(note.info)
        took = min(max(now - came, 0.0), MEETING_TIMEOUT)
        return cls(note.meeting, ours, False, now, theirs), Note(Step.ACCEPT, note.meeting, ours.encode(), took)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to say."""
        return self.start is not None or bool(self.failure)

    def receive(self, note: Note, now: float) -> Note | None:
        """Take what the other side says; what to answer at once, if anything.

        Raises:
            Malformed: the other side breaks the rules; forget the meeting.
        """
        if self.over or note.meeting != self.number:
            return None
        if note.step is Step.REFUSE:
            self.failure = f"the peer does not want to: {note.reason}" if note.reason else "the peer does not want to"
        elif note.step is Step.ACCEPT and self.offers:
            self.theirs = ConnectionInfo.parse(note.info)
            round_trip = min(max(now - self.began - note.took, 0.0), MAX_ROUND_TRIP)
            self.start = now + round_trip / 2
            return Note(Step.GO, self.number)
        elif note.step is Step.GO and not self.offers:
            self.start = now
        else:
            raise Malformed(f"a peer says {note.step} where it is not its turn")
        return None

    def tick(self, now: float) -> None:
        """Do what is due."""
        if not self.over and now >= self.began + MEETING_TIMEOUT:
            self.failure = f"the peer did not answer within {MEETING_TIMEOUT:.0f} seconds"

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        return None if self.over else self.began + MEETING_TIMEOUT
