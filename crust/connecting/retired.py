"""`Retired`: connections that another one replaces, and that are still being read. Belongs to the manager thread.

What their peer sent there before it made the new one is still due, so the new one, the heir, waits until the reader of
the old one has ended.
"""

from typing import Final, NamedTuple

from crust.event import NewBootstrapConnection, NewConnection
from crust.links.connection import Connection
from crust.threads.clock import now
from crust.threads.timers import Timers

QUIET: Final = 0.25
"""Seconds without a byte after which a connection that its peer has replaced holds nothing more for us: what the peer
sent before it made the new one is on its way for as long as the new one's handshake took, or less."""
RELAYED_QUIET: Final = 5.0
"""The same for a relayed connection whose place a direct one takes: the peer is well, and says goodbye when it has sent
what was queued, which its credit may hold up. This is for one in the middle that falls silent."""
_REPLACED: Final = "the peer has made a new connection in place of this one"
DIRECT: Final = "a direct connection has taken its place"
"""The farewell of a relayed connection whose place a direct one takes."""
_OUTDONE: Final = "another connection of that peer, maybe a proven one, takes the place of this unproven one"


class Heir(NamedTuple):
    """A connection that waits until the one that it replaces is read to its end."""

    connection: Connection
    announcement: type[NewConnection] | type[NewBootstrapConnection]


class Retired:
    """See the module's text.

    Args:
        timers: the manager's.
    """

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._heirs: dict[Connection, Heir | None] = {}

    def __contains__(self, connection: object) -> bool:
        return connection in self._heirs

    def add(self, connection: Connection) -> None:
        """A connection is replaced; if it is not `Connection.started`, the next thing is to announce it."""
        self._heirs[connection] = None
        if connection.started:
            self.read_to_the_end(connection)

    def read_to_the_end(self, connection: Connection) -> None:
        """Say goodbye there, and end it when nothing comes any more."""
        quiet = RELAYED_QUIET if connection.farewell == DIRECT else QUIET
        connection.retire()
        self._look_after(connection, quiet, now() + quiet)

    def _look_after(self, connection: Connection, quiet: float, at: float) -> None:
        def look() -> None:
            if connection in self._heirs:
                # Who only claimed to be the peer may go on for ever; what is proven does not wait for that.
                left = quiet - connection.silence(now()) if connection.peer_id.proven else 0.0
                if left <= 0:
                    connection.abort()
                else:
                    self._look_after(connection, quiet, now() + left)

        self._timers.at(at, look)

    def wait_for(self, connection: Connection, heir: Heir) -> None:
        """``heir`` is to be announced when ``connection`` is over."""
        self._heirs[connection] = heir

    def pop(self, connection: Connection) -> Heir | None:
        """A connection is over; who has waited for that, if anybody."""
        return self._heirs.pop(connection, None)

    def pass_over(self, connection: Connection) -> Connection | None:
        """A connection that waited is given up: whoever waits for it waits in its place; for which one."""
        successor = self.pop(connection)
        for retired, heir in self._heirs.items():
            if heir is not None and heir.connection is connection:
                self._heirs[retired] = successor
                return retired
        return None

    def clear(self) -> None:
        """Forget them all: nothing is announced any more."""
        self._heirs.clear()


def why_replaced(connection: Connection) -> str:
    """What the user is told when a connection that was replaced is over."""
    if connection.farewell == DIRECT:
        return DIRECT
    return _REPLACED if connection.peer_id.proven else _OUTDONE
