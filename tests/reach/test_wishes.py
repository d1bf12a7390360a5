"""`crust.reach.wishes`: in which order the ways to a peer are tried, and when the user is told that there is none."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from crust import Endpoint, Event
from crust.connecting.attempts import Job, Race
from crust.event import AnyEvent
from crust.identity import PeerId
from crust.reach import wishes
from crust.reach.wishes import (
    DIRECT_AGAIN,
    DIRECT_AGAIN_LATEST,
    MAX_WISHES,
    MEETING_AFTER,
    MEETING_NAME,
    RELAY_AFTER,
    RELAY_CARRIERS,
    RELAY_NAME,
    WISH_SECONDS,
    Wishes,
)
from crust.threads.timers import Timers
from tests.hand_clock import HandClock

PEER, OTHER = PeerId(bytes([7]) * 32), PeerId(bytes([8]) * 32)
HERE = Endpoint.tcp("198.51.100.7:5483")
NO_PEERS = "nobody to ask"


class Bench:
    """Wishes, and everything around them imitated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(wishes, "now", self.clock)
        monkeypatch.setattr(wishes, "interface_networks", lambda: ["192.168.1.2/24"])
        self.timers = Timers()
        self.events: list[AnyEvent] = []
        self.known: dict[PeerId, tuple[Endpoint, ...]] = {}
        self.connected: dict[PeerId, Any] = {}
        self.jobs: list[Job] = []
        self.sought: dict[PeerId, Callable[[str], None]] = {}
        self.times_sought: dict[PeerId, int] = defaultdict(int)
        self.met: set[PeerId] = set()
        self.asked: list[tuple[Any, Job, Callable[[str], None]]] = []
        around: Any = self
        self.wishes = Wishes(
            self.timers, around, around, around, around, around, self.met.__contains__, self.events.append
        )

    # As `Connections`.

    @property
    def live(self) -> list[Any]:
        return list(self.connected.values())

    def with_peer(self, peer_id: PeerId) -> Any:
        return self.connected.get(peer_id)

    # As `Finder`.

    def endpoints_of(self, peer_id: PeerId) -> tuple[Endpoint, ...]:
        return self.known.get(peer_id, ())

    def peer_at(self, endpoints: Iterable[Endpoint]) -> PeerId | None:
        return next((peer for peer, at in self.known.items() if set(at) & set(endpoints)), None)

    # As `Dialer`.

    def connect(self, endpoints: Iterable[Endpoint], race: Race, ended: Callable[[Job], None]) -> Job:
        self.jobs.append(Job(tuple(endpoints), race, ended, bootstrap=False))
        return self.jobs[-1]

    def hold(self, race: Race, ended: Callable[[Job], None]) -> Job:
        return self.connect((), race, ended)

    def let_go(self, job: Job) -> None:
        self.give_up(job)

    def give_up(self, job: Job) -> None:
        assert not job.done
        job.done = True
        job.ended(job)

    # As `Meetings`.

    def possible(self, peer_id: PeerId) -> bool:
        return bool(self.connected)

    def seek(self, peer_id: PeerId, failed: Callable[[str], None]) -> None:
        assert peer_id not in self.sought
        self.times_sought[peer_id] += 1
        if self.connected:
            self.sought[peer_id] = failed
        else:
            failed(NO_PEERS)

    # As `Relays`.

    def open(self, peer_id: PeerId, via: Any, job: Job, refused: Callable[[str], None]) -> None:
        self.asked.append((via, job, refused))

    # What the test says.

    def connection(self, peer_id: PeerId, *, relayed: bool = False) -> Any:
        """One that is there."""
        self.connected[peer_id] = SimpleNamespace(peer_id=peer_id, relayed=relayed)
        return self.connected[peer_id]

    def came(self, peer_id: PeerId = PEER, *, relayed: bool = False) -> Any:
        """One comes."""
        connection = self.connection(peer_id, relayed=relayed)
        self.wishes.came(connection)
        return connection

    def wait(self, seconds: float) -> None:
        """Time passes."""
        end = self.clock.time + seconds
        while (due := self.timers.next_deadline()) is not None and due <= end:
            self.clock.time = due
            self.timers.run_due(due)
        self.clock.time = end

    def not_dialled(self, reason: str = "nobody there") -> None:
        """Dialling comes to nothing."""
        (job,) = [job for job in self.jobs if job.endpoints and not job.done]
        for endpoint in job.endpoints:
            job._failures[endpoint].append(reason)
        self.give_up(job)

    def not_met(self, reason: str = "it does not want to") -> None:
        """No meeting is arranged."""
        self.sought.pop(PEER)(reason)

    def failed(self) -> Any:
        """The one event, which ends it."""
        (event,) = self.events
        assert isinstance(event, Event.ConnectionFailed)
        self.over()
        return event

    def over(self) -> None:
        """Nothing goes on, and nothing is remembered."""
        assert not len(self.wishes)
        assert all(job.done for job in self.jobs)
        assert not self.sought
        assert self.timers.next_deadline() is None


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(monkeypatch)
    meetings: Any = SimpleNamespace(
        possible=bench.possible, seek=bench.seek, give_up=lambda peer_id: bench.sought.pop(peer_id, None)
    )
    bench.wishes._meetings = meetings
    return bench


# --- one way after the other ----------------------------------------------------------------------


def test_dialling_has_a_head_start(bench: Bench) -> None:
    bench.known[PEER] = (HERE,)
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    assert [job.endpoints for job in bench.jobs] == [(HERE,)]
    bench.wait(MEETING_AFTER - 0.01)
    assert not bench.sought
    bench.wait(0.01)
    assert bench.sought
    bench.came()
    bench.over()
    assert bench.events == []


def test_dialling_fails_then_it_is_met(bench: Bench) -> None:
    """Without waiting for the head start to be over."""
    bench.known[PEER] = (HERE,)
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.not_dialled()
    assert bench.sought
    assert bench.times_sought[PEER] == 1
    bench.wait(MEETING_AFTER)
    assert bench.times_sought[PEER] == 1, "once is enough"
    bench.came()
    bench.over()


def test_nothing_works(bench: Bench) -> None:
    """Each way has its reason in the event; there is one event, and it comes when the last way is over."""
    bench.known[PEER] = (HERE,)
    via = bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.wait(MEETING_AFTER)
    bench.not_met()
    ((asked, _, refused),) = bench.asked
    assert asked is via
    refused("it does not volunteer")
    assert bench.events == []
    bench.not_dialled()
    event = bench.failed()
    assert event.peer_id == PEER
    assert event.endpoints == (HERE,)
    assert event.reason == {HERE: "nobody there"}
    assert event.methods == {MEETING_NAME: "it does not want to", RELAY_NAME: f"{OTHER}: it does not volunteer"}


def test_what_the_meeting_met_is_told(bench: Bench) -> None:
    """A meeting took place, and no hole could be punched."""
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.sought.pop(PEER)  # as it has been arranged
    bench.wishes.not_met(PEER, {"TCP hole punching": "refused", "uTP hole punching": "silence"})
    bench.asked[0][2]("no")
    assert bench.failed().methods == {
        "TCP hole punching": "refused",
        "uTP hole punching": "silence",
        RELAY_NAME: f"{OTHER}: no",
    }


def test_who_is_alone_learns_it_at_once(bench: Bench) -> None:
    bench.wishes.connect_peer(PEER)
    assert bench.failed().methods == {MEETING_NAME: NO_PEERS}


def test_who_is_being_met_is_not_sought(bench: Bench) -> None:
    """The peer was faster; what comes of it is what comes of our wish."""
    bench.connection(OTHER)
    bench.met.add(PEER)
    bench.wishes.connect_peer(PEER)
    assert not bench.sought
    bench.wishes.not_met(PEER, {"uTP hole punching": "silence"})
    bench.asked[0][2]("no")
    assert "uTP hole punching" in bench.failed().methods


def test_private_endpoints_of_other_networks_are_not_dialled(bench: Bench) -> None:
    """There somebody else has them."""
    ours, elsewhere = Endpoint.tcp("192.168.1.77:1"), Endpoint.tcp("10.0.0.7:1")
    bench.known[PEER] = (ours, elsewhere, HERE, Endpoint.tcp("example.org:7"))
    bench.wishes.connect_peer(PEER)
    assert elsewhere not in bench.jobs[0].endpoints
    assert len(bench.jobs[0].endpoints) == 3


def test_a_wish_is_wished_once(bench: Bench) -> None:
    bench.known[PEER] = (HERE,)
    bench.wishes.connect_peer(PEER)
    bench.wishes.connect_peer(PEER)
    assert len(bench.jobs) == len(bench.wishes) == 1
    bench.came()
    bench.wishes.connect_peer(PEER)
    bench.over()


def test_a_wish_does_not_last_for_ever(bench: Bench) -> None:
    """Even if nothing that was begun ever ends."""
    bench.known[PEER] = (HERE,)
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.wait(WISH_SECONDS - 0.01)
    assert bench.events == []
    bench.wait(0.01)
    assert bench.failed().reason == {HERE: "not tried"}


def test_too_many(bench: Bench) -> None:
    bench.connection(OTHER)
    for number in range(MAX_WISHES):
        bench.wishes.connect_peer(PeerId(number.to_bytes(32, "big")))
    assert bench.events == []
    bench.wishes.connect_peer(PEER)
    (event,) = bench.events
    assert isinstance(event, Event.ConnectionFailed)
    assert event.peer_id == PEER
    assert event.methods == {MEETING_NAME: f"{MAX_WISHES} peers are being reached; wait for their events first"}
    assert len(bench.wishes) == MAX_WISHES


def test_stop_ends_all_without_a_word(bench: Bench) -> None:
    """Also those whose dialling ends because of that: none of them is met instead."""
    for number in range(3):
        peer = PeerId(number.to_bytes(32, "big"))
        bench.known[peer] = (HERE,)
        bench.wishes.connect_peer(peer)
    bench.wishes.stop()
    bench.over()
    bench.wishes.connect_peer(PEER)
    bench.over()
    assert bench.events == []
    assert not bench.times_sought


# --- instead of a connect() -----------------------------------------------------------------------


def failed_job(*endpoints: Endpoint) -> Job:
    job = Job(endpoints, Race(1), lambda job: None, bootstrap=False)
    for endpoint in endpoints:
        job._failures[endpoint].append("nobody there")
    return job


def test_a_known_peer_is_met_instead(bench: Bench) -> None:
    bench.known[PEER] = (HERE,)
    bench.connection(OTHER)
    assert bench.wishes.instead(failed_job(HERE))
    assert not bench.jobs, "it has been dialled"
    bench.not_met()
    bench.asked[0][2]("no")
    event = bench.failed()
    assert event.endpoints == (HERE,)
    assert event.reason == {HERE: "nobody there"}
    assert event.peer_id == PEER


def test_others_are_not(bench: Bench) -> None:
    """Unknown ones; where there is nobody to ask; who is being reached already; who is there."""
    assert not bench.wishes.instead(failed_job(HERE))
    bench.known[PEER] = (HERE,)
    assert not bench.wishes.instead(failed_job(HERE))
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    assert not bench.wishes.instead(failed_job(HERE))
    bench.came()
    assert not bench.wishes.instead(failed_job(HERE))
    bench.wishes.stop()
    bench.connected.pop(PEER)
    assert not bench.wishes.instead(failed_job(HERE))
    bench.over()


# --- through others -------------------------------------------------------------------------------


def relayed(bench: Bench) -> Any:
    """A wish that has come true by a relay."""
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.not_met()
    return bench.came(relayed=True)


def test_after_a_while_somebody_is_asked_to_carry(bench: Bench) -> None:
    via = bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.wait(RELAY_AFTER - 0.01)
    assert not bench.asked
    bench.wait(0.01)
    assert [asked for asked, _, _ in bench.asked] == [via]


def test_where_nothing_else_can_work_nobody_waits(bench: Bench) -> None:
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.wishes.hopeless(PEER)
    bench.wishes.hopeless(OTHER)
    assert len(bench.asked) == 1


def test_one_after_the_other_is_asked_and_not_all(bench: Bench) -> None:
    """Neither those who are relayed themselves, nor those who prove nothing; nor who has gone meanwhile."""
    others = [bench.connection(PeerId(number.to_bytes(32, "big"))) for number in range(1, RELAY_CARRIERS + 5)]
    others[-1].relayed = True
    bench.wishes.connect_peer(PEER)
    bench.not_met()
    gone = others[-3]
    bench.wishes.went(gone)
    number = 0
    while number < len(bench.asked):
        bench.asked[number][2]("no")
        number += 1
    asked = [via for via, _, _ in bench.asked]
    assert asked == [via for via in reversed(others[-RELAY_CARRIERS - 1 : -1]) if via is not gone]
    names = ", ".join(str(via.peer_id) for via in asked)
    assert bench.failed().methods[RELAY_NAME] == f"{names}: no", "with one reason for all"


def test_who_arranged_a_meeting_is_the_first_that_is_asked_to_carry(bench: Bench) -> None:
    """It is connected to the peer; then come those that were connected the latest."""
    others = [bench.connection(PeerId(number.to_bytes(32, "big"))) for number in range(1, RELAY_CARRIERS + 5)]
    bench.wishes.connect_peer(PEER)
    bench.wishes.arranged(PEER, others[1].peer_id)
    bench.wishes.arranged(OTHER, others[2].peer_id)
    bench.sought.pop(PEER)  # as it has been arranged
    bench.wishes.not_met(PEER, {"uTP hole punching": "silence"})
    bench.asked[0][2]("no")
    bench.asked[1][2]("it would have to relay over a relay")
    bench.asked[2][2]("no")
    assert [via for via, _, _ in bench.asked] == [others[1], others[-1], others[-2], others[-3]]
    while len(bench.wishes):
        bench.asked[-1][2]("no")
    told = bench.failed().methods[RELAY_NAME]
    assert told.endswith(f"; {others[-1].peer_id}: it would have to relay over a relay")
    assert told.count(": no") == 1


def test_a_relayed_connection_is_kept_and_a_direct_one_sought_from_time_to_time(bench: Bench) -> None:
    relayed(bench)
    assert bench.events == []
    pause, times = DIRECT_AGAIN, 1
    for _ in range(8):
        bench.wait(pause - 0.01)
        assert bench.times_sought[PEER] == times
        bench.wait(0.02)
        times += 1
        assert bench.times_sought[PEER] == times
        bench.not_met()
        pause = min(2 * pause, DIRECT_AGAIN_LATEST)
    assert len(bench.asked) == 1, "nobody else is asked to carry what is carried"
    assert bench.events == []
    bench.came()
    bench.over()


def test_a_direct_way_that_opens_later_takes_its_place(bench: Bench) -> None:
    bench.connection(OTHER)
    bench.wishes.connect_peer(PEER)
    bench.wait(RELAY_AFTER)
    bench.came(relayed=True)
    assert bench.sought, "it goes on"
    bench.came()
    bench.over()


def test_a_relayed_connection_that_ends_is_not_made_again(bench: Bench) -> None:
    """The user is told by `LostConnection`, as of any."""
    connection = relayed(bench)
    del bench.connected[PEER]
    bench.wishes.went(connection)
    bench.over()
    assert bench.events == []


def test_who_is_relayed_is_sought_at_once_if_the_user_asks_again(bench: Bench) -> None:
    """Once for each time; and that does not make the pauses longer, nor a meeting that goes on begin anew."""
    relayed(bench)
    for times in (2, 3):
        bench.wait(1.0)
        bench.wishes.connect_peer(PEER)
        bench.wishes.connect_peer(PEER)
        assert bench.times_sought[PEER] == times
        bench.not_met()
    bench.wait(DIRECT_AGAIN - 0.01)
    assert bench.times_sought[PEER] == 3
    bench.wait(0.01)
    assert bench.times_sought[PEER] == 4
    assert bench.events == []
    bench.came()
    bench.over()


def test_what_is_known_of_who_is_relayed_is_dialled_again(bench: Bench) -> None:
    relayed(bench)
    bench.known[PEER] = (HERE,)
    bench.wishes.connect_peer(PEER)
    assert [job.endpoints for job in bench.jobs if not job.done and job.endpoints] == [(HERE,)]
    bench.not_dialled()
    bench.not_met()
    assert bench.events == []
    assert len(bench.wishes) == 1


def test_who_is_connected_by_a_relay_may_be_wished_for(bench: Bench) -> None:
    """Directly; and if that fails nobody is told: it is connected."""
    bench.connection(OTHER)
    bench.connection(PEER, relayed=True)
    bench.wishes.connect_peer(PEER)
    bench.not_met()
    assert not bench.asked
    assert bench.events == []
    assert len(bench.wishes) == 1
