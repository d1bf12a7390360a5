"""`RelayDesk`: this node is in the middle of relayed connections, if its configuration says so. Belongs to the manager
thread; what is carried goes another way (`crust.transport.relay.forwarding`).
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crust.config import Config
from crust.connecting import notices
from crust.connecting.connections import Connections
from crust.defence.allowance import Allowances
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers
from crust.transport.framing import RELAY, control_frame
from crust.transport.relay.channels import Channels
from crust.transport.relay.forwarding import Asked, End, Forward
from crust.transport.relay.notes import Abort, Acceptance, Note, Opening, Refusal

log = logging.getLogger("crust.reach")

RELAY_ANSWER_SECONDS: Final = 8.0
"""For the one that a connection is for to accept it: a round trip, and the look of its manager."""
RELAY_ASKER_BURST: Final = 8
RELAY_ASKER_INTERVAL: Final = 5.0
"""Relayed connections that one peer may ask for at once, and seconds for each further one."""
KNOWN_RELAY_ASKERS: Final = 1024
"""Peers whose allowance is remembered."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A relayed connection that was not accepted yet."""

    asking: Connection
    channel: int
    credit: int
    asked: Connection
    number: int
    timer: Timer | None = None


class RelayDesk:
    """See the module's text.

    Args:
        config: whether, how many, how fast.
        inbox: the manager's.
        timers: the manager's.
        connections: the manager's.
        channels_of: the channels of a connection.
    """

    def __init__(
        self,
        config: Config,
        inbox: notices.Inbox,
        timers: Timers,
        connections: Connections,
        channels_of: Callable[[Connection], Channels],
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._timers = timers
        self._connections = connections
        self._channels_of = channels_of
        self._waiting: dict[tuple[Connection, int], _Waiting] = {}  # by who was asked
        self._forwards: dict[Forward, tuple[PeerId, PeerId]] = {}
        self._places: Counter[PeerId] = Counter()
        self._allowances = Allowances(KNOWN_RELAY_ASKERS, RELAY_ASKER_BURST, 1 / RELAY_ASKER_INTERVAL)

    def __len__(self) -> int:
        """How many connections it relays, or is about to."""
        return len(self._forwards) + len(self._waiting)

    def stop(self) -> None:
        """End all that is relayed."""
        for one in list(self._waiting.values()):
            self._refuse_waiting(one, "off")
        for forward in list(self._forwards):
            forward.abort("the peer in the middle has stopped")

    # --- the beginning ----------------------------------------------------------------------------------

    def asked(self, connection: Connection, note: Opening) -> None:
        """A peer wants a connection with another one."""
        target = self._connections.with_peer(note.peer)
        reason = self._problem(connection, target)
        if reason or target is None:
            _tell(connection, Refusal(note.channel, reason))
            return
        one = _Waiting(connection, note.channel, note.credit, target, self._channels_of(target).new_number())
        self._waiting[target, one.number] = one
        self._places.update((connection.peer_id, target.peer_id))
        one.timer = self._timers.at(now() + RELAY_ANSWER_SECONDS, lambda: self._refuse_waiting(one, "silent"))
        sinks = (
            (connection, one.channel, Asked(0, lambda: self._later(lambda: self._refuse_waiting(one, "no")))),
            (target, one.number, Asked(one.credit, lambda: self._later(lambda: self._refuse_waiting(one, "unknown")))),
        )
        added = [self._channels_of(end).add(number, sink) for end, number, sink in sinks]
        if not all(added) or not _tell(target, Opening(one.number, connection.peer_id, one.credit, passed_on=True)):
            self._refuse_waiting(one, "unknown")

    def _problem(self, connection: Connection, target: Connection | None) -> str:
        """Why not, as a word; or nothing."""
        config = self._config
        if not config.relay:
            return "off"
        if connection.relayed:
            return "relayed"
        if not self._allowances.take(connection.peer_id, now()):
            return "busy"
        if target is None or target is connection or target.relayed or not target.peer_id.proven:
            return "unknown"
        most = max(self._places[end.peer_id] for end in (connection, target))
        if len(self) >= config.relay_connections or most >= config.relay_connections_per_peer:
            return "full"
        return ""

    def accepted(self, connection: Connection, note: Acceptance) -> bool:
        """The one that was asked accepts; whether it was asked by us."""
        one = self._waiting.get((connection, note.channel))
        if one is None:
            return False
        self._take_off(one)
        asking, asked = (
            End(end.outbox, self._channels_of(end), number)
            for end, number in ((one.asking, one.channel), (one.asked, one.number))
        )
        rate = self._config.relay_bytes_per_second
        forward = Forward(asking, asked, (note.credit, one.credit), rate, self._at, self._ended)
        self._forwards[forward] = one.asking.peer_id, one.asked.peer_id
        self._places.update(self._forwards[forward])
        if forward.begin():
            log.info("relaying between %s and %s", *self._forwards[forward])
            if not _tell(one.asking, Acceptance(one.channel, note.credit)):
                forward.abort("the peer in the middle is too busy")
        return True

    def refused(self, connection: Connection, note: Refusal) -> bool:
        """The one that was asked refuses; whether it was asked by us."""
        one = self._waiting.get((connection, note.channel))
        if one is not None:
            self._channels_of(connection).remove(note.channel)
            self._refuse_waiting(one, "busy" if note.reason == "busy" else "no")
        return one is not None

    def _refuse_waiting(self, one: _Waiting, reason: str) -> None:
        """It will not be; who still has the channel is told."""
        if self._waiting.get((one.asked, one.number)) is not one:
            return
        self._take_off(one)
        if self._channels_of(one.asked).remove(one.number) is not None:
            _tell(one.asked, Abort(one.number, "nobody waits for it any more"))
        if self._channels_of(one.asking).remove(one.channel) is not None:
            _tell(one.asking, Refusal(one.channel, reason))

    def _take_off(self, one: _Waiting) -> None:
        del self._waiting[one.asked, one.number]
        self._places.subtract((one.asking.peer_id, one.asked.peer_id))
        self._places += Counter()
        if one.timer is not None:
            one.timer.cancel()

    # --- the end, and credit that has to wait; called by the readers of the two connections -----------------

    def _later(self, call: Callable[[], None]) -> None:
        self._inbox.put(notices.Do(call))

    def _at(self, seconds: float, call: Callable[[], None]) -> None:
        due = now() + seconds
        self._later(lambda: _ignore(self._timers.at(due, call)))

    def _ended(self, forward: Forward) -> None:
        self._later(lambda: self._over(forward))

    def _over(self, forward: Forward) -> None:
        ends = self._forwards.pop(forward, None)
        if ends is not None:
            log.info("relayed %d bytes between %s and %s", forward.bytes, *ends)
            self._places.subtract(ends)
            self._places += Counter()


def _tell(connection: Connection, note: Note) -> bool:
    return connection.outbox.put_control(control_frame(RELAY, note.content()))


def _ignore(_: Timer) -> None:
    """A timer that is never cancelled."""
