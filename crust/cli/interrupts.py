"""Ctrl-C, SIGTERM and SIGHUP, taken where they do no harm, and never late."""

import os
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from crust.cli import Terminated


class Interrupts:
    """While installed (``with``), the first signal raises only in `until_rung`, `readable` and `check`.

    An exception out of a signal handler can strike between any two steps of the main thread, such as taking a lock and
    being ready to give it back; other threads would then wait for ever. So the first signal is only noted. The second
    one raises at once: somebody insists.

    And a handler runs only when Python gets round to it: a signal that comes a moment before a call that waits, such as
    ``queue.get()``, is not heard before the call returns. So waiting is done on a socket that the signal itself makes
    readable.

    For the main thread only, but for `ring`.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None
        """Called by the first signal, for who waits elsewhere: it has to end that wait, and `check`."""
        self._pending: type[KeyboardInterrupt] | None = None
        self._failure: Exception | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._bell.close()
        self._rope.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        insisting = self._pending is not None
        self._pending = KeyboardInterrupt if number == signal.SIGINT else Terminated
        if insisting:
            raise self._pending
        if self.wake is not None:
            self.wake()

    def check(self) -> None:
        """Raise what a signal asked for (``KeyboardInterrupt`` for SIGINT, `Terminated` for the others), or `fail`."""
        if self._pending is not None:
            raise self._pending
        if self._failure is not None:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """Raise ``error`` where the first signal would be raised. Any thread may call; signals come first.

        At the prompt it is raised when the line is ended: what a terminal meets ends that as well.
        """
        self._failure = error
        self.ring()

    def ring(self) -> None:
        """End `until_rung` of the main thread, or its next one. Any thread may call; nobody hears it after ``with``."""
        try:
            self._rope.send(b"\0")
        except OSError:
            pass  # it has been rung often enough, or nobody waits any more

    def until_rung(self, seconds: float | None) -> None:
        """Wait for `ring`, at most ``seconds``; ``None`` waits for ever. Signals raise."""
        if os.name != "posix":  # Windows does not end a wait for a signal that Python handles
            seconds = 1.0 if seconds is None else min(seconds, 1.0)
        self._wait([self._bell], seconds)

    def readable(self, descriptor: int) -> None:
        """Wait until something can be read from ``descriptor``, which must be a socket on Windows. Signals raise."""
        while descriptor not in self._wait([self._bell, descriptor], None):
            pass  # it was the bell

    def _wait(self, watched: list[Any], seconds: float | None) -> list[Any]:
        before = signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        try:
            self.check()
            ready = select.select(watched, [], [], seconds)[0]
        finally:
            signal.set_wakeup_fd(before)
        try:
            while self._bell.recv(4096):
                pass
        except BlockingIOError:
            pass
        self.check()
        return ready
