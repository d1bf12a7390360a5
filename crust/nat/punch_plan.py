"""`Plan`: which addresses to probe, when, and what that may cost (docs/nat.md). Pure.

A peer says where it is, and may lie: whoever is named gets probes. So there are few hosts, few probes for each that
nobody vouches for, never any to a private address of another network, and a bound on all of it before it begins.
"""

import enum
import ipaddress
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from crust.discovery.contact import dialable
from crust.endpoint import Address, Endpoint, Protocol
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping, predicted_ports
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.ranges import is_in, is_local

PREDICTED_PORTS: Final = 16
"""Ports that are tried where they are counted up: the NAT's other customers get some in the meantime."""
PEER_HOSTS: Final = 4
"""Public hosts of a peer that are probed."""
MAX_TARGETS: Final = 32
"""Addresses of a peer that are probed, the predicted ones included."""
UNVOUCHED_PROBES: Final = 10
"""Probes to a public host of which nobody but the peer says that it is there: less than a kilobyte."""
PROBE_OFFSETS: Final = (0.0, 0.05, 0.15, 0.3, 0.5)
"""Seconds from the start to each round of probes; then `LATER_INTERVAL`."""
LATER_INTERVAL: Final = 0.5  # seconds between later rounds
PUNCH_SECONDS: Final = 8.0
"""For which both sides probe; those who meet begin at the same time. Maidsafe gave it 8 to 15."""

BIRTHDAY_SOCKETS: Final = 256
"""Sockets of the side whose ports are random. With `BIRTHDAY_PROBES` they meet in 999 of 1,000 cases."""
BIRTHDAY_PROBES: Final = 1750
"""Probes of the other side, each to another port: 1 - (1 - 256/64512)^1750. The numbers are hyperdht's."""
BIRTHDAY_INTERVAL: Final = 0.02  # seconds between them: 35 s in all, 50 packets a second
BIRTHDAY_START: Final = 1.0
"""Seconds after which it begins: most meet before, and the sockets are open by then."""
OPENING_INTERVAL: Final = 0.004  # seconds between the first probes of two sockets: all are open in a second
REOPEN_INTERVAL: Final = 10.0
"""Seconds after which each socket sends again: NATs forget what is not answered after 30."""
OPENING_TTL: Final = 5
"""Routers that the first probe of each socket passes: out of our own NATs, but hardly into theirs."""
BIRTHDAY_SECONDS: Final = BIRTHDAY_START + BIRTHDAY_PROBES * BIRTHDAY_INTERVAL + 2.0
BIRTHDAY_OPENINGS: Final = BIRTHDAY_SOCKETS * (1 + int(BIRTHDAY_SECONDS / REOPEN_INTERVAL))
"""Probes of the side with the many sockets, at most."""


class Method(enum.Enum):
    """How two NATs are passed."""

    PROBE = "both send to the addresses that others see"
    PREDICT = "both send to the ports that come next"
    OPEN_MANY = "we have random ports: we open many of them, and the peer looks for one"
    SEARCH = "the peer has random ports and opens many: we look for one"
    NONE = "ports of both are random, or of one while the other's change: only a relay helps"


def method_for(ours: Behaviour, theirs: Behaviour) -> Method:
    """How to pass a pair of NATs; what is not known counts as well-behaved. Both sides come to matching answers."""
    if _open(ours) or _open(theirs) or not (ours.mapping.dependent or theirs.mapping.dependent):
        return Method.PROBE
    hard = [each for each in (ours, theirs) if each.mapping.dependent]
    if all(each.allocation is Allocation.SEQUENTIAL for each in hard):
        return Method.PREDICT
    if len(hard) == 2:
        return Method.NONE
    easy = theirs if ours.mapping.dependent else ours
    if easy.filtering is Filtering.ADDRESS_DEPENDENT:
        return Method.PROBE
    return Method.OPEN_MANY if ours.mapping.dependent else Method.SEARCH


def _open(behaviour: Behaviour) -> bool:
    """Whether everybody can send to the address that somebody saw, and get an answer from there."""
    if behaviour.filtering is Filtering.UNKNOWN:
        return behaviour.mapping is Mapping.NONE
    return behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT and not behaviour.mapping.dependent


class Target(NamedTuple):
    """An address to be probed."""

    address: Address
    limit: int
    """Probes that it gets, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what it may cost."""

    method: Method
    targets: tuple[Target, ...]
    """In the order in which they are probed, which is that of new mappings."""
    seconds: float
    """After which it has failed."""
    main: Address | None = None
    """Where the many sockets send to, or whose host's ports are searched."""

    @property
    def sockets(self) -> int:
        """How many are needed, the one of the uTP port included."""
        return BIRTHDAY_SOCKETS if self.method is Method.OPEN_MANY else 1

    @property
    def budget(self) -> int:
        """Datagrams that are sent, at most, before the peer is heard."""
        rounds = len(PROBE_OFFSETS) + int(self.seconds / LATER_INTERVAL)
        plain = sum(min(target.limit, rounds) for target in self.targets)
        return plain + {Method.OPEN_MANY: BIRTHDAY_OPENINGS, Method.SEARCH: BIRTHDAY_PROBES}.get(self.method, 0)

    def without(self, unwelcome: Callable[[Address], bool]) -> "Plan":
        """The same, without the addresses that are not welcome."""
        main = None if self.main is None or unwelcome(self.main) else self.main
        method = Method.PROBE if self.main is not None and main is None else self.method
        targets = tuple(target for target in self.targets if not unwelcome(target.address))
        return replace(self, method=method, targets=targets, main=main)

    def search_ports(self, rng: random.Random) -> list[int]:
        """The ports to look at, each once."""
        return rng.sample(range(1024, 0x10000), BIRTHDAY_PROBES)


def make_plan(
    ours: ConnectionInfo,
    theirs: ConnectionInfo,
    own_networks: Collection[str] = (),
    vouched_hosts: Collection[str] | None = None,
    seconds: float = PUNCH_SECONDS,
) -> Plan:
    """The plan for meeting a peer over UDP. Any thread may call.

    Args:
        ours, theirs: what was exchanged.
        own_networks: the networks that this machine is in, as ``192.168.1.0/24``.
        vouched_hosts: where others see the peer; ``None`` if the user has brought the info and answers for it.
        seconds: for how long plain probes go on; more where the two do not begin at the same time.
    """
    allowed = allowed_addresses(ours, theirs, own_networks, vouched_hosts=vouched_hosts)
    limit = 2**16
    targets = [
        Target(address, limit if vouched_hosts is None or _is_vouched(address[0], vouched_hosts) else UNVOUCHED_PROBES)
        for address in allowed
    ]
    method = method_for(ours.behaviour, theirs.behaviour)
    outer = [address for address in outer_addresses(theirs) if address in allowed]
    main = outer[0] if outer else None
    if method in (Method.OPEN_MANY, Method.SEARCH):
        if main is None or (vouched_hosts is not None and main[0] not in vouched_hosts):
            return Plan(Method.PROBE, tuple(targets), seconds)  # nobody is searched, or flooded, on a stranger's word
        return Plan(method, tuple(targets), max(seconds, BIRTHDAY_SECONDS), main)
    if method is Method.NONE:
        targets = [target for target in targets if target.address not in outer]  # near ones may do
    if method is Method.PREDICT:
        targets = _with_predictions(targets, outer, ours.behaviour, theirs.behaviour)
    return Plan(method, tuple(targets), seconds)


def _is_vouched(host: str, vouched_hosts: Collection[str]) -> bool:
    return host in vouched_hosts or is_local(host)


def _with_predictions(
    targets: Sequence[Target], outer: Iterable[Address], ours: Behaviour, theirs: Behaviour
) -> list[Target]:
    """First what decides: each probe of a NAT that counts up takes the next port."""
    limits = dict(targets)
    predicted = [
        Target((host, each), limits[(host, port)])
        for host, port in outer
        for each in predicted_ports(port, theirs.delta, PREDICTED_PORTS)
        if theirs.mapping.dependent
    ]
    if not ours.mapping.dependent:
        return [*targets, *predicted][:MAX_TARGETS]
    # Both count: the n-th port of ours was opened for the n-th of theirs, if both begin with the predicted ones.
    # If only we count, the peer's outer address comes first.
    first = predicted or [Target(address, limits[address]) for address in outer]
    addresses = {target.address for target in first}
    return [*first, *(target for target in targets if target.address not in addresses)][:MAX_TARGETS]


def outer_addresses(info: ConnectionInfo, protocol: Protocol = Protocol.UTP) -> list[Address]:
    """The addresses at which others see a peer."""
    return [
        candidate.endpoint.address
        for candidate in info.candidates
        if candidate.kind is CandidateKind.REFLEXIVE and candidate.endpoint.protocol is protocol
    ]


def allowed_addresses(
    ours: ConnectionInfo,
    theirs: ConnectionInfo,
    own_networks: Collection[str],
    protocol: Protocol = Protocol.UTP,
    vouched_hosts: Collection[str] | None = None,
) -> list[Address]:
    """The addresses of a peer that may be probed, or dialled from the listening port, in their order.

    Args:
        ours, theirs, own_networks, vouched_hosts: as for `make_plan`.
        protocol: uTP or TCP.
    """
    own = {candidate.endpoint for candidate in ours.candidates}
    same_network = _same_network(ours, theirs, own_networks, vouched_hosts)
    hosts: set[str] = set()
    found: list[Address] = []
    for candidate in theirs.candidates:
        if candidate.endpoint.protocol is not protocol:
            continue
        host, _ = address = candidate.endpoint.address
        if candidate.endpoint in own or not dialable(candidate.endpoint, allow_loopback=_is_loopback_only(ours)):
            continue
        if is_local(host):
            if not same_network or not is_in(host, own_networks):
                continue
        elif host not in hosts and len(hosts) >= PEER_HOSTS:
            continue
        else:
            hosts.add(host)
        found.append(address)
    return found


def _is_loopback_only(info: ConnectionInfo) -> bool:
    """Whether a node is there for this machine alone; then so are its peers."""
    hosts = [ipaddress.ip_address(candidate.endpoint.host) for candidate in info.candidates]
    return bool(hosts) and all(host.is_loopback for host in hosts)


def _same_network(
    ours: ConnectionInfo, theirs: ConnectionInfo, own_networks: Collection[str], vouched_hosts: Collection[str] | None
) -> bool:
    """Whether nothing says that the two are in different networks: others see both at the same host, or it in ours.

    What the peer says of itself counts only where nobody else says anything: with a lie it would have us look around
    among our neighbours.
    """
    our_hosts, their_hosts = (
        {host for protocol in Protocol for host, _ in outer_addresses(info, protocol) if not is_local(host)}
        for info in (ours, theirs)
    )
    if not our_hosts:
        return True
    if vouched_hosts is not None:
        return any(host in our_hosts or _is_near(host, own_networks) for host in vouched_hosts)
    return not their_hosts or bool(our_hosts & their_hosts)


def _is_near(host: str, own_networks: Collection[str]) -> bool:
    """Whether a host is on our side of the NAT. (Of public IPv4 addresses, strangers may have the next one.)"""
    return is_in(host, own_networks) and (is_local(host) or ":" in host)


def candidates_for(
    hosts: Iterable[Endpoint], mapped: Iterable[Endpoint], reflexive: Iterable[Endpoint]
) -> list[Candidate]:
    """Our candidates in the order of an info: what is surely open, then what others see, then what is near.

    Args:
        hosts: addresses of this machine with the ports that it listens on.
        mapped: what routers forward.
        reflexive: what others see; where that differs, what was seen last.
    """
    kinds = ((CandidateKind.MAPPED, mapped), (CandidateKind.REFLEXIVE, reflexive), (CandidateKind.HOST, hosts))
    return [Candidate(kind, endpoint) for kind, endpoints in kinds for endpoint in endpoints]
