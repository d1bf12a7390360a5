"""A small routing layer on top of Crust: messages reach nodes that we have no connection to.

    python examples/routing.py

Each node knows only its neighbours. A message for a node that nobody has heard of yet is flooded: every node passes it
on to all its neighbours but the one it came from, once (it remembers the ids of messages), and at most TTL times. On
the way each node learns through which neighbour the source is reached, so the answer takes one path instead of all.
Whoever forwards a message could change it or lie about its source: encrypt and sign end to end if that matters.

The demo runs five nodes in a line in one process, and prints what is delivered.
"""

import queue
import secrets
import struct
import threading
from collections import OrderedDict
from typing import NamedTuple

from crust import Config, ConnectionManager, Endpoint, Event, PeerId, channel
from crust.errors import CrustError

TTL = 16  # hops
REMEMBERED = 10_000  # message ids, and as many routes: what a stranger can make us keep is bounded
HEADER = struct.Struct("!B16s32s32s")  # hops left, message id, source, destination


class Packet(NamedTuple):
    """What nodes send to each other."""

    ttl: int
    id: bytes
    source: PeerId
    destination: PeerId
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Packet | None":
        """Read what a neighbour sent; ``None`` if it is nothing of ours."""
        if len(data) < HEADER.size:
            return None
        ttl, message_id, source, destination = HEADER.unpack_from(data)
        return cls(ttl, message_id, PeerId(source), PeerId(destination), data[HEADER.size :])

    def encode(self) -> bytes:
        """The bytes for the wire."""
        return HEADER.pack(self.ttl, self.id, bytes(self.source), bytes(self.destination)) + self.body


class Node:
    """A router. One thread runs its ``events.get()`` loop and alone touches the tables below."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.delivered: queue.Queue[Packet] = queue.Queue()
        self.joined: queue.Queue[Endpoint] = queue.Queue()
        self.forwarded = 0
        self._events = channel()
        self._neighbours: set[Endpoint] = set()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._routes: OrderedDict[PeerId, Endpoint] = OrderedDict()  # to whom, through which neighbour
        self._thread = threading.Thread(target=self._run, name=f"node-{name}")
        self.manager = ConnectionManager(self._events, Config(beacon_port=None, listen_addresses=("127.0.0.1",)))
        self.id = self.manager.identity.peer_id

    def start(self) -> Endpoint:
        """Listen; the endpoint for the neighbours."""
        self._thread.start()
        return Endpoint.tcp(("127.0.0.1", self.manager.start_listening()[0].port))

    def stop(self) -> None:
        """The last event, Stopped, ends the thread."""
        self.manager.stop()
        self._thread.join()

    def send(self, destination: PeerId, body: bytes) -> None:
        """Send to a node anywhere. The events channel takes orders of ours as well: one loop, one owner, no locks."""
        self._events.put(Packet(TTL, secrets.token_bytes(16), self.id, destination, body))

    def _run(self) -> None:
        while True:
            match self._events.get():
                case Event.NewConnection(endpoint):
                    self._neighbours.add(endpoint)
                    self.joined.put(endpoint)
                case Event.NewMessage(endpoint, data):
                    if packet := Packet.parse(data):
                        self._handle(packet, endpoint)
                case Packet() as packet:
                    self._handle(packet, None)
                case Event.LostConnection(endpoint):
                    self._neighbours.discard(endpoint)
                    for gone in [peer for peer, via in self._routes.items() if via == endpoint]:
                        del self._routes[gone]
                case Event.Stopped():
                    return

    def _handle(self, packet: Packet, came_from: Endpoint | None) -> None:
        if packet.id in self._seen:
            return
        self._seen[packet.id] = None
        if came_from:
            self._routes[packet.source] = came_from
        for table in (self._seen, self._routes):
            if len(table) > REMEMBERED:
                table.popitem(last=False)
        if packet.destination == self.id:
            self.delivered.put(packet)
        elif packet.ttl:
            self._forward(packet._replace(ttl=packet.ttl - 1), came_from)

    def _forward(self, packet: Packet, came_from: Endpoint | None) -> None:
        route = self._routes.get(packet.destination)
        for neighbour in {route} if route else self._neighbours - {came_from}:
            try:
                self.manager.send(neighbour, packet.encode())
                self.forwarded += 1
            except CrustError as error:
                print(f"{self.name}: not forwarded to {neighbour}: {error}")


def main() -> None:
    """Five nodes in a line: the first and the last have no connection, yet talk."""
    nodes = [Node(name) for name in "ABCDE"]
    names = {node.id: node.name for node in nodes}
    addresses = [node.start() for node in nodes]
    for node, following in zip(nodes[:-1], addresses[1:], strict=True):
        node.manager.connect(following)
    for node, neighbours in zip(nodes, (1, 2, 2, 2, 1), strict=True):
        for _ in range(neighbours):
            node.joined.get(timeout=30)
    for source, destination, text in (
        (0, 4, "Hello, is E there?"),
        (4, 0, "Yes, through the others."),
        (3, 0, "Hi A!"),
    ):
        nodes[source].send(nodes[destination].id, text.encode())
        packet = nodes[destination].delivered.get(timeout=30)
        hops = TTL - packet.ttl
        print(f"{names[packet.source]} -> {names[packet.destination]}, {hops} hops: {packet.body.decode()}")
    for node in nodes:
        node.stop()
    print(f"{sum(node.forwarded for node in nodes)} transmissions in all")


if __name__ == "__main__":
    main()
