"""`TcpPunch`: when to dial which address to pass NATs with TCP by simultaneous open (docs/nat.md). Pure.

Both sides dial each other from the port that they listen on, at the same time: each NAT takes the other's SYN for an
answer, or, where one SYN comes early and is dropped, the kernel's next one. A router that answers an early SYN with a
RST ends the attempt; so another one follows, from a fresh socket on the same port, while the listener stays open for
the direction that works first. Sockets are few at any time: the original had to switch this off for their number.
"""

import enum
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.endpoint import Address
from crust.nat.behaviour import Allocation, Behaviour, predicted_ports

TCP_PUNCH_SECONDS: Final = 8.0
"""For which it is tried; the kernel's SYNs leave after 0, 1, 3 and 7 s."""
TCP_RETRY_SOONEST: Final = 0.02
TCP_RETRY_LATEST: Final = 0.1
"""Seconds after a refusal until the next attempt: about as long as the attempt took, between these bounds. A SYN comes
through if the other side has one on its way at that moment; so it should have one half of the time, however long the
way is. Maidsafe's was 0.1 s."""
TCP_RETRY_SPREAD: Final = 0.5
"""By which part of it that time is longer or shorter at random: two sides in step would miss each other for ever."""
TCP_SOCKETS: Final = 8
"""Attempts under way at any time."""
TCP_ATTEMPTS: Final = 200
"""Attempts in all; at the quickest pace they last for half of the time."""
TCP_PREDICTED_PORTS: Final = 4
"""Ports that are tried where they are counted up; each costs a socket."""


class Outcome(enum.Enum):
    """How an attempt ended."""

    CONNECTED = "there is a connection"
    REFUSED = "a RST, or an error of the network: a fresh socket may do better"
    UNREACHABLE = "there is no way there; it is not tried again"


class Dial(NamedTuple):
    """An attempt to begin now: a fresh socket, bound to the listening port, address reuse on, linger 0."""

    number: int
    to: Address


@dataclass(slots=True)
class _Target:
    address: Address
    due: float | None
    number: int | None = None
    """Of the attempt under way."""
    began: float = 0.0
    """When it did."""


class TcpPunch:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    More than one attempt may connect, and the listener may take the same connection or another: the handshake proves
    who is there, and the choice between duplicates leaves one. Whoever has that one calls `stop`.

    Args:
        targets: addresses of the peer, the best first; the first `TCP_SOCKETS` count.
        start: when to begin; both sides at the same time, as well as that can be had.
        rng: for the times between attempts.
    """

    def __init__(self, targets: Sequence[Address], start: float, rng: random.Random | None = None) -> None:
        self.failure = ""
        """Why there is no connection, once that is clear."""
        self.attempts = 0
        self._random = rng or random.SystemRandom()
        self._targets = [_Target(address, start) for address in list(dict.fromkeys(targets))[:TCP_SOCKETS]]
        self._end = start + TCP_PUNCH_SECONDS
        self._stopped = False
        self._refused = 0
        if not self._targets:
            self.failure = "the peer gave no address that may be dialled"

    def tick(self, now: float) -> list[Dial]:
        """Which attempts to begin now."""
        if self._stopped or self.failure:
            return []
        if now >= self._end or not self._alive():
            tried = f"{self.attempts} attempts at {len(self._targets)} addresses"
            self.failure = f"{tried}, {self._refused} of them refused; nobody came through"
            return []
        dials = []
        for target in self._targets:
            if target.due is not None and target.due <= now and self.attempts < TCP_ATTEMPTS:
                target.due, target.number, target.began = None, self.attempts, now
                dials.append(Dial(self.attempts, target.address))
                self.attempts += 1
        return dials

    def _alive(self) -> bool:
        return any(target.due is not None or target.number is not None for target in self._targets)

    def ended(self, number: int, outcome: Outcome, now: float) -> None:
        """An attempt ended; its socket is closed unless it connected.

        Args:
            number: of the attempt.
            outcome: how.
            now: seconds.
        """
        for target in self._targets:
            if target.number == number:
                target.number = None
                if outcome is Outcome.REFUSED:
                    self._refused += 1
                    wait = min(max(now - target.began, TCP_RETRY_SOONEST), TCP_RETRY_LATEST)
                    wait *= self._random.uniform(1 - TCP_RETRY_SPREAD, 1 + TCP_RETRY_SPREAD)
                    target.due = now + wait if self.attempts < TCP_ATTEMPTS else None

    def stop(self) -> list[int]:
        """One connection was chosen, or nobody wants one any more: the attempts to abandon. Idempotent."""
        self._stopped = True
        abandoned = [target.number for target in self._targets if target.number is not None]
        for target in self._targets:
            target.number = target.due = None
        return abandoned

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        if self._stopped or self.failure:
            return None
        return min([target.due for target in self._targets if target.due is not None], default=self._end)


def tcp_targets(allowed: Sequence[Address], outer: Collection[Address], theirs: Behaviour) -> list[Address]:
    """What to dial: the addresses of a peer, and the ports that come next where they are counted up.

    Args:
        allowed: the addresses that may be dialled, the best first.
        outer: which of them others have seen.
        theirs: what the peer's NAT does with TCP.
    """
    found: list[Address] = []
    for address in allowed:
        if address in outer and theirs.mapping.dependent and theirs.allocation is Allocation.SEQUENTIAL:
            found += [(address[0], port) for port in predicted_ports(address[1], theirs.delta, TCP_PREDICTED_PORTS)]
        else:
            found.append(address)
    return found[:TCP_SOCKETS]
