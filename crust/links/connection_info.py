"""`ConnectionInfo`: what the user is told of one connection."""

from dataclasses import dataclass

from crust.endpoint import Endpoint
from crust.identity import PeerId
from crust.transport.utp import UtpStats


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
