"""`Outgoing`, a datagram to be sent; and `Machine`, what `crust.nat.errand` needs of the pure parts that send some."""

from typing import NamedTuple, Protocol

from crust.endpoint import Address


class Outgoing(NamedTuple):
    """A datagram to be sent."""

    data: bytes
    to: Address
    socket: int = 0
    """From which socket: 0 is that of the uTP port, others are on any port, each always on the same."""
    ttl: int | None = None
    """Routers that it passes; ``None`` for as many as usual."""


class Machine(Protocol):
    """Takes datagrams and the time, in seconds on one clock; gives datagrams."""

    @property
    def over(self) -> bool:
        """Whether its owner wants to know what came of it."""

    def receive(self, data: bytes, source: Address, now: float, socket: int = 0) -> bool:
        """Whether a datagram was meant for it."""

    def tick(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""

    def outgoing(self) -> list[Outgoing]:
        """Take what is to be sent now."""
