"""`Channels`: the relayed channels of one connection, by number. The manager thread opens them, the connection's reader
hands over what comes.
"""

import threading
from collections.abc import Iterable
from typing import Any
from typing import Protocol as TypingProtocol

from crust.errors import PeerMisbehaved
from crust.transport.relay.carried import Carried, cost_of, parse_relayed
from crust.transport.relay.notes import Abort, Note, parse_relay_note


class Sink(TypingProtocol):
    """What a channel leads to at this end."""

    @property
    def outstanding(self) -> int:
        """What the peer may still send, in credit."""
        ...

    def carried(self, data: bytes) -> None:
        """Data came; none: no more will. The reader's.

        Raises:
            PeerMisbehaved: it must not have come.
        """
        ...

    def credited(self, amount: int) -> None:
        """So much more may be sent. The reader's.

        Raises:
            PeerMisbehaved: it is more than there may be.
        """
        ...

    def ended(self, reason: str) -> None:
        """The channel is gone. Never blocks, never raises; any thread may call."""
        ...


class Carrier(TypingProtocol):
    """What goes out over the carrying connection, in order: its outbox. Any thread may call, none waits."""

    def put_carried(self, frame: bytes) -> bool:
        """Queue a frame of a relayed connection; ``False`` when it was dropped, because the carrier is over."""
        ...

    def put_credit(self, channel: int, amount: int) -> None:
        """Give the peer credit on a channel."""
        ...

    def hold(self) -> None:
        """Let it take such frames even when it has been told to end; until as many calls of `release`."""
        ...

    def release(self) -> None:
        """See `hold`."""
        ...


class Channels:
    """See the module's text.

    Args:
        odd: whether this end numbers its channels with odd numbers, and the peer with even ones.
    """

    def __init__(self, odd: bool) -> None:
        self._lock = threading.Lock()
        self._odd = odd
        self._sinks: dict[int, Sink] = {}
        self._latest = {True: -1, False: 0}  # by whether it is odd
        self._late = 0  # credit of channels that are gone: what was sent with it may still come
        self._over: str | None = None

    def __len__(self) -> int:
        return len(self._sinks)

    # --- the manager thread ---------------------------------------------------------------------------

    def new_number(self) -> int:
        """For a channel that we open."""
        with self._lock:
            self._latest[self._odd] += 2
            return self._latest[self._odd]

    def opened(self, number: int) -> bool:
        """The peer opens one; whether it may have that number."""
        with self._lock:
            odd = bool(number & 1)
            if odd is self._odd or number <= self._latest[odd]:
                return False
            self._latest[odd] = number
            return True

    def add(self, number: int, sink: Sink) -> bool:
        """From now on ``sink`` gets what comes for a channel, in place of another one if there was one; ``False`` when
        the connection has ended."""
        with self._lock:
            if self._over is not None:
                return False
            self._sinks[number] = sink
            return True

    # --- any thread -----------------------------------------------------------------------------------

    def remove(self, number: int) -> Sink | None:
        """A channel is gone; what it led to, if anything. What still comes for it is passed over, within its credit."""
        with self._lock:
            sink = self._sinks.pop(number, None)
            if sink is not None:
                self._late += sink.outstanding
            return sink

    def end(self, reason: str) -> None:
        """The connection is over, and with it all channels. Idempotent."""
        with self._lock:
            self._over = self._over or reason
            sinks = list(self._sinks.values())
            self._sinks.clear()
        for sink in sinks:
            sink.ended(reason)

    # --- the reader -----------------------------------------------------------------------------------

    def take(self, frames: Iterable[tuple[int, bytes]]) -> None:
        """CARRIED and CREDIT frames came: kind and body.

        Raises:
            PeerMisbehaved: the peer must not have sent them.
        """
        for kind, body in frames:
            one = parse_relayed(kind, body)
            sink = self._sinks.get(one.channel)
            if sink is None:
                self._came_late(one.channel, cost_of(one.data) if isinstance(one, Carried) else 0)
            elif isinstance(one, Carried):
                sink.carried(one.data)
            else:
                sink.credited(one.amount)

    def _came_late(self, number: int, cost: int) -> None:
        with self._lock:
            if not 0 < number <= self._latest[bool(number & 1)]:
                raise PeerMisbehaved(f"it sent data for the relayed channel {number}, which was never opened")
            self._late -= cost
            if self._late < 0:
                raise PeerMisbehaved("it sends data for relayed channels that are over")


def take_relayed(channels: Channels | None, frames: Iterable[tuple[int, bytes]]) -> None:
    """Hand over CARRIED and CREDIT frames; the reader's.

    Raises:
        PeerMisbehaved: the peer must not have sent them.
    """
    if channels is None:
        raise PeerMisbehaved("it sent data of a relayed connection, and none was opened")
    channels.take(frames)


def hear_relay_note(channels: Channels | None, content: dict[str, Any]) -> Note | None:
    """Read a RELAY frame and deal with an abort; what is left for the manager thread to decide. The reader's.

    Raises:
        Malformed: it is none.
    """
    note = parse_relay_note(content)
    if not isinstance(note, Abort):
        return note
    sink = None if channels is None else channels.remove(note.channel)
    if sink is not None:
        sink.ended(note.text or "the peer broke it off")
    return None
