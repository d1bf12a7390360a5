"""`crust.reach.outside`: whom to believe, what to tell peers, and when the user hears of it; no sockets, no clock."""

from types import SimpleNamespace
from typing import Any

import pytest

from crust import Config, Endpoint, Event, Port, Protocol
from crust.connecting import notices
from crust.event import AnyEvent
from crust.identity import Identity, PeerId, UnprovenPeerId
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import INFO_CANDIDATES, CandidateKind, ConnectionInfo
from crust.nat.mapping_report import GatewayReport, MappingReport, Method
from crust.nat.mapping_report import Mapping as MappedPort
from crust.nat.observations import OBSERVATION_LIFETIME
from crust.reach import outside, surveyor
from crust.reach.errands import Errands
from crust.reach.outside import Outside
from crust.threads.timers import Timers
from crust.transport.framing import ADDRESS, Decoder
from tests.hand_clock import HandClock

WE = Identity(bytes([1]) * 32).peer_id
OWN = "192.168.1.2"
TCP, UTP = Endpoint.tcp(f"{OWN}:5483"), Endpoint.utp(f"{OWN}:5484")
TRACER = Endpoint.tracer(f"{OWN}:5485")
MAPPED = Endpoint.tcp("192.88.99.9:7000")  # of a range that is global, and nobody's any more (RFC 7526)
SEEN_TCP, SEEN_UTP = Endpoint.tcp("203.0.113.9:5483"), Endpoint.utp("203.0.113.9:5484")


class Peer:
    """A connection with somebody in a network of their own."""

    def __init__(self, number: int, local: Endpoint = TCP, *, proven: bool = True) -> None:
        self.endpoint = Endpoint(local.protocol, f"198.51.{number}.7", 9999)
        self.local = local
        self.peer_id: PeerId = (PeerId if proven else UnprovenPeerId)(bytes([number]) * 32)
        self.outbox = self
        self.sent: list[tuple[int, dict[str, Any]]] = []

    def put_control(self, frame: bytes) -> bool:
        """A frame is sent."""
        decoder = Decoder(0)
        decoder.feed(frame)
        self.sent += decoder.take_controls()
        return True


class Mapper:
    """Stands for `PortMapper`."""

    error: Exception | None = None

    def __init__(self, ports: Any, on_change: Any) -> None:
        self.ports, self.on_change = ports, on_change
        self.calls: list[str] = []

    def start(self) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append("start")

    def refresh(self) -> None:
        self.calls.append("refresh")

    def end(self) -> None:
        self.calls.append("end")

    def stop(self) -> None:
        self.calls.append("stop")


class Bench:
    """An `Outside` in a machine and a network that the test makes up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.clock = HandClock()
        self.addresses = ["127.0.0.1", OWN]
        self.isolated = True
        for module in (outside, surveyor):
            monkeypatch.setattr(module, "now", self.clock)
            monkeypatch.setattr(module, "interface_addresses", lambda: self.addresses)
        monkeypatch.setattr(outside, "PortMapper", Mapper)
        monkeypatch.setattr(outside, "isolated", lambda: self.isolated)
        self.socket: Any = None
        self.listening: list[Any] = []
        self.events: list[AnyEvent] = []
        self.moves: list[tuple[Endpoint, ...]] = []
        self.inbox = notices.Inbox()
        self.timers = Timers()
        utp: Any = SimpleNamespace(listening=self.listening, to_meet_at=lambda version: self.socket)
        self.outside = Outside(
            WE,
            Config(**settings),
            self.inbox,
            self.timers,
            utp,
            Errands(),
            list,
            self.events.append,
            lambda: self.moves.append(self.outside.external),
        )

    def listen(self, *bound: Endpoint) -> None:
        """``start_listening()``."""
        self.outside.listening(list(bound or (TCP, UTP, TRACER)))

    def told(self, peer: Peer, seen: Any) -> None:
        """A peer says where it sees us."""
        connection: Any = peer
        self.outside.told(connection, {"seen": seen})

    def all_say(self, numbers: range, seen: Endpoint = SEEN_TCP, local: Endpoint = TCP) -> list[Peer]:
        """Several do."""
        peers = [Peer(number, local) for number in numbers]
        for peer in peers:
            self.told(peer, str(seen))
        return peers

    def info(self) -> ConnectionInfo:
        """What peers are told, at once."""
        found: list[ConnectionInfo] = []
        self.outside.prepare(found.append)
        (info,) = found
        return info

    def candidates(self) -> list[tuple[CandidateKind, str]]:
        """The same, for comparing."""
        return [(kind, str(endpoint)) for kind, endpoint in self.info().candidates]

    def behaves(self, behaviour: Behaviour) -> None:
        """As if a survey had found out."""
        self.outside._surveyor.behaviour = behaviour

    def external(self) -> list[Endpoint]:
        """Where others reach us."""
        return list(self.outside.external)

    @property
    def mapper(self) -> Any:
        """What asks the routers."""
        return self.outside._mapper

    def mapped(self, *externals: Endpoint) -> None:
        """Routers let peers in."""
        mappings = tuple(MappedPort(Port.tcp(5483), external, 3600.0) for external in externals)
        report = GatewayReport("eth0", OWN, "192.168.1.1", Method.PCP, "203.0.113.9", mappings, (), True)
        self.mapper.on_change(MappingReport((report,), True))
        self.inbox.get_nowait().call()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(monkeypatch)
    bench.listen()
    return bench


# --- what peers say -------------------------------------------------------------------------------


def test_each_peer_is_told_where_we_see_it(bench: Bench) -> None:
    peer: Any = Peer(3)
    bench.outside.came(peer)
    assert peer.sent == [(ADDRESS, {"seen": "tcp://198.51.3.7:9999"})]


def test_four_who_agree_are_believed(bench: Bench) -> None:
    bench.all_say(range(3))
    assert bench.external() == []
    bench.all_say(range(3, 4))
    assert bench.external() == [SEEN_TCP]
    assert bench.events == [Event.ExternalEndpoints((SEEN_TCP,))]
    assert bench.moves == [(SEEN_TCP,)]
    bench.all_say(range(4, 9))
    assert len(bench.events) == 1, "nothing new"


def test_where_peers_do_not_get_in_is_told_to_nobody_but_used_for_meetings(bench: Bench) -> None:
    """Most NATs show an address to all, and let in nobody who was not sent to. It is tried again now and then."""
    shut: set[Endpoint] = set()
    bench.outside.refuted = shut.__contains__
    bench.all_say(range(4))
    shut.add(SEEN_TCP)
    bench.outside.reconsider()
    assert bench.external() == []
    assert bench.events[-1] == Event.ExternalEndpoints(())
    assert bench.outside.claims == (SEEN_TCP,)
    assert (CandidateKind.REFLEXIVE, str(SEEN_TCP)) in bench.candidates()
    count = len(bench.events)
    bench.all_say(range(4, 8))
    assert len(bench.events) == count, "nothing new"
    shut.clear()
    bench.outside.reconsider()
    assert bench.external() == [SEEN_TCP]


def test_one_more_address_that_nobody_gets_in_at_is_tried_all_the_same(bench: Bench) -> None:
    """It is news for who has it tried, if not for the user."""
    bench.outside.refuted = lambda endpoint: True
    bench.all_say(range(4))
    assert bench.outside.claims == (SEEN_TCP,)
    assert len(bench.moves) == 1
    assert bench.events == []


def test_four_neighbours_are_one_voice(bench: Bench) -> None:
    for _ in range(10):
        bench.all_say(range(1))
    assert bench.external() == []


def test_one_liar_moves_nobody(bench: Bench) -> None:
    """Neither before nor after the truth is known, however often it says so."""
    liar, lie = Peer(99), "tcp://203.0.113.66:666"
    for number in range(8):
        bench.told(liar, lie)
        bench.all_say(range(number, number + 1))
        bench.told(liar, lie)
    assert bench.external() == [SEEN_TCP]
    assert len(bench.events) == 1
    assert (CandidateKind.REFLEXIVE, lie) not in bench.candidates()


def test_half_of_all_are_not_enough_to_move_us(bench: Bench) -> None:
    bench.all_say(range(6))
    bench.all_say(range(10, 15), Endpoint.tcp("203.0.113.66:666"))
    assert bench.external() == [SEEN_TCP]


@pytest.mark.parametrize(
    "seen",
    [
        None,
        7,
        [],
        {},
        "",
        "nonsense",
        "tcp://",
        "tcp://203.0.113.9",
        "tcp://203.0.113.9:0",
        "tcp://203.0.113.9:99999",
        "tcp://example.org:5483",
        "tcp://0.0.0.0:5483",
        "tcp://224.0.0.1:5483",
        "tcp://255.255.255.255:5483",
        "tcp://[2001:db8::1]:5483",
        "utp://203.0.113.9:5483",
        "tracer://203.0.113.9:5483",
        "relayed://203.0.113.9:5483",
        "tcp://" + "x" * 5000,
    ],
)
def test_what_makes_no_sense_is_ignored(bench: Bench, seen: object) -> None:
    for number in range(8):
        bench.told(Peer(number), seen)
    assert bench.external() == []
    assert bench.events == []
    assert not bench.outside._told


def test_what_holds_for_another_port_is_ignored(bench: Bench) -> None:
    """We dialled from there: nobody can send to it."""
    bench.all_say(range(8), local=Endpoint.tcp(f"{OWN}:40000"))
    assert bench.external() == []
    assert not bench.outside._told


def test_who_proves_nothing_has_no_voice(bench: Bench) -> None:
    for number in range(8):
        bench.told(Peer(number, proven=False), str(SEEN_TCP))
    assert bench.external() == []


@pytest.mark.parametrize("seen", [TCP, Endpoint.tcp("10.0.0.7:5483"), Endpoint.tcp("100.64.0.1:5483")])
def test_what_is_private_is_nobody_elses_business(bench: Bench, seen: Endpoint) -> None:
    bench.all_say(range(8), seen)
    assert bench.external() == []


def test_an_own_public_address_is_not_external(bench: Bench) -> None:
    """It is among the own endpoints already."""
    bench.addresses.append(SEEN_TCP.host)
    bench.all_say(range(8))
    assert bench.external() == []


def test_another_network_another_truth(bench: Bench) -> None:
    bench.all_say(range(4))
    bench.outside.addresses_changed()
    assert bench.events[-1] == Event.ExternalEndpoints(())
    assert bench.external() == []
    assert not bench.outside._told


def test_what_a_peer_said_holds_as_long_as_its_connection(bench: Bench) -> None:
    """A NAT keeps a port for as long as it is used. So does not each newcomer make us forget."""
    peers: list[Any] = [*bench.all_say(range(5))]
    bench.clock.time += OBSERVATION_LIFETIME + 1
    bench.all_say(range(90, 91), Endpoint.tcp("203.0.113.66:666"))
    assert bench.external() == [SEEN_TCP]
    for peer in peers:
        bench.outside.went(peer)
    bench.clock.time += OBSERVATION_LIFETIME + 1
    bench.all_say(range(91, 92), Endpoint.tcp("203.0.113.66:666"))
    assert bench.external() == []


def test_after_stop_nothing_is_said(bench: Bench) -> None:
    bench.all_say(range(3))
    bench.outside.stop()
    bench.all_say(range(3, 8))
    assert bench.events == []
    assert bench.outside._surveyor.join(1.0)


# --- what others need to meet us ------------------------------------------------------------------


def test_candidates_the_surest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.isolated = False
    bench.listen()
    bench.mapped(MAPPED)
    bench.all_say(range(2), SEEN_UTP, UTP)
    assert bench.candidates() == [
        (CandidateKind.MAPPED, str(MAPPED)),
        (CandidateKind.REFLEXIVE, "utp://203.0.113.9:5484"),
        (CandidateKind.HOST, "tcp://192.168.1.2:5483"),
        (CandidateKind.HOST, "utp://192.168.1.2:5484"),
        (CandidateKind.PREDICTED, "tcp://203.0.113.9:5483"),
    ]
    info = bench.info()
    assert info.peer_id == WE
    assert ConnectionInfo.parse(info.encode()) == info


def test_a_port_is_guessed_only_where_it_was_not_seen(bench: Bench) -> None:
    bench.all_say(range(2), SEEN_UTP, UTP)
    assert (CandidateKind.PREDICTED, str(SEEN_TCP)) in bench.candidates()
    bench.all_say(range(2), Endpoint.tcp("203.0.113.9:6000"))
    assert CandidateKind.PREDICTED not in dict(bench.candidates())
    assert (CandidateKind.REFLEXIVE, "tcp://203.0.113.9:6000") in bench.candidates()


def test_nobody_was_heard(bench: Bench) -> None:
    assert bench.candidates() == [(CandidateKind.HOST, str(TCP)), (CandidateKind.HOST, str(UTP))]


def test_not_more_than_an_info_takes(bench: Bench) -> None:
    bench.addresses += [f"192.168.2.{number}" for number in range(1, 30)]
    bench.listen(Endpoint.tcp("0.0.0.0:5483"), Endpoint.utp("0.0.0.0:5484"))
    bench.all_say(range(2), SEEN_UTP, UTP)
    assert len(bench.candidates()) == INFO_CANDIDATES
    assert bench.candidates()[0] == (CandidateKind.REFLEXIVE, str(SEEN_UTP))


COUNTING = Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.SEQUENTIAL, 1)


def test_of_a_nat_that_counts_the_last_port_is_told(bench: Bench) -> None:
    """That which was seen last. What a connected peer has seen is older, and is for that peer alone."""
    bench.all_say(range(3), Endpoint.utp("203.0.113.9:40001"), UTP)
    bench.behaves(COUNTING)
    bench.clock.time += 10
    bench.outside._observations.saw(
        Protocol.UTP, UTP.port, ("192.0.2.1", 3478), ("203.0.113.9", 40009), bench.clock.time
    )
    seen = [text for kind, text in bench.candidates() if kind is CandidateKind.REFLEXIVE]
    assert seen == ["utp://203.0.113.9:40009"]
    assert bench.info().behaviour == COUNTING
    bench.all_say(range(3, 4), Endpoint.utp("203.0.113.9:40010"), UTP)
    assert (CandidateKind.REFLEXIVE, "utp://203.0.113.9:40010") in bench.candidates(), "a newer one"


def test_where_there_is_no_port_to_listen_on_the_one_to_dial_from_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.listen(TCP)
    assert bench.candidates() == [(CandidateKind.HOST, str(TCP))]
    bench.socket = SimpleNamespace(local_address=("0.0.0.0", 40404))
    assert bench.candidates() == [(CandidateKind.HOST, str(TCP)), (CandidateKind.HOST, f"utp://{OWN}:40404")]


def test_a_node_for_this_machine_alone_tells_of_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, listen_addresses=("127.0.0.1",))
    bench.isolated = False
    local = Endpoint.tcp("127.0.0.1:5483")
    bench.listen(local)
    bench.socket = SimpleNamespace(local_address=("0.0.0.0", 40404))
    assert bench.candidates() == [(CandidateKind.HOST, str(local))]
    assert bench.mapper is None


@pytest.mark.parametrize(
    ("addresses", "translated"), [([OWN], True), ([OWN, "203.0.113.9"], False), ([], False), (["2001:db8::1"], False)]
)
def test_whether_there_is_a_nat_in_front(bench: Bench, addresses: list[str], translated: bool) -> None:
    bench.addresses[:] = addresses
    bench.outside.addresses_changed()
    assert bench.outside.translated(Endpoint.tcp("198.51.100.1:7")) is translated


# --- mapped ports ---------------------------------------------------------------------------------


def test_routers_are_asked_once_and_told_when_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.isolated = False
    bench.listen()
    mapper = bench.mapper
    assert mapper.ports() == [Port.tcp(5483), Port.utp(5484)], "tracer ports are nobody's business"
    bench.listen()
    assert bench.mapper is mapper
    bench.outside.addresses_changed()
    bench.outside.stop()
    bench.outside.join(1.0)
    assert mapper.calls == ["start", "refresh", "end", "stop"]


def test_mapped_ports_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.isolated = False
    bench.listen()
    external = MAPPED
    bench.mapped(external)
    bench.mapped(external)
    assert bench.events == [Event.ExternalEndpoints((external,))]
    assert bench.outside.mapping_report().endpoints == [external]
    bench.all_say(range(4))
    assert bench.external() == [external, SEEN_TCP]
    bench.mapped()
    assert bench.external() == [SEEN_TCP]
    bench.mapped(Endpoint.tcp("192.168.0.7:7000"))
    assert bench.external() == [SEEN_TCP], "a router behind a router"
    bench.outside.stop()
    count = len(bench.events)
    bench.mapped(external)
    assert len(bench.events) == count


def test_what_a_router_maps_is_told_even_if_a_peer_does_not_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """That one may be behind a firewall of its own."""
    bench = Bench(monkeypatch)
    bench.isolated = False
    bench.listen()
    bench.outside.refuted = lambda endpoint: True
    bench.mapped(MAPPED)
    assert bench.external() == [MAPPED]


def test_servers_and_ports_that_are_missing_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, stun_servers=("[2001:db8::1]:3478",))
    assert bench.outside.report().utp, "nothing is listened on yet"
    bench.listen(TCP)
    report = bench.outside.report()
    assert not report.utp
    assert [name for name, _ in report.failed] == ["[2001:db8::1]:3478"]


@pytest.mark.parametrize("settings", [{"upnp": False}, {"listen_addresses": ("127.0.0.1",)}])
def test_nobody_is_asked_where_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    bench = Bench(monkeypatch, **settings)
    bench.isolated = False
    bench.listen()
    assert bench.mapper is None


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for error in (RuntimeError("can't start new thread"), OSError("too many open files")):
        monkeypatch.setattr(Mapper, "error", error)
        bench = Bench(monkeypatch)
        bench.isolated = False
        bench.listen()
        assert bench.mapper is None
        assert str(error) in caplog.text


# --- for people -----------------------------------------------------------------------------------


def test_the_report(bench: Bench) -> None:
    assert bench.outside.report().address is None
    bench.socket = SimpleNamespace(local_address=("0.0.0.0", UTP.port))
    bench.all_say(range(4), SEEN_UTP, UTP)
    address = bench.outside.report().address
    assert address is not None
    assert address.address == SEEN_UTP.address
    bench.behaves(COUNTING)
    bench.all_say(range(4, 8), Endpoint.utp("203.0.113.9:6000"), UTP)
    address = bench.outside.report().address
    assert address is not None
    assert address.address == ("203.0.113.9", 0), "the host, as the port is another one for each"


# --- the TCP port of a NAT that counts ------------------------------------------------------------


class Sounder:
    """Stands for `crust.reach.sounder.Sounder`."""

    def __init__(self) -> None:
        self.last_given: tuple[str, int] | None = None
        self.finds: tuple[str, int] | None = ("203.0.113.9", 50001)
        self.begun = 0
        self.calls: list[str] = []
        self.waiting: list[Any] = []
        self.busy = False

    def begin(self) -> None:
        self.begun += 1
        self.busy, self.last_given = True, None

    def when_over(self, call: Any) -> None:
        if self.busy:
            self.waiting.append(call)
        else:
            call()

    def over(self) -> None:
        """It is."""
        self.busy, self.last_given = False, self.finds
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def stop(self) -> None:
        self.calls.append("stop")

    def join(self, timeout: float) -> bool:
        self.calls.append("join")
        return True


@pytest.fixture
def sounder(bench: Bench) -> Sounder:
    found = Sounder()
    standing_in: Any = found
    bench.outside._sounder = standing_in
    bench.listen()
    return found


def reflexive(info: ConnectionInfo) -> list[str]:
    """Where others see us, as an info has it."""
    return [str(endpoint) for kind, endpoint in info.candidates if kind is CandidateKind.REFLEXIVE]


def prepared(bench: Bench, sounder: Sounder) -> list[str]:
    """The same of an info that waits for a sounding."""
    found: list[ConnectionInfo] = []
    bench.outside.prepare(found.append)
    assert not found
    sounder.over()
    (info,) = found
    return reflexive(info)


def test_the_port_that_a_sounding_finds_is_told(bench: Bench, sounder: Sounder) -> None:
    """In place of those which peers have seen, that are long past; but not of those of IPv6."""
    ipv6 = Endpoint.tcp("[2001:4860::9]:5483")
    bench.all_say(range(3))
    bench.all_say(range(3, 4), ipv6)
    bench.behaves(COUNTING)
    assert prepared(bench, sounder)[0] == "tcp://203.0.113.9:50001"
    assert str(SEEN_TCP) not in prepared(bench, sounder)
    assert sounder.begun == 2
    sounder.finds = None
    assert str(SEEN_TCP) in prepared(bench, sounder), "better than nothing"


def test_what_the_glance_and_the_sounding_find_belongs_together(bench: Bench, sounder: Sounder) -> None:
    bench.behaves(COUNTING)
    bench.outside._surveyor.last_given = ("203.0.113.9", 50002)
    assert prepared(bench, sounder) == ["tcp://203.0.113.9:50002", "utp://203.0.113.9:50002"]
    bench.outside._surveyor.last_given = ("203.0.113.9", 41000)
    assert prepared(bench, sounder) == ["tcp://203.0.113.9:50001", "utp://203.0.113.9:41000"]
    bench.outside._surveyor.last_given = ("203.0.113.10", 41000)
    assert prepared(bench, sounder) == ["utp://203.0.113.10:41000"], "one of the two is wrong"


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(Mapping.ENDPOINT_INDEPENDENT),
        Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.UNKNOWN, Allocation.RANDOM),
    ],
)
def test_other_nats_are_not_sounded(bench: Bench, sounder: Sounder, behaviour: Behaviour) -> None:
    sounder.last_given = ("203.0.113.9", 50001)  # of another network, where we were before
    bench.behaves(behaviour)
    assert reflexive(bench.info()) == []
    assert not sounder.begun


def test_nor_is_any_where_nobody_listens_for_tcp(bench: Bench, sounder: Sounder) -> None:
    bench.listen(UTP)
    bench.behaves(COUNTING)
    assert bench.info()
    assert not sounder.begun


def test_that_the_nat_counts_may_show_while_somebody_waits(
    bench: Bench, sounder: Sounder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []
    monkeypatch.setattr(bench.outside._surveyor, "when_known", waiting.append)
    found: list[ConnectionInfo] = []
    bench.outside.prepare(found.append)
    assert not sounder.begun
    bench.behaves(COUNTING)
    waiting.pop()()
    assert (sounder.begun, found) == (1, [])
    sounder.over()
    assert reflexive(found[0]) == ["tcp://203.0.113.9:50001"]


def test_it_is_begun_once_for_each_info(bench: Bench, sounder: Sounder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with the question over UDP, not after it."""
    waiting: list[Any] = []
    monkeypatch.setattr(bench.outside._surveyor, "when_known", waiting.append)
    bench.behaves(COUNTING)
    found: list[ConnectionInfo] = []
    bench.outside.prepare(found.append)
    assert sounder.begun == 1
    sounder.over()
    waiting.pop()()
    assert sounder.begun == 1
    assert reflexive(found[0]) == ["tcp://203.0.113.9:50001"]


def test_it_ends_with_the_rest(bench: Bench, sounder: Sounder) -> None:
    bench.outside.stop()
    bench.outside.join(1.0)
    assert sounder.calls == ["stop", "join"]
