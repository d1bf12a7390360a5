"""`crust.finding.moves`: what a change of addresses does to connections; the system, the clock and the connections are
the test's."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from crust import Endpoint
from crust.finding import moves
from crust.finding.moves import ADDRESS_GRACE, ANSWER_TIME, ASK_PAUSE, Footing, Moves, Standing, standing
from crust.threads.timers import Timers
from tests.hand_clock import HandClock

HOME, OFFICE, LOCAL = "192.168.1.2", "10.0.0.2", "127.0.0.1"
TCP, UTP = Endpoint.tcp("203.0.113.1:1"), Endpoint.utp("203.0.113.2:2")


class Peer:
    """A connection."""

    def __init__(self, world: "World", endpoint: Endpoint, local: Endpoint, relayed: bool) -> None:
        self._world = world
        self.endpoint, self.local, self.relayed = endpoint, local, relayed
        self.pings: list[float] = []
        self.heard = 0.0
        self.lost = self.doubt = ""

    def ping(self, at: float) -> None:
        self.pings.append(at)

    def silence(self, at: float) -> float:
        return at - self.heard

    def hears(self) -> None:
        self.heard = self._world.clock.time


class World:
    """A machine, its addresses, and the routes that uTP takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        self.timers = Timers()
        self.addresses = [LOCAL, HOME]
        self.source: str | None = HOME
        monkeypatch.setattr(moves, "now", self.clock)
        monkeypatch.setattr(moves, "source_towards", lambda remote: self.source)
        self.moves = Moves(self.timers, self._connections(), lambda: self.addresses)
        self.moves.look(self.addresses)

    def _connections(self) -> Any:
        world = self

        class Connections:
            def give_up(self, connection: Peer, reason: str) -> None:
                assert not connection.lost
                connection.lost = reason
                world.moves.went(connection)  # type: ignore[arg-type]

        return Connections()

    def peer(self, endpoint: Endpoint, local: str | None = None, relayed: bool = False) -> Peer:
        host = local or ("0.0.0.0" if endpoint is UTP else HOME)
        peer = Peer(self, endpoint, Endpoint(endpoint.protocol, host, 1), relayed)
        self.moves.came(peer)  # type: ignore[arg-type]
        return peer

    def becomes(self, addresses: Iterable[str], source: str | None = None) -> frozenset[str]:
        """The system has told of a change, and the manager looks."""
        self.addresses, self.source = list(addresses), source
        return self.moves.look(self.addresses)

    def passes(self, seconds: float) -> None:
        end = self.clock.time + seconds
        while (due := self.timers.next_deadline()) is not None and due <= end:
            self.clock.time = due
            self.timers.run_due(due)
        self.clock.time = end


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# --- the decision ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roams", "addresses", "source", "expected"),
    [
        (False, [HOME, OFFICE], None, Standing.FIRM),
        (False, [OFFICE], None, Standing.GONE),
        (False, [], None, Standing.GONE),
        (True, [HOME, OFFICE], HOME, Standing.FIRM),
        (True, [HOME, OFFICE], OFFICE, Standing.ELSEWHERE),
        (True, [HOME], None, Standing.FIRM),
        (True, [OFFICE], OFFICE, Standing.GONE),
        (True, [], None, Standing.GONE),
    ],
)
def test_standing(roams: bool, addresses: list[str], source: str | None, expected: Standing) -> None:
    assert standing(Footing(HOME, roams), addresses, source) is expected


# --- what follows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [TCP, UTP])
def test_whose_address_is_gone_is_lost_after_a_moment(world: World, endpoint: Endpoint) -> None:
    peer = world.peer(endpoint)
    world.passes(10)
    assert world.becomes([LOCAL, OFFICE], OFFICE) == {OFFICE}
    assert peer.pings == [world.clock.time]
    world.passes(ADDRESS_GRACE - 0.01)
    assert not peer.lost
    assert "no longer has the address" in peer.doubt
    world.passes(0.02)
    assert peer.lost == f"this machine no longer has the address {HOME}, which the connection needs"
    assert world.timers.next_deadline() is None


@pytest.mark.parametrize("endpoint", [TCP, UTP])
def test_an_address_that_is_back_in_time_loses_nobody(world: World, endpoint: Endpoint) -> None:
    peer = world.peer(endpoint)
    world.becomes([LOCAL])
    world.passes(ADDRESS_GRACE / 2)
    world.becomes([LOCAL, HOME], HOME)
    world.passes(100)
    assert not peer.lost


def test_the_system_is_asked_again_before_anybody_is_lost(world: World) -> None:
    """Where it does not tell of changes, the next look may be half a minute away."""
    peer = world.peer(TCP)
    world.becomes([LOCAL])
    world.addresses = [LOCAL, HOME]
    world.passes(100)
    assert not peer.lost


def test_an_address_that_goes_for_good_after_it_was_back(world: World) -> None:
    peer = world.peer(TCP)
    for addresses in ([LOCAL], [LOCAL, HOME], [LOCAL]):
        world.becomes(addresses)
        world.passes(0.9)
    assert not peer.lost
    world.passes(ADDRESS_GRACE)
    assert peer.lost


def test_changes_that_follow_do_not_put_the_end_off(world: World) -> None:
    peer = world.peer(TCP)
    for number in range(4):
        world.becomes([LOCAL, f"10.0.0.{number}"])
        world.passes(0.51)
    assert peer.lost


def test_what_comes_to_a_gone_address_over_tcp_proves_nothing(world: World) -> None:
    """It was on its way."""
    peer = world.peer(TCP)
    world.becomes([LOCAL, OFFICE])
    world.passes(0.1)
    peer.hears()
    world.passes(ADDRESS_GRACE)
    assert peer.lost


def test_who_answers_over_utp_stays_and_is_asked_again(world: World) -> None:
    """Whatever we believe of the way, it works."""
    peer = world.peer(UTP)
    world.becomes([LOCAL, OFFICE], OFFICE)
    for _ in range(3):
        world.passes(1)
        peer.hears()
        world.passes(ANSWER_TIME - 1)
    assert not peer.lost
    assert len(peer.pings) >= 3
    world.passes(2 * ANSWER_TIME)
    assert peer.lost


def test_a_peer_over_utp_to_whom_another_way_leads_now_has_longer(world: World) -> None:
    """As when a cable is plugged in beside the radio, or a tunnel is opened."""
    slow, silent = world.peer(UTP), world.peer(UTP)
    tcp = world.peer(TCP)
    world.becomes([LOCAL, HOME, OFFICE], OFFICE)
    world.passes(ANSWER_TIME - 0.5)
    assert not silent.lost
    slow.hears()
    world.passes(1)
    reason = f"this machine no longer sends to the peer from {HOME}, by which the peer knows the connection"
    assert silent.lost == slow.doubt == reason
    assert not slow.lost
    world.source = HOME
    world.passes(100)
    assert not slow.lost
    assert not slow.doubt
    assert not tcp.lost
    assert tcp.pings


def test_an_address_that_comes_back_while_the_way_stays_elsewhere(world: World) -> None:
    """Then the silence must be that of a peer that was given the longer time."""
    peer = world.peer(UTP)
    world.becomes([LOCAL, OFFICE], OFFICE)
    world.addresses = [LOCAL, HOME, OFFICE]
    world.passes(ANSWER_TIME - 0.1)
    assert not peer.lost
    world.passes(0.2)
    assert peer.lost.startswith("this machine no longer sends to the peer from")


def test_routes_change_without_addresses(world: World) -> None:
    """As when an IPv6 address that was made for privacy gets old."""
    peer, tcp = world.peer(UTP), world.peer(TCP)
    world.becomes([LOCAL, HOME, OFFICE], HOME)
    world.passes(10)
    count = len(tcp.pings)
    assert world.becomes([LOCAL, HOME, OFFICE], OFFICE) == frozenset()
    world.passes(ANSWER_TIME)
    assert peer.lost
    assert not tcp.lost
    assert len(tcp.pings) == count


def test_no_way_at_all_may_be_for_a_moment(world: World) -> None:
    """The interface is down and keeps its address."""
    peer = world.peer(UTP)
    world.becomes([LOCAL, HOME, "fe80::1"], None)
    world.passes(100)
    assert not peer.lost


@pytest.mark.parametrize(
    "make",
    [
        lambda world: world.peer(Endpoint.tcp("127.0.0.1:1"), LOCAL),
        lambda world: world.peer(TCP, "127.0.0.9"),  # serves, and no interface lists it
        lambda world: world.peer(UTP, relayed=True),  # lives and dies with the one that carries it
        lambda world: world.peer(UTP, OFFICE),  # bound there, and sent from there
    ],
)
def test_who_is_not_concerned(world: World, make: Callable[[World], Peer]) -> None:
    world.becomes([LOCAL, HOME, OFFICE], HOME)
    peer = make(world)
    world.passes(ASK_PAUSE)
    world.becomes([LOCAL, OFFICE], OFFICE)
    world.passes(100)
    assert not peer.lost
    assert bool(peer.pings) != peer.relayed


def test_a_utp_connection_without_any_way_is_left_alone(world: World) -> None:
    world.source = None
    peer = world.peer(UTP)
    world.becomes([LOCAL, OFFICE], OFFICE)
    world.passes(100)
    assert not peer.lost


def test_link_local_addresses_have_no_scope(world: World) -> None:
    world.becomes([LOCAL, "fe80::2"])
    peer = world.peer(TCP, "fe80::2%eth0")
    world.passes(ASK_PAUSE)
    world.becomes([LOCAL])
    world.passes(ADDRESS_GRACE)
    assert peer.lost


def test_an_interface_that_flutters_does_not_make_a_flood_of_questions(world: World) -> None:
    peer = world.peer(Endpoint.tcp("127.0.0.1:1"), LOCAL)
    for number in range(100):
        world.becomes([LOCAL, HOME] if number % 2 else [LOCAL])
        world.passes(ASK_PAUSE / 50)
    assert len(peer.pings) == 2


def test_nothing_new_asks_nobody(world: World) -> None:
    peer = world.peer(TCP)
    other = world.peer(UTP)
    assert world.becomes([HOME, LOCAL], HOME) == frozenset()
    assert not peer.pings
    assert not other.pings


def test_who_went_meanwhile_is_not_judged(world: World) -> None:
    peer = world.peer(TCP)
    world.becomes([LOCAL])
    world.moves.went(peer)  # type: ignore[arg-type]
    world.passes(100)
    assert not peer.lost


def test_nobody_is_judged_after_the_end(world: World) -> None:
    peer = world.peer(TCP)
    world.becomes([LOCAL])
    world.moves.stop()
    assert world.timers.next_deadline() is None
    world.passes(100)
    assert not peer.lost
