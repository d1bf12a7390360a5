"""Accepting connections: one listener thread, and a bounded number of handshakes beside it.

The listener thread only accepts and hands over, so no stranger can delay another. A handshake runs on a thread of its
own with a deadline. When there are too many (in all, or from one address) the most overdue gives way: an honest peer
needs milliseconds, so under a flood of silent strangers it is they who are thrown out.
"""

import logging
import random
import selectors
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

from crust.clock import Deadline, now
from crust.config import Config
from crust.endpoint import Endpoint, Port
from crust.errors import CrustError, HandshakeFailed, RemoteError
from crust.negotiate import Established, Node, Refused, negotiate_incoming
from crust.notices import Ask, Forsaken, Inbox, ListenerBroke, Promoted, ask_manager
from crust.transport.tcp import OUT_OF_RESOURCES, TcpStream, explain
from crust.workers import WorkerPool, start_thread

log = logging.getLogger("crust.acceptor")

MAX_ACCEPTS: Final = 64
"""Accepts from one listener before the next has its turn."""
BREATHER: Final = 0.2
"""Seconds without accepting after the machine ran out of descriptors: at once it would be out of them again."""
MAX_REPLAY_TOKENS: Final = 65_536
"""First messages remembered to recognise a replay, a few megabytes; the oldest are forgotten."""
STRANGER_ALLOWANCE: Final = 0.1
"""Seconds that an honest peer may need to say its first word, and we to read it, before a place is worth more to
somebody else."""
MEMBER_ALLOWANCE: Final = 1.0
"""The same from when a peer has proved to be of our network until the end of the handshake: a round trip of the
network. If it dialled and has the greater id it may be sending already, so it is thrown out last."""
SHORTEST_SILENCE: Final = 0.5
"""Seconds; a stranger's socket is closed at a random moment between this and the handshake's deadline, so that the
moment says nothing about how far its message got."""


class ReplayFilter:
    """Remembers the first messages of handshakes, a bounded number of them. Any thread may call."""

    def __init__(self, limit: int = MAX_REPLAY_TOKENS) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def __call__(self, token: bytes) -> bool:
        """Whether ``token`` was seen before; it is from now on."""
        with self._lock:
            if token in self._seen:
                return True
            self._seen[token] = None
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return False


class HalfOpen:
    """An accepted connection whose handshake is not done. The places of an `Acceptor` hold it until then."""

    def __init__(self, acceptor: "Acceptor", sock: socket.socket, remote: Endpoint) -> None:
        self.remote = remote
        self._acceptor = acceptor
        self._sock = sock
        self._lock = threading.Lock()
        self._stream: TcpStream | None = None
        self._begun = False
        self._thrown_out = False

    def throw_out(self) -> None:
        """End it; its thread wakes. Any thread may call, any number of times."""
        with self._lock:
            self._thrown_out = True
            if self._stream is not None:
                self._stream.abort()
            elif not self._begun:
                self._sock.close()  # at once: under a flood its turn may come late

    def run(self) -> None:
        """Do the handshake; on a thread of the acceptor's pool."""
        try:
            stream = self._open()
            if stream is not None:
                self._negotiate(stream)
        except CrustError as error:
            log.debug("%s: %s", self.remote, error)
        finally:
            self._acceptor.forget(self)

    def _open(self) -> TcpStream | None:
        with self._lock:
            if self._thrown_out:
                return None
            self._begun = True
            self._stream = TcpStream(self._sock, self.remote)
            return self._stream

    def _negotiate(self, stream: TcpStream) -> None:
        acceptor = self._acceptor
        deadline = Deadline(acceptor.config.handshake_timeout)
        question = Ask()
        established: Established | None = None
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
            if not isinstance(error, Refused):
                self._keep_silent(stream, deadline)
            return
        finally:
            if established is None or not self._keep():
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
            self._stream = None
            return not self._thrown_out

    def _keep_silent(self, stream: TcpStream, deadline: Deadline) -> None:
        """Say nothing to a stranger, and let the moment of the end tell nothing either."""
        left = deadline.remaining() or 0.0
        stream.set_deadline(deadline.earlier(random.uniform(min(SHORTEST_SILENCE, left), left)))
        scrap = memoryview(bytearray(4096))
        try:
            while stream.receive_into(scrap):
                pass
        except RemoteError as error:
            log.debug("%s: silence ended: %s", self.remote, error)


class _Crowd:
    """Half-open connections, and who of them has to go when there are too many: whoever is overdue for longest."""

    def __init__(self) -> None:
        # When each is due. Both are in this order, because all of one kind are allowed the same time.
        self._strangers: OrderedDict[HalfOpen, float] = OrderedDict()
        self._members: OrderedDict[HalfOpen, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._members)

    def __iter__(self) -> Iterator[HalfOpen]:
        yield from self._strangers
        yield from self._members

    def add(self, stranger: HalfOpen) -> None:
        self._strangers[stranger] = now() + STRANGER_ALLOWANCE

    def prove(self, member: HalfOpen) -> None:
        if self._strangers.pop(member, None) is not None:
            self._members[member] = now() + MEMBER_ALLOWANCE

    def discard(self, one: HalfOpen) -> None:
        self._strangers.pop(one, None)
        self._members.pop(one, None)

    def most_overdue(self) -> HalfOpen | None:
        first = [next(iter(kind.items())) for kind in (self._strangers, self._members) if kind]
        return min(first, key=lambda one_and_due: one_and_due[1])[0] if first else None


class Acceptor:
    """Owns the listening sockets, the listener thread and the half-open connections.

    Args:
        node: for the handshakes.
        config: for the bounds.
        inbox: the manager's, for what comes of it.
        refuses: whether an address is not welcome; asked before anything is spent on it.
    """

    def __init__(self, node: Node, config: Config, inbox: Inbox, refuses: Callable[[str], bool]) -> None:
        self.node = node
        self.config = config
        self.inbox = inbox
        self._refuses = refuses
        self._pool = WorkerPool("handshake", config.max_half_open)
        self._lock = threading.Lock()
        self._half_open = _Crowd()
        self._by_address: dict[str, _Crowd] = {}
        self._selector = selectors.DefaultSelector()
        # Wakes the listener thread without a connection to ourselves.
        self._wake_send, self._wake_receive = socket.socketpair()
        self._wake_receive.setblocking(False)
        self._selector.register(self._wake_receive, selectors.EVENT_READ)
        self._listeners: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    def listen(self, listeners: list[socket.socket]) -> None:
        """Accept from these sockets, which are ours from now on. The manager's; once."""
        self._listeners = listeners
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread = start_thread("listener tcp", self._listen)

    def stop(self) -> None:
        """Close the listeners, throw out every half-open connection and join the listener thread. The manager's;
        once."""
        self._stopping = True
        self._wake_send.send(b"\0")
        if self._thread is not None:
            self._thread.join()
        for listener in self._listeners:
            listener.close()
        self._selector.close()
        self._wake_send.close()
        self._wake_receive.close()
        with self._lock:
            half_open = list(self._half_open)
        for one in half_open:
            one.throw_out()
        for job in self._pool.close():
            job()  # it was thrown out, so this only closes its socket

    def join(self, timeout: float | None) -> bool:
        """Wait for the handshake threads; whether all ended. After `stop`."""
        return self._pool.join(timeout)

    @property
    def half_open(self) -> int:
        """How many handshakes are in progress; any thread may ask."""
        return len(self._half_open)

    # --- the listener thread ----------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is not self._wake_receive and not self._stopping:
                    assert isinstance(key.fileobj, socket.socket)
                    self._accept_some(key.fileobj)

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
            self._admit(sock, address)

    def _accept_failed(self, listener: socket.socket, error: OSError) -> None:
        if error.errno in OUT_OF_RESOURCES:
            log.error("cannot accept connections: %s", explain(error))
            self._throw_one_out()
            self._take_a_breather()
            return
        self._selector.unregister(listener)
        port = Port.tcp(listener.getsockname()[1])
        self.inbox.put(ListenerBroke(port, explain(error)))

    def _take_a_breather(self) -> None:
        """Wait a moment, but wake at once when it is time to stop. Needs no descriptor: there are none left."""
        serving = [listener for listener in self._listeners if listener in self._selector.get_map()]
        for listener in serving:
            self._selector.unregister(listener)
        self._selector.select(BREATHER)
        for listener in serving:
            self._selector.register(listener, selectors.EVENT_READ)

    def _admit(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        try:
            remote = Endpoint.tcp(address)
            sock.setblocking(True)
        except (OSError, CrustError) as error:
            log.debug("accept: %s", error)
            sock.close()
            return
        if self._refuses(remote.host):
            sock.close()
            return
        half_open = HalfOpen(self, sock, remote)
        other = self._make_place(half_open)
        if other is not None:
            other.throw_out()
        try:
            accepted = self._pool.submit(half_open.run)
        except RuntimeError as error:
            advice = "raise the limit of threads (ulimit -u) or lower max_half_open"
            log.error("cannot accept %s: %s; %s", remote, error, advice)
            accepted = False
        if not accepted:
            self.forget(half_open)
            sock.close()

    def _make_place(self, new: HalfOpen) -> HalfOpen | None:
        """Enter ``new``; who has to go for it."""
        leaving = None
        with self._lock:
            own = self._by_address.get(new.remote.host, _Crowd())
            if len(own) >= self.config.max_half_open_per_address:
                leaving = own.most_overdue()
            elif len(self._half_open) >= self.config.max_half_open:
                leaving = self._half_open.most_overdue()
            if leaving is not None:
                self._remove(leaving)
            self._half_open.add(new)
            self._by_address.setdefault(new.remote.host, own).add(new)
        return leaving

    def _throw_one_out(self) -> None:
        with self._lock:
            one = self._half_open.most_overdue()
            if one is not None:
                self._remove(one)
        if one is not None:
            one.throw_out()

    def answered(self, half_open: HalfOpen) -> None:
        """The peer has proved to be of our network. Any thread may call."""
        with self._lock:
            self._half_open.prove(half_open)
            if half_open.remote.host in self._by_address:
                self._by_address[half_open.remote.host].prove(half_open)

    def forget(self, half_open: HalfOpen) -> None:
        """A handshake is over. Idempotent; any thread may call."""
        with self._lock:
            self._remove(half_open)

    def _remove(self, half_open: HalfOpen) -> None:
        self._half_open.discard(half_open)
        own = self._by_address.get(half_open.remote.host)
        if own is not None:
            own.discard(half_open)
            if not own:
                del self._by_address[half_open.remote.host]
