"""`crust.connecting.dialing`: when which attempt begins, who wins, and why the others failed; no threads, no network,
no clock."""

import queue
from types import SimpleNamespace
from typing import Any

import pytest

from crust import Config, Endpoint, Identity
from crust.connecting import attempts, dialing
from crust.connecting.attempts import Attempt, AttemptFailed, AttemptSucceeded, Job, Race, Resolved
from crust.connecting.dialing import CUT_EARLY, CUT_SHORT_PAUSE, MAX_CUT_SHORT, NOT_DIALLED, TRACER_OFF, Dialer
from crust.connecting.negotiate import CutShort, Refused
from crust.connecting.notices import Ask, Inbox
from crust.connecting.turns import TURN
from crust.connecting.utp_ports import UtpPorts
from crust.errors import CrustError, DialFailed
from crust.identity import PeerId
from crust.limits import DIAL_STAGGER, TCP_HEAD_START
from crust.links.peers import Candidate, Verdict
from crust.threads.timers import Timers
from tests.streams import node

A, B, C = (Endpoint.tcp(f"192.0.2.{number}:5483") for number in (1, 2, 3))
U, V = (Endpoint.utp(f"192.0.2.{number}:5483") for number in (1, 2))
NAME = Endpoint.tcp("peer.example:5483")
PEER = Identity().peer_id


class Bench:
    """A dialer whose attempts only begin: how they end, and what time it is, the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 100.0
        self.started: list[Attempt] = []
        self.ended: list[Job] = []
        self.verdict = Verdict.CHOOSE
        self.live: dict[PeerId, Any] = {}
        self.aliases: list[tuple[Any, set[Endpoint]]] = []
        self.blacklist: set[str] = set()
        self.pool_error: RuntimeError | None = None
        monkeypatch.setattr(dialing, "now", lambda: self.time)
        monkeypatch.setattr(attempts, "now", lambda: self.time)
        monkeypatch.setattr("crust.connecting.turns.now", lambda: self.time)
        monkeypatch.setattr("crust.connecting.dialing.random.uniform", lambda low, high: 1.0)
        monkeypatch.setattr(Attempt, "run", lambda attempt, *_: self.started.append(attempt))
        monkeypatch.setattr(dialing, "WorkerPool", lambda *_: self)
        self.timers = Timers()
        self.config = Config()
        self.dialer = Dialer(
            node(),
            self.config,
            Inbox(),
            self.timers,
            decide=lambda candidate: self.verdict,
            connection_with=self.live.get,
            add_aliases=lambda connection, endpoints: self.aliases.append((connection, endpoints)),
            refuses=lambda each: "that address is on the blacklist" if each.host in self.blacklist else None,
            utp=UtpPorts(self.config, lambda host: False),
        )

    # The pool's part.

    def submit(self, job: Any) -> bool:
        """Begin an attempt."""
        if self.pool_error is not None:
            raise self.pool_error
        job()
        return True

    def close(self) -> list[Any]:
        """Nothing waits."""
        return []

    def join(self, timeout: float | None) -> bool:
        """There are no threads."""
        return True

    # The test's part.

    @property
    def targets(self) -> list[Endpoint]:
        """What was begun, in order."""
        return [attempt.target for attempt in self.started]

    def connect(self, *endpoints: Endpoint, race: Race | None = None) -> Job:
        """One ``connect()``."""
        return self.dialer.connect(endpoints, race or Race(1), self.ended.append)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds
        self.timers.run_due(self.time)

    def fail(self, number: int, error: CrustError | None = None) -> None:
        """The attempt of that number fails."""
        self.dialer.failed(AttemptFailed(self.started[number], error or DialFailed("nobody there"), None))

    def duplicate(self, number: int) -> None:
        """The attempt of that number learns that there is a connection with that peer."""
        self.fail(number, Refused("connected already", PEER, duplicate=True))

    def ask(self, number: int) -> Ask:
        """The attempt of that number has proved its peer."""
        question = Ask(self.started[number], Candidate(PEER, "192.0.2.1", b"session1"))
        self.dialer.asked(question)
        return question

    def succeed(self, number: int) -> None:
        """The attempt of that number is established."""
        established: Any = None
        self.dialer.succeeded(AttemptSucceeded(self.started[number], established))

    def reasons(self) -> dict[Endpoint, str]:
        """Of the one job that has ended, why it came to nothing."""
        (job,) = self.ended
        assert not job.connected
        assert len(self.dialer) == 0
        assert self.timers.next_deadline() is None
        return job.reasons()

    def connected(self) -> bool:
        """Whether the one job has ended well."""
        (job,) = self.ended
        return job.connected and job.done and self.timers.next_deadline() is None


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def answer(question: Ask) -> Verdict | str | None:
    """What was answered; ``None`` when nothing was."""
    try:
        given = question.answer.get_nowait()
    except queue.Empty:
        return None
    return given if isinstance(given, Verdict) else str(given)


TOO_LATE = "another endpoint was faster"


# --- when which begins ----------------------------------------------------------------------------------


def test_attempts_begin_one_after_the_other(bench: Bench) -> None:
    bench.connect(A, B, C)
    assert bench.targets == [A]
    bench.wait(DIAL_STAGGER - 0.01)
    assert bench.targets == [A]
    bench.wait(0.01)
    assert bench.targets == [A, B]
    bench.wait(DIAL_STAGGER)
    assert bench.targets == [A, B, C]
    assert bench.timers.next_deadline() is None
    assert len(bench.dialer) == 1


def test_after_a_failure_the_next_begins_at_once(bench: Bench) -> None:
    bench.connect(A, B, C)
    bench.fail(0)
    assert bench.targets == [A, B]
    bench.wait(DIAL_STAGGER - 0.01)
    assert bench.targets == [A, B]  # counted from B, not from A
    bench.wait(0.01)
    assert bench.targets == [A, B, C]


def test_the_same_endpoint_is_tried_once(bench: Bench) -> None:
    bench.connect(A, B, A)
    bench.fail(0)
    bench.fail(1)
    assert bench.targets == [A, B]
    assert list(bench.reasons()) == [A, B]


def test_tcp_comes_first(bench: Bench) -> None:
    bench.connect(U, V, B, A)
    for _ in range(3):
        bench.wait(DIAL_STAGGER)
    assert bench.targets == [B, A, U, V]  # and among equals the caller's order


def test_utp_begins_when_the_last_of_tcp_had_its_head_start(bench: Bench) -> None:
    bench.connect(U, A, B)
    bench.wait(DIAL_STAGGER)
    bench.wait(TCP_HEAD_START - 0.01)
    assert bench.targets == [A, B]
    bench.wait(0.01)
    assert bench.targets == [A, B, U]


def test_one_failure_of_tcp_does_not_hurry_utp_while_another_runs(bench: Bench) -> None:
    bench.connect(A, B, U)
    bench.wait(DIAL_STAGGER)
    bench.fail(0)
    bench.wait(TCP_HEAD_START - 0.01)
    assert bench.targets == [A, B]
    bench.wait(0.01)
    assert bench.targets == [A, B, U]


def test_utp_begins_at_once_when_all_of_tcp_has_failed(bench: Bench) -> None:
    bench.connect(A, B, U, V)
    bench.fail(0)
    assert bench.targets == [A, B]
    bench.fail(1)
    assert bench.targets == [A, B, U]
    bench.fail(2)
    assert bench.targets == [A, B, U, V]
    bench.fail(3)
    assert list(bench.reasons()) == [A, B, U, V]


def test_utp_alone_waits_for_nobody(bench: Bench) -> None:
    bench.connect(U)
    assert bench.targets == [U]


# --- why it came to nothing -------------------------------------------------------------------------------


def test_a_reason_for_each_endpoint(bench: Bench) -> None:
    bench.connect(A, B)
    bench.wait(DIAL_STAGGER)
    bench.fail(1, DialFailed("no way there"))
    assert not bench.ended
    bench.fail(0)
    assert bench.reasons() == {A: "nobody there", B: "no way there"}


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (Endpoint.tcp("192.0.2.9:0"), "port 0 cannot be connected to"),
        (Endpoint.tcp("192.0.2.66:5483"), "that address is on the blacklist"),
        (Endpoint.utp("192.0.2.9:0"), "port 0 cannot be connected to"),
        (Endpoint.utp("192.0.2.66:5483"), "that address is on the blacklist"),
        (Endpoint.tracer("192.0.2.1:5483"), TRACER_OFF),
        (Endpoint.parse("relayed://192.0.2.1:1"), NOT_DIALLED),
    ],
)
def test_what_cannot_be_tried(bench: Bench, endpoint: Endpoint, reason: str) -> None:
    bench.blacklist.add("192.0.2.66")
    bench.connect(endpoint)
    assert bench.reasons() == {endpoint: reason}
    assert bench.started == []


def test_what_cannot_be_tried_costs_no_time(bench: Bench) -> None:
    bench.blacklist.add("192.0.2.66")
    bench.connect(Endpoint.tcp("192.0.2.66:1"), Endpoint.tcp("192.0.2.9:0"), A)
    assert bench.targets == [A]


def test_nothing_to_try(bench: Bench) -> None:
    bench.connect()
    assert bench.reasons() == {}


def test_without_threads(bench: Bench) -> None:
    bench.pool_error = RuntimeError("can't start new thread")
    bench.connect(A)
    assert "raise the limit of threads (ulimit -u) or lower max_dials" in bench.reasons()[A]


# --- host names -------------------------------------------------------------------------------------------


def test_the_addresses_of_a_name_are_tried_before_what_comes_after_it(bench: Bench) -> None:
    bench.connect(NAME, C)
    assert bench.targets == [NAME]
    bench.dialer.resolved(Resolved(bench.started[0], [A, B]))
    bench.fail(1)
    bench.fail(2)
    bench.fail(3)
    assert bench.targets == [NAME, A, B, C]
    assert bench.reasons() == {NAME: "192.0.2.1: nobody there; 192.0.2.2: nobody there", C: "nobody there"}


def test_a_name_without_addresses(bench: Bench) -> None:
    bench.connect(NAME)
    bench.dialer.resolved(Resolved(bench.started[0], []))
    assert bench.reasons() == {NAME: "the host name has no address"}


def test_a_name_that_leads_to_who_is_not_welcome(bench: Bench) -> None:
    bench.blacklist.add(A.host)
    bench.connect(NAME)
    bench.dialer.resolved(Resolved(bench.started[0], [A]))
    assert bench.reasons() == {NAME: "192.0.2.1: that address is on the blacklist"}


# --- the race ---------------------------------------------------------------------------------------------


def test_one_wins_and_the_others_are_ended(bench: Bench) -> None:
    job = bench.connect(A, B, C)
    bench.wait(DIAL_STAGGER)
    assert answer(bench.ask(0)) is Verdict.CHOOSE
    bench.succeed(0)
    bench.dialer.connected(job)
    assert bench.connected()
    assert [attempt._grip.aborted.is_set() for attempt in bench.started] == [False, True]
    assert answer(bench.ask(1)) == TOO_LATE
    bench.fail(1)
    assert bench.ended == [job]
    assert bench.targets == [A, B]


def test_who_asks_second_waits_until_it_is_too_late(bench: Bench) -> None:
    job = bench.connect(A, B)
    bench.wait(DIAL_STAGGER)
    first, second = bench.ask(1), bench.ask(0)
    assert (answer(first), answer(second)) == (Verdict.CHOOSE, None)
    bench.succeed(1)
    assert answer(second) is None  # not before the manager has taken it over
    bench.dialer.connected(job)
    assert answer(second) == TOO_LATE


def test_who_asks_second_is_let_through_when_the_first_fails(bench: Bench) -> None:
    bench.verdict = Verdict.WAIT
    job = bench.connect(A, B)
    bench.wait(DIAL_STAGGER)
    bench.ask(0)
    second = bench.ask(1)
    assert answer(second) is None
    bench.fail(0)
    assert answer(second) is Verdict.WAIT
    bench.succeed(1)
    bench.dialer.connected(job)
    assert bench.connected()


def test_who_waits_may_give_up(bench: Bench) -> None:
    bench.connect(A, B, C)
    bench.wait(DIAL_STAGGER)
    bench.wait(DIAL_STAGGER)
    bench.ask(0)
    second, third = bench.ask(1), bench.ask(2)
    bench.fail(1)
    bench.fail(0)
    assert (answer(second), answer(third)) == (None, Verdict.CHOOSE)


def test_a_refusal_takes_no_place(bench: Bench) -> None:
    bench.connect(A, B)
    bench.wait(DIAL_STAGGER)
    bench.verdict = Verdict.FULL
    assert answer(bench.ask(0)) is Verdict.FULL
    bench.verdict = Verdict.CHOOSE
    assert answer(bench.ask(1)) is Verdict.CHOOSE


def test_jobs_may_share_a_race(bench: Bench) -> None:
    race = Race(2)
    jobs = [bench.connect(endpoint, race=race) for endpoint in (A, B, C)]
    questions = [bench.ask(number) for number in range(3)]
    assert [answer(question) for question in questions] == [Verdict.CHOOSE, Verdict.CHOOSE, None]
    for number in (0, 1):
        bench.succeed(number)
        bench.dialer.connected(jobs[number])
    assert race.over
    assert answer(questions[2]) == TOO_LATE
    bench.fail(2, DialFailed(TOO_LATE))
    assert [job.connected for job in bench.ended] == [True, True, False]


@pytest.mark.parametrize("verdict", [Verdict.CHOOSE, Verdict.WAIT])
def test_who_was_told_to_go_on_is_kept_although_the_last_place_is_taken(bench: Bench, verdict: Verdict) -> None:
    """Somebody who connected to us took it, as a duplicate of what was dialled. The peer of the other one may know
    that connection already, and would be told of a peer that came and crashed."""
    bench.verdict = verdict
    race = Race(1)
    job, other = bench.connect(A, race=race), bench.connect(B, race=race)
    assert answer(bench.ask(0)) is verdict
    bench.live[PEER] = SimpleNamespace(peer_id=PEER, relayed=False)
    bench.duplicate(1)
    assert race.over
    bench.succeed(0)
    bench.dialer.connected(job)
    assert bench.ended == [other, job]
    assert job.connected


def test_who_was_told_to_go_on_is_kept_although_its_job_is_done(bench: Bench) -> None:
    """One ``connect()`` to two nodes, one of which has connected to us."""
    job = bench.connect(A, B, C)
    bench.wait(DIAL_STAGGER)
    bench.wait(DIAL_STAGGER)
    bench.ask(0)
    bench.live[PEER] = SimpleNamespace(peer_id=PEER, relayed=False)
    bench.duplicate(1)
    assert bench.connected()
    assert [attempt._grip.aborted.is_set() for attempt in bench.started] == [False, False, True]
    bench.succeed(0)
    bench.dialer.connected(job)
    assert bench.ended == [job]


def test_who_goes_on_although_its_job_is_done_ends_with_the_dialer(bench: Bench) -> None:
    for _ in range(2):
        bench.connect(A, B)
        bench.wait(DIAL_STAGGER)
    bench.ask(0)
    bench.ask(2)
    bench.live[PEER] = SimpleNamespace(peer_id=PEER, relayed=False)
    bench.duplicate(1)
    bench.duplicate(3)
    bench.fail(2)
    bench.dialer.stop()
    assert [attempt._grip.aborted.is_set() for attempt in bench.started] == [True, False, False, False]


# --- duplicates -------------------------------------------------------------------------------------------


def test_a_duplicate_of_a_live_connection_is_what_was_wanted(bench: Bench) -> None:
    connection = bench.live[PEER] = SimpleNamespace(peer_id=PEER, relayed=False)
    bench.connect(NAME)
    bench.dialer.resolved(Resolved(bench.started[0], [A]))
    bench.duplicate(1)
    assert bench.connected()
    assert bench.aliases == [(connection, {NAME, A})]


def test_a_duplicate_of_a_connection_to_come_waits_for_it(bench: Bench) -> None:
    bench.connect(A)
    bench.duplicate(0)
    assert not bench.ended
    connection: Any = SimpleNamespace(peer_id=PEER, relayed=False)
    bench.dialer.peer_connected(connection)
    assert bench.connected()
    assert bench.aliases == [(connection, {A})]


def test_a_connection_to_come_is_known_by_what_was_dialled(bench: Bench) -> None:
    """Before it comes, so that it answers to that from the first moment."""
    bench.connect(A)
    bench.connect(B)
    bench.duplicate(0)
    assert bench.dialer.names_expected(Candidate(PEER, "192.0.2.1", b"session1")) == {A}
    assert bench.dialer.names_expected(Candidate(PEER, "192.0.2.1", b"session1", relayed=True)) == set()
    assert bench.dialer.names_expected(Candidate(Identity().peer_id, "192.0.2.1", b"session1")) == set()


def test_somebody_else_connecting_does_not_help(bench: Bench) -> None:
    bench.connect(A)
    bench.duplicate(0)
    other: Any = SimpleNamespace(peer_id=Identity().peer_id, relayed=False)
    bench.dialer.peer_connected(other)
    assert not bench.ended


def test_what_never_comes_is_tried_once_more(bench: Bench) -> None:
    bench.connect(A)
    bench.duplicate(0)
    bench.wait(bench.config.handshake_timeout - 0.01)
    assert bench.targets == [A]
    bench.wait(0.01)
    assert bench.targets == [A, A]
    bench.duplicate(1)
    bench.wait(bench.config.handshake_timeout)
    assert bench.targets == [A, A]
    assert "that connection does not come up" in bench.reasons()[A]


# --- cut short --------------------------------------------------------------------------------------------


def test_what_is_cut_short_early_is_tried_again_ever_later(bench: Bench) -> None:
    bench.connect(A)
    for number in range(MAX_CUT_SHORT):
        bench.fail(number, CutShort("too busy", proved=False))
        assert not bench.ended
        pause = CUT_SHORT_PAUSE * 2**number
        bench.wait(pause - 0.001)
        assert len(bench.started) == number + 1
        bench.wait(0.002)
        assert len(bench.started) == number + 2
    bench.fail(MAX_CUT_SHORT, CutShort("too busy", proved=False))
    assert bench.reasons() == {A: "too busy"}


@pytest.mark.parametrize("proved", [True, False])
def test_what_is_cut_short_late_is_tried_again_if_it_had_proved_itself(bench: Bench, proved: bool) -> None:
    bench.connect(A)
    bench.wait(CUT_EARLY)
    bench.fail(0, CutShort("ended", proved=proved))
    assert bool(bench.ended) is not proved


# --- turns ------------------------------------------------------------------------------------------------


def test_who_gives_way_is_tried_again_behind_those_who_wait(bench: Bench) -> None:
    """That is no failure of theirs."""
    bench.connect(A)
    for number in range(bench.config.max_dials):
        bench.connect(Endpoint.tcp((f"198.51.100.{number}", 5483)))
    bench.wait(TURN)
    assert [attempt.target for attempt in bench.started if attempt._grip.aborted.is_set()] == [A]
    bench.fail(0, DialFailed("given up"))
    assert bench.targets[-1] == A
    assert not bench.ended
    bench.fail(len(bench.started) - 1)
    assert [job.reasons() for job in bench.ended] == [{A: "nobody there"}]


# --- the end ----------------------------------------------------------------------------------------------


def test_a_job_that_is_given_up_ends_at_once(bench: Bench) -> None:
    job = bench.connect(A, B)
    bench.dialer.give_up(job)
    assert bench.ended == [job]
    assert not job.connected
    assert len(bench.dialer) == 0
    assert all(attempt._grip.aborted.is_set() for attempt in bench.started)
    bench.fail(0)
    bench.wait(60.0)
    assert bench.targets == [A]
    bench.dialer.give_up(job)
    assert bench.ended == [job]


def test_stop_is_silent_and_leaves_nothing(bench: Bench) -> None:
    jobs = [bench.connect(A, B, C), bench.connect(A), bench.connect(B)]
    bench.wait(DIAL_STAGGER)
    bench.ask(0)
    waiting = next(number for number, attempt in enumerate(bench.started) if number and attempt.job is jobs[0])
    question = bench.ask(waiting)
    bench.duplicate(1)
    bench.fail(2, CutShort("too busy", proved=True))
    running = [attempt for job in jobs for attempt in job.running]
    bench.dialer.stop()
    assert answer(question) == TOO_LATE
    assert bench.ended == []
    assert all(attempt._grip.aborted.is_set() for attempt in running)
    assert len(running) == 2
    assert (len(bench.dialer), bench.timers.next_deadline()) == (0, None)
    bench.fail(0)
    assert bench.ended == []
    assert bench.dialer.join(0)
