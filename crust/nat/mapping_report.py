"""What is known of the routers that were asked to let peers in: values for users, and words for people."""

import enum
import ipaddress
from dataclasses import dataclass
from typing import Final

from crust.endpoint import Endpoint, Port

_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")


class Method(enum.Enum):
    """How a router is asked; in the order in which they are tried."""

    PCP = "PCP"
    NAT_PMP = "NAT-PMP"
    UPNP = "UPnP"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A port that a router lets peers in to.

    Attributes:
        port: ours, that is listened on.
        external: where peers reach it. For IPv6 it is our own address: the router's firewall has a hole.
        lease: seconds for which the router gave it; ``None``: until it is deleted.
    """

    port: Port
    external: Endpoint
    lease: float | None


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """One router, as seen from one of our addresses.

    Attributes:
        interface: the name of the interface it is reached by.
        local: our address there.
        gateway: the router's address; ``None`` if the system knows of no router on that interface.
        method: how it is asked; ``None`` while that is not known, and if it understands nothing.
        external_address: its address on its other side; ``None`` while it is not known.
        mappings: what it gave us.
        warnings: what is wrong, and what to do about it.
        settled: whether there is nothing more to wait for.
    """

    interface: str
    local: str
    gateway: str | None
    method: Method | None
    external_address: str | None
    mappings: tuple[Mapping, ...]
    warnings: tuple[str, ...]
    settled: bool


@dataclass(frozen=True, slots=True)
class MappingReport:
    """All routers.

    Attributes:
        gateways: a report of each.
        begun: whether there was time to look for routers.
    """

    gateways: tuple[GatewayReport, ...] = ()
    begun: bool = False

    @property
    def settled(self) -> bool:
        """Whether every router has answered or been given up."""
        return self.begun and all(gateway.settled for gateway in self.gateways)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where peers anywhere can reach us through a router: mapped ports at public addresses, each once."""
        found = [mapping.external for gateway in self.gateways for mapping in gateway.mappings]
        return [each for each in dict.fromkeys(found) if not hidden_behind(each.host)]


def hidden_behind(address: str) -> str | None:
    """Why an address that a router calls its external one leads nobody to it; ``None`` if it is a public one."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        return "the router has no address outside: it is not connected"
    if parsed in _SHARED:
        return (
            f"the router's outside address {address} is shared with other customers of the provider (carrier-grade "
            "NAT): peers reach you by hole punching, over IPv6, or if the provider gives you a public IPv4 address"
        )
    if parsed.is_private or parsed.is_link_local:
        return (
            f"the router's outside address {address} is a private one: another router is in front of it. Forward the "
            "port there as well, or let one of the two be a bridge"
        )
    if not parsed.is_global or parsed.is_multicast:
        return f"the router says that its outside address is {address}, which is not an address that anybody has"
    return None
