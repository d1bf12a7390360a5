"""`crust.nat.survey`: every kind of NAT is called what it is; in virtual time."""

import pytest

from crust.nat import stun
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.stun_server import StunServer
from crust.nat.survey import SPARE, SURVEY_SERVERS, Survey
from tests.nat import nats
from tests.nat.nats import Filters, Host, Kind, Maps, Ports, World
from tests.nat.stun_world import PORT, corner_server, plain_server, survey

CORNERS = ("198.51.100.1", "198.51.200.1")
ANYBODY, HOSTS, PORTS = (
    Filtering.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (nats.FULL_CONE, Behaviour(Mapping.ENDPOINT_INDEPENDENT, ANYBODY, hairpin=False)),
        (nats.ADDRESS_RESTRICTED, Behaviour(Mapping.ENDPOINT_INDEPENDENT, HOSTS, hairpin=False)),
        (nats.PORT_RESTRICTED, Behaviour(Mapping.ENDPOINT_INDEPENDENT, PORTS, hairpin=False)),
        (nats.PRESERVING, Behaviour(Mapping.ENDPOINT_INDEPENDENT, PORTS, Allocation.PRESERVING, hairpin=False)),
        (nats.FULL_CONE._replace(hairpin=True), Behaviour(Mapping.ENDPOINT_INDEPENDENT, ANYBODY, hairpin=True)),
        (nats.SEQUENTIAL, Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, PORTS, Allocation.SEQUENTIAL, 1)),
        (nats.SEQUENTIAL_BY_TWO, Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, PORTS, Allocation.SEQUENTIAL, 2)),
        (nats.RANDOM, Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, PORTS, Allocation.RANDOM)),
        (nats.PER_HOST_RANDOM, Behaviour(Mapping.ADDRESS_DEPENDENT, PORTS, Allocation.RANDOM)),
        (
            Kind(Maps.PER_PORT, Filters.NONE, Ports.RANDOM),
            Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, ANYBODY, Allocation.RANDOM),
        ),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_each_kind_is_recognised(kind: Kind, expected: Behaviour, seed: int) -> None:
    world = World(seed)
    server = corner_server(world, CORNERS)
    _, host = world.home(kind, "203.0.113.9", "192.168.1.2")
    findings = survey(world, host, [server])
    assert findings.behaviour == expected
    assert findings.failures == ()
    assert {seen[0] for _, seen in findings.sightings} == {"203.0.113.9"}


def test_two_nats_in_a_row_behave_like_the_stricter_one() -> None:
    world = World(1)
    server = corner_server(world, CORNERS)
    carrier, _ = world.home(nats.RANDOM, "203.0.113.9", "10.0.0.1")
    _, host = world.home(nats.FULL_CONE, "10.0.0.2", "192.168.1.2", behind=carrier)
    behaviour = survey(world, host, [server]).behaviour
    assert behaviour == Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, PORTS, Allocation.RANDOM)


def test_no_nat() -> None:
    world = World(1)
    server = corner_server(world, CORNERS)
    host = Host(world, world.internet, "203.0.113.9")
    assert survey(world, host, [server]).behaviour == Behaviour(Mapping.NONE, ANYBODY, Allocation.PRESERVING)


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [
        (nats.PORT_RESTRICTED, Mapping.ENDPOINT_INDEPENDENT),
        (nats.SEQUENTIAL, Mapping.ENDPOINT_DEPENDENT),
        (nats.RANDOM, Mapping.ENDPOINT_DEPENDENT),
    ],
)
def test_servers_with_one_address_each_tell_less(kind: Kind, mapping: Mapping) -> None:
    world = World(1)
    servers = [plain_server(world, f"198.51.{number}.1") for number in range(3)]
    _, host = world.home(kind, "203.0.113.9", "192.168.1.2")
    behaviour = survey(world, host, servers).behaviour
    assert (behaviour.mapping, behaviour.filtering) == (mapping, Filtering.UNKNOWN)


def test_loss_is_made_up_for() -> None:
    """By repeating; ten per cent are lost here, on each way. Few requests are lost three times."""
    right = 0
    for seed in range(20):
        world = World(seed, loss=0.1)
        server = corner_server(world, CORNERS)
        _, host = world.home(nats.ADDRESS_RESTRICTED, "203.0.113.9", "192.168.1.2")
        right += survey(world, host, [server]).behaviour.filtering is HOSTS
    assert right >= 17


def test_nobody_answers() -> None:
    world = World(1)
    host = Host(world, world.internet, "203.0.113.9")
    findings = survey(world, host, [("198.51.100.1", 3478)])
    assert findings.behaviour == Behaviour()
    assert findings.failures == ((("198.51.100.1", 3478), "no answer"),)


def test_nobody_to_ask() -> None:
    findings = Survey([], set(), PORT, 0.0).findings
    assert findings is not None
    assert findings.behaviour == Behaviour()


def answer(running: Survey, *attributes: tuple[int, bytes], server: tuple[str, int] = (CORNERS[0], 3478)) -> None:
    """Answer the first request as a server that does not mean well."""
    data = next(data for data, to, *_ in running.outgoing() if to == server)
    transaction = stun.parse(data).transaction
    seen = stun.Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(("203.0.113.9", 7), transaction)
    running.receive(stun.Message(stun.Kind.SUCCESS, transaction, (seen, *attributes)).encode(), server, 0.1)


@pytest.mark.parametrize(
    "other",
    [
        ("10.0.0.1", 80),
        ("127.0.0.1", 80),
        (CORNERS[0], 80),
        ("198.51.200.1", 3478),
        ("0.0.0.0", 80),
        ("2001:db8::1", 80),
    ],
)
def test_a_server_cannot_aim_us_at_others(other: tuple[str, int]) -> None:
    """At what is private, at itself alone, or nowhere: no test of filtering is made."""
    running = Survey([(CORNERS[0], 3478)], set(), PORT, 0.0)
    answer(running, (stun.Attribute.OTHER_ADDRESS, stun.encode_address(other)))
    assert {to for _, to, *_ in running.outgoing()} <= {("203.0.113.9", 7)}, "the test of hairpinning"


def test_the_port_of_utp_gets_nothing_unasked() -> None:
    """Routers may give it away if it does: the spare socket asks for what comes from elsewhere."""
    running = Survey([(CORNERS[0], 3478)], set(), PORT, 0.0)
    answer(running, (stun.Attribute.OTHER_ADDRESS, stun.encode_address((CORNERS[1], 3479))))
    asked = [each for each in running.outgoing() if each.to[0] in CORNERS]
    changes = [(stun.parse(data).get(stun.Attribute.CHANGE_REQUEST), number) for data, _, number, _ in asked]
    assert changes == [(stun.encode_change(6), SPARE), (stun.encode_change(2), SPARE)]


def test_so_many_are_asked() -> None:
    running = Survey([("198.51.100.1", port) for port in range(1, 100)], set(), PORT, 0.0)
    assert len(running.outgoing()) == SURVEY_SERVERS


def test_nonsense_is_not_taken() -> None:
    running = Survey([(CORNERS[0], 3478)], set(), PORT, 0.0)
    assert not running.receive(b"nonsense", (CORNERS[0], 3478), 0.1)
    answer(running)
    assert running.next_deadline() is not None


def test_what_our_own_server_answers_was_turned_around_too() -> None:
    """On a port that answers STUN, the server may take the request before the survey sees it."""
    running = Survey([(CORNERS[0], 3478)], set(), PORT, 0.0)
    answer(running)
    ((data, to, number, _),) = running.outgoing()
    assert (to, number) == (("203.0.113.9", 7), SPARE)
    reply = StunServer().answer(data, ("203.0.113.9", 8), 0.2)
    assert reply is not None
    assert not running.receive(reply.data, to, 0.2, 0)
    assert running.receive(reply.data, to, 0.2, SPARE)
    assert running.over
    assert running.findings is not None
    assert running.findings.behaviour.hairpin is True
