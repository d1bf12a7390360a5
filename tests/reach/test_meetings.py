"""`crust.reach.meetings`: nodes arrange to meet through others; whatever is lost, refused, repeated or forged."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crust.identity import PeerId, UnprovenPeerId
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.meeting import MEETING_TIMEOUT, Note, Step
from crust.nat.punch_gate import MAX_MEETINGS, RELAY_BURST, REQUESTER_BURST
from crust.reach import meetings
from crust.reach.letter_pace import LETTERS_SPARE, MEETING_LETTERS
from crust.reach.letters import LETTERS_BURST, LETTERS_INTERVAL, Letter
from crust.reach.meetings import (
    CARRIERS_AT_ONCE,
    MAX_CARRIERS,
    MAX_OFFERS_HEARD,
    NO_CARRIER,
    Arranged,
)
from crust.reach.waiting_line import NO_TURN, TURN_PATIENCE
from crust.transport.framing import PUNCH, control_frame
from tests.reach.meeting_world import Line, Person, World

LONG = MEETING_TIMEOUT + 1


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> tuple[World, Person, Person, Person]:
    """Two who want to meet, and one who knows both."""
    world = World(monkeypatch, 3)
    one, other, carrier = world.persons
    world.introduce(carrier, one, other)
    return world, one, other, carrier


def check_they_meet(one: Person, other: Person) -> tuple[Arranged, Arranged]:
    """One meeting, the same on both sides."""
    (here,), (there,) = one.arranged, other.arranged
    assert (here.peer_id, there.peer_id) == (other.id, one.id)
    assert (here.ours, here.theirs) == (there.theirs, there.ours)
    assert {here.sought, there.sought} == {True, False}
    assert not one.failed
    assert not other.failed
    assert one.idle
    assert other.idle
    accepted = other if here.sought else one
    assert accepted.under_way == 1
    accepted.gate.ended()
    return here, there


# --- through one carrier --------------------------------------------------------------------------


def test_a_meeting(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    one.seek(other)
    world.run()
    here, there = check_they_meet(one, other)
    assert here.sought
    assert here.carrier == there.carrier == carrier.id
    assert (tuple(here.vouched), tuple(there.vouched)) == ((other.endpoint.host,), (one.endpoint.host,))
    assert world.sent == [
        (1, 3, Step.OFFER),
        (3, 2, Step.OFFER),
        (2, 3, Step.ACCEPT),
        (3, 1, Step.ACCEPT),
        (1, 3, Step.GO),
        (3, 2, Step.GO),
    ]
    world.run(LONG)
    assert len(world.sent) == 6
    assert not one.failed
    assert carrier.idle, "who carries remembers nothing"


def test_nobody_vouches_for_who_comes_through_a_relay(three: tuple[World, Person, Person, Person]) -> None:
    """What is seen of it is the one in the middle, who has asked for nothing."""
    world, one, other, carrier = three
    carrier.lines[one.id].relayed = True
    one.seek(other)
    world.run()
    here, there = check_they_meet(one, other)
    assert tuple(here.vouched) == (other.endpoint.host,)
    assert tuple(there.vouched) == ()


@pytest.mark.parametrize("took", [0.0, 1.5])
def test_both_begin_at_the_same_moment(three: tuple[World, Person, Person, Person], took: float) -> None:
    """Whatever the way, and however long the other needs to find out where it is."""
    world, one, other, _ = three
    world.way, other.slow = 0.04, bool(took)
    one.seek(other)
    world.run(0.08 + took)
    other.ready()
    world.run(1.0)
    here, there = check_they_meet(one, other)
    assert here.start == pytest.approx(there.start)
    assert here.start == pytest.approx(100.0 + took + 6 * 0.04)


def test_nobody_to_ask(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    world.part(one, carrier)
    assert not one.meetings.possible(other.id)
    one.seek(other)
    assert one.failed == [NO_CARRIER]
    assert one.idle
    assert not world.sent


def test_the_peer_itself_and_those_who_prove_nothing_carry_no_letters(
    three: tuple[World, Person, Person, Person],
) -> None:
    _, one, other, carrier = three
    assert one.meetings.possible(other.id)
    assert not one.meetings.possible(carrier.id)
    one.lines[carrier.id].peer_id = _unproven(carrier.id)
    assert not one.meetings.possible(other.id)


def _unproven(peer_id: PeerId) -> PeerId:
    return UnprovenPeerId(bytes(peer_id))


def test_letters_of_those_who_prove_nothing_are_not_read(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    for writer in (one, carrier):
        for line in list(writer.lines.values()):
            line.peer.lines[writer.id].peer_id = _unproven(writer.id)
    letter = Letter(other.id, Note(Step.OFFER, 1, ConnectionInfo(one.id).encode()))
    one.lines[carrier.id].put_control(_frame(letter))
    world.run()
    assert world.sent == [(1, 3, Step.OFFER)]


def test_it_is_given_up(three: tuple[World, Person, Person, Person]) -> None:
    """Before the info is there, and after the offer is out: nothing is called any more."""
    world, one, other, _ = three
    one.slow = True
    one.seek(other)
    one.meetings.give_up(other.id)
    one.ready()
    world.run()
    assert not world.sent
    one.slow = False
    one.seek(other)
    one.meetings.give_up(other.id)
    world.run(LONG)
    assert one.idle
    assert other.idle
    assert not one.failed
    assert not one.arranged
    assert not other.arranged
    assert other.under_way == 0, "its gate counts no meeting that never began"


def test_stop_ends_everything(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, _ = three
    world.way = 1.0
    one.seek(other)
    world.run(2.5)
    one.meetings.stop()
    other.meetings.stop()
    assert one.idle
    assert other.idle
    world.run(LONG)
    assert one.timers.next_deadline() is None
    assert other.timers.next_deadline() is None
    assert not [*one.failed, *one.arranged, *other.arranged]


# --- through several ------------------------------------------------------------------------------


def crowd(monkeypatch: pytest.MonkeyPatch, carriers: int) -> tuple[World, Person, Person, list[Person]]:
    world = World(monkeypatch, carriers + 2)
    one, other, *rest = world.persons
    world.introduce(one, *rest)
    return world, one, other, rest


@pytest.mark.parametrize("who", [0, 1, 5, 11])
def test_several_carriers_one_of_which_knows_the_peer(monkeypatch: pytest.MonkeyPatch, who: int) -> None:
    world, one, other, carriers = crowd(monkeypatch, 12)
    world.introduce(carriers[who], other)
    one.seek(other)
    assert len(world.ways()) == CARRIERS_AT_ONCE
    world.run()
    here, _ = check_they_meet(one, other)
    assert here.carrier == carriers[who].id


def test_nobody_knows_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one, other, _ = crowd(monkeypatch, 40)
    one.seek(other)
    world.run()
    (reason,) = one.failed
    assert reason.count("has no connection with that peer") == MAX_CARRIERS
    assert world.count(Step.OFFER) == MAX_CARRIERS
    assert one.idle
    world.run(LONG)
    assert len(one.failed) == 1


def test_offers_come_through_two_carriers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one counts, and who is late is not answered."""
    world, one, other, carriers = crowd(monkeypatch, 3)
    world.introduce(other, *carriers)
    one.seek(other)
    world.run()
    check_they_meet(one, other)
    assert world.count(Step.ACCEPT, other) == 1
    assert world.count(Step.REFUSE) == 0
    world.run(LONG)
    assert not one.failed


def test_the_carrier_dies_midway(three: tuple[World, Person, Person, Person]) -> None:
    """Whichever letter is the last one: nothing is left behind, and who asked is told."""
    world, one, other, carrier = three
    world.way = 1.0
    for moment in (0.5, 1.5, 2.5, 3.5):
        one.seek(other)
        world.run(moment)
        world.part(one, carrier)
        world.part(carrier, other)
        world.run(LONG)
        (reason,) = one.failed
        assert "did not answer within 10 seconds" in reason
        assert one.idle
        assert other.idle
        assert other.under_way == 0
        assert not [*one.arranged, *other.arranged]
        one.failed.clear()
        world.introduce(carrier, one, other)
        world.run(60.0)


def test_another_carrier_is_asked_where_one_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one, other, carriers = crowd(monkeypatch, 6)
    world.introduce(carriers[0], other)
    one.slow = True
    one.seek(other)
    for gone in carriers[1:4]:
        world.part(one, gone)
    one.ready()
    world.run()
    check_they_meet(one, other)


# --- more than a carrier carries at once ----------------------------------------------------------


AT_ONCE = (LETTERS_BURST - LETTERS_SPARE) // MEETING_LETTERS
"""Meetings for which a carrier has room at once, and seconds until it has room for one more."""
NEXT = MEETING_LETTERS * LETTERS_INTERVAL


def many(monkeypatch: pytest.MonkeyPatch, number: int) -> tuple[World, Person, Person, list[Person]]:
    """One who knows somebody who knows so many others."""
    world = World(monkeypatch, number + 2)
    one, carrier, *others = world.persons
    world.introduce(carrier, one, *others)
    return world, one, carrier, others


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "with a look outside"])
def test_more_meetings_than_a_carrier_carries_at_once_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """None is begun that could not be brought to its end, and the first one that waits is the next one."""
    world, one, _, others = many(monkeypatch, AT_ONCE + 5)
    one.slow = slow
    for other in others:
        one.seek(other)
    one.ready()
    world.run()
    for met in range(AT_ONCE, len(others) + 1):
        assert [each.peer_id for each in one.arranged] == [other.id for other in others[:met]]
        world.run(NEXT)
        assert len(one.preparing) == (slow and met < len(others)), "one at a time looks where it is"
        one.ready()
        world.run()
    assert world.count(Step.REFUSE) == 0
    assert all(len(other.arranged) == 1 for other in others)
    assert not one.failed
    assert one.idle
    world.run(LONG)
    assert one.timers.next_deadline() is None


def test_who_waits_too_long_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    in_time = AT_ONCE + int(TURN_PATIENCE / NEXT) - 1
    world, one, _, others = many(monkeypatch, in_time + 5)
    for other in others:
        one.seek(other)
    world.run(TURN_PATIENCE - 1)
    assert not one.failed
    assert len(one.arranged) == in_time
    world.run(NEXT)
    assert one.failed == [NO_TURN] * 5
    assert len(one.arranged) == in_time
    assert one.idle
    assert world.count(Step.REFUSE) == 0


def test_who_waits_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody behind it waits for it."""
    world, one, _, others = many(monkeypatch, AT_ONCE + 3)
    for other in others:
        one.seek(other)
    world.run()
    one.meetings.give_up(others[AT_ONCE].id)
    world.run(NEXT)
    assert one.arranged[-1].peer_id == others[AT_ONCE + 1].id
    one.meetings.stop()
    assert one.idle
    world.run(LONG)
    assert one.timers.next_deadline() is None
    assert len(one.arranged) == AT_ONCE + 1
    assert not one.failed


def test_who_waits_and_is_sought_by_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one, _, others = many(monkeypatch, AT_ONCE + 1)
    for other in others:
        one.seek(other)
    world.run()
    last = others[-1]
    last.seek(one)
    world.run()
    assert one.arranged[-1].peer_id == last.id
    assert not one.arranged[-1].sought
    assert one.idle
    world.run(LONG)
    assert len(one.arranged) == len(others)


def test_all_who_have_room_refuse_and_then_it_is_the_turn_of_who_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has refused is not asked again, and who knows the peer is asked as soon as that is possible."""
    world, one, carrier, others = many(monkeypatch, AT_ONCE + 1)
    for other in others[:-1]:
        one.seek(other)
    world.run()
    stranger = Person(world, len(world.persons) + 1)
    world.persons.append(stranger)
    world.introduce(one, stranger)
    one.seek(others[-1])
    world.run()
    assert not one.failed
    assert len(one.arranged) == AT_ONCE
    world.run(NEXT)
    assert one.arranged[-1].carrier == carrier.id
    assert len(one.arranged) == len(others)
    assert world.count(Step.OFFER, one) == len(others) + 1
    assert one.idle


def test_all_carriers_go_while_a_meeting_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one, carrier, others = many(monkeypatch, AT_ONCE + 1)
    for other in others:
        one.seek(other)
    world.run()
    world.part(one, carrier)
    world.run(NEXT)
    assert one.failed == [NO_CARRIER]
    assert one.idle


def test_who_has_arranged_a_meeting_is_asked_first_however_many_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those met through it are all connected later than it, and would be all that are asked."""
    world, one, other, (*rest, carrier) = crowd(monkeypatch, MAX_CARRIERS + 2)
    world.introduce(carrier, other, rest[0])
    one.seek(other)
    world.run()
    assert one.arranged.pop().carrier == carrier.id
    world.part(one, carrier)
    world.part(one, rest[0])
    one.lines = {carrier.id: Line(world, one, carrier), **one.lines}
    carrier.lines[one.id] = Line(world, carrier, one)
    one.seek(rest[0])
    world.run()
    assert [each.carrier for each in one.arranged] == [carrier.id]
    assert one.idle


def test_letters_that_were_not_written_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meeting that is refused needs no second letter."""
    world, one, carrier, others = many(monkeypatch, 2 * AT_ONCE - 1)
    for other in others:
        world.part(carrier, other)
        one.seek(other)
        world.run()
    assert len(one.failed) == len(others), "each of them at once"
    assert all("has no connection with that peer" in reason for reason in one.failed)


# --- both at once ---------------------------------------------------------------------------------


Order = Callable[[int], int]


def both_seek(monkeypatch: pytest.MonkeyPatch, carriers: int, slow: bool, choose: Order) -> None:
    """Both seek each other; who does what next is chosen among all that may happen, until nothing is left."""
    world = World(monkeypatch, carriers + 2)
    one, other, *rest = world.persons
    for carrier in rest:
        world.introduce(carrier, one, other)
    one.slow = other.slow = slow
    wishes = [(one, other), (other, one)]

    def wish(each: tuple[Person, Person]) -> None:
        wishes.remove(each)
        each[0].seek(each[1])

    while True:
        steps: list[Callable[[], None]] = [partial(wish, each) for each in wishes]
        steps += [partial(world.deliver, way) for way in world.ways()]
        steps += [person.ready for person in (one, other) if person.preparing]
        # Who has met does not seek any more: `Reach` waits for what comes of it.
        if any(each[0].arranged for each in wishes):
            return
        if not steps:
            break
        steps[choose(len(steps))]()
    check_they_meet(one, other)
    world.run(LONG)
    assert not one.failed
    assert not other.failed
    assert one.under_way == other.under_way == 0


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "with a look outside"])
def test_both_seek_each_other_in_every_order(monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """All orders in which the letters, the wishes and the looks outside can come through one carrier."""
    tried = 0
    path: list[tuple[int, int]] = []  # what was chosen, of how many
    while True:
        step = itertools.count()

        def choose(options: int, step: "itertools.count[int]" = step) -> int:
            at = next(step)
            if at == len(path):
                path.append((0, options))
            return path[at][0]

        both_seek(monkeypatch, 1, slow, choose)
        tried += 1
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            break
        path[-1] = path[-1][0] + 1, path[-1][1]
    assert tried >= 30, "the orders are few, but all of them"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 59), min_size=40, max_size=40))
def test_both_seek_each_other_through_several(monkeypatch: pytest.MonkeyPatch, choices: Sequence[int]) -> None:
    order = itertools.cycle(choices)
    both_seek(monkeypatch, 3, True, lambda options: next(order) % options)


def test_who_was_asked_first_is_told_when_nothing_comes_of_it(three: tuple[World, Person, Person, Person]) -> None:
    """It has accepted, then wishes for the same meeting itself, and the peer does not begin."""
    world, one, other, carrier = three
    for first, second in ((one, other), (other, one)):
        second.failed.clear()
        first.seek(second)
        world.deliver((first.name, 3))
        world.deliver((3, second.name))
        second.seek(first)
        world.part(first, carrier)
        world.run(LONG)
        assert len(second.failed) == 1
        assert second.idle
        assert second.under_way == 0
        world.introduce(carrier, first)
        world.run(100.0)


# --- refusals -------------------------------------------------------------------------------------


def test_who_is_not_welcome(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, _ = three
    other.blacklist.add([one.id])
    one.seek(other)
    world.run()
    assert one.failed == ["it is not welcome here"]
    assert not other.arranged
    assert other.under_way == 0
    assert other.idle


def test_who_is_only_at_places_that_are_not_welcome(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    other.blacklist.add(["203.0.113.0/24"])
    candidate = Candidate(CandidateKind.REFLEXIVE, one.endpoint.tcp("203.0.113.1:7"))
    offer = Note(Step.OFFER, 1, ConnectionInfo(one.id, (candidate,)).encode())
    one.lines[carrier.id].put_control(_frame(Letter(other.id, offer)))
    world.run()
    assert world.count(Step.REFUSE, other) == 1


def test_who_asks_too_often_is_refused(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, _ = three
    for _ in range(REQUESTER_BURST):
        one.seek(other)
        world.run()
        other.gate.ended()
    one.seek(other)
    world.run()
    assert one.failed == ["too many requests by this peer; try again in 20 seconds"]
    world.run(20.0)
    one.seek(other)
    world.run()
    assert len(one.failed) == 1
    assert len(one.arranged) == len(other.arranged) == REQUESTER_BURST + 1


def test_a_second_offer_while_one_is_accepted(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    _offers(one, other, carrier, range(2))
    world.run()
    assert world.count(Step.ACCEPT, other) == 1
    assert world.count(Step.REFUSE, other) == 1
    world.run(LONG)
    assert other.under_way == 0


def test_a_second_offer_while_the_first_is_being_answered(three: tuple[World, Person, Person, Person]) -> None:
    """The gate counts each admitted meeting, so that each has to end: or it would be closed one day."""
    world, one, other, carrier = three
    other.slow = True
    _offers(one, other, carrier, range(REQUESTER_BURST))
    world.run()
    assert other.preparing
    other.ready()
    world.run()
    assert world.count(Step.ACCEPT, other) == 1
    assert other.under_way == 1
    world.run(LONG)
    assert other.under_way == 0
    assert other.idle


# --- who means harm -------------------------------------------------------------------------------


def _frame(letter: Letter) -> bytes:
    return control_frame(PUNCH, letter.content())


def _offers(one: Person, other: Person, carrier: Person, numbers: Sequence[int]) -> None:
    for number in numbers:
        offer = Note(Step.OFFER, number, ConnectionInfo(one.id).encode())
        one.lines[carrier.id].put_control(_frame(Letter(other.id, offer)))


def test_a_stranger_floods_with_offers(three: tuple[World, Person, Person, Person]) -> None:
    """The carrier takes a few; the peer accepts fewer."""
    world, one, other, carrier = three
    _offers(one, other, carrier, range(500))
    world.run()
    assert world.sent.count((3, 2, Step.OFFER)) == LETTERS_BURST
    assert world.count(Step.REFUSE, carrier) == 500 - LETTERS_BURST + world.count(Step.REFUSE, other)
    assert world.count(Step.ACCEPT, other) == 1
    world.run(LETTERS_INTERVAL * 10)
    _offers(one, other, carrier, range(1000, 1500))
    world.run()
    assert world.sent.count((3, 2, Step.OFFER)) <= LETTERS_BURST + 11


def test_a_carrier_floods_with_offers_of_people_whom_it_makes_up(three: tuple[World, Person, Person, Person]) -> None:
    """It cannot have us send more than the gate allows, and what we keep of it is bounded."""
    world, _, other, carrier = three
    line = carrier.lines[other.id]
    for number in range(1, 2 * MAX_OFFERS_HEARD):
        made_up = PeerId(number.to_bytes(32, "big"))
        offer = Note(Step.OFFER, number, ConnectionInfo(made_up).encode())
        line.put_control(_frame(Letter(made_up, offer, True)))
    world.run()
    assert world.count(Step.ACCEPT, other) <= min(RELAY_BURST, MAX_MEETINGS)
    assert len(other.meetings._offered) <= MAX_MEETINGS
    assert len(other.meetings._heard) == MAX_OFFERS_HEARD
    world.run(LONG)
    assert other.idle
    assert other.under_way == 0


def test_many_writers_are_not_all_remembered(
    three: tuple[World, Person, Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, 1)
    (carrier,) = world.persons
    monkeypatch.setattr(meetings, "KNOWN_WRITERS", 16)
    carrier.__init__(world, 1)  # type: ignore[misc]
    for number in range(100):
        world.introduce(carrier, stranger := _Stranger(world, number))
        letter = Letter(PeerId(bytes(32)), Note(Step.GO, 1))
        carrier.meetings.letter(carrier.lines[stranger.id], letter.content())  # type: ignore[arg-type]
    assert len(carrier.meetings._writers) == 16


class _Stranger(Person):
    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, 1)
        self.id = PeerId(bytes([9, number]) + bytes(30))


def test_an_offer_with_the_info_of_somebody_else(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, carrier = three
    offer = Note(Step.OFFER, 1, ConnectionInfo(carrier.id).encode())
    one.lines[carrier.id].put_control(_frame(Letter(other.id, offer)))
    world.run()
    assert world.sent == [(1, 3, Step.OFFER), (3, 2, Step.OFFER)]
    assert other.idle


def test_letters_from_us_to_us_and_from_the_carrier_itself(three: tuple[World, Person, Person, Person]) -> None:
    world, _, other, carrier = three
    for writer in (other, carrier):
        offer = Note(Step.OFFER, 1, ConnectionInfo(writer.id).encode())
        carrier.lines[other.id].put_control(_frame(Letter(writer.id, offer, True)))
    world.run()
    assert len(world.sent) == 2
    assert other.idle


def test_a_carrier_that_answers_for_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own info: it is not asked any more, and the meeting takes place through another one."""
    world, one, other, (liar, honest) = crowd(monkeypatch, 2)
    world.introduce(honest, other)
    one.seek(other)
    ((_, offer),) = world.post.pop((1, liar.name))
    accept = Note(Step.ACCEPT, offer["meeting"], ConnectionInfo(liar.id).encode())
    liar.lines[one.id].put_control(_frame(Letter(other.id, accept, True)))
    world.deliver((liar.name, 1))
    assert not one.arranged
    world.run()
    here, _ = check_they_meet(one, other)
    assert here.carrier == honest.id


def test_who_was_not_asked_answers(three: tuple[World, Person, Person, Person]) -> None:
    world, one, other, _ = three
    world = one.world
    eve = Person(world, 9)
    one.seek(other)
    number = next(iter(one.meetings._sought.values())).meeting.number
    world.introduce(one, eve)
    for note in (
        Note(Step.ACCEPT, number, ConnectionInfo(other.id).encode()),
        Note(Step.REFUSE, number, reason="no"),
        Note(Step.GO, number),
    ):
        one.meetings.letter(one.lines[eve.id], Letter(other.id, note, True).content())  # type: ignore[arg-type]
    assert not [*one.failed, *one.arranged]
    world.run()
    check_they_meet(one, other)


def test_go_comes_only_from_the_carrier_of_the_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one, other, (carrier, eve) = crowd(monkeypatch, 2)
    world.introduce(carrier, other)
    world.introduce(eve, other)
    world.part(one, eve)
    one.seek(other)
    for way in ((1, 3), (3, 2)):
        world.deliver(way)
    number = other.meetings._offered[one.id].meeting.number
    for step in (Step.GO, Step.REFUSE):
        letter = Letter(one.id, Note(step, number), True)
        other.meetings.letter(other.lines[eve.id], letter.content())  # type: ignore[arg-type]
    assert not other.arranged
    assert not other.idle
    world.run()
    check_they_meet(one, other)


@pytest.mark.parametrize("content", [{}, {"to": "x"}, {"from": "00" * 32, "step": "go"}, {"to": "00" * 32, "step": 1}])
def test_garbage_is_ignored(three: tuple[World, Person, Person, Person], content: dict[str, object]) -> None:
    world, one, _, carrier = three
    carrier.meetings.letter(carrier.lines[one.id], content)  # type: ignore[arg-type]
    assert not world.sent


def test_the_birthday_method_is_not_used_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a thousand probes: the second one who asks for it within a minute is refused."""
    random = Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.RANDOM)
    world = World(monkeypatch, 4)
    one, two, other, carrier = world.persons
    world.introduce(carrier, one, two, other)
    one.behaviour = two.behaviour = random
    other.behaviour = Behaviour(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
    one.seek(other)
    world.run()
    two.seek(other)
    world.run()
    assert len(one.arranged) == 1
    assert "birthday method was used just now" in two.failed[0]
