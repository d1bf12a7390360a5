"""What a beacon remembers of others: who was heard, who has proved to be where it says, and what it was asked. Pure.

Everything is bounded; what was of no use for the longest is forgotten first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from crust.discovery.beacon_packet import NONCE_SIZE, Announcement

Address: TypeAlias = tuple[Any, ...]
"""A socket address as the system gives it: host, port, and for IPv6 flow and scope."""

MAX_HEARD: Final = 2048
"""Beacons counted. The count only decides how rarely to speak; more would not change that by much."""
MAX_PROVED: Final = 1024
"""Beacons whose address is proved."""
MAX_NONCES: Final = 4096
"""Datagrams that would be recognised if they came again, as when somebody records and replays them."""
MAX_QUESTIONS: Final = 256
"""Questions whose answers are awaited."""
QUESTION_LIFE: Final = 5.0
"""Seconds for an answer to come: the longest delay of an answer, and patience with a busy host."""
MAX_ANSWERS: Final = 256
"""Answers taken to one question; about `ANSWERS_WANTED` of the core come."""


@dataclass(slots=True)
class Question:
    """What was asked."""

    to: Address | None
    """Who may answer; ``None``: everybody."""
    until: float
    answers: int = 0


@dataclass(slots=True)
class Proved:
    """A beacon that answered our question from its address."""

    about: Announcement
    heard_at: float
    round: int
    """In which round of asking it was reported last."""


class Census:
    """See the module's text. Belongs to one thread."""

    def __init__(self) -> None:
        self._heard: OrderedDict[bytes, float] = OrderedDict()
        self._proved: OrderedDict[tuple[bytes, str], Proved] = OrderedDict()
        self._nonces: OrderedDict[bytes, None] = OrderedDict()
        self._questions: OrderedDict[bytes, Question] = OrderedDict()

    def __len__(self) -> int:
        """How many other beacons were heard lately."""
        return len(self._heard)

    @property
    def proved(self) -> int:
        """How many addresses are proved."""
        return len(self._proved)

    def repeated(self, nonce: bytes) -> bool:
        """Whether a datagram came before; it has now."""
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes")
        if nonce in self._nonces:
            return True
        self._nonces[nonce] = None
        if len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        return False

    def hear(self, guid: bytes, now: float) -> None:
        """Count a beacon."""
        self._heard[guid] = now
        self._heard.move_to_end(guid)
        if len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)

    def knows(self, guid: bytes, host: str, about: Announcement, now: float) -> bool:
        """Whether a beacon at that host has proved to be just that."""
        proved = self._proved.get((guid, host))
        if proved is None or proved.about != about:
            return False
        proved.heard_at = now
        self._proved.move_to_end((guid, host))
        return True

    def prove(self, guid: bytes, host: str, about: Announcement, round: int, now: float) -> bool:
        """A beacon answered.

        Returns:
            Whether that is news in this round of asking.
        """
        key = (guid, host)
        before = self._proved.get(key)
        news = before is None or before.about != about or before.round < round
        self._proved[key] = Proved(about, now, round)
        self._proved.move_to_end(key)
        if len(self._proved) > MAX_PROVED:
            self._proved.popitem(last=False)
        return news

    def ask(self, token: bytes, to: Address | None, until: float) -> None:
        """Answers to ``token`` will be ours."""
        self._questions[token] = Question(to, until)
        if len(self._questions) > MAX_QUESTIONS:
            self._questions.popitem(last=False)

    def answered(self, token: bytes, address: Address, now: float) -> Question | None:
        """The question that an answer from ``address`` belongs to; ``None`` if nobody asked there, or it is late."""
        question = self._questions.get(token)
        if question is None or now > question.until or question.to not in (None, address):
            return None
        question.answers += 1
        return question if question.answers <= MAX_ANSWERS else None

    def forget(self, before: float, now: float) -> None:
        """Forget who was not heard since ``before``, and questions that nobody can answer any more."""
        for guid in [guid for guid, at in self._heard.items() if at < before]:
            del self._heard[guid]
        for key in [key for key, proved in self._proved.items() if proved.heard_at < before]:
            del self._proved[key]
        for token in [token for token, question in self._questions.items() if now > question.until]:
            del self._questions[token]
