"""A connection between a test that stands in for the manager and a peer that the test moves."""

import queue
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from crust import Config, Endpoint, Event, Identity
from crust.links.connection import Connection
from crust.links.peers import Candidate
from crust.links.reading import Reading
from crust.links.writing import Writing
from crust.transport.aead import supported_ciphers
from crust.transport.framing import PING
from crust.transport.link import Link, RecordReader, RecordWriter
from crust.transport.records import Opener, Sealer
from tests.manager.wire import WirePeer
from tests.streams import Pair
from tests.together import PATIENCE, until

CIPHER = supported_ciphers()[0]
TO_US, TO_THEM = bytes(32), bytes([1] * 32)  # keys
NAME = Endpoint.tcp("192.0.2.1:5483")
RESET = struct.pack("ii", 1, 0)


class Peer(WirePeer):
    """The other end, whose handshake is done."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sealer = Sealer(TO_US, CIPHER)
        self._opener = Opener(TO_THEM, CIPHER)

    def reset(self) -> None:
        """End without any order."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Bench:
    """A connection, the inbox that it reports to, and its peer."""

    def __init__(self, pair: Pair, **settings: Any) -> None:
        self.stream = pair.stream(pair.ours)
        self.peer = Peer(pair.theirs)
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reader = RecordReader(self.stream, Opener(TO_US, CIPHER))
        self.link = Link(self.stream, reader, RecordWriter(self.stream, Sealer(TO_THEM, CIPHER)))
        candidate = Candidate(Identity().peer_id, "192.0.2.1", b"session1")
        self.config = Config(**settings)
        self.connection = Connection(candidate, self.link, NAME, self.config, 1e9, 0.5)
        self.outbox = self.connection.outbox

    def start(self) -> None:
        """Start its threads."""
        reading = Reading(self.connection, self.inbox, self.config, None)
        self.connection.start(reading.run, Writing(self.connection, self.inbox).run)

    def next(self) -> Any:
        """The next thing that it reports."""
        return self.inbox.get(timeout=PATIENCE)

    def batch(self) -> list[bytes]:
        """The messages of the next thing, which is a batch."""
        which, events, _ = self.next()
        assert which is self.connection
        assert all(isinstance(event, Event.NewMessage) and event.endpoint == NAME for event in events)
        return [event.data for event in events]

    def messages(self, count: int) -> list[bytes]:
        """So many messages; each batch is with the user at once."""
        found: list[bytes] = []
        while len(found) < count:
            _, events, weight = self.next()
            found += [event.data for event in events]
            self.connection.delivered(weight)
        return found

    def pinged(self) -> int:
        """How many PINGs wait for the writer."""
        return sum(frame[0] == PING for frame in self.outbox.take_controls())

    def ready_for_express(self) -> None:
        """Have something received and the writer asleep."""
        self.peer.send_messages(b"question")
        self.messages(1)
        until(lambda: self.outbox.express and self.outbox._writer_sleeps)


Make = Callable[..., Bench]


def idle_connection() -> Iterator[Make]:
    """A fixture: makes a connection whose threads have not been started."""
    made: list[Bench] = []
    with Pair() as pair:

        def make(**settings: Any) -> Bench:
            made.append(Bench(pair, **settings))
            return made[0]

        yield make
        for bench in made:
            bench.connection.abort()
            bench.connection.release()


def live_connection(idle: Make) -> Make:
    """A fixture: makes a connection whose threads run."""

    def make(**settings: Any) -> Bench:
        bench = idle(**settings)
        bench.start()
        return bench

    return make
