"""A simulated network of gossiping nodes: one clock, seeded chance, no sockets; some nodes lie."""

import heapq
import itertools
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import pytest

from crust.discovery import contact_record
from crust.discovery.contact import Contact
from crust.discovery.gossip import Gossip, Learned, Outcome, Reported, Send
from crust.discovery.target_connections import TargetConnections
from crust.endpoint import Endpoint
from crust.identity import Identity, PeerId
from crust.transport.framing import CONTACTS, control_frame
from crust.transport.masking import network_keys

KEYS: Final = network_keys("simulation", None)
EPOCH: Final = 1_800_000_000.0  # wall time when the simulation begins
LATENCY: Final = (0.01, 0.1)  # seconds, one way; one for each link
DIAL_TIMEOUT: Final = 10.0
PLAN_EVERY: Final = 0.25  # seconds between two looks at what to dial, where something is new


@pytest.fixture
def quick_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signature and each record is looked at once for all nodes: nothing else differs."""
    monkeypatch.setattr(contact_record, "signer", lru_cache(maxsize=None)(contact_record.signer))
    quick = lru_cache(maxsize=None)(contact_record.parse)
    monkeypatch.setattr("crust.discovery.intake.parse", quick)


class Node:
    """One node, honest."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.alive = True
        self.random = random.Random(f"{world.seed} {number}")
        self.identity = Identity(self.random.randbytes(32))
        self.id = self.identity.peer_id
        # 64 neighbourhoods
        self.endpoint = Endpoint.tcp(f"10.{number % 64}.{number // 64 // 200}.{number // 64 % 200 + 1}:5483")
        self.gossip = Gossip(self.identity, KEYS, random=self.random, capacity=world.capacity)
        self.targets = TargetConnections(world.target, self.random)
        self.links: dict[PeerId, tuple[Node, float]] = {}
        self.reported: set[PeerId] = set()
        self.bytes_sent = 0
        self.bytes_received = 0
        self.verified = 0
        self._timer = 0  # the latest; others are out of date
        self._planned: float | None = None

    def start(self) -> None:
        self.gossip.publish([self.endpoint], self.world.now, self.world.wall)
        self.rearm()

    def linked(self, other: "Node", latency: float) -> None:
        self.links[other.id] = (other, latency)
        self.gossip.connected(other.id, self.world.now)
        self.rearm()

    def unlinked(self, other: "Node") -> None:
        if self.links.pop(other.id, None):
            self.gossip.lost(other.id)
            self.plan_soon()

    def receive(self, sender: "Node", content: dict[str, Any], size: int) -> None:
        if self.alive and sender.id in self.links:
            self.bytes_received += size
            self.carry_out(self.gossip.receive(sender.id, content, self.world.now, self.world.wall))
            self.rearm()

    def carry_out(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Send(peer, content):
                    self.send(peer, content)
                case Learned():
                    self.plan_soon()
                case Reported(peer):
                    self.reported.add(peer)

    def send(self, peer: PeerId, content: dict[str, Any]) -> None:
        other, latency = self.links[peer]
        size = len(control_frame(CONTACTS, content)) if self.world.measure else 0
        self.bytes_sent += size
        if self.random.random() >= self.world.loss:
            self.world.at(latency, lambda: other.receive(self, content, size))

    def rearm(self) -> None:
        self.gossip.want_more(len(self.links) < self.world.target, self.world.now)
        self._timer += 1
        number, due = self._timer, self.gossip.next_timer()
        if due is not None:
            self.world.at(max(due - self.world.now, 0.0), lambda: self._timer_fires(number))

    def _timer_fires(self, number: int) -> None:
        if self.alive and number == self._timer:
            self.carry_out(self.gossip.handle_timer(self.world.now, self.world.wall))
            self.rearm()

    def plan_soon(self, delay: float = PLAN_EVERY) -> None:
        due = self.world.now + delay
        if self._planned is None or due < self._planned:
            self._planned = due
            self.world.at(delay, self._plan)

    def _plan(self) -> None:
        if not self.alive or self._planned is None or self.world.now < self._planned:
            return
        self._planned = None
        near = [other.endpoint for other, _ in self.links.values()]
        for contact in self.targets.plan(
            self.links.keys(), near, self.gossip.contacts(self.world.wall), self.world.now
        ):
            self.world.dial(self, contact)
        again = self.targets.next_timer(len(self.links), self.world.now)
        if again is not None:
            self.plan_soon(max(again - self.world.now, PLAN_EVERY))


class World:
    """All nodes, the clock and the network.

    Args:
        seed: of all chance.
        target: connections that each node wants.
        loss: share of the frames that are lost.
        capacity: records that a node keeps.
        measure: whether bytes are counted.
    """

    def __init__(
        self, seed: str, *, target: int = 4, loss: float = 0.0, capacity: int = 1024, measure: bool = False
    ) -> None:
        self.seed = seed
        self.target = target
        self.loss = loss
        self.capacity = capacity
        self.measure = measure
        self.random = random.Random(seed)
        self.now = 0.0
        self.nodes: list[Node] = []
        self.by_endpoint: dict[Endpoint, Node] = {}
        self.dials = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    @property
    def wall(self) -> float:
        """Seconds since 1970."""
        return EPOCH + self.now

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._count), action))

    def add(self, kind: type[Node] = Node) -> Node:
        node = kind(self, len(self.nodes))
        self.nodes.append(node)
        self.by_endpoint[node.endpoint] = node
        node.start()
        return node

    def link(self, one: Node, other: Node) -> None:
        if one is other or other.id in one.links:
            return
        latency = self.random.uniform(*LATENCY)
        one.linked(other, latency)
        other.linked(one, latency)

    def dial(self, node: Node, contact: Contact) -> None:
        self.dials += 1
        assert contact.peer_id is not None
        peer, other = contact.peer_id, self.by_endpoint.get(contact.endpoints[0])
        there = other is not None and other.alive and other.id == peer

        def ends() -> None:
            success = there and other is not None and other.alive
            node.targets.ended(peer, success, self.now)
            if success and other is not None and node.alive:
                self.link(node, other)
            node.plan_soon()

        self.at(0.15 if there else DIAL_TIMEOUT, ends)

    def kill(self, node: Node) -> None:
        node.alive = False
        for other, _ in list(node.links.values()):
            other.unlinked(node)
        node.links.clear()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; stop when ``until`` holds, which is looked at each half second. Returns whether it does."""
        end, look = self.now + seconds, self.now
        while self._events and self._events[0][0] <= end:
            at = self._events[0][0]
            if until and at >= look:
                if until():
                    return True
                look = at + 0.5
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end
        return bool(until and until())

    @property
    def honest(self) -> list[Node]:
        """Those that live and do not lie."""
        return [node for node in self.nodes if node.alive and type(node) is Node]

    def all_have_target(self) -> bool:
        """Whether each honest node has its connections."""
        return all(len(node.links) >= self.target for node in self.honest)
