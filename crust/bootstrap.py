"""``bootstrap()``: try the known contacts, round after round, until somebody is connected."""

import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from crust.attempts import Job, Race
from crust.clock import now
from crust.config import Config
from crust.dialing import Dialer
from crust.endpoint import Endpoint, Protocol
from crust.limits import BOOTSTRAP_PARALLEL, TCP_HEAD_START
from crust.timers import Timer, Timers

log = logging.getLogger("crust.bootstrap")

_JITTER: Final = 0.25  # of a pause, each way: nodes that were cut off together must not come back together


def backoff(round_number: int, shortest: float, longest: float, dice: Callable[[], float] = random.random) -> float:
    """Seconds to wait after round ``round_number`` (from 1): doubling, bounded, with jitter.

    Args:
        round_number: how many rounds have failed.
        shortest: seconds after the first.
        longest: seconds at the most, before jitter.
        dice: a number from 0 to 1.
    """
    pause = min(longest, shortest * 2.0 ** min(round_number - 1, 32))
    return pause * (1 + _JITTER * (2 * dice() - 1))


class Bootstrapper:
    """Runs the rounds; belongs to the manager thread.

    A round tries every contact, those over TCP before those over uTP and otherwise in random order (so that the first
    one listed is not overrun), a few at a time. It ends early when ``max_connections`` are made. When a round has made
    at least one connection the job is done; otherwise the next begins after a pause that grows.
    """

    def __init__(self, config: Config, dialer: Dialer, timers: Timers) -> None:
        self._config = config
        self._dialer = dialer
        self._timers = timers
        self._race: Race | None = None
        self._contacts: tuple[Endpoint, ...] = ()
        self._queue: deque[Endpoint] = deque()
        self._running: set[Job] = set()
        self._rounds = 0
        self._pause: Timer | None = None
        self._filling = False
        self._tcp_ahead_until = 0.0
        self._head_start: Timer | None = None

    @property
    def running(self) -> bool:
        """Whether there is still something to do."""
        return self._race is not None

    def start(self, contacts: tuple[Endpoint, ...], max_connections: int) -> None:
        """Begin, or raise the number of connections that a running bootstrap aims at.

        A pause between two rounds ends: whoever asks now may know that the network is back.
        """
        if self._race is not None:
            self._race.places = max(self._race.places, max_connections)
            self._contacts = tuple(dict.fromkeys(self._contacts + contacts))
            if self._pause is not None:
                self._pause.cancel()
                self._begin_round()
            return
        if not contacts:
            log.warning(
                "bootstrap() knows nobody to try: give fallback_endpoints to the ConnectionManager or "
                "hard_coded_contacts in the configuration, or let others connect to this node"
            )
            return
        self._contacts = contacts
        self._race = Race(max_connections)
        self._rounds = 0
        self._begin_round()

    def stop(self) -> None:
        """Forget about it."""
        self._race = None
        for timer in (self._pause, self._head_start):
            if timer is not None:
                timer.cancel()
        self._pause = self._head_start = None

    def turned_away(self, race: Race) -> None:
        """The peer of a connection that had won in ``race`` refused it at once, so it does not count.

        (Who has the greater id has chosen before it can hear the answer.)
        """
        race.won -= 1
        if self._race is None and not race.won:
            self._race = race
            self._fill()

    def _begin_round(self) -> None:
        self._pause = None
        self._rounds += 1
        shuffled = random.sample(self._contacts, len(self._contacts))
        self._queue = deque(sorted(shuffled, key=lambda contact: contact.protocol))
        log.info("bootstrap round %d: %d contacts", self._rounds, len(self._queue))
        self._fill()

    def _fill(self) -> None:
        """Start attempts up to the limit; when none is left, end the round."""
        if self._race is None or self._filling:
            return
        self._filling = True  # a job may end before connect() returns; the loop below sees that by itself
        try:
            while self._queue and not self._race.over and len(self._running) < BOOTSTRAP_PARALLEL:
                if self._tcp_goes_ahead(self._queue[0]):
                    break
                job = self._dialer.connect([self._queue.popleft()], self._race, self._job_ended, bootstrap=True)
                if not job.done:
                    self._running.add(job)
        finally:
            self._filling = False
        if self._race.over or not (self._queue or self._running):
            self._end_round(self._race)

    def _tcp_goes_ahead(self, contact: Endpoint) -> bool:
        """Whether an attempt has to wait because TCP is favoured, as in one ``connect()``; `_fill` comes again then."""
        if contact.protocol is Protocol.TCP:
            self._tcp_ahead_until = now() + TCP_HEAD_START
            return False
        if now() >= self._tcp_ahead_until or not any(_is_tcp(job) for job in self._running):
            return False
        if self._head_start is None or not self._head_start.pending:
            self._head_start = self._timers.at(self._tcp_ahead_until, self._fill)
        return True

    def _job_ended(self, job: Job) -> None:
        self._running.discard(job)
        if not job.connected:
            log.info("bootstrap: %s", "; ".join(f"{endpoint}: {why}" for endpoint, why in job.reasons().items()))
        self._fill()

    def _end_round(self, race: Race) -> None:
        if race.won:
            log.info("bootstrap is done: %d connected in round %d", race.won, self._rounds)
            self._race = None
            return
        pause = backoff(self._rounds, self._config.bootstrap_backoff_min, self._config.bootstrap_backoff_max)
        log.info("bootstrap round %d reached nobody; the next begins in %.1f s", self._rounds, pause)
        self._pause = self._timers.at(now() + pause, self._begin_round)


def _is_tcp(job: Job) -> bool:
    return job.endpoints[0].protocol is Protocol.TCP
