"""Ctrl-C, SIGTERM and SIGHUP, taken where they do no harm."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from crust.cli import Terminated


class Interrupts:
    """While installed (``with``), the first signal raises only inside `waiting` or at the next `check`.

    An exception out of a signal handler can strike between any two steps of the main thread, such as taking a lock and
    being ready to give it back; other threads would then wait for ever. So the first signal is only noted, unless the
    main thread waits inside a single call that is written in C. The second one raises at once: somebody insists.

    For the main thread only.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None
        """Called by the first signal, for who waits elsewhere: it has to end that wait, and `check`."""
        self._pending: type[KeyboardInterrupt] | None = None
        self._may_raise = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        insisting = self._pending is not None
        self._pending = KeyboardInterrupt if number == signal.SIGINT else Terminated
        if insisting or self._may_raise:
            raise self._pending
        if self.wake is not None:
            self.wake()

    def check(self) -> None:
        """Raise what a signal asked for: ``KeyboardInterrupt`` for SIGINT, `Terminated` for the others."""
        if self._pending is not None:
            raise self._pending

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it a signal raises at once: for a single call that waits, and holds no lock written in Python."""
        self._may_raise = True
        try:
            self.check()
            yield
        finally:
            self._may_raise = False
