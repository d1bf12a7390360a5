"""For what is measured in real time, on a machine that may be busy with something else."""

import logging
from collections.abc import Iterator
from types import TracebackType

log = logging.getLogger("lab")

ATTEMPTS = 3


class Attempt:
    """One of several. Used by ``with``, around the assertions about time and rates and nothing else."""

    def __init__(self, number: int, last: bool) -> None:
        self.succeeded = False
        self._number = number
        self._last = last

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.succeeded = kind is None
        if kind is not AssertionError or self._last:
            return False
        log.warning("attempt %d: %s", self._number, error)  # shown if the last one fails as well
        return True


def attempts(count: int = ATTEMPTS) -> Iterator[Attempt]:
    """Attempts until one succeeds; the last one fails as a test does.

    Whoever else uses the processors can make what is measured slower, but never quicker than it can be: a goal is
    reached if one attempt reaches it. What is wrong once is wrong: assert that outside of ``with attempt``.
    """
    for number in range(1, count + 1):
        attempt = Attempt(number, number == count)
        yield attempt
        if attempt.succeeded:
            return
