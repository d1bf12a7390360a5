"""`crust.nat.punch_plan`: what is tried, and above all what is not."""

import itertools
import random
from collections.abc import Sequence

import pytest

from crust.endpoint import Address, Endpoint, Protocol
from crust.identity import Identity
from crust.nat import punch_plan
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.punch_plan import Method, Plan, Target, allowed_addresses, candidates_for, make_plan, method_for

EIM, NONE, EDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.NONE, Mapping.ADDRESS_AND_PORT_DEPENDENT
OPEN = Behaviour(NONE, Filtering.ENDPOINT_INDEPENDENT)
FULL = Behaviour(EIM, Filtering.ENDPOINT_INDEPENDENT)
BY_HOST = Behaviour(EIM, Filtering.ADDRESS_DEPENDENT)
BY_PORT = Behaviour(EIM, Filtering.ADDRESS_AND_PORT_DEPENDENT)
COUNTED = Behaviour(EDM, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.SEQUENTIAL, 1)
RANDOM = Behaviour(EDM, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.RANDOM)
UNKNOWN = Behaviour()
ALL = [OPEN, FULL, BY_HOST, BY_PORT, COUNTED, RANDOM, UNKNOWN]

ONE, TWO = (Identity(bytes([number] * 32)).peer_id for number in (1, 2))
OURS, THEIRS = ("198.51.100.9", 4000), ("203.0.113.9", 40000)


def info(
    behaviour: Behaviour = UNKNOWN,
    outer: Sequence[Address] = (THEIRS,),
    hosts: Sequence[Address] = (),
    mapped: Sequence[Address] = (),
    ours: bool = False,
) -> ConnectionInfo:
    found = candidates_for(map(Endpoint.utp, hosts), map(Endpoint.utp, mapped), map(Endpoint.utp, outer))
    return ConnectionInfo(ONE if ours else TWO, tuple(found), behaviour)


US = info(outer=[OURS], hosts=[("192.168.1.2", 5000)], ours=True)


def probed(plan: Plan) -> list[Address]:
    return [target.address for target in plan.targets]


@pytest.mark.parametrize(
    ("ours", "theirs", "method"),
    [
        (BY_PORT, BY_PORT, Method.PROBE),
        (UNKNOWN, UNKNOWN, Method.PROBE),
        (OPEN, RANDOM, Method.PROBE),
        (FULL, RANDOM, Method.PROBE),
        (BY_HOST, RANDOM, Method.PROBE),
        (BY_PORT, RANDOM, Method.SEARCH),
        (UNKNOWN, RANDOM, Method.SEARCH),
        (RANDOM, BY_PORT, Method.OPEN_MANY),
        (BY_PORT, COUNTED, Method.PREDICT),
        (COUNTED, COUNTED, Method.PREDICT),
        (COUNTED, RANDOM, Method.NONE),
        (RANDOM, RANDOM, Method.NONE),
    ],
)
def test_methods(ours: Behaviour, theirs: Behaviour, method: Method) -> None:
    assert method_for(ours, theirs) is method


def test_both_sides_come_to_matching_methods() -> None:
    other = {Method.OPEN_MANY: Method.SEARCH, Method.SEARCH: Method.OPEN_MANY}
    for ours, theirs in itertools.product(ALL, ALL):
        method = method_for(ours, theirs)
        assert method_for(theirs, ours) is other.get(method, method)


# --- who is probed ----------------------------------------------------------------------------------------------------


def test_public_addresses_are_probed_in_their_order() -> None:
    theirs = info(mapped=[("203.0.113.9", 5000)], hosts=[("203.0.113.10", 7), ("2001:db8::7", 7)])
    expected = [("203.0.113.9", 5000), THEIRS, ("203.0.113.10", 7), ("2001:db8::7", 7)]
    assert probed(make_plan(US, theirs)) == expected


@pytest.mark.parametrize("host", ["192.168.1.1", "10.0.0.1", "172.16.0.1", "100.64.0.1", "fd00::1", "127.0.0.1", "::1"])
def test_private_addresses_of_other_networks_are_never_probed(host: str) -> None:
    """Not even if they lie in ours: others see the two of us at different hosts."""
    networks = ["192.168.1.0/24", "10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10", "fd00::/8", "127.0.0.0/8"]
    assert probed(make_plan(US, info(hosts=[(host, 80)]), networks)) == [THEIRS]
    assert probed(make_plan(US, info(hosts=[(host, 80)]), [], [host])) == [THEIRS]


def test_neighbours_are_probed_where_we_are_both() -> None:
    theirs = info(outer=[(OURS[0], 41000)], hosts=[("192.168.1.3", 5000), ("192.168.2.3", 5000)])
    assert probed(make_plan(US, theirs, ["192.168.1.2/24"])) == [(OURS[0], 41000), ("192.168.1.3", 5000)]
    nobody_saw = info(outer=[], hosts=[("192.168.1.3", 5000)])
    assert probed(make_plan(US, nobody_saw, ["192.168.1.2/24"])) == [("192.168.1.3", 5000)]


def test_we_do_not_probe_ourselves() -> None:
    theirs = info(outer=[OURS], hosts=[("192.168.1.2", 5000)])
    assert probed(make_plan(US, theirs, ["192.168.1.0/24"])) == []


def test_on_one_machine_loopback_will_do() -> None:
    ours, theirs = (info(outer=[], hosts=[("127.0.0.1", port)], ours=port == 1) for port in (1, 2))
    assert probed(make_plan(ours, theirs, ["127.0.0.0/8"])) == [("127.0.0.1", 2)]
    assert probed(make_plan(US, theirs, ["127.0.0.0/8"])) == []


def test_there_are_few_hosts() -> None:
    theirs = info(outer=[(f"203.0.113.{number}", 1) for number in range(1, 17)])
    assert len(make_plan(US, theirs).targets) == punch_plan.PEER_HOSTS
    many_ports = info(outer=[("203.0.113.1", port) for port in range(1, 17)])
    assert len(make_plan(US, many_ports).targets) == 16


def test_tcp_addresses_are_not_probed_but_dialled() -> None:
    tcp = Candidate(CandidateKind.REFLEXIVE, Endpoint.tcp(THEIRS))
    theirs = ConnectionInfo(TWO, (tcp, Candidate(CandidateKind.HOST, Endpoint.tcp("10.0.0.1:80"))))
    assert make_plan(US, theirs).targets == ()
    assert allowed_addresses(US, theirs, ["10.0.0.0/8"], Protocol.TCP) == [THEIRS]


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_neighbours_are_not_probed_for_a_peer_that_others_see_elsewhere() -> None:
    """Whatever it says of itself: that it has no outer address, or ours."""
    networks, near, peer = ["192.168.1.0/24"], ("192.168.1.3", 5000), "203.0.113.9"
    for said in ((), [OURS], [THEIRS]):
        theirs = info(outer=said, hosts=[near])
        for vouched, found in (([peer], False), ([], False), ([OURS[0]], True), ([near[0]], True)):
            assert (near in allowed_addresses(US, theirs, networks, vouched_hosts=vouched)) is found
    assert near in allowed_addresses(US, info(outer=[], hosts=[near]), networks)


def test_who_is_not_vouched_for_gets_few_probes() -> None:
    theirs = info(outer=[THEIRS, ("203.0.113.66", 1)])
    free, few = make_plan(US, theirs, vouched_hosts=[THEIRS[0]]).targets
    assert (free.address, free.limit > 1000) == (THEIRS, True)
    assert few == Target(("203.0.113.66", 1), punch_plan.UNVOUCHED_PROBES)
    assert all(target.limit > 1000 for target in make_plan(US, theirs).targets)


@pytest.mark.parametrize(("ours", "theirs"), [(BY_PORT, RANDOM), (RANDOM, BY_PORT)])
def test_nobody_is_flooded_on_a_strangers_word(ours: Behaviour, theirs: Behaviour) -> None:
    us, them = info(ours, [OURS], ours=True), info(theirs)
    for vouched, expected in ((None, True), ([THEIRS[0]], True), (["203.0.113.66"], False), ([], False)):
        plan = make_plan(us, them, vouched_hosts=vouched)
        assert (plan.method is method_for(ours, theirs)) is expected
        assert (plan.method is Method.PROBE) is not expected
        if not expected:
            assert plan.budget <= punch_plan.UNVOUCHED_PROBES


def test_the_birthday_method_needs_an_address() -> None:
    plan = make_plan(info(BY_PORT, [OURS], ours=True), info(RANDOM, []))
    assert (plan.method, plan.sockets) == (Method.PROBE, 1)


def test_the_cost_of_the_birthday_method() -> None:
    search = make_plan(info(BY_PORT, [OURS], ours=True), info(RANDOM))
    opening = make_plan(info(RANDOM, [OURS], ours=True), info(BY_PORT))
    assert (search.main, search.sockets, opening.sockets) == (THEIRS, 1, 256)
    assert search.seconds == opening.seconds == punch_plan.BIRTHDAY_SECONDS == 38.0
    assert search.budget == 1750 + 81
    assert opening.budget == 4 * 256 + 81
    ports = search.search_ports(random.Random(1))
    assert len(set(ports)) == 1750
    assert 1024 <= min(ports) < 1200
    assert 65300 < max(ports) <= 65535
    chance = 1.0
    for number in range(1750):
        chance *= 1 - 256 / (64512 - number)
    assert 1 - chance > 0.999


# --- predictions ------------------------------------------------------------------------------------------------------


def test_predicted_ports_follow_what_was_seen() -> None:
    plan = make_plan(info(BY_PORT, [OURS], ours=True), info(COUNTED))
    assert probed(plan) == [THEIRS, *((THEIRS[0], 40000 + number) for number in range(1, 17))]
    plan = make_plan(info(COUNTED, [OURS], ours=True), info(BY_PORT, mapped=[("203.0.113.9", 7)]))
    assert probed(plan) == [THEIRS, ("203.0.113.9", 7)], "what counts comes first, and takes the next port"
    plan = make_plan(info(COUNTED, [OURS], ours=True), info(COUNTED))
    assert probed(plan)[0] == (THEIRS[0], 40001)
    assert probed(plan)[-1] == THEIRS


def test_predictions_are_not_vouched_for_more_than_their_host() -> None:
    plan = make_plan(info(BY_PORT, [OURS], ours=True), info(COUNTED), vouched_hosts=[])
    assert {target.limit for target in plan.targets} == {punch_plan.UNVOUCHED_PROBES}


def test_where_only_a_relay_helps_neighbours_are_still_tried() -> None:
    us = info(RANDOM, [OURS], ours=True)
    far, near = info(RANDOM), info(RANDOM, [(OURS[0], 7)], [("192.168.1.3", 5000)])
    assert make_plan(us, far, ["192.168.1.0/24"]).targets == ()
    assert probed(make_plan(us, near, ["192.168.1.0/24"])) == [("192.168.1.3", 5000)]


def test_what_is_surely_open_comes_first() -> None:
    kinds = [candidate.kind.name for candidate in info(mapped=[("203.0.113.9", 1)], hosts=[("10.0.0.1", 1)]).candidates]
    assert kinds == ["MAPPED", "REFLEXIVE", "HOST"]
