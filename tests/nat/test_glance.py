"""`crust.nat.glance`: a few servers, two requests each, and then it is over."""

import random

from crust.endpoint import Address
from crust.nat.behaviour import Sighting
from crust.nat.glance import GLANCE_SECONDS, GLANCE_SENDS, GLANCE_SERVERS, Glance
from crust.nat.stun_server import StunServer
from crust.nat.survey import SPARE

SERVERS = [(f"198.51.{number}.1", 3478) for number in range(5)]
SEEN = ("203.0.113.9", 40000)


def glance(servers: list[Address], *, spare: bool = False) -> Glance:
    return Glance(servers, 0.0, spare, random.Random(1).randbytes)


def answers(machine: Glance, seen: Address = SEEN, now: float = 0.0) -> list[tuple[bytes, Address]]:
    """What servers answer to all that is to be sent now, and who."""
    found = []
    for request in machine.outgoing():
        answer = StunServer().answer(request.data, seen, now)
        assert answer is not None
        found.append((answer.data, request.to))
    return found


def test_it_is_over_as_soon_as_all_have_answered() -> None:
    machine = glance(SERVERS)
    for data, source in answers(machine):
        assert not machine.over
        assert machine.receive(data, source, 0.1)
    assert machine.over
    assert machine.next_deadline() is None
    assert machine.sightings == [Sighting(server, SEEN) for server in SERVERS[:GLANCE_SERVERS]]


def test_silence_costs_two_requests_each_and_no_more_than_its_time() -> None:
    machine, moment = glance(SERVERS), 0.0
    sent = len(machine.outgoing())
    while (due := machine.next_deadline()) is not None:
        assert due > moment, "it never asks for a moment that has passed"
        moment = due
        machine.tick(moment)
        sent += len(machine.outgoing())
    assert sent == GLANCE_SERVERS * GLANCE_SENDS
    assert moment == GLANCE_SECONDS
    assert machine.over
    assert machine.sightings == []


def test_who_is_slow_is_not_waited_for_but_still_listened_to() -> None:
    machine = glance(SERVERS[:2])
    quick, slow = answers(machine)
    machine.receive(*quick, 0.05)
    machine.tick(GLANCE_SECONDS)
    assert machine.over
    assert [sighting.observer for sighting in machine.sightings] == [SERVERS[0]]
    assert machine.receive(*slow, GLANCE_SECONDS + 0.1), "it belongs to nobody else"


def test_from_the_port_or_from_a_fresh_one() -> None:
    for spare in (False, True):
        assert {request.socket for request in glance(SERVERS, spare=spare).outgoing()} == {SPARE if spare else 0}


def test_one_server_is_asked_once() -> None:
    machine = glance([SERVERS[0]] * 5)
    ((data, source),) = answers(machine)
    machine.receive(data, source, 0.0)
    assert machine.over


def test_nobody_to_ask() -> None:
    machine = glance([])
    assert machine.over
    assert machine.outgoing() == []
    assert machine.next_deadline() is None


def test_what_nobody_can_have_seen_does_not_count() -> None:
    """Port 0, a multicast address, another family: an answer all the same."""
    for seen in (("203.0.113.9", 0), ("224.0.0.1", 7), ("2001:db8::1", 7)):
        machine = glance(SERVERS[:1])
        ((data, source),) = answers(machine, seen)
        assert machine.receive(data, source, 0.0)
        assert machine.over
        assert machine.sightings == []


def test_others_cannot_answer() -> None:
    machine = glance(SERVERS[:1])
    ((data, _),) = answers(machine)
    assert not machine.receive(data, ("198.51.100.99", 3478), 0.0)
    assert not machine.receive(b"something else", SERVERS[0], 0.0)
    assert not machine.over
