"""`crust.nat.tcp_punch`: the attempts, one clock, and no sockets; and in a model of TCP behind NATs."""

import itertools
from dataclasses import replace

import pytest

from crust.endpoint import Address, Endpoint
from crust.identity import Identity
from crust.nat import tcp_punch
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import Candidate, ConnectionInfo
from crust.nat.punch_plan import UNVOUCHED_PROBES, Target, candidates_for
from crust.nat.tcp_punch import Dial, Outcome, TcpPunch, tcp_targets
from tests.nat import nats
from tests.nat.tcp_world import Dialler, outer

THERE, ELSEWHERE = ("203.0.113.9", 40000), ("203.0.113.9", 5483)
OFTEN = tcp_punch.TCP_ATTEMPTS


def punching(*addresses: Address, start: float = 0.0, seconds: float = tcp_punch.TCP_PUNCH_SECONDS) -> TcpPunch:
    return TcpPunch([Target(address, OFTEN) for address in addresses], start, seconds=seconds)


@pytest.mark.parametrize(("took", "soonest", "latest"), [(0.001, 0.001, 0.019), (0.2, 0.003, 0.057), (5.0, 0.01, 0.19)])
def test_times_between_attempts_differ(took: float, soonest: float, latest: float) -> None:
    """Or two sides that are out of step would stay so."""
    waits = []
    for _ in range(200):
        punch = punching(THERE)
        punch.tick(0.0)
        punch.ended(0, Outcome.REFUSED, took)
        due = punch.next_deadline()
        assert due is not None
        waits.append(due - took)
    assert soonest - 1e-9 <= min(waits) < soonest * 2
    assert latest / 1.2 < max(waits) <= latest + 1e-9


def refuse_all(punch: TcpPunch, until: float, after: float = 0.0) -> list[float]:
    """Refuse every attempt; when they began."""
    times = []
    while (due := punch.next_deadline()) is not None and due <= until:
        dials = punch.tick(due)
        times += [due] * len(dials)
        for dial in dials:
            punch.ended(dial.number, Outcome.REFUSED, due + after)
    return times


def test_all_are_dialled_at_once() -> None:
    punch = punching(THERE, ELSEWHERE, start=5.0)
    assert punch.tick(4.9) == []
    assert punch.next_deadline() == 5.0
    assert punch.tick(5.0) == [Dial(0, THERE), Dial(1, ELSEWHERE)]
    assert punch.tick(5.1) == []
    assert punch.next_deadline() == 5.0 + tcp_punch.TCP_PUNCH_SECONDS


def test_a_refusal_is_followed_by_a_fresh_socket() -> None:
    punch = punching(THERE)
    punch.tick(0.0)
    punch.ended(0, Outcome.REFUSED, 0.2)
    due = punch.next_deadline()
    assert due is not None
    assert 0.203 <= due <= 0.257, "a seventh of that later, and nearly as much more or less"
    assert punch.tick(0.202) == []
    assert punch.tick(due) == [Dial(1, THERE)]


def test_attempts_are_bounded() -> None:
    """Quick ones, and all of them; and sockets at any time."""
    punch = punching(THERE)
    times = refuse_all(punch, 60.0)
    assert len(times) > tcp_punch.TCP_QUICK_ATTEMPTS
    assert times[tcp_punch.TCP_QUICK_ATTEMPTS - 1] < 6.0
    assert len(times) < tcp_punch.TCP_QUICK_ATTEMPTS + 40
    attempts = len(times)
    assert punch.failure == f"{attempts} attempts at 1 addresses, {attempts} of them refused; nobody came through"
    addresses = [(f"203.0.113.{number}", 1) for number in range(1, 100)]
    punch = punching(*addresses, seconds=1e6)
    assert len(punch.tick(0.0)) == tcp_punch.TCP_SOCKETS
    for number in range(tcp_punch.TCP_SOCKETS):
        punch.ended(number, Outcome.REFUSED, 0.0)
    refuse_all(punch, 1e6)
    assert punch.attempts == OFTEN


def test_who_waits_for_the_other_takes_it_slowly() -> None:
    """As two people do who do not press a key at the same moment."""
    punch = punching(THERE, seconds=60.0)
    times = refuse_all(punch, 59.9, after=0.1)
    assert punch.next_deadline() is not None
    later = [time for time in times if time >= tcp_punch.TCP_PUNCH_SECONDS]
    assert 60 < len(later) < 150
    assert max(after - before for before, after in itertools.pairwise(times)) <= 0.1 + 1.9 * tcp_punch.TCP_LATER_PAUSE


def test_a_pair_of_addresses_in_use_is_tried_again_slowly() -> None:
    """The listener has a connection from there; it may not be worth much."""
    punch = punching(THERE)
    punch.tick(0.0)
    punch.ended(0, Outcome.TAKEN, 0.0, "taken")
    due = punch.next_deadline()
    assert due is not None
    assert 0.05 <= due <= 0.95


def test_it_ends() -> None:
    punch = punching(THERE)
    punch.tick(0.0)
    assert punch.tick(tcp_punch.TCP_PUNCH_SECONDS) == []
    assert "0 of them refused" in punch.failure
    assert punch.next_deadline() is None
    assert punch.stop() == [0]
    assert punch.stop() == []


def test_where_there_is_no_way_it_is_not_tried_again() -> None:
    punch = punching(THERE, ELSEWHERE)
    punch.tick(0.0)
    punch.ended(0, Outcome.UNREACHABLE, 0.1)
    assert punch.tick(7.0) == []
    assert not punch.failure
    punch.ended(1, Outcome.UNREACHABLE, 7.1)
    punch.tick(7.1)
    assert punch.failure


def test_more_than_one_may_connect() -> None:
    punch = punching(THERE, ELSEWHERE)
    punch.tick(0.0)
    punch.ended(0, Outcome.CONNECTED, 0.1)
    assert punch.tick(0.2) == []
    assert punch.stop() == [1]
    assert punch.next_deadline() is None
    assert punch.tick(100.0) == []
    assert punch.failure == ""


def test_nowhere_to_dial() -> None:
    assert TcpPunch([], 0.0).failure


def test_the_last_attempts_are_shared_by_all() -> None:
    """What is due when they are used up is not waited for."""
    punch = punching(THERE, ELSEWHERE, seconds=1e6)
    refuse_all(punch, 1e6)
    assert punch.attempts == OFTEN
    assert punch.failure
    assert punch.next_deadline() is None


def test_an_address_has_its_own_bound() -> None:
    punch = TcpPunch([Target(THERE, 3), Target(ELSEWHERE, OFTEN)], 0.0)
    refuse_all(punch, 2.0)
    assert punch.reasons()[THERE].startswith("3 attempts, 3 of them in vain")
    assert not punch.failure


def test_how_each_address_fared() -> None:
    near, far = ("192.168.1.9", 1), ("203.0.113.10", 1)
    punch = TcpPunch([Target(address, 1) for address in (THERE, ELSEWHERE, near, far)], 0.0)
    assert set(punch.reasons().values()) == {"not tried: it was over before"}
    punch.tick(0.0)
    punch.ended(0, Outcome.REFUSED, 0.1, "refused")
    punch.ended(2, Outcome.UNREACHABLE, 0.1, "no route")
    punch.ended(3, Outcome.CONNECTED, 0.1)
    punch.tick(9.0)
    assert punch.reasons() == {
        THERE: "1 attempt, 1 of them in vain; the last one: refused",
        ELSEWHERE: "no answer within 8 s: a router or firewall drops what we send",
        near: "no route",
        far: "connected, but that connection was not kept",
    }


# --- what to dial -----------------------------------------------------------------------------------------------------

COUNTED = Behaviour(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=2)
RANDOM = Behaviour(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.RANDOM)
NEXT: list[Address] = [(THERE[0], port) for port in (40002, 40004, 40006, 40008)]
MAPPED = ("203.0.113.9", 6000)


def info(number: int, behaviour: Behaviour, candidates: list[Candidate]) -> ConnectionInfo:
    return ConnectionInfo(Identity(bytes([number]) * 32).peer_id, tuple(candidates), behaviour)


def dialled(ours: Behaviour, theirs: Behaviour) -> list[Address]:
    """Of a peer with a mapped port, two addresses that others see, and one in a network of its own."""
    seen = [Endpoint.tcp(ELSEWHERE), Endpoint.tcp(THERE), Endpoint.utp(THERE)]
    candidates = candidates_for([Endpoint.tcp("192.168.8.2:5483")], [Endpoint.tcp(MAPPED)], seen)
    us = candidates_for([Endpoint.tcp("192.168.7.2:5483")], [], [Endpoint.tcp("203.0.113.7:5483")])
    return [address for address, _ in tcp_targets(info(1, ours, us), info(2, theirs, candidates), ["192.168.7.0/24"])]


def test_what_others_see_is_dialled() -> None:
    assert dialled(Behaviour(), Behaviour()) == [MAPPED, ELSEWHERE, THERE]


def test_predicted_ports() -> None:
    """Instead of the addresses that others see; and first of all if our own ports are counted up as well."""
    nexts = [(THERE[0], 5483 + step) for step in (2, 4, 6, 8)] + NEXT
    assert dialled(Behaviour(), COUNTED) == [MAPPED, *nexts][: tcp_punch.TCP_SOCKETS]
    assert dialled(COUNTED, COUNTED) == nexts
    assert dialled(COUNTED, Behaviour()) == [ELSEWHERE, THERE, MAPPED]


def test_where_nobody_comes_through_only_what_is_open_is_dialled() -> None:
    assert dialled(RANDOM, RANDOM) == [MAPPED]
    assert dialled(RANDOM, COUNTED) == [MAPPED]


def test_what_nobody_vouches_for_is_dialled_a_few_times() -> None:
    """So that nobody can have us send thousands of SYNs to a third."""
    near = Endpoint.tcp("192.168.7.3:5483")
    ours = info(1, Behaviour(), candidates_for([Endpoint.tcp("192.168.7.2:5483")], [], []))
    theirs = info(2, Behaviour(filtering=Filtering.UNKNOWN), candidates_for([near], [Endpoint.tcp(MAPPED)], []))
    networks = ["192.168.7.0/24"]
    near_one = Target(near.address, tcp_punch.TCP_NEAR_ATTEMPTS)
    assert tcp_targets(ours, theirs, networks, ()) == [Target(MAPPED, UNVOUCHED_PROBES), near_one]
    many = info(2, Behaviour(), candidates_for([], [Endpoint.tcp((MAPPED[0], port)) for port in range(1, 9)], []))
    assert sum(limit for _, limit in tcp_targets(ours, many, networks, ())) <= UNVOUCHED_PROBES
    assert tcp_targets(ours, theirs, networks, [MAPPED[0]]) == [Target(MAPPED, OFTEN), near_one]
    assert tcp_targets(ours, theirs, networks) == [Target(MAPPED, OFTEN), near_one]


# --- through NATs -----------------------------------------------------------------------------------------------------

ANSWERING = nats.PORT_RESTRICTED._replace(answers=True)
ONE_BY_ONE = replace(COUNTED, delta=1)


def meet(
    one: nats.Kind,
    other: nats.Kind,
    late: float = 0.0,
    behaviours: tuple[Behaviour, Behaviour] = (Behaviour(),) * 2,
    delay: float = 0.04,
) -> tuple[Dialler, Dialler]:
    """Two hosts behind NATs dial each other; the second ``late`` seconds after the first."""
    world = nats.World(1, delay=delay)
    server = nats.Host(world, world.internet, "198.51.100.1")
    hosts = [
        world.home(kind, f"203.0.113.{number}", f"192.168.{number}.2")[1] for number, kind in ((7, one), (8, other))
    ]
    seen = [outer(world, host, server) for host in hosts]
    infos = [
        info(number, behaviour, candidates_for([], [], [Endpoint.tcp(each)]))
        for number, each, behaviour in zip((1, 2), seen, behaviours, strict=True)
    ]
    targets = [tcp_targets(infos[1], infos[0]), tcp_targets(infos[0], infos[1])]
    start = world.now + 0.1
    first = Dialler(world, hosts[0], targets[1], start)
    second = Dialler(world, hosts[1], targets[0], start + late)
    world.run(start + 10.0)
    return first, second


@pytest.mark.parametrize("delay", [0.001, 0.04, 0.2])
@pytest.mark.parametrize("late", [0.0, 0.02, 0.3, 2.0])
@pytest.mark.parametrize("kinds", list(itertools.combinations_with_replacement([nats.PORT_RESTRICTED, ANSWERING], 2)))
def test_cone_nats_are_passed(kinds: tuple[nats.Kind, nats.Kind], late: float, delay: float) -> None:
    """Those that drop what comes early, and those that refuse it: within three seconds of the later start."""
    first, second = meet(*kinds, late, delay=delay)
    assert first.connected is not None
    assert second.connected is not None
    assert max(first.connected_at, second.connected_at) < 1_002.1 + late + 3.0
    assert max(first.most, second.most) <= tcp_punch.TCP_SOCKETS


def test_ports_that_are_counted_up_are_predicted() -> None:
    first, second = meet(nats.SEQUENTIAL, nats.PORT_RESTRICTED, behaviours=(ONE_BY_ONE, Behaviour()))
    assert first.connected is not None
    assert second.connected is not None


def test_ports_that_both_count_up_are_predicted() -> None:
    first, second = meet(nats.SEQUENTIAL, nats.SEQUENTIAL, behaviours=(ONE_BY_ONE, ONE_BY_ONE))
    assert first.connected is not None
    assert second.connected is not None


def test_random_ports_are_given_up() -> None:
    first, second = meet(nats.RANDOM, nats.PORT_RESTRICTED)
    assert first.connected is second.connected is None
    assert "nobody came through" in first.punch.failure
    assert "nobody came through" in second.punch.failure
