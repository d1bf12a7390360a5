"""Attempts are repeated for what they are meant for. This needs no lab."""

import pytest

from tests.lab.attempts import attempts


@pytest.fixture(autouse=True)
def possible() -> None:
    """Without a lab, everywhere."""


def goes_for(figures: list[int], wanted: int) -> None:
    for attempt in attempts(3):
        with attempt:
            assert 6 / figures.pop() == wanted


def test_the_first_success_is_enough() -> None:
    figures = [1, 1, 2, 3]
    goes_for(figures, 3)
    assert figures == [1, 1]


def test_the_last_failure_counts() -> None:
    figures = [1, 1, 2, 3]
    with pytest.raises(AssertionError):
        goes_for(figures, 7)
    assert figures == [1]


def test_other_errors_are_not_repeated() -> None:
    figures = [1, 0, 3]
    with pytest.raises(ZeroDivisionError):
        goes_for(figures, 7)
    assert figures == [1]
