"""`Forward`: a relayed connection, seen from the middle. What one end sends goes to the other on the thread that reads
it; the manager thread decides only on the beginning and the end.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from crust.errors import PeerMisbehaved
from crust.threads.clock import now
from crust.transport.framing import RELAY, control_frame
from crust.transport.relay.carried import Passage, Throttle, carried_frame
from crust.transport.relay.channels import Carrier, Channels
from crust.transport.relay.notes import Abort


class End(NamedTuple):
    """One end: the connection with that peer, and the number of the channel there."""

    outbox: Carrier
    channels: Channels
    number: int

    def abort(self, reason: str) -> None:
        """Tell that peer that the channel is over, after what was sent to it."""
        self.channels.remove(self.number)
        self.outbox.put_carried(control_frame(RELAY, Abort(self.number, reason).content()))


class Asked:
    """A `Sink` while the other end has not accepted yet.

    Args:
        credit: what was passed on to this end at the beginning.
        ended: called when the channel is gone; by any thread.
    """

    def __init__(self, credit: int, ended: Callable[[], None]) -> None:
        self.outstanding = credit
        self._ended = ended

    def carried(self, data: bytes) -> None:
        """See `Sink.carried`."""
        raise PeerMisbehaved("it sent data on a relayed channel before that was open")

    def credited(self, amount: int) -> None:
        """See `Sink.credited`."""
        raise PeerMisbehaved("it gave credit on a relayed channel before that was open")

    def ended(self, reason: str) -> None:
        """See `Sink.ended`."""
        self._ended()


class Forward:
    """See the module's text.

    Args:
        asking, asked: the two ends.
        credit: what the end that was asked gave at the beginning, and what the asking one gave.
        per_second: bytes that may go each way; 0 for no limit.
        later: has a function called after so many seconds, by any thread.
        over: called once, by any thread, when it has ended.
    """

    def __init__(
        self,
        asking: End,
        asked: End,
        credit: tuple[int, int],
        per_second: float,
        later: Callable[[float, Callable[[], None]], None],
        over: Callable[["Forward"], None],
    ) -> None:
        self._ends = (asking, asked)
        self._lock = threading.Lock()  # guards the passages and what goes with them
        self._passages = (Passage(credit[0]), Passage(credit[1]))  # by the end that sends
        self._throttles = (Throttle(per_second), Throttle(per_second))
        self._waiting = [False, False]
        self._later = later
        self._over = over
        self._gone = False
        self.bytes = 0
        """What went through, both ways. Written by two readers: a hint."""

    def begin(self) -> bool:
        """Take the place of the sinks of both channels; whether both connections are still there. The manager's."""
        first, second = (end.channels.add(end.number, _Side(self, i)) for i, end in enumerate(self._ends))
        if not (first and second):
            self.abort("one of the two connections has ended")
        return not self._gone

    def abort(self, reason: str) -> None:
        """End it, and tell both. Any thread may call."""
        if self._leave():
            for end in self._ends:
                end.abort(reason)
            self._over(self)

    # --- the readers of the two connections -------------------------------------------------------------

    def outstanding(self, side: int) -> int:
        """What that end may still send."""
        return self._passages[side].outstanding

    def carried(self, side: int, data: bytes) -> None:
        """An end sent data, or that there will be no more."""
        there = self._ends[1 - side]
        with self._lock:
            self._passages[side].came(data)
            both = all(passage.ended for passage in self._passages)
        self.bytes += len(data)
        there.outbox.put_carried(carried_frame(there.number, data))
        if both and self._leave():
            for end in self._ends:
                end.channels.remove(end.number)
            self._over(self)

    def credited(self, side: int, amount: int) -> None:
        """An end gave credit to the other one."""
        with self._lock:
            self._passages[1 - side].credited(amount)
            self._pass_on(1 - side)

    def _pass_on(self, to: int) -> None:
        """Give an end the credit that is held for it, unless that is too early. With the lock."""
        passage, end = self._passages[to], self._ends[to]
        if not passage.held or self._waiting[to] or self._gone:
            return
        wait = self._throttles[to].take(passage.held, now())
        if wait:
            self._waiting[to] = True
            self._later(wait, lambda: self._waited(to))
        else:
            end.outbox.put_credit(end.number, passage.pass_on())

    def _waited(self, to: int) -> None:
        with self._lock:
            self._waiting[to] = False
            self._pass_on(to)

    def ended(self, side: int, reason: str) -> None:
        """An end broke it off, or its connection is over."""
        if self._leave():
            self._ends[1 - side].abort(reason)
            self._over(self)

    def _leave(self) -> bool:
        with self._lock:
            gone, self._gone = self._gone, True
            return not gone


class _Side:
    """The `Sink` of one end."""

    def __init__(self, forward: Forward, side: int) -> None:
        self._forward = forward
        self._side = side

    @property
    def outstanding(self) -> int:
        return self._forward.outstanding(self._side)

    def carried(self, data: bytes) -> None:
        self._forward.carried(self._side, data)

    def credited(self, amount: int) -> None:
        self._forward.credited(self._side, amount)

    def ended(self, reason: str) -> None:
        self._forward.ended(self._side, reason)
