"""What the comparison needs of a system under test."""

from time import perf_counter_ns
from typing import Protocol


class WrongDelivery(Exception):
    """A system delivered something else than what was sent."""


class Node(Protocol):
    """One end of a pair. The acceptor's process calls `listen` and `accepted`, the connector's `connect`.

    After that both ends are equal. All calls come from one thread; `send` and `ping` on one end run while
    `receive` and `echo` run on the other.
    """

    def listen(self) -> str:
        """Begin to accept on loopback; where, in whatever form `connect` takes."""

    def connect(self, address: str) -> None:
        """Connect to the other end and wait until messages can flow."""

    def accepted(self) -> None:
        """Wait until the connector is there."""

    def send(self, message: bytes, count: int) -> None:
        """Send the same message ``count`` times, as fast as the other end takes it."""

    def receive(self, size: int, count: int) -> float:
        """Take ``count`` messages of ``size`` bytes, checking each; seconds from the first to the last."""

    def ping(self, message: bytes, count: int) -> list[int]:
        """Send ``message`` and wait for it to come back, ``count`` times; nanoseconds of each round trip."""

    def echo(self, size: int, count: int) -> None:
        """Send back what comes, ``count`` times."""

    def close(self) -> None:
        """End in order."""


def check(condition: bool, what: str) -> None:
    """Raise `WrongDelivery` unless ``condition``."""
    if not condition:
        raise WrongDelivery(what)


def seconds_since(start_ns: int) -> float:
    """Seconds since a moment of ``perf_counter_ns``."""
    return (perf_counter_ns() - start_ns) / 1e9
