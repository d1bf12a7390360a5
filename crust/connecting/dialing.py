"""Outgoing connections: ``connect()`` as jobs of staggered attempts, of which one wins.

A `Dialer` belongs to the manager thread. Each attempt runs on a thread of a bounded pool: look up the name, connect,
handshake. An attempt that has authenticated its peer asks the manager; of one job only one at a time gets an answer
other than "wait", so that two attempts of one ``connect()`` can never both become connections.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from crust.config import Config
from crust.connecting.attempts import Attempt, AttemptFailed, AttemptSucceeded, Job, Race, Resolved
from crust.connecting.negotiate import CutShort, Node, Refused
from crust.connecting.notices import Ask, Inbox
from crust.connecting.turns import Turns
from crust.connecting.utp_ports import UtpPorts
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import CrustError, DialFailed
from crust.identity import PeerId, UnprovenPeerId
from crust.limits import DIAL_STAGGER, TCP_HEAD_START
from crust.links.connection import Connection
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import now
from crust.threads.timers import Timers
from crust.threads.workers import WorkerPool, why_no_thread

log = logging.getLogger("crust.dialing")

CUT_EARLY: Final = 1.0
"""Seconds; an attempt that was cut short sooner than this may have met a node that was overrun: it throws out the
oldest handshake when there are too many. (One of another network keeps silent for longer, as a rule.)"""
MAX_CUT_SHORT: Final = 4
"""Times that an endpoint is tried again for that reason."""
CUT_SHORT_PAUSE: Final = 0.1
"""Seconds before the first such try, doubled for each further one, with jitter: those thrown out together must not come
back together."""
TRACER_OFF: Final = "tracer connections are clear text and prove nobody's identity: allow_tracer: true allows them"
"""Why a tracer endpoint is not dialled."""
NOT_DIALLED: Final = "that is the name of a connection which another peer carried; connect to the peer, by its id"
"""Why a relayed endpoint is not."""


class Dialer:
    """All jobs of a manager; every method belongs to its thread.

    Args:
        node: for the handshakes.
        config: for bounds and timeouts.
        inbox: the manager's.
        timers: the manager's.
        decide: what becomes of a candidate.
        connection_with: the live connection with a peer, if there is one.
        add_aliases: lets more endpoints lead to a connection.
        refuses: why whoever is at an address is not welcome, or ``None``.
        utp: the UDP sockets to dial from.
    """

    def __init__(
        self,
        node: Node,
        config: Config,
        inbox: Inbox,
        timers: Timers,
        decide: Callable[[Candidate], Verdict],
        connection_with: Callable[[PeerId], Connection | None],
        add_aliases: Callable[[Connection, set[Endpoint]], None],
        refuses: Callable[[Endpoint], str | None],
        utp: UtpPorts,
    ) -> None:
        self._node = node
        self._config = config
        self._inbox = inbox
        self._timers = timers
        self._decide = decide
        self._connection_with = connection_with
        self._add_aliases = add_aliases
        self._refuses = refuses
        self._utp = utp
        self.tcp_source: Callable[[Endpoint], Address | None] = lambda target: None
        """From which listener's port to dial an endpoint over TCP; ``None`` for any port."""
        self._pool = WorkerPool("dialer", config.max_dials)
        self._turns = Turns(config.max_dials, timers)
        self._jobs: set[Job] = set()
        self._pledged: set[Attempt] = set()  # of jobs that are done: its peer may know the connection already

    def __len__(self) -> int:
        """How many jobs are not done."""
        return len(self._jobs)

    def connect(
        self, endpoints: Iterable[Endpoint], race: Race, ended: Callable[[Job], None], bootstrap: bool = False
    ) -> Job:
        """Begin to try ``endpoints``; ``ended`` is called once, when one is connected or all have failed."""
        job = Job(tuple(dict.fromkeys(endpoints)), race, ended, bootstrap)
        self._jobs.add(job)
        self._go_on(job)
        return job

    def hold(self, race: Race, ended: Callable[[Job], None]) -> Job:
        """A job without endpoints: attempts `join` it, until `let_go`."""
        job = Job((), race, ended, bootstrap=False)
        job.held = True
        self._jobs.add(job)
        return job

    def join_in(self, attempt: Attempt) -> None:
        """Begin an attempt that somebody else has made, for its job."""
        job = attempt.job
        problem = "given up" if job.done else None
        if problem is None:
            job.running.add(attempt)
            problem = self._submit(attempt)
        if problem is not None:
            attempt.discard()
            job.running.discard(attempt)
            job.failed(attempt, problem)
            self._go_on(job)

    def let_go(self, job: Job) -> None:
        """No further attempt will join a job: it ends when those that run have."""
        job.held = False
        self._go_on(job)

    def give_up(self, job: Job) -> None:
        """End a job that is not wanted any more; its ``ended`` is called."""
        self._end(job)

    def stop(self) -> None:
        """Give up every job, silently."""
        for job in list(self._jobs):
            self._end(job, call=False)
            for _, question in job.race.waiting:
                question.answer.put(_too_late())
            job.race.waiting.clear()
        for attempt in self._pledged:
            attempt.abort()
        self._turns.close()
        self._pool.close()

    def join(self, timeout: float | None) -> bool:
        """Wait for the threads; whether all ended. After `stop`."""
        return self._pool.join(timeout)

    # --- what attempts report ---------------------------------------------------------------------

    def asked(self, question: Ask) -> None:
        """An attempt has authenticated its peer."""
        attempt = question.attempt
        assert isinstance(attempt, Attempt)
        job, race = attempt.job, attempt.job.race
        if job.done or race.over:
            question.answer.put(_too_late())
        elif race.won + len(race.running) >= race.places:
            race.waiting.append((attempt, question))
        else:
            self._answer(attempt, question)

    def _answer(self, attempt: Attempt, question: Ask) -> None:
        assert question.candidate is not None
        verdict = self._decide(question.candidate)
        if verdict in (Verdict.CHOOSE, Verdict.WAIT):
            attempt.job.race.running.add(attempt)
        question.answer.put(verdict)

    def resolved(self, notice: Resolved) -> None:
        """A name was looked up: its addresses are tried in its place."""
        attempt, job = notice.attempt, notice.attempt.job
        self._over(attempt)
        for address in reversed(notice.addresses):
            job.queue.appendleft((attempt.given, address))
        if not notice.addresses:
            job.failed(attempt, "the host name has no address")
        self._go_on(job)

    def failed(self, notice: AttemptFailed) -> None:
        """An attempt came to nothing."""
        attempt, job, error = notice.attempt, notice.attempt.job, notice.error
        log.debug("%s: %s", attempt.target, error)
        self._over(attempt)
        self._leave_race(attempt)
        if job.done:
            return
        if isinstance(error, Refused) and error.duplicate:
            self._duplicate(attempt, error.peer_id)
        elif attempt.gives_way:
            job.queue.append((attempt.given, attempt.target))
        else:
            job.failed(attempt, str(error))
            soon = isinstance(error, CutShort) and (error.proved or now() - attempt.began < CUT_EARLY)
            if soon and attempt.repeatable:
                self._try_again_later(job, attempt)
        self._go_on(job)

    def succeeded(self, notice: AttemptSucceeded) -> None:
        """An attempt is established (`connected` must follow, or `failed`). One of the two ends has said that it keeps
        this connection, so it is kept, also when somebody who connected to us has taken the last place meanwhile."""
        self._over(notice.attempt)
        notice.attempt.job.race.running.discard(notice.attempt)

    def _over(self, attempt: Attempt) -> None:
        attempt.job.running.discard(attempt)
        self._pledged.discard(attempt)
        self._turns.leave(attempt)

    def connected(self, job: Job) -> None:
        """The manager took the connection over."""
        job.race.won += 1
        if not job.done:
            job.connected = True
            self._end(job)
        self._let_others_run(job.race)

    def names_expected(self, candidate: Candidate) -> set[Endpoint]:
        """What was dialled in vain because the peer said that there is another connection, if ``candidate`` is that."""
        names: set[Endpoint] = set()
        for peer_id in _stands_for(candidate.peer_id):
            for job in self._jobs:
                attempt, _ = job.expected.get(peer_id, (None, None))
                if attempt is not None and _serves(candidate, attempt):
                    names |= {attempt.given, attempt.target}
        return names

    def peer_connected(self, connection: Connection) -> None:
        """A connection went live, whoever made it: jobs that were told "duplicate" by that peer have what they
        wanted."""
        for peer_id in _stands_for(connection.peer_id):
            for job in [job for job in self._jobs if peer_id in job.expected]:
                attempt, _ = job.expected[peer_id]
                if _serves(connection, attempt):
                    self._satisfied(job, attempt, connection)

    # --- inside -----------------------------------------------------------------------------------

    def _leave_race(self, attempt: Attempt) -> None:
        race = attempt.job.race
        race.running.discard(attempt)
        race.waiting = deque(pair for pair in race.waiting if pair[0] is not attempt)
        self._let_others_run(race)

    def _let_others_run(self, race: Race) -> None:
        """Answer those who wait for a place, as far as places are free."""
        while race.waiting and (race.over or race.won + len(race.running) < race.places):
            attempt, question = race.waiting.popleft()
            if race.over or attempt.job.done:
                question.answer.put(_too_late())
            else:
                self._answer(attempt, question)

    def _duplicate(self, attempt: Attempt, peer_id: PeerId) -> None:
        """The peer or we hold another connection with each other, or will in a moment."""
        job = attempt.job
        connection = self._connection_with(peer_id)
        if connection is None and not peer_id.proven:
            connection = self._connection_with(PeerId(bytes(peer_id)))
        if connection is not None and _serves(connection, attempt):
            self._satisfied(job, attempt, connection)
        elif peer_id not in job.expected:
            due = now() + self._config.handshake_timeout
            timer = self._timers.at(due, lambda: self._expected_in_vain(job, peer_id))
            job.expected[peer_id] = (attempt, timer)

    def _satisfied(self, job: Job, attempt: Attempt, connection: Connection) -> None:
        self._add_aliases(connection, {attempt.given, attempt.target})
        job.race.won += 1
        job.connected = True
        self._end(job)
        self._let_others_run(job.race)

    def _try_again_later(self, job: Job, attempt: Attempt) -> None:
        """The other node had too many handshakes at once and threw ours out, perhaps."""
        tries = job.cut_short[attempt.target]
        if tries >= MAX_CUT_SHORT:
            return
        job.cut_short[attempt.target] += 1

        def again() -> None:
            job.pauses.discard(timer)
            job.queue.append((attempt.given, attempt.target))
            self._go_on(job)

        timer = self._timers.at(now() + CUT_SHORT_PAUSE * 2**tries * random.uniform(0.5, 1.5), again)
        job.pauses.add(timer)

    def _expected_in_vain(self, job: Job, peer_id: PeerId) -> None:
        attempt, _ = job.expected.pop(peer_id)
        if attempt.target in job.retried or not attempt.repeatable:
            job.failed(
                attempt, "the peer says that it is connected to us already, but that connection does not come up"
            )
        else:
            job.retried.add(attempt.target)
            job.queue.append((attempt.given, attempt.target))
        self._go_on(job)

    def _go_on(self, job: Job) -> None:
        """Start the next attempt, and note when to start the one after it; or see that nothing is left."""
        if job.done:
            return
        if job.stagger is not None:
            job.stagger.cancel()
            job.stagger = None
        due = now()
        while job.queue and (due := _may_begin(job)) <= now():
            if self._start_next(job):
                due = now() + DIAL_STAGGER
                break
        if job.queue:
            job.stagger = self._timers.at(due, lambda: self._go_on(job))
        elif not (job.running or job.expected or job.pauses or job.held):
            self._end(job)

    def _start_next(self, job: Job) -> bool:
        """Start an attempt; ``False`` when that one could not even be started."""
        given, target = job.queue.popleft()
        attempt = Attempt(job, given, target)
        problem = self._problem_with(target)
        if problem is None:
            job.running.add(attempt)
            if target.protocol is Protocol.TCP:
                attempt.source = self.tcp_source(target)
                job.tcp_ahead_until = now() + TCP_HEAD_START
            problem = self._submit(attempt)
        if problem is None:
            return True
        job.running.discard(attempt)
        job.failed(attempt, problem)
        return False

    def _submit(self, attempt: Attempt) -> str | None:
        try:
            self._pool.submit(lambda: attempt.run(self._node, self._config, self._inbox, self._utp))
        except RuntimeError as error:
            return why_no_thread(error, " or lower max_dials")
        self._turns.enter(attempt)
        return None

    def _problem_with(self, target: Endpoint) -> str | None:
        if target.protocol is Protocol.TRACER and not self._config.allow_tracer:
            return TRACER_OFF
        if target.is_relayed:
            return NOT_DIALLED
        unwelcome = self._refuses(target)
        if unwelcome is None and not target.port:
            return "port 0 cannot be connected to"
        return unwelcome

    def _end(self, job: Job, call: bool = True) -> None:
        if job.done:
            return
        job.done = True
        self._jobs.discard(job)
        if job.stagger is not None:
            job.stagger.cancel()
        for timer in (*job.pauses, *(timer for _, timer in job.expected.values())):
            timer.cancel()
        for attempt in job.running:
            if call and attempt in job.race.running:
                # It was told to go on: one of the two ends may have chosen it. Broken off, it would be a peer that
                # came and crashed to whoever is there.
                self._pledged.add(attempt)
            else:
                attempt.abort()
        if call:
            job.ended(job)


def _stands_for(peer_id: PeerId) -> set[PeerId]:
    """A proven connection serves those as well who were told "duplicate" in clear; never the other way round."""
    return {peer_id, UnprovenPeerId(bytes(peer_id))}


def _serves(connection: Connection | Candidate, attempt: Attempt) -> bool:
    """Whether a connection with the same peer is as good as what the attempt is for."""
    return attempt.target.is_relayed or not connection.relayed


def _may_begin(job: Job) -> float:
    """When the next attempt may begin: TCP is favoured, so others let it go ahead for as long as it has not failed."""
    _, target = job.queue[0]
    tcp_runs = any(attempt.target.protocol is Protocol.TCP for attempt in job.running)
    return job.tcp_ahead_until if tcp_runs and target.protocol is not Protocol.TCP else now()


def _too_late() -> CrustError:
    return DialFailed("another endpoint was faster")
