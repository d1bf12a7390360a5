"""The connections of a manager, from the choice to the last thread joined. Belongs to the manager thread.

A connection is *live* from its New... event until it is lost or dismissed; its threads may be at work a little longer,
until what is queued has gone out. The order is always the same: entered in the tables, its threads start, announced;
and at the end: taken out of the tables, `LostConnection` if it is owed, then the threads end and are joined.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from crust.config import Config
from crust.connecting import notices
from crust.connecting.choice import REFUSALS, part
from crust.connecting.negotiate import Established
from crust.connecting.retired import DIRECT, Heir, Retired, why_replaced
from crust.defence.ledger import Ledger
from crust.endpoint import Endpoint, Protocol
from crust.event import AnyEvent, LostConnection, Misbehaviour, NewBootstrapConnection, NewConnection
from crust.identity import PeerId
from crust.links.claims import PeerTables
from crust.links.connection import Connection
from crust.links.connection_news import PeerSaid, ReaderEnded, WriterEnded
from crust.links.peers import Candidate, Verdict
from crust.links.reading import Reading
from crust.links.writing import Writing
from crust.threads.clock import now, wall_time
from crust.threads.timers import Timers
from crust.threads.workers import why_no_thread
from crust.transport.framing import CHOOSE, CHOSEN

log = logging.getLogger("crust.connections")

LAST_WORD: Final = 1.0
"""Seconds that the writer has to tell a peer why it is cut off. Nothing else is sent or delivered meanwhile."""


class Connections:
    """See the module's text.

    Args:
        own_id: who this node is.
        config: bounds and intervals.
        inbox: the manager's, for the connections' threads.
        timers: the manager's.
        emit: gives an event to the user.
        ledger: what comes from each address.
        came, went: called when a connection has become live, and when it is so no more.
    """

    def __init__(
        self,
        own_id: PeerId,
        config: Config,
        inbox: notices.Inbox,
        timers: Timers,
        emit: Callable[[AnyEvent], None],
        ledger: Ledger,
        came: Callable[[Connection], None] = lambda connection: None,
        went: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        self.routes: dict[Endpoint, Connection] = {}
        """Connections by every endpoint that leads to them. Changed here only; any thread may look something up."""
        self._config = config
        self._inbox = inbox
        self._timers = timers
        self._emit = emit
        self._ledger = ledger
        self._came = came
        self._went = went
        self._table = PeerTables(own_id, config.max_connections, config.max_connections_per_address)
        self._replaces: dict[Candidate, Candidate] = {}
        self._live: dict[Candidate, Connection] = {}
        self._all: set[Connection] = set()
        self._retired = Retired(timers)
        self._stopping = False

    @property
    def all_gone(self) -> bool:
        """Whether every thread of every connection has ended and been joined."""
        return not self._all

    @property
    def live(self) -> list[Connection]:
        """All that were chosen and are not over, also those that are to be announced yet."""
        return list(self._live.values())

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
        older = self._replaces.get(candidate)
        if older is not None and candidate.outdoes(older) and older in self._live and self._table.restore(older):
            del self._replaces[candidate]  # the peer has not given it up, so it goes on
        else:
            self._retire(candidate)

    def _retire(self, candidate: Candidate) -> Connection | None:
        """The peer has given up the connection that ``candidate`` was to replace, whatever became of the candidate; or
        it does so now, because ``candidate`` is direct.

        What is still on its way there has to be read first; then `LostConnection` is due, then the new connection.
        """
        replaced = self._replaces.pop(candidate, None)
        connection = self._live.get(replaced) if replaced is not None else None
        if connection is None:
            return None
        outdone = candidate.outdoes(connection.candidate)
        if outdone:
            connection.farewell = DIRECT
        elif not connection.started:
            return self._disinherit(connection)
        self._forget(connection)
        self._retired.add(connection)
        return connection

    def _disinherit(self, connection: Connection) -> Connection | None:
        """Give up a connection that was not announced yet; which one it waited for."""
        self._forget(connection)
        self._all.discard(connection)
        connection.abort()
        connection.release()
        return self._retired.pass_over(connection)

    def go_live(self, established: Established, bootstrap: bool, names: Iterable[Endpoint] = ()) -> Connection | None:
        """A chosen connection becomes one that the user knows; ``None`` when it is not wanted any more. ``names`` lead
        to it as well, from the moment that the user is told of it."""
        candidate, stream = established.candidate, established.link.stream
        if established.peer_chose and not self._stopping:
            older = self._table.chosen_by_peer(candidate)
            if older is not None:
                self._replaces[candidate] = older
        retired = self._retire(candidate)
        endpoint = stream.remote
        self._evict(endpoint, candidate)
        holder = self.routes.get(endpoint)
        taken = holder is not None and holder.endpoint == endpoint  # an alias gives way, a connection does not
        if self._stopping or taken or self._table.held(candidate.peer_id) is not candidate:
            self._table.remove(candidate)
            part(
                established.link,
                "bye",
                "the peer closed the connection" if self._stopping else REFUSALS[Verdict.DUPLICATE][1],
            )
            return None
        if candidate.peer_id.proven:
            self._ledger.proved(candidate.address)
        connection = Connection(candidate, established.link, endpoint, self._config, wall_time(), established.rtt)
        candidate.live = True
        self._all.add(connection)
        self._live[candidate] = connection
        self.routes[endpoint] = connection
        self.add_aliases(connection, names)
        self._came(connection)
        heir = Heir(connection, NewBootstrapConnection if bootstrap else NewConnection)
        if retired is None:
            self._announce(heir)
        else:
            self._retired.wait_for(retired, heir)
        return connection

    def _evict(self, endpoint: Endpoint, candidate: Candidate) -> None:
        """Over uTP a peer comes from the port that it listens on. Where another one was connected, that one is gone, or
        it would still have the port: it must not keep its successor out until its silence is noticed."""
        holder = self.routes.get(endpoint)
        if holder is None or holder.endpoint != endpoint or endpoint.protocol is not Protocol.UTP:
            return
        if holder.peer_id != candidate.peer_id and self._table.held(candidate.peer_id) is candidate:
            if holder.started:
                self._lose(holder, "another node has come from its address and port: this one must have ended")
            else:
                self._disinherit(holder)

    def _announce(self, new: Heir) -> None:
        connection = new.connection
        # Its threads first: whoever is told may end the program, and Python makes no threads any more when that ends.
        # What the reader finds waits in the inbox behind this.
        problem = self._start(connection)
        connection.announced = True
        self._emit(new.announcement(connection.endpoint, connection.peer_id))
        if problem is not None:
            self._lose(connection, problem)
            self._thread_ended(connection, 0)
        if connection not in self._retired:
            return
        if connection.started:
            self._retired.read_to_the_end(connection)  # a better one has come while it waited
        elif (heir := self._retired.pop(connection)) is not None:
            self._announce(heir)

    def _start(self, connection: Connection) -> str | None:
        """Start its threads; why that cannot be done."""
        reading = Reading(connection, self._inbox, self._config, self._ledger)
        try:
            connection.start(reading.run, Writing(connection, self._inbox).run)
        except RuntimeError as error:
            return f"no thread could be made for it ({why_no_thread(error)})"
        self._check_later(connection, now() + self._config.keepalive_interval)
        if connection.candidate.peer_serial is None:
            self._timers.at(now() + self._config.handshake_timeout, lambda: self._expect_answer(connection))
        return None

    def _expect_answer(self, connection: Connection) -> None:
        """Our choice may never have reached the peer. Then it has given the connection up, and would be refused as a
        duplicate for as long as we hold on to it: its serial, which would prove that, is in the missing answer."""
        candidate, patience = connection.candidate, self._config.handshake_timeout
        if candidate in self._live and candidate.peer_serial is None and connection.silence(now()) >= patience:
            reason = f"the peer did not answer within {patience:g} s that this connection was chosen"
            self._lose(connection, reason, told=_cut_off_for(reason))

    def peer_said(self, notice: PeerSaid) -> None:
        """A control frame about the choice came."""
        candidate = notice.connection.candidate
        if notice.kind == CHOSEN:
            if candidate.peer_serial is None:
                candidate.peer_serial = notice.serial
        elif notice.kind == CHOOSE:
            self.cut_off(notice.connection, "it chose a connection twice")

    def cut_off(self, connection: Connection, reason: str) -> None:
        """A peer broke the protocol, and that is the end of its connection."""
        self.misbehaved(connection, reason)
        self._lose(connection, f"the peer broke the protocol: {reason}", told=_cut_off_for(reason))

    def misbehaved(self, connection: Connection, reason: str) -> None:
        """A peer broke the protocol: say so, if its connection is one that the user knows."""
        if connection.announced:
            self._emit(Misbehaviour(connection.endpoint, connection.peer_id, reason))

    def with_peer(self, peer_id: PeerId) -> Connection | None:
        """The live connection with a peer, if there is one."""
        candidate = self._table.held(peer_id)
        return None if candidate is None else self._live.get(candidate)

    def add_aliases(self, connection: Connection, endpoints: Iterable[Endpoint]) -> None:
        """Let more endpoints lead to a connection, for as long as it lives."""
        for endpoint in endpoints:
            connection.aliases.add(endpoint)
            self.routes.setdefault(endpoint, connection)

    # --- the end of a connection ----------------------------------------------------------------------

    def reader_ended(self, notice: ReaderEnded) -> None:
        """A reader thread has read its last."""
        connection = notice.connection
        if notice.misbehaved:
            self.misbehaved(connection, notice.reason)
        retired = connection in self._retired
        reason = why_replaced(connection) if retired else _explained(connection, notice)
        outdone = connection.farewell == DIRECT  # then the peer reads on as well
        told = _cut_off_for(notice.reason) if notice.misbehaved or notice.excess else None
        self._lose(connection, reason, orderly=notice.goodbye and (outdone or not retired), told=told)
        self._thread_ended(connection, 1)
        heir = self._retired.pop(connection)
        if heir is not None:
            self._announce(heir)

    def writer_ended(self, notice: WriterEnded) -> None:
        """A writer thread has written its last."""
        connection = notice.connection
        if notice.error is not None:
            # The peer may have said something before it went: the reader is given time to find that.
            self._end_later(connection)
        self._thread_ended(connection, 1)

    def _lose(
        self, connection: Connection, reason: str, orderly: bool = False, told: tuple[str, str] | None = None
    ) -> None:
        """A connection is over and not by our wish: say so, once; to the peer as well if it is ``told``."""
        if connection.announced:
            connection.announced = False
            self._emit(LostConnection(connection.endpoint, connection.peer_id, reason))
        connection.wanted = False  # its reader may have more, but nothing follows LostConnection
        self._forget(connection)
        if orderly:
            connection.finish()  # what was queued before the goodbye still goes out
            self._end_later(connection, self._config.dead_after if connection.farewell == DIRECT else None)
        elif told is not None:
            connection.cut_off(*told)
            self._end_later(connection, LAST_WORD)
        else:
            connection.abort()

    def cast_out(self, refuses: Callable[[Endpoint, PeerId], bool], reason: str) -> None:
        """End all connections with those who are not welcome any more, at once, also those that are read to the end."""
        for connection in list(self._all):
            if refuses(connection.endpoint, connection.peer_id):
                self.give_up(connection, reason, REFUSALS[Verdict.REFUSED])

    def give_up(self, connection: Connection, reason: str, told: tuple[str, str] | None = None) -> None:
        """End a connection at once; nothing more can come of it. The peer is ``told`` a word and a text, if any."""
        if connection.started:
            self._lose(connection, reason, told=told)
        else:
            self._disinherit(connection)

    def drop(self, endpoint: Endpoint) -> None:
        """End a connection as the user wishes."""
        connection = self.routes.get(endpoint)
        if connection is not None:
            self._dismiss(connection, self._config.linger)

    def dismiss_all(self, linger: float) -> None:
        """End every connection because the manager stops; from now on none goes live."""
        self._stopping = True
        self._retired.clear()
        for connection in list(self._all):
            self._dismiss(connection, linger)

    def abort_all(self) -> None:
        """End everything at once and wait for it; after a crash of the manager's loop."""
        for connection in list(self._all):
            connection.abort()
            connection.release()
        self._all.clear()
        self._retired.clear()

    def _dismiss(self, connection: Connection, linger: float) -> None:
        """End a connection by our own wish: nothing is reported, what is queued goes out first."""
        if not connection.started:
            self._disinherit(connection)
            return
        connection.announced = False
        connection.wanted &= self._stopping  # what was on its way to us when we stop is still delivered
        self._forget(connection)
        connection.finish()
        self._end_later(connection, linger)

    def _forget(self, connection: Connection) -> None:
        """Take a connection out of every table; its threads may still be at work."""
        self._table.remove(connection.candidate)
        was_live = self._live.pop(connection.candidate, None) is not None
        for endpoint in (connection.endpoint, *connection.aliases):
            if self.routes.get(endpoint) is connection:
                del self.routes[endpoint]
        if was_live:
            self._went(connection)

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


def _cut_off_for(reason: str) -> tuple[str, str]:
    """What a peer is told that we cut off."""
    return "bye", f"cut off by the peer, which says: {reason}"


def _explained(connection: Connection, notice: ReaderEnded) -> str:
    return notice.reason if notice.goodbye or not connection.doubt else f"{connection.doubt}; {notice.reason}"
