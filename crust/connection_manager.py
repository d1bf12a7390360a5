"""`ConnectionManager`: the public face. It validates, hands over to the manager thread, and never waits for it except
where a call says so.
"""

import atexit
import logging
import os
import threading
import warnings
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self

from crust.config import Config
from crust.connecting import notices
from crust.connecting.dialing import NOT_DIALLED, TRACER_OFF
from crust.connecting.listening import open_listeners
from crust.connecting.negotiate import Node
from crust.defence.blacklist import Entry
from crust.defence.replays import ReplayFilter
from crust.endpoint import Endpoint, Port, Protocol
from crust.errors import ConfigError, LocalError, ManagerStopped, MessageTooLarge, NotConnected, TransportUnavailable
from crust.event import Stopped
from crust.identity import Identity, PeerId
from crust.links.connection_info import ConnectionInfo
from crust.links.outbox import Outbox
from crust.manager.admission import Admission
from crust.manager.core import ABORT_GRACE, ManagerCore
from crust.manager.outlet import Outlet
from crust.manager.parts import Orders
from crust.manager.reachability import Reachability
from crust.nat.interfaces import interface_addresses, own_endpoints
from crust.threads.clock import Deadline
from crust.transport import capture
from crust.transport.aead import supported_ciphers
from crust.transport.hello import SESSION_SIZE
from crust.transport.masking import network_keys
from crust.transport.tcp import explain

log = logging.getLogger("crust")

_running: "weakref.WeakSet[ManagerCore]" = weakref.WeakSet()
_LAST_RESORT_LINGER: Final = 2.0
"""Seconds that a manager which nobody stopped gets to deliver what is queued when the interpreter ends."""


class ConnectionManager(Admission, Reachability):
    """Encrypted connections to peers, reported as events on a queue.

    Every method may be called from any thread; none blocks, except `send` with a ``timeout``, `start_listening` (which
    opens sockets) and `stop`. Making a manager does no I/O and starts no thread. Use it in a ``with`` statement, or
    call `stop`; a manager that is simply forgotten is stopped when it is collected or when the program ends, with a
    warning. The first call that needs the manager thread starts it, and raises `LocalError` if this process has no
    threads or no descriptors left for that; it may be made again.

    Args:
        events: where events go: anything with ``put(item)``. ``crust.channel()`` is the fast choice; a
            ``queue.Queue`` or ``queue.SimpleQueue`` works as well.
        config: settings; ``None`` for the defaults.
        identity: who this node is; ``None`` for the identity file of the configuration, or else for a new identity.
        fallback_endpoints: contacts for `bootstrap`, beside those of the configuration.
        blacklist: who is not talked to; see `blacklist`.
        only: who alone is talked to; see `allow_only`. ``None`` for everybody.

    Raises:
        ConfigError: an argument is wrong, or the blacklist file of the configuration.
        IdentityError: the identity file of the configuration cannot be used.
    """

    def __init__(
        self,
        events: Any,
        config: Config | None = None,
        *,
        identity: Identity | None = None,
        fallback_endpoints: Iterable[Endpoint] = (),
        blacklist: Iterable[Entry] = (),
        only: Iterable[Entry] | None = None,
    ) -> None:
        if not callable(getattr(events, "put", None)):
            raise ConfigError(f"events is {events!r}, which has no put(): pass crust.channel() or queue.Queue()")
        self._events = events
        self._config = config if config is not None else Config()
        if identity is None:
            file = self._config.identity_file
            identity = Identity.load(file) if file is not None else Identity()
        self._identity = identity
        self._fallback = _endpoints(fallback_endpoints, "fallback_endpoints")
        super().__init__(self._config, blacklist, only)
        self._lock = threading.Lock()  # guards the three below
        self._core: ManagerCore | None = None
        self._stopped = False
        self._listening: list[Port] | None = None
        self._bound: list[Endpoint] = []
        self._max_message_size = self._config.max_message_size
        # Where the latest send() went: most calls go there again, without a look-up. Replaced whole, never changed.
        self._latest: tuple[Endpoint | None, Outbox] = (None, Outbox("", 0))

    # --- life -------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """Who this node is; ``manager.identity.peer_id`` is what its peers see."""
        return self._identity

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._config

    def _started(self) -> ManagerCore:
        """The manager thread, started by the first call that needs it. The lock must be held."""
        if self._stopped:
            raise ManagerStopped("this manager was stopped; make a new one")
        if self._core is None:
            node = Node(
                identity=self._identity,
                keys=network_keys(self._config.network, self._config.network_key),
                session=os.urandom(SESSION_SIZE),
                ciphers=supported_ciphers(),
                is_replay=ReplayFilter(),
                capture=capture.from_environment(),
            )
            orders = Orders(node, self._config, self._events, self._blacklist, self._fallback, self._blacklist_file)
            try:
                self._core = ManagerCore(orders)
            except OSError as error:
                raise LocalError(f"this node cannot be started: {explain(error)}") from error
            except RuntimeError as error:
                raise LocalError(
                    f"this node cannot be started: {error}; raise the limit of threads (ulimit -u)"
                ) from error
            _running.add(self._core)
            weakref.finalize(self, _abandon, self._core).atexit = False  # at exit, _stop_all waits for delivery
        return self._core

    def stop(self, timeout: float | None = None) -> None:
        """End everything in order: what is queued is delivered, every thread joined, every socket closed.

        The last event is `Event.Stopped`; connections end without a `LostConnection` of their own. Idempotent, from any
        thread, at any moment.

        Args:
            timeout: seconds that peers get to take what is queued for them, and to say goodbye; ``None`` for
                ``config.linger``. What has not been taken by then is given up.
        """
        linger = self._config.linger if timeout is None else max(timeout, 0.0)
        with self._lock:
            self._stopped = True
            core = self._core
            if core is None:
                core = self._core = _NEVER_STARTED
                Outlet(self._events, 1, 1, lambda: None).finish(Stopped())
        if not isinstance(core, ManagerCore):
            return
        core.inbox.put(notices.Stop(linger))
        _wait_for(core, linger)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- reaching others --------------------------------------------------------------------------

    def start_listening(self) -> list[Port]:
        """Accept connections: open the listeners of the configuration, for TCP and for uTP.

        The configured port (the "live port") is tried first, and a free one taken where it is busy; so look at what
        this returns. Where any uTP port will do, the number of the TCP port is tried first. Calling it again returns
        the same ports. When one of the two transports cannot be listened on, `Event.ListenerFailed` says why.

        Returns:
            The ports that are listened on; several where IPv4 and IPv6 could not share a number.

        Raises:
            ListenFailed: no port at all could be opened.
            ManagerStopped: the manager was stopped.
        """
        with self._lock:
            core = self._started()
            if self._listening is None:
                self._listening = self._open_listeners(core)
            return list(self._listening)

    def _open_listeners(self, core: ManagerCore) -> list[Port]:
        made = open_listeners(self._config, core.utp)
        self._bound = made.bound
        if self._bound:
            core.inbox.put(notices.Listen(lambda: core.serve(made.tcp, made.utp, made.tracer), self._bound))
            core.finder.lan.start(made.tcp_port, made.utp_port)
        for port, reason in made.failures.items():
            core.inbox.put(notices.ListenerBroke(port, reason))
        return list(dict.fromkeys(Port(bound.protocol, bound.port) for bound in self._bound))

    def get_own_endpoints(self) -> list[Endpoint]:
        """Where others can reach this node: the addresses of its interfaces with the ports that it listens on.

        Never port 0 and never an unspecified address; loopback addresses only where nothing else is listened on.
        Then the ports that routers let in, and the addresses that enough peers confirm (`Event.ExternalEndpoints`).
        Empty before `start_listening`.
        """
        addresses = interface_addresses()
        with self._lock:
            external = self._core.reach.outside.external if isinstance(self._core, ManagerCore) else ()
            return list(dict.fromkeys((*own_endpoints(self._bound, addresses), *external)))

    def connect(self, endpoints: Endpoint | Iterable[Endpoint]) -> None:
        """Connect to a peer. Returns at once; `Event.NewConnection` or `Event.ConnectionFailed` follows.

        All endpoints are tried, TCP first and uTP as the fallback, each a moment after the one before; the first to
        succeed wins and the others are dropped. Nothing happens when one of them is already connected. When the peer
        turns out to be connected under another endpoint (it dialled us at the same time, say), that one connection
        serves: the endpoints given here lead to it, and no second event is made.

        Args:
            endpoints: one endpoint, or several of one peer.

        Raises:
            TransportUnavailable: all endpoints are of tracer connections, and ``allow_tracer`` is not set; or all name
                relayed connections, which nobody can dial.
            ConfigError: there is no endpoint.
            ManagerStopped: the manager was stopped.
        """
        wanted = _endpoints(endpoints, "connect()")
        if not wanted:
            raise ConfigError("connect() was given no endpoint")
        if not self._config.allow_tracer and all(endpoint.protocol is Protocol.TRACER for endpoint in wanted):
            raise TransportUnavailable(f"{wanted[0]}: {TRACER_OFF}")
        if all(endpoint.is_relayed for endpoint in wanted):
            raise TransportUnavailable(f"{wanted[0]}: {NOT_DIALLED}")
        with self._lock:
            self._started().inbox.put(notices.Connect(wanted))

    def bootstrap(self, max_connections: int = 1, *, keep_going: bool = False) -> None:
        """Find a way into the network: by those that were known before, those on the LAN, those that peers tell of, the
        fallback endpoints and the configuration's ``hard_coded_contacts``.

        Returns at once and goes on, round after round with growing pauses, until at least one connection is made or the
        manager is stopped. Each connection made is reported as `Event.NewBootstrapConnection`. With
        ``override_default_bootstrap`` of the configuration, only its ``hard_coded_contacts`` are tried.

        Args:
            max_connections: how many connections to make at the most.
            keep_going: whether to begin again whenever all connections, of any kind, are lost.

        Raises:
            ConfigError: ``max_connections`` is less than 1.
            ManagerStopped: the manager was stopped.
        """
        if max_connections < 1:
            raise ConfigError(f"bootstrap(max_connections={max_connections!r}): at least 1 is needed")
        with self._lock:
            core = self._started()
            if not self._config.override_default_bootstrap:
                core.finder.lan.start()
            core.inbox.put(notices.Bootstrap(max_connections, keep_going))

    # --- talking ----------------------------------------------------------------------------------

    def send(self, endpoint: Endpoint, data: bytes | bytearray | memoryview, *, timeout: float | None = 0.0) -> None:
        """Queue a message for a peer. Messages of one connection arrive whole and in the order sent.

        Args:
            endpoint: of a connection, as its events name it, or as it was dialled.
            data: the message, at most ``config.max_message_size`` bytes. It may be changed after the call returns.
            timeout: seconds to wait for room in the queue; 0 does not wait, ``None`` waits for ever.

        Raises:
            NotConnected: there is no connection to ``endpoint``.
            MessageTooLarge: it is too large.
            SendQueueFull: there was no room in time; nothing was queued.
        """
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        if len(data) > self._max_message_size:
            raise MessageTooLarge(
                f"a message of {len(data)} bytes; the limit is {self._max_message_size} "
                "(max_message_size, to be raised on both sides)"
            )
        latest, outbox = self._latest
        if latest is not endpoint or outbox.closed:
            outbox = self._outbox_of(endpoint)
            self._latest = (endpoint, outbox)
        outbox.put(data, timeout)

    def _outbox_of(self, endpoint: Endpoint) -> Outbox:
        core = self._core
        connection = None if core is None else core.routes.get(endpoint)
        if connection is None:
            raise self._not_connected(endpoint)
        return connection.outbox

    def drop_node(self, endpoint: Endpoint) -> None:
        """End a connection: what is queued is delivered first (within ``config.linger``), then it is closed.

        No `LostConnection` is reported here (the peer gets one). Nothing happens when there is no such connection.
        """
        core = self._core
        connection = None if core is None else core.routes.get(endpoint)
        if core is not None and connection is not None:
            # In this order: once the outbox is closed the peer may be gone before we get to the next line, and then
            # its end must not look like a loss.
            core.inbox.put(notices.Drop(endpoint))
            connection.outbox.close()  # send() refuses from now on

    def peer_id(self, endpoint: Endpoint) -> PeerId:
        """Who is at the other end of a connection.

        Raises:
            NotConnected: there is no connection to ``endpoint``.
        """
        core = self._core
        connection = None if core is None else core.routes.get(endpoint)
        if connection is None:
            raise self._not_connected(endpoint)
        return connection.peer_id

    def connections(self) -> list[ConnectionInfo]:
        """A snapshot of all connections, oldest first."""
        core = self._core
        connections = {} if core is None else dict.fromkeys(list(core.routes.values()))
        return [connection.info() for connection in connections]

    def _not_connected(self, endpoint: object) -> NotConnected:
        if not isinstance(endpoint, Endpoint):
            return NotConnected(f"{endpoint!r} is not an Endpoint: use the one of the connection's events")
        advice = "the manager was stopped" if self._stopped else "wait for its NewConnection event, or connect() to it"
        return NotConnected(f"there is no connection to {endpoint}: {advice}")

    def _beacon_acceptor_port(self) -> int | None:
        """The UDP port where the beacon hears others; for tests only (MAID-1162). ``None``: there is no beacon."""
        core = self._core
        return core.finder.lan.acceptor_port if isinstance(core, ManagerCore) else None


class _NeverStarted:
    """Stands for the core of a manager that was stopped before it was used."""

    routes: Final[dict[Endpoint, Any]] = {}


_NEVER_STARTED: Final[Any] = _NeverStarted()


def _endpoints(given: Endpoint | Iterable[Endpoint], what: str) -> tuple[Endpoint, ...]:
    found = (given,) if isinstance(given, Endpoint) else tuple(given)
    for endpoint in found:
        if not isinstance(endpoint, Endpoint):
            raise ConfigError(f"{what}: {endpoint!r} is not an Endpoint: write Endpoint.parse({str(endpoint)!r})")
    return tuple(dict.fromkeys(found))


def _wait_for(core: ManagerCore, linger: float) -> None:
    """Wait until a manager that was told to stop has ended; far less than the limit unless a system call hangs."""
    if threading.current_thread() is core.thread:
        return  # stop() from inside the user's own put(): the thread cannot wait for itself
    deadline = Deadline(linger + 3 * ABORT_GRACE)
    if core.stopped.wait(deadline.remaining()):
        core.thread.join(deadline.remaining())
    else:
        log.error("the manager did not stop in time; please report this")


def _abandon(core: ManagerCore) -> None:
    """A manager was forgotten without `stop`: end it without waiting (this may run inside the garbage collector)."""
    if not core.stopped.is_set():
        core.inbox.put(notices.Stop(_LAST_RESORT_LINGER))
        # Last, because it raises where warnings are errors.
        warnings.warn("a ConnectionManager was dropped without stop()", ResourceWarning, stacklevel=2)


@atexit.register
def _stop_all() -> None:
    """The program ends with managers running: let them deliver what is queued."""
    cores = [core for core in _running if not core.stopped.is_set()]
    for core in cores:
        core.inbox.put(notices.Stop(_LAST_RESORT_LINGER))
    for core in cores:
        _wait_for(core, _LAST_RESORT_LINGER)
