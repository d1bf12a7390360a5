"""Paths that pass only packets of some size, and sizes that change."""

import pytest

from crust.errors import ConnectionLost
from crust.transport.utp.packet import HEADER_SIZE
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.pair import PATIENCE, Pair, repetitions, transferred

GAP = 16  # bytes by which the search may miss


def test_a_path_of_ethernet_size_is_found_at_once() -> None:
    pair = Pair(Conditions(delay=0.02))
    dialler, _ = transferred(pair, 100_000)
    assert dialler.connection.stats().mtu == 1472
    assert repetitions(pair) == 0


@pytest.mark.parametrize("fragments", [False, True])
@pytest.mark.parametrize("icmp", [False, True])
@pytest.mark.parametrize("mtu", [560, 576, 800, 1232, 1280, 1400, 1471])
def test_a_narrow_path_is_found(mtu: int, icmp: bool, fragments: bool) -> None:
    """A black hole, or with a router that says so: the probes are lost, and not more than they."""
    pair = Pair(Conditions(delay=0.02, mtu=mtu, icmp=icmp, fragments=fragments))
    dialler, accepted = pair.connected()
    for _ in range(60):
        dialler.send(6_000)
        pair.pass_time(0.2)
    assert len(accepted.received) == 360_001
    assert mtu - GAP <= dialler.connection.stats().mtu <= mtu
    assert repetitions(pair) <= 30
    assert dialler.connection.stats().losses == 0, "a lost probe says nothing about congestion"


def test_packets_never_exceed_the_ceiling() -> None:
    pair = Pair(Conditions(delay=0.02), settings=(UtpSettings(mtu_ceiling=1000), None))
    transferred(pair, 300_000)
    largest = max(len(packet.payload) for packet in pair.packets(node=pair.first))
    assert largest + HEADER_SIZE == 1000


@pytest.mark.parametrize("mtu", [548, 1472])
def test_no_packet_is_larger_than_what_passes(mtu: int) -> None:
    """Nor with an acknowledgement of what came early in front of the data; only probes may be, and say so."""
    narrow = Conditions(delay=0.02, loss=0.05, jitter=0.02, in_order=False, mtu=mtu, fragments=False)
    pair = Pair(narrow, seed=2)
    dialler, accepted = pair.connected()
    for _ in range(20):
        dialler.send(20_000)
        accepted.send(20_000)
        pair.pass_time(0.3)
    pair.until(lambda: len(accepted.received) == 400_001 and len(dialler.received) == 400_000)
    for link in (pair.there, pair.back):
        assert link.counts.too_big_to_cut == 0
        assert link.counts.too_big <= (40 if mtu == 548 else 0)


@pytest.mark.parametrize(("icmp", "fragments"), [(True, False), (False, True), (True, True)])
def test_a_path_that_becomes_narrower(icmp: bool, fragments: bool) -> None:
    """Large packets were fine, and then only pieces of them get through: nothing is lost."""
    pair = Pair(Conditions(delay=0.02))
    dialler, accepted = transferred(pair, 300_000)
    pair.there.conditions = Conditions(delay=0.02, mtu=900, icmp=icmp, fragments=fragments)
    begun = pair.clockwork.now
    dialler.send(500_000)
    pair.until(lambda: len(accepted.received) == 800_001)
    assert bytes(accepted.received) == dialler.sent
    assert pair.clockwork.now - begun < 10.0


def test_large_packets_vanish_for_good() -> None:
    """What has a number keeps its size, so nothing helps: it must end, though the peer is heard all the time."""
    pair = Pair(Conditions(delay=0.02))
    dialler, accepted = transferred(pair, 300_000)
    pair.there.conditions = Conditions(delay=0.02, mtu=900, fragments=False)
    dialler.send(500_000)
    pair.until(lambda: pair.closed(dialler, accepted), patience=300.0)
    assert isinstance(dialler.connection.error, ConnectionLost)
    assert dialler.sent.startswith(accepted.received)


def test_a_path_that_becomes_wider_is_used_some_day() -> None:
    pair = Pair(Conditions(delay=0.02, mtu=900, fragments=False))
    dialler, accepted = transferred(pair, 300_000)
    pair.there.conditions = Conditions(delay=0.02)
    for number in range(1, 40):
        pair.pass_time(60.0)
        dialler.send(20_000)
        pair.until(lambda wanted=300_001 + 20_000 * number: len(accepted.received) == wanted, PATIENCE)
    assert dialler.connection.stats().mtu == 1472


def test_a_lossy_path_is_not_taken_for_a_narrow_one() -> None:
    """Probes are lost like any packet can be; after a while the size is right all the same."""
    right = 0
    for seed in range(10):
        pair = Pair(Conditions(delay=0.02, loss=0.05), seed=seed)
        dialler, _ = transferred(pair, 500_000)
        right += dialler.connection.stats().mtu >= 1400
    assert right >= 8
