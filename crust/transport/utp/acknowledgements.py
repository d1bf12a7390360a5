"""When to acknowledge: at once, a little later, or along with data."""

from typing import Final

from crust.transport.utp.constants import ACK_DELAY, RECEIVE_WINDOW, WINDOW_REPEATS

_AT_ONCE: Final = 2
"""Packets: from so many on the acknowledgement does not wait (RFC 9293 3.8.6.3 for TCP), or a sender with a window of
two packets would."""

_REOPENED: Final = RECEIVE_WINDOW // 4
"""Bytes: a window that was advertised as smaller and has grown by so much is worth a packet."""

_REPEAT_AFTER: Final = 0.5
"""Seconds until the news of an open window is repeated; doubles each time."""


class Acknowledgements:
    """Knows whether the peer is owed an acknowledgement, and since when."""

    __slots__ = ("_at", "_due", "_repeat_at", "_repeats", "_unsaid", "_window")

    def __init__(self) -> None:
        self._due = False
        self._at: float | None = None  # when a delayed one is due
        self._unsaid = 0  # packets that came since the last one
        self._window = RECEIVE_WINDOW  # as last advertised
        self._repeat_at: float | None = None
        self._repeats = 0

    def now(self) -> None:
        """One is due at once: something came twice, early, or last."""
        self._due = True

    def came(self, packets: int, now: float) -> None:
        """Packets came in order."""
        self._unsaid += packets
        self._repeat_at = None
        if self._unsaid >= _AT_ONCE:
            self._due = True
        elif self._at is None:
            self._at = now + ACK_DELAY

    def window_opened(self, window: int) -> None:
        """There is room for ``window`` bytes now, because some were read."""
        if window and (not self._window or window - self._window >= _REOPENED):
            self._due = True

    def due(self, now: float) -> bool:
        """Whether one must leave now, with or without data."""
        if self._due or (self._at is not None and now >= self._at):
            return True
        return self._repeat_at is not None and now >= self._repeat_at

    def sent(self, window: int, now: float) -> None:
        """A packet left, and every packet acknowledges."""
        if window and not self._window:
            self._repeats = WINDOW_REPEATS
        if self._repeats and (self._repeat_at is None or now >= self._repeat_at):
            self._repeat_at = now + _REPEAT_AFTER * 2 ** (WINDOW_REPEATS - self._repeats)
            self._repeats -= 1
        elif not self._repeats:
            self._repeat_at = None
        self._due = False
        self._at = None
        self._unsaid = 0
        self._window = window

    @property
    def deadline(self) -> float | None:
        """When `due` may become true by itself."""
        if self._at is None or self._repeat_at is None:
            return self._at if self._repeat_at is None else self._repeat_at
        return min(self._at, self._repeat_at)
