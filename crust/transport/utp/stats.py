"""`UtpStats`: what one connection counts."""

from typing import NamedTuple


class UtpStats(NamedTuple):
    """Figures of one connection at one moment. Bytes are of payload, times are seconds."""

    bytes_sent: int
    bytes_received: int
    packets_sent: int
    packets_received: int
    retransmissions: int
    duplicates: int
    """Packets that had come before."""
    losses: int
    """Times that a loss made the window smaller."""
    timeouts: int
    """Time-outs in a row, just now."""
    round_trip: float | None
    window: int
    """Bytes that may be on their way: the congestion window."""
    peer_window: int
    in_flight: int
    queueing_delay: float
    """What our packets wait on their way, as LEDBAT sees it."""
    mtu: int
    """Bytes of UDP payload of a full packet."""
