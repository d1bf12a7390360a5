"""`Waker`: wakes a thread that waits in a selector, without dialling anybody and without polling."""

import selectors
import socket
from contextlib import ExitStack


class Waker:
    """Register it in a selector for reading; `wake` makes the selector return. `clear` is for the thread that waits."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._woken = False

    def fileno(self) -> int:
        """For selectors."""
        return self._read.fileno()

    def wake(self) -> bool:
        """Make the selector return, now or when it is asked next. Any thread; ``False`` after `close`."""
        if not self._woken:
            self._woken = True
            try:
                self._write.send(b"w")
            except OSError:
                return False
        return True

    def clear(self) -> None:
        """Be ready for the next `wake`."""
        try:
            self._read.recv(64)
        except BlockingIOError:
            pass
        # Only now: in the other order the byte of a wake-up in between is taken and the flag stays, for good.
        self._woken = False

    def close(self) -> None:
        """Free what it holds. Idempotent."""
        self._read.close()
        self._write.close()


def selector_with_waker() -> tuple[selectors.BaseSelector, Waker]:
    """A selector, and what wakes whoever waits in it; both are to be closed.

    Raises:
        OSError: no descriptors are left. Nothing stays open.
    """
    with ExitStack() as undo:
        waker = Waker()
        undo.callback(waker.close)
        selector = undo.enter_context(selectors.DefaultSelector())
        selector.register(waker, selectors.EVENT_READ)
        undo.pop_all()
    return selector, waker
