"""NATs of every kind, and a network of them, in virtual time (RFC 4787's words). Deterministic: a seed decides."""

import heapq
import ipaddress
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import NamedTuple

from crust.endpoint import Address

REFUSAL = b"RST"
MAPPING_LIFETIME = 30.0  # seconds without a packet; what Linux keeps an unanswered UDP flow for


class Maps(Enum):
    """Which packets share a mapping."""

    INDEPENDENT = "one for all"
    PER_HOST = "one for each host"
    PER_PORT = "one for each host and port"


class Filters(Enum):
    """Who may send to a mapping."""

    NONE = "all may"
    PER_HOST = "hosts that were sent to"
    PER_PORT = "hosts and ports that were sent to"


class Ports(Enum):
    """How outer ports are chosen."""

    PRESERVED = "the inner one, if it is free"
    COUNTED = "the last one plus a step"
    RANDOM = "any"


class Kind(NamedTuple):
    """A kind of NAT."""

    maps: Maps
    filters: Filters
    ports: Ports
    hairpin: bool = False
    step: int = 1
    answers: bool = False
    """Whether it refuses what comes unasked (`REFUSAL`) instead of dropping it."""


FULL_CONE = Kind(Maps.INDEPENDENT, Filters.NONE, Ports.RANDOM)
ADDRESS_RESTRICTED = Kind(Maps.INDEPENDENT, Filters.PER_HOST, Ports.RANDOM)
PORT_RESTRICTED = Kind(Maps.INDEPENDENT, Filters.PER_PORT, Ports.RANDOM)
PRESERVING = Kind(Maps.INDEPENDENT, Filters.PER_PORT, Ports.PRESERVED)
HAIRPIN = Kind(Maps.INDEPENDENT, Filters.PER_PORT, Ports.RANDOM, hairpin=True)
SEQUENTIAL = Kind(Maps.PER_PORT, Filters.PER_PORT, Ports.COUNTED)
SEQUENTIAL_BY_TWO = Kind(Maps.PER_PORT, Filters.PER_PORT, Ports.COUNTED, step=2)
RANDOM = Kind(Maps.PER_PORT, Filters.PER_PORT, Ports.RANDOM)
PER_HOST_RANDOM = Kind(Maps.PER_HOST, Filters.PER_PORT, Ports.RANDOM)


@dataclass
class Mapped:
    """One mapping."""

    inner: Address
    outer: Address
    sent_to: set[Address] = field(default_factory=set)
    used: float = 0.0


class Place:
    """Something with addresses in a network: a host, or a NAT with a network behind it."""

    def __init__(self, world: "World", outside: "Place | None", *hosts: str) -> None:
        self.world = world
        self.outside = outside
        self.hosts = hosts
        self.inside: dict[str, Place] = {}
        if outside is not None:
            for host in hosts:
                outside.inside[host] = self

    def arrive(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        """A datagram for one of `hosts` came from outside."""

    def emit(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        """A datagram comes from something inside."""
        if to[0] in self.inside:
            self.world.after(self.world.lan_delay, lambda: self.inside[to[0]].arrive(source, to, data, ttl))


class Internet(Place):
    """What joins everything that has a public address; what is not there swallows what is sent to it."""

    def emit(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        self.world.sent_to[to[0]] += 1
        target = self.inside.get(to[0])
        if target is not None and ttl > self.world.hops and self.world.rng.random() >= self.world.loss:
            self.world.after(self.world.delay, lambda: target.arrive(source, to, data, ttl - self.world.hops))


class Nat(Place):
    """A NAT of some kind between the inside and the outside."""

    def __init__(self, world: "World", outside: Place, host: str, kind: Kind) -> None:
        super().__init__(world, outside, host)
        self.kind = kind
        self.next_port = world.rng.randrange(20_000, 60_000)
        self.by_key: dict[tuple[object, ...], Mapped] = {}
        self.by_port: dict[int, Mapped] = {}

    def emit(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        if to[0] in self.inside:
            super().emit(source, to, data, ttl)
            return
        if ttl <= 1:
            return
        mapped = self.mapping(source, to)
        if to[0] in self.hosts:
            if self.kind.hairpin:  # with the outer address as the source (RFC 4787 section 6)
                self.world.after(self.world.lan_delay, lambda: self.arrive(mapped.outer, to, data, ttl - 1))
            return
        assert self.outside is not None
        self.outside.emit(mapped.outer, to, data, ttl - 1)

    def mapping(self, source: Address, to: Address) -> Mapped:
        """The mapping that a packet leaves by; a new one if there is none."""
        key: tuple[object, ...] = {
            Maps.INDEPENDENT: (source,),
            Maps.PER_HOST: (source, to[0]),
            Maps.PER_PORT: (source, to),
        }[self.kind.maps]
        mapped = self.by_key.get(key)
        if mapped is None or self.expired(mapped):
            mapped = self.by_key[key] = Mapped(source, (self.hosts[0], self.choose(source[1])))
            self.by_port[mapped.outer[1]] = mapped
        mapped.sent_to.add(to)
        mapped.used = self.world.now
        return mapped

    def choose(self, inner: int) -> int:
        def taken(port: int) -> bool:
            return port < 1024 or (port in self.by_port and not self.expired(self.by_port[port]))

        if self.kind.ports is Ports.PRESERVED and not taken(inner):
            return inner
        while True:
            if self.kind.ports is Ports.COUNTED:
                self.next_port = (self.next_port + self.kind.step) % 0x10000
            else:
                self.next_port = self.world.rng.randrange(1024, 0x10000)
            if not taken(self.next_port):
                return self.next_port

    def expired(self, mapped: Mapped) -> bool:
        return self.world.now - mapped.used > MAPPING_LIFETIME

    def arrive(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        mapped = self.by_port.get(to[1])
        if mapped is None or self.expired(mapped) or not self.lets_in(mapped, source):
            self.world.dropped[self.hosts[0]] += 1
            if self.kind.answers and data != REFUSAL:
                assert self.outside is not None
                self.outside.emit(to, source, REFUSAL, 64)
            return
        inner = mapped.inner
        if data == REFUSAL:
            mapped.sent_to.discard(source)  # the connection is over, and with it the permission to come in
        target = self.inside.get(inner[0])
        if target is not None:
            self.world.after(self.world.lan_delay, lambda: target.arrive(source, inner, data, ttl - 1))

    def lets_in(self, mapped: Mapped, source: Address) -> bool:
        match self.kind.filters:
            case Filters.NONE:
                return True
            case Filters.PER_HOST:
                return source[0] in {host for host, _ in mapped.sent_to}
            case Filters.PER_PORT:
                return source in mapped.sent_to


Receiver = Callable[[bytes, Address, Address], None]


class Host(Place):
    """A machine with sockets."""

    def __init__(self, world: "World", outside: Place, *hosts: str) -> None:
        super().__init__(world, outside, *hosts)
        self.sockets: dict[Address, Receiver] = {}
        self.sent = 0

    def bind(self, port: int, receive: Receiver, host: str | None = None) -> Address:
        """Open a socket; ``receive`` gets the datagram, its source, and the address it came to."""
        address = (host or self.hosts[0], port)
        assert address not in self.sockets
        self.sockets[address] = receive
        return address

    def send(self, source: Address, to: Address, data: bytes, ttl: int = 64) -> None:
        """Send a datagram from a socket."""
        assert source in self.sockets
        assert self.outside is not None
        self.sent += 1
        self.outside.emit(source, to, data, ttl)

    def arrive(self, source: Address, to: Address, data: bytes, ttl: int) -> None:
        receive = self.sockets.get(to)
        if receive is not None:
            receive(data, source, to)


class World:
    """The Internet, the clock, and the queue of what is on its way.

    Args:
        seed: for ports and losses.
        delay: seconds from one public address to another.
        loss: of packets there, 0 to 1.
        hops: routers that count down the TTL there.
    """

    def __init__(self, seed: int, *, delay: float = 0.04, loss: float = 0.0, hops: int = 8) -> None:
        self.rng = random.Random(seed)
        self.now = 1_000.0
        self.delay, self.loss, self.hops = delay, loss, hops
        self.lan_delay = 0.0005
        self.sent_to: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.internet = Internet(self, None)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Call it later."""
        heapq.heappush(self._queue, (self.now + delay, next(self._order), call))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, until a moment or until it is done."""
        while self._queue and self._queue[0][0] <= until and not done():
            self.now, _, call = heapq.heappop(self._queue)
            call()
        if not done():
            self.now = max(self.now, until)

    def home(self, kind: Kind, host: str, inside: str, *, behind: Place | None = None) -> tuple[Nat, Host]:
        """A NAT with the outer address ``host``, and a machine behind it."""
        nat = Nat(self, behind or self.internet, host, kind)
        return nat, Host(self, nat, inside)


def is_private(host: str) -> bool:
    """Whether an address is one of a local network."""
    return ipaddress.ip_address(host).is_private
