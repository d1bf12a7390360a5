"""`crust.connecting.attempts`: one attempt on its thread, over loopback, with the test in place of the manager and of
the peer."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, Identity
from crust.connecting import attempts
from crust.connecting.attempts import Attempt, AttemptFailed, AttemptSucceeded, Job, Race, Resolved
from crust.connecting.negotiate import Refused, negotiate_incoming
from crust.connecting.notices import Ask, Inbox
from crust.connecting.utp_ports import UtpPorts
from crust.errors import DialFailed, TimedOut
from crust.links.peers import Verdict
from crust.threads.clock import Deadline
from crust.transport.utp import UtpSocket
from tests.manager.helpers import two_identities
from tests.manager.wire import WirePeer
from tests.streams import node
from tests.together import PATIENCE, Running, until

A, B = Endpoint.tcp("192.0.2.1:5483"), Endpoint.tcp("192.0.2.2:5483")
NAME = Endpoint.tcp("peer.example:5483")
NO_UTP = UtpPorts(Config(), lambda host: False)  # opens nothing until it is used


def job_of(*endpoints: Endpoint) -> Job:
    """A ``connect()`` whose end does not matter."""
    return Job(endpoints, Race(1), lambda job: None, False)


class Trial:
    """An attempt at a listener, which is the test's."""

    def __init__(self, listener: socket.socket) -> None:
        self.lesser, self.greater = two_identities()
        self._listener = listener
        self.target = Endpoint.tcp(listener.getsockname())
        self.attempt = Attempt(job_of(self.target), self.target, self.target)
        self.inbox = Inbox()
        self._running: list[Running[None]] = []

    def start(self, identity: Identity | None = None, **settings: Any) -> Running[None]:
        """Run it on a thread."""
        self._running.append(
            Running(self.attempt.run, node(identity or self.lesser), Config(**settings), self.inbox, NO_UTP)
        )
        return self._running[0]

    def accept(self) -> socket.socket:
        """Its connection."""
        sock, _ = self._listener.accept()
        sock.settimeout(PATIENCE)
        return sock

    def next(self) -> Any:
        """What it reports."""
        return self.inbox.get(timeout=PATIENCE)

    def failure(self) -> AttemptFailed:
        """What it reports last: that it failed."""
        notice = self.next()
        assert isinstance(notice, AttemptFailed)
        assert notice.attempt is self.attempt
        self.end()
        return notice

    def end(self) -> None:
        """Nothing more comes."""
        for running in self._running:
            running.result()
        assert self.inbox.empty()


@pytest.fixture
def trial() -> Iterator[Trial]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        made = Trial(listener)
        yield made
        made.attempt.abort()
        for running in made._running:
            until(lambda running=running: running.ended)  # type: ignore[misc]


# --- one attempt ------------------------------------------------------------------------------------------


def test_it_asks_and_succeeds(trial: Trial) -> None:
    trial.start()
    with WirePeer(trial.accept(), dials=False, identity=trial.greater) as peer:
        proving = Running(peer.prove)
        question = trial.next()
        assert isinstance(question, Ask)
        assert question.attempt is trial.attempt
        assert question.candidate is not None
        assert question.candidate.peer_id == peer.id
        question.answer.put(Verdict.WAIT)
        proving.result()
        peer.settle()
        notice = trial.next()
        assert isinstance(notice, AttemptSucceeded)
        assert notice.attempt is trial.attempt
        assert notice.established.candidate is question.candidate
        trial.end()
        trial.attempt.abort()  # too late: the connection is the manager's
        peer.send_messages(b"hello")
        assert notice.established.link.reader.fill()
        notice.established.link.stream.close()


def test_over_utp_it_asks_and_succeeds() -> None:
    lesser, greater = two_identities()
    utp, inbox = UtpPorts(Config(listen_addresses=("127.0.0.1",)), lambda host: False), Inbox()
    with UtpSocket(("127.0.0.1", 0)) as there:
        target = Endpoint.utp(there.local_address)
        attempt = Attempt(job_of(target), target, target)
        running = Running(attempt.run, node(lesser), Config(), inbox, utp)
        stream = there.accept(PATIENCE)
        responder = Running(
            negotiate_incoming, stream, node(greater), Deadline(PATIENCE), lambda candidate: Verdict.CHOOSE
        )
        inbox.get(timeout=PATIENCE).answer.put(Verdict.WAIT)
        notice = inbox.get(timeout=PATIENCE)
        assert isinstance(notice, AttemptSucceeded)
        assert notice.established.link.stream.remote == target
        assert responder.result().candidate.peer_id == lesser.peer_id
        running.result()
        notice.established.link.stream.close()
        stream.close()
        utp.close(Deadline(0.0))


def test_over_utp_it_can_be_ended_and_says_so() -> None:
    utp, inbox = UtpPorts(Config(listen_addresses=("127.0.0.1",)), lambda host: False), Inbox()
    with UtpSocket(("127.0.0.1", 0)) as silent:
        target = Endpoint.utp(silent.local_address)
        attempt = Attempt(job_of(target), target, target)
        running = Running(attempt.run, node(), Config(dial_timeout=10 * PATIENCE), inbox, utp)
        silent.accept(PATIENCE)
        attempt.abort()
        running.result()
        assert isinstance(inbox.get(timeout=PATIENCE), AttemptFailed)
        until(lambda: all(len(sock._multiplexer) == 0 for sock in utp.sockets))
        utp.close(Deadline(0.0))


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        target = Endpoint.tcp(bound.getsockname())
        inbox = Inbox()
        attempt = Attempt(job_of(target), target, target)
        Running(attempt.run, node(), Config(), inbox, NO_UTP).result()
    notice = inbox.get(timeout=PATIENCE)
    assert isinstance(notice.error, DialFailed)
    assert "nothing listens" in str(notice.error)
    assert (notice.attempt, notice.candidate) == (attempt, None)


@pytest.mark.parametrize("verdict", [Verdict.DUPLICATE, Verdict.FULL])
def test_the_manager_does_not_want_it(trial: Trial, verdict: Verdict) -> None:
    trial.start()
    with WirePeer(trial.accept(), dials=False, identity=trial.greater) as peer:
        proving = Running(peer.prove)
        question = trial.next()
        question.answer.put(verdict)
        failed = trial.failure()
        with pytest.raises(ConnectionError):  # it was closed
            proving.result()
    assert isinstance(failed.error, Refused)
    assert failed.error.duplicate == (verdict is Verdict.DUPLICATE)
    assert failed.candidate is question.candidate


def test_the_manager_has_another(trial: Trial) -> None:
    trial.start()
    with WirePeer(trial.accept(), dials=False, identity=trial.greater) as peer:
        proving = Running(peer.prove)
        trial.next().answer.put(DialFailed("another endpoint was faster"))
        assert str(trial.failure().error) == "another endpoint was faster"
        with pytest.raises(ConnectionError):
            proving.result()


def test_time_is_up(trial: Trial) -> None:
    trial.start(dial_timeout=0.1)
    with trial.accept():
        assert "no valid answer came in time" in str(trial.failure().error)


@pytest.mark.slow
def test_no_answer_of_the_manager_in_time(trial: Trial) -> None:
    trial.start(dial_timeout=3.0)
    with WirePeer(trial.accept(), dials=False, identity=trial.greater) as peer:
        proving = Running(peer.prove)
        question = trial.next()
        failed = trial.failure()
        assert isinstance(failed.error, TimedOut)
        assert failed.candidate is question.candidate
        with pytest.raises(ConnectionError):
            proving.result()


# --- giving up --------------------------------------------------------------------------------------------


def test_given_up_before_its_turn(trial: Trial) -> None:
    trial.attempt.abort()
    trial.start()
    assert str(trial.failure().error) == "given up"


def test_given_up_in_the_handshake(trial: Trial) -> None:
    trial.start()
    with trial.accept() as sock:
        assert sock.recv(1)  # it waits for our answer
        trial.attempt.abort()
        trial.attempt.abort()
        assert trial.failure().candidate is None


def test_given_up_while_it_waits_for_the_choice(trial: Trial) -> None:
    trial.start()
    with WirePeer(trial.accept(), dials=False, identity=trial.greater) as peer:
        proving = Running(peer.prove)
        question = trial.next()
        question.answer.put(Verdict.WAIT)
        proving.result()
        trial.attempt.abort()
        assert trial.failure().candidate is question.candidate


def test_given_up_between_two_steps(trial: Trial) -> None:
    """What is begun after it was given up is ended at once."""

    class Step:
        ended = 0

        def abort(self) -> None:
            self.ended += 1

    step, later = Step(), Step()
    trial.attempt._grip.hold(step)
    trial.attempt._grip.hold(None)
    trial.attempt.abort()
    trial.attempt._grip.hold(later)
    assert (step.ended, later.ended) == (0, 1)


# --- names and errors of ours -------------------------------------------------------------------------------


def test_a_name_is_looked_up_and_not_dialed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "resolve", lambda endpoint: [A, B] if endpoint == NAME else [])
    inbox = Inbox()
    attempt = Attempt(job_of(NAME), NAME, NAME)
    attempt.run(node(), Config(), inbox, NO_UTP)
    notice = inbox.get(timeout=PATIENCE)
    assert isinstance(notice, Resolved)
    assert (notice.attempt, notice.addresses) == (attempt, [A, B])
    assert inbox.empty()


@pytest.mark.parametrize(("error", "escapes"), [(DialFailed("no such name"), False), (KeyError("bug"), True)])
def test_every_failure_is_reported_once(monkeypatch: pytest.MonkeyPatch, error: Exception, escapes: bool) -> None:
    def resolve(endpoint: Endpoint) -> list[Endpoint]:
        raise error

    monkeypatch.setattr(attempts, "resolve", resolve)
    inbox = Inbox()
    run: Callable[..., None] = Attempt(job_of(NAME), NAME, NAME).run
    if escapes:  # to the log
        with pytest.raises(KeyError):
            run(node(), Config(), inbox, NO_UTP)
        assert "an internal error: KeyError" in str(inbox.get(timeout=PATIENCE).error)
    else:
        run(node(), Config(), inbox, NO_UTP)
        assert inbox.get(timeout=PATIENCE).error is error
    assert inbox.empty()


# --- jobs and races -----------------------------------------------------------------------------------------


def test_a_job_says_why_for_each_endpoint_given() -> None:
    job = job_of(NAME, A, B)
    for _ in range(2):  # tried twice for the same reason: said once
        job.failed(Attempt(job, NAME, A), "nobody there")
    job.failed(Attempt(job, NAME, B), "no way there")
    job.failed(Attempt(job, A, A), "nobody there")
    assert job.reasons() == {
        NAME: "192.0.2.1: nobody there; 192.0.2.2: no way there",
        A: "nobody there",
        B: "not tried",
    }


def test_a_job_favours_tcp() -> None:
    utp = Endpoint.utp("192.0.2.1:5483")
    assert list(job_of(utp, B, A).queue) == [(B, B), (A, A), (utp, utp)]


def test_a_race_is_over_when_every_place_is_taken() -> None:
    race = Race(2)
    assert not race.over
    race.won = 1
    assert not race.over
    race.won = 2
    assert race.over
