"""The manager thread: it owns the connection table and decides everything; nothing blocks it.

Whatever happens elsewhere comes to its inbox: batches of messages from readers as ``(connection, events, weight)``, and
notices (`crust.connecting.notices`) from everybody else. It answers by telling connections, the dialer and the acceptor
what to do, and by giving events to the `Outlet`.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from crust.connecting import attempts, notices
from crust.connecting.attempts import Job, Race
from crust.connecting.negotiate import Established, Refused
from crust.connecting.notices import Ask
from crust.endpoint import Endpoint
from crust.errors import ManagerStopped, PeerMisbehaved
from crust.event import AnyEvent, ConnectionFailed, Flood, ListenerFailed, Misbehaviour, Stopped
from crust.limits import MAX_WAITING_CONNECTS
from crust.links.connection import Connection
from crust.links.connection_news import Flooded, PeerSaid, ReaderEnded, WriterEnded
from crust.links.peers import Candidate, Verdict
from crust.manager.parts import Hooks, Orders, make_parts
from crust.threads.clock import Deadline, now
from crust.threads.workers import start_thread
from crust.transport.utp import UtpSocket

log = logging.getLogger("crust.manager")

ABORT_GRACE: Final = 5.0
"""Seconds that threads of aborted connections and attempts get to end before `stop` gives up on them and says so. Only
a name look-up that hangs in the system's resolver can take so long: nothing can interrupt it."""


class ManagerCore:
    """The state of a manager and the thread that owns it.

    Args:
        orders: what the manager was made with.

    Raises:
        OSError, RuntimeError: this process has no descriptors or no threads left.
    """

    def __init__(self, orders: Orders) -> None:
        self.inbox = notices.Inbox()
        self.peer_id = orders.node.identity.peer_id
        self.stopped = threading.Event()
        self.left_behind = False
        """Whether this is a child of the process in which the manager runs."""
        self._blacklist = orders.blacklist
        hooks = Hooks(self._emit, self._alert, self._decide, self._on_came, self._on_went)
        parts = make_parts(orders, self.inbox, hooks)
        self._timers = parts.timers
        self._outlet = parts.outlet
        self._connections = parts.connections
        self._acceptor = parts.acceptor
        self._dialer = parts.dialer
        self._gate = parts.gate
        self.utp = parts.utp
        """The UDP sockets; any thread may open more."""
        self.finder = parts.finder
        self.reach = parts.reach
        self.routes = self._connections.routes
        """Connections by every endpoint that leads to them; any thread may look something up."""
        self._linger = Deadline(0.0)
        self._stopping = False
        self._bootstrapped: WeakKeyDictionary[Connection, Race] = WeakKeyDictionary()
        self._unread = 0  # messages that came during stop() and found no reader
        self._cut_off: set[Connection] = set()  # of these some were not delivered
        self._handlers = self._table_of_handlers()
        try:
            self.thread = start_thread("manager", self._run)
        except RuntimeError:
            self._acceptor.stop()
            raise

    def _table_of_handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each kind of notice."""
        return {
            Ask: self._on_ask,
            notices.Promoted: self._on_promoted,
            notices.Forsaken: lambda n: self._connections.forsake(n.candidate),
            attempts.AttemptSucceeded: self._on_attempt_succeeded,
            attempts.AttemptFailed: self._on_attempt_failed,
            attempts.Resolved: lambda n: self._dialer.resolved(n),
            notices.ListenerBroke: lambda n: self._emit(ListenerFailed(n.port, n.reason)),
            notices.Connect: self._on_connect,
            notices.Bootstrap: self._on_bootstrap,
            notices.Listen: self._on_listen,
            notices.Drop: lambda n: self._connections.drop(n.endpoint),
            notices.Stop: self._on_stop,
            notices.RoomMade: lambda _: self._outlet.flush(),
            ReaderEnded: self._on_reader_ended,
            WriterEnded: self._connections.writer_ended,
            PeerSaid: self._connections.peer_said,
            Flooded: self._on_flooded,
            notices.Besieged: lambda n: self._alert(Flood(n.endpoint, None, *n.alert)),
            notices.Misbehaved: lambda n: self._alert(Misbehaviour(n.endpoint, n.peer_id, n.reason)),
            **self.finder.handlers,
            **self.reach.handlers,
            **self._gate.handlers,
        }

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
        due = self._timers.next_deadline()
        try:
            item = self.inbox.get(timeout=self._patience(due))
        except queue.Empty:
            item = None
        try:
            if type(item) is tuple:
                self._on_messages(*item)
            elif item is not None:
                self._handlers[type(item)](item)
            elif self._outlet.congested:
                self._outlet.flush()
            if due is not None:
                self._timers.run_due(now())
        except Exception:
            # One bad notice (or a put() of the user's that raises) must not take every connection down with it.
            log.exception("handling of %r failed; please report this", item)

    def _patience(self, due: float | None) -> float | None:
        """Seconds until something has to be done although nothing came; ``None`` for ever."""
        wait = None if due is None else max(due - now(), 0.0)
        retry = self._outlet.retry_after
        if retry is not None:
            wait = retry if wait is None else min(wait, retry)
        return wait

    def _emit(self, event: AnyEvent) -> None:
        self._outlet.deliver((event,))

    def _alert(self, event: Flood | Misbehaviour) -> None:
        """Say that somebody means harm; but they must not fill the queue of a user who does not read."""
        log.warning("%r", event)
        if self._outlet.waiting <= MAX_WAITING_CONNECTS:
            self._emit(event)

    def _on_flooded(self, notice: Flooded) -> None:
        connection = notice.connection
        if connection.announced:
            self._alert(Flood(connection.endpoint, connection.peer_id, *notice.alert))

    def _on_messages(self, connection: Connection, events: Sequence[AnyEvent], weight: int) -> None:
        if not connection.wanted:
            connection.delivered(weight)  # dropped by the user meanwhile
        elif self._stopping and (self._outlet.congested or connection in self._cut_off):
            # Nobody reads events, and the stream is read on only to let our own last messages arrive. Even if somebody
            # begins to read: there must be no gap between the messages of a connection.
            self._cut_off.add(connection)
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
        if candidate.endpoint is not None and self._blacklist.refuses(candidate.endpoint, candidate.peer_id):
            return Verdict.REFUSED
        if self._outlet.waiting > MAX_WAITING_CONNECTS:
            return Verdict.FULL  # the user reads no events: each newcomer would add more
        return self._connections.decide(candidate)

    def _on_promoted(self, notice: notices.Promoted) -> None:
        if not self._gate.turns_away(notice.established):
            self._go_live(notice.established, bootstrap=False)

    def _go_live(self, established: Established, bootstrap: bool, names: Iterable[Endpoint] = ()) -> Connection | None:
        names = {*names, *self._dialer.names_expected(established.candidate)}
        connection = self._connections.go_live(established, bootstrap, names)
        if connection is not None:
            self._dialer.peer_connected(connection)
        return connection

    def _on_came(self, connection: Connection) -> None:
        self.finder.came(connection)
        self.reach.came(connection)

    def _on_went(self, connection: Connection) -> None:
        self.finder.went(connection)
        self.reach.went(connection)

    # --- outgoing ---------------------------------------------------------------------------------

    def _on_connect(self, notice: notices.Connect) -> None:
        found = [self.routes.get(endpoint) for endpoint in notice.endpoints]
        if self._stopping or any(connection and not connection.relayed for connection in found):
            return
        if len(self._dialer) >= MAX_WAITING_CONNECTS:
            reason = f"{MAX_WAITING_CONNECTS} calls of connect() are not done yet; wait for their events first"
            self._emit(ConnectionFailed(notice.endpoints, dict.fromkeys(notice.endpoints, reason)))
            return
        self._dialer.connect(notice.endpoints, Race(1), self._on_job_ended)

    def _on_job_ended(self, job: Job) -> None:
        if not job.connected and not self.reach.wishes.instead(job):
            self._emit(ConnectionFailed(job.endpoints, job.reasons()))

    def _on_attempt_succeeded(self, notice: attempts.AttemptSucceeded) -> None:
        attempt, established = notice.attempt, notice.established
        self._dialer.succeeded(notice)
        if self._gate.turns_away(established):
            error = Refused("that peer is on the blacklist", established.candidate.peer_id)
            self._dialer.failed(attempts.AttemptFailed(attempt, error, None))
            return
        connection = self._go_live(established, attempt.job.bootstrap, {attempt.given, attempt.target})
        if connection is None:
            text = "another connection with that peer, or of that name, took its place"
            error = Refused(text, established.candidate.peer_id, duplicate=True)
            self._dialer.failed(attempts.AttemptFailed(attempt, error, None))
            return
        if attempt.job.bootstrap:
            self._bootstrapped[connection] = attempt.job.race
        if attempt.repeatable:
            self.finder.dialled(attempt, established.candidate.peer_id)
        self._dialer.connected(attempt.job)

    def _on_reader_ended(self, notice: ReaderEnded) -> None:
        self._connections.reader_ended(notice)
        race = self._bootstrapped.pop(notice.connection, None)
        if race is not None and notice.refused and not self._stopping:
            self.finder.turned_away(race)

    def _on_attempt_failed(self, notice: attempts.AttemptFailed) -> None:
        if notice.candidate is not None:
            self._connections.forsake(notice.candidate)
            if isinstance(notice.error, PeerMisbehaved):
                self._alert(Misbehaviour(notice.attempt.target, notice.candidate.peer_id, str(notice.error)))
        if notice.attempt.repeatable and not notice.attempt.gives_way:
            self.finder.dialled_in_vain(notice.attempt, notice.error)
        self._dialer.failed(notice)

    def _on_bootstrap(self, notice: notices.Bootstrap) -> None:
        if not self._stopping:
            self.finder.bootstrap(notice.max_connections, notice.keep_going)

    def _on_listen(self, notice: notices.Listen) -> None:
        notice.start()
        if not self._stopping:
            self.finder.listening(notice.bound)
            self.reach.listening(notice.bound)

    # --- the end of everything --------------------------------------------------------------------

    def _on_stop(self, notice: notices.Stop) -> None:
        if not self._stopping:
            self._stopping = True
            self.finder.stop()
            self.reach.stop()
            self._gate.stop()
            self._dialer.stop()
            self._acceptor.stop()
            self._linger = Deadline(notice.linger)
        self._linger = self._linger.earlier(notice.linger)
        self._connections.dismiss_all(notice.linger)  # a second stop() may be less patient than the first

    def _is_quiet(self) -> bool:
        return self._connections.all_gone and self.inbox.empty()

    def _end(self) -> None:
        """Nothing is left but helpers that were told to end; wait for them and say the last word."""
        if not self._stopping:  # the loop crashed; the log has it
            self._on_stop(notices.Stop(0.0))
            self._connections.abort_all()
        self.inbox.closed = True
        self._reject_leftovers()
        grace = Deadline(ABORT_GRACE)
        if not (self._acceptor.join(grace.remaining()) and self._dialer.join(grace.remaining())):
            log.warning("a name look-up hangs in the system's resolver; its thread ends with it")
        self.reach.close()
        self._reject_leftovers()
        self.utp.close(self._linger)
        self.finder.close()
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
            if isinstance(item, notices.Promoted | attempts.AttemptSucceeded):
                item.established.link.stream.abort()
                item.established.link.stream.close()
            elif isinstance(item, Ask):
                item.answer.put(ManagerStopped("this node is stopping"))
            elif isinstance(item, notices.StatusAsked | notices.NatStatusAsked):
                item.answer.put(None)
            elif isinstance(item, notices.Listen):
                item.start()  # which closes the listeners now
            elif isinstance(item, notices.Do):
                item.call()  # which knows that all is over, and frees what it brings

    def leave_behind(self) -> None:
        """This process has been forked off, and the manager thread has not come along: nothing leads to it from now on.
        Takes no lock: whoever held it may be gone."""
        self.left_behind = True
        self.inbox.closed = True
        for connection in self.routes.values():
            connection.outbox.closed = True  # for send(), which may know it already
        self.routes.clear()

    def serve(self, listeners: list[Any], utp: Sequence[UtpSocket], tracer: Sequence[Any] = ()) -> None:
        """Accept from these sockets; this thread only."""
        if self._stopping:
            for listener in (*listeners, *tracer):
                listener.close()
        else:
            if (watch := self.finder.lan.watch_links()) is not None:
                self._acceptor.watch_links(watch, lambda: self.finder.lan.links_changed(watch))
            self._acceptor.listen(listeners, utp, tracer)
