"""`crust.reach.encounter`: two ways are opened at the same time, one connection comes of it, and nothing is left over;
with errands that only pretend. (With real ones: `tests/manager/test_meeting.py` and `tests/lab`.)"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from crust import Endpoint, Identity
from crust.connecting import notices
from crust.connecting.attempts import Job, MeetingAttempt, Race
from crust.connecting.negotiate import negotiate_crossing, negotiate_incoming, negotiate_outgoing
from crust.defence.blacklist import Blacklist
from crust.endpoint import Address
from crust.errors import DialFailed
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.errand import ERRAND_LINGER
from crust.nat.punch import Opened
from crust.reach import encounter
from crust.reach.encounter import TCP_HEAD_START, TCP_NAME, UDP_NAME, Encounter, Means
from crust.reach.errands import Errands
from crust.threads.clock import Deadline
from crust.threads.timers import Timers
from crust.transport.utp import UtpStream
from tests.hand_clock import HandClock
from tests.streams import node

THEY = Identity(bytes([9]) * 32)
TCP, UTP = ("203.0.113.9", 5483), ("203.0.113.9", 5484)
START = 2.0  # seconds from the beginning of a test


class Pretence:
    """Stands for `Errand` and `TcpErrand`: what they find, the test says."""

    error: Exception | None = None

    def __init__(self, ports: Any, machine: Any, *calls: Callable[..., Any]) -> None:
        if self.error is not None:
            raise self.error
        self.ports, self.machine, self.calls = ports, machine, calls
        self.running = True
        self.failures: dict[Address, str] = {}
        self.port: int | None = 40404

    def cancel(self) -> None:
        self.running = False

    def stop(self, timeout: float | None = None) -> None:
        self.running = False

    def reasons(self) -> dict[Address, str]:
        return self.failures

    def local_port(self, number: int, version: int = 4) -> int | None:
        return self.port


class Socket:
    """Stands for a TCP socket that was opened."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Bench:
    """One encounter, and what it uses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        self.timers = Timers()
        self.inbox = notices.Inbox()
        self.blacklist = Blacklist()
        self.errands = Errands()
        self.node = node()
        self.jobs: list[Job] = []
        self.joined: list[MeetingAttempt] = []
        self.ended: list[dict[str, str]] = []
        self.udp: Any = SimpleNamespace(connect=self._connect)
        self.ports: list[tuple[int, int]] = []
        self.connects: list[Address] = []
        self.listening: dict[int, Address] = {4: ("0.0.0.0", 5483)}
        monkeypatch.setattr(encounter, "now", self.clock)
        monkeypatch.setattr(encounter, "Errand", Pretence)
        monkeypatch.setattr(encounter, "TcpErrand", Pretence)
        monkeypatch.setattr(encounter, "interface_networks", lambda: ["192.168.1.2/24"])
        around: Any = self
        means = Means(
            self.node, self.inbox, self.timers, around, around, self.errands, self.blacklist, lambda: self.listening
        )
        candidates = (
            Candidate(CandidateKind.REFLEXIVE, Endpoint.tcp(TCP)),
            Candidate(CandidateKind.REFLEXIVE, Endpoint.utp(UTP)),
        )
        ours = ConnectionInfo(self.node.identity.peer_id)
        theirs = ConnectionInfo(THEY.peer_id, candidates)
        self.encounter = Encounter(
            means, THEY.peer_id, ours, theirs, self.clock.time + START, {TCP[0]}, self.ended.append
        )

    # As `Dialer`.

    def hold(self, race: Race, ended: Callable[[Job], None]) -> Job:
        job = Job((), race, ended, bootstrap=False)
        job.held = True
        self.jobs.append(job)
        return job

    def join_in(self, attempt: MeetingAttempt) -> None:
        self.job.running.add(attempt)
        self.joined.append(attempt)

    def let_go(self, job: Job) -> None:
        assert job.held
        job.held = False
        if not job.running:
            self.give_up(job)

    def give_up(self, job: Job) -> None:
        assert not job.done
        job.done = True
        job.ended(job)

    # As `UtpPorts`.

    def to_meet_at(self, version: int) -> Any:
        return self.udp if version == 4 else None

    def also(self, version: int, port: int) -> Any:
        self.ports.append((version, port))
        return self.udp

    def _connect(self, address: Address, timeout: float, *, rendezvous: bool, started: Any) -> str:
        assert rendezvous
        self.connects.append(address)
        return "a stream"

    # What the test says.

    @property
    def job(self) -> Job:
        (job,) = self.jobs
        return job

    @property
    def tcp_errand(self) -> Any:
        return self.encounter._tcp

    @property
    def udp_errand(self) -> Any:
        return self.encounter._udp

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.time += seconds
        self.timers.run_due(self.clock.time)

    def begin(self) -> "Bench":
        """Until both ways are tried."""
        self.encounter.begin()
        self.wait(START)
        return self

    def run(self) -> None:
        """The manager takes what is in its inbox."""
        while not self.inbox.empty():
            self.inbox.get().call()

    def tcp_opens(self) -> Socket:
        """A socket is connected."""
        sock = Socket()
        self.tcp_errand.calls[0](sock, TCP)
        self.run()
        return sock

    def tcp_over(self, reason: str = "") -> None:
        """Nothing more comes over TCP."""
        self.tcp_errand.failures = {TCP: reason} if reason else {}
        self.tcp_errand.calls[1]()
        self.run()

    def udp_over(self, opened: Opened | None = None, failure: str = "silence") -> None:
        """A path is opened over UDP, or none."""
        self.udp_errand.machine.opened = opened
        self.udp_errand.machine.failure = "" if opened else failure
        self.udp_errand.calls[0]()
        self.run()

    def opening(self) -> Any:
        """The latest attempt runs, on its thread."""
        return self.joined[-1]._opening(Deadline(1.0), lambda handle: None)

    def fails(self, attempt: MeetingAttempt, reason: str) -> None:
        """An attempt comes to nothing."""
        self.job.running.discard(attempt)
        self.job.failed(attempt, reason)
        if not self.job.running and not self.job.held:
            self.give_up(self.job)

    def succeeds(self) -> None:
        """One has become a connection."""
        self.job.connected = True
        self.give_up(self.job)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_it_begins_when_it_was_agreed(bench: Bench) -> None:
    bench.encounter.begin()
    bench.wait(START - 0.01)
    assert not bench.jobs
    bench.wait(0.01)
    assert bench.tcp_errand.ports == bench.listening
    assert set(bench.udp_errand.ports) == {4}
    assert len(bench.errands) == 2
    assert bench.job.held
    assert bench.ended == []


def test_tcp_goes_ahead(bench: Bench) -> None:
    """The path over UDP waits for a moment, and is not used where there is a connection by then."""
    bench.begin()
    bench.udp_over(Opened(UTP, 0))
    assert not bench.joined
    bench.tcp_opens()
    assert [str(attempt.target) for attempt in bench.joined] == ["tcp://203.0.113.9:5483"]
    bench.succeeds()
    bench.wait(TCP_HEAD_START)
    assert len(bench.joined) == 1
    assert bench.ended == [{}]


def test_utp_is_used_where_tcp_does_not_come(bench: Bench) -> None:
    bench.begin()
    bench.udp_over(Opened(UTP, 0))
    bench.wait(TCP_HEAD_START)
    (attempt,) = bench.joined
    assert str(attempt.target) == "utp://203.0.113.9:5484"
    assert not attempt.repeatable
    assert bench.opening() == "a stream"
    assert bench.connects == [UTP]
    bench.succeeds()
    assert bench.ended == [{}]


def test_utp_does_not_wait_where_tcp_is_over(bench: Bench) -> None:
    bench.begin()
    bench.tcp_over("refused")
    bench.udp_over(Opened(UTP, 0))
    bench.wait(0.0)
    assert len(bench.joined) == 1


def test_the_role_is_as_the_stream_came(bench: Bench) -> None:
    """Over uTP one side of a rendezvous counts as the one that dialled; over TCP both may have."""
    bench.begin()
    bench.tcp_opens()
    assert bench.joined[0]._negotiation is negotiate_crossing
    said: list[Any] = []
    for initiator, expected in ((True, negotiate_outgoing), (False, negotiate_incoming)):
        made: Any = type("Stream", (UtpStream,), {"initiator": initiator, "__slots__": ()})
        stream = made.__new__(made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encounter, expected.__name__, lambda *arguments: said.append(arguments))
            nothing: Any = None
            encounter._as_it_came(stream, bench.node, Deadline(1.0), nothing)
    assert len(said) == 2


def test_neither_way_opens(bench: Bench) -> None:
    """What each of them met is told, once, when both are over."""
    bench.begin()
    bench.udp_over(failure="nobody answered")
    assert bench.ended == []
    bench.tcp_over("the peer's router refuses")
    assert bench.ended == [{UDP_NAME: "nobody answered", TCP_NAME: "tcp://203.0.113.9:5483: the peer's router refuses"}]
    bench.wait(ERRAND_LINGER)
    assert not bench.udp_errand.running
    assert not bench.tcp_errand.running
    assert bench.timers.next_deadline() is None


def test_a_way_opens_and_somebody_else_is_there(bench: Bench) -> None:
    bench.begin()
    bench.udp_over()
    bench.tcp_opens()
    bench.tcp_over()
    assert bench.ended == []
    bench.fails(bench.joined[0], "somebody else is there")
    assert bench.ended[0][TCP_NAME] == "tcp://203.0.113.9:5483: somebody else is there"
    assert bench.ended[0][UDP_NAME] == "silence"


def test_it_is_satisfied_by_any_connection(bench: Bench) -> None:
    """The probes go on for a moment: the peer may have to hear once more which path it is."""
    bench.begin()
    bench.encounter.satisfied()
    bench.encounter.satisfied()
    assert bench.ended == [{}]
    assert bench.job.done
    assert not bench.tcp_errand.running
    assert bench.udp_errand.running
    bench.wait(ERRAND_LINGER)
    assert not bench.udp_errand.running


def test_what_is_open_goes_on_when_another_encounter_begins(bench: Bench) -> None:
    """The peer may have chosen it, and have told its user."""
    bench.begin()
    bench.tcp_opens()
    bench.encounter.superseded()
    assert bench.ended == [{}]
    assert not bench.job.done
    assert not bench.tcp_errand.running
    assert bench.tcp_opens().closed, "no further ones"
    bench.succeeds()
    assert bench.ended == [{}]


def test_what_is_not_open_yet_ends_when_another_encounter_begins(bench: Bench) -> None:
    bench.begin()
    bench.encounter.superseded()
    assert bench.job.done
    assert bench.ended == [{}]


def test_it_is_satisfied_before_it_began(bench: Bench) -> None:
    bench.encounter.begin()
    bench.encounter.satisfied()
    bench.wait(START)
    assert not bench.jobs
    assert bench.ended == [{}]


@pytest.mark.parametrize("stopped", [False, True])
def test_what_opens_too_late_is_closed(bench: Bench, stopped: bool) -> None:
    bench.begin()
    if stopped:
        bench.encounter.cancel()
    else:
        bench.encounter.satisfied()
    assert bench.tcp_opens().closed
    bench.udp_over(Opened(UTP, 0))
    bench.wait(TCP_HEAD_START)
    assert not bench.joined
    assert len(bench.ended) == (0 if stopped else 1)


def test_it_is_cancelled_before_it_began(bench: Bench) -> None:
    bench.encounter.begin()
    bench.encounter.cancel()
    bench.wait(START)
    assert not bench.jobs
    assert bench.ended == []


# --- what is not tried ----------------------------------------------------------------------------


def test_unwelcome_addresses_are_not_tried(bench: Bench) -> None:
    bench.blacklist.add([TCP[0]])
    bench.begin()
    assert bench.tcp_errand.machine.tick(bench.clock.time + 100) == []
    assert not bench.udp_errand.machine.outgoing()


def test_who_answers_from_an_unwelcome_address_is_not_let_in(bench: Bench) -> None:
    bench.begin()
    bench.blacklist.add([TCP[0]])
    assert bench.tcp_opens().closed
    bench.udp_over(Opened(UTP, 0))
    bench.wait(TCP_HEAD_START)
    assert not bench.joined


def test_no_ports(bench: Bench) -> None:
    """There is nothing to wait for."""
    bench.listening, bench.udp = {}, None
    bench.begin()
    assert bench.ended == [
        {TCP_NAME: "no TCP port is open here (tcp_port)", UDP_NAME: "no UDP port is open here (utp_port)"}
    ]


def test_no_more_threads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("can't start new thread"), OSError("too many open files")):
        monkeypatch.setattr(Pretence, "error", error)
        another = Bench(monkeypatch).begin()
        (reasons,) = another.ended
        assert set(reasons) == {TCP_NAME, UDP_NAME}
        assert all(f"{error}: raise the limits" in reason for reason in reasons.values())


# --- the birthday method --------------------------------------------------------------------------


def test_a_path_from_another_port(bench: Bench) -> None:
    """Its socket is closed first, so that uTP can have the port."""
    bench.begin()
    bench.udp_over(Opened(UTP, 5))
    bench.wait(TCP_HEAD_START)
    assert bench.opening() == "a stream"
    assert not bench.udp_errand.running
    assert bench.ports == [(4, 40404)]
    assert bench.connects == [UTP]
    bench.udp_errand.port = None
    with pytest.raises(DialFailed, match="is gone"):
        bench.opening()
