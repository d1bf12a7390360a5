"""Hole punching through every pair of NATs, in virtual time: what can be passed is passed, within its bounds."""

import itertools

import pytest

from crust.identity import Identity
from crust.nat.punch_plan import BIRTHDAY_SECONDS, Method
from tests.nat import nats
from tests.nat.nats import Filters, Host, Kind, Maps, Nat, Ports, World
from tests.nat.punch_world import COUNTED, PLACES, UNPREDICTABLE, Result, agree, behind, meet

DELAY = 0.04  # seconds, each way
PAIRS = list(itertools.combinations_with_replacement(PLACES, 2))
SERVERS = {"198.51.100.1", "198.51.200.1", "198.51.30.1", "198.51.40.1"}
INVOLVED = {*SERVERS, "203.0.113.7", "203.0.113.8"}
OPEN_TO_HOSTS = {"no NAT", "full cone", "address-restricted"}


def possible(one: str, other: str) -> bool:
    """What RFC 4787's words make of it: ports that nobody can know have to meet a side that shows one to all."""
    for first, second in ((one, other), (other, one)):
        if first in UNPREDICTABLE and second in UNPREDICTABLE | COUNTED:
            return False
    return True


def by_birthday(one: str, other: str) -> bool:
    pair = {one, other}
    return bool(pair & UNPREDICTABLE) and not pair & OPEN_TO_HOSTS


def met(one: str, other: str, seed: int, **world: float) -> Result:
    network = World(seed, delay=DELAY, **world)  # type: ignore[arg-type]
    return meet(network, PLACES[one](network, 7), PLACES[other](network, 8))


def check(result: Result, one: str, other: str) -> None:
    for node, plan in zip(result.nodes, result.plans, strict=True):
        assert node.sent <= plan.budget + 40, "answers and choices are few"
    assert set(result.nodes[0].world.sent_to) <= INVOLVED, "nobody else gets a packet"
    if not possible(one, other):
        assert not result.opened
        assert [plan.method for plan in result.plans] == [Method.NONE] * 2
        assert sum(node.sent for node in result.nodes) == 0
        return
    assert result.opened
    assert agree(result), "both mean the same path, and it carries"
    if by_birthday(one, other):
        assert result.seconds <= BIRTHDAY_SECONDS
    else:
        assert result.seconds <= 2 * DELAY * 1.5 + 0.1


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_pair(one: str, other: str) -> None:
    """Cone kinds within one and a half round trips; nothing is sent where nothing can come of it."""
    check(met(one, other, 2), one, other)


def test_it_does_not_matter_who_chooses() -> None:
    for one, other in PAIRS[::5]:
        world = World(3, delay=DELAY)
        ids = Identity(bytes([2] * 32)), Identity(bytes([1] * 32))
        check(meet(world, PLACES[one](world, 7), PLACES[other](world, 8), identities=ids), one, other)


@pytest.mark.slow
def test_cone_kinds_open_every_time() -> None:
    """Twenty tries of each pair."""
    cones = [name for name in PLACES if name not in UNPREDICTABLE | COUNTED]
    for one, other in itertools.combinations_with_replacement(cones, 2):
        for seed in range(20):
            check(met(one, other, 100 + seed), one, other)


@pytest.mark.slow
def test_the_birthday_method_opens_nearly_always() -> None:
    """At least 98 of 100, within 35 s: 256 sockets against 1,750 ports at 20 ms."""
    results = [met("port-restricted", "symmetric random", seed) for seed in range(100)]
    in_time = [result for result in results if result.opened and result.seconds <= 35.0]
    assert len(in_time) >= 98
    for result in results:
        for node, plan in zip(result.nodes, result.plans, strict=True):
            assert node.sent <= plan.budget + 40
    middle = sorted(result.seconds for result in in_time)[len(in_time) // 2]
    assert 2.0 < middle < 8.0, "half of them: after 174 probes or so"


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_loss_costs_time_only(loss: float) -> None:
    """Ten per cent, and thirty, of all packets on the Internet; finding out about the NATs suffers too."""
    for seed in range(10):
        result = met("port-restricted", "port-preserving", seed, loss=loss)
        assert result.opened
        assert agree_under_loss(result)
        assert result.seconds < 4.0


def agree_under_loss(result: Result) -> bool:
    result.nodes[0].world.loss = 0.0
    return agree(result)


@pytest.mark.parametrize("late", [0.05, 0.3, 2.0])
def test_one_side_may_be_late(late: float) -> None:
    for seed in range(5):
        world = World(seed, delay=DELAY)
        one, other = (PLACES["port-restricted"](world, number) for number in (7, 8))
        result = meet(world, one, other, late=late)
        assert result.opened
        assert agree(result)
        assert result.seconds < late + 2 * DELAY + 0.6


def test_a_port_that_is_taken_in_between_is_forgiven() -> None:
    """Others behind the same NAT take ports; the next few are tried as well."""
    for taken in (0, 1, 5, 12):
        world = World(taken, delay=DELAY)
        nat, host = world.home(nats.SEQUENTIAL, "203.0.113.7", "192.168.7.2")
        other = PLACES["port-restricted"](world, 8)
        world.after(5.0, lambda nat=nat, taken=taken: take_ports(nat, taken))  # type: ignore[misc]
        result = meet(world, host, other)
        assert result.opened
        assert agree(result)


def take_ports(nat: Nat, count: int) -> None:
    for port in range(count):
        nat.mapping(("192.168.7.99", port), ("198.51.100.99", 53))


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nats.PORT_RESTRICTED, nats.HAIRPIN, nats.SEQUENTIAL, nats.RANDOM])
def test_neighbours_meet_inside(kind: Kind) -> None:
    """Behind one NAT, whether it turns packets around or not: they are in each other's network."""
    world = World(1, delay=DELAY)
    nat = Nat(world, world.internet, "203.0.113.7", kind)
    result = meet(world, *(Host(world, nat, f"192.168.7.{number}") for number in (2, 3)))
    assert result.opened
    assert agree(result)
    paths = {node.punch.opened.address[0] for node in result.nodes if node.punch and node.punch.opened}
    assert paths == {"192.168.7.2", "192.168.7.3"}
    assert result.seconds < 0.05


@pytest.mark.parametrize(("turns", "opens"), [(True, True), (False, False)])
def test_customers_of_one_carrier_need_it_to_turn_packets_around(turns: bool, opens: bool) -> None:
    """Two homes behind one provider's NAT: neither knows the other's address in the provider's network."""
    world = World(1, delay=DELAY)
    kind = nats.HAIRPIN if turns else nats.PORT_RESTRICTED
    provider = Nat(world, world.internet, "203.0.113.7", kind)
    hosts = [
        world.home(nats.PRESERVING, f"100.64.0.{number}", f"192.168.{number}.2", behind=provider)[1]
        for number in (2, 3)
    ]
    result = meet(world, *hosts)
    assert result.opened is opens
    if opens:
        assert agree(result)


def test_a_nat_that_maps_by_host_and_lets_in_everybody() -> None:
    """What it lets in it answers from another port: for most it is as bad as one that lets in nobody."""
    world = World(1, delay=DELAY)
    odd = behind(Kind(Maps.PER_HOST, Filters.NONE, Ports.RANDOM))
    result = meet(world, odd(world, 7), PLACES["port-restricted"](world, 8))
    assert result.plans[0].method is Method.OPEN_MANY
    assert result.opened
    assert agree(result)
