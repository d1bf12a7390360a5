"""Accepting connections: one listener thread, and a bounded number of handshakes beside it.

The listener thread only accepts and hands over, so no stranger can delay another; TCP and uTP are the same to it but
for how it learns that somebody is there. A handshake runs on a thread of its own with a deadline. When there are too
many (in all, or from one address) the most overdue gives way: an honest peer needs milliseconds, so under a flood of
silent strangers it is they who are thrown out.
"""

import logging
import random
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

from crust.config import Config
from crust.connecting.negotiate import Established, Node, Refused, negotiate_incoming
from crust.connecting.notices import Ask, Besieged, Forsaken, Inbox, ListenerBroke, Misbehaved, Promoted, ask_manager
from crust.defence.ledger import Ledger
from crust.defence.networks import neighbourhood, subscriber
from crust.defence.places import Places
from crust.discovery.link_watch import LinkWatch
from crust.endpoint import Endpoint, Port, Protocol
from crust.errors import CrustError, HandshakeFailed, PeerMisbehaved, RemoteError, TimedOut
from crust.links.peers import Candidate
from crust.threads.clock import Deadline
from crust.threads.waker import selector_with_waker
from crust.threads.workers import WorkerPool, start_thread
from crust.transport.base import Stream
from crust.transport.tcp import OUT_OF_RESOURCES, TcpStream, explain
from crust.transport.utp import UtpSocket

log = logging.getLogger("crust.acceptor")

MAX_ACCEPTS: Final = 64
"""Accepts from one listener before the next has its turn."""
BREATHER: Final = 0.2
"""Seconds without accepting after the machine ran out of descriptors: at once it would be out of them again."""
SHORTEST_SILENCE: Final = 0.5
"""Seconds; a stranger's socket is closed at a random moment between this and the handshake's deadline, so that the
moment says nothing about how far its message got."""


class HalfOpen:
    """An accepted connection whose handshake is not done. The places of an `Acceptor` hold it until then."""

    def __init__(self, acceptor: "Acceptor", stream: Stream) -> None:
        self.remote = stream.remote
        self.claimed = self.remote.protocol is Protocol.TRACER  # who they are, at the most; nothing is proved
        self.groups = tuple(dict.fromkeys((subscriber(self.remote.host), neighbourhood(self.remote.host))))
        """Whose places it takes: those of its address, and those of its neighbourhood."""
        self._acceptor = acceptor
        self._stream = stream
        self._lock = threading.Lock()
        self._begun = False
        self._kept = False
        self._thrown_out = False

    def throw_out(self) -> None:
        """End it; its thread wakes. Any thread may call, any number of times."""
        with self._lock:
            self._thrown_out = True
            if not self._kept:
                self._stream.abort()
            if not self._begun:
                self._stream.close()  # at once: under a flood its turn may come late

    def run(self) -> None:
        """Do the handshake; on a thread of the acceptor's pool."""
        try:
            if self._begins():
                self._negotiate()
        except CrustError as error:
            log.debug("%s: %s", self.remote, error)
        finally:
            self._acceptor.forget(self)

    def _begins(self) -> bool:
        with self._lock:
            self._begun = not self._thrown_out
            return self._begun

    def _negotiate(self) -> None:
        acceptor, stream = self._acceptor, self._stream
        deadline = Deadline(acceptor.config.handshake_timeout)
        question = Ask()
        established: Established | None = None
        refused = False
        try:
            established = negotiate_incoming(
                stream,
                acceptor.node,
                deadline,
                lambda candidate: ask_manager(acceptor.inbox, question, candidate, deadline),
                lambda: acceptor.answered(self),
            )
        except HandshakeFailed as error:
            log.info("%s: %s", self.remote, error)
            refused = isinstance(error, Refused)
            if not refused:
                acceptor.failed(self.remote)
                self._keep_silent(stream, deadline)
            return
        except PeerMisbehaved as error:
            acceptor.misbehaved(self.remote, question.candidate, error)
            raise
        finally:
            if established is None or not self._keep():
                if stream.remote.protocol is Protocol.UTP and not refused:
                    stream.abort()  # or a FIN would be repeated until the stranger acknowledges it
                stream.close()
                established = None
                if question.candidate is not None:
                    acceptor.inbox.put(Forsaken(question.candidate))
        if established is not None:
            acceptor.inbox.put(Promoted(established))

    def _keep(self) -> bool:
        """From now on nobody can throw it out; ``False`` when somebody has."""
        self._acceptor.forget(self)
        with self._lock:
            self._kept = not self._thrown_out
            return self._kept

    def _keep_silent(self, stream: Stream, deadline: Deadline) -> None:
        """Say nothing to a stranger, and let the moment of the end tell nothing either."""
        left = deadline.remaining() or 0.0
        stream.set_deadline(deadline.earlier(random.uniform(min(SHORTEST_SILENCE, left), left)))
        scrap = memoryview(bytearray(4096))
        try:
            while stream.receive_into(scrap):
                pass
        except RemoteError as error:
            log.debug("%s: silence ended: %s", self.remote, error)


class Acceptor:
    """Owns the listening sockets, the listener thread and the half-open connections.

    Args:
        node: for the handshakes.
        config: for the bounds.
        inbox: the manager's, for what comes of it.
        refuses: whether whoever is there is not welcome; asked before anything is spent on them.
        ledger: how much comes from each address.

    Raises:
        OSError: this process has no descriptors left.
    """

    def __init__(
        self, node: Node, config: Config, inbox: Inbox, refuses: Callable[[Endpoint], bool], ledger: Ledger
    ) -> None:
        self.node = node
        self.config = config
        self.inbox = inbox
        self._refuses = refuses
        self._ledger = ledger
        self._pool = WorkerPool("handshake", config.max_half_open)
        self._places: Places[HalfOpen] = Places(config.max_half_open, config.max_half_open_per_address)
        self._selector, self._waker = selector_with_waker()  # for who waits on a uTP socket, and for the end
        self._listeners: list[socket.socket] = []
        self._tracer: Sequence[socket.socket] = ()
        self._utp: Sequence[UtpSocket] = ()
        self._watch: LinkWatch | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._slowed = False  # whether too many have come from where the one comes from who is being let in

    def watch_links(self, watch: LinkWatch, changed: Callable[[], None]) -> None:
        """Have the listener thread wait for changes of the interfaces as well. The manager's, before `listen`.

        Args:
            watch: tells of them; ours from now on.
            changed: called on the listener thread; takes from ``watch`` what it has to tell, and must not block.
        """
        self._watch = watch
        self._selector.register(watch, selectors.EVENT_READ, changed)

    def listen(
        self, listeners: list[socket.socket], utp: Sequence[UtpSocket] = (), tracer: Sequence[socket.socket] = ()
    ) -> None:
        """Accept from these sockets, secure ones but for ``tracer``. The TCP ones are ours from now on; those of uTP
        have other uses. The manager's; once."""
        self._listeners = [*listeners, *tracer]
        self._tracer = tracer
        self._utp = utp
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread = start_thread("listener", self._listen)
        for sock in utp:
            sock.start_accepting(self._waker.wake)

    def stop(self) -> None:
        """Close the TCP listeners, let nobody in over uTP, throw out every half-open connection and join the listener
        thread. The manager's; once."""
        self._stopping = True
        for sock in self._utp:
            sock.stop_accepting()
        self._waker.wake()
        if self._thread is not None:
            self._thread.join()
        for listener in self._listeners:
            listener.close()
        if self._watch is not None:
            self._watch.close()
        self._selector.close()
        self._waker.close()
        for one in self._places.everybody():
            one.throw_out()
        for job in self._pool.close():
            job()  # it was thrown out, so this only closes its socket

    def join(self, timeout: float | None) -> bool:
        """Wait for the handshake threads; whether all ended. After `stop`."""
        return self._pool.join(timeout)

    @property
    def half_open(self) -> int:
        """How many handshakes are in progress; any thread may ask."""
        return len(self._places)

    # --- the listener thread ----------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    self._accept_utp()
                elif key.data is not None:
                    key.data()
                elif not self._stopping:
                    assert isinstance(key.fileobj, socket.socket)
                    self._accept_some(key.fileobj)

    def _accept_utp(self) -> None:
        self._waker.clear()  # before looking: who comes later wakes us again
        for sock in self._utp:
            try:
                for _ in range(MAX_ACCEPTS):
                    self._admit_stream(sock.accept(0.0))
                self._waker.wake()  # there may be more; the other listeners have their turn first
            except TimedOut:
                continue
            except CrustError as error:
                log.debug("accept: %s", error)

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError as error:  # the peer left before it was accepted
                log.debug("accept: %s", error)
                continue
            except OSError as error:
                self._accept_failed(listener, error)
                return
            self._admit(sock, Endpoint.tracer(address) if listener in self._tracer else Endpoint.tcp(address))

    def _accept_failed(self, listener: socket.socket, error: OSError) -> None:
        if error.errno in OUT_OF_RESOURCES:
            log.error("cannot accept connections: %s", explain(error))
            self._throw_one_out()
            self._take_a_breather()
            return
        self._selector.unregister(listener)
        number = listener.getsockname()[1]
        port = Port.tracer(number) if listener in self._tracer else Port.tcp(number)
        self.inbox.put(ListenerBroke(port, explain(error)))

    def _take_a_breather(self) -> None:
        """Wait a moment, but wake at once when it is time to stop. Needs no descriptor: there are none left."""
        serving = [listener for listener in self._listeners if listener in self._selector.get_map()]
        for listener in serving:
            self._selector.unregister(listener)
        self._selector.select(BREATHER)
        for listener in serving:
            self._selector.register(listener, selectors.EVENT_READ)

    def _admit(self, sock: socket.socket, remote: Endpoint) -> None:
        try:
            if self._refuses(remote) or not self._may_knock(remote):
                sock.close()
                return
            stream = TcpStream(sock, remote)
        except CrustError as error:
            log.debug("accept: %s", error)
            sock.close()
            return
        self._enter(stream)

    def _admit_stream(self, stream: Stream) -> None:
        # By its address alone somebody unwelcome would not have got so far, but a function may mean them.
        if self._refuses(stream.remote) or not self._may_knock(stream.remote):
            stream.abort()
            stream.close()
        else:
            self._enter(stream)

    def _enter(self, stream: Stream) -> None:
        """A stranger has come: into the handshake."""
        half_open = HalfOpen(self, stream)
        known = not half_open.claimed and self._ledger.knows(half_open.remote.host)
        other = self._places.enter(half_open, known, self._slowed)
        if other is not None:
            other.throw_out()
        try:
            accepted = self._pool.submit(half_open.run)
        except RuntimeError as error:
            advice = "raise the limit of threads (ulimit -u) or lower max_half_open"
            log.error("cannot accept %s: %s; %s", stream.remote, error, advice)
            accepted = False
        if not accepted:
            self.forget(half_open)
            half_open.throw_out()

    def _may_knock(self, remote: Endpoint) -> bool:
        """Whether somebody may try to prove themselves, or too many have come from there."""
        judgement = self._ledger.knock(remote.host, claimed=remote.protocol is Protocol.TRACER)
        for alert in judgement.alerts:
            self.inbox.put(Besieged(remote, alert))
        self._slowed = judgement.pause > 0
        return judgement.over is None

    def failed(self, remote: Endpoint) -> None:
        """Somebody could not prove to be of our network. Any thread may call."""
        for alert in self._ledger.failed(remote.host, claimed=remote.protocol is Protocol.TRACER).alerts:
            self.inbox.put(Besieged(remote, alert))

    def misbehaved(self, remote: Endpoint, candidate: Candidate | None, error: PeerMisbehaved) -> None:
        """Somebody broke the protocol, before or after they had proved who they are. Any thread may call."""
        if candidate is None:
            self.failed(remote)
        else:
            self.inbox.put(Misbehaved(remote, candidate.peer_id, str(error)))

    def cast_out(self) -> None:
        """Throw out everybody who comes from where nobody is welcome any more. Any thread may call."""
        for one in self._places.everybody():
            if self._refuses(one.remote):
                one.throw_out()

    def _throw_one_out(self) -> None:
        one = self._places.take_most_overdue()
        if one is not None:
            one.throw_out()

    def answered(self, half_open: HalfOpen) -> None:
        """The peer has proved to be of our network. Any thread may call."""
        if not half_open.claimed:  # else it has proved nothing
            self._places.prove(half_open)

    def forget(self, half_open: HalfOpen) -> None:
        """A handshake is over. Idempotent; any thread may call."""
        self._places.leave(half_open)
