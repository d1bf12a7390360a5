"""Two nodes in the network of `tests.nat.nats` that find out about their NATs, meet, and punch; in virtual time."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from crust.endpoint import Address, Endpoint
from crust.identity import Identity
from crust.nat.connection_info import ConnectionInfo, sendable
from crust.nat.punch import Punch
from crust.nat.punch_packet import PunchSeal, punch_key
from crust.nat.punch_plan import Plan, candidates_for, make_plan
from crust.transport.masking import network_keys
from tests.nat import nats
from tests.nat.nats import Host, Kind, World
from tests.nat.stun_world import PORT, corner_server, plain_server, survey

NETWORK = network_keys("crust", None)
EXTRA_PORTS = 20_000  # from which the many sockets of the birthday method are bound
LINGER = 3.0  # seconds for which late probes are watched

Where = Callable[[World, int], Host]
"""Builds a host and what is in front of it; the number keeps the addresses of the two apart."""


def behind(kind: Kind | None) -> Where:
    """A host behind a NAT, or none."""

    def build(world: World, number: int) -> Host:
        if kind is None:
            return Host(world, world.internet, f"203.0.113.{number}")
        return world.home(kind, f"203.0.113.{number}", f"192.168.{number}.2")[1]

    return build


def carrier(outer: Kind, inner: Kind) -> Where:
    """A host behind two NATs in a row."""

    def build(world: World, number: int) -> Host:
        nat = nats.Nat(world, world.internet, f"203.0.113.{number}", outer)
        return world.home(inner, f"100.64.{number}.2", f"192.168.{number}.2", behind=nat)[1]

    return build


PLACES: dict[str, Where] = {
    "no NAT": behind(None),
    "full cone": behind(nats.FULL_CONE),
    "address-restricted": behind(nats.ADDRESS_RESTRICTED),
    "port-restricted": behind(nats.PORT_RESTRICTED),
    "port-preserving": behind(nats.PRESERVING),
    "symmetric sequential": behind(nats.SEQUENTIAL),
    "symmetric random": behind(nats.RANDOM),
    "two in a row": carrier(nats.PORT_RESTRICTED, nats.PRESERVING),
    "two in a row, random": carrier(nats.RANDOM, nats.PORT_RESTRICTED),
}
COUNTED, UNPREDICTABLE = {"symmetric sequential"}, {"symmetric random", "two in a row, random"}


class Node:
    """One of the two."""

    def __init__(self, world: World, host: Host, identity: Identity) -> None:
        self.world, self.host, self.identity = world, host, identity
        findings = survey(world, host, [self.server(world), *self.plain(world)])
        del host.sockets[host.hosts[0], PORT]
        self.main = host.bind(PORT, self.receive)
        self.sources: dict[int, Address] = {0: self.main}
        self.numbers = {self.main: 0}
        last = [Endpoint.utp(findings.sightings[-1].seen)]
        candidates = sendable(candidates_for([Endpoint.utp(self.main)], [], last))
        self.info = ConnectionInfo(identity.peer_id, candidates, findings.behaviour)
        self.punch: Punch | None = None
        self.opened_at: float | None = None
        self.sent = 0

    @staticmethod
    def server(world: World) -> Address:
        hosts = ("198.51.100.1", "198.51.200.1")
        return (hosts[0], 3478) if hosts[0] in world.internet.inside else corner_server(world, hosts)

    @staticmethod
    def plain(world: World) -> Sequence[Address]:
        hosts = ("198.51.30.1", "198.51.40.1")
        return [(host, 3478) if host in world.internet.inside else plain_server(world, host) for host in hosts]

    def plan(self, theirs: ConnectionInfo, **more: object) -> Plan:
        network = f"{self.host.hosts[0]}/24"
        return make_plan(self.info, theirs, [network], **more)  # type: ignore[arg-type]

    def begin(self, theirs: ConnectionInfo, start: float, plan: Plan | None = None) -> None:
        key = punch_key(self.identity, self.info, theirs, NETWORK)
        greater = self.info.peer_id > theirs.peer_id
        seal = PunchSeal(key, greater, self.world.rng.randbytes)
        rng = random.Random(self.world.rng.random())
        plan = plan or self.plan(theirs)
        self.punch = Punch(plan, seal, greater, start, rng, self.world.rng.randbytes)
        self.tick()

    def receive(self, data: bytes, source: Address, to: Address) -> None:
        if self.punch is not None:
            assert self.punch.receive(data, source, self.world.now, self.numbers[to])
            self._flush()

    def tick(self) -> None:
        assert self.punch is not None
        self.punch.tick(self.world.now)
        self._flush()
        due = self.punch.next_deadline()
        if due is not None:
            self.world.after(max(due - self.world.now, 0.001), self.tick)

    def _flush(self) -> None:
        assert self.punch is not None
        for data, to, number, ttl in self.punch.outgoing():
            if number not in self.sources:
                source = self.sources[number] = self.host.bind(EXTRA_PORTS + number, self.receive)
                self.numbers[source] = number
            self.host.send(self.sources[number], to, data, 64 if ttl is None else ttl)
            self.sent += 1
        if self.punch.opened is not None and self.opened_at is None:
            self.opened_at = self.world.now
            self.world.after(0.0, self.tick)  # there are other deadlines now


class Result(NamedTuple):
    """What came of a meeting."""

    opened: bool
    seconds: float
    """From the agreed start until both have the path, or the first one gave up."""
    nodes: tuple[Node, Node]
    plans: tuple[Plan, Plan]


def meet(
    world: World,
    one: Host,
    other: Host,
    *,
    late: float = 0.0,
    identities: tuple[Identity, Identity] | None = None,
) -> Result:
    """Let two hosts meet; the second begins ``late`` seconds later."""
    ids = identities or (Identity(bytes([1] * 32)), Identity(bytes([2] * 32)))
    nodes = Node(world, one, ids[0]), Node(world, other, ids[1])
    plans = nodes[0].plan(nodes[1].info), nodes[1].plan(nodes[0].info)
    start = world.now + 0.1
    nodes[0].begin(nodes[1].info, start)
    world.run(world.now + late)
    nodes[1].begin(nodes[0].info, start + late)

    def finished() -> bool:
        both = [node.punch for node in nodes]
        return all(each is not None and (each.agreed or each.failure) for each in both)

    world.run(start + max(plan.seconds for plan in plans) + 1.0, finished)
    seconds = world.now - start
    opened = [node.opened_at for node in nodes]
    if None not in opened:
        seconds = max(at for at in opened if at is not None) - start
    world.run(world.now + LINGER)
    return Result(None not in opened, seconds, nodes, plans)


def agree(result: Result) -> bool:
    """Whether what one sends on its path arrives at the other, on the other's path, and the other way round."""
    if not result.opened:
        return False
    for sender, receiver in (result.nodes, result.nodes[::-1]):
        assert sender.punch is not None
        assert receiver.punch is not None
        assert sender.punch.opened is not None
        assert receiver.punch.opened is not None
        got: list[Address] = []
        own = receiver.sources[receiver.punch.opened.socket]
        receiver.host.sockets[own] = lambda data, source, to, got=got: got.append(source)  # type: ignore[misc]
        sender.host.send(sender.sources[sender.punch.opened.socket], sender.punch.opened.address, b"through")
        sender.world.run(sender.world.now + 1.0)
        if got != [receiver.punch.opened.address]:
            return False
    return True
