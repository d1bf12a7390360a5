"""`crust.threads.timers`: what is due is called, soonest first, once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.threads.timers import Timers


def test_nothing_is_due_when_there_is_nothing() -> None:
    timers = Timers()
    assert timers.next_deadline() is None
    timers.run_due(1e9)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30), st.floats(0, 10))
def test_the_soonest_first_and_equal_ones_in_order(entries: list[tuple[float, bool]], now: float) -> None:
    timers = Timers()
    called: list[int] = []
    made = [timers.at(when, lambda number=number: called.append(number)) for number, (when, _) in enumerate(entries)]
    for timer, (_, cancelled) in zip(made, entries, strict=True):
        if cancelled:
            timer.cancel()
    left = [(when, number) for number, (when, cancelled) in enumerate(entries) if not cancelled]
    assert timers.next_deadline() == min((when for when, _ in left), default=None)
    timers.run_due(now)
    assert called == [number for when, number in sorted(left) if when <= now]
    assert timers.next_deadline() == min((when for when, _ in left if when > now), default=None)
    timers.run_due(now)
    assert len(called) == len([when for when, _ in left if when <= now]), "once"


def test_a_timer_knows_whether_it_is_pending() -> None:
    timers = Timers()
    calls: list[str] = []
    fired, cancelled = timers.at(1, lambda: calls.append("fired")), timers.at(1, lambda: calls.append("cancelled"))
    assert fired.pending
    cancelled.cancel()
    cancelled.cancel()
    assert not cancelled.pending
    timers.run_due(1)
    assert not fired.pending
    fired.cancel()
    fired.fire()
    assert calls == ["fired"]
    assert fired.when == 1


def test_a_call_may_cancel_another_that_is_due() -> None:
    timers = Timers()
    calls: list[str] = []
    timers.at(1, lambda: other.cancel())
    other = timers.at(2, lambda: calls.append("other"))
    timers.run_due(3)
    assert calls == []
    assert timers.next_deadline() is None


def test_what_a_call_adds_waits_for_the_next_time() -> None:
    """Or a timer that always sets the next one would keep its thread for ever."""
    timers = Timers()
    calls: list[int] = []

    def again() -> None:
        calls.append(len(calls))
        timers.at(0, again)

    timers.at(0, again)
    for expected in (1, 2, 3):
        timers.run_due(1)
        assert len(calls) == expected
    assert timers.next_deadline() == 0


def test_a_call_that_raises_costs_no_other_its_turn() -> None:
    timers = Timers()
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("a bug")

    timers.at(1, fail)
    timers.at(2, lambda: calls.append("next"))
    with pytest.raises(ValueError, match="a bug"):
        timers.run_due(3)
    assert timers.next_deadline() == 2
    timers.run_due(3)
    assert calls == ["next"]
