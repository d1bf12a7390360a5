"""`Moves`: which connections this machine has left behind when its addresses change. Belongs to the manager thread.

A TCP connection has one address of ours for life, and ends with it, though nobody says so: packets for it come here no
more. Over uTP the socket is bound to no address, and the system chooses one for each packet, by its routes. The peer
knows the connection by the address that it began with. So `Moves` remembers which one that was.
"""

import enum
import ipaddress
import logging
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from crust.connecting.connections import Connections
from crust.links.connection import Connection
from crust.nat.source_address import source_towards
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers

log = logging.getLogger("crust.moves")

ADDRESS_GRACE: Final = 2.0
"""Seconds that an address may be away before the connections over it are lost. When an interface is switched off and
on, or a lease is renewed, it is back by then, and TCP goes on; who has moved is not to wait for long."""
ANSWER_TIME: Final = 5.0
"""Seconds to answer, for peers over uTP to whom our packets now go from another address. Those who can answer at all do
so in a second, or in three when something is lost on the way."""
ASK_PAUSE: Final = 1.0
"""Seconds from one round of questions to the next, at least: an interface may come and go many times a second."""


class Footing(NamedTuple):
    """Our end of a connection.

    Attributes:
        host: our address as the peer knows it, without a scope.
        roams: whether packets take another one when the routes change.
    """

    host: str
    roams: bool


class Standing(enum.Enum):
    """How our end of a connection stands."""

    FIRM = "firm"
    """As before."""
    GONE = "gone"
    """The machine no longer has the address."""
    ELSEWHERE = "elsewhere"
    """It has, but packets to the peer bear another one."""


def standing(footing: Footing, addresses: Collection[str], source: str | None) -> Standing:
    """What has become of an end of ours.

    Args:
        footing: the end.
        addresses: all of this machine.
        source: the one from which packets go to the peer now; ``None`` if there is no way, or if it does not matter.
    """
    if footing.host not in addresses:
        return Standing.GONE
    if footing.roams and source is not None and source != footing.host:
        return Standing.ELSEWHERE
    return Standing.FIRM


class _Suspect(NamedTuple):
    asked: float  # when the peer was asked for a sign of life
    due: float  # when its connection is judged


class Moves:
    """See the module's text.

    Args:
        timers: the manager's.
        connections: the manager's.
        addresses: looks at this machine's.
    """

    def __init__(self, timers: Timers, connections: Connections, addresses: Callable[[], Collection[str]]) -> None:
        self._timers = timers
        self._connections = connections
        self._addresses = addresses
        self._known: frozenset[str] | None = None
        self._footings: dict[Connection, Footing] = {}
        self._suspects: dict[Connection, _Suspect] = {}
        self._asked = float("-inf")  # all of them
        self._timer: Timer | None = None

    def came(self, connection: Connection) -> None:
        """A connection has become live."""
        footing = None if connection.relayed else _footing(connection)
        if footing is not None:
            self._footings[connection] = footing

    def went(self, connection: Connection) -> None:
        """One is so no more."""
        self._footings.pop(connection, None)
        self._suspects.pop(connection, None)

    def stop(self) -> None:
        """Judge nobody any more."""
        self._suspects.clear()
        self._arm()

    def look(self, addresses: Collection[str]) -> frozenset[str]:
        """This machine has these addresses now. The first time, nothing follows.

        Returns:
            Those that it did not have the last time.
        """
        before, self._known = self._known, frozenset(addresses)
        if before is None:
            return frozenset()
        moment, changed = now(), before != self._known
        if changed:
            self._ask_all(moment)
        for connection, footing in self._footings.items():
            # An address that was never listed (127.0.0.2, say) may serve all the same. Routes change without addresses.
            if connection in self._suspects or (footing.host in before and (changed or footing.roams)):
                self._suspect(connection, footing, moment)
        self._arm()
        return self._known - before

    def _ask_all(self, moment: float) -> None:
        """Whoever cannot be reached any more has to be noticed, and whose way is another one now learns its time."""
        if moment - self._asked < ASK_PAUSE:
            return
        self._asked = moment
        for connection in self._footings:
            connection.ping(moment)

    def _suspect(self, connection: Connection, footing: Footing, moment: float) -> None:
        assert self._known is not None
        found = standing(footing, self._known, _source(connection, footing))
        if found is Standing.FIRM:
            self._acquit(connection)
            return
        older = self._suspects.get(connection)
        asked, due = moment, moment + (ADDRESS_GRACE if found is Standing.GONE else ANSWER_TIME)
        if older is not None:
            asked, due = older.asked, min(older.due, due)
        elif self._asked != moment:
            connection.ping(moment)
        self._suspects[connection] = _Suspect(asked, due)
        connection.doubt = _in_words(footing, found)
        log.debug("%s: %s", connection.endpoint, connection.doubt)

    def _acquit(self, connection: Connection) -> None:
        if self._suspects.pop(connection, None) is not None:
            connection.doubt = ""

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._suspects:
            self._timer = self._timers.at(min(each.due for each in self._suspects.values()), self._judge)

    def _judge(self) -> None:
        moment, addresses = now(), frozenset(self._addresses())
        for connection, suspect in list(self._suspects.items()):
            if suspect.due <= moment and connection in self._suspects:
                self._judge_one(connection, suspect, moment, addresses)
        self._arm()

    def _judge_one(self, connection: Connection, suspect: _Suspect, moment: float, addresses: frozenset[str]) -> None:
        footing = self._footings[connection]
        found = standing(footing, addresses, _source(connection, footing))
        if found is Standing.FIRM:
            self._acquit(connection)
        elif footing.roams and connection.silence(moment) < moment - suspect.asked:
            # It lives, whatever we think of its way (or is not read now); but for how long?
            connection.ping(moment)
            self._suspects[connection] = _Suspect(moment, moment + ANSWER_TIME)
        elif found is Standing.ELSEWHERE and moment - suspect.asked < ANSWER_TIME:
            self._suspects[connection] = _Suspect(suspect.asked, suspect.asked + ANSWER_TIME)
        else:
            self._connections.give_up(connection, _in_words(footing, found))


def _in_words(footing: Footing, found: Standing) -> str:
    if found is Standing.GONE:
        return f"this machine no longer has the address {footing.host}, which the connection needs"
    return f"this machine no longer sends to the peer from {footing.host}, by which the peer knows the connection"


def _footing(connection: Connection) -> Footing | None:
    host = connection.local.host.partition("%")[0]
    if not ipaddress.ip_address(host).is_unspecified:
        return Footing(host, roams=False)
    source = source_towards(connection.endpoint)
    return None if source is None else Footing(source, roams=True)


def _source(connection: Connection, footing: Footing) -> str | None:
    return source_towards(connection.endpoint) if footing.roams else None
