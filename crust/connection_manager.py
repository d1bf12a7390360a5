"""`ConnectionManager`: the public face. It validates, hands over to the manager thread, and never waits for it except
where a call says so.
"""

import os
import threading
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
from crust.manager import arguments, ending
from crust.manager.admission import Admission
from crust.manager.core import ManagerCore
from crust.manager.outlet import Outlet
from crust.manager.parts import Orders
from crust.manager.reachability import Reachability
from crust.nat.interfaces import interface_addresses, own_endpoints
from crust.transport import capture
from crust.transport.aead import supported_ciphers
from crust.transport.hello import SESSION_SIZE
from crust.transport.masking import network_keys
from crust.transport.tcp import explain


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
        arguments.check_events(events)
        self._events = events
        config = Config() if config is None else config
        self._config = arguments.instance(config, Config, "config", "Config(tcp_port=5483) or Config.load(path)")
        if identity is None:
            file = self._config.identity_file
            identity = Identity.load(file) if file is not None else Identity()
        self._identity = arguments.instance(identity, Identity, "identity", "Identity.load(path)")
        self._fallback = arguments.endpoints(fallback_endpoints, "fallback_endpoints")
        super().__init__(self._config, blacklist, only)
        # Held while the manager thread is made, and while listeners are opened. A signal handler may come amid that, on
        # the same thread, and call stop(): so it can be taken again, and who made something looks at _stopped after it.
        self._lock = threading.RLock()
        self._core: ManagerCore | None = None
        self._starting = False
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
        core = self._core
        if core is None and not self._stopped:
            with self._lock:
                core = self._core or self._start()
        if core is None or self._stopped:
            raise ManagerStopped("this manager was stopped; make a new one")
        if core.left_behind:
            raise ManagerStopped("this manager is that of the process that was forked; make a new one in the child")
        return core

    def _start(self) -> ManagerCore | None:
        """Start the manager thread. The lock must be held."""
        if self._starting:
            raise LocalError("this node is being started by the very call that a signal handler interrupts; call later")
        self._starting = True
        try:
            if not self._stopped:
                self._core = self._make_core()
                ending.look_after(self._core, self)
        finally:
            self._starting = False
            if self._stopped:  # by a signal handler, which could not wait for us
                self.stop(0.0)
        return self._core

    def _make_core(self) -> ManagerCore:
        node = Node(
            identity=self._identity,
            keys=network_keys(self._config.network, self._config.network_key),
            session=os.urandom(SESSION_SIZE),
            ciphers=supported_ciphers(),
            is_replay=ReplayFilter(),
            capture=capture.from_environment(),
        )
        try:
            return ManagerCore(
                Orders(node, self._config, self._events, self._blacklist, self._fallback, self._blacklist_file)
            )
        except OSError as error:
            raise LocalError(f"this node cannot be started: {explain(error)}") from error
        except RuntimeError as error:
            raise LocalError(f"this node cannot be started: {error}; raise the limit of threads (ulimit -u)") from error

    def stop(self, timeout: float | None = None) -> None:
        """End everything in order: what is queued is delivered, every thread joined, every socket closed.

        The last event is `Event.Stopped`; connections end without a `LostConnection` of their own. Idempotent, from any
        thread, at any moment. From a signal handler too; but if that interrupts another call of this manager, or of its
        queue, at the one moment in which that holds a lock, all ends only when the handler is done, and this returns
        without waiting for it.

        Args:
            timeout: seconds that peers get to take what is queued for them, and to say goodbye; ``None`` for
                ``config.linger``. What has not been taken by then is given up. Less than 0 counts as 0, and ages
                (``float("inf")``) as 6 days.

        Raises:
            ConfigError: ``timeout`` is not a number; nothing is stopped then.
        """
        linger = self._config.linger if timeout is None else arguments.seconds(timeout, "stop(timeout)")
        self._stopped = True  # first of all: who starts something meanwhile looks at it last of all
        if self._core is None:
            with self._lock:
                if self._core is None and not self._starting:  # by this very thread, if at all
                    self._core = _NEVER_STARTED
                    Outlet(self._events, 1, 1, lambda: None).finish(Stopped())
        core = self._core
        if isinstance(core, ManagerCore) and not core.left_behind:
            ending.end(core, linger)

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
        core = self._started()
        with self._lock:
            if self._listening is None:
                self._listening = self._open_listeners(core)
            return list(self._listening)

    def _open_listeners(self, core: ManagerCore) -> list[Port]:
        made = open_listeners(self._config, core.utp)
        self._bound = made.bound
        if self._bound:
            core.inbox.put(notices.Listen(lambda: core.serve(made.tcp, made.utp, made.tracer), self._bound))
            if core.inbox.closed:  # stopped meanwhile: nobody may have found it there. Those of uTP are closed.
                made.close_tcp()
                raise ManagerStopped("this manager was stopped while it opened its ports; make a new one")
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
        core, addresses = self._core, interface_addresses()
        external = core.reach.outside.external if isinstance(core, ManagerCore) else ()
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
        wanted = arguments.endpoints(endpoints, "connect()")
        if not wanted:
            raise ConfigError("connect() was given no endpoint")
        if not self._config.allow_tracer and all(endpoint.protocol is Protocol.TRACER for endpoint in wanted):
            raise TransportUnavailable(f"{wanted[0]}: {TRACER_OFF}")
        if all(endpoint.is_relayed for endpoint in wanted):
            raise TransportUnavailable(f"{wanted[0]}: {NOT_DIALLED}")
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
            ConfigError: ``max_connections`` is less than 1, or no whole number.
            ManagerStopped: the manager was stopped.
        """
        arguments.count(max_connections, "bootstrap(): max_connections")
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
            timeout: seconds to wait for room in the queue; 0 (and less) does not wait, ``None`` waits for ever, and so
                does ``float("inf")``.

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

        Raises:
            ConfigError: ``endpoint`` is none.
        """
        arguments.endpoint(endpoint, "drop_node()")
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
        if isinstance(self._core, ManagerCore) and self._core.left_behind:
            advice = "its manager is that of the process that was forked"
        return NotConnected(f"there is no connection to {endpoint}: {advice}")

    def _beacon_acceptor_port(self) -> int | None:
        """The UDP port where the beacon hears others; for tests only (MAID-1162). ``None``: there is no beacon."""
        core = self._core
        return core.finder.lan.acceptor_port if isinstance(core, ManagerCore) else None


class _NeverStarted:
    """Stands for the core of a manager that was stopped before it was used."""

    routes: Final[dict[Endpoint, Any]] = {}


_NEVER_STARTED: Final[Any] = _NeverStarted()
