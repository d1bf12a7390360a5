"""Numbers that wrap around."""

from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.sequence import micros, micros_distance, seq_add, seq_before, seq_distance

seq_nrs = st.integers(0, 0xFFFF)
times = st.integers(0, 0xFFFF_FFFF)


def test_sequence_numbers_wrap_around() -> None:
    assert seq_add(0xFFFF, 1) == 0
    assert seq_add(0, -1) == 0xFFFF
    assert seq_distance(0xFFFE, 3) == 5
    assert seq_distance(3, 0xFFFE) == -5
    assert seq_before(0xFFFF, 0)
    assert not seq_before(0, 0xFFFF)
    assert not seq_before(7, 7)


def test_half_a_circle_is_before_in_neither_direction() -> None:
    assert seq_distance(0, 0x8000) == seq_distance(0x8000, 0) == -0x8000
    assert not seq_before(0, 0x8000)
    assert not seq_before(0x8000, 0)
    assert seq_before(0, 0x7FFF)


@given(a=seq_nrs, n=st.integers(-0x8000, 0x7FFF))
def test_distance_undoes_add(a: int, n: int) -> None:
    b = seq_add(a, n)
    assert 0 <= b <= 0xFFFF
    assert seq_distance(a, b) == n
    assert seq_before(a, b) == (n > 0)


def test_times_wrap_around() -> None:
    assert micros(0.0) == 0
    assert micros(1.5) == 1_500_000
    assert micros(2**32 / 1e6 + 3.0) == 3_000_000
    assert micros_distance(0xFFFF_FFFF, 4) == 5
    assert micros_distance(4, 0xFFFF_FFFF) == -5
    assert micros_distance(0, 0x8000_0000) == -0x8000_0000


@given(a=times, n=st.integers(-(2**31), 2**31 - 1))
def test_time_distance_undoes_adding(a: int, n: int) -> None:
    assert micros_distance(a, (a + n) % 2**32) == n


@given(start=st.floats(0, 1e7), later=st.floats(0, 2000))
def test_times_on_the_wire_measure_what_passed(start: float, later: float) -> None:
    assert abs(micros_distance(micros(start), micros(start + later)) - later * 1e6) < 2
