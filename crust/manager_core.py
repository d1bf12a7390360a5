"""The manager thread: it owns the connection table and decides everything; nothing blocks it.

Whatever happens elsewhere comes to its inbox: batches of messages from readers as ``(connection, events, weight)``, and
notices (`crust.notices`) from everybody else. It answers by telling connections, the dialer and the acceptor what to
do, and by giving events to the `Outlet`.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from crust import notices
from crust.acceptor import Acceptor
from crust.blacklist import Blacklist
from crust.bootstrap import Bootstrapper
from crust.clock import now
from crust.config import Config
from crust.connection import Connection, PeerSaid, ReaderEnded, WriterEnded
from crust.dialing import Dialer, Job, Race
from crust.endpoint import Endpoint
from crust.errors import ManagerStopped
from crust.event import (
    AnyEvent,
    ConnectionFailed,
    ListenerFailed,
    LostConnection,
    NewBootstrapConnection,
    NewConnection,
    Stopped,
)
from crust.identity import PeerId
from crust.limits import MAX_WAITING_CONNECTS
from crust.negotiate import Established, Node
from crust.notices import Ask
from crust.outlet import Outlet
from crust.peers import Candidate, PeerTable, Verdict
from crust.timers import Timers
from crust.transport.framing import CHOOSE, CHOSEN, control_frame
from crust.workers import start_thread

log = logging.getLogger("crust.manager")

ABORT_GRACE: Final = 5.0
"""Seconds that threads of aborted connections and attempts get to end before `stop` gives up on them and says so. Only
a name look-up that hangs in the system's resolver can take so long: nothing can interrupt it."""


class ManagerCore:
    """The state of a manager and the thread that owns it.

    Args:
        node: identity and keys.
        config: settings.
        events: the user's queue.
        blacklist: who is not talked to.
    """

    def __init__(self, node: Node, config: Config, events: Any, blacklist: Blacklist) -> None:
        self.inbox = notices.Inbox()
        self.routes: dict[Endpoint, Connection] = {}
        """Connections by every endpoint that leads to them. This thread changes it; any thread may look something
        up."""
        self.stopped = threading.Event()
        self._config = config
        self._blacklist = blacklist
        self._timers = Timers()
        self._outlet = Outlet(
            events, config.max_waiting_events, config.max_waiting_bytes, lambda: self.inbox.put(notices.RoomMade())
        )
        self._table = PeerTable(node.identity.peer_id, config.max_connections, config.max_connections_per_address)
        self._replaces: dict[Candidate, Candidate] = {}
        self._live: dict[Candidate, Connection] = {}
        self._all: set[Connection] = set()
        self._acceptor = Acceptor(node, config, self.inbox, blacklist.has_address)
        self._dialer = Dialer(
            node,
            config,
            self.inbox,
            self._timers,
            decide=self._decide,
            connection_with=self._connection_with,
            add_aliases=self._add_aliases,
            refuses=blacklist.has_address,
        )
        self._bootstrapper = Bootstrapper(config, self._dialer, self._timers)
        self._stopping = False
        self._unread = 0  # messages that came during stop() and found no reader
        self._handlers: dict[type, Callable[[Any], None]] = {
            Ask: self._on_ask,
            notices.Promoted: lambda n: self._go_live(n.established, None),
            notices.Forsaken: lambda n: self._forsake(n.candidate),
            notices.AttemptSucceeded: self._on_attempt_succeeded,
            notices.AttemptFailed: self._on_attempt_failed,
            notices.Resolved: lambda n: self._dialer.resolved(n),
            notices.ListenerBroke: lambda n: self._emit(ListenerFailed(n.port, n.reason)),
            notices.Connect: self._on_connect,
            notices.Bootstrap: self._on_bootstrap,
            notices.Listen: self._on_listen,
            notices.Drop: self._on_drop,
            notices.Stop: self._on_stop,
            notices.RoomMade: lambda _: self._outlet.flush(),
            ReaderEnded: self._on_reader_ended,
            WriterEnded: self._on_writer_ended,
            PeerSaid: self._on_peer_said,
        }
        self.thread = start_thread("manager", self._run)

    @property
    def half_open(self) -> int:
        """Handshakes of accepted connections in progress; any thread may ask."""
        return self._acceptor.half_open

    # --- the loop ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._stopping and self._is_quiet()):
                self._step()
        finally:
            try:
                self._end()
            finally:
                self.stopped.set()

    def _step(self) -> None:
        """Wait for the next thing and deal with it."""
        try:
            item = self.inbox.get(timeout=self._patience())
        except queue.Empty:
            item = None
        try:
            if type(item) is tuple:
                self._on_messages(*item)
            elif item is not None:
                self._handlers[type(item)](item)
            elif self._outlet.congested:
                self._outlet.flush()
            if self._timers.next_deadline() is not None:
                self._timers.run_due(now())
        except Exception:
            # One bad notice (or a put() of the user's that raises) must not take every connection down with it.
            log.exception("handling of %r failed; please report this", item)

    def _patience(self) -> float | None:
        """Seconds until something has to be done although nothing came; ``None`` for ever."""
        due = self._timers.next_deadline()
        wait = None if due is None else max(due - now(), 0.0)
        retry = self._outlet.retry_after
        if retry is not None:
            wait = retry if wait is None else min(wait, retry)
        return wait

    def _emit(self, event: AnyEvent) -> None:
        self._outlet.deliver((event,))

    def _on_messages(self, connection: Connection, events: Sequence[AnyEvent], weight: int) -> None:
        if not connection.wanted:
            connection.delivered(weight)  # dropped by the user meanwhile
        elif self._stopping and self._outlet.congested:
            # Nobody reads events, and the stream is read on only to let our own last messages arrive.
            self._unread += len(events)
            connection.delivered(weight)
        else:
            self._outlet.deliver(events, weight, connection.delivered)

    # --- becoming a connection --------------------------------------------------------------------

    def _on_ask(self, question: Ask) -> None:
        if self._stopping:
            question.answer.put(ManagerStopped("this node is stopping"))
        elif question.attempt is not None:
            self._dialer.asked(question)
        else:
            assert question.candidate is not None
            question.answer.put(self._decide(question.candidate))

    def _decide(self, candidate: Candidate) -> Verdict:
        if self._blacklist.has_peer(candidate.peer_id):
            return Verdict.REFUSED
        if self._outlet.waiting > MAX_WAITING_CONNECTS:
            return Verdict.FULL  # the user reads no events: each newcomer would add more
        verdict, replaced = self._table.register(candidate)
        if replaced is not None:
            self._replaces[candidate] = replaced
        return verdict

    def _forsake(self, candidate: Candidate) -> None:
        self._table.remove(candidate)
        self._replace(candidate)

    def _replace(self, candidate: Candidate) -> None:
        """The peer has given up the connection that ``candidate`` was to replace; whatever became of the candidate."""
        replaced = self._replaces.pop(candidate, None)
        connection = self._live.get(replaced) if replaced is not None else None
        if connection is not None:
            self._lose(connection, "the peer has made a new connection in place of this one")

    def _go_live(self, established: Established, job: Job | None) -> None:
        """A chosen connection becomes one that the user knows: table, event, then threads, in this order."""
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
            return
        connection = Connection(
            candidate, established.link, endpoint, self.inbox, self._config, time.time(), established.rtt
        )
        candidate.live = True
        self._all.add(connection)
        self._live[candidate] = connection
        self.routes[endpoint] = connection
        if established.peer_chose:
            connection.outbox.put_control(control_frame(CHOSEN, {"serial": candidate.serial}))
        kind = NewBootstrapConnection if job is not None and job.bootstrap else NewConnection
        connection.announced = True
        self._emit(kind(endpoint, candidate.peer_id))
        self._start(connection)
        self._dialer.peer_connected(connection)

    def _start(self, connection: Connection) -> None:
        try:
            connection.start()
        except RuntimeError as error:
            self._lose(connection, f"no thread could be made for it ({error}): raise the limit of threads (ulimit -u)")
            self._thread_ended(connection, 0)
            return
        self._check_later(connection, now() + self._config.keepalive_interval)

    def _on_peer_said(self, notice: PeerSaid) -> None:
        candidate = notice.connection.candidate
        if notice.kind == CHOSEN:
            serial = notice.content.get("serial")
            if isinstance(serial, int) and candidate.peer_serial is None:
                candidate.peer_serial = serial
        elif notice.kind == CHOOSE:
            self._lose(notice.connection, "the peer broke the protocol: it chose a connection twice")

    def _connection_with(self, peer_id: PeerId) -> Connection | None:
        candidate = self._table.held(peer_id)
        return None if candidate is None else self._live.get(candidate)

    # --- outgoing ---------------------------------------------------------------------------------

    def _on_connect(self, notice: notices.Connect) -> None:
        if self._stopping or any(endpoint in self.routes for endpoint in notice.endpoints):
            return
        if len(self._dialer) >= MAX_WAITING_CONNECTS:
            reason = f"{MAX_WAITING_CONNECTS} calls of connect() are not done yet; wait for their events first"
            self._emit(ConnectionFailed(notice.endpoints, dict.fromkeys(notice.endpoints, reason)))
            return
        self._dialer.connect(notice.endpoints, Race(1), self._on_job_ended)

    def _on_job_ended(self, job: Job) -> None:
        if not job.connected:
            self._emit(ConnectionFailed(job.endpoints, job.reasons()))

    def _on_attempt_succeeded(self, notice: notices.AttemptSucceeded) -> None:
        attempt, established = notice.attempt, notice.established
        if self._dialer.succeeded(notice):
            self._go_live(established, attempt.job)
            connection = self._live.get(established.candidate)
            if connection is not None:
                self._add_aliases(connection, {attempt.given, attempt.target})
            self._dialer.connected(attempt.job)
        else:
            self._forsake(established.candidate)
            established.link.stream.abort()
            established.link.stream.close()

    def _on_attempt_failed(self, notice: notices.AttemptFailed) -> None:
        if notice.candidate is not None:
            self._forsake(notice.candidate)
        self._dialer.failed(notice)

    def _add_aliases(self, connection: Connection, endpoints: set[Endpoint]) -> None:
        for endpoint in endpoints:
            connection.aliases.add(endpoint)
            self.routes.setdefault(endpoint, connection)

    def _on_bootstrap(self, notice: notices.Bootstrap) -> None:
        if not self._stopping:
            self._bootstrapper.start(notice.contacts, notice.max_connections)

    def _on_listen(self, notice: notices.Listen) -> None:
        notice.start()

    # --- the end of a connection ------------------------------------------------------------------

    def _on_reader_ended(self, notice: ReaderEnded) -> None:
        connection = notice.connection
        self._lose(connection, notice.reason, orderly=notice.goodbye)
        self._thread_ended(connection, 1)

    def _on_writer_ended(self, notice: WriterEnded) -> None:
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

    def _on_drop(self, notice: notices.Drop) -> None:
        connection = self.routes.get(notice.endpoint)
        if connection is not None:
            self._dismiss(connection, self._config.linger)

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

    # --- the end of everything --------------------------------------------------------------------

    def _on_stop(self, notice: notices.Stop) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._bootstrapper.stop()
        self._dialer.stop()
        self._acceptor.stop()
        for connection in list(self._all):
            self._dismiss(connection, notice.linger)

    def _is_quiet(self) -> bool:
        return not self._all and self.inbox.empty()

    def _end(self) -> None:
        """Nothing is left but helpers that were told to end; wait for them and say the last word."""
        if not self._stopping:  # the loop crashed; the log has it
            self._on_stop(notices.Stop(0.0))
            for connection in list(self._all):
                connection.abort()
                connection.release()
        self.inbox.closed = True
        self._reject_leftovers()
        if not (self._acceptor.join(ABORT_GRACE) and self._dialer.join(ABORT_GRACE)):
            log.warning("a name look-up hangs in the system's resolver; its thread ends with it")
        self._reject_leftovers()
        if self._unread:
            log.warning("%d messages came during stop() and were not delivered: nobody took events", self._unread)
        self._outlet.finish(Stopped())

    def _reject_leftovers(self) -> None:
        """What helpers reported after the loop had ended holds sockets: close them."""
        while True:
            try:
                item = self.inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, notices.Promoted | notices.AttemptSucceeded):
                item.established.link.stream.abort()
                item.established.link.stream.close()
            elif isinstance(item, Ask):
                item.answer.put(ManagerStopped("this node is stopping"))

    def serve(self, listeners: list[Any]) -> None:
        """Accept from these sockets; this thread only."""
        if self._stopping:
            for listener in listeners:
                listener.close()
        else:
            self._acceptor.listen(listeners)
