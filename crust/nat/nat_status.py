"""`NatStatus`: what ``nat_status()`` tells of how this node can be reached: values for programs, words for people."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from crust.endpoint import Endpoint
from crust.nat.behaviour import UNKNOWN
from crust.nat.mapping_report import GatewayReport, MappingReport
from crust.nat.nat_report import NatReport

_VERDICTS = {True: "verified: a peer has reached it", False: "peers have tried it and did not get through", None: ""}


@dataclass(frozen=True, slots=True)
class NatStatus:
    """How this node can be reached, as far as it is known; ``print()`` of it shows lines for people."""

    own: tuple[Endpoint, ...] = ()
    """The addresses of this machine with the ports that are listened on."""
    external: tuple[Endpoint, ...] = ()
    """Where peers anywhere can reach it beside those."""
    mappings: MappingReport = field(default_factory=MappingReport)
    """What the routers of this machine were asked, and gave."""
    nat: NatReport = field(default_factory=lambda: NatReport(UNKNOWN))
    """How the way out over UDP and IPv4 behaves."""
    verified: dict[Endpoint, bool | None] = field(default_factory=dict)
    """Endpoints that peers were asked to try from elsewhere, and whether they got through; ``None``: not known yet."""
    relays: bool = False
    """Whether this node carries connections of others."""
    listening: bool = True
    """Whether this node listens at all."""

    @property
    def direct(self) -> bool:
        """Whether a peer has reached this node by itself at one of its endpoints: "direct connected"."""
        return any(self.verified.values())

    def lines(self) -> list[str]:
        """What is so, and what to do about it, a sentence or an endpoint a line."""
        found = [self._reach()]
        found += [f"  {line}" for line in self.nat.lines()]
        for title, endpoints in (("This machine:", self.own), ("From elsewhere:", self.external)):
            if endpoints:
                found.append(title)
                found += [self._endpoint(endpoint) for endpoint in endpoints]
        known = {*self.own, *self.external}
        if closed := [each for each, verdict in self.verified.items() if verdict is False and each not in known]:
            found.append("Where others see it, and nobody gets in unasked:")
            found += [self._endpoint(endpoint) for endpoint in closed]
        found += [line for gateway in self.mappings.gateways for line in _gateway(gateway)]
        if advice := self._advice():
            found.append("What to do:")
            found += [f"  {line}" for line in advice]
        if self.relays:
            found.append("This node carries connections of others that cannot reach each other (relay: true).")
        return found

    def _versions(self, endpoints: Iterable[Endpoint]) -> set[int]:
        return {6 if ":" in each.host else 4 for each in endpoints}

    @property
    def _reached(self) -> set[int]:
        """The versions of IP over which a peer has got through."""
        return self._versions(each for each, verdict in self.verified.items() if verdict)

    def _reach(self) -> str:
        if not self.listening:
            return "This node does not listen: nobody can dial it."
        reached, has = self._reached, self._versions((*self.own, *self.external))
        if 4 in reached:
            closed = self._versions(each for each, verdict in self.verified.items() if verdict is False) - reached
            return f"Everybody can connect to this node{' over IPv4' if closed else ''}: a peer elsewhere has tried."
        if 6 in reached:
            first = "Everybody who has IPv6 can connect to this node: a peer elsewhere has tried."
            return f"{first} Over IPv4: {self.nat.reach()}" if 4 in has else first
        return self.nat.reach()

    def _advice(self) -> list[str]:
        if 4 in self._reached or not (self.listening or self.nat.asked):
            return []
        if self.direct and 4 not in self._versions((*self.own, *self.external)):
            return []
        return self.nat.advice()

    def _endpoint(self, endpoint: Endpoint) -> str:
        verdict = _VERDICTS[self.verified.get(endpoint)]
        return f"  {endpoint}{f'  ({verdict})' if verdict else ''}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def as_dict(self) -> dict[str, Any]:
        """All of it for machines, as JSON has it."""
        return {
            "reach": self._reach(),
            "direct": self.direct,
            "own": [str(endpoint) for endpoint in self.own],
            "external": [str(endpoint) for endpoint in self.external],
            "verified": {str(endpoint): verdict for endpoint, verdict in self.verified.items()},
            "nat": self.nat.as_dict(),
            "gateways": [_gateway_dict(gateway) for gateway in self.mappings.gateways],
            "mappings_settled": self.mappings.settled,
            "relays": self.relays,
            "listening": self.listening,
            "advice": self._advice(),
        }


def _gateway(report: GatewayReport) -> list[str]:
    who = f"The router {report.gateway or 'that is not known'} ({report.interface}, {report.local})"
    if ":" in report.local:  # over IPv6 nothing is mapped: a firewall lets peers in, or not
        refuses, gives = (
            "does not open its IPv6 firewall (neither over PCP nor over UPnP)",
            "opens its IPv6 firewall over",
        )
        detail = ""
    else:
        refuses, gives = "lets nobody map ports (PCP, NAT-PMP and UPnP are off)", "speaks"
        detail = f"; its outside address is {report.external_address or 'not known'}"
    if report.method is None:
        return [f"{who} {refuses if report.settled else 'is being asked'}.", *_indented(report.warnings)]
    mapped = [f"{mapping.external} leads to our {mapping.port}" for mapping in report.mappings]
    return [f"{who} {gives} {report.method.value}{detail}.", *_indented(mapped), *_indented(report.warnings)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _gateway_dict(report: GatewayReport) -> dict[str, Any]:
    return {
        "interface": report.interface,
        "local": report.local,
        "gateway": report.gateway,
        "method": None if report.method is None else report.method.value,
        "external_address": report.external_address,
        "mappings": [
            {"port": str(mapping.port), "external": str(mapping.external), "lease": mapping.lease}
            for mapping in report.mappings
        ],
        "warnings": list(report.warnings),
        "settled": report.settled,
    }
