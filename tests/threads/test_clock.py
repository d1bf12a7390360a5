"""`crust.threads.clock`: deadlines."""

import time

import pytest

from crust.threads import clock
from crust.threads.clock import Deadline


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(clock, "now", hands)
    return hands


def test_now_is_a_clock_that_never_jumps() -> None:
    assert clock.now is time.monotonic
    assert clock.wall_time is time.time


def test_time_runs_out(hands: Hands) -> None:
    deadline = Deadline(5)
    assert deadline.remaining() == 5
    hands.at += 4.5
    assert deadline.remaining() == 0.5
    assert not deadline.expired
    hands.at += 0.5
    assert deadline.remaining() == 0
    assert deadline.expired
    hands.at += 100
    assert deadline.remaining() == 0, "never negative"


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
def test_no_time_at_all(hands: Hands, timeout: float) -> None:
    deadline = Deadline(timeout)
    assert deadline.expired
    assert deadline.remaining() == 0


def test_never(hands: Hands) -> None:
    deadline = Deadline(None)
    hands.at += 1e9
    assert deadline.remaining() is None
    assert not deadline.expired


@pytest.mark.parametrize(
    ("own", "other", "expected"), [(5, 3, 3), (5, 8, 5), (5, None, 5), (None, 3, 3), (None, None, None), (5, -1, 0)]
)
def test_the_earlier_of_two(hands: Hands, own: float | None, other: float | None, expected: float | None) -> None:
    deadline = Deadline(own)
    earlier = deadline.earlier(other)
    assert earlier.remaining() == expected
    assert deadline.remaining() == own, "it does not change"


def test_the_earlier_counts_from_now(hands: Hands) -> None:
    deadline = Deadline(5)
    hands.at += 4
    assert deadline.earlier(3).remaining() == 1
