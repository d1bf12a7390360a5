"""`HeardChannel`: events for a main thread that has to hear signals while it waits for them."""

import queue
from typing import TypeVar

from crust.channel import Channel
from crust.cli.interrupts import Interrupts
from crust.threads.clock import Deadline

T = TypeVar("T")


class HeardChannel(Channel[T]):
    """A channel whose ``get()`` waits where `Interrupts` raises; no signal is missed, and none strikes elsewhere.

    ``get()`` and iteration are for the main thread; all else is for any thread.

    Args:
        interrupts: installed for as long as this is used.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__()
        self._interrupts = interrupts
        self._get_tokens = _Tokens(interrupts)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """See `Channel.get`. Signals raise even if there is always something to take."""
        self._interrupts.check()
        return super().get(block, timeout)


class _Tokens(queue.SimpleQueue[None]):
    """Wake-ups of a channel, waited for on the bell."""

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__()
        self._interrupts = interrupts

    def put(self, item: None, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self._interrupts.ring()

    def get(self, block: bool = True, timeout: float | None = None) -> None:
        deadline = Deadline(timeout)
        while True:
            try:
                return self.get_nowait()
            except queue.Empty:
                if deadline.expired:
                    raise
            self._interrupts.until_rung(deadline.remaining())
