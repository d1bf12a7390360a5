"""`ErrandThread`: a thread that waits in a selector until its work is done, and earlier if it is told to end."""

import threading
from abc import ABC, abstractmethod
from typing import Any

from crust.threads.waker import selector_with_waker
from crust.threads.workers import start_thread


class ErrandThread(ABC):
    """What `Errand` and `TcpErrand` have in common. Public methods are for any thread.

    A subclass calls `_begin_thread` at the end of its constructor.
    """

    _thread: threading.Thread

    def __init__(self) -> None:
        self._stopping = False
        self._selector, self._waker = selector_with_waker()

    @property
    def running(self) -> bool:
        """Whether its thread is still there."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """End it, without waiting. Idempotent."""
        self._stopping = True
        self._waker.wake()

    def stop(self, timeout: float | None = None) -> None:
        """End it now, and wait for its thread. Idempotent.

        Args:
            timeout: seconds; ``None``: as long as it takes, which is not long.
        """
        self.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _begin_thread(self, name: str) -> None:
        """Start it.

        Raises:
            RuntimeError: the system has no more threads to give; everything is freed.
        """
        try:
            self._thread = start_thread(name, self._run)
        except RuntimeError:
            self._free()
            raise

    def _wait(self, timeout: float | None) -> None:
        """Wait on the thread until a socket has something, somebody wakes it, or so many seconds have passed."""
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._waker.clear()
            else:
                self._ready(key.data, key.fileobj)

    @abstractmethod
    def _run(self) -> None:
        """What the thread does; it frees everything at its end."""

    @abstractmethod
    def _ready(self, number: int, file: Any) -> None:
        """What was registered under a number has something."""

    @abstractmethod
    def _free(self) -> None:
        """Close all that is open; `_close_selector` among it."""

    def _close_selector(self) -> None:
        self._selector.close()
        self._waker.close()
