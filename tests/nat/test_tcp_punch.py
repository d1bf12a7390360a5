"""`crust.nat.tcp_punch`: the attempts, one clock, and no sockets; and in a model of TCP behind NATs."""

import itertools

import pytest

from crust.endpoint import Address
from crust.nat import tcp_punch
from crust.nat.behaviour import Allocation, Behaviour, Mapping
from crust.nat.tcp_punch import Dial, Outcome, TcpPunch, tcp_targets
from tests.nat import nats
from tests.nat.tcp_world import Dialler, outer

THERE, ELSEWHERE = ("203.0.113.9", 40000), ("203.0.113.9", 5483)


@pytest.mark.parametrize(("took", "soonest", "latest"), [(0.001, 0.01, 0.03), (0.05, 0.025, 0.075), (5.0, 0.05, 0.15)])
def test_times_between_attempts_differ(took: float, soonest: float, latest: float) -> None:
    """Or two sides that are out of step would stay so."""
    waits = []
    for _ in range(200):
        punch = TcpPunch([THERE], 0.0)
        punch.tick(0.0)
        punch.ended(0, Outcome.REFUSED, took)
        due = punch.next_deadline()
        assert due is not None
        waits.append(due - took)
    assert soonest <= min(waits) < soonest * 1.2
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
    punch = TcpPunch([THERE, ELSEWHERE, THERE], 5.0)
    assert punch.tick(4.9) == []
    assert punch.next_deadline() == 5.0
    assert punch.tick(5.0) == [Dial(0, THERE), Dial(1, ELSEWHERE)]
    assert punch.tick(5.1) == []
    assert punch.next_deadline() == 5.0 + tcp_punch.TCP_PUNCH_SECONDS


def test_a_refusal_is_followed_by_a_fresh_socket() -> None:
    punch = TcpPunch([THERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.REFUSED, 0.04)
    due = punch.next_deadline()
    assert due is not None
    assert 0.06 <= due <= 0.10, "as long again, and half as much more or less"
    assert punch.tick(0.059) == []
    assert punch.tick(due) == [Dial(1, THERE)]


def test_attempts_are_bounded() -> None:
    punch = TcpPunch([THERE], 0.0)
    times = refuse_all(punch, 60.0)
    assert len(times) == tcp_punch.TCP_ATTEMPTS
    assert punch.failure == "200 attempts at 1 addresses, 200 of them refused; nobody came through"
    punch = TcpPunch([(f"203.0.113.{number}", 1) for number in range(1, 100)], 0.0)
    assert len(punch.tick(0.0)) == tcp_punch.TCP_SOCKETS


def test_it_ends() -> None:
    punch = TcpPunch([THERE], 0.0)
    punch.tick(0.0)
    assert punch.tick(tcp_punch.TCP_PUNCH_SECONDS) == []
    assert "0 of them refused" in punch.failure
    assert punch.next_deadline() is None
    assert punch.stop() == [0]
    assert punch.stop() == []


def test_where_there_is_no_way_it_is_not_tried_again() -> None:
    punch = TcpPunch([THERE, ELSEWHERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.UNREACHABLE, 0.1)
    assert punch.tick(7.0) == []
    assert not punch.failure
    punch.ended(1, Outcome.UNREACHABLE, 7.1)
    punch.tick(7.1)
    assert punch.failure


def test_more_than_one_may_connect() -> None:
    punch = TcpPunch([THERE, ELSEWHERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.CONNECTED, 0.1)
    assert punch.tick(0.2) == []
    assert punch.stop() == [1]
    assert punch.next_deadline() is None
    assert punch.tick(100.0) == []
    assert punch.failure == ""


def test_nowhere_to_dial() -> None:
    assert TcpPunch([], 0.0).failure


def test_predicted_ports() -> None:
    counted = Behaviour(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=2)
    expected: list[Address] = [ELSEWHERE, *((THERE[0], port) for port in (40002, 40004, 40006, 40008))]
    assert tcp_targets([ELSEWHERE, THERE], [THERE], counted) == expected
    assert tcp_targets([ELSEWHERE, THERE], [THERE], Behaviour()) == [ELSEWHERE, THERE]
    seen = [(THERE[0], 40000), (THERE[0], 50000), (THERE[0], 60000)]
    assert len(tcp_targets(seen, seen, counted)) == tcp_punch.TCP_SOCKETS


# --- through NATs -----------------------------------------------------------------------------------------------------

ANSWERING = nats.PORT_RESTRICTED._replace(answers=True)
COUNTED = Behaviour(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=1)


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
    targets = [tcp_targets([each], [each], behaviour) for each, behaviour in zip(seen, behaviours, strict=True)]
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
    first, second = meet(nats.SEQUENTIAL, nats.PORT_RESTRICTED, behaviours=(COUNTED, Behaviour()))
    assert first.connected is not None
    assert second.connected is not None


def test_random_ports_are_given_up() -> None:
    first, second = meet(nats.RANDOM, nats.PORT_RESTRICTED)
    assert first.connected is second.connected is None
    assert "nobody came through" in first.punch.failure
    assert "nobody came through" in second.punch.failure
