"""What is lost, doubled or late, and what it costs to make up for it."""

from itertools import pairwise

import pytest

from crust.transport.utp.constants import MAX_TIMEOUT
from crust.transport.utp.packet import PacketType
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.pair import Pair, numbered, only_once, repetitions, transferred, with_data


def test_a_lost_packet_is_sent_again_as_soon_as_others_overtook_it() -> None:
    """Fast retransmit: without waiting for the timer, once, and nothing else with it."""
    pair = Pair(Conditions(delay=0.05))
    dialler, accepted = pair.connected()
    pair.pass_time(1.0)
    pair.there.drop = only_once(numbered(2))
    dialler.send(100_000)
    pair.until(lambda: len(accepted.received) == 100_001)
    assert pair.there.counts.dropped == 1
    assert repetitions(pair) == 1
    times: dict[int, list[float]] = {}
    for at, node, packet in pair.sent:
        if node is pair.first and with_data(packet):
            times.setdefault(packet.seq_nr, []).append(at)
    waited = next(twice[1] - twice[0] for twice in times.values() if len(twice) == 2)
    assert waited < 0.35, "more than what three overtaking packets take"


def test_several_lost_packets_of_a_window_are_each_sent_again_once() -> None:
    pair = Pair(Conditions(delay=0.05))
    dialler, accepted = pair.connected()
    dialler.send(100_000)
    pair.until(lambda: len(accepted.received) == 100_001)
    pair.there.drop = only_once(numbered(1, 4, 5, 9), 4)
    before = repetitions(pair)
    dialler.send(200_000)
    pair.until(lambda: len(accepted.received) == 300_001)
    assert pair.there.counts.dropped == 4
    assert repetitions(pair) - before == 4


@pytest.mark.slow
def test_a_lost_repetition_does_not_wait_for_long() -> None:
    pair = Pair(Conditions(delay=0.05))
    dialler, accepted = pair.connected()
    dialler.send(100_000)
    pair.until(lambda: len(accepted.received) == 100_001)
    number = (pair.packets(PacketType.DATA, pair.first)[-1].seq_nr + 5) & 0xFFFF
    pair.there.drop = only_once(lambda packet: packet.type == PacketType.DATA and packet.seq_nr == number, 2)
    begun = pair.clockwork.now
    dialler.send(300_000)
    pair.until(lambda: len(accepted.received) == 400_001)
    assert pair.there.counts.dropped == 2
    assert pair.clockwork.now - begun < 3.0


def test_a_lost_last_packet_is_sent_again_by_the_timer() -> None:
    """Nothing overtakes the last one; the retransmission timer finds it, with the round trip it has measured."""
    pair = Pair(Conditions(delay=0.02))
    dialler, accepted = pair.connected()
    dialler.send(50_000)
    pair.until(lambda: len(accepted.received) == 50_001)
    pair.pass_time(1.0)
    pair.there.drop = only_once(with_data)
    begun = pair.clockwork.now
    dialler.send(500)
    pair.until(lambda: len(accepted.received) == 50_501)
    assert pair.clockwork.now - begun < 0.8
    assert repetitions(pair) == 1


def test_the_timer_backs_off_and_the_bounds_hold() -> None:
    pair = Pair(Conditions(delay=0.02))
    dialler, _ = pair.connected()
    pair.pass_time(1.0)
    pair.there.drop = lambda datagram: True
    begun = pair.clockwork.now
    dialler.send(500)
    pair.until(lambda: dialler.connection.error is not None)
    times = [at for at, node, packet in pair.sent if at >= begun and node is pair.first and with_data(packet)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) >= 4, "it gave up too soon"
    assert len(times) <= 12, "it went on for too long"
    assert gaps[0] >= 0.02
    assert all(later >= min(1.5 * earlier, MAX_TIMEOUT) for earlier, later in pairwise(gaps[1:])), gaps
    assert 20.0 < pair.clockwork.now - begun < 200.0


def test_lost_acknowledgements_cost_nothing() -> None:
    """They are cumulative: the next one says it all."""
    pair = Pair(Conditions(delay=0.02), Conditions(delay=0.02, loss=0.3), seed=8)
    transferred(pair, 1_000_000)
    repeated = repetitions(pair)
    assert repeated < 20, f"{repeated} packets again although each of them arrived"


def test_duplicates_are_acknowledged_and_not_delivered() -> None:
    pair = Pair(Conditions(delay=0.02, duplicate=0.5), seed=9)
    transferred(pair, 500_000)
    assert repetitions(pair) <= 5, "acknowledgements that come twice may look like a loss, but rarely"


def test_a_little_reordering_is_not_taken_for_loss() -> None:
    """Neighbours that swap places are closer together than what counts as overtaken."""
    pair = Pair(Conditions(rate=1e6, delay=0.02, reorder=0.05, detour=0.0025), seed=10)
    transferred(pair, 1_000_000)
    assert repetitions(pair) <= 3


@pytest.mark.parametrize("seconds", [2.0, 8.0, 40.0])
def test_the_network_goes_away_and_comes_back(seconds: float) -> None:
    """Shorter than what makes a peer dead, so nobody dies of it."""
    pair = Pair(Conditions(delay=0.02, outages=((1.0, 1.0 + seconds),)))
    dialler, accepted = pair.connected()
    pair.pass_time(0.9)
    dialler.send(2_000_000)
    pair.until(lambda: len(accepted.received) == 2_000_001, patience=120.0)
    assert dialler.connection.error is None
