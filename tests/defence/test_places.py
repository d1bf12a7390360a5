"""`Places`: everybody finds a place, and who has to go for it is always the most overdue of where it is too full."""

from dataclasses import dataclass

import pytest

from crust.defence import crowd
from crust.defence.places import SLOWED_SHARE, Places


@dataclass(frozen=True)
class Guest:
    name: str
    groups: tuple[str, ...]


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 0.001
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(crowd, "now", made)
    return made


def guest(number: int, address: str = "a", neighbourhood: str = "n") -> Guest:
    return Guest(f"{number}", (address, neighbourhood))


def enter(places: Places[Guest], *guests: Guest, known: bool = False, slowed: bool = False) -> list[Guest | None]:
    return [places.enter(each, known, slowed) for each in guests]


def test_as_many_as_there_are_places() -> None:
    places: Places[Guest] = Places(4, 4)
    first, *others = [guest(number, f"a{number}", f"n{number}") for number in range(6)]
    assert enter(places, first, *others[:3]) == [None] * 4
    assert enter(places, *others[3:]) == [first, others[0]]
    assert places.everybody() == others[1:]
    assert len(places) == 4


def test_of_one_address() -> None:
    places: Places[Guest] = Places(100, 2)
    elsewhere, one, two, three = guest(0, "b"), guest(1), guest(2), guest(3)
    assert enter(places, elsewhere, one, two, three) == [None, None, None, one]
    assert places.everybody() == [elsewhere, two, three]


def test_of_one_neighbourhood_there_are_half() -> None:
    places: Places[Guest] = Places(8, 2)
    others = [guest(number, f"x{number}", f"m{number}") for number in range(2)]
    crowd_ = [guest(number, f"a{number}") for number in range(6)]
    assert enter(places, *others, *crowd_) == [None] * 6 + crowd_[:2]
    assert places.everybody() == [*others, *crowd_[2:]]


def test_where_too_many_come_from_there_are_few() -> None:
    places: Places[Guest] = Places(100, 2 * SLOWED_SHARE)
    guests = [guest(number) for number in range(5)]
    assert enter(places, *guests, slowed=True) == [None, None, *guests[:3]]
    assert enter(Places(100, 1), *guests[:2], slowed=True) == [None, guests[0]], "one place there always is"


def test_who_has_proved_something_goes_last() -> None:
    places: Places[Guest] = Places(4, 4)
    member, known, *strangers = [guest(number, f"a{number}", f"n{number}") for number in range(6)]
    enter(places, member)
    places.prove(member)
    enter(places, known, known=True)
    assert enter(places, *strangers) == [None, None, *strangers[:2]]
    assert {member, known} < set(places.everybody())
    assert places.take_most_overdue() == strangers[2]


def test_proof_counts_in_the_groups_as_well() -> None:
    places: Places[Guest] = Places(100, 2)
    member, stranger, late = guest(0), guest(1), guest(2)
    enter(places, member, stranger)
    places.prove(member)
    assert enter(places, late) == [stranger]


def test_whoever_has_no_place_does_not_get_one_by_proof() -> None:
    places: Places[Guest] = Places(4, 4)
    places.prove(guest(1))
    assert not places.everybody()
    assert places.take_most_overdue() is None


def test_nothing_is_left_of_those_who_leave() -> None:
    places: Places[Guest] = Places(10, 10)
    guests = [guest(number, f"a{number % 2}") for number in range(4)]
    enter(places, *guests)
    for each in guests:
        places.leave(each)
        places.leave(each)
    assert len(places) == 0
    assert not places._groups
