"""Figures come from where they are counted, each under its own name."""

from crust.transport.utp.packet import Packet, PacketType
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.receiver import Receiver
from crust.transport.utp.sender import Sender
from crust.transport.utp.stats import UtpStats, stats_of


def test_each_figure_is_the_one_that_its_name_says() -> None:
    sender, receiver = Sender(1, PathMtu(548, 1472), 1 << 20), Receiver(50_000)
    assert stats_of(sender, receiver, 0).round_trip is None
    sender.bytes_sent, sender.retransmissions, sender.losses, sender.timeouts = 1, 2, 3, 4
    sender.peer_window, sender.buffer.in_flight = 5, 6
    sender.congestion.window = 7777.7
    sender.delay.queueing = 0.25
    sender.round_trip.sample(0.5, 1.0)
    receiver.bytes, receiver.packets, receiver.duplicates = 8, 9, 10
    assert stats_of(sender, receiver, 11) == UtpStats(
        bytes_sent=1,
        bytes_received=8,
        packets_sent=11,
        packets_received=9,
        retransmissions=2,
        duplicates=10,
        losses=3,
        timeouts=4,
        round_trip=0.5,
        window=7777,
        peer_window=5,
        in_flight=6,
        queueing_delay=0.25,
        mtu=548,
    )


def test_the_receiver_counts_what_came() -> None:
    sender, receiver = Sender(1, PathMtu(548, 1472), 1 << 20), Receiver(50_000)
    for seq_nr in (1, 1, 3):
        packet = Packet(PacketType.DATA, 1, 5, 0, 0, seq_nr, 0, payload=b"four")
        receiver.heard(packet, 1.0)
        receiver.add(packet, 1.0)
    found = stats_of(sender, receiver, 0)
    assert (found.bytes_received, found.packets_received, found.duplicates) == (8, 3, 1)
