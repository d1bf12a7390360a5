"""`Places`: who may be in the middle of a handshake, in all, from one address, and from one neighbourhood."""

import threading
from typing import Final, Generic, Protocol, TypeVar

from crust.defence.crowd import Crowd

SLOWED_SHARE: Final = 8
"""Where more connections are begun than may be, this share of ``max_half_open_per_address`` is left. (A neighbourhood,
a /24 of IPv4 or /64 of IPv6, has half of ``max_half_open``.)"""


class Guest(Protocol):
    """What takes a place."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Whose places it takes beside one of all: those of its address, and those of its neighbourhood."""


One = TypeVar("One", bound=Guest)


class Places(Generic[One]):
    """See the module's text. All methods are for any thread.

    Args:
        most: places in all; half of them for one neighbourhood.
        most_here: places for one address.
    """

    def __init__(self, most: int, most_here: int) -> None:
        self._most = most
        self._most_here = most_here
        self._lock = threading.Lock()
        self._all: Crowd[One] = Crowd()
        self._groups: dict[str, Crowd[One]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def everybody(self) -> list[One]:
        """All who have a place."""
        with self._lock:
            return list(self._all)

    def enter(self, new: One, known: bool, slowed: bool) -> One | None:
        """Give ``new`` a place.

        Args:
            new: a stranger.
            known: whether a peer has proved itself before where it comes from.
            slowed: whether too many have come from there.

        Returns:
            who has lost theirs for it: the most overdue of its address, of its neighbourhood or of all.
        """
        here = max(self._most_here // SLOWED_SHARE, 1) if slowed else self._most_here
        with self._lock:
            leaving = self._most_overdue(new, here)
            if leaving is not None:
                self._remove(leaving)
            self._all.add(new, known)
            for name in new.groups:
                self._groups.setdefault(name, Crowd()).add(new, known)
        return leaving

    def _most_overdue(self, new: One, here: int) -> One | None:
        for name, most in zip(new.groups, (here, max(self._most // 2, here)), strict=False):
            group = self._groups.get(name)
            if group is not None and len(group) >= most:
                return group.most_overdue()
        return self._all.most_overdue() if len(self._all) >= self._most else None

    def take_most_overdue(self) -> One | None:
        """The one who has to go first loses its place; ``None`` when nobody is here."""
        with self._lock:
            one = self._all.most_overdue()
            if one is not None:
                self._remove(one)
            return one

    def prove(self, member: One) -> None:
        """It is of our network, so that it is thrown out last; nothing happens if it has no place any more."""
        with self._lock:
            self._all.prove(member)
            for name in member.groups:
                if name in self._groups:
                    self._groups[name].prove(member)

    def leave(self, one: One) -> None:
        """Its place is free. Idempotent."""
        with self._lock:
            self._remove(one)

    def _remove(self, one: One) -> None:
        self._all.discard(one)
        for name in one.groups:
            group = self._groups.get(name)
            if group is not None:
                group.discard(one)
                if not group:
                    del self._groups[name]
