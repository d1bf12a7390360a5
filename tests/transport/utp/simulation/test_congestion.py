"""Narrow links with deep and shallow queues: how full they are, what is lost, and how long packets wait.

The same situations as libtorrent's simulation has (plain, buffer bloat, straw), with figures of their own; the real
kernel's queues are measured in the network namespaces lab.
"""

import pytest

from tests.transport.utp.simulation.link import IP_AND_UDP, Conditions
from tests.transport.utp.simulation.node import Kernel
from tests.transport.utp.simulation.pair import End, Pair, repetitions, transferred

pytestmark = pytest.mark.slow  # minutes of virtual time, so seconds of real time each

MTU = 1472


def rate_of(pair: Pair, end: End, seconds: float) -> float:
    """Bytes per second that arrive while time passes."""
    before = len(end.received)
    pair.pass_time(seconds)
    return (len(end.received) - before) / seconds


def test_plain() -> None:
    """50 kB/s and a queue of a second: nothing is lost, and the link is full."""
    pair = Pair(Conditions(rate=50e3, delay=0.05, queue=50_000))
    dialler, accepted = pair.connected()
    dialler.send(5_000_000)
    pair.pass_time(20.0)
    goodput = rate_of(pair, accepted, 40.0)
    assert goodput >= 0.9 * 50e3 * (MTU - 20) / (MTU + IP_AND_UDP)
    assert pair.there.counts.overflowed == 0
    assert repetitions(pair) == 0


def test_buffer_bloat() -> None:
    """A queue of ten seconds: LEDBAT does not fill it, so nothing waits for long and nothing is lost."""
    pair = Pair(Conditions(rate=50e3, delay=0.05, queue=500_000))
    dialler, accepted = pair.connected()
    dialler.send(5_000_000)
    pair.pass_time(20.0)
    pair.there.counts.longest_wait = 0.0
    goodput = rate_of(pair, accepted, 40.0)
    assert goodput >= 0.9 * 50e3 * (MTU - 20) / (MTU + IP_AND_UDP)
    assert pair.there.counts.overflowed == 0
    assert pair.there.counts.longest_wait < 0.35


@pytest.mark.parametrize(("queue", "share"), [(1_500, 0.4), (3_000, 0.7)])
def test_straw(queue: int, share: float) -> None:
    """A queue of one or two packets: any two that come together overflow it, and much of the link is used all the same.

    Three packets fit on the way and the smallest window is two, so the share of the first case cannot be much higher.
    """
    pair = Pair(Conditions(rate=50e3, delay=0.05, queue=queue))
    dialler, accepted = pair.connected()
    dialler.send(5_000_000)
    pair.pass_time(10.0)
    goodput = rate_of(pair, accepted, 40.0)
    assert goodput >= share * 50e3
    assert dialler.connection.error is None


def test_a_small_kernel_buffer() -> None:
    """The device takes 10 packets; what it does not take waits, and is not lost."""
    kernel = Kernel(rate=50e3, buffer=15_000, segments=False)
    pair = Pair(Conditions(delay=0.05), kernels=(kernel, None))
    transferred(pair, 1_000_000)
    assert repetitions(pair) == 0
    assert pair.clockwork.now < 1_000_000 / 50e3 * 1.25


def test_the_rate_falls_and_rises() -> None:
    pair = Pair(Conditions(rate=200e3, delay=0.03, queue=40_000, rates=((5.0, 30e3), (15.0, 200e3))))
    dialler, accepted = pair.connected()
    dialler.send(50_000_000)
    pair.pass_time(20.0)
    assert rate_of(pair, accepted, 10.0) >= 0.7 * 200e3
    assert dialler.connection.error is None


@pytest.mark.parametrize(
    ("rate", "delay", "late", "least"),
    [
        (100e3, 0.03, 0.0, 0.3),  # few packets fit on the way, and the window is counted in packets
        (100e3, 0.03, 10.0, 0.3),
        (400e3, 0.01, 1.5, 0.4),
    ],
)
def test_two_connections_share_a_link(rate: float, delay: float, late: float, least: float) -> None:
    """Whoever came first, and though their slowdowns begin at different moments."""
    pair = Pair(Conditions(rate=rate, delay=delay, queue=int(rate * 0.4)))
    first, first_there = pair.connected()
    first.send(50_000_000)
    pair.pass_time(late)
    second = pair.dial(salt=3)
    second.send(50_000_000)
    pair.until(lambda: len(pair.accepted) == 2)
    pair.pass_time(15.0)
    before = len(first_there.received), len(pair.accepted[1].received)
    pair.pass_time(30.0)
    shares = [len(first_there.received) - before[0], len(pair.accepted[1].received) - before[1]]
    assert min(shares) / sum(shares) >= least, shares
