"""The peers that ``crust peer`` knows, and how a user names them: by number, id or address. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crust.endpoint import Endpoint
from crust.errors import EndpointError
from crust.identity import PeerId

MIN_ID_DIGITS: Final = 4
"""Fewer hexadecimal digits than this do not select a peer: they are more likely a mistyped number."""
MAX_GONE: Final = 1000
"""Peers remembered after they have gone. A stranger with ever new identities must not fill the memory."""
_HEX: Final = frozenset("0123456789abcdef")


class UnknownPeer(LookupError):
    """No connected peer, or more than one, has that name; the message says what to type."""


@dataclass(slots=True)
class Peer:
    """A peer and its number. The number belongs to the identity: whoever reconnects has the one from before."""

    index: int
    peer_id: PeerId
    endpoint: Endpoint
    connected: bool = True

    def __str__(self) -> str:
        return f"peer {self.index}"


class PeerTable:
    """Who is connected. Numbers start at 1 and are never given to another peer. Not thread-safe: guard it."""

    def __init__(self) -> None:
        self._by_id: dict[PeerId, Peer] = {}  # in the order in which they last came or went
        self._by_endpoint: dict[Endpoint, Peer] = {}
        self._next_index = 1

    def __len__(self) -> int:
        """How many are connected."""
        return len(self._by_endpoint)

    def __iter__(self) -> Iterator[Peer]:
        """The connected peers, by number."""
        return iter(sorted(self._by_endpoint.values(), key=lambda peer: peer.index))

    def at(self, endpoint: Endpoint) -> Peer | None:
        """The connected peer of that endpoint."""
        return self._by_endpoint.get(endpoint)

    def of(self, peer_id: PeerId) -> Peer | None:
        """The peer with that id, if it is connected."""
        peer = self._by_id.get(peer_id)
        return peer if peer is not None and peer.connected else None

    def ids(self) -> list[PeerId]:
        """Of all that are or were connected, as far as they are remembered."""
        return list(self._by_id)

    def items(self) -> list[tuple[PeerId, Peer]]:
        """All that are or were connected, as far as they are remembered, by their ids."""
        return list(self._by_id.items())

    def remembered(self, text: str) -> Peer | None:
        """The peer with that number, or whose id alone begins with these digits, be it connected or gone."""
        number = text.removeprefix("#")
        if number.isascii() and number.isdigit():
            for peer in self._by_id.values():
                if str(peer.index) == number:
                    return peer
        digits = text.lower()
        begun = [peer for peer in self._by_id.values() if peer.peer_id.proven and peer.peer_id.hex().startswith(digits)]
        return begun[0] if len(begun) == 1 and len(digits) >= MIN_ID_DIGITS else None

    def connected(self, endpoint: Endpoint, peer_id: PeerId) -> Peer:
        """A connection was made: the peer, with its number of old if it had one."""
        peer = self._by_id.pop(peer_id, None)
        if peer is None:
            peer = Peer(self._next_index, peer_id, endpoint)
            self._next_index += 1
        else:
            self._by_endpoint.pop(peer.endpoint, None)
            peer.endpoint, peer.connected = endpoint, True
        self._by_id[peer_id] = peer
        self._by_endpoint[endpoint] = peer
        return peer

    def lost(self, endpoint: Endpoint) -> Peer | None:
        """The connection is over: its peer, or ``None`` if a newer connection has taken its place."""
        peer = self._by_endpoint.pop(endpoint, None)
        if peer is not None:
            peer.connected = False
            self._by_id[peer.peer_id] = self._by_id.pop(peer.peer_id)
            self._forget_oldest()
        return peer

    def _forget_oldest(self) -> None:
        if len(self._by_id) - len(self._by_endpoint) > MAX_GONE:
            del self._by_id[next(peer_id for peer_id, peer in self._by_id.items() if not peer.connected)]

    def select(self, text: str) -> Peer:
        """The connected peer that the user means.

        Args:
            text: its number (``2`` or ``#2``), the first digits of its id, or its address.

        Raises:
            UnknownPeer: none or several are meant, or it has gone.
        """
        number = text.removeprefix("#")
        if number.isascii() and number.isdigit() and (found := self._of_index(int(number))):
            return found
        if set(text.lower()) <= _HEX:
            return self._of_id(text.lower())
        return self._of_endpoint(text)

    def _of_index(self, index: int) -> Peer | None:
        peer = next((peer for peer in self._by_id.values() if peer.index == index), None)
        if peer is not None and not peer.connected:
            raise UnknownPeer(f"{peer} is no longer connected; back with: connect {peer.endpoint}")
        return peer

    def _of_id(self, digits: str) -> Peer:
        if len(digits) < MIN_ID_DIGITS:
            raise UnknownPeer(f"there is no peer {digits}; list shows the peers")
        # Not who only claims an id: what is meant for somebody must not go to whoever says to be them.
        found = [peer for peer in self if peer.peer_id.proven and peer.peer_id.hex().startswith(digits)]
        if len(found) > 1:
            raise UnknownPeer(f"{digits} could be any of {', '.join(map(str, found))}; give more digits or the number")
        if not found:
            raise UnknownPeer(f"no connected peer has an id that begins with {digits}; list shows the peers")
        return found[0]

    def _of_endpoint(self, text: str) -> Peer:
        try:
            endpoint = Endpoint.parse(text)
        except EndpointError:
            raise UnknownPeer(f"{text!r} is no peer's number, id or address; list shows the peers") from None
        peer = self._by_endpoint.get(endpoint)
        if peer is None:
            raise UnknownPeer(f"no connection to {endpoint}; connect to it first, or see list")
        return peer
