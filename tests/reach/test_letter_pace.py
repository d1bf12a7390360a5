"""`crust.reach.letter_pace`: what a carrier counts is counted, and never less."""

import random

import pytest

from crust.defence.allowance import Allowance
from crust.identity import PeerId
from crust.reach import letter_pace
from crust.reach.letter_pace import LETTERS_SPARE, MEETING_LETTERS, LetterPace
from crust.reach.letters import LETTERS_BURST, LETTERS_INTERVAL

ONE, OTHER = PeerId(bytes([1]) * 32), PeerId(bytes([2]) * 32)
AT_ONCE = (LETTERS_BURST - LETTERS_SPARE) // MEETING_LETTERS


def meetings(pace: LetterPace, carrier: PeerId, now: float) -> int:
    """How many can be begun."""
    count = 0
    while pace.reserve(carrier, now):
        count += 1
    return count


def test_many_at_once_and_then_one_after_the_other() -> None:
    pace = LetterPace()
    assert meetings(pace, ONE, 0.0) == AT_ONCE
    assert pace.wait([ONE], 0.0) == MEETING_LETTERS * LETTERS_INTERVAL
    assert meetings(pace, ONE, 1.9 * LETTERS_INTERVAL) == 0
    assert pace.wait([ONE], 1.5 * LETTERS_INTERVAL) == pytest.approx(0.5 * LETTERS_INTERVAL)
    assert meetings(pace, ONE, 2.0 * LETTERS_INTERVAL) == 1
    assert meetings(pace, ONE, 1e6) == AT_ONCE, "what was not used is not saved for ever"


def test_each_carrier_counts_by_itself() -> None:
    pace = LetterPace()
    meetings(pace, ONE, 0.0)
    assert pace.wait([ONE, OTHER], 0.0) == 0
    assert pace.reserve(OTHER, 0.0)
    assert pace.wait([], 0.0) == 0


def test_what_was_not_written_is_given_back() -> None:
    pace = LetterPace()
    meetings(pace, ONE, 0.0)
    for _ in range(MEETING_LETTERS):
        pace.give_back(ONE, 0.0)
    assert meetings(pace, ONE, 0.0) == 1
    for _ in range(LETTERS_BURST):
        pace.give_back(OTHER, 0.0)
    assert meetings(pace, OTHER, 0.0) == AT_ONCE


def test_answers_count_as_well() -> None:
    """Also those that a carrier refuses; but not for ever."""
    pace = LetterPace()
    for _ in range(10 * LETTERS_BURST):
        pace.written(ONE, 0.0)
    assert pace.wait([ONE], 0.0) == (MEETING_LETTERS + LETTERS_SPARE) * LETTERS_INTERVAL


def test_a_carrier_refuses_nothing_however_unevenly_letters_arrive() -> None:
    """They keep their order, and each is on its way for up to 3 s."""
    chance = random.Random(1)
    pace, carrier = LetterPace(), Allowance(LETTERS_BURST, 1 / LETTERS_INTERVAL)
    now = arrived = 0.0
    for _ in range(2000):
        now += pace.wait([ONE], now)
        assert pace.reserve(ONE, now)
        for _ in range(MEETING_LETTERS):
            arrived = max(arrived, now + chance.uniform(0.0, 3.0))
            assert carrier.take(arrived)


def test_how_many_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letter_pace, "KNOWN_WRITERS", 16)
    pace = LetterPace()
    for number in range(100):
        pace.written(PeerId(bytes([number]) * 32), 0.0)
    assert len(pace) == 16
