"""`crust.connecting.retired`: when a connection that was replaced is read to its end, and who waits for that."""

from types import SimpleNamespace
from typing import Any

import pytest

from crust import Event, Identity
from crust.connecting import retired
from crust.connecting.retired import DIRECT, QUIET, RELAYED_QUIET, Heir, Retired, why_replaced
from crust.identity import PeerId, UnprovenPeerId
from crust.threads.timers import Timers

PEER = Identity().peer_id


class Fake(SimpleNamespace):
    """A connection, as far as this is about it."""

    __hash__ = object.__hash__


class Bench:
    """What time it is, and when something came, the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 100.0
        monkeypatch.setattr(retired, "now", lambda: self.time)
        self.timers = Timers()
        self.retired = Retired(self.timers)
        self.done: list[str] = []

    def connection(self, *, farewell: str = "", peer_id: PeerId = PEER, started: bool = True) -> Any:
        """Something came on it just now."""
        latest = self.time
        return Fake(
            farewell=farewell,
            peer_id=peer_id,
            started=started,
            silence=lambda at: at - latest,
            retire=lambda: self.done.append("retired"),
            abort=lambda: self.done.append("aborted"),
        )

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds
        self.timers.run_due(self.time)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.mark.parametrize(("farewell", "quiet"), [("", QUIET), (DIRECT, RELAYED_QUIET)])
def test_it_ends_when_nothing_comes_any_more(bench: Bench, farewell: str, quiet: float) -> None:
    connection = bench.connection(farewell=farewell)
    bench.retired.add(connection)
    assert connection in bench.retired
    bench.wait(quiet / 2)
    again = bench.time
    connection.silence = lambda at: at - again
    bench.wait(quiet / 2)
    assert bench.done == ["retired"]
    bench.wait(quiet / 2)
    assert bench.done == ["retired", "aborted"]


def test_who_only_claims_to_be_the_peer_cannot_hold_it_up(bench: Bench) -> None:
    connection = bench.connection(peer_id=UnprovenPeerId(bytes(PEER)))
    connection.silence = lambda at: 0.0
    bench.retired.add(connection)
    bench.wait(QUIET)
    assert bench.done == ["retired", "aborted"]


def test_what_is_over_is_not_looked_at(bench: Bench) -> None:
    connection = bench.connection()
    bench.retired.add(connection)
    assert bench.retired.pop(connection) is None
    bench.wait(QUIET)
    assert bench.done == ["retired"]
    assert bench.timers.next_deadline() is None


def test_what_has_no_threads_yet_is_only_waited_for(bench: Bench) -> None:
    connection = bench.connection(started=False)
    bench.retired.add(connection)
    assert connection in bench.retired
    assert bench.done == []


def test_an_heir_that_is_given_up_leaves_its_place_to_who_waits_for_it(bench: Bench) -> None:
    first, second, third = (bench.connection() for _ in range(3))
    heirs = [Heir(each, Event.NewConnection) for each in (second, third)]
    bench.retired.wait_for(first, heirs[0])
    bench.retired.wait_for(second, heirs[1])
    assert bench.retired.pass_over(second) is first
    assert bench.retired.pop(first) == heirs[1]
    assert bench.retired.pass_over(third) is None


def test_nothing_is_announced_after_clear(bench: Bench) -> None:
    connection = bench.connection()
    bench.retired.wait_for(connection, Heir(bench.connection(), Event.NewConnection))
    bench.retired.clear()
    assert bench.retired.pop(connection) is None


def test_the_user_is_told_what_has_replaced_it(bench: Bench) -> None:
    claimed = UnprovenPeerId(bytes(PEER))
    reasons = [bench.connection(farewell=DIRECT), bench.connection(), bench.connection(peer_id=claimed)]
    assert len({why_replaced(each) for each in reasons}) == 3
