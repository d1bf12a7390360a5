"""`Grip`: what a thread is busy with, held so that another thread can end it."""

import threading
from typing import Protocol


class Abortable(Protocol):
    """Something in progress that another thread may end."""

    def abort(self) -> None:
        """End it."""
        ...


class Grip:
    """See the module's text. All methods are for any thread."""

    def __init__(self) -> None:
        self.aborted = threading.Event()
        """Set as soon as `abort` is called; for those who wait without a handle."""
        self._lock = threading.Lock()
        self._handle: Abortable | None = None

    def hold(self, handle: Abortable | None) -> None:
        """This is what the thread is busy with from now on; ``None``: nothing. It is ended at once after `abort`."""
        with self._lock:
            self._handle = handle
            if handle is not None and self.aborted.is_set():
                handle.abort()

    def abort(self) -> None:
        """End what is held, and whatever is held later. Idempotent if that of the handle is."""
        with self._lock:
            self.aborted.set()
            if self._handle is not None:
                self._handle.abort()
