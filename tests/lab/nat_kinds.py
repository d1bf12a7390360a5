"""Homes behind every kind of NAT, as real routers for real programs.

Home ``number`` has the outer address ``11.1.1.number`` (or another network's) and the inner network ``192.168.number``.
What the kernel does exactly is done by the kernel; the rest by a box of `tests.lab.tun_nat`. A mapping that does not
depend on the destination, whatever the ports, is such a thing: with `masquerade` it is so only while ports are free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from tests.lab import tun_nat
from tests.lab.namespaces import Lab, Node
from tests.lab.routers import INSIDE, OUTSIDE, Nat, make_router
from tests.lab.tun_nat_table import Allocation, Behaviour, Dependence
from tests.lab.wiring import BRIDGE, cable, plug, route, switch

NETWORK = "11.1.1"
_CARRIER = "100.64"  # RFC 6598: between a carrier's NAT and its customers'


class Kind(Enum):
    """The kinds of the matrix: how each maps, filters and allocates (RFC 4787)."""

    NONE = "a public address of its own"
    FULL_CONE = "one random port for all, which all may send to"
    ADDRESS_RESTRICTED = "one random port for all, which hosts that were sent to may send to"
    PORT_RESTRICTED = "one random port for all, which endpoints that were sent to may send to"
    MASQUERADE = "the Linux kernel: as PORT_RESTRICTED, but keeps the port where it can"
    SYMMETRIC_SEQUENTIAL = "the next port for each destination endpoint, which only that may send to"
    SYMMETRIC_RANDOM = "the Linux kernel: a random port for each destination endpoint, which only that may send to"
    CARRIER = "two MASQUERADE in a row"


_BEHAVIOURS = {
    Kind.FULL_CONE: Behaviour(filtering=Dependence.NONE),
    Kind.ADDRESS_RESTRICTED: Behaviour(filtering=Dependence.HOST),
    Kind.PORT_RESTRICTED: Behaviour(),
    Kind.MASQUERADE: Behaviour(allocation=Allocation.PRESERVING),
    Kind.SYMMETRIC_SEQUENTIAL: Behaviour(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL),
    Kind.SYMMETRIC_RANDOM: Behaviour(mapping=Dependence.PORT),
}
_KERNEL = {
    (Kind.MASQUERADE, False): Nat.HOME,
    (Kind.MASQUERADE, True): Nat.ANSWERING,
    (Kind.SYMMETRIC_RANDOM, False): Nat.SYMMETRIC,
    (Kind.CARRIER, False): Nat.HOME,
    (Kind.CARRIER, True): Nat.ANSWERING,
}


@dataclass(frozen=True)
class Host:
    """A host in its place."""

    node: Node
    address: str  # its own
    outer: str  # what others see it at
    boxes: tuple[tun_nat.Started, ...] = ()  # between it and the outside, if there are any; for their counters


def place(
    lab: Lab,
    kind: Kind,
    wan: Node,
    number: int,
    *,
    delay: float = 0.0,
    answers: bool = False,
    behaviour: Behaviour | None = None,
    network: str = NETWORK,
    gateway: str | None = None,
) -> Host:
    """Build a host behind a NAT.

    Args:
        wan: the switch that it is connected to.
        number: 2 to 254, another one for each home in the lab.
        delay: seconds from the NAT to the switch, and back.
        answers: what comes unasked gets a RST or an ICMP error from the NAT; else silence.
        behaviour: in place of the one that ``kind`` has, as other steps or lifetimes; always in user space then.
        network: the first three numbers of the addresses on ``wan``.
        gateway: the router for what lies beyond that network.
    """
    home = _Home(lab, kind, wan, number, delay, answers, behaviour, network, gateway)
    return home.build([f"pc-{number}"], isolated=False)[0]


def place_pair(
    lab: Lab,
    kind: Kind,
    wan: Node,
    number: int,
    *,
    hairpin: bool,
    isolated: bool = False,
    delay: float = 0.0,
    answers: bool = False,
    behaviour: Behaviour | None = None,
    network: str = NETWORK,
    gateway: str | None = None,
) -> tuple[Host, Host]:
    """Build two hosts behind the same NAT, on one LAN.

    Args:
        hairpin: whether what one sends to the other's outer address gets there. In user space.
        isolated: they cannot reach each other on the LAN, as guests of a wireless network.
        lab, kind, wan, number, delay, answers, behaviour, network, gateway: as for `place`.
    """
    if hairpin:
        behaviour = replace(_behaviour(kind, behaviour), hairpin=True)
    home = _Home(lab, kind, wan, number, delay, answers, behaviour, network, gateway)
    first, second = home.build([f"pc-{number}", f"pc-{number}-b"], isolated=isolated)
    return first, second


def _behaviour(kind: Kind, wanted: Behaviour | None) -> Behaviour:
    if wanted is None and kind not in _BEHAVIOURS:
        raise ValueError(f"{kind.name} is no single NAT: it has no behaviour of one, and no hairpin")
    return wanted or _BEHAVIOURS[kind]


@dataclass(frozen=True)
class _Home:
    """How a home is built: programs first, as they take a moment to start."""

    lab: Lab
    kind: Kind
    wan: Node
    number: int
    delay: float
    answers: bool
    behaviour: Behaviour | None
    network: str
    gateway: str | None

    @property
    def outer(self) -> str:
        return f"{self.network}.{self.number}"

    @property
    def label(self) -> str:
        """What the home's plug is called in the switch."""
        return f"to-home-{self.number}"

    def build(self, names: Sequence[str], *, isolated: bool) -> list[Host]:
        if self.kind is Kind.NONE and self.behaviour is None:
            if len(names) > 1:
                raise ValueError("two hosts with public addresses are no pair behind a NAT: place each")
            return [self._public(names[0])]
        if self.behaviour is None and (self.kind, self.answers) in _KERNEL:
            return self._kernel(names, isolated)
        return self._user(names, isolated)

    def _public(self, name: str) -> Host:
        wire = self._wire()
        node = self.lab.node(name)
        self._join(node, "eth0", wire)
        return Host(node, self.outer, self.outer, () if wire is None else (wire,))

    def _wire(self) -> tun_nat.Started | None:
        if not self.delay:
            return None
        return tun_nat.start(self.lab, self.outer, None, None, delay=self.delay)

    def _join(self, node: Node, name: str, wire: tun_nat.Started | None) -> None:
        """Give a node the outer address, on an interface of that name."""
        if wire is None:
            plug(node, name, self.wan, f"{self.outer}/24")
        else:
            wire.connect(self.wan, self.label, node, name).address(f"{self.outer}/24")
        if self.gateway is not None:
            route(node, self.gateway)

    def _kernel(self, names: Sequence[str], isolated: bool) -> list[Host]:
        nat = _KERNEL[self.kind, self.answers]
        wire = self._wire()
        router = self.lab.node(f"nat-{self.number}")
        if self.kind is Kind.CARRIER:
            carrier = self.lab.node(f"carrier-{self.number}")
            self._join(carrier, OUTSIDE, wire)
            ends = cable(carrier, INSIDE, router, OUTSIDE)
            for end, last in zip(ends, (1, 2), strict=True):
                end.address(f"{_CARRIER}.{self.number}.{last}/24")
            route(router, f"{_CARRIER}.{self.number}.1")
            make_router(carrier, nat)
        else:
            self._join(router, OUTSIDE, wire)
        if len(names) == 1:
            hosts = [self.lab.node(names[0])]
            inside, _ = cable(router, INSIDE, hosts[0], "eth0")
        else:
            lan, hosts = self._lan(names, isolated)
            inside = plug(router, INSIDE, lan)
        inside.address(f"{self._inner}.1/24")
        make_router(router, nat)
        return self._settle(hosts, () if wire is None else (wire,))

    def _user(self, names: Sequence[str], isolated: bool) -> list[Host]:
        behaviour = replace(_behaviour(self.kind, self.behaviour))
        if self.answers:
            behaviour = replace(behaviour, answers=True)
        box = tun_nat.start(
            self.lab,
            self.outer,
            f"{self._inner}.1",
            behaviour,
            gateway=self.gateway,
            delay=self.delay,
            seed=self.number,
        )
        if len(names) == 1:
            hosts = [self.lab.node(names[0])]
            box.connect(self.wan, self.label, hosts[0], "eth0")
        else:
            lan, hosts = self._lan(names, isolated)
            box.connect(self.wan, self.label, lan, "to-nat", switched=True)
        return self._settle(hosts, (box,))

    @property
    def _inner(self) -> str:
        return f"192.168.{self.number}"

    def _lan(self, names: Sequence[str], isolated: bool) -> tuple[Node, list[Node]]:
        lan = switch(self.lab, f"lan-{self.number}")
        hosts = [self.lab.node(name) for name in names]
        for host in hosts:
            cable(host, "eth0", lan, f"to-{host.name}")
            port = ["ip", "link", "set", "dev", f"to-{host.name}"]
            lan.run(*port, "master", BRIDGE)
            if isolated:
                lan.run(*port, "type", "bridge_slave", "isolated", "on")
        return lan, hosts

    def _settle(self, hosts: Sequence[Node], boxes: tuple[tun_nat.Started, ...]) -> list[Host]:
        placed = []
        for last, node in enumerate(hosts, start=2):
            address = f"{self._inner}.{last}"
            commands = f"ip address add {address}/24 dev eth0; ip route add default via {self._inner}.1"
            node.run("sh", "-ec", commands)
            placed.append(Host(node, address, self.outer, boxes))
        return placed
