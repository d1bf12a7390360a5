"""What a connection tells: to the manager thread, as notices, and to the user (`ConnectionInfo`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crust.defence.metering import Alert
from crust.endpoint import Endpoint
from crust.identity import PeerId
from crust.transport.relay.notes import Note
from crust.transport.utp import UtpStats

if TYPE_CHECKING:
    from crust.links.connection import Connection


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What ``connections()`` tells of one connection."""

    endpoint: Endpoint
    peer_id: PeerId
    messages_sent: int
    messages_received: int
    bytes_sent: int
    """On the network, encryption included."""
    bytes_received: int
    """On the network, encryption included."""
    waiting_bytes: int
    """Queued by ``send()`` and not yet handed to the network."""
    rtt: float | None
    """Seconds that the latest question took to be answered; measured at the start and by keep-alives."""
    since: float
    """When it was established, in seconds since the epoch as ``time.time()`` counts them."""
    records_received: int = 0
    """Records that were decrypted."""
    controls_received: int = 0
    """Control frames: keep-alive, the choice, gossip."""
    utp: UtpStats | None = None
    """What uTP counts: packets, retransmissions, window, delay; ``None`` over TCP."""

    @property
    def relayed(self) -> bool:
        """Whether another peer carries the connection; the endpoint's host is that peer's."""
        return self.endpoint.is_relayed


@dataclass(slots=True, eq=False)
class ReaderEnded:
    """The reader thread has read its last; everything before it is in the inbox already."""

    connection: "Connection"
    reason: str
    goodbye: bool
    refused: bool = False
    """Whether the goodbye was the peer's answer to being chosen."""
    misbehaved: bool = False
    """Whether the peer broke the protocol; `reason` says how."""


@dataclass(slots=True, eq=False)
class WriterEnded:
    """The writer thread has written its last."""

    connection: "Connection"
    error: str | None


@dataclass(slots=True, eq=False)
class PeerSaid:
    """A control frame about the choice, which the connection itself has no answer for."""

    connection: "Connection"
    kind: int
    serial: int


@dataclass(slots=True, eq=False)
class Gossiped:
    """A CONTACTS frame came. Who takes it says so by `Connection.contacts_taken`."""

    connection: "Connection"
    content: dict[str, Any]


@dataclass(slots=True, eq=False)
class Told:
    """A frame about addresses or meetings came. Who takes it says so by `Connection.told_taken`."""

    connection: "Connection"
    kind: int
    content: dict[str, Any]


@dataclass(slots=True, eq=False)
class RelaySaid:
    """A RELAY frame came. Who takes it says so by `Connection.told_taken`."""

    connection: "Connection"
    note: Note


@dataclass(slots=True, eq=False)
class Flooded:
    """The peer sends more than it may, and is slowed down."""

    connection: "Connection"
    alert: Alert


def goodbye_text(content: dict[str, Any]) -> str:
    """What a BYE says, fit for a log: it comes from a stranger."""
    text = content.get("text")
    if not isinstance(text, str):
        return "the peer closed the connection"
    return "".join(char if char.isprintable() else "?" for char in text[:200])
