"""`NatReport`: what stands between this node and others, in words, and what to do about it. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.observations import Believed, Confidence

_FORWARD: Final = (
    "To be reached by everybody, switch on UPnP or NAT-PMP in the router, or set a fixed utp_port and tcp_port and "
    "forward them to this machine in the router."
)
_MAPPINGS: Final = {
    Mapping.UNKNOWN: "Whether others all see the same address is not known: too few could be asked.",
    Mapping.NONE: "There is no address translation: others see this machine's own address.",
    Mapping.ENDPOINT_INDEPENDENT: "The router shows the same address to everybody (endpoint-independent mapping).",
    Mapping.ENDPOINT_DEPENDENT: "The router shows another address to each peer (endpoint-dependent mapping).",
    Mapping.ADDRESS_DEPENDENT: "The router shows another address to each host (address-dependent mapping).",
    Mapping.ADDRESS_AND_PORT_DEPENDENT: (
        "The router shows another address to each peer (address- and port-dependent, or symmetric, mapping)."
    ),
}
_NO_PORT: Final = (
    "What stands between this node and others is not known: that is found out at the uTP port, and there is none "
    "(utp_port)."
)
_FILTERINGS: Final = {
    Filtering.UNKNOWN: "",
    Filtering.ENDPOINT_INDEPENDENT: "Everybody can send to that address.",
    Filtering.ADDRESS_DEPENDENT: "Only hosts that this machine has sent to can send back.",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "Only addresses and ports that this machine has sent to can send back.",
}


@dataclass(frozen=True, slots=True)
class NatReport:
    """What is known of one family of addresses."""

    behaviour: Behaviour
    address: Believed | None = None
    """The outer address of the uTP port."""
    asked: int = 0
    """How many were asked who sees us."""
    answered: int = 0
    """How many of them answered."""
    failed: tuple[tuple[str, str], ...] = ()
    """The servers of the configuration that told nothing, as they are named there, and why."""
    utp: bool = True
    """Whether there is a port of which all of this could be found out."""

    @property
    def blocked(self) -> bool:
        """Whether nobody who was asked over UDP has answered."""
        return self.asked > 0 and not self.answered

    def lines(self) -> list[str]:
        """What is so, one sentence a line."""
        behaviour = self.behaviour
        if self.blocked:
            first = f"None of {self.asked} servers answered over UDP: it is blocked, or the servers are not there."
            return [first, *self._failures()]
        if not self.utp and not self.asked:
            return [_NO_PORT]
        found = [_MAPPINGS[behaviour.mapping], _FILTERINGS[behaviour.filtering], self._where()]
        if behaviour.mapping.dependent:
            found.append(self._ports())
        if behaviour.several_hosts:
            found.append("The router has several outer addresses and uses them in turn.")
        if behaviour.hairpin is not None and behaviour.mapping is not Mapping.NONE:
            can = "can" if behaviour.hairpin else "cannot"
            found.append(f"Machines behind the same router {can} reach each other by the outer address (hairpinning).")
        return [line for line in (*found, *self._failures()) if line]

    def _failures(self) -> list[str]:
        return [f"The server {name} told nothing: {why}." for name, why in self.failed]

    def _where(self) -> str:
        if self.address is None:
            return ""
        (host, port), confidence, voices = self.address
        who = {
            Confidence.HEARD: "one observer says so" if voices == 1 else "observers do not agree",
            Confidence.LIKELY: f"{voices} observers agree",
            Confidence.CONFIRMED: f"confirmed by {voices} observers",
        }[confidence]
        place = f"[{host}]" if ":" in host else host
        return f"The outer address is {place}{f':{port}' if port else ''} ({who})."

    def _ports(self) -> str:
        match self.behaviour.allocation:
            case Allocation.SEQUENTIAL:
                return f"Its ports are counted up in steps of {self.behaviour.delta}, so the next can be predicted."
            case Allocation.RANDOM:
                return "Its ports are random."
            case _:
                return ""

    def reach(self) -> str:
        """Who can connect to this node, in a sentence."""
        mapping, filtering = self.behaviour.mapping, self.behaviour.filtering
        if self.blocked:
            return "Over UDP nobody; TCP may work."
        if mapping is Mapping.NONE and filtering in (Filtering.UNKNOWN, Filtering.ENDPOINT_INDEPENDENT):
            return "Everybody can connect to this node, if no firewall is in the way."
        if mapping.consistent and filtering is Filtering.ENDPOINT_INDEPENDENT:
            return "Everybody can connect to the outer address."
        if mapping.consistent:
            return "Others can connect with the help of a peer that both know (hole punching)."
        if mapping is Mapping.UNKNOWN:
            return "Probably others with the help of a peer that both know (hole punching)."
        if self.behaviour.allocation is Allocation.SEQUENTIAL:
            return (
                "Most others, by hole punching to predicted ports; those behind routers with random ports only relayed."
            )
        return (
            "Others behind a router that shows one address to everybody, by hole punching that takes up to half a "
            "minute; those behind a router like this one only relayed."
        )

    def advice(self) -> list[str]:
        """What the user can do; nothing if all is well."""
        mapping, filtering = self.behaviour.mapping, self.behaviour.filtering
        if self.blocked:
            return [
                "Check stun_servers, and let UDP out of the firewall on this machine and on the router.",
                "Until then uTP works within the local network only; use TCP endpoints.",
            ]
        found = []
        if not self.asked and not self.utp:
            found.append(
                "Set utp_port: servers and peers tell where they see this node only if they are asked from there."
            )
        elif self.failed:
            found.append("Check stun_servers, or connect to peers: both tell where they see this node.")
        elif not self.asked:
            found.append(
                "Name servers to ask in stun_servers, or connect to peers: both tell where they see this node."
            )
        if mapping is Mapping.NONE and filtering > Filtering.ENDPOINT_INDEPENDENT:
            found.append(
                "Let the UDP port (utp_port) and TCP port (tcp_port) in through the firewall to be reached directly."
            )
        elif mapping not in (Mapping.NONE, Mapping.UNKNOWN) and filtering is not Filtering.ENDPOINT_INDEPENDENT:
            found.append(_FORWARD)
        if mapping.dependent:
            found.append("A router setting such as “full cone”, “endpoint-independent” or “NAT type: open” also helps.")
        return found

    def as_dict(self) -> dict[str, Any]:
        """All of it for machines: names in lower case, ``null`` for what is not known."""
        behaviour = self.behaviour
        host, port = self.address.address if self.address else (None, None)
        return {
            "mapping": behaviour.mapping.name.lower(),
            "filtering": behaviour.filtering.name.lower(),
            "allocation": behaviour.allocation.name.lower(),
            "delta": behaviour.delta,
            "hairpin": behaviour.hairpin,
            "several_hosts": behaviour.several_hosts,
            "host": host,
            "port": port,
            "confidence": self.address.confidence.name.lower() if self.address else None,
            "asked": self.asked,
            "answered": self.answered,
            "failed": dict(self.failed),
            "reach": self.reach(),
            "advice": self.advice(),
        }
