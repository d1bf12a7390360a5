"""`Crowd`: connections whose handshake is not done, and who of them has to go when there are too many."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from crust.threads.clock import now

STRANGER_ALLOWANCE: Final = 0.1
"""Seconds that an honest peer may need to say its first word, and we to read it, before a place is worth more to
somebody else."""
KNOWN_ALLOWANCE: Final = 0.5
"""The same where a peer has proved itself before: whoever comes from there is likely to be honest, and goes after the
strangers."""
MEMBER_ALLOWANCE: Final = 1.0
"""The same from when a peer has proved to be of our network until the end of the handshake: a round trip of the
network. If it dialled and has the greater id it may be sending already, so it is thrown out last."""

One = TypeVar("One")


class Crowd(Generic[One]):
    """See the module's text: whoever is overdue for longest goes first. Not safe for threads: its owner locks."""

    def __init__(self) -> None:
        # When each is due. All are in this order, because all of one kind are allowed the same time.
        self._strangers: OrderedDict[One, float] = OrderedDict()
        self._known: OrderedDict[One, float] = OrderedDict()
        self._members: OrderedDict[One, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known) + len(self._members)

    def __iter__(self) -> Iterator[One]:
        yield from self._strangers
        yield from self._known
        yield from self._members

    def add(self, stranger: One, known: bool = False) -> None:
        """Somebody new; ``known`` if a peer has proved itself before where they come from."""
        if known:
            self._known[stranger] = now() + KNOWN_ALLOWANCE
        else:
            self._strangers[stranger] = now() + STRANGER_ALLOWANCE

    def prove(self, member: One) -> None:
        """A stranger has proved to be of our network; one who is not here does not come in by that."""
        if self._strangers.pop(member, None) is not None or self._known.pop(member, None) is not None:
            self._members[member] = now() + MEMBER_ALLOWANCE

    def discard(self, one: One) -> None:
        """Somebody is done, or has to go. Idempotent."""
        self._strangers.pop(one, None)
        self._known.pop(one, None)
        self._members.pop(one, None)

    def most_overdue(self) -> One | None:
        """Who has to go first; ``None`` when nobody is here."""
        first = [next(iter(kind.items())) for kind in (self._strangers, self._known, self._members) if kind]
        return min(first, key=lambda one_and_due: one_and_due[1])[0] if first else None
