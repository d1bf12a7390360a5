"""Round trips and time-outs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.constants import INITIAL_TIMEOUT, MAX_TIMEOUT, MIN_TIMEOUT
from crust.transport.utp.round_trip import RoundTrip


def test_before_the_first_sample() -> None:
    trip = RoundTrip()
    assert trip.smoothed is None
    assert trip.lowest is None
    assert trip.timeout == INITIAL_TIMEOUT == 1.0


def test_the_arithmetic_of_bep_29() -> None:
    trip = RoundTrip()
    trip.sample(0.4, 0.0)
    assert (trip.smoothed, trip.variance) == (0.4, 0.2)
    assert trip.timeout == pytest.approx(0.4 + 4 * 0.2)
    trip.sample(0.8, 1.0)
    assert trip.smoothed == pytest.approx(0.4 + 0.4 / 8)
    assert trip.variance == pytest.approx(0.2 + (0.4 - 0.2) / 4)
    assert trip.timeout == pytest.approx(0.45 + 4 * 0.25)


def test_short_round_trips_have_the_shortest_timeout() -> None:
    trip = RoundTrip()
    for _ in range(20):
        trip.sample(0.001, 0.0)
    assert trip.timeout == MIN_TIMEOUT == 0.5


def test_each_timeout_in_a_row_doubles_the_next_one() -> None:
    trip = RoundTrip()
    timeouts = [trip.timeout]
    for _ in range(8):
        trip.back_off()
        timeouts.append(trip.timeout)
    assert timeouts == [1, 2, 4, 8] + [MAX_TIMEOUT] * 5
    for _ in range(10_000):
        trip.back_off()
    assert trip.timeout == MAX_TIMEOUT
    assert trip.backoffs == 10_008


def test_an_answer_ends_the_back_off() -> None:
    trip = RoundTrip()
    trip.back_off()
    trip.forgive()
    assert (trip.backoffs, trip.timeout) == (0, INITIAL_TIMEOUT)
    trip.back_off()
    trip.sample(0.1, 0.0)
    assert (trip.backoffs, trip.timeout) == (0, MIN_TIMEOUT)


def test_the_lowest_is_that_of_the_last_minutes() -> None:
    trip = RoundTrip()
    trip.sample(0.02, 0.0)
    trip.sample(0.3, 10.0)
    assert trip.lowest == 0.02
    trip.sample(0.2, 70.0)
    assert trip.lowest == 0.02, "of the minute before"
    trip.sample(0.25, 140.0)
    assert trip.lowest == 0.2
    trip.sample(0.3, 10_000.0)
    trip.sample(0.35, 20_000.0)
    assert trip.lowest == 0.3


@given(st.lists(st.floats(-1.0, 1e4), min_size=1))
def test_the_timeout_is_always_within_its_bounds(samples: list[float]) -> None:
    trip = RoundTrip()
    for number, rtt in enumerate(samples):
        trip.sample(rtt, float(number))
        assert MIN_TIMEOUT <= trip.timeout <= MAX_TIMEOUT
        assert trip.smoothed is not None
        assert trip.smoothed >= 0
        assert trip.lowest is not None
        assert 0 <= trip.lowest <= max(rtt, 0)


def test_round_trips_that_never_varied_leave_a_margin() -> None:
    trip = RoundTrip()
    for _ in range(100):
        trip.sample(0.8, 0.0)
    assert trip.timeout == pytest.approx(0.9)
