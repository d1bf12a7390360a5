"""What a NAT remembers: mappings, who may come in by them, and for how long. In the words of RFC 4787 and RFC 5382."""

import dataclasses
import random
from enum import StrEnum
from typing import Any

from tests.lab.tun_nat_packet import FIN, ICMP, RST, SYN, TCP, Packet

_FIRST_PORT, _LAST_PORT = 1024, 65_535
_SWEEP_AFTER = 1024  # new mappings, before those that are over are thrown away


class Dependence(StrEnum):
    """What of the other side's endpoint counts."""

    NONE = "endpoint-independent"
    HOST = "address-dependent"
    PORT = "address-and-port-dependent"


class Allocation(StrEnum):
    """How outer ports are chosen."""

    PRESERVING = "the inner port if it is free, else any"
    SEQUENTIAL = "the last one plus a step"
    RANDOM = "any"


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """A kind of NAT. Lifetimes in seconds, after the last packet."""

    mapping: Dependence = Dependence.NONE
    filtering: Dependence = Dependence.PORT
    allocation: Allocation = Allocation.RANDOM
    step: int = 1  # of sequential ports; may be negative
    hairpin: bool = False
    answers: bool = False  # what comes unasked gets a RST or an ICMP error; else silence
    inbound_refreshes: bool = True  # what comes in keeps a mapping alive, too
    udp_lifetime: float = 120.0
    icmp_lifetime: float = 60.0
    tcp_opening: float = 240.0
    tcp_lifetime: float = 7440.0
    tcp_closing: float = 10.0

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Behaviour":
        """What `dataclasses.asdict` made, perhaps with JSON between."""
        return cls(
            **{
                **fields,
                "mapping": Dependence(fields["mapping"]),
                "filtering": Dependence(fields["filtering"]),
                "allocation": Allocation(fields["allocation"]),
            }
        )


class Flow:
    """What passed between a mapping and one endpoint outside."""

    __slots__ = ("ended", "started", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.started = 0  # bits: who has sent anything, 1 the inside, 2 the outside
        self.ended = 0  # bits: whose FIN was seen


class Mapped:
    """A mapping."""

    __slots__ = ("flows", "inner", "key", "outer", "until")

    def __init__(self, key: bytes, inner: bytes, outer: bytes) -> None:
        self.key = key
        self.inner = inner
        self.outer = outer
        self.until = 0.0
        self.flows: dict[bytes, Flow] = {}


class Table:
    """All mappings of one NAT with one outer address.

    Args:
        host: the outer address, as four bytes.
    """

    def __init__(self, behaviour: Behaviour, host: bytes, rng: random.Random) -> None:
        self.behaviour = behaviour
        self._host = host
        self._rng = rng
        self._next = rng.randrange(20_000, 60_000)
        self._made = 0
        self._by_inner: dict[tuple[int, bytes], Mapped] = {}
        self._by_outer: dict[tuple[int, bytes], Mapped] = {}

    def __len__(self) -> int:
        return len(self._by_outer)

    def outgoing(self, packet: Packet, now: float) -> Mapped | None:
        """The mapping by which a packet leaves, new if need be; None if TCP does not begin like this."""
        inner, remote = packet.source, packet.destination
        counts = {Dependence.NONE: b"", Dependence.HOST: remote[:4], Dependence.PORT: remote}
        key = inner + counts[self.behaviour.mapping]
        mapped = self._by_inner.get((packet.protocol, key))
        known = mapped is not None and mapped.until > now
        if packet.protocol == TCP and not packet.flags & SYN:
            flow = mapped.flows.get(remote) if mapped is not None and known else None
            if flow is None or flow.until <= now:
                return None
        if mapped is None or not known:
            mapped = self._make(packet.protocol, key, inner, now)
            if mapped is None:
                return None
        self._passed(mapped, packet, remote, 1, now)
        return mapped

    def incoming(self, packet: Packet, now: float) -> Mapped | None:
        """The mapping by which a packet may come in; None when it may not."""
        mapped = self._by_outer.get((packet.protocol, packet.destination))
        remote = packet.source
        if mapped is None or mapped.until <= now or not self._lets_in(mapped, remote, now):
            return None
        if packet.protocol == TCP and not packet.flags & SYN:
            flow = mapped.flows.get(remote)
            if flow is None or flow.until <= now:
                return None
        self._passed(mapped, packet, remote, 2, now)
        return mapped

    def flow(self, protocol: int, outer: bytes, remote: bytes, now: float) -> Mapped | None:
        """The mapping that has this outer endpoint, if it and ``remote`` have something to do with each other."""
        mapped = self._by_outer.get((protocol, outer))
        if mapped is None or mapped.until <= now or remote not in mapped.flows:
            return None
        return mapped

    def reaching(self, protocol: int, inner: bytes, remote: bytes, now: float) -> Mapped | None:
        """The mapping by which packets of ``remote`` reach this inner endpoint."""
        for dependent in (b"", remote[:4], remote):
            mapped = self._by_inner.get((protocol, inner + dependent))
            if mapped is not None and mapped.until > now and remote in mapped.flows:
                return mapped
        return None

    def _lets_in(self, mapped: Mapped, remote: bytes, now: float) -> bool:
        filtering = self.behaviour.filtering
        if filtering is Dependence.NONE:
            return True
        flow = mapped.flows.get(remote)
        if flow is not None and flow.until > now:
            return True
        return filtering is Dependence.HOST and any(
            other[:4] == remote[:4] and flow.until > now for other, flow in mapped.flows.items()
        )

    def _passed(self, mapped: Mapped, packet: Packet, remote: bytes, side: int, now: float) -> None:
        flow = mapped.flows.get(remote)
        if flow is None or flow.until <= now:
            flow = mapped.flows[remote] = Flow()
        flow.started |= side
        if packet.protocol == TCP:
            self._segment_passed(mapped, packet, remote, flow, side, now)
        elif side == 1 or self.behaviour.inbound_refreshes:
            lifetime = self.behaviour.icmp_lifetime if packet.protocol == ICMP else self.behaviour.udp_lifetime
            flow.until = mapped.until = now + lifetime
        else:  # who came in without having been sent to stays known no longer than the mapping
            flow.until = max(flow.until, mapped.until)

    def _segment_passed(self, mapped: Mapped, packet: Packet, remote: bytes, flow: Flow, side: int, now: float) -> None:
        behaviour, flags = self.behaviour, packet.flags
        if flags & RST:
            del mapped.flows[remote]
            self._shorten(mapped, now)
            return
        if flags & SYN and flow.ended == 3:  # the same endpoints again
            flow.ended, flow.started = 0, side
        if flags & FIN:
            flow.ended |= side
        if flow.ended == 3:
            flow.until = now + behaviour.tcp_closing
            self._shorten(mapped, now)
        else:
            flow.until = now + (behaviour.tcp_lifetime if flow.started == 3 else behaviour.tcp_opening)
            mapped.until = max(mapped.until, flow.until)

    def _shorten(self, mapped: Mapped, now: float) -> None:
        """A connection is over. A mapping that others can share stays a while; one of its own goes with it."""
        latest = max((flow.until for flow in mapped.flows.values()), default=0.0)
        shared = self.behaviour.mapping is not Dependence.PORT
        mapped.until = max(latest, now + self.behaviour.tcp_closing if shared else 0.0)

    def _make(self, protocol: int, key: bytes, inner: bytes, now: float) -> Mapped | None:
        self._made += 1
        if self._made % _SWEEP_AFTER == 0:
            self._sweep(now)
        port = self._choose(protocol, int.from_bytes(inner[4:], "big"), now)
        if port is None:
            return None
        mapped = Mapped(key, inner, self._host + port.to_bytes(2, "big"))
        self._by_inner[protocol, key] = self._by_outer[protocol, mapped.outer] = mapped
        return mapped

    def _choose(self, protocol: int, wanted: int, now: float) -> int | None:
        def free(port: int) -> bool:
            old = self._by_outer.get((protocol, self._host + port.to_bytes(2, "big")))
            return port >= _FIRST_PORT and (old is None or old.until <= now)

        if self.behaviour.allocation is Allocation.PRESERVING and free(wanted):
            return wanted
        count = _LAST_PORT - _FIRST_PORT + 1
        for _ in range(count):
            if self.behaviour.allocation is Allocation.SEQUENTIAL:
                self._next = (self._next + self.behaviour.step - _FIRST_PORT) % count + _FIRST_PORT
            else:
                self._next = self._rng.randint(_FIRST_PORT, _LAST_PORT)
            if free(self._next):
                return self._next
        return None

    def _sweep(self, now: float) -> None:
        for table in (self._by_inner, self._by_outer):
            for place in [place for place, mapped in table.items() if mapped.until <= now]:
                del table[place]
