"""The connections of a manager, from the choice to the last thread joined. Belongs to the manager thread.

A connection is *live* from its New... event until it is lost or dismissed; its threads may be at work a little longer,
until what is queued has gone out. The order is always the same: entered in the tables, announced, then its threads
start; and at the end: taken out of the tables, `LostConnection` if it is owed, then the threads end and are joined.
"""

import logging
from collections.abc import Callable

from crust import notices
from crust.clock import now, wall_time
from crust.config import Config
from crust.connection import Connection, PeerSaid, ReaderEnded, WriterEnded
from crust.endpoint import Endpoint
from crust.event import AnyEvent, LostConnection, NewBootstrapConnection, NewConnection
from crust.identity import PeerId
from crust.negotiate import Established
from crust.peers import Candidate, PeerTable, Verdict
from crust.timers import Timers
from crust.transport.framing import CHOOSE, CHOSEN, control_frame

log = logging.getLogger("crust.connections")


class Connections:
    """See the module's text.

    Args:
        own_id: who this node is.
        config: bounds and intervals.
        inbox: the manager's, for the connections' threads.
        timers: the manager's.
        emit: gives an event to the user.
    """

    def __init__(
        self,
        own_id: PeerId,
        config: Config,
        inbox: notices.Inbox,
        timers: Timers,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self.routes: dict[Endpoint, Connection] = {}
        """Connections by every endpoint that leads to them. Changed here only; any thread may look something up."""
        self._config = config
        self._inbox = inbox
        self._timers = timers
        self._emit = emit
        self._table = PeerTable(own_id, config.max_connections, config.max_connections_per_address)
        self._replaces: dict[Candidate, Candidate] = {}
        self._live: dict[Candidate, Connection] = {}
        self._all: set[Connection] = set()
        self._stopping = False

    @property
    def all_gone(self) -> bool:
        """Whether every thread of every connection has ended and been joined."""
        return not self._all

    # --- becoming a connection ------------------------------------------------------------------------

    def decide(self, candidate: Candidate) -> Verdict:
        """What becomes of an authenticated connection; with CHOOSE or WAIT it must go live or be forsaken."""
        verdict, replaced = self._table.register(candidate)
        if replaced is not None:
            self._replaces[candidate] = replaced
        return verdict

    def forsake(self, candidate: Candidate) -> None:
        """A candidate came to nothing after all."""
        self._table.remove(candidate)
        self._replace(candidate)

    def _replace(self, candidate: Candidate) -> None:
        """The peer has given up the connection that ``candidate`` was to replace; whatever became of the candidate."""
        replaced = self._replaces.pop(candidate, None)
        connection = self._live.get(replaced) if replaced is not None else None
        if connection is not None:
            self._lose(connection, "the peer has made a new connection in place of this one")

    def go_live(self, established: Established, bootstrap: bool) -> Connection | None:
        """A chosen connection becomes one that the user knows; ``None`` when it is not wanted any more."""
        candidate, stream = established.candidate, established.link.stream
        if established.peer_chose and not self._stopping:
            older = self._table.chosen_by_peer(candidate)
            if older is not None:
                self._replaces[candidate] = older
        self._replace(candidate)
        endpoint = stream.remote
        holder = self.routes.get(endpoint)
        taken = holder is not None and holder.endpoint == endpoint  # an alias gives way, a connection does not
        if self._stopping or taken or self._table.held(candidate.peer_id) is not candidate:
            self._table.remove(candidate)
            stream.abort()
            stream.close()
            return None
        link, since = established.link, wall_time()
        connection = Connection(candidate, link, endpoint, self._inbox, self._config, since, established.rtt)
        candidate.live = True
        self._all.add(connection)
        self._live[candidate] = connection
        self.routes[endpoint] = connection
        if established.peer_chose:
            connection.outbox.put_control(control_frame(CHOSEN, {"serial": candidate.serial}))
        kind = NewBootstrapConnection if bootstrap else NewConnection
        connection.announced = True
        self._emit(kind(endpoint, candidate.peer_id))
        self._start(connection)
        return connection

    def _start(self, connection: Connection) -> None:
        try:
            connection.start()
        except RuntimeError as error:
            self._lose(connection, f"no thread could be made for it ({error}): raise the limit of threads (ulimit -u)")
            self._thread_ended(connection, 0)
            return
        self._check_later(connection, now() + self._config.keepalive_interval)

    def peer_said(self, notice: PeerSaid) -> None:
        """A control frame came that the connection has no answer for; unknown ones are ignored."""
        candidate = notice.connection.candidate
        if notice.kind == CHOSEN:
            serial = notice.content.get("serial")
            if isinstance(serial, int) and candidate.peer_serial is None:
                candidate.peer_serial = serial
        elif notice.kind == CHOOSE:
            self._lose(notice.connection, "the peer broke the protocol: it chose a connection twice")

    def with_peer(self, peer_id: PeerId) -> Connection | None:
        """The live connection with a peer, if there is one."""
        candidate = self._table.held(peer_id)
        return None if candidate is None else self._live.get(candidate)

    def add_aliases(self, connection: Connection, endpoints: set[Endpoint]) -> None:
        """Let more endpoints lead to a connection, for as long as it lives."""
        for endpoint in endpoints:
            connection.aliases.add(endpoint)
            self.routes.setdefault(endpoint, connection)

    # --- the end of a connection ----------------------------------------------------------------------

    def reader_ended(self, notice: ReaderEnded) -> None:
        """A reader thread has read its last."""
        connection = notice.connection
        self._lose(connection, notice.reason, orderly=notice.goodbye)
        self._thread_ended(connection, 1)

    def writer_ended(self, notice: WriterEnded) -> None:
        """A writer thread has written its last."""
        connection = notice.connection
        if notice.error is not None:
            # The peer may have said something before it went: the reader is given time to find that.
            self._end_later(connection)
        self._thread_ended(connection, 1)

    def _lose(self, connection: Connection, reason: str, orderly: bool = False) -> None:
        """A connection is over and not by our wish: say so, once."""
        if connection.announced:
            connection.announced = False
            self._emit(LostConnection(connection.endpoint, connection.peer_id, reason))
        self._forget(connection)
        if orderly:
            connection.finish()  # what was queued before the goodbye still goes out
            self._end_later(connection)
        else:
            connection.abort()

    def drop(self, endpoint: Endpoint) -> None:
        """End a connection as the user wishes."""
        connection = self.routes.get(endpoint)
        if connection is not None:
            self._dismiss(connection, self._config.linger)

    def dismiss_all(self, linger: float) -> None:
        """End every connection because the manager stops; from now on none goes live."""
        self._stopping = True
        for connection in list(self._all):
            self._dismiss(connection, linger)

    def abort_all(self) -> None:
        """End everything at once and wait for it; after a crash of the manager's loop."""
        for connection in list(self._all):
            connection.abort()
            connection.release()
        self._all.clear()

    def _dismiss(self, connection: Connection, linger: float) -> None:
        """End a connection by our own wish: nothing is reported, what is queued goes out first."""
        connection.announced = False
        connection.wanted = self._stopping  # what was on its way to us when we stop is still delivered
        self._forget(connection)
        connection.finish()
        self._end_later(connection, linger)

    def _forget(self, connection: Connection) -> None:
        """Take a connection out of every table; its threads may still be at work."""
        self._table.remove(connection.candidate)
        self._live.pop(connection.candidate, None)
        for endpoint in (connection.endpoint, *connection.aliases):
            if self.routes.get(endpoint) is connection:
                del self.routes[endpoint]

    def _end_later(self, connection: Connection, linger: float | None = None) -> None:
        due = now() + (self._config.linger if linger is None else linger)
        self._timers.at(due, lambda: self._abort_if_there(connection))

    def _abort_if_there(self, connection: Connection) -> None:
        if connection in self._all:
            connection.abort()

    def _thread_ended(self, connection: Connection, count: int) -> None:
        connection.threads_left -= count
        if connection.threads_left == 0 and connection in self._all:
            connection.release()
            self._all.discard(connection)

    def _check_later(self, connection: Connection, at: float) -> None:
        self._timers.at(at, lambda: self._check(connection))

    def _check(self, connection: Connection) -> None:
        if connection.candidate not in self._live:
            return
        due = connection.check(now())
        if due is None:
            self._lose(connection, f"nothing was heard from the peer for {self._config.dead_after:g} s")
        else:
            self._check_later(connection, due)
