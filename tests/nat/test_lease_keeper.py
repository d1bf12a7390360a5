"""`crust.nat.lease_keeper`: ports kept mapped over PCP and NAT-PMP, in virtual time."""

from collections.abc import Callable

import pytest

from crust.endpoint import Endpoint, Port
from crust.nat.gateway_answer import Dialect
from crust.nat.keeping import ERROR_PAUSE, FORGET_PAUSE, LEASE, MAX_LEASE, MIN_RENEWAL, NEVER, Status
from crust.nat.lease_keeper import LeaseKeeper
from crust.nat.natpmp import NatPmp
from crust.nat.pcp import Pcp
from tests.nat.gateway_fakes import TCP, UDP, FakeRouter, natpmp_mapping, pcp_answer

PORTS = [Port.tcp(5483), Port.utp(5484)]
MAPPED = {(5483, TCP): 5483, (5484, UDP): 5484}
both = pytest.mark.parametrize("dialect", [Pcp("192.168.1.2"), NatPmp()], ids=["PCP", "NAT-PMP"])


class World:
    """A keeper and its router; `run` lets time pass, from deadline to deadline."""

    def __init__(self, dialect: Dialect, start: float = 1000.0) -> None:
        self.now = start
        self.router = FakeRouter(2 if isinstance(dialect, Pcp) else 0)
        self.keeper = LeaseKeeper(dialect, "192.168.1.2", self.now)
        self.sent: list[float] = []
        self.lose: Callable[[int], bool] = lambda number: False

    def turn(self) -> None:
        while datagrams := self.keeper.outgoing(self.now):
            for data in datagrams:
                self.sent.append(self.now)
                answer = None if self.lose(len(self.sent)) else self.router.answer(data, self.now)
                if answer is not None:
                    self.keeper.receive(answer, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self.turn()
        while (at := self.keeper.next_deadline()) <= end:
            self.now = max(self.now, at)
            self.turn()
        self.now = end

    def externals(self) -> list[Endpoint]:
        return [mapping.external for mapping in self.keeper.mappings()]


@both
def test_all_ports_are_mapped_at_once(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    assert not world.keeper.settled
    world.run(0)
    assert world.router.mappings == MAPPED
    assert world.keeper.status is Status.WORKING
    assert world.keeper.settled
    assert world.keeper.external_address == "11.1.1.2"
    assert world.externals() == [Endpoint.tcp("11.1.1.2:5483"), Endpoint.utp("11.1.1.2:5484")]
    assert [mapping.lease for mapping in world.keeper.mappings()] == [LEASE, LEASE]


@both
def test_leases_are_renewed_at_half_their_life(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS[:1], world.now)
    world.run(0)
    before = len(world.router.asked)
    world.run(LEASE / 2 - 1)
    assert len(world.router.asked) == before
    world.run(2)
    assert world.router.asked[before:] == [(TCP, 5483, 5483, LEASE)]
    world.run(10 * LEASE)
    assert len(world.router.asked) == before + 21
    assert world.router.mappings


@both
def test_between_renewals_nothing_is_sent(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(100 * LEASE)
    a_round = 3 if isinstance(dialect, NatPmp) else 2
    assert len(world.sent) == 201 * a_round


@both
def test_another_port_than_the_wished_one_is_taken_and_kept(dialect: Dialect) -> None:
    world = World(dialect)
    world.router.taken = {5483, 5484}
    world.keeper.want(PORTS[:1], world.now)
    world.run(0)
    assert world.externals() == [Endpoint.tcp("11.1.1.2:5485")]
    world.router.taken = set()
    world.run(LEASE)
    assert {wish for _, _, wish, _ in world.router.asked[1:]} == {5485}
    assert world.externals() == [Endpoint.tcp("11.1.1.2:5485")]


@both
def test_a_short_lease_does_not_make_a_flood(dialect: Dialect) -> None:
    world = World(dialect)
    world.router.lease = 1
    world.keeper.want(PORTS[:1], world.now)
    world.run(150)
    assert len(world.router.asked) <= 150 / MIN_RENEWAL + 1


@both
def test_a_mapping_that_is_not_renewed_is_not_reported(dialect: Dialect) -> None:
    world = World(dialect)
    world.router.lease = 60
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.router.silent = True
    world.run(61)
    assert world.externals() == []


@both
def test_what_is_not_wanted_any_more_ends(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.keeper.want(PORTS[1:], world.now)
    world.run(1)
    assert world.router.mappings == {(5484, UDP): 5484}
    world.keeper.want((), world.now)
    assert not world.keeper.settled
    world.run(1)
    assert world.router.mappings == {}
    assert world.keeper.settled
    assert world.keeper.mappings() == []


def test_only_the_one_who_mapped_a_port_can_end_it() -> None:
    """RFC 6887 section 11.1: the nonce is the same in every request about a mapping, and nobody else knows it."""
    world = World(Pcp("192.168.1.2"))
    world.keeper.want(PORTS, world.now)
    world.run(3 * LEASE)
    world.keeper.want((), world.now)
    world.run(1)
    assert len(world.router.nonces) == len(PORTS)


@both
def test_ending_is_not_waited_for_without_end(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.router.silent = True
    world.keeper.want((), world.now)
    world.run(4)
    assert world.keeper.settled


@both
def test_a_mapping_that_nobody_confirmed_is_ended_too(dialect: Dialect) -> None:
    """The answer may have got lost."""
    world = World(dialect)
    answered = 1 if isinstance(dialect, NatPmp) else 0  # what asks for the address
    world.lose = lambda number: number > answered
    world.keeper.want(PORTS[:1], world.now)
    world.run(0.1)
    world.lose = lambda number: False
    world.keeper.want((), world.now)
    world.run(1)
    assert world.router.asked[-1][3] == 0


@both
def test_lost_datagrams_are_sent_again(dialect: Dialect) -> None:
    world = World(dialect)
    world.lose = lambda number: number <= 2
    world.keeper.want(PORTS, world.now)
    world.run(2)
    assert world.sent[:3] == [1000.0, 1000.25, 1000.75]
    assert world.router.mappings == MAPPED


@both
def test_who_does_not_answer_is_given_up_soon(dialect: Dialect) -> None:
    world = World(dialect)
    world.router.silent = True
    world.keeper.want(PORTS, world.now)
    world.run(1.7)
    assert world.keeper.status is Status.ASKING
    world.run(0.1)
    assert world.keeper.status is Status.FAILED
    assert world.keeper.reason == "does not answer"
    assert len(world.sent) == 3
    assert world.keeper.settled
    assert world.keeper.next_deadline() == NEVER


@both
def test_who_did_answer_is_given_more_time(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.router.silent = True
    world.run(LEASE / 2 + 120)
    assert world.keeper.status is Status.WORKING
    world.run(10)
    assert world.keeper.status is Status.FAILED
    assert world.keeper.mappings() == []
    assert len(world.sent) == (3 if isinstance(dialect, NatPmp) else 2) + 9


@both
def test_a_restart_is_seen_by_the_clock(dialect: Dialect) -> None:
    """All are asked for anew with the same wishes, when the next answer shows it."""
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.run(LEASE / 4)
    world.router.restart(world.now)
    world.keeper.forget(world.now)
    world.run(0)
    assert world.keeper.counters["restarts"] == 1
    assert world.router.mappings == MAPPED
    world.run(LEASE)
    assert world.keeper.counters["restarts"] == 1


@both
def test_a_restart_between_two_renewals(dialect: Dialect) -> None:
    """The renewal of the first mapping shows it; the second, which is not due yet, follows at once."""
    world = World(dialect)
    world.keeper.want(PORTS[:1], world.now)
    world.run(600)
    world.keeper.want(PORTS, world.now)
    world.run(600)
    world.router.restart(world.now)
    world.run(601)
    assert world.router.mappings == MAPPED
    assert world.keeper.counters["restarts"] == 1


@both
def test_an_outside_address_that_changed_with_a_restart_is_noticed(dialect: Dialect) -> None:
    """Whatever answer shows the restart."""
    world = World(dialect)
    world.keeper.want(PORTS[:1], world.now)
    world.run(600)
    world.router.restart(world.now)
    world.router.outside = "11.1.1.77"
    world.keeper.want(PORTS, world.now)
    world.run(0)
    assert world.externals() == [Endpoint.tcp("11.1.1.77:5483"), Endpoint.utp("11.1.1.77:5484")]


@both
def test_a_new_outside_address_is_noticed(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    world.router.outside = "11.1.1.77"
    world.keeper.forget(world.now)
    world.run(0)
    assert world.externals() == [Endpoint.tcp("11.1.1.77:5483"), Endpoint.utp("11.1.1.77:5484")]


@both
def test_forged_announcements_cost_little(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    before = len(world.sent)
    for _ in range(1000):
        world.keeper.forget(world.now)
        world.run(0.01)
    assert len(world.sent) - before <= (10 / FORGET_PAUSE + 1) * 3


@pytest.mark.parametrize(
    ("dialect", "result"),
    [(Pcp("192.168.1.2"), 2), (Pcp("192.168.1.2"), 7), (Pcp("192.168.1.2"), 8), (NatPmp(), 2), (NatPmp(), 4)],
)
def test_a_later_refusal_is_told_and_tried_again(dialect: Dialect, result: int) -> None:
    world = World(dialect)
    world.keeper.want(PORTS[:1], world.now)
    world.run(0)
    world.router.result = result
    world.keeper.want(PORTS, world.now)
    world.run(0)
    assert world.keeper.status is Status.WORKING
    assert world.externals() == [Endpoint.tcp("11.1.1.2:5483")]
    assert len(world.keeper.warnings) == 1
    assert "utp:5484" in world.keeper.warnings[0]
    assert world.keeper.settled
    world.router.result = 0
    world.run(max(ERROR_PAUSE, LEASE / 2) + 1)
    assert world.router.mappings == MAPPED
    assert world.keeper.warnings == []


@both
def test_a_router_that_does_not_allow_it_is_not_asked_again(dialect: Dialect) -> None:
    world = World(dialect)
    world.router.result = 2
    world.keeper.want(PORTS, world.now)
    world.run(LEASE)
    assert world.keeper.status is Status.FAILED
    assert "switch" in world.keeper.reason
    assert len(world.router.asked) == 1


def test_another_version_ends_it_at_once() -> None:
    world = World(Pcp("192.168.1.2"))
    world.router.speaks = {0}
    world.keeper.want(PORTS, world.now)
    world.run(0)
    assert world.keeper.status is Status.FAILED
    assert len(world.sent) == 1


@both
def test_nobody_listening_ends_it_at_once_but_only_at_first(dialect: Dialect) -> None:
    """ICMP is easily forged: who has answered is not given up for it."""
    for worked in (False, True):
        world = World(dialect)
        if worked:
            world.keeper.want(PORTS, world.now)
            world.run(0)
        world.keeper.unreachable()
        assert world.keeper.status is (Status.WORKING if worked else Status.FAILED)


@both
def test_answers_to_nothing_change_nothing(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want(PORTS, world.now)
    world.run(0)
    before = world.keeper.mappings()
    for data in (pcp_answer(external=1), natpmp_mapping(external=1), b"", bytes(100), b"\xff" * 60):
        world.keeper.receive(data, world.now)
    assert world.keeper.mappings() == before


def test_an_answer_without_the_nonce_is_not_believed() -> None:
    world = World(Pcp("192.168.1.2"))
    world.keeper.want(PORTS, world.now)
    world.keeper.outgoing(world.now)
    world.keeper.receive(pcp_answer(nonce=b"a" * 12, external=1), world.now)
    assert world.keeper.mappings() == []
    assert world.keeper.counters["unasked"] == 1


@both
def test_a_lease_of_years_is_not_believed(dialect: Dialect) -> None:
    world = World(dialect)
    years = b"\xff" * 4

    def lie(answer: bytes) -> bytes:
        if answer[0] == 2:
            return answer[:4] + years + answer[8:]
        return answer if len(answer) == 12 else answer[:-4] + years

    world.router.change = lie
    world.keeper.want(PORTS[:1], world.now)
    world.run(MAX_LEASE)
    assert len(world.router.asked) == 3


@both
def test_without_ports_nothing_is_sent(dialect: Dialect) -> None:
    world = World(dialect)
    world.keeper.want((), world.now)
    world.run(10_000)
    assert world.sent == []
    assert world.keeper.settled
