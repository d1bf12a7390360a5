"""Numbers that begin again at 0: sequence numbers after 65,535, timestamps after 71 minutes."""

from random import Random

import pytest

from crust.transport.utp.packet import PacketType
from tests.transport.utp.simulation.chances import WRAP
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.node import Clock
from tests.transport.utp.simulation.pair import Pair, only_once, repetitions, transferred


class Always(Random):
    """Sixteen bits are always the same; anything else is random."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._number = number

    def getrandbits(self, bits: int, /) -> int:
        """``number`` for 16 bits."""
        return self._number if bits == 16 else super().getrandbits(bits)


@pytest.mark.parametrize("number", [0xFFFF, 0xFFFE, 0xFFFD, 0xFFFB, 0xFFF0, 0, 1, 0x7FFE])
def test_ids_and_sequence_numbers_begin_again(number: int) -> None:
    pair = Pair(Conditions(delay=0.02), rngs=(Always(number), Always(number)))
    dialler, accepted = transferred(pair, 60_000)
    accepted.send(60_000)
    pair.until(lambda: len(dialler.received) == 60_000)
    assert bytes(dialler.received) == accepted.sent
    assert repetitions(pair) == 0
    dialler.finish()
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted) and pair.forgotten)
    assert dialler.connection.error is None
    assert accepted.connection.error is None


@pytest.mark.parametrize("seed", range(6))
def test_sequence_numbers_begin_again_where_packets_are_lost(seed: int) -> None:
    bad = Conditions(delay=0.01, loss=0.1, jitter=0.02, in_order=False, duplicate=0.1)
    numbers = Always(0xFFFF - seed * 3), Always(0xFFFF - seed * 5)
    pair = Pair(bad, seed=seed, rngs=numbers)
    transferred(pair, 60_000)


def test_a_selective_acknowledgement_around_the_end_of_the_numbers() -> None:
    pair = Pair(Conditions(delay=0.02), rngs=(Always(0xFFFA), None))
    dialler, accepted = pair.connected()
    pair.there.drop = only_once(lambda packet: packet.type == PacketType.DATA and packet.seq_nr == 0xFFFE)
    dialler.send(60_000)
    pair.until(lambda: len(accepted.received) == 60_001)
    assert pair.there.counts.dropped == 1
    assert repetitions(pair) == 1


@pytest.mark.long  # 100 MB against libutp go once around as well, and are slow, not long
@pytest.mark.timeout(600)
def test_more_packets_than_there_are_numbers() -> None:
    """Once around and more, over a path that only passes the smallest packets."""
    pair = Pair(Conditions(delay=0.001, mtu=548, fragments=False))
    pair.network.watchers.clear()  # this many need not be remembered
    dialler, accepted = pair.connected()
    size = 37_000_000
    step = 3_700_000
    for sent in range(0, size, step):
        dialler.send(step)
        pair.until(lambda wanted=sent + step + 1: len(accepted.received) == wanted)
    assert bytes(accepted.received) == dialler.sent
    assert pair.first.packets_sent > 65_536


@pytest.mark.parametrize("which", [(1, 0), (0, 1), (1, 1)])
def test_timestamps_begin_again(which: tuple[int, int]) -> None:
    """The delays that LEDBAT measures do not jump, and nothing is taken for lost."""
    clocks = tuple(Clock(WRAP - 1.0 if near else 5.0) for near in which)
    pair = Pair(Conditions(delay=0.02, rate=2e6), clocks=(clocks[0], clocks[1]))
    dialler, _ = transferred(pair, 5_000_000)
    assert pair.clockwork.now > 1.0
    assert repetitions(pair) == 0
    assert dialler.connection.stats().queueing_delay < 0.5


@pytest.mark.parametrize("drift", [-2e-4, 2e-4])
def test_clocks_that_drift_apart_do_not_look_like_a_queue(drift: float) -> None:
    """200 ppm make 120 ms in ten minutes: as much as LEDBAT's target, and none of it is a queue."""
    pair = Pair(Conditions(delay=0.02, rate=100e3), clocks=(Clock(7.0, drift), None))
    dialler, accepted = pair.connected()
    for number in range(1, 121):
        dialler.send(10_000)
        pair.pass_time(5.0)
        assert len(accepted.received) == 10_000 * number + 1
    assert dialler.connection.stats().queueing_delay < 0.05
