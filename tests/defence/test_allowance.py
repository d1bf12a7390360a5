"""`crust.defence.allowance`: so much at once, and so much for long."""

import pytest

from crust.defence.allowance import Allowance, Allowances


def taken(allowance: Allowance, now: float) -> int:
    count = 0
    while allowance.take(now):
        count += 1
    return count


def test_a_burst_and_then_a_rate() -> None:
    allowance = Allowance(burst=10, per_second=2)
    assert taken(allowance, 100.0) == 10
    assert taken(allowance, 100.4) == 0
    assert taken(allowance, 103.0) == 6
    assert taken(allowance, 1e6) == 10  # what was not used is not saved for ever


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(burst=1, per_second=1)
    assert allowance.take(50.0)
    assert not allowance.take(10.0)
    assert allowance.take(11.0)


def test_wait_says_when_there_is_enough_again() -> None:
    allowance = Allowance(burst=10, per_second=2)
    assert allowance.wait(0.0) == 0
    assert taken(allowance, 0.0) == 10
    assert allowance.wait(0.0) == pytest.approx(0.5)
    assert allowance.wait(0.0, 4) == pytest.approx(2.0)
    assert allowance.wait(0.0, 1000) == pytest.approx(5.0)  # never more than a burst


def test_each_has_its_own() -> None:
    each = Allowances(most=3, burst=2, per_second=1)
    assert [each.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert each.take("b", 0.0)


def test_the_table_is_bounded_and_keeps_who_is_active() -> None:
    each = Allowances(most=3, burst=1, per_second=0.001)
    for who in ("a", "b", "a", "c", "a", "d"):
        each.take(who, 0.0)
    assert len(each) == 3
    assert not each.take("a", 0.0)  # still known
    assert each.take("b", 0.0)  # forgotten
