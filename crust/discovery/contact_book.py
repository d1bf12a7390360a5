"""Whom `bootstrap()` could try: contacts of every source, merged, with what came of them (docs/discovery.md). Pure.

A `ContactBook` remembers; `Turns` says who is next in a round.
"""

import enum
import math
import random
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.identity import PeerId

BOOK_CAPACITY: Final = 4096
"""Contacts known at a time; those that the user gave are taken in any case."""
BOOK_ENDPOINTS: Final = 8
"""Endpoints of one contact: as many as a contact record has."""
LONGER_PAUSES: Final = 10.0
"""Times ``bootstrap_backoff_max`` that the pauses of a contact which nobody configured can grow to: most of those that
failed so often are gone for good."""
_OURS: Final = "that is this node itself"
_JITTER: Final = (0.5, 0.75)  # of a pause: always below that of a round, so a round does not miss who is due with it


class Promise(enum.IntEnum):
    """How likely a contact is to answer; the best first."""

    HERE = 0
    """It has just answered on the LAN."""
    RECENT = 1
    """It is among those of the cache that worked most recently."""
    TOLD = 2
    """A peer told us of it."""
    GIVEN = 3
    """The configuration or the program lists it."""
    OLDER = 4
    """It worked before, as the cache says."""
    FAILED = 5
    """It is in the cache and failed when it was tried last."""


TAKING_TURNS: Final = (Promise.RECENT, Promise.TOLD, Promise.GIVEN)
"""Classes of which none can keep another waiting: a cache full of the dead does not delay a configured contact."""


@dataclass(slots=True, eq=False)
class Entry:
    """A contact, and what came of it."""

    endpoints: tuple[Endpoint, ...]
    peer_id: PeerId | None
    source: Source
    promise: Promise
    tries: int = 0
    failures: int = 0
    """In a row."""
    not_before: float = -math.inf
    """When it may be tried again."""
    tried_at: float | None = None
    """Seconds since 1970 when it was tried last."""
    result: str = "not tried yet"
    ours: bool = False
    """Whether it turned out to be this node."""
    answered: PeerId | None = None
    """Who answered when it was dialled last, where nobody had said who should."""

    def __str__(self) -> str:
        return " ".join(map(str, self.endpoints))


class ContactBook:
    """See the module's text. Belongs to one thread; ``now`` is seconds on a clock that never jumps.

    Args:
        shortest: seconds until a contact that failed is tried again; doubled for each further failure.
        longest: the most, for contacts that the user gave; others may have to wait `LONGER_PAUSES` times that.
        random: the source of chance.
    """

    def __init__(self, shortest: float, longest: float, random: random.Random) -> None:
        self._shortest = shortest
        self._longest = longest
        self._random = random
        self._entries: dict[object, Entry] = {}
        self.own: Collection[Endpoint] = ()
        """Endpoints of this node: never tried."""

    def __len__(self) -> int:
        """How many could be tried, now or later."""
        return sum(1 for entry in self._entries.values() if self.usable(entry))

    def entries(self) -> list[Entry]:
        """All, the most promising first."""
        return sorted(self._entries.values(), key=lambda entry: entry.promise)

    def for_people(self) -> list[Entry]:
        """Copies of all, the most promising first. Contacts that turned out to be one node are one here, with what came
        of the latest try. They stay two elsewhere: another node may be where this one was."""
        found: dict[object, Entry] = {}
        for entry in self.entries():
            peer_id = entry.peer_id or entry.answered
            who = peer_id or entry
            pair = sorted((entry, *filter(None, [found.get(who)])), key=lambda each: each.tried_at or 0.0)
            endpoints = dict.fromkeys(endpoint for each in reversed(pair) for endpoint in each.endpoints)
            tries = sum(each.tries for each in pair)
            found[who] = replace(pair[-1], endpoints=tuple(endpoints), peer_id=peer_id, tries=tries)
        return list(found.values())

    def usable(self, entry: Entry) -> tuple[Endpoint, ...]:
        """The endpoints of a contact that are not our own."""
        return () if entry.ours else tuple(each for each in entry.endpoints if each not in self.own)

    def add(self, contact: Contact, promise: Promise) -> Entry | None:
        """Learn of a contact, or learn something new of a known one, which may then be tried at once.

        Returns:
            its entry; ``None`` if there is no room for it.
        """
        key = _key(contact)
        known = self._entries.get(key)
        if known is None:
            if promise is not Promise.GIVEN and len(self._entries) >= BOOK_CAPACITY and not self._make_room():
                return None
            endpoints = contact.endpoints[:BOOK_ENDPOINTS]
            known = self._entries[key] = Entry(endpoints, contact.peer_id, contact.source, promise)
            return known
        if set(contact.endpoints) - set(known.endpoints):
            merged = dict.fromkeys((*contact.endpoints, *known.endpoints))
            known.endpoints = tuple(merged)[:BOOK_ENDPOINTS]
            forgive(known)
        if promise < known.promise:
            known.promise, known.source = promise, contact.source
        return known

    def _make_room(self) -> bool:
        """Forget the contact that failed most often; whether there is one."""
        candidates = (pair for pair in self._entries.items() if pair[1].failures and pair[1].promise != Promise.GIVEN)
        worst = max(candidates, key=lambda pair: pair[1].failures, default=None)
        if worst is not None:
            del self._entries[worst[0]]
        return worst is not None

    def due(self, now: float) -> list[Entry]:
        """Those that may be tried now."""
        return [entry for entry in self._entries.values() if now >= entry.not_before and self.usable(entry)]

    def trying(self, entry: Entry, wall: float) -> None:
        """It is being tried."""
        entry.tries += 1
        entry.tried_at = wall
        if entry.tries == 1:  # later, what came of the last try says more
            entry.result = "being tried"

    def connected(self, entry: Entry, text: str = "connected") -> None:
        """It answered, or is connected anyway."""
        forgive(entry)
        entry.result = text

    def failed(self, entry: Entry, reason: str, now: float) -> None:
        """It did not answer."""
        entry.failures += 1
        entry.result = reason
        longest = self._longest if entry.promise is Promise.GIVEN else LONGER_PAUSES * self._longest
        pause = min(longest, self._shortest * 2.0 ** min(entry.failures - 1, 32))
        entry.not_before = now + pause * self._random.uniform(*_JITTER)

    def forgive_all(self) -> None:
        """What failed before says nothing: the network may be another one now."""
        for entry in self._entries.values():
            forgive(entry)

    def is_us(self, endpoints: Iterable[Endpoint]) -> None:
        """These turned out to lead to this node itself."""
        wanted = set(endpoints)
        for entry in self._entries.values():
            entry.ours = entry.ours or not wanted.isdisjoint(entry.endpoints)

    def newly_ours(self) -> list[Entry]:
        """Those that are never tried because they lead to this node; each once."""
        found = [entry for entry in self._entries.values() if entry.result != _OURS and not self.usable(entry)]
        for entry in found:
            entry.result = _OURS
        return found

    def answered(self, endpoints: Iterable[Endpoint], peer_id: PeerId) -> None:
        """One of these was dialled, and that node proved to be there."""
        for endpoint in endpoints:
            entry = self._entries.get(_place(endpoint))
            if entry is not None and entry.peer_id is None:
                entry.answered = peer_id

    def source_of(self, endpoint: Endpoint, peer_id: PeerId) -> Source:
        """Who told us of an endpoint that has just worked."""
        for key in (peer_id, _place(endpoint)):
            entry = self._entries.get(key)
            if entry is not None and endpoint in entry.endpoints:
                return entry.source
        return Source.CONNECTED


def forgive(entry: Entry) -> None:
    """It may be tried at once."""
    entry.failures = 0
    entry.not_before = -math.inf


def _key(contact: Contact) -> object:
    # Not by endpoint where there is a peer id: anybody can sign a record with the endpoints of others.
    return contact.peer_id or _place(contact.endpoints[0])


def _place(endpoint: Endpoint) -> tuple[str, int]:
    """TCP and uTP of one host and port are one node, as far as one can tell."""
    return endpoint.host, endpoint.port


def given(endpoints: Iterable[Endpoint], source: Source) -> list[Contact]:
    """Contacts of endpoints that the user lists; those with the same host and port are taken for one node."""
    nodes: dict[tuple[str, int], list[Endpoint]] = {}
    for endpoint in endpoints:
        nodes.setdefault(_place(endpoint), []).append(endpoint)
    return [Contact(tuple(found), None, source) for found in nodes.values()]


class Turns:
    """Who waits to be tried in a round: by promise, `TAKING_TURNS` in turn, and by chance within a class, so that
    nobody's first contact is overrun."""

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._waiting: dict[Promise, deque[Entry]] = {promise: deque() for promise in Promise}
        self._turn = deque(TAKING_TURNS)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, entry: Entry) -> bool:
        return any(entry in waiting for waiting in self._waiting.values())

    def put(self, entry: Entry) -> None:
        """It waits now."""
        waiting = self._waiting[entry.promise]
        waiting.insert(self._random.randint(0, len(waiting)), entry)

    def take(self) -> Entry | None:
        """The next; ``None`` if nobody waits."""
        self._turn.rotate(-1)
        for promise in (Promise.HERE, *self._turn, Promise.OLDER, Promise.FAILED):
            if self._waiting[promise]:
                return self._waiting[promise].popleft()
        return None

    def clear(self) -> None:
        """Nobody waits any more."""
        for waiting in self._waiting.values():
            waiting.clear()
