"""Which connection to keep: at most one with each peer, found by identity. Pure; it belongs to the manager thread.

Both ends of every authenticated connection ask their own `PeerTable`. The peer with the **greater** id chooses:

* It keeps the first connection that asks and says so with CHOOSE; it refuses the others as duplicates.
* The other one waits for CHOOSE (or BYE) on each connection, and obeys.

No message travels before the choice, so nothing can be lost on a connection that is not chosen.

A peer that lost a connection which we still believe in (it crashed, or moved to another network) must not be refused as
a duplicate. Each side therefore says three things about itself in every handshake: its `session` (new for each
manager), a `serial` that grows with every connection it registers, and whether it is `alone`, that is, holds no other
connection with us, established or in the making. The one we hold is stale when the session is a later one, or when a
peer that is alone now knew the one we hold before (its serial there is smaller): then it has given that one up, and the
new one replaces it. A delayed handshake has a smaller serial and proves nothing; a connection whose serial we have not
been told yet may not have been known to the peer when it said that it is alone.

Sessions are random, but connections put them in order. When a stream has been established and its handshake is still to
come, the peer is alive in the session that the handshake will name. So of two connections with different sessions the
one that was established later, as seen here (`Candidate.began`), has the later session, however long its handshake took
to get to us.

A direct connection takes the place of a relayed one, which the peer has not given up: it does when it is told of the
choice. A relayed one is a duplicate where there is a direct one.

The same goes for the one who waits. A CHOOSE may be overtaken by that of a connection which the peer chose later,
because it had given the first one up. Then the later one, by its session or by the peer's serial, is kept.
"""

import enum
from collections import Counter
from dataclasses import dataclass, field

from crust.endpoint import Endpoint
from crust.identity import PeerId


class Verdict(enum.Enum):
    """What becomes of a connection that has proved its peer's identity."""

    CHOOSE = "choose"
    """We choose, and we choose this one: say CHOOSE."""
    WAIT = "wait"
    """The peer chooses: wait for its CHOOSE or BYE."""
    DUPLICATE = "duplicate"
    """We are connected to that peer, or about to be."""
    SELF = "self"
    """The peer is ourselves."""
    FULL = "full"
    """There are as many connections as the configuration allows."""
    REFUSED = "refused"
    """The peer is not welcome (blacklist); the table itself never says this."""


@dataclass(slots=True, eq=False)
class Candidate:
    """A connection that proved its peer's identity, from then until its end.

    The table alone changes it.
    """

    peer_id: PeerId
    address: str
    """The peer's IPv4 address or /64 of IPv6, for the bounds on what comes from one."""
    session: bytes
    """The peer's session, from the handshake."""
    began: int = 0
    """When the stream was established, before its handshake, in numbers that grow with each stream of this node."""
    peer_serial: int | None = None
    """The peer's serial of this connection; ``None`` until it said so."""
    peer_alone: bool = False
    serial: int = 0
    """Our own serial of it."""
    alone: bool = False
    """Whether we had no other connection with the peer when it was registered."""
    live: bool = False
    """Whether it was chosen and handed to its threads."""
    endpoint: Endpoint | None = None
    """Where the peer is, for those who look whether it is welcome."""
    relayed: bool = False
    """Whether another peer carries it. Both ends know."""

    def outdoes(self, held: "Candidate") -> bool:
        """Whether it is better, so that it replaces ``held``, which is as good as ever."""
        return held.relayed and not self.relayed


@dataclass(slots=True)
class _Peer:
    chosen: Candidate | None = None
    waiting: set[Candidate] = field(default_factory=set)


class PeerTable:
    """The candidates and connections of a node, by peer.

    The bounds count peers, each once, and also those whose connection is still to be chosen: they have a place already.

    Args:
        own_id: who we are.
        max_connections: in all.
        max_per_address: with one IP address.
    """

    def __init__(self, own_id: PeerId, max_connections: int, max_per_address: int) -> None:
        self._own_id = own_id
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._peers: dict[PeerId, _Peer] = {}
        self._latest_serial = 0
        self._chosen = 0
        # Candidates of a peer at an address, and peers at an address.
        self._places: Counter[tuple[PeerId, str]] = Counter()
        self._per_address: Counter[str] = Counter()

    def register(self, candidate: Candidate) -> tuple[Verdict, Candidate | None]:
        """Ask what becomes of a connection whose peer has just been authenticated.

        Returns:
            The verdict, and the older connection that the new one replaces, if any: the caller ends it once the new one
            is live. With CHOOSE or WAIT the candidate is on the books until `remove`.
        """
        if bytes(candidate.peer_id) == bytes(self._own_id):  # also one that only claims to be
            return Verdict.SELF, None
        peer = self._peers.get(candidate.peer_id, _Peer())
        held = peer.chosen
        self._latest_serial += 1
        candidate.serial = self._latest_serial
        candidate.alone = held is None and not peer.waiting
        peer_chooses = bytes(self._own_id) < bytes(candidate.peer_id)
        if held is not None and not peer_chooses and not (candidate.outdoes(held) or _is_stale(held, candidate)):
            return Verdict.DUPLICATE, None
        if not self._has_place_for(candidate):
            return Verdict.FULL, None
        self._peers[candidate.peer_id] = peer
        self._occupy(candidate)
        if peer_chooses:
            peer.waiting.add(candidate)
            return Verdict.WAIT, None
        self._set_chosen(peer, candidate)
        return Verdict.CHOOSE, held

    def chosen_by_peer(self, candidate: Candidate) -> Candidate | None:
        """The peer chose ``candidate``, which waited; what it replaces, if anything.

        It is `held` from now on, unless the peer has chosen another one since.
        """
        peer = self._peers.get(candidate.peer_id)
        if peer is None or candidate not in peer.waiting:
            return None
        held = peer.chosen
        if held is not None and _was_chosen_before(candidate, held):
            return None
        peer.waiting.discard(candidate)
        self._set_chosen(peer, candidate)
        return held

    def restore(self, candidate: Candidate) -> bool:
        """What was to replace ``candidate`` came to nothing: it is held again, if nothing else is."""
        peer = self._peers.setdefault(candidate.peer_id, _Peer())
        if peer.chosen is not None:
            return False
        self._occupy(candidate)
        self._set_chosen(peer, candidate)
        return True

    def remove(self, candidate: Candidate) -> None:
        """Forget a candidate or connection, whatever became of it. Idempotent."""
        peer = self._peers.get(candidate.peer_id)
        if peer is None:
            return
        if candidate in peer.waiting:
            peer.waiting.discard(candidate)
            self._vacate(candidate)
        elif peer.chosen is candidate:
            peer.chosen = None
            self._chosen -= 1
            self._vacate(candidate)
        if peer.chosen is None and not peer.waiting:
            del self._peers[candidate.peer_id]

    def held(self, peer_id: PeerId) -> Candidate | None:
        """The connection with that peer that was chosen, if there is one."""
        peer = self._peers.get(peer_id)
        return None if peer is None else peer.chosen

    def __len__(self) -> int:
        """How many connections are chosen."""
        return self._chosen

    def _has_place_for(self, candidate: Candidate) -> bool:
        if (candidate.peer_id, candidate.address) in self._places:
            return True
        is_new = candidate.peer_id not in self._peers
        return (
            not (is_new and len(self._peers) >= self._max_connections)
            and self._per_address[candidate.address] < self._max_per_address
        )

    def _set_chosen(self, peer: _Peer, candidate: Candidate) -> None:
        if peer.chosen is None:
            self._chosen += 1
        else:
            self._vacate(peer.chosen)
        peer.chosen = candidate

    def _occupy(self, candidate: Candidate) -> None:
        place = candidate.peer_id, candidate.address
        if place not in self._places:
            self._per_address[candidate.address] += 1
        self._places[place] += 1

    def _vacate(self, candidate: Candidate) -> None:
        place = candidate.peer_id, candidate.address
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]
            self._per_address[candidate.address] -= 1
            if not self._per_address[candidate.address]:
                del self._per_address[candidate.address]


def _is_stale(held: Candidate, new: Candidate) -> bool:
    """Whether the peer has given up the connection that we hold, judged by what it said in the new one's handshake."""
    if new.session != held.session:
        return new.began >= held.began
    return (
        new.peer_alone
        and new.peer_serial is not None
        and held.peer_serial is not None
        and held.peer_serial < new.peer_serial
    )


def _was_chosen_before(new: Candidate, held: Candidate) -> bool:
    """Whether the peer, which has told us both serials, chose ``new`` before ``held``; it chooses in their order."""
    if new.session != held.session:
        return new.began < held.began
    return (new.peer_serial or 0) < (held.peer_serial or 0)
