"""`crust.reach.waiting_line`: who came first is the first one."""

from crust.identity import PeerId
from crust.reach.waiting_line import NO_TURN, WaitingLine, Wanted


def wanted(number: int, until: float) -> Wanted:
    return Wanted(PeerId(bytes([number]) * 32), lambda reason: None, until)


def test_one_after_the_other_and_who_comes_back_keeps_its_place() -> None:
    line = WaitingLine()
    three = [wanted(number, 60.0 + number) for number in range(3)]
    for each in three:
        line.add(each)
    assert line.first is three[0]
    assert line.take() is three[0]
    line.add(three[0])
    assert [line.take() for _ in range(len(line))] == three


def test_of_the_same_moment_the_first_one_stays_first() -> None:
    line = WaitingLine()
    three = [wanted(number, 60.0) for number in range(3)]
    for each in three:
        line.add(each)
    assert [line.take() for _ in range(len(line))] == three


def test_who_has_waited_too_long() -> None:
    line = WaitingLine()
    for number in range(3):
        line.add(wanted(number, 60.0 + number))
    assert line.take_late(59.9) == []
    assert [each.until for each in line.take_late(61.0)] == [60.0, 61.0]
    assert line.first.until == 62.0


def test_who_is_not_wanted_any_more() -> None:
    line = WaitingLine()
    one, other = wanted(1, 60.0), wanted(2, 61.0)
    line.add(one)
    line.add(other)
    line.remove(one.peer_id)
    line.remove(one.peer_id)
    assert line.take() is other
    assert not len(line)


def test_a_reason_is_told_once() -> None:
    one = wanted(1, 60.0)
    for number, reason in enumerate(("no", "not known", "no")):
        one.refused[PeerId(bytes([number]) * 32)] = reason
    assert one.reasons == ["no", "not known"]
    assert "48 notes for a node, two for each meeting, and then one in 1 s" in NO_TURN
