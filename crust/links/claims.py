"""Proven and unproven identities side by side: what a `PeerTable` decides, for both kinds of connections. Pure.

On tracer connections a peer only claims its identity. Whoever reaches us there could claim anybody's. So claims are
kept in a table of their own, with few places of their own, and proof always goes before a claim:

* With a peer that has proved itself on a connection that was chosen, a claim to be that peer is a duplicate, whichever
  side has the greater id.
* A peer that proves itself replaces a connection whose peer only claimed to be it.
* Nothing that is claimed changes any verdict about a connection whose peer is proven: whether it is `alone`, whether it
  is a duplicate or stale, whether there is a place for it.

Among honest nodes both ends of a connection know whether its transport proves identities, so both come to the same end:
one connection, and the proven one if there are both.
"""

from typing import Final

from crust.identity import PeerId, UnprovenPeerId
from crust.links.peers import Candidate, PeerTable, Verdict

MAX_UNPROVEN: Final = 64
"""Connections with peers that prove nothing: enough to watch a small network. They take no place from others."""
MAX_UNPROVEN_PER_ADDRESS: Final = 16
"""The same for one IP address; at most as many as ``max_connections_per_address``."""


class PeerTables:
    """The connections of a node by peer; see `crust.links.peers.PeerTable`, whose methods these are.

    Args:
        own_id: who we are.
        max_connections: in all, of peers that are proven.
        max_per_address: of those, with one IP address.
    """

    def __init__(self, own_id: PeerId, max_connections: int, max_per_address: int) -> None:
        self._proven = PeerTable(own_id, max_connections, max_per_address)
        self._claimed = PeerTable(
            own_id, min(MAX_UNPROVEN, max_connections), min(MAX_UNPROVEN_PER_ADDRESS, max_per_address)
        )

    def register(self, candidate: Candidate) -> tuple[Verdict, Candidate | None]:
        """Ask what becomes of a connection whose peer has just told, or proved, who it is.

        Returns:
            The verdict, and the older connection that the new one replaces, if any.
        """
        if not candidate.peer_id.proven:
            if self._proven.held(PeerId(bytes(candidate.peer_id))) is not None:
                return Verdict.DUPLICATE, None
            return self._claimed.register(candidate)
        verdict, replaced = self._proven.register(candidate)
        if verdict is Verdict.CHOOSE and replaced is None:
            replaced = self._claim_of(candidate)
        return verdict, replaced

    def chosen_by_peer(self, candidate: Candidate) -> Candidate | None:
        """The peer chose ``candidate``, which waited; what it replaces, if anything.

        A claim that was chosen is `held` from now on only if the peer has not proved itself meanwhile.
        """
        if not candidate.peer_id.proven:
            if self._proven.held(PeerId(bytes(candidate.peer_id))) is not None:
                return None
            return self._claimed.chosen_by_peer(candidate)
        older = self._proven.chosen_by_peer(candidate)
        if older is None and self._proven.held(candidate.peer_id) is candidate:
            older = self._claim_of(candidate)
        return older

    def _claim_of(self, candidate: Candidate) -> Candidate | None:
        return self._claimed.held(UnprovenPeerId(bytes(candidate.peer_id)))

    def restore(self, candidate: Candidate) -> bool:
        """What was to replace ``candidate`` came to nothing: it is held again, if nothing else is."""
        return self._of(candidate.peer_id).restore(candidate)

    def remove(self, candidate: Candidate) -> None:
        """Forget a candidate or connection, whatever became of it. Idempotent."""
        self._of(candidate.peer_id).remove(candidate)

    def held(self, peer_id: PeerId) -> Candidate | None:
        """The connection with that peer that was chosen, if there is one; one kind does not stand for the other."""
        return self._of(peer_id).held(peer_id)

    def _of(self, peer_id: PeerId) -> PeerTable:
        return self._proven if peer_id.proven else self._claimed

    def __len__(self) -> int:
        """How many connections are chosen."""
        return len(self._proven) + len(self._claimed)
