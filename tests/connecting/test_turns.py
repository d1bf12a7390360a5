"""`crust.connecting.turns`: who gives way when others wait for a thread, and when."""

from typing import Any

import pytest

from crust import Endpoint
from crust.connecting import attempts, turns
from crust.connecting.attempts import Attempt, Job, Race
from crust.connecting.turns import TURN, Turns
from crust.threads.timers import Timers


class Bench:
    """Two places; what time it is the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 100.0
        monkeypatch.setattr(turns, "now", lambda: self.time)
        monkeypatch.setattr(attempts, "now", lambda: self.time)
        self.timers = Timers()
        self.turns = Turns(2, self.timers)
        self.job = Job((), Race(9), lambda job: None, bootstrap=False)

    def enter(self, host: str) -> Attempt:
        """An attempt that begins now if there is a place."""
        target = Endpoint.tcp((host, 5483))
        attempt = Attempt(self.job, target, target)
        self.turns.enter(attempt)
        return attempt

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds
        self.timers.run_due(self.time)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def ended(*tried: Attempt) -> list[bool]:
    """Which were told to end."""
    return [attempt._grip.aborted.is_set() for attempt in tried]


def test_nobody_gives_way_while_nobody_waits(bench: Bench) -> None:
    first, second = bench.enter("192.0.2.1"), bench.enter("192.0.2.2")
    bench.wait(10 * TURN)
    assert ended(first, second) == [False, False]
    assert bench.timers.next_deadline() is None


def test_the_oldest_gives_way_to_one_who_waits(bench: Bench) -> None:
    tried = [bench.enter(f"192.0.2.{number}") for number in range(1, 4)]
    bench.wait(TURN - 0.01)
    assert ended(*tried) == [False] * 3
    bench.wait(0.01)
    assert ended(*tried) == [True, False, False]
    bench.wait(TURN)
    assert ended(*tried) == [True, False, False]  # that one is on its way out


def test_whoever_has_waited_longer_than_a_turn_gives_nobody_less(bench: Bench) -> None:
    first, second = bench.enter("192.0.2.1"), bench.enter("192.0.2.2")
    bench.wait(5 * TURN)
    third = bench.enter("192.0.2.3")
    assert ended(first, second, third) == [True, False, False]


def test_once_only(bench: Bench) -> None:
    """Who needs longer has all the time of a dial the second time."""
    first, second = bench.enter("192.0.2.1"), bench.enter("192.0.2.2")
    bench.enter("192.0.2.3")
    bench.wait(TURN)
    for attempt in (first, second):
        bench.turns.leave(attempt)
    again = bench.enter("192.0.2.1")
    for host in ("192.0.2.4", "192.0.2.5"):
        bench.enter(host)
    bench.wait(10 * TURN)
    assert ended(again) == [False]


def test_who_does_not_give_way(bench: Bench) -> None:
    """A look-up, which cannot be ended; one whose peer may have chosen it; one that could not be repeated."""
    one, name = bench.enter("192.0.2.1"), bench.enter("peer.example")
    bench.job.race.running.add(one)
    bench.enter("192.0.2.3")
    bench.wait(10 * TURN)
    assert ended(one, name) == [False, False]
    bench.turns.leave(name)
    unique: Any = bench.enter("192.0.2.4")
    unique.repeatable = False
    bench.wait(10 * TURN)
    assert ended(one, unique) == [False, False]


def test_the_end(bench: Bench) -> None:
    tried = [bench.enter(f"192.0.2.{number}") for number in range(1, 4)]
    bench.turns.close()
    assert bench.timers.next_deadline() is None
    assert ended(*tried) == [False] * 3
