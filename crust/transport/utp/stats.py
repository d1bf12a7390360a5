"""`UtpStats`: what one connection counts."""

from typing import NamedTuple

from crust.transport.utp.receiver import Receiver
from crust.transport.utp.sender import Sender


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


def stats_of(sender: Sender, receiver: Receiver, packets_sent: int) -> UtpStats:
    """The figures of a connection from its two halves."""
    return UtpStats(
        sender.bytes_sent,
        receiver.bytes,
        packets_sent,
        receiver.packets,
        sender.retransmissions,
        receiver.duplicates,
        sender.losses,
        sender.timeouts,
        sender.round_trip.smoothed,
        int(sender.congestion.window),
        sender.peer_window,
        sender.buffer.in_flight,
        sender.delay.queueing,
        sender.mtu.size,
    )
