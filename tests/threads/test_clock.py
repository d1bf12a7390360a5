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


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e10, 10**400, clock.AGES])
def test_never(hands: Hands, timeout: float | None) -> None:
    deadline = Deadline(timeout)
    hands.at += 1e9
    assert deadline.remaining() is None
    assert not deadline.expired


def test_a_long_time_is_not_never(hands: Hands) -> None:
    deadline = Deadline(clock.AGES - 1)
    hands.at += clock.AGES
    assert deadline.expired


def test_a_timeout_is_a_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Deadline(float("nan"))


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
