"""Queueing delay out of one-way delays whose offset nobody knows."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.constants import BASE_HISTORY, DELAY_FILTER, MAX_DRIFT_STEP
from crust.transport.utp.delay import BaseDelay, DelayTracker

offsets = st.integers(0, 2**32 - 1)  # microseconds between the two clocks


def steady(tracker: DelayTracker, delay: int, now: float) -> float:
    """As many samples as it takes to count."""
    found = 0.0
    for _ in range(DELAY_FILTER):
        found = tracker.sample(delay % 2**32, now)
    return found


def test_before_the_first_sample() -> None:
    assert DelayTracker().queueing == 0.0


@given(offset=offsets, queued=st.integers(0, 2_000_000))
def test_queueing_is_what_is_above_the_base_wherever_the_clocks_stand(offset: int, queued: int) -> None:
    tracker = DelayTracker()
    assert steady(tracker, offset, 1.0) == 0.0
    assert steady(tracker, offset + queued, 2.0) == pytest.approx(queued / 1e6)
    assert tracker.queueing == pytest.approx(queued / 1e6)
    assert steady(tracker, offset, 3.0) == 0.0


def test_single_late_samples_do_not_count() -> None:
    tracker = DelayTracker()
    steady(tracker, 1000, 0.0)
    for _ in range(DELAY_FILTER - 1):
        assert tracker.sample(500_000, 0.0) == 0.0
    assert tracker.sample(500_000, 0.0) == pytest.approx(0.499)


@given(offset=offsets)
def test_the_base_is_forgotten_after_its_minutes(offset: int) -> None:
    tracker = DelayTracker()
    steady(tracker, offset, 0.0)
    for minute in range(1, BASE_HISTORY):
        assert steady(tracker, offset + 50_000, minute * 60.0) == pytest.approx(0.05)
    assert steady(tracker, offset + 50_000, BASE_HISTORY * 60.0) == 0.0


def test_the_base_is_forgotten_during_a_pause_as_well() -> None:
    base = BaseDelay()
    base.observe(1000, 0.0)
    assert base.observe(9000, 60.0 * (BASE_HISTORY - 1)) == 0
    assert base.value == 1000
    assert base.observe(7000, 60.0 * BASE_HISTORY) == 2000
    assert base.observe(8000, 1e6) == 0
    assert base.value == 8000


@given(offset=offsets)
def test_how_far_the_base_falls(offset: int) -> None:
    base = BaseDelay()
    falls = [base.observe((offset + delay) % 2**32, 0.0) for delay in (5000, 6000, 4500, 4500, 4000, 9000)]
    assert falls == [0, 0, 500, 0, 500, 0]
    assert base.observe((offset + 3000) % 2**32, 61.0) == 1000, "also with the first sample of a minute"


def test_clocks_that_drift_apart_do_not_look_like_a_queue() -> None:
    """What the peer measures of us grows by as much as what we measure of it falls."""
    with_shift, without = DelayTracker(), DelayTracker()
    theirs, rng = BaseDelay(), Random(5)
    for second in range(BASE_HISTORY * 60 - 1):
        drift = 100 * second  # microseconds: 100 ppm
        here, there = rng.randrange(2000), rng.randrange(2000)
        with_shift.shift(theirs.observe((20_000 + here - drift) % 2**32, float(second)))
        with_shift.sample(20_000 + there + drift, float(second))
        without.sample(20_000 + there + drift, float(second))
    assert without.queueing > 0.07
    assert with_shift.queueing < 0.005


def test_a_jump_of_the_other_direction_is_no_drift() -> None:
    tracker = DelayTracker()
    steady(tracker, 1000, 0.0)
    for jump in (MAX_DRIFT_STEP + 1, 0, -5):
        tracker.shift(jump)
    assert steady(tracker, 1000 + 50_000, 1.0) == pytest.approx(0.05)
    tracker.shift(MAX_DRIFT_STEP)
    assert steady(tracker, 1000 + 50_000, 1.0) == pytest.approx(0.04)


def test_a_clock_that_was_set_is_no_queue() -> None:
    tracker = DelayTracker()
    steady(tracker, 1000, 0.0)
    for _ in range(DELAY_FILTER):
        tracker.sample(1_200_000_000, 1.0, rtt=0.03)
    assert tracker.queueing == pytest.approx(0.03), "no longer than the round trip"
    for _ in range(DELAY_FILTER):
        tracker.sample(1_200_000_000 - 10_000, 2.0, rtt=0.03)
    assert tracker.queueing == pytest.approx(0.02), "and it is the base from then on"


@given(st.lists(st.tuples(offsets, st.floats(0, 200)), max_size=50))
def test_whatever_a_peer_says_the_delay_is_one(samples: list[tuple[int, float]]) -> None:
    tracker, now = DelayTracker(), 0.0
    for difference, later in samples:
        now += later
        assert 0.0 <= tracker.sample(difference, now) <= 2**31 / 1e6


def test_a_clock_that_was_set_back_is_no_queue_either() -> None:
    tracker = DelayTracker()
    steady(tracker, 1000, 0.0)
    steady(tracker, 1000 - 1_200_000_000, 1.0)
    assert tracker.queueing == 0.0
    assert steady(tracker, 1000 - 1_200_000_000 + 50_000, 2.0) == pytest.approx(0.05)
