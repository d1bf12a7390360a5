"""Small tools for tests of managers: nodes on loopback, expectations with deadlines, and nothing that sleeps."""

import inspect
import itertools
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import crust
from crust import Config, ConnectionManager, Endpoint, Event, Identity, NotConnected, PeerId, SendQueueFull
from crust.defence.blacklist import Entry
from crust.event import AnyEvent
from crust.links.connection_info import ConnectionInfo
from tests.manager.order import OrderJudge

SCALE = float(os.environ.get("CRUST_TEST_SCALE", "1"))
"""Multiplies every wait of these tests. A test that passes never waits so long; one that hangs should say so soon."""
PATIENCE = 90.0 * SCALE  # seconds for anything that must happen, however busy the machine is
LOOPBACK = "127.0.0.1"
_POLL = 0.002  # seconds between two looks at something that cannot wake us


def loopback_config(**settings: Any) -> Config:
    """Settings for a node that only this machine can reach; over TCP alone where they do not say.

    Dials and handshakes get more time than users give them: here many nodes share one interpreter, maybe on a busy
    machine.
    """
    settings.setdefault("dial_timeout", PATIENCE / 2)
    settings.setdefault("handshake_timeout", PATIENCE / 2)
    settings.setdefault("listen_addresses", (LOOPBACK,))
    settings.setdefault("utp_port", None)
    settings.setdefault("beacon_port", None)
    return Config(upnp=False, **settings)


def only_over(transport: str) -> dict[str, Any]:
    """Settings for a node that listens on one transport."""
    return {"tcp_port": None, "utp_port": 0} if transport == "utp" else {}


def wait_until(predicate: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return as soon as ``predicate()`` is true; fail with its source when that takes too long."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {_source(predicate)}")
        pause.wait(_POLL)


def _source(predicate: Callable[..., object]) -> str:
    try:
        return inspect.getsource(predicate).strip()
    except OSError:
        return repr(predicate)


def two_identities() -> tuple[Identity, Identity]:
    """Two fresh ones, the lesser id first: of two peers the greater one chooses among duplicates."""
    first, second = sorted((Identity(), Identity()), key=lambda identity: identity.peer_id)
    return first, second


@dataclass
class Capacity:
    """How much room the channels of a node have."""

    make_events: Callable[[], Any] = crust.channel
    settings: dict[str, Any] = field(default_factory=dict)
    small: bool = False


class Node:
    """A manager and a user who reads every event at once, remembers it, and has it judged.

    Args:
        capacity: room of its channels.
        config: its settings; ``None`` for those of a node on loopback with ``settings`` changed.
        identity: who it is.
        fallback: contacts for ``bootstrap()``.
        blacklist: whom it does not talk to.
        only: whom alone it talks to.
        listen: whether to listen at once.
    """

    def __init__(
        self,
        capacity: Capacity | None = None,
        config: Config | None = None,
        *,
        identity: Identity | None = None,
        fallback: Iterable[Endpoint] = (),
        blacklist: Iterable[Entry] = (),
        only: Iterable[Entry] | None = None,
        listen: bool = True,
        **settings: Any,
    ) -> None:
        capacity = capacity or Capacity()
        self.events = capacity.make_events()
        self.manager = ConnectionManager(
            self.events,
            config or loopback_config(**{**capacity.settings, **settings}),
            identity=identity,
            fallback_endpoints=fallback,
            blacklist=blacklist,
            only=only,
        )
        self.id = self.manager.identity.peer_id
        self._changed = threading.Condition()
        self._judge = OrderJudge(self.id)
        self.log: list[AnyEvent] = []
        self.count: Counter[str] = Counter()  # of events, by the name of their variant
        self.messages: dict[Endpoint, list[bytes]] = defaultdict(list)
        self.heard: dict[PeerId, list[bytes]] = defaultdict(list)  # messages by peer, across its connections
        self.peers: dict[Endpoint, PeerId] = {}
        self.news: list[AnyEvent] = []
        self.stopped = False
        if listen:
            self.manager.start_listening()
        self._reader = threading.Thread(target=self._read, name="test-events")
        self._reader.start()

    def __repr__(self) -> str:
        return f"<Node {self.id}: {dict(self.count)}>"

    # --- the user who reads -----------------------------------------------------------------------

    def _read(self) -> None:
        while not self.stopped:
            event = self.events.get()
            with self._changed:
                self._take(event)
                while not self.stopped and not self.events.empty():
                    self._take(self.events.get())
                self._changed.notify_all()

    def _take(self, event: AnyEvent) -> None:
        self.log.append(event)
        self.count[type(event).__name__] += 1
        self._judge.take(event)
        match event:
            case Event.NewMessage(endpoint, data):
                self.messages[endpoint].append(data)
                self.heard[self.peers[endpoint]].append(data)
            case Event.NewConnection(endpoint, peer_id) | Event.NewBootstrapConnection(endpoint, peer_id):
                self.peers[endpoint] = peer_id
                self.news.append(event)
            case Event.Stopped():
                self.stopped = True

    # --- waiting ----------------------------------------------------------------------------------

    def wait(self, predicate: Callable[["Node"], object], patience: float = PATIENCE) -> None:
        """Return as soon as the events so far satisfy ``predicate``."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), patience):
                raise AssertionError(
                    f"{self!r} not within {patience:g} s: {_source(predicate)}; its log: {self.tail()}"
                )

    def tail(self, most: int = 12, without: type[Any] | None = None) -> str:
        """The latest events, for messages."""
        log = [event for event in self.log if without is None or not isinstance(event, without)]
        return "\n  ".join(["", *map(repr, log[-most:])])

    def expect(self, kind: type[Any], count: int = 1) -> Any:
        """Wait for the ``count``-th event of a kind (from 1) and give it back."""
        name = kind.__name__
        self.wait(lambda node: node.count[name] >= count)
        with self._changed:
            return next(itertools.islice((e for e in self.log if type(e) is kind), count - 1, None))

    def link(self, peer: "Node | PeerId") -> Endpoint:
        """Wait until a peer is connected; the endpoint of that connection."""
        peer_id = peer if isinstance(peer, PeerId) else peer.id
        self.wait(lambda node: any(event.peer_id == peer_id for event in node.news))
        return next(event.endpoint for event in reversed(self.news) if event.peer_id == peer_id)

    def losses(self, peer: "Node | PeerId") -> list[Any]:
        """The `LostConnection` events about a peer so far."""
        peer_id = peer if isinstance(peer, PeerId) else peer.id
        with self._changed:
            return [event for event in self.log if isinstance(event, Event.LostConnection) and event.peer_id == peer_id]

    def expect_messages(self, peer: "Node | PeerId", expected: Sequence[bytes]) -> None:
        """Wait for as many messages from a peer; they must be these, in this order."""
        peer_id = peer if isinstance(peer, PeerId) else peer.id
        self.wait(lambda node: len(node.heard[peer_id]) >= len(expected))
        assert self.heard[peer_id] == list(expected)

    # --- doing ------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; of several transports, the first."""
        port = self.manager.start_listening()[0]
        return Endpoint(port.protocol, LOOPBACK, port.port)

    def at(self, host: str) -> Endpoint:
        """Where it listens, under another name or address of this machine."""
        here = self.endpoint
        return Endpoint(here.protocol, host, here.port)

    def connect(self, other: "Node | Endpoint") -> None:
        """Begin to connect."""
        self.manager.connect(other if isinstance(other, Endpoint) else other.endpoint)

    def send(self, peer: "Node | Endpoint", data: bytes) -> None:
        """Queue a message, waiting for room."""
        endpoint = peer if isinstance(peer, Endpoint) else self.link(peer)
        try:
            self.manager.send(endpoint, data, timeout=PATIENCE)
        except NotConnected as error:
            error.add_note(f"{self!r}; its log, without messages: {self.tail(without=Event.NewMessage)}")
            raise

    def try_send(self, endpoint: Endpoint, data: bytes) -> bool:
        """Send to somebody who may have gone meanwhile; whether they had not."""
        try:
            self.send(endpoint, data)
        except NotConnected:
            return False
        return True

    def drop(self, endpoint: Endpoint) -> None:
        """Drop a connection."""
        with self._changed:
            self._judge.dropped(endpoint)
        self.manager.drop_node(endpoint)

    def info(self, peer: "Node | PeerId") -> ConnectionInfo:
        """What ``connections()`` says of the connection with a peer."""
        peer_id = peer if isinstance(peer, PeerId) else peer.id
        (found,) = [info for info in self.manager.connections() if info.peer_id == peer_id]
        return found

    def stop(self, timeout: float | None = None) -> None:
        """Stop it and read its last event."""
        self.manager.stop(timeout)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), f"{self!r}: no Stopped after stop()"

    def verdict(self) -> list[str]:
        """What was wrong with its events."""
        return [f"{self.id}: {problem}" for problem in self._judge.problems]


class Nodes:
    """Makes nodes, and ends and judges them all.

    Args:
        capacity: room of their channels.
        transport: what they listen on, where a test does not say.
    """

    def __init__(self, capacity: Capacity, transport: str = "tcp") -> None:
        self.capacity = capacity
        self.transport = transport
        self._made: list[Node] = []

    def make(self, **arguments: Any) -> Node:
        """One more node; see `Node` for the arguments."""
        if "config" not in arguments:
            arguments = {**only_over(self.transport), **arguments}
        node = Node(self.capacity, **arguments)
        self._made.append(node)
        return node

    def pair(self, **arguments: Any) -> tuple[Node, Node]:
        """Two nodes, the first connected to the second, both told so."""
        first, second = self.make(**arguments), self.make(**arguments)
        join(first, second)
        return first, second

    def end(self) -> None:
        """Stop every node, all at once, and look at what their events were like."""
        in_parallel([node.stop for node in self._made])
        problems = [problem for node in self._made for problem in node.verdict()]
        assert not problems, "\n".join(problems)


def join(first: Node, second: Node) -> None:
    """Connect the first to the second and wait until both know."""
    first.connect(second)
    first.link(second)
    second.link(first)


def fill_send_queue(node: Node, endpoint: Endpoint, size: int = 1_000_000) -> int:
    """Send until there is no room any more, to a peer that does not read; how many messages there was room for."""
    for number in itertools.count():
        try:
            node.manager.send(endpoint, number.to_bytes(4, "big") * (size // 4))
        except SendQueueFull:
            return number
    raise AssertionError("unreachable")


def in_parallel(calls: Iterable[Callable[[], object]]) -> None:
    """Make all calls at the same time, each on a thread of its own; fail with the first error."""
    errors: list[BaseException] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,), name="test-parallel") for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive(), "a call hangs"
    if errors:
        raise errors[0]
