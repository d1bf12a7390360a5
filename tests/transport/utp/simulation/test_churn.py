"""Connections that come and go: nothing of the old ones is kept, and nothing of theirs gets into the new ones."""

import gc
import weakref

import pytest

from crust.transport.utp.connection import UtpConnection
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.pair import Pair
from tests.transport.utp.simulation.test_wraps import Always

ROUNDS = 150


@pytest.mark.slow
def test_nothing_of_a_closed_connection_is_kept() -> None:
    pair = Pair(Conditions(delay=0.01, loss=0.05, duplicate=0.05), seed=3)
    alive: weakref.WeakSet[UtpConnection] = weakref.WeakSet()
    for number in range(ROUNDS):
        dialler = pair.dial(salt=number)
        dialler.send(1000)
        dialler.finish()
        pair.until(lambda: bool(pair.accepted))
        accepted = pair.accepted[0]
        alive.update((dialler.connection, accepted.connection))
        if number % 5 == 0:
            accepted.abort()
        else:
            accepted.finish()
        pair.until(lambda ends=(dialler, accepted): pair.closed(*ends))
        pair.accepted.clear()
        for end in (dialler, accepted):
            del end.node.activities[end.connection]
    pair.pass_time(120.0)
    assert pair.forgotten
    assert pair.first.mux.next_deadline() is None
    assert pair.second.mux.next_deadline() is None
    del dialler, accepted, end
    gc.collect()
    assert not len(alive), f"{len(alive)} connections of {2 * ROUNDS} are still kept by something"


def test_old_packets_with_the_id_of_a_new_connection() -> None:
    """Ids are drawn again and again: what was late belongs to nobody any more."""
    pair = Pair(Conditions(delay=0.01, duplicate=0.3, detour=4.0), seed=1, rngs=(Always(1000), None))
    for number in range(30):
        dialler = pair.dial(salt=number)
        dialler.send(3000)
        dialler.finish()
        pair.until(lambda: bool(pair.accepted))
        accepted = pair.accepted.pop()
        accepted.finish()
        pair.until(lambda ends=(dialler, accepted): pair.closed(*ends))
        if dialler.connection.error is None and accepted.connection.error is None:
            assert bytes(accepted.received) == dialler.sent
        assert dialler.sent.startswith(accepted.received)
        pair.until(lambda: pair.forgotten, patience=60.0)


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_dials_are_given_up_at_once(seed: int) -> None:
    pair = Pair(Conditions(delay=0.05, loss=0.1, jitter=0.05, in_order=False), seed=seed)
    kept = []
    for number in range(40):
        end = pair.dial(salt=number)
        if number % 2:
            end.abort()
        else:
            end.send(500)
            end.finish()
            kept.append(end)
        pair.pass_time(0.02)
    pair.until(lambda: len(pair.accepted) >= len(kept))
    for end in pair.accepted:
        end.finish()
    pair.until(lambda: pair.closed(*kept, *pair.accepted) and pair.forgotten)
    got = {bytes(end.received) for end in pair.accepted if end.connection.error is None}
    assert {end.sent for end in kept if end.connection.error is None} <= got
