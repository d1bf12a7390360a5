"""Connections on which nothing is sent: kept alive through NATs, and noticed when the other side is gone."""

import pytest

from crust.errors import ConnectionLost
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.network import Nat
from tests.transport.utp.simulation.node import Clock
from tests.transport.utp.simulation.pair import Pair


def test_an_idle_connection_survives_nats_that_forget_after_half_a_minute() -> None:
    pair = Pair(nats=(Nat(forgets_after=30.0), None))
    dialler, accepted = pair.connected()
    pair.pass_time(3600.0)
    accepted.send(1000)
    pair.until(lambda: len(dialler.received) == 1000, patience=2.0)


def test_an_idle_connection_costs_a_packet_each_way_in_29_seconds() -> None:
    pair = Pair()
    pair.connected()
    pair.pass_time(60.0)
    before, wakes = len(pair.sent), pair.first.wakes + pair.second.wakes
    pair.pass_time(2900.0)
    sent = len(pair.sent) - before
    assert 90 <= sent <= 410, f"{sent} packets in 100 times 29 s"
    assert pair.first.wakes + pair.second.wakes - wakes <= 4 * sent, "wake-ups for nothing"


@pytest.mark.parametrize("busy", [False, True])
def test_a_peer_that_vanished_is_noticed(busy: bool) -> None:
    settings = UtpSettings()
    pair = Pair()
    dialler, _ = pair.connected()
    pair.pass_time(100.0)
    pair.there.drop = pair.back.drop = lambda datagram: True
    begun = pair.clockwork.now
    if busy:
        dialler.send(1000)
    pair.until(lambda: pair.closed(dialler))
    assert isinstance(dialler.connection.error, ConnectionLost)
    wanted = settings.dead_timeout if busy else settings.idle_timeout
    assert pair.clockwork.now - begun == pytest.approx(wanted, abs=31.0)


def test_data_after_a_long_silence_is_not_taken_for_a_dead_peer() -> None:
    """Nothing was heard for almost the longest time; what is sent now has its own time to be answered."""
    pair = Pair(settings=(UtpSettings(keepalive=1000.0, idle_timeout=150.0, dead_timeout=60.0),) * 2)
    dialler, accepted = pair.connected()
    pair.pass_time(120.0)
    dialler.send(1000)
    pair.until(lambda: len(accepted.received) == 1001, patience=2.0)
    pair.pass_time(5.0)
    assert dialler.connection.error is None
    assert accepted.connection.error is None


def test_a_peer_that_forgot_the_connection_says_so() -> None:
    """It was restarted on the same port: the next keep-alive is answered with a RESET."""
    pair = Pair()
    dialler, accepted = pair.connected()
    pair.pass_time(2.0)
    pair.back.drop = lambda datagram: True
    pair.second.mux.fail(accepted.connection, ConnectionLost("restarted"), pair.second.now)
    pair.second.wake()
    pair.pass_time(1.0)
    pair.back.drop = None
    pair.until(lambda: pair.closed(dialler), patience=31.0)
    assert isinstance(dialler.connection.error, ConnectionLost)


def test_a_clock_that_starts_at_nothing() -> None:
    pair = Pair(clocks=(Clock(0.0), Clock(0.0)))
    dialler, accepted = pair.connected()
    dialler.send(10_000)
    pair.until(lambda: len(accepted.received) == 10_001, patience=2.0)
