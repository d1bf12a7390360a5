"""As much of TCP as simultaneous open needs, on the hosts of `tests.nat.nats`: SYNs, their repetition, and RSTs."""

import random

from crust.endpoint import Address
from crust.nat.punch_plan import Target
from crust.nat.tcp_punch import Outcome, TcpPunch
from tests.nat.nats import REFUSAL, Host, World

SYN, ACCEPT = b"SYN", b"SYN-ACK"
REPEATED = (1.0, 3.0, 7.0)  # seconds after the first SYN, as kernels do
PORT = 5483


class Dialler:
    """A host that listens on a port and punches from it."""

    def __init__(self, world: World, host: Host, targets: list[Target], start: float) -> None:
        self.world, self.host = world, host
        self.punch = TcpPunch(targets, start, random.Random(world.rng.random()))
        self.own = next(iter(host.sockets), None) or host.bind(PORT, self.receive)
        host.sockets[self.own] = self.receive
        self.dialling: dict[Address, int] = {}
        self.connected: Address | None = None
        self.connected_at = 0.0
        self.most = 0
        self.tick()

    def tick(self) -> None:
        for number, to in self.punch.tick(self.world.now):
            self.dialling[to] = number
            self.most = max(self.most, len(self.dialling))
            for at in (0.0, *REPEATED):
                self.world.after(at, lambda to=to, number=number: self.syn(to, number))  # type: ignore[misc]
        due = self.punch.next_deadline()
        if due is not None:
            self.world.after(max(due - self.world.now, 0.001), self.tick)

    def syn(self, to: Address, number: int) -> None:
        if self.dialling.get(to) == number and self.connected is None:
            self.host.send(self.own, to, SYN)

    def receive(self, data: bytes, source: Address, to: Address) -> None:
        number = self.dialling.get(source)
        if data == REFUSAL:
            if number is not None and self.connected is None:
                del self.dialling[source]
                self.punch.ended(number, Outcome.REFUSED, self.world.now)
                self.tick()
        elif self.connected in (None, source):
            if data == SYN:  # the listener takes it, or both dial at once
                self.host.send(self.own, source, ACCEPT)
            self.connect(source, number)

    def connect(self, peer: Address, number: int | None) -> None:
        if self.connected is None:
            self.connected, self.connected_at = peer, self.world.now
            if number is not None:
                self.punch.ended(number, Outcome.CONNECTED, self.world.now)
            self.punch.stop()


def outer(world: World, host: Host, server: Host) -> Address:
    """Where a server sees the listening port."""
    found: list[Address] = []
    if (server.hosts[0], 80) not in server.sockets:
        server.bind(80, lambda data, source, to: None)
    server.sockets[server.hosts[0], 80] = lambda data, source, to: found.append(source)
    own = host.bind(PORT, lambda data, source, to: None)
    host.send(own, (server.hosts[0], 80), SYN)
    world.run(world.now + 1.0)
    return found[0]
