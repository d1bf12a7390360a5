"""The receiving half: what is acknowledged when, which times are believed, and which window is told."""

import pytest

from crust.transport.utp.constants import ACK_DELAY, REORDER_WINDOW, SMALLEST_WINDOW
from crust.transport.utp.packet import Packet, PacketType
from crust.transport.utp.receive_buffer import Arrival
from crust.transport.utp.receiver import Receiver

NOW = 10.0
CAPACITY = 100_000


def packet(seq_nr: int, payload: bytes = b"data", kind: PacketType = PacketType.DATA, **others: int) -> Packet:
    return Packet(kind, 1, 1000, 0, 0, seq_nr, 0, payload=payload)._replace(**others)


def soon(receiver: Receiver) -> bool:
    """Whether an acknowledgement waits for company."""
    return not receiver.acks.due(NOW) and receiver.acks.deadline == NOW + ACK_DELAY


def test_a_packet_in_order_is_acknowledged_soon() -> None:
    receiver = Receiver(CAPACITY)
    assert receiver.add(packet(1), NOW) is Arrival.IN_ORDER
    assert soon(receiver)
    assert receiver.bytes == 4


@pytest.mark.parametrize(
    ("before", "then", "arrival"),
    [
        ([], packet(3), Arrival.EARLY),
        ([packet(3)], packet(3), Arrival.DUPLICATE),
        ([packet(1)], packet(1), Arrival.DUPLICATE),
        ([packet(3), packet(4)], packet(1), Arrival.IN_ORDER),
        ([], packet(1 + REORDER_WINDOW), Arrival.REFUSED),
        ([], packet(1, b"", PacketType.FIN), Arrival.IN_ORDER),
        ([], packet(2, b"", PacketType.FIN), Arrival.EARLY),
        ([packet(2, b"", PacketType.FIN)], packet(1), Arrival.IN_ORDER),
        ([packet(2)], packet(1, b"", PacketType.FIN), Arrival.CONTRADICTION),
    ],
)
def test_whatever_is_odd_or_last_is_acknowledged_at_once(before: list[Packet], then: Packet, arrival: Arrival) -> None:
    receiver = Receiver(CAPACITY)
    for each in before:
        receiver.add(each, NOW)
    receiver.acks.sent(CAPACITY, NOW)
    assert receiver.add(then, NOW) is arrival
    assert receiver.acks.due(NOW)


def test_only_what_is_new_counts_as_received() -> None:
    receiver = Receiver(CAPACITY)
    for seq_nr in (2, 2, 1, 1, 2000):
        receiver.add(packet(seq_nr), NOW)
    assert receiver.bytes == 8
    assert receiver.duplicates == 2


def test_a_run_counts_like_its_packets() -> None:
    receiver = Receiver(CAPACITY)
    receiver.heard(packet(3), NOW)
    assert receiver.add_run(1, 3, b"abc", NOW)
    assert (receiver.packets, receiver.bytes, receiver.buffer.ack_nr) == (3, 3, 3)
    assert receiver.acks.due(NOW)
    assert not receiver.add_run(9, 3, b"abc", NOW)
    assert (receiver.packets, receiver.bytes) == (3, 3)


def test_what_is_new() -> None:
    receiver = Receiver(CAPACITY)
    receiver.buffer.ack_nr = 65535
    assert [receiver.is_new(packet(seq_nr)) for seq_nr in (65535, 0, REORDER_WINDOW - 1, REORDER_WINDOW)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_difference_of_the_clocks_goes_back_to_the_peer() -> None:
    receiver = Receiver(CAPACITY)
    assert receiver.heard(packet(1, timestamp=4_000_000), NOW) == 0, "the first one says nothing about drift"
    assert receiver.difference == 6_000_000
    assert receiver.heard(packet(2, timestamp=2**32 - 1), NOW) == 0
    assert receiver.difference == 10_000_001, "around the end of the times"
    assert receiver.heard(packet(3, timestamp=5_000_000), NOW) == 1_000_000, "it fell: their clock runs faster"
    assert receiver.packets == 3


def test_a_packet_without_a_time_says_nothing() -> None:
    receiver = Receiver(CAPACITY)
    receiver.heard(packet(1, timestamp=4_000_000), NOW)
    assert receiver.heard(packet(2, timestamp=0), NOW + 60) == 0
    assert receiver.difference == 6_000_000


@pytest.mark.parametrize(("difference", "sample"), [(0, None), (0x7FFF_FFFF, None), (1, 1), (2**32 - 1, 2**32 - 1)])
def test_which_differences_are_samples(difference: int, sample: int | None) -> None:
    assert Receiver.sample_in(packet(1, timestamp_difference=difference)) == sample


@pytest.mark.parametrize(
    ("waiting", "window"),
    [(0, 5000), (5000 - SMALLEST_WINDOW, SMALLEST_WINDOW), (5000 - SMALLEST_WINDOW + 1, 0), (5000, 0)],
)
def test_room_for_less_than_a_packet_is_told_as_none(waiting: int, window: int) -> None:
    receiver = Receiver(5000)
    receiver.add_run(1, 1, bytes(waiting), NOW)
    assert receiver.window == window


def test_reading_opens_a_closed_window_at_once() -> None:
    receiver = Receiver(5000)
    receiver.add_run(1, 1, bytes(5000), NOW)
    receiver.acks.sent(receiver.window, NOW)
    receiver.buffer.read(SMALLEST_WINDOW - 1)
    receiver.was_read()
    assert not receiver.acks.due(NOW), "still too little"
    receiver.buffer.read(1)
    receiver.was_read()
    assert receiver.acks.due(NOW)
