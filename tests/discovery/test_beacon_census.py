"""`crust.discovery.beacon_census`: what is remembered, and that it is bounded."""

import pytest

from crust.discovery.beacon_census import MAX_ANSWERS, MAX_HEARD, MAX_NONCES, MAX_PROVED, MAX_QUESTIONS, Census
from tests.discovery.beacon_world import announcement

ABOUT = announcement(1)
HERE = ("10.0.0.1", 40_000)
THERE = ("10.0.0.2", 40_000)


def guid(number: int) -> bytes:
    return number.to_bytes(16)


def test_beacons_are_counted_once_and_forgotten_after_a_while() -> None:
    census = Census()
    for now in range(10):
        census.hear(guid(now % 3), now)
    assert len(census) == 3
    census.forget(before=8, now=9)
    assert len(census) == 2


def test_a_repeated_datagram_is_recognised() -> None:
    census = Census()
    assert not census.repeated(b"a" * 24)
    assert not census.repeated(b"b" * 24)
    assert census.repeated(b"a" * 24)
    with pytest.raises(ValueError):
        census.repeated(b"short")


def test_only_what_was_proved_is_known() -> None:
    census = Census()
    assert not census.knows(guid(1), "10.0.0.1", ABOUT, 0.0)
    assert census.prove(guid(1), "10.0.0.1", ABOUT, 1, 0.0)
    assert census.knows(guid(1), "10.0.0.1", ABOUT, 1.0)
    assert not census.knows(guid(1), "10.0.0.2", ABOUT, 1.0)  # somewhere else
    assert not census.knows(guid(1), "10.0.0.1", ABOUT._replace(utp_port=7), 1.0)  # another port now
    census.forget(before=0.5, now=1.0)
    assert census.knows(guid(1), "10.0.0.1", ABOUT, 1.0)  # was heard at 1.0
    census.forget(before=1.5, now=2.0)
    assert not census.knows(guid(1), "10.0.0.1", ABOUT, 2.0)


def test_what_is_news() -> None:
    census = Census()
    assert census.prove(guid(1), "10.0.0.1", ABOUT, 1, 0.0)
    assert not census.prove(guid(1), "10.0.0.1", ABOUT, 1, 0.0)
    assert census.prove(guid(1), "10.0.0.1", ABOUT, 2, 0.0)  # in another round
    assert census.prove(guid(1), "10.0.0.1", ABOUT._replace(tcp_port=7), 2, 0.0)
    assert census.prove(guid(1), "10.0.0.9", ABOUT, 2, 0.0)


def test_an_answer_belongs_to_a_question() -> None:
    census = Census()
    census.ask(b"toeveryb", None, until=5.0)
    census.ask(b"tosomebo", HERE, until=5.0)
    assert census.answered(b"toeveryb", THERE, 1.0)
    assert census.answered(b"tosomebo", HERE, 5.0)
    assert census.answered(b"tosomebo", THERE, 1.0) is None  # was not asked
    assert census.answered(b"unknown.", HERE, 1.0) is None
    assert census.answered(b"toeveryb", HERE, 5.1) is None  # too late
    census.forget(before=0.0, now=5.1)
    assert census.answered(b"toeveryb", HERE, 1.0) is None


def test_one_question_does_not_take_answers_without_end() -> None:
    census = Census()
    census.ask(b"toeveryb", None, until=5.0)
    taken = [census.answered(b"toeveryb", ("10.0.0.1", port), 1.0) for port in range(MAX_ANSWERS + 10)]
    assert sum(one is not None for one in taken) == MAX_ANSWERS


def test_everything_is_bounded() -> None:
    census = Census()
    for number in range(10_000):
        census.hear(guid(number), 0.0)
        census.prove(guid(number), "10.0.0.1", ABOUT, 1, 0.0)
        census.repeated(number.to_bytes(24))
        census.ask(number.to_bytes(8), None, 1.0)
    sizes = len(census._heard), len(census._proved), len(census._nonces), len(census._questions)
    assert sizes == (MAX_HEARD, MAX_PROVED, MAX_NONCES, MAX_QUESTIONS)
    assert census.repeated((9_999).to_bytes(24))  # the newest stay
    assert census.knows(guid(9_999), "10.0.0.1", ABOUT, 0.0)
