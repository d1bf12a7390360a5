"""`crust.defence.crowd`: who has to go first; without connections, and at times that the test says."""

import pytest

from crust.defence import crowd
from crust.defence.crowd import KNOWN_ALLOWANCE, MEMBER_ALLOWANCE, STRANGER_ALLOWANCE, Crowd
from tests.hand_clock import HandClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr(crowd, "now", made)
    return made


def in_order(crowd: Crowd[str]) -> list[str]:
    """Who goes, one after the other, until nobody is left."""
    gone = []
    while (one := crowd.most_overdue()) is not None:
        crowd.discard(one)
        gone.append(one)
    return gone


def test_of_strangers_the_oldest_goes_first(clock: HandClock) -> None:
    crowd: Crowd[str] = Crowd()
    for name in ("first", "second", "third"):
        crowd.add(name)
        clock.time += 0.01
    assert len(crowd) == 3
    assert list(crowd) == ["first", "second", "third"]
    assert in_order(crowd) == ["first", "second", "third"]
    assert len(crowd) == 0


def test_a_member_outlasts_strangers_until_it_is_overdue_itself(clock: HandClock) -> None:
    crowd: Crowd[str] = Crowd()
    crowd.add("member")
    crowd.prove("member")
    crowd.add("young")
    assert crowd.most_overdue() == "young"
    clock.time += MEMBER_ALLOWANCE - STRANGER_ALLOWANCE + 0.01
    crowd.add("younger")
    crowd.discard("young")
    assert in_order(crowd) == ["member", "younger"]


def test_who_is_not_there_can_neither_prove_itself_nor_leave() -> None:
    crowd: Crowd[str] = Crowd()
    crowd.prove("ghost")
    crowd.discard("ghost")
    assert len(crowd) == 0
    assert crowd.most_overdue() is None


def test_who_has_proved_itself_twice_is_not_younger_for_it(clock: HandClock) -> None:
    crowd: Crowd[str] = Crowd()
    crowd.add("first")
    crowd.prove("first")
    clock.time += 0.5
    crowd.add("second")
    crowd.prove("second")
    crowd.prove("first")
    assert in_order(crowd) == ["first", "second"]


def test_strangers_go_before_those_from_where_somebody_is_known(clock: HandClock) -> None:
    crowd: Crowd[str] = Crowd()
    crowd.add("known", known=True)
    crowd.add("member")
    crowd.prove("member")
    crowd.add("stranger")
    assert list(crowd) == ["stranger", "known", "member"]
    assert in_order(crowd) == ["stranger", "known", "member"]


def test_whoever_is_known_goes_when_it_is_overdue_and_may_prove_itself(clock: HandClock) -> None:
    crowd: Crowd[str] = Crowd()
    crowd.add("silent", known=True)
    crowd.add("honest", known=True)
    crowd.prove("honest")
    clock.time += KNOWN_ALLOWANCE - STRANGER_ALLOWANCE + 0.01
    crowd.add("stranger")
    assert in_order(crowd) == ["silent", "stranger", "honest"]
