"""Which known nodes to dial so that there are enough connections (docs/discovery.md, "Gossip"). Pure.

A node with fewer connections than wanted dials some of those that it knows: by chance, so that a well-known node is not
run over, but first those in parts of the network where it has no connection yet, so that one office or one provider
does not make up all of its neighbours. A node that did not answer is left alone for a time that doubles.
"""

import ipaddress
import random
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from crust.discovery.contact import Contact
from crust.endpoint import Endpoint
from crust.identity import PeerId

MAX_AT_ONCE: Final = 12
"""Nodes dialled at a time: fewer than bootstrap's 15, as this goes on in the background."""
PATIENCE: Final = 1.5
"""Seconds after which a dial no longer stands in the way of another one: an answer seldom takes so long, and a dead
node takes ten."""
SPARE: Final = 1
"""Nodes dialled at a time beyond what is missing, so that one dead one costs no time at all."""
MAX_CANDIDATES: Final = 64
"""Nodes among which those to dial are chosen: enough to find different neighbourhoods, and soon looked through."""
BACKOFF_MIN: Final = 5.0
"""Seconds until a node that did not answer is dialled again; doubled for each further time, with a quarter of jitter
each way."""
BACKOFF_MAX: Final = 1800.0
SHORT_LIFE: Final = 10.0
"""Seconds. A node with which connections end within so short a time, again and again, is left alone like one that does
not answer: nodes that share an identity would replace each other for ever."""
MAX_REMEMBERED: Final = 4096
"""Nodes whose failures are remembered; those that failed the longest ago are forgotten."""
REPORT_TIMEOUT: Final = 60.0
"""Seconds after which a dial counts as failed if nobody said how it ended: nothing hangs on a report that got lost."""


@dataclass(slots=True)
class _Failures:
    count: int
    not_before: float


class TargetConnections:
    """See the module's text. Belongs to one thread; ``now`` is seconds on a clock that never jumps.

    Args:
        target: connections wanted; 0 for none, then nothing is ever dialled.
        random: the source of chance.
        max_at_once: nodes dialled at a time.
    """

    def __init__(self, target: int, random: random.Random, max_at_once: int = MAX_AT_ONCE) -> None:
        self.target = target
        self._random = random
        self._max_at_once = max_at_once
        self._dialling: dict[PeerId, float] = {}
        self._failures: OrderedDict[PeerId, _Failures] = OrderedDict()
        self._since: dict[PeerId, float] = {}  # of those that are connected
        self._short_lives: OrderedDict[PeerId, int] = OrderedDict()  # in a row

    @property
    def dialling(self) -> frozenset[PeerId]:
        """Nodes that `plan` gave and whose dial has not ended."""
        return frozenset(self._dialling)

    def plan(
        self, connected: Collection[PeerId], near: Iterable[Endpoint], contacts: Iterable[Contact], now: float
    ) -> list[Contact]:
        """Whom to dial now; call it when there is something new, and at `next_timer`.

        For each that it gives, call `ended` once.

        Args:
            connected: all peers that there are connections with.
            near: the endpoints of these connections.
            contacts: nodes that are known, the most promising first or in an order of chance, without ourselves and
                those that must not be dialled. Those without a peer id are passed over: `bootstrap()` dials them.
            now: see the class.
        """
        for peer in [peer for peer, since in self._dialling.items() if now - since >= REPORT_TIMEOUT]:
            self.ended(peer, False, now)
        missing = self.target - len(connected)
        hopeful = sum(1 for since in self._dialling.values() if now - since < PATIENCE)
        count = min(missing + SPARE - hopeful, self._max_at_once - len(self._dialling))
        if missing <= 0 or count <= 0:
            return []
        candidates = (
            (contact, contact.peer_id)
            for contact in contacts
            if contact.peer_id is not None and contact.peer_id not in connected and self._may_dial(contact.peer_id, now)
        )
        chosen: list[Contact] = []
        for contact, peer in self._spread(list(islice(candidates, MAX_CANDIDATES)), near, count):
            self._dialling[peer] = now
            chosen.append(contact)
        return chosen

    def ended(self, peer: PeerId, success: bool, now: float) -> None:
        """A dial that `plan` asked for has ended; a connection that the peer made counts as success too."""
        self._dialling.pop(peer, None)
        before = self._failures.pop(peer, None)
        if success:
            return
        self._leave_alone(peer, before.count + 1 if before else 1, now)

    def came(self, peer: PeerId, now: float) -> None:
        """There is a connection with it, whoever made it."""
        self.ended(peer, True, now)
        self._since[peer] = now

    def lost(self, peer: PeerId, now: float) -> None:
        """That connection is over."""
        lived = now - self._since.pop(peer, now)
        before = self._short_lives.pop(peer, 0)
        if lived < SHORT_LIFE:
            self._short_lives[peer] = before + 1
            if before:  # once may be chance
                self._leave_alone(peer, before, now)
        while len(self._short_lives) > MAX_REMEMBERED:
            self._short_lives.popitem(last=False)

    def _leave_alone(self, peer: PeerId, count: int, now: float) -> None:
        """For a time that doubles with ``count``, from 1."""
        count = min(count, 32)
        pause = min(BACKOFF_MIN * 2 ** (count - 1), BACKOFF_MAX) * self._random.uniform(0.75, 1.25)
        self._failures[peer] = _Failures(count, now + pause)
        while len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def forgive(self, peer: PeerId) -> None:
        """The node can be reached elsewhere now: what failed before says nothing."""
        self._failures.pop(peer, None)

    def next_timer(self, connected: int, now: float) -> float | None:
        """When `plan` may have more to say without anything new: when somebody may be dialled again.

        Args:
            connected: how many connections there are.
            now: see the class.
        """
        if connected >= self.target:
            return None
        again = [each.not_before for each in self._failures.values() if each.not_before > now]
        over = [since + limit for since in self._dialling.values() for limit in (PATIENCE, REPORT_TIMEOUT)]
        return min([*again, *(each for each in over if each > now)], default=None)

    def _may_dial(self, peer: PeerId, now: float) -> bool:
        failures = self._failures.get(peer)
        return peer not in self._dialling and (failures is None or now >= failures.not_before)

    def _spread(
        self, candidates: list[tuple[Contact, PeerId]], near: Iterable[Endpoint], count: int
    ) -> list[tuple[Contact, PeerId]]:
        """``count`` of the candidates, those in the emptiest parts of the network first."""
        self._random.shuffle(candidates)
        crowd = Counter(neighbourhood(endpoint) for endpoint in near)
        chosen: list[tuple[Contact, PeerId]] = []
        places = [(neighbourhood(contact.endpoints[0]), contact, peer) for contact, peer in candidates]
        while places and len(chosen) < count:
            best = min(range(len(places)), key=lambda n: (crowd[places[n][0]], self._failed(places[n][2])))
            place, contact, peer = places.pop(best)
            crowd[place] += 1
            chosen.append((contact, peer))
        return chosen

    def _failed(self, peer: PeerId) -> int:
        failures = self._failures.get(peer)
        return failures.count if failures else 0


def neighbourhood(endpoint: Endpoint) -> tuple[int, bytes]:
    """What tells parts of the internet apart, roughly as they belong to different people: the first 16 bits of an IPv4
    address, the first 32 of an IPv6 address."""
    if endpoint.is_name:
        return 0, endpoint.host.encode()
    address = ipaddress.ip_address(endpoint.host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.version, address.packed[:2] if address.version == 4 else address.packed[:4]
