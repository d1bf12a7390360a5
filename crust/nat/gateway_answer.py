"""What routers answer over NAT-PMP and PCP, in one form for both, and what both have to know of a router's clock."""

import enum
from dataclasses import dataclass
from typing import Final, Protocol

from crust.nat.mapping_report import Method

PORT: Final = 5351
"""UDP port of routers; RFC 6886 section 3, RFC 6887 section 19."""
ANNOUNCE_PORT: Final = 5350
"""UDP port where clients hear what a router says to all; the same places."""
ANNOUNCE_GROUP: Final = "224.0.0.1"
"""Where it says so; RFC 6886 section 3.2.1, RFC 6887 section 14.1.1."""

TCP: Final = 6
UDP: Final = 17


class Kind(enum.Enum):
    """What an answer is about."""

    MAP = "a mapping"
    ADDRESS = "the outside address"
    ANNOUNCE = "the router itself"


class Outcome(enum.Enum):
    """Result codes of both protocols, by what they mean for us; the texts go on ``the router``."""

    OK = "did it"
    OTHER_VERSION = "speaks another version"
    REFUSED = (
        "does not allow it: switch port mapping on (UPnP, NAT-PMP or PCP) in its settings, or forward the port there"
    )
    NOT_CONNECTED = "has no connection to the outside"
    NO_ROOM = "has no room for another mapping: remove some in its settings"
    UNSUPPORTED = "cannot do that"
    NOT_UNDERSTOOD = "did not understand the request"
    ANOTHER_NAT = "sees us under another address: there is another router between us and it, which has to be asked too"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        outcome: what became of it.
        kind: what it is about.
        epoch: seconds since the router began to keep mappings; ``None``: it does not tell.
        transport: `TCP` or `UDP`; of a mapping only, as all the following.
        internal: our port.
        external: the router's port.
        address: the router's address on its other side; ``None``: it does not tell.
        lifetime: seconds that the mapping, or the error, holds.
        nonce: what the request had, if the protocol has that.
    """

    outcome: Outcome
    kind: Kind
    epoch: int | None = None
    transport: int = 0
    internal: int = 0
    external: int = 0
    address: str | None = None
    lifetime: int = 0
    nonce: bytes = b""


@dataclass(frozen=True, slots=True)
class Seen:
    """When a router's clock showed what."""

    epoch: int
    at: float


class Dialect(Protocol):
    """NAT-PMP or PCP."""

    method: Method

    def ask_address(self) -> bytes | None:
        """A request for the outside address; ``None`` where mappings tell it."""

    def ask_map(
        self, transport: int, internal: int, external: int, address: str | None, lifetime: int, nonce: bytes
    ) -> bytes:
        """A request for a mapping; without lifetime, for its end.

        Args:
            transport: `TCP` or `UDP`.
            internal: our port.
            external: the port that would be liked.
            address: the outside address that would be liked.
            lifetime: seconds.
            nonce: 12 random bytes, the same for each request about this mapping.
        """

    def parse(self, data: bytes) -> Answer:
        """An answer or announcement.

        Raises:
            Malformed: it is neither.
        """

    def lost_state(self, before: Seen, after: Seen) -> bool:
        """Whether the router's clock shows that it has forgotten its mappings in the meantime."""
