"""`crust.finding.gossiping`: gossip travels over connections, and they become as many as wanted; all in one thread."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from crust import Config, Endpoint, Event, Identity, PeerId
from crust.connecting.attempts import Job, Race
from crust.discovery.conduct import MUTE_TIME
from crust.discovery.contact import Contact, Source
from crust.finding import gossiping
from crust.finding.gossiping import Gossiping
from crust.identity import UnprovenPeerId
from crust.links.connection_news import Gossiped
from crust.threads.timers import Timers
from crust.transport.framing import CONTACTS, Decoder
from crust.transport.masking import network_keys

KEYS = network_keys("crust", None)


class Wire:
    """One end of a connection between two nodes of paper."""

    def __init__(self, peer_id: PeerId, endpoint: Endpoint) -> None:
        self.peer_id = peer_id
        self.endpoint = endpoint
        self.contacts_taken = 0
        self.announced = True
        self.outbox = SimpleNamespace(put_control=self.put_control)
        self.sent: list[dict[str, Any]] = []

    def put_control(self, frame: bytes) -> bool:
        decoder = Decoder(0)
        decoder.feed(frame)
        ((kind, content),) = decoder.take_controls()
        assert kind == CONTACTS
        self.sent.append(content)
        return True


class Node:
    """A `Gossiping` and what it depends on."""

    def __init__(self, number: int, target: int, override: bool = False) -> None:
        self.identity = Identity()
        self.endpoint = Endpoint.tcp((f"10.{number}.0.1", 1))
        self.timers = Timers()
        self.live: list[Wire] = []
        self.dialled: list[tuple[Contact, Job]] = []
        self.learned: list[Contact] = []
        self.alerts: list[Event.Misbehaviour] = []
        self.others: list[Contact] = []
        self.unwanted: set[PeerId] = set()
        connections: Any = self
        dialer: Any = SimpleNamespace(connect=self.connect)
        self.gossiping = Gossiping(
            self.identity,
            KEYS,
            Config(target_connections=target, override_default_bootstrap=override),
            self.timers,
            dialer,
            connections,
            learned=self.learned.append,
            alert=self.alerts.append,
            others=lambda: self.others,
            wanted=lambda contact: contact.peer_id not in self.unwanted,
        )

    def with_peer(self, peer_id: PeerId) -> Any:
        return next((wire for wire in self.live if wire.peer_id == peer_id), None)

    def connect(self, endpoints: Iterable[Endpoint], race: Race, ended: Callable[[Job], None]) -> Job:
        job = Job(tuple(endpoints), race, ended, False)
        self.dialled.append((Contact(job.endpoints, None, Source.GOSSIP), job))
        return job

    def end_dial(self, number: int, connected: bool) -> None:
        _, job = self.dialled[number]
        job.done, job.connected = True, connected
        job.ended(job)

    def join(self, peer_id: PeerId, endpoint: Endpoint) -> Any:
        wire: Any = Wire(peer_id, endpoint)
        self.live.append(wire)
        self.gossiping.came(wire)
        return wire

    def part(self, wire: Any) -> None:
        self.live.remove(wire)
        self.gossiping.went(wire)


class World:
    """Nodes of paper, one clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.nodes: dict[PeerId, Node] = {}

    def make(self, target: int = 0, override: bool = False) -> Node:
        node = Node(len(self.nodes) + 1, target, override)
        self.nodes[node.identity.peer_id] = node
        node.gossiping.publish([node.endpoint])
        return node

    def join(self, first: Node, second: Node) -> None:
        first.join(second.identity.peer_id, second.endpoint)
        second.join(first.identity.peer_id, first.endpoint)

    def run(self, seconds: float) -> None:
        """Let time pass and carry what is said."""
        until = self.time + seconds
        while self.time < until:
            self.time += 0.05
            for node in self.nodes.values():
                node.timers.run_due(self.time)
            while self._deliver():
                pass

    def _deliver(self) -> bool:
        moved = False
        for node in self.nodes.values():
            for wire in list(node.live):
                other = self.nodes.get(wire.peer_id)
                sent, wire.sent = wire.sent, []
                back: Any = other.with_peer(node.identity.peer_id) if other is not None else None
                for content in sent if back is not None else ():
                    assert other is not None
                    other.gossiping.said(Gossiped(back, content))
                    moved = True
        return moved


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(gossiping, "now", lambda: made.time)
    return made


def test_a_node_learns_of_the_peers_of_its_peers(world: World) -> None:
    first, middle, last = world.make(), world.make(), world.make()
    world.join(first, middle)
    world.join(middle, last)
    world.run(10.0)
    assert [contact.peer_id for contact in first.gossiping.contacts()].count(last.identity.peer_id) == 1
    assert last.identity.peer_id in {contact.peer_id for contact in first.learned}
    assert first.gossiping.known == 2
    assert not first.dialled, "nobody asked for more connections"


def test_what_was_taken_is_counted(world: World) -> None:
    """Or the reader would stop to hand over."""
    first, second = world.make(), world.make()
    world.join(first, second)
    world.run(5.0)
    assert first.live[0].contacts_taken > 0


def test_missing_connections_are_made(world: World) -> None:
    first, middle, last = world.make(target=2), world.make(), world.make()
    world.join(first, middle)
    world.join(middle, last)
    world.run(5.0)
    assert not first.dialled, "it has not been told to look yet"
    first.gossiping.look()
    world.run(1.0)
    assert [contact.endpoints for contact, _ in first.dialled] == [(last.endpoint,)]
    world.join(first, last)
    first.end_dial(0, connected=True)
    world.run(60.0)
    assert len(first.dialled) == 1


def test_who_did_not_answer_is_dialled_again_later(world: World) -> None:
    first, middle, last = world.make(target=2), world.make(), world.make()
    first.gossiping.look()
    world.join(first, middle)
    world.join(middle, last)
    world.run(5.0)
    first.end_dial(0, connected=False)
    world.run(2.0)
    assert len(first.dialled) == 1
    world.run(10.0)
    assert len(first.dialled) == 2


def test_a_lost_connection_is_replaced(world: World) -> None:
    first, middle, last = world.make(target=1), world.make(), world.make()
    first.gossiping.look()
    world.join(first, middle)
    world.join(middle, last)
    world.run(5.0)
    assert not first.dialled
    first.part(first.live[0])
    world.run(1.0)
    assert {contact.endpoints for contact, _ in first.dialled} <= {(last.endpoint,), (middle.endpoint,)}
    assert first.dialled


def test_a_connection_that_is_replaced_is_not_one_that_did_not_live_long(world: World) -> None:
    first, other = world.make(target=1), world.make()
    first.gossiping.look()
    old = first.join(other.identity.peer_id, other.endpoint)
    for _ in range(3):
        new = first.join(other.identity.peer_id, other.endpoint)
        first.part(old)
        old = new
    first.others.append(Contact((other.endpoint,), other.identity.peer_id, Source.CACHE))
    first.part(old)
    world.run(1.0)
    assert len(first.dialled) == 1


def test_contacts_from_elsewhere_are_dialled_as_well(world: World) -> None:
    node = world.make(target=1)
    node.gossiping.look()
    node.others.append(Contact((Endpoint.tcp("192.0.2.1:1"),), Identity().peer_id, Source.BEACON))
    node.gossiping.news()
    world.run(1.0)
    assert len(node.dialled) == 1


def test_an_override_keeps_it_to_those_who_are_configured(world: World) -> None:
    first, middle, last = world.make(target=3, override=True), world.make(), world.make()
    first.gossiping.look()
    world.join(first, middle)
    world.join(middle, last)
    first.others.append(Contact((Endpoint.tcp("192.0.2.1:1"),), Identity().peer_id, Source.CACHE))
    first.gossiping.news()
    world.run(60.0)
    assert first.gossiping.known == 2
    assert not first.dialled


def test_who_is_not_wanted_is_neither_reported_nor_dialled(world: World) -> None:
    first, middle, last = world.make(target=3), world.make(), world.make()
    first.unwanted.add(last.identity.peer_id)
    first.gossiping.look()
    world.join(first, middle)
    world.join(middle, last)
    world.run(10.0)
    assert not first.dialled
    assert last.identity.peer_id not in {contact.peer_id for contact in first.learned}


def test_nobody_is_told_over_a_connection_that_proves_nothing(world: World) -> None:
    first, second = world.make(target=1), world.make()
    first.gossiping.look()
    wire = first.join(UnprovenPeerId(bytes(second.identity.peer_id)), Endpoint.tracer("192.0.2.1:1"))
    first.others.append(Contact((second.endpoint,), second.identity.peer_id, Source.CACHE))
    first.gossiping.said(Gossiped(wire, {"x": 1, "sums": "AAAA"}))
    world.run(10.0)
    assert wire.sent == []
    assert wire.contacts_taken == 1
    assert len(first.dialled) == 1, "and it does not count as one of those wanted"
    first.part(wire)


def test_misbehaviour_is_reported_once(world: World) -> None:
    node, liar = world.make(), world.make()
    wire = node.join(liar.identity.peer_id, liar.endpoint)
    for _ in range(100):
        node.gossiping.said(Gossiped(wire, {"nonsense": 1}))
    (alert,) = node.alerts
    assert (alert.endpoint, alert.peer_id) == (liar.endpoint, liar.identity.peer_id)
    assert "breaks the rules of gossip" in alert.reason
    wire.sent.clear()
    world.run(min(60.0, MUTE_TIME))
    assert wire.sent == [], "it is told nothing either"


def test_a_flood_of_messages_leaves_no_flood_of_timers(world: World) -> None:
    first, second = world.make(), world.make()
    world.join(first, second)
    world.run(200.0)
    for number in range(1000):
        first.gossiping.said(Gossiped(first.live[0], {"x": number, "sums": "AAAAAAAA"}))  # type: ignore[arg-type]
        world.time += 0.1
    assert len(first.timers._heap) < 20


def test_after_stop_nothing_is_said(world: World) -> None:
    first, second = world.make(target=5), world.make()
    first.gossiping.look()
    world.join(first, second)
    first.gossiping.stop()
    wire = first.live[0]
    wire.sent.clear()
    world.run(30.0)
    first.gossiping.said(Gossiped(wire, {"nonsense": 1}))
    first.part(wire)
    assert (wire.sent, first.dialled) == ([], [])
    assert first.timers.next_deadline() is None
