"""`Errands`: the threads around STUN and hole punching that a manager has out."""

from typing import Protocol


class Running(Protocol):
    """What has a thread that ends by itself, and earlier if it is told to."""

    @property
    def running(self) -> bool:
        """Whether its thread is there."""

    def cancel(self) -> None:
        """Tell it to end; does not wait."""

    def stop(self, timeout: float | None = None) -> None:
        """Tell it to end, and wait for it."""


class Errands:
    """See the module's text. Belongs to the manager thread."""

    def __init__(self) -> None:
        self._out: list[Running] = []

    def __len__(self) -> int:
        """How many may be out."""
        return len(self._out)

    def add(self, errand: Running) -> None:
        """One has begun."""
        self._out = [one for one in self._out if one.running]
        self._out.append(errand)

    def cancel(self) -> None:
        """Tell all to end."""
        for errand in self._out:
            errand.cancel()

    def join(self, timeout: float) -> None:
        """Wait for all of them, that long for each; after `cancel`."""
        for errand in self._out:
            errand.stop(timeout)
        self._out.clear()
