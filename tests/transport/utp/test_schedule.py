"""Deadlines: each item once, at the time set last, the earliest first; against a plain dict."""

from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.schedule import Schedule

STEP = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 30))),
    st.tuples(st.just("due"), st.integers(0, 10), st.none()),
    st.tuples(st.just("next"), st.just(0), st.none()),
)


@given(st.lists(STEP, max_size=60))
def test_it_names_what_a_plain_table_names(steps: list[tuple[str, int, int | None]]) -> None:
    schedule, table, now = Schedule[int](), dict[int, float](), 0.0
    for what, number, at in steps:
        if what == "set":
            schedule.set(number, None if at is None else float(at))
            table.pop(number, None)
            if at is not None:
                table[number] = float(at)
        elif what == "due":
            now += number
            found = schedule.due(now)
            assert len(found) == len(set(found))
            assert set(found) == {item for item, when in table.items() if when <= now}
            times = [table.pop(item) for item in found]
            assert times == sorted(times)
        assert schedule.next() == min(table.values(), default=None)


def test_nothing_is_due_twice() -> None:
    schedule = Schedule[str]()
    schedule.set("a", 5.0)
    schedule.set("a", 3.0)
    schedule.set("a", 5.0)
    assert schedule.due(4.9) == []
    assert schedule.due(5.0) == ["a"]
    assert schedule.due(100.0) == []
    assert schedule.next() is None


def test_items_that_cannot_be_compared_may_have_the_same_deadline() -> None:
    schedule = Schedule[object]()
    items = [object(), object(), object()]
    for item in items:
        schedule.set(item, 1.0)
    assert schedule.due(1.0) == items, "in the order in which they were set"


def test_a_deadline_that_moves_to_later_costs_nothing() -> None:
    schedule = Schedule[str]()
    for at in range(10_000):
        schedule.set("a", float(at))
    assert len(schedule._heap) == 1


def test_what_is_taken_back_leaves_nothing_behind() -> None:
    schedule = Schedule[int]()
    for item in range(1000):
        schedule.set(item, 5.0)
        schedule.set(item, None)
    assert schedule.next() is None
    assert not schedule._heap
    assert not schedule._queued
    assert not schedule._wanted


def test_deadlines_that_moved_do_not_pile_up() -> None:
    """As of a busy connection, whose delayed acknowledgement comes before its keep-alive, beside an idle one."""
    schedule, now = Schedule[str](), 0.0
    schedule.set("idle", 29.0)
    for _ in range(1400):
        schedule.set("busy", now + 29.1)
        schedule.set("busy", now + 0.02)
        now += 0.02
        assert schedule.due(now) == ["busy"]
    assert len(schedule._heap) < 200
