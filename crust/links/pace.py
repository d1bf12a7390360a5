"""`Pace`: how far a reader thread is ahead of the user, and where it waits. The reader adds, the manager takes away."""

import queue
from typing import Final

from crust.limits import MIB
from crust.threads.clock import Deadline

READ_AHEAD: Final = 1 * MIB
"""Bytes handed to the manager and not delivered to the user yet, after which the reader pauses."""


class Pace:
    """See the module's text; one for each connection.

    Args:
        read_ahead: bytes that may be handed over and not be with the user yet.
    """

    def __init__(self, read_ahead: int) -> None:
        self.paused = False
        """Whether the reader leaves in the network what comes; any thread may ask."""
        self._read_ahead = read_ahead
        self._handed = 0
        self._delivered = 0
        self._ending = False
        self._resume: queue.SimpleQueue[None] = queue.SimpleQueue()

    # --- the manager thread -----------------------------------------------------------------------

    def delivered(self, weight: int) -> None:
        """``weight`` bytes that were handed over are with the user: the reader may go on."""
        self._delivered += weight
        if self.paused:
            self._resume.put(None)

    def end(self) -> None:
        """Nobody waits any more, now or later. Idempotent; any thread."""
        self._ending = True
        self._resume.put(None)

    # --- the reader thread ------------------------------------------------------------------------

    def handed_over(self, weight: int) -> None:
        """``weight`` more bytes are on their way to the user. Blocks until enough of all of them have arrived; what the
        peer sends meanwhile stays in the network."""
        self._handed += weight
        if not self._is_ahead:
            return
        self.paused = True
        # Looked at after saying so: the manager either sees that we pause or we see what it delivered.
        while self._is_ahead and not self._ending:
            self._resume.get()
        self.paused = False

    def wait(self, seconds: float) -> None:
        """Leave what comes in the network for a while, or until the end."""
        self.paused = True
        deadline = Deadline(seconds)
        while not (self._ending or deadline.expired):
            try:
                self._resume.get(timeout=deadline.remaining())
            except queue.Empty:
                break
        self.paused = False

    @property
    def _is_ahead(self) -> bool:
        return self._handed - self._delivered > self._read_ahead
