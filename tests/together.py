"""Threads for tests: what they raise is seen, and none of them can make a test hang for ever."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

PATIENCE = 90.0  # seconds; a loaded machine is slow, a hanging thread never gets there
_POLL = 0.001  # seconds between two looks at what cannot call us


class Running(Generic[T]):
    """A function on a thread of its own, started at once."""

    def __init__(self, function: Callable[..., T], *args: Any, **named: Any) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, args, named), name="test", daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., T], args: Any, named: Any) -> None:
        try:
            self._result = function(*args, **named)
        except BaseException as error:
            self._error = error

    @property
    def ended(self) -> bool:
        """Whether it has returned or raised."""
        return not self._thread.is_alive()

    def result(self, patience: float = PATIENCE) -> T:
        """What it returned; raises what it raised."""
        self._thread.join(patience)
        assert self.ended, "a thread of the test hangs"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def until(condition: Callable[[], object], what: str = "it happens") -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        pause.wait(_POLL)
