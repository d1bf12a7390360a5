"""`Turns`: who of the attempts gives way when all threads are taken and others wait. Belongs to the manager thread.

Without it as many silent addresses as there are threads would keep everybody else waiting for as long as a dial may
take.
"""

from typing import Final

from crust.connecting.attempts import Attempt
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers

TURN: Final = 2.0
"""Seconds that an attempt has before it gives way to one that waits for a thread. It is tried once more when the others
had their turn, and has all the time of a dial then. Who is there has answered by then, as a rule."""


class Turns:
    """See the module's text.

    Args:
        places: attempts that run at a time; they begin in the order in which they enter.
        timers: the manager's.
    """

    def __init__(self, places: int, timers: Timers) -> None:
        self._places = places
        self._timers = timers
        self._trying: dict[Attempt, None] = {}  # in order
        self._timer: Timer | None = None

    def enter(self, attempt: Attempt) -> None:
        """An attempt waits for a thread, or has one."""
        self._trying[attempt] = None
        self._look()

    def leave(self, attempt: Attempt) -> None:
        """An attempt is over."""
        self._trying.pop(attempt, None)

    def close(self) -> None:
        """Nobody has to give way any more."""
        self._trying.clear()
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        begun = list(self._trying)[: self._places]
        waiting = len(self._trying) - len(begun) - sum(attempt.gives_way for attempt in begun)
        for attempt in begun:
            if waiting <= 0:
                return
            if not _may_give_way(attempt):
                continue
            if now() < attempt.began + TURN:
                self._timer = self._timers.at(attempt.began + TURN, self._look)
                return
            attempt.gives_way = True
            attempt.job.gave_way.add(attempt.target)
            attempt.abort()
            waiting -= 1


def _may_give_way(attempt: Attempt) -> bool:
    if attempt.gives_way or attempt.target in attempt.job.gave_way or attempt.target.is_name:  # no look-up can be ended
        return False
    return attempt.repeatable and attempt not in attempt.job.race.running
