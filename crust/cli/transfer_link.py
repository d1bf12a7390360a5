"""One connection to one peer, made again when it breaks: what ``crust send`` sends through."""

import logging
import queue
from collections.abc import Sequence
from typing import Any, Final, Protocol

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, DialFailed, HandshakeFailed, NotConnected, SendQueueFull
from crust.event import AnyEvent, Event
from crust.identity import PeerId
from crust.threads.clock import Deadline

log = logging.getLogger("crust.cli.transfer")

FIRST_PAUSE: Final = 0.25  # seconds before the second attempt; each further pause doubles
LONGEST_PAUSE: Final = 8.0  # seconds; a receiver that comes back is found within about this time
UNHEARD_DIAL: Final = 30.0  # seconds; an attempt always reports, and this guards against one that does not


class Manager(Protocol):
    """What is used of a `ConnectionManager`."""

    def connect(self, endpoints: Any) -> None:
        """Dial them."""

    def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        """Queue a message."""

    def drop_node(self, endpoint: Endpoint) -> None:
        """End a connection."""


class Events(Protocol):
    """What is used of an event channel."""

    def get(self, block: bool = True, timeout: float | None = None) -> AnyEvent:
        """The next event; raises ``queue.Empty``."""


class Link:
    """A connection to one peer. For one thread.

    Args:
        manager: a manager that nobody else uses.
        events: its events.
        peers: the endpoints of the peer.
        peer_id: who it has to be; ``None`` for anybody.
    """

    def __init__(
        self, manager: Manager, events: Events, peers: Sequence[Endpoint], peer_id: PeerId | None = None
    ) -> None:
        self._manager = manager
        self._events = events
        self._peers = tuple(peers)
        self._wanted = peer_id
        self._endpoint: Endpoint | None = None
        self.peer_id: PeerId | None = None
        """Who the peer is, once connected."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as the events that were read tell."""
        return self._endpoint is not None

    def open(self, wait: float) -> None:
        """Connect, and keep trying for ``wait`` seconds.

        Raises:
            DialFailed: it did not work in time; the message has the last reason.
            HandshakeFailed: the peer there is another one than wanted.
        """
        deadline = Deadline(wait)
        pause = FIRST_PAUSE
        while True:
            self._manager.connect(self._peers)
            reason = self._attempt()
            if reason is None:
                return
            left = deadline.remaining() or 0.0
            if not left:
                raise DialFailed(reason)
            log.info("not connected (%s); trying again", reason)
            self.pause(min(pause, left))
            if self.connected:
                return
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self) -> str | None:
        """Wait for what becomes of an attempt: ``None`` when connected, else the reason."""
        deadline = Deadline(UNHEARD_DIAL)
        while not self.connected:
            event = self._next(deadline.remaining())
            if event is None:
                return "no answer"
            if isinstance(event, Event.ConnectionFailed):
                return "; ".join(f"{endpoint}: {reason}" for endpoint, reason in event.reason.items())
        return None

    def pause(self, seconds: float) -> None:
        """Wait, unless a connection is made meanwhile."""
        deadline = Deadline(seconds)
        before = self._endpoint
        while not deadline.expired and self._endpoint == before:
            self._next(deadline.remaining())

    def send(self, data: bytes, timeout: float) -> bool:
        """Queue a message, waiting up to ``timeout`` seconds for room; ``False`` if there was none.

        Where the connection has ended this does nothing: `receive` says so, after the last message.
        """
        if self._endpoint is None:
            raise ConnectionLost("there is no connection")
        try:
            self._manager.send(self._endpoint, data, timeout=timeout)
        except SendQueueFull:
            return False
        except NotConnected:
            pass
        return True

    def receive(self, timeout: float) -> bytes | None:
        """The next message of the peer; ``None`` if none came in ``timeout`` seconds.

        Raises:
            ConnectionLost: there are no more.
        """
        deadline = Deadline(timeout)
        while True:
            event = self._next(deadline.remaining())
            if event is None:
                return None
            if isinstance(event, Event.NewMessage) and event.endpoint == self._endpoint:
                return event.data
            if not self.connected:
                raise ConnectionLost(event.reason if isinstance(event, Event.LostConnection) else "it ended")

    def drop(self) -> None:
        """End the connection."""
        if self._endpoint is not None:
            self._manager.drop_node(self._endpoint)
            self._endpoint = None

    def _next(self, timeout: float | None) -> AnyEvent | None:
        """The next event, and what it means for the connection; ``None`` if there is none in time."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        match event:
            case Event.NewConnection(endpoint, peer_id):
                if self._wanted not in (None, peer_id):
                    self._manager.drop_node(endpoint)
                    text = f"the peer at {endpoint} is {peer_id.hex()}, not the one asked for"
                    raise HandshakeFailed(f"{text}; check the address and --peer-id")
                self._endpoint, self.peer_id = endpoint, peer_id
            case Event.LostConnection(endpoint):
                if endpoint == self._endpoint:
                    self._endpoint = None
            case Event.Stopped():
                self._endpoint = None
        return event
