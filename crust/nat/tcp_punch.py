"""`TcpPunch`: when to dial which address to pass NATs with TCP by simultaneous open (docs/nat.md). Pure.

Both sides dial each other from the port that they listen on, at the same time: each NAT takes the other's SYN for an
answer, or, where one SYN comes early and is dropped, the kernel's next one. A router that answers an early SYN with a
RST ends the attempt; so another one follows, from a fresh socket on the same port, while the listener stays open for
the direction that works first. Sockets are few at any time: the original had to switch this off for their number.
"""

import enum
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.endpoint import Address, Protocol
from crust.nat.behaviour import Allocation, Behaviour, predicted_ports
from crust.nat.connection_info import ConnectionInfo
from crust.nat.punch_plan import UNVOUCHED_PROBES, Method, Target, allowed_addresses, method_for, outer_addresses
from crust.nat.ranges import is_local

TCP_PUNCH_SECONDS: Final = 8.0
"""For which it is tried, by those who begin at the same time; the kernel's SYNs leave after 0, 1, 3 and 7 s (those of
Linux since 6.5 after 0, 1, 2, 3, 4, 5 and 7 s)."""
TCP_RETRY_SHARE: Final = 0.15
"""Of the time that an attempt took, after which the next one follows. Two SYNs pass both routers if each leaves before
the other one can have arrived: two sides that always have one on its way cannot miss each other, however far apart
they are and whenever they began; but for the moments between two attempts."""
TCP_RETRY_SOONEST: Final = 0.01
TCP_RETRY_LATEST: Final = 0.1
"""Seconds, the bounds of that."""
TCP_RETRY_SPREAD: Final = 0.9
"""By which part of it that time is longer or shorter at random: two sides in step, each with its SYN in the other's
pause, would stay so."""
TCP_SOCKETS: Final = 8
"""Attempts under way at any time."""
TCP_QUICK_ATTEMPTS: Final = 400
"""Attempts that follow each other so quickly, as long as `TCP_PUNCH_SECONDS` have not passed."""
TCP_LATER_PAUSE: Final = 0.5
"""Seconds after a later attempt until the next one, and after one at a pair of addresses that is in use. As soon as the
other side begins, it is the quick one, and any attempt of ours comes through."""
TCP_ATTEMPTS: Final = 800
"""Attempts in all, whatever happens."""
TCP_NEAR_ATTEMPTS: Final = 10
"""Attempts at an address of our own network: no NAT is in the way, so somebody listens there, or nobody does."""
TCP_PREDICTED_PORTS: Final = 4
"""Ports that are tried where they are counted up; each costs a socket."""


class Outcome(enum.Enum):
    """How an attempt ended."""

    CONNECTED = "there is a connection"
    REFUSED = "a RST, or an error of the network: a fresh socket may do better"
    TAKEN = "there is a connection between these two ports; perhaps the listener has just got it"
    UNREACHABLE = "there is no way there; it is not tried again"


class Dial(NamedTuple):
    """An attempt to begin now: a fresh socket, bound to the listening port, address reuse on, linger 0."""

    number: int
    to: Address


@dataclass(slots=True)
class _Target:
    address: Address
    left: int
    """Attempts that may still be made."""
    due: float | None
    number: int | None = None
    """Of the attempt under way."""
    began: float = 0.0
    """When it did."""
    tried: int = 0
    refused: int = 0
    connected: bool = False
    why: str = ""
    """How the last attempt ended."""

    @property
    def alive(self) -> bool:
        """Whether it is being tried, or will be again."""
        return self.due is not None or self.number is not None

    def reason(self, seconds: float) -> str:
        """How it fared in all that time."""
        if self.connected:
            return "connected, but that connection was not kept"
        if not self.tried:
            return "not tried: it was over before"
        if not self.refused:
            return self.why or f"no answer within {seconds:g} s: a router or firewall drops what we send"
        times = "1 attempt" if self.tried == 1 else f"{self.tried} attempts"
        return f"{times}, {self.refused} of them in vain; the last one: {self.why}"


class TcpPunch:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    More than one attempt may connect, and the listener may take the same connection or another: the handshake proves
    who is there, and the choice between duplicates leaves one. Whoever has that one calls `stop`.

    Args:
        targets: addresses of the peer, each once, and how often each may be dialled, the best first; the first
            `TCP_SOCKETS` count. See `tcp_targets`.
        start: when to begin; both sides at the same time, as well as that can be had.
        rng: for the times between attempts.
        seconds: for how long; more where the two do not begin at the same time.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        start: float,
        rng: random.Random | None = None,
        seconds: float = TCP_PUNCH_SECONDS,
    ) -> None:
        self.failure = ""
        """Why there is no connection, once that is clear."""
        self.attempts = 0
        self._random = rng or random.SystemRandom()
        self._targets = [_Target(address, limit, start) for address, limit in targets[:TCP_SOCKETS]]
        self._quick_until = start + TCP_PUNCH_SECONDS
        self._seconds = seconds
        self._end = start + seconds
        self._stopped = False
        if not self._targets:
            self.failure = "the peer gave no address that may be dialled"

    def tick(self, now: float) -> list[Dial]:
        """Which attempts to begin now."""
        if self._stopped or self.failure:
            return []
        if now >= self._end:
            self._fail()
            return []
        dials = []
        for target in self._targets:
            if target.due is not None and target.due <= now and self.attempts < TCP_ATTEMPTS:
                target.due, target.number, target.began = None, self.attempts, now
                target.tried += 1
                target.left -= 1
                dials.append(Dial(self.attempts, target.address))
                self.attempts += 1
        self._see_whether_it_is_over()
        return dials

    def ended(self, number: int, outcome: Outcome, now: float, why: str = "") -> None:
        """An attempt ended; its socket is closed unless it connected.

        Args:
            number: of the attempt.
            outcome: how.
            now: seconds.
            why: in words, where it did not connect.
        """
        for target in self._targets:
            if target.number == number:
                target.number, target.why = None, why
                target.connected = outcome is Outcome.CONNECTED
                if outcome in (Outcome.REFUSED, Outcome.TAKEN):
                    target.refused += 1
                    quick = outcome is Outcome.REFUSED and now < self._quick_until
                    target.due = now + self._pause(now - target.began, quick) if target.left else None
        self._see_whether_it_is_over()

    def _see_whether_it_is_over(self) -> None:
        if self.attempts >= TCP_ATTEMPTS:
            for target in self._targets:
                target.due = None
        if not (self._stopped or self.failure or any(target.alive for target in self._targets)):
            self._fail()

    def _pause(self, took: float, quick: bool) -> float:
        wait = min(max(took * TCP_RETRY_SHARE, TCP_RETRY_SOONEST), TCP_RETRY_LATEST)
        if not quick or self.attempts >= TCP_QUICK_ATTEMPTS:
            wait = TCP_LATER_PAUSE
        return wait * self._random.uniform(1 - TCP_RETRY_SPREAD, 1 + TCP_RETRY_SPREAD)

    def _fail(self) -> None:
        refused = sum(target.refused for target in self._targets)
        tried = f"{self.attempts} attempts at {len(self._targets)} addresses"
        self.failure = f"{tried}, {refused} of them refused; nobody came through"

    def reasons(self) -> dict[Address, str]:
        """How each address fared so far, in words."""
        return {target.address: target.reason(self._seconds) for target in self._targets}

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


def tcp_targets(
    ours: ConnectionInfo,
    theirs: ConnectionInfo,
    own_networks: Collection[str] = (),
    vouched_hosts: Collection[str] | None = None,
) -> list[Target]:
    """What to dial, in this order, which is that of new mappings; arguments as for `punch_plan.make_plan`.

    What is known of the NATs was seen on the port of uTP; nearly all of them treat TCP alike.
    """
    allowed = allowed_addresses(ours, theirs, own_networks, Protocol.TCP, vouched_hosts)
    outer = [address for address in outer_addresses(theirs, Protocol.TCP) if address in allowed]
    if method_for(ours.behaviour, theirs.behaviour) is Method.NONE:
        allowed = [address for address in allowed if address not in outer]  # near ones may do
    elif _counts_up(theirs.behaviour):
        nexts = list(_next_ports(outer, theirs.behaviour.delta))
        # If both count: the n-th port of ours was opened for the n-th of theirs, if both begin with these.
        first = nexts if _counts_up(ours.behaviour) else []
        allowed = [*first, *(each for address in allowed for each in (nexts if address in outer else [address]))]
    elif _counts_up(ours.behaviour):
        allowed = [*outer, *allowed]
    chosen = list(dict.fromkeys(allowed))[:TCP_SOCKETS]
    ports = Counter(host for host, _ in chosen)
    return [Target(each, _limit(each, vouched_hosts, ports[each[0]])) for each in chosen]


def _counts_up(behaviour: Behaviour) -> bool:
    return behaviour.mapping.dependent and behaviour.allocation is Allocation.SEQUENTIAL


def _next_ports(outer: Iterable[Address], delta: int) -> Iterable[Address]:
    return ((host, each) for host, port in outer for each in predicted_ports(port, delta, TCP_PREDICTED_PORTS))


def _limit(address: Address, vouched_hosts: Collection[str] | None, ports: int) -> int:
    if is_local(address[0]):
        return TCP_NEAR_ATTEMPTS
    if vouched_hosts is None or address[0] in vouched_hosts:
        return TCP_ATTEMPTS
    return max(UNVOUCHED_PROBES // ports, 1)  # all ports of a host together get no more, however many are named
