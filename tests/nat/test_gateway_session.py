"""`crust.nat.gateway_session`: which method is used, with routers of all kinds, in virtual time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Endpoint, Port
from crust.nat.gateway_session import GATEWAY_RETRY, RESTART_PAUSE, GatewaySession, Way
from crust.nat.keeping import LEASE, NEVER
from crust.nat.mapping_report import Method
from crust.nat.paths import Path
from crust.nat.upnp_messages import Answer, Given
from tests.nat.gateway_fakes import FakeRouter
from tests.nat.test_ssdp import answer as ssdp_answer

PORTS = [Port.tcp(5483), Port.utp(5483)]
PATH = Path("eth0", "192.168.1.2", 24, "192.168.1.1")
IPV6 = Path("eth0", "2a00::5", 64, "fe80::1%eth0")


class World:
    """A session and its router."""

    def __init__(self, *speaks: int, upnp: bool = False, path: Path = PATH) -> None:
        self.now = 0.0
        self.router = FakeRouter(*speaks)
        self.closed = False
        self.upnp = upnp
        self.upnp_external = "11.1.1.2"
        self.upnp_refuses: str | None = None
        self.device = (path.gateway or "192.168.1.1").partition("%")[0]
        self.sent: list[tuple[float, Way]] = []
        self.calls: list[float] = []
        self.session = GatewaySession(path, self.now)
        self.session.want(PORTS, self.now)

    def _deliver(self, way: Way, data: bytes) -> None:
        self.sent.append((self.now, way))
        if way is Way.GROUP:
            if self.upnp:
                self.session.heard(ssdp_answer(f"http://{self._host()}:5000/x"), self.device, self.now)
        elif self.closed:
            self.session.unreachable(self.now)
        elif answer := self.router.answer(data, self.now):
            self.session.received(answer, self.now)

    def _host(self) -> str:
        return f"[{self.device}]" if ":" in self.device else self.device

    def turn(self) -> None:
        while True:
            datagrams = self.session.outgoing(self.now)
            for way, data in datagrams:
                self._deliver(way, data)
            call = self.session.take_call(self.now)
            if call is not None:
                self.calls.append(self.now)
                if self.upnp_refuses:
                    refused = {wish.port: self.upnp_refuses for wish in call.wanted}
                    self.session.called(Answer(None, {}, refused, None), self.now)
                elif self.upnp:
                    given = {wish.port: Given(wish.external, LEASE) for wish in call.wanted}
                    self.session.called(Answer(self.upnp_external, given, {}, None), self.now)
                else:
                    self.session.call_failed("does not answer", self.now)
            if not datagrams and call is None:
                return

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self.turn()
        while (at := self.session.next_deadline()) <= end:
            self.now = max(self.now, at)
            self.turn()
        self.now = end

    @property
    def method(self) -> Method | None:
        return self.session.report().method


@pytest.mark.parametrize(
    ("speaks", "upnp", "method", "within"),
    [
        ((0, 2), True, Method.PCP, 0.0),
        ((2,), False, Method.PCP, 0.0),
        ((0,), True, Method.NAT_PMP, 0.0),
        ((0,), False, Method.NAT_PMP, 0.0),
        ((), True, Method.UPNP, 3.6),
    ],
)
def test_the_best_method_is_found(speaks: tuple[int, ...], upnp: bool, method: Method, within: float) -> None:
    world = World(*speaks, upnp=upnp)
    world.run(within)
    assert world.method is method
    report = world.session.report()
    assert report.settled
    assert report.external_address == "11.1.1.2"
    assert {mapping.external for mapping in report.mappings} == {
        Endpoint.tcp("11.1.1.2:5483"),
        Endpoint.utp("11.1.1.2:5483"),
    }
    assert report.warnings == ()


def test_a_closed_port_makes_it_quick() -> None:
    world = World(upnp=True)
    world.closed = True
    world.run(0.0)
    assert world.method is Method.UPNP


def test_without_a_known_router_only_upnp_is_left() -> None:
    world = World(0, 2, upnp=True, path=Path("eth0", "192.168.1.2", 24, None))
    world.run(1.0)
    assert world.method is Method.UPNP
    assert {way for _, way in world.sent} == {Way.GROUP}


@pytest.mark.parametrize(("speaks", "method"), [((2,), Method.PCP), ((0,), Method.UPNP), ((), Method.UPNP)])
def test_over_ipv6_the_firewall_is_opened_once(speaks: tuple[int, ...], method: Method) -> None:
    world = World(*speaks, upnp=True, path=IPV6)
    world.router.outside = world.upnp_external = "2a00::5"
    world.run(3.0)
    report = world.session.report()
    assert report.method is method
    assert len(world.calls) == (method is Method.UPNP)
    assert report.settled
    assert report.warnings == ()
    assert {mapping.external for mapping in report.mappings} == {
        Endpoint.tcp("[2a00::5]:5483"),
        Endpoint.utp("[2a00::5]:5483"),
    }


def test_over_ipv6_a_router_that_opens_nothing_may_have_nothing_to_open() -> None:
    world = World(path=IPV6)
    world.run(10.0)
    assert {way for _, way in world.sent} == {Way.ROUTER, Way.GROUP}
    assert world.session.settled
    assert world.session.report().warnings == ()


def test_over_ipv6_a_router_that_says_no_is_told_of() -> None:
    world = World(upnp=True, path=IPV6)
    world.upnp_refuses = "does not allow holes"
    world.run(10.0)
    assert world.session.settled
    assert world.session.report().warnings == (
        "the router fe80::1%eth0 opens no ports when asked (UPnP: does not allow holes); allow it in its settings, or "
        "let TCP port 5483 and UDP port 5483 of 2a00::5 through there",
    )
    world.upnp_refuses = None
    world.run(GATEWAY_RETRY)
    assert world.session.report().warnings == ()


def test_over_ipv6_a_router_that_refuses_over_pcp_is_told_of() -> None:
    world = World(2, path=IPV6)
    world.router.result = 2
    world.run(10.0)
    assert "(PCP: does not allow it" in world.session.report().warnings[0]
    assert "UPnP: " not in world.session.report().warnings[0]


def test_a_router_that_understands_nothing_is_told_of_and_asked_again_much_later() -> None:
    world = World()
    world.run(10.0)
    report = world.session.report()
    assert report.settled
    assert report.method is None
    assert len(report.warnings) == 1
    assert "PCP: does not answer, NAT-PMP: does not answer, UPnP: does not answer" in report.warnings[0]
    assert "forward TCP port 5483 and UDP port 5483 to 192.168.1.2" in report.warnings[0]
    sent = len(world.sent)
    world.run(GATEWAY_RETRY - 20)
    assert len(world.sent) == sent
    world.upnp = True
    world.run(30)
    assert world.method is Method.UPNP
    assert world.session.report().warnings == ()


def test_a_network_without_a_router_is_no_reason_for_a_warning() -> None:
    world = World(path=Path("docker0", "172.17.0.1", 16, None))
    world.run(10.0)
    assert world.session.settled
    assert world.session.report().warnings == ()


def test_a_refusal_is_in_the_words_of_the_router() -> None:
    world = World(2)
    world.router.result = 2
    world.run(10.0)
    assert "PCP: does not allow it" in world.session.report().warnings[0]


def test_asked_for_it_looks_again_at_once() -> None:
    world = World()
    world.run(100.0)
    world.router.speaks = {2}
    world.session.refresh(world.now)
    world.run(0.0)
    assert world.method is Method.PCP


def test_a_restarted_router_gets_everything_anew() -> None:
    world = World(2)
    world.run(100.0)
    world.router.restart(world.now)
    world.session.announced(world.now)
    world.run(0.0)
    assert len(world.router.mappings) == 2


def test_announcements_of_a_router_that_does_nothing_for_us_mean_nothing() -> None:
    world = World()
    world.run(100.0)
    sent = len(world.sent)
    world.session.announced(world.now)
    world.run(10.0)
    assert len(world.sent) == sent


def test_another_router_in_its_place_is_found() -> None:
    """One that knows UPnP only replaces one that knew PCP: at the next renewal."""
    world = World(2, upnp=True)
    world.run(100.0)
    world.router.speaks = set()
    world.run(LEASE / 2 + 128 + RESTART_PAUSE + 5)
    assert world.method is Method.UPNP


def test_the_method_that_worked_is_tried_first_when_the_router_is_well_again() -> None:
    world = World(2)
    world.run(100.0)
    world.router.silent = True
    world.run(LEASE / 2 - 100 + 128)
    assert world.method is None
    world.router.silent = False
    world.run(RESTART_PAUSE)
    assert world.method is Method.PCP


def test_a_method_that_comes_back_is_found() -> None:
    world = World(upnp=True)
    world.run(10.0)
    world.upnp = False
    world.run(LEASE / 2)
    assert world.method is None
    world.upnp = True
    world.run(GATEWAY_RETRY + 10)
    assert world.method is Method.UPNP


@pytest.mark.parametrize(("address", "said"), [("100.64.0.9", "carrier-grade"), ("192.168.0.3", "another router")])
@pytest.mark.parametrize("speaks", [(2,), (0,), ()])
def test_an_address_that_is_not_public_is_told_of(address: str, said: str, speaks: tuple[int, ...]) -> None:
    world = World(*speaks, upnp=True)
    world.router.outside = world.upnp_external = address
    world.run(10.0)
    report = world.session.report()
    assert len(report.mappings) == 2
    assert said in report.warnings[0]


@pytest.mark.parametrize("speaks", [(2,), (0,), ()])
def test_in_the_end_nothing_is_left(speaks: tuple[int, ...]) -> None:
    world = World(*speaks, upnp=True)
    world.run(10.0)
    world.session.want((), world.now)
    world.run(1.0)
    assert world.router.mappings == {}
    assert world.session.settled
    assert world.session.report().mappings == ()


@pytest.mark.parametrize("after", [0.0, 0.3, 1.0, 2.0, 3.0, 10.0])
def test_stopping_in_the_middle_takes_no_time(after: float) -> None:
    world = World()
    world.run(after)
    world.session.want((), world.now)
    world.run(1.8)
    assert world.session.settled


def test_ports_that_nobody_could_use_are_not_mapped() -> None:
    world = World(2)
    world.session.want([Port.tcp(0), Port.tracer(5999), Port.utp(0)], world.now)
    world.run(10.0)
    assert world.sent == []
    assert world.session.next_deadline() == NEVER


def test_an_hour_of_idling_costs_no_more_than_keeping_the_mappings() -> None:
    for speaks, most in (((2,), 4), ((0,), 6), ((), 0)):
        world = World(*speaks, upnp=True)
        world.run(10.0)
        before = len(world.sent), len(world.calls)
        world.run(3600.0)
        assert len(world.sent) - before[0] <= most
        assert len(world.calls) - before[1] <= (0 if speaks else 2)


def test_an_hour_of_idling_over_ipv6_costs_as_little() -> None:
    """One round of asking and searching in half an hour where there is nobody."""
    for upnp, datagrams, calls in ((True, 0, 2), (False, 2 * (3 + 6), 0)):
        world = World(upnp=upnp, path=IPV6)
        world.run(10.0)
        before = len(world.sent), len(world.calls)
        world.run(3600.0)
        assert len(world.sent) - before[0] <= datagrams
        assert len(world.calls) - before[1] <= calls


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What may happen to a session."""
    byte = st.binary(max_size=70)
    one = st.one_of(
        st.tuples(st.just("time"), st.floats(0, 10_000)),
        st.tuples(st.just("moment"), st.floats(0, 3)),
        st.tuples(st.just("garbage"), byte),
        st.tuples(st.just("search garbage"), byte),
        st.tuples(st.just("speaks"), st.sets(st.sampled_from([0, 2]))),
        st.tuples(st.just("upnp"), st.booleans()),
        st.tuples(st.just("result"), st.integers(0, 14)),
        st.tuples(st.just("lease"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("closed"), st.booleans()),
        st.tuples(st.just("ports"), st.lists(st.sampled_from([*PORTS, Port.tcp(9), Port.tcp(0)]))),
        st.tuples(st.sampled_from(["restart", "refresh", "announced", "unreachable"]), st.none()),
    )
    return draw(st.lists(one, max_size=15))


def happen(world: World, what: str, value: Any) -> None:
    match what:
        case "garbage":
            world.session.received(value, world.now)
        case "search garbage":
            world.session.heard(value, "192.168.1.1", world.now)
        case "speaks" | "result" | "lease":
            setattr(world.router, what, value)
        case "upnp" | "closed":
            setattr(world, what, value)
        case "ports":
            world.session.want(value, world.now)
        case "restart":
            world.router.restart(world.now)
        case "unreachable" | "refresh" | "announced":
            getattr(world.session, what)(world.now)


@given(happenings())
def test_whatever_happens_it_neither_breaks_nor_spins_nor_forgets(happened: list[tuple[str, Any]]) -> None:
    """After each turn there is nothing left to do now, no more is sent than a few datagrams a second, and a router that
    is well again gets all ports mapped."""
    world = World(2, upnp=True)
    for what, value in happened:
        if what in ("time", "moment"):
            sent, before = len(world.sent) + len(world.calls), world.now
            world.run(value)
            assert len(world.sent) + len(world.calls) - sent <= 60 + (world.now - before)
        else:
            happen(world, what, value)
            world.turn()
        assert world.session.next_deadline() > world.now
        world.session.report()
    world.router.speaks, world.router.result, world.router.lease, world.closed, world.upnp = {2}, 0, LEASE, False, True
    world.session.want(PORTS, world.now)
    world.session.refresh(world.now)
    world.run(2 * LEASE)
    assert len(world.session.report().mappings) == len(PORTS)
