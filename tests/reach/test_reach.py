"""`crust.reach.reach`: which meetings take place, which of them beside each other, and what the user is told of them.

What a user sees of all of it is in `tests/manager/test_meeting.py`; ports and wishes have tests of their own.
"""

import itertools
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from crust import Config, Endpoint, Event, Identity
from crust.connecting import notices
from crust.connecting.ground import Ground
from crust.defence.blacklist import Blacklist
from crust.event import AnyEvent
from crust.identity import PeerId
from crust.links.connection_news import Told
from crust.nat import source_address
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.punch_gate import MAX_MEETINGS
from crust.reach import reach
from crust.reach.encounter import NOT_TRIED, RENDEZVOUS_SECONDS, TCP_NAME, UDP_NAME
from crust.reach.meetings import Arranged
from crust.reach.reach import INFO_KEPT, KEEP_INTERVAL, PREPARED_INFOS, Reach
from crust.reach.wishes import MEETING_NAME
from crust.threads.timers import Timers
from crust.transport.framing import ADDRESS, PUNCH
from tests.hand_clock import HandClock
from tests.streams import node

RANDOM = Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.RANDOM)
CONE = Behaviour(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
PEER = Identity(bytes([7]) * 32).peer_id
THEIRS = ConnectionInfo(PEER)


class Pretence:
    """Stands for an `Encounter`."""

    def __init__(
        self,
        means: Any,
        peer_id: PeerId,
        ours: Any,
        theirs: Any,
        start: float,
        vouched: Any,
        ended: Any,
        seconds: float = 8.0,
    ) -> None:
        self.peer_id, self.ours, self.theirs, self.vouched, self.seconds = peer_id, ours, theirs, vouched, seconds
        self.ended = ended
        self.begun = self.over = self.cancelled = False

    def begin(self) -> None:
        self.begun = True

    def satisfied(self) -> None:
        self.end({})

    def superseded(self) -> None:
        self.end({})

    def end(self, reasons: dict[str, str]) -> None:
        """It is over."""
        if not self.over:
            self.over = True
            self.ended(reasons)

    def cancel(self) -> None:
        self.cancelled = self.over = True


class Bench:
    """A `Reach`, and who is met."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[AnyEvent] = []
        self.encounters: list[Any] = []
        self.connected: dict[PeerId, Any] = {}
        monkeypatch.setattr(reach, "Encounter", self._make)
        around: Any = MagicMock(
            live=[],
            with_peer=self.connected.get,
            utp_addresses=list,
            endpoints_of=lambda peer_id: (),
            peer_at=lambda endpoints: None,
            reachable_at=lambda external: None,
            listening=[],
            to_meet_at=lambda version: None,
        )
        self.node = node()
        self.reach = Reach(
            Ground(
                self.node,
                Config(listen_addresses=("127.0.0.1",)),
                notices.Inbox(),
                Timers(),
                around,
                around,
                Blacklist(),
                self.events.append,
            ),
            around,
            around,
        )
        self.not_met: list[tuple[PeerId, dict[str, str]]] = []
        monkeypatch.setattr(self.reach.wishes, "not_met", lambda *arguments: self.not_met.append(arguments))

    def _make(self, *arguments: Any) -> Any:
        self.encounters.append(Pretence(*arguments))
        return self.encounters[-1]

    def ours(self, behaviour: Behaviour = CONE) -> ConnectionInfo:
        """What a peer is told of us."""
        return ConnectionInfo(self.node.identity.peer_id, behaviour=behaviour)

    def arrange(self, peer_id: PeerId = PEER, *, sought: bool = True, theirs: Behaviour = CONE) -> Any:
        """A meeting is arranged; the encounter that comes of it, if one does."""
        count = len(self.encounters)
        their_info = ConnectionInfo(peer_id, behaviour=theirs)
        self.reach._arranged(Arranged(peer_id, self.ours(), their_info, 0.0, ("198.51.100.7",), PEER, sought))
        return self.encounters[-1] if len(self.encounters) > count else None

    def prepare(self, token: object) -> ConnectionInfo:
        """``prepare_connection_info()``."""
        self.reach.handlers[notices.PrepareInfo](notices.PrepareInfo(token))
        event = self.events.pop()
        assert isinstance(event, Event.ConnectionInfoPrepared)
        assert event.token == token
        return event.info

    def rendezvous(self, theirs: ConnectionInfo = THEIRS, ours: ConnectionInfo | None = None) -> None:
        """``rendezvous_connect()``."""
        self.reach.handlers[notices.Rendezvous](notices.Rendezvous(theirs, ours))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


# --- meetings that others arranged ----------------------------------------------------------------


def test_a_meeting_takes_place_at_once(bench: Bench) -> None:
    encounter = bench.arrange()
    assert encounter.begun
    assert encounter.vouched == {"198.51.100.7"}
    assert encounter.theirs.peer_id == PEER
    encounter.end({UDP_NAME: "silence"})
    assert bench.not_met == [(PEER, {UDP_NAME: "silence"})]
    assert not bench.reach._encounters


def test_a_later_meeting_takes_the_place_of_an_earlier_one(bench: Bench) -> None:
    """And the end of that one does not end it."""
    first, second = bench.arrange(), bench.arrange()
    assert first.over
    assert list(bench.reach._encounters.values()) == [second]
    assert bench.not_met == []


@pytest.mark.parametrize("comes_to_nothing_first", [0, 1])
def test_what_others_ask_for_does_not_end_what_we_sought(bench: Bench, comes_to_nothing_first: int) -> None:
    """They need not be who they say; our wish is told when both are over."""
    both = [bench.arrange(), bench.arrange(sought=False)]
    assert not both[0].over
    both.pop(comes_to_nothing_first).end({UDP_NAME: "silence"})
    assert bench.not_met == []
    both.pop().end({UDP_NAME: "nothing came back"})
    assert bench.not_met == [(PEER, {UDP_NAME: "nothing came back"})]
    assert not bench.reach._encounters


@pytest.mark.parametrize("sought", [False, True])
def test_what_is_arranged_does_not_end_what_the_user_brought_a_line_for(bench: Bench, sought: bool) -> None:
    """Neither when it begins, nor when it comes to nothing; and the user hears of the end of the other."""
    bench.prepare(1)
    bench.rendezvous()
    arranged = bench.arrange(sought=sought)
    (line, _) = bench.encounters
    arranged.end({UDP_NAME: "silence"})
    assert bench.not_met == [(PEER, {UDP_NAME: "silence"})], "nobody waits for the line"
    assert not line.over
    assert bench.events == []
    line.end({UDP_NAME: "nothing came back"})
    (event,) = bench.events
    assert isinstance(event, Event.ConnectionFailed)
    assert not bench.reach._encounters


def test_one_connection_ends_all_that_was_for_it(bench: Bench) -> None:
    bench.prepare(1)
    bench.rendezvous()
    bench.arrange()
    bench.arrange(sought=False)
    bench.reach.came(MagicMock(peer_id=PEER, relayed=False, endpoint=Endpoint.tcp("198.51.100.7:1")))
    assert all(encounter.over for encounter in bench.encounters)
    assert not bench.reach._encounters
    assert bench.events == bench.not_met == []


def test_a_connection_ends_it(bench: Bench) -> None:
    encounter = bench.arrange()
    relayed: Any = MagicMock(peer_id=PEER, relayed=True, endpoint=Endpoint.tcp("198.51.100.7:1"))
    bench.reach.came(relayed)
    assert not encounter.over, "a relayed one does not"
    relayed.relayed = False
    bench.reach.came(relayed)
    assert encounter.over
    assert bench.not_met == []


def test_the_gate_is_told_of_the_end_of_what_others_sought(bench: Bench) -> None:
    gate = bench.reach._gate
    for _ in range(MAX_MEETINGS):
        gate._under_way += 1
        bench.arrange(sought=False).end({UDP_NAME: "silence"})
    assert gate._under_way == 0
    gate._under_way = 3
    bench.arrange(sought=True).end({})
    assert gate._under_way == 3


def test_we_do_not_use_the_birthday_method_all_the_time_either(bench: Bench) -> None:
    assert bench.arrange(theirs=RANDOM) is not None
    other = PeerId(bytes([5]) * 32)
    assert bench.arrange(other, theirs=RANDOM) is None
    ((peer_id, reasons),) = bench.not_met
    assert peer_id == other
    assert "birthday method was used just now" in reasons[UDP_NAME]
    assert bench.arrange(PeerId(bytes([6]) * 32)) is not None, "others are not affected"


# --- out of band ----------------------------------------------------------------------------------


def test_the_latest_info_of_ours_is_the_one_that_counts(bench: Bench) -> None:
    infos = [bench.prepare(number) for number in range(3)]
    bench.rendezvous()
    (encounter,) = bench.encounters
    assert encounter.ours == infos[-1]
    assert encounter.vouched is None, "the user answers for it"
    assert encounter.seconds == RENDEZVOUS_SECONDS


def test_or_the_one_that_is_given(bench: Bench) -> None:
    first = bench.prepare("first")
    for number in range(2 * PREPARED_INFOS):
        bench.prepare(number)
    assert len(bench.reach._prepared) == PREPARED_INFOS
    bench.rendezvous(ours=first)
    assert bench.encounters[0].ours == first


def test_the_nat_is_kept_from_forgetting_the_port_while_the_peer_gets_the_info(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    monkeypatch.setattr(reach, "now", clock)
    asked: list[float] = []
    bench.prepare(1)
    bench.prepare(2)
    monkeypatch.setattr(bench.reach.outside, "prepare", lambda call: asked.append(clock.time))
    while (due := bench.reach._timers.next_deadline()) is not None:
        clock.time = due
        bench.reach._timers.run_due(clock.time)
    assert len(asked) == INFO_KEPT // KEEP_INTERVAL - 1
    assert all(later - earlier == KEEP_INTERVAL for earlier, later in itertools.pairwise(asked))


def test_nothing_was_prepared(bench: Bench) -> None:
    bench.rendezvous()
    (event,) = bench.events
    assert isinstance(event, Event.ConnectionFailed)
    assert "prepare_connection_info() comes first" in event.methods[MEETING_NAME]
    assert not bench.encounters


def test_who_is_connected_is_not_met(bench: Bench) -> None:
    bench.connected[PEER] = SimpleNamespace(relayed=False)
    bench.prepare(1)
    bench.rendezvous()
    assert not bench.encounters
    assert not bench.events
    bench.connected[PEER].relayed = True
    bench.rendezvous()
    assert bench.encounters, "unless somebody carries the connection"


def test_the_end_is_told(bench: Bench) -> None:
    """Once; and not where there is a connection."""
    bench.prepare(1)
    bench.rendezvous()
    bench.rendezvous()
    assert bench.encounters[0].over
    bench.encounters[1].end({UDP_NAME: "silence"})
    (event,) = bench.events
    assert event == Event.ConnectionFailed((), {}, PEER, {UDP_NAME: "silence"})
    assert not bench.reach._encounters
    bench.rendezvous()
    bench.encounters[2].end({})
    assert len(bench.events) == 1


def test_every_endpoint_of_a_line_has_a_reason(bench: Bench) -> None:
    """What its method met, if that was tried; so that one may look up each of them."""
    tcp, utp = Endpoint.tcp("198.51.100.7:1"), Endpoint.utp("198.51.100.7:1")
    theirs = ConnectionInfo(PEER, tuple(Candidate(CandidateKind.HOST, each) for each in (tcp, utp)))
    bench.rendezvous(theirs)
    bench.prepare(1)
    for reasons in ({TCP_NAME: "refused", UDP_NAME: "silence"}, {TCP_NAME: "refused"}):
        bench.rendezvous(theirs)
        bench.encounters[-1].end(reasons)
    unprepared, both, one = (event.reason for event in bench.events if isinstance(event, Event.ConnectionFailed))
    assert unprepared == {tcp: NOT_TRIED, utp: NOT_TRIED}
    assert both == {tcp: "refused", utp: "silence"}
    assert one == {tcp: "refused", utp: NOT_TRIED}


# --- what peers say, and the end ------------------------------------------------------------------


def test_frames_of_a_connection_that_is_over_are_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may come late, and would be remembered for ever."""
    read: list[object] = []
    monkeypatch.setattr(bench.reach.outside, "told", lambda connection, content: read.append(content))
    monkeypatch.setattr(bench.reach._meetings, "letter", lambda connection, content: read.append(content))
    connection: Any = SimpleNamespace(peer_id=PEER, told_taken=0)
    for known, expected in ((connection, 2), (object(), 2), (None, 2)):
        bench.connected[PEER] = known
        bench.reach.handlers[Told](Told(connection, ADDRESS, {"seen": "tcp://198.51.100.7:1"}))
        bench.reach.handlers[Told](Told(connection, PUNCH, {}))
        assert len(read) == expected
    assert connection.told_taken == 6, "the reader goes on all the same"


def test_stop(bench: Bench) -> None:
    encounter = bench.arrange()
    bench.reach.stop()
    assert encounter.cancelled
    bench.reach.handlers[notices.PrepareInfo](notices.PrepareInfo(1))
    bench.rendezvous()
    assert bench.events == []
    assert len(bench.encounters) == 1
    bench.reach.close()


def test_the_status(bench: Bench) -> None:
    question = notices.NatStatusAsked()
    bench.reach.listening([Endpoint.tcp("127.0.0.1:5483")])
    bench.reach.handlers[notices.NatStatusAsked](question)
    status = question.answer.get_nowait()
    assert status is not None
    assert status.own == (Endpoint.tcp("127.0.0.1:5483"),)
    assert status.external == ()
    assert not status.relays


def test_where_peers_were_not_let_in_is_looked_at_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What peers tried is news for what this node says of itself."""
    verdicts: dict[Endpoint, bool | None] = {}
    at = Endpoint.tcp("203.0.113.9:5483")
    looked: list[bool] = []
    monkeypatch.setattr(bench.reach._dial_back, "verified", verdicts.get)
    monkeypatch.setattr(bench.reach.outside, "_update", lambda: looked.append(bench.reach.outside.refuted(at)))
    for verdict in (None, True, False):
        verdicts[at] = verdict
        bench.reach._dial_back._asker._on_change()
    assert looked == [False, False, True]


def test_the_status_says_whether_this_node_listens(bench: Bench) -> None:
    assert not bench.reach._status().listening
    bench.reach.listening([Endpoint.tcp("127.0.0.1:5483")])
    assert bench.reach._status().listening
    bench.reach.stop()
    assert not bench.reach._status().listening


def test_of_several_listeners_the_one_on_the_way_is_dialled_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback leads nowhere else, and the address of a VPN on a wrong way."""
    source = "192.168.1.2"
    monkeypatch.setattr(source_address, "source_towards", lambda remote: source)
    monkeypatch.setattr(bench.reach.outside, "translated", lambda target: True)
    bench.reach._bound = [Endpoint.tcp((host, 5483)) for host in ("127.0.0.1", "10.8.0.2", "192.168.1.2")]
    target = Endpoint.tcp("198.51.100.7:5483")
    assert bench.reach._tcp_source(target) == ("192.168.1.2", 5483)
    assert bench.reach._tcp_listening() == {4: ("192.168.1.2", 5483)}
    source = "192.168.7.7"
    assert bench.reach._tcp_source(target) is None, "from any port, then"
    assert bench.reach._tcp_listening() == {4: ("10.8.0.2", 5483)}
