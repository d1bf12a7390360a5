"""``bootstrap()``: try the known contacts, round after round, until somebody is connected (docs/discovery.md)."""

import logging
import math
import random
from collections import deque
from collections.abc import Callable, Hashable
from itertools import chain
from typing import Final

from crust.config import Config
from crust.connecting.attempts import Job, Race
from crust.connecting.dialing import Dialer
from crust.discovery.contact_book import ContactBook, Entry, Turns
from crust.endpoint import Endpoint
from crust.finding.surroundings import Surroundings
from crust.finding.trial import LOOKS, Trial
from crust.limits import BOOTSTRAP_PARALLEL
from crust.threads.clock import now, wall_time
from crust.threads.timers import Timer, Timers

log = logging.getLogger("crust.bootstrap")

_JITTER: Final = 0.25  # of a pause, each way: nodes that were cut off together must not come back together
RESTART_DELAY: Final = (0.1, 0.5)
"""Seconds, by chance, until the search begins again after the last connection is lost."""
SHORT_LIFE: Final = 10.0
"""Seconds. Connections that are lost again and again within so short a time are looked for with growing pauses: nodes
that share an identity replace each other, and a peer may fail at what it does first."""
ASKING: Final = 1.25
"""Seconds from the beginning of a round within which nodes of the LAN have answered (they are asked three times within
a second) and the cache is read, if all is well. A round that has reached somebody, but not enough, waits for them."""


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

    A round tries every contact of the book that is due, the most promising first, a few at a time. It ends early when
    ``max_connections`` are made. When a round has made at least one connection the job is done, unless that falls short
    of what is wanted; otherwise the next begins after a pause that grows. Contacts that turn up meanwhile are tried at
    once.
    """

    def __init__(
        self, config: Config, book: ContactBook, dialer: Dialer, timers: Timers, surroundings: Surroundings
    ) -> None:
        self._config = config
        self._book = book
        self._dialer = dialer
        self._timers = timers
        self._around = surroundings
        self._race: Race | None = None
        self._places = 0
        self._made = 0
        self._waiting = Turns(random.Random())
        self._standing_back: tuple[deque[Entry], ...] = tuple(deque() for _ in LOOKS)
        self._running: set[Trial] = set()
        self._tried: set[Endpoint] = set()  # in this round
        self._counted: set[Hashable] = set()  # for the race: who won, or was connected already
        self._filling = False
        self._pause: Timer | None = None
        self._next_look: Timer | None = None
        self._restart: Timer | None = None
        self._complained = False
        self._winners: dict[Entry, Race] = {}
        self._round_began = self._won_at = -math.inf
        self._in_vain = 0  # restarts in a row after connections that did not live long
        self.keep_going = False
        """Whether to begin again when all connections are lost."""
        self.gave_up = False
        """Whether it ended because it knew nobody."""
        self.rounds = 0

    @property
    def running(self) -> bool:
        """Whether there is still something to do."""
        return self._race is not None

    @property
    def next_round_at(self) -> float | None:
        """When the pause between two rounds ends."""
        return self._pause.when if self._pause is not None and self._pause.pending else None

    @property
    def wanted(self) -> int:
        """Connections to make at the most."""
        return self._places

    @property
    def made(self) -> int:
        """Connections made, since it was started."""
        return self._race.won if self._race is not None else self._made

    # --- what others say ------------------------------------------------------------------------------

    def start(self, max_connections: int, keep_going: bool = False) -> None:
        """Begin, or raise the number of connections that a running bootstrap aims at.

        A pause between two rounds ends: whoever asks now may know that the network is back.
        """
        self.keep_going = self.keep_going or keep_going
        self._book.forgive_all()
        self._in_vain = 0
        if self._race is None:
            self._places = max_connections
            self._begin()
            return
        self._places = self._race.places = max(self._race.places, max_connections)
        if self._pause is not None:
            self._begin_round()

    def offer(self, entry: Entry | None) -> None:
        """A contact has turned up; it need not wait for the next round."""
        if self._race is None or entry is None or now() < entry.not_before:
            return
        if entry in self._waiting or any(trial.entry is entry for trial in self._running):
            return
        if not any(entry in group for group in self._standing_back):
            self._waiting.put(entry)
            self._fill()

    def hurry(self) -> None:
        """The network may be another one now: nobody has to wait for what failed before."""
        self._book.forgive_all()
        if self._pause is not None:
            self._begin_round()

    def expect_no_more(self) -> None:
        """What was on its way has come: nobody has to wait for contacts, if there are none."""
        if self._race is None or self._around.hopeful():
            return
        if self._pause is None:
            self._fill()
        elif not len(self._book):
            self._pause.cancel()
            self._pause = None
            self._end_round(self._race)

    def lost_one(self) -> None:
        """A connection is gone; look for others if it was the last, in a moment (another may take its place)."""
        if self.keep_going and self._at_rest and (self._restart is None or not self._restart.pending):
            self._restart = self._timers.at(now() + random.uniform(*RESTART_DELAY), self._begin_if_needed)

    def stop(self) -> None:
        """Forget about it."""
        self.keep_going = False
        self._leave_round()
        self._race = None

    def turned_away(self, race: Race) -> None:
        """The peer of a connection that had won in ``race`` refused it at once, so it does not count. It is gone.

        (Who has the greater id has chosen before it can hear the answer.)
        """
        race.won -= 1
        self._counted.clear()  # rather counted twice than never, for it may be connected after all
        gone = [each for each, won in self._winners.items() if won is race and not self._around.is_connected(each)]
        for entry in gone:
            del self._winners[entry]
            self._book.failed(entry, "it was connected, and turned us away", now())
        if self._race is None and not race.won:
            self._race = race
            self._fill()

    # --- rounds ---------------------------------------------------------------------------------------

    @property
    def _at_rest(self) -> bool:
        """Whether nothing is under way for what has been reached so far: done, or waiting to look for more."""
        return self._race is None or (self._pause is not None and self._race.won > 0)

    def _begin_if_needed(self) -> None:
        if not (self.keep_going and self._at_rest):
            return
        if self._around.alone():
            log.info("all connections are lost: looking for peers again")
            self._begin_again()
        elif self._race is None and self._around.falls_short():
            log.info("there are fewer connections than wanted: looking for peers again")
            self._begin_again()

    def _begin_again(self) -> None:
        """At once, unless it was in vain several times; then it begins with a pause, as after so many rounds."""
        self._in_vain = self._in_vain + 1 if now() - self._won_at < SHORT_LIFE else 0
        self._begin(rounds=max(self._in_vain - 1, 0))

    def _begin(self, rounds: int = 0) -> None:
        self._race = Race(self._places)
        self._counted.clear()
        self._winners.clear()
        self._complained = self.gave_up = False
        self.rounds = rounds
        if rounds:
            self._leave_round()
            self._begin_pause("was of no use for long")
        else:
            self._begin_round()

    def _after_pause(self) -> None:
        self._pause = None
        if self._race is not None and self._race.won and not self._around.falls_short():
            self._finish(self._race)
        else:
            self._begin_round()

    def _begin_round(self) -> None:
        self._leave_round()
        self.rounds += 1
        self._round_began = now()
        self._around.round_begins()
        self._tried = {endpoint for trial in self._running for endpoint in trial.entry.endpoints}
        trying = {trial.entry for trial in self._running}
        for entry in self._book.newly_ours():
            log.info("bootstrap: %s: %s", entry, entry.result)
        for entry in self._book.due(now()):
            if entry not in trying:
                self._waiting.put(entry)
        log.info("bootstrap round %d: %d contacts", self.rounds, len(self._waiting))
        self._fill()

    def _leave_round(self) -> None:
        self._cancel_timers()
        self._waiting.clear()
        for group in self._standing_back:
            group.clear()

    def _cancel_timers(self) -> None:
        for timer in (self._pause, self._next_look, self._restart):
            if timer is not None:
                timer.cancel()
        self._pause = self._next_look = self._restart = None

    def _end_round(self, race: Race) -> None:
        if race.over:
            self._finish(race)
            return
        if race.won and not self._around.falls_short():
            answered = self._round_began + ASKING
            if now() < answered and self._around.hopeful():
                self._next_look = self._timers.at(answered, self._fill)
            else:
                self._finish(race)
            return
        if not len(self._book) and not self._around.hopeful():
            log.log(
                logging.DEBUG if self._complained else logging.WARNING,
                "bootstrap() knows nobody to try: give fallback_endpoints to the ConnectionManager or "
                "hard_coded_contacts in the configuration, or let others connect to this node",
            )
            self._complained = True
            if not self.keep_going:
                self._race, self.gave_up = None, True
                return
        if self._pause is None:
            self._begin_pause("is not enough" if race.won else "reached nobody")

    def _begin_pause(self, outcome: str) -> None:
        pause = backoff(self.rounds, self._config.bootstrap_backoff_min, self._config.bootstrap_backoff_max)
        log.info("bootstrap round %d %s; the next begins in %.1f s", self.rounds, outcome, pause)
        self._pause = self._timers.at(now() + pause, self._after_pause)

    def _finish(self, race: Race) -> None:
        log.info("bootstrap is done: %d connected in round %d", race.won, self.rounds)
        self._cancel_timers()  # but not the rest of the round: a peer may still turn us away
        self._made, self._race = race.won, None
        for trial in list(self._running):
            if not trial.is_answering:
                self._stand_back(trial)
        for entry in chain(*self._standing_back):
            entry.result = "had not answered when others were connected"
        self.lost_one()  # it may have gone already

    # --- within a round -------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start tries up to the limit; when nobody is left to try, end the round."""
        if self._race is None or self._filling:
            return
        if self._next_look is not None:
            self._next_look.cancel()
        self._filling = True  # a job may end before connect() returns; the loop below sees that by itself
        try:
            while not self._race.over and self._has_place() and (following := self._next()) is not None:
                self._try(*following, self._race)
        finally:
            self._filling = False
        if self._race.over or not (self._running or self._look_waiting() is not None):
            self._end_round(self._race)

    def _next(self) -> tuple[Entry, int] | None:
        entry = self._waiting.take()
        if entry is not None:
            return entry, 0
        for look, group in enumerate(self._standing_back, 1):
            if group:
                return group.popleft(), look
        return None

    def _look_waiting(self) -> int | None:
        """Which try of theirs those who wait are waiting for; ``None`` if nobody waits."""
        if self._waiting:
            return 0
        return next((look for look, group in enumerate(self._standing_back, 1) if group), None)

    def _has_place(self) -> bool:
        """Whether one more may be tried now; somebody may have to stand back for that."""
        if len(self._running) < BOOTSTRAP_PARALLEL:
            return True
        waiting = self._look_waiting()
        if waiting is None or waiting >= len(LOOKS):  # the last try has all the time that a dial takes
            return False
        overdue, when = None, float("inf")
        for trial in self._running:
            patience = trial.patience(waiting)
            if not trial.is_answering and trial.began + patience < when:
                overdue, when = trial, trial.began + patience
        if overdue is None:
            return False
        if when > now():
            self._next_look = self._timers.at(when, self._fill)
            return False
        overdue.look = max(overdue.look, waiting)
        self._stand_back(overdue)
        return True

    def _stand_back(self, trial: Trial) -> None:
        assert trial.job is not None  # it is not answering
        trial.stands_back = True
        self._dialer.give_up(trial.job)

    def _try(self, entry: Entry, look: int, race: Race) -> None:
        if self._around.is_connected(entry):
            self._book.connected(entry, "connected already")
            who = self._around.who(entry)
            if who not in self._counted and self._around.counts(entry):
                race.won += 1
                self._counted.add(who)
            return
        if self._around.refuses(entry):
            self._book.failed(entry, "it is on the blacklist", now())
            return
        fresh = [each for each in self._book.usable(entry) if look or each not in self._tried]
        if not fresh:
            return
        self._tried.update(fresh)
        self._book.trying(entry, wall_time())
        trial = Trial(entry, look, now())
        self._running.add(trial)
        try:
            trial.job = self._dialer.connect(fresh, race, lambda job: self._ended(trial, job), bootstrap=True)
        except BaseException:
            self._running.discard(trial)
            raise

    def _ended(self, trial: Trial, job: Job) -> None:
        self._running.discard(trial)
        entry = trial.entry
        if job.connected:
            self._book.connected(entry)
            who = self._around.who(entry)
            if who in self._counted:  # two contacts, and one connection
                job.race.won -= 1
            self._counted.add(who)
            self._winners[entry] = job.race
            self._won_at = now()
        elif trial.stands_back:
            entry.result = "no answer yet; it is tried again when the others had their turn"
            self._standing_back[min(trial.look, len(LOOKS) - 1)].append(entry)
        else:
            reasons = "; ".join(f"{endpoint}: {why}" for endpoint, why in job.reasons().items())
            self._book.failed(entry, reasons, now())
            log.info("bootstrap: %s", reasons)
        self._fill()
