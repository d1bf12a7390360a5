"""Bytes on their way over links that behave: how much, how many packets, and what the kernel does."""

import pytest

from crust.transport.utp.packet import PacketType
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.node import Kernel
from tests.transport.utp.simulation.pair import Pair, repetitions, transferred


def test_a_transfer_over_a_clean_link_repeats_nothing() -> None:
    pair = Pair(Conditions(delay=0.02))
    transferred(pair, 3_000_000)
    assert repetitions(pair) == 0


@pytest.mark.slow
def test_one_huge_transfer_with_loss() -> None:
    """More packets than there are sequence numbers would be 90 MB; this has enough to see everything else."""
    pair = Pair(Conditions(delay=0.005, loss=0.01), seed=5)
    transferred(pair, 8_000_000)


def test_both_ways_at_once() -> None:
    pair = Pair(Conditions(delay=0.02, loss=0.01, jitter=0.01, in_order=False), seed=6)
    dialler, accepted = pair.connected()
    dialler.send(500_000)
    accepted.send(500_000)
    pair.until(lambda: len(accepted.received) == 500_001 and len(dialler.received) == 500_000)
    assert bytes(accepted.received) == dialler.sent
    assert bytes(dialler.received) == accepted.sent


def test_more_than_the_send_buffer_is_taken_as_room_comes() -> None:
    pair = Pair(settings=(UtpSettings(send_buffer=5_000), None))
    dialler, _ = transferred(pair, 200_000)
    assert dialler.connection.room() > 0


def test_a_write_takes_no_more_than_there_is_room_for() -> None:
    pair = Pair(settings=(UtpSettings(send_buffer=5_000), None))
    dialler, _ = pair.connected()
    pair.pass_time(1.0)
    assert dialler.connection.room() == 5_000
    assert dialler.connection.write(bytes(20_000)) == 5_000
    assert dialler.connection.write(b"x") == 0
    assert dialler.connection.room() == 0


def test_small_writes_are_not_delayed() -> None:
    """A message of 10 bytes and an answer: one round trip each time, no timer in between."""
    pair = Pair(Conditions(delay=0.010))
    dialler, accepted = pair.connected()
    for number in range(1, 11):
        begun = pair.clockwork.now
        dialler.send(10)
        pair.until(lambda number=number: len(accepted.received) == 1 + 10 * number)
        accepted.send(10)
        pair.until(lambda number=number: len(dialler.received) == 10 * number)
        assert pair.clockwork.now - begun < 0.025


def test_many_small_writes_travel_together() -> None:
    """What is written before the next packet may leave is put into full ones."""
    pair = Pair(Conditions(delay=0.02))
    dialler, accepted = pair.connected()
    pair.pass_time(1.0)
    before = len(pair.packets(PacketType.DATA, pair.first))
    for _ in range(2000):
        dialler.connection.write(bytes(10))
    dialler.send(0)
    pair.until(lambda: len(accepted.received) == 20_001)
    sent = len(pair.packets(PacketType.DATA, pair.first)) - before
    assert sent < 50, f"{sent} packets for 2000 writes of 10 bytes"


def test_there_are_fewer_acknowledgements_than_packets() -> None:
    pair = Pair(Conditions(delay=0.02))
    transferred(pair, 1_000_000)
    data = len(pair.packets(PacketType.DATA, pair.first))
    states = len(pair.packets(PacketType.STATE, pair.second))
    assert states <= data * 0.6, f"{states} acknowledgements of {data} packets"


def test_an_acknowledgement_travels_with_data() -> None:
    pair = Pair(Conditions(delay=0.02))
    dialler, accepted = pair.connected()
    pair.pass_time(1.0)
    before = len(pair.packets(PacketType.STATE, pair.second))
    dialler.send(10)
    pair.until(lambda: len(accepted.received) == 11)
    accepted.send(10)
    pair.until(lambda: len(dialler.received) == 10)
    assert len(pair.packets(PacketType.STATE, pair.second)) == before


def test_acknowledgements_are_not_acknowledged() -> None:
    pair = Pair()
    transferred(pair, 10_000)
    pair.pass_time(1.0)
    before = len(pair.sent)
    pair.pass_time(20.0)
    assert len(pair.sent) == before


# --- what the kernel does --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [False, True])
def test_packets_that_the_kernel_did_not_take_are_not_lost_and_cost_no_window(segments: bool) -> None:
    """A full socket buffer is no congestion: nothing is sent twice, and the rate of the device is reached."""
    kernel = Kernel(rate=2e6, buffer=20_000 if not segments else 80_000, segments=segments)
    pair = Pair(Conditions(delay=0.02), kernels=(kernel, None))
    begun = pair.clockwork.now
    transferred(pair, 4_000_000)
    assert repetitions(pair) == 0
    assert pair.clockwork.now - begun < 4.0


def test_packets_leave_and_arrive_many_at_a_time() -> None:
    kernel = Kernel(coalesces=0.001)
    pair = Pair(Conditions(delay=0.005), kernels=(kernel, kernel))
    transferred(pair, 10_000_000)
    assert pair.first.packets_sent / pair.first.bursts > 5.0
    assert pair.second.packets_read / pair.second.reads > 5.0
