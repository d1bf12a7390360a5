"""How long TCP hole punching takes through NATs of the kernel: ``python -m tests.lab.tcp_punch_figures [TRIES]``."""

import itertools
import math
import statistics
import sys
from typing import NamedTuple

from crust.nat.tcp_punch import TCP_PUNCH_SECONDS
from crust.threads import clock
from tests.lab.namespaces import Lab, Node, say
from tests.lab.routers import INSIDE, OUTSIDE, Nat, make_router
from tests.lab.tcp_punch_program import Order, Peer, Result
from tests.lab.tun_link import Conditions, connect
from tests.lab.wiring import cable, route

FIRST_PORT = 5483
AHEAD = 0.25  # seconds from the order to the start; both sides must be ready by then


class Met(NamedTuple):
    """What came of one try."""

    sides: tuple[Result, Result]
    seconds: float  # from the later start until both have had bytes go both ways

    @property
    def error(self) -> str:
        return "; ".join(side.error for side in self.sides if side.error)


class Pair:
    """Two peers, each behind a router of its own, with a link of ours between the routers.

    Args:
        lab: where it is built.
        nats: what the routers do.
        delay: seconds that a packet takes from router to router.
    """

    def __init__(self, lab: Lab, nats: tuple[Nat, Nat], delay: float = 0.0) -> None:
        routers = lab.node("left"), lab.node("right")
        slow = Conditions(delay=delay)
        outsides = connect(routers[0], OUTSIDE, routers[1], OUTSIDE, slow, slow)[:2]
        self._peers, self._hosts = [], []
        self._ports = itertools.count(FIRST_PORT)
        for number, outside, router, nat in zip((1, 2), outsides, routers, nats, strict=True):
            outside.address(f"11.1.{number}.2/24")
            router.run("ip", "route", "add", "default", "dev", OUTSIDE)
            # Without NAT the host itself has a public address.
            network = f"11.2.{number}" if nat is Nat.NONE else f"192.168.{number}"
            self._peers.append(Peer(_inside(router, nat, network)))
            self._hosts.append(f"{network}.2" if nat is Nat.NONE else f"11.1.{number}.2")

    def meet(self, late: float = 0.0, seconds: float = TCP_PUNCH_SECONDS) -> Met:
        """Let them punch once, on ports that no router has seen yet.

        Args:
            late: seconds by which the second begins later than the first; less than 0: the first later.
            seconds: for how long they try.
        """
        port, start = next(self._ports), clock.now() + AHEAD
        delays = max(-late, 0.0), max(late, 0.0)
        for peer, host, delay in zip(self._peers, reversed(self._hosts), delays, strict=True):
            peer.begin(Order(port, start + delay, [(host, port)], seconds))
        one, other = (peer.result() for peer in self._peers)
        until = max(side.seconds + delay for side, delay in zip((one, other), delays, strict=True))
        return Met((one, other), until - abs(late))


def _inside(router: Node, nat: Nat, network: str) -> Node:
    """Make it a router, with a host behind it."""
    host = router.lab.node(f"{router.name}-pc")
    near, far = cable(router, INSIDE, host, "eth0")
    near.address(f"{network}.1/24")
    far.address(f"{network}.2/24")
    route(host, f"{network}.1")
    make_router(router, nat)
    return host


CASES = {
    "no NAT, home": (Nat.NONE, Nat.HOME, 0.0),
    "home, home": (Nat.HOME, Nat.HOME, 0.0),
    "home, home that begins late": (Nat.HOME, Nat.HOME, 0.3),
    "home, answering": (Nat.HOME, Nat.ANSWERING, 0.0),
    "home, answering that begins late": (Nat.HOME, Nat.ANSWERING, 0.3),
    "home that begins late, answering": (Nat.HOME, Nat.ANSWERING, -0.3),
    "answering, answering": (Nat.ANSWERING, Nat.ANSWERING, 0.0),
    "answering, answering that begins late": (Nat.ANSWERING, Nat.ANSWERING, 0.3),
}
"""The routers, and how many seconds later than the first side the second one begins."""
DELAYS = (0.0, 0.02, 0.05)
"""Seconds from router to router."""


def main(tries: int) -> None:
    """Print a table."""
    for name, (first, second, late) in CASES.items():
        for delay in DELAYS:
            with Lab() as lab:
                pair = Pair(lab, (first, second), delay)
                done = [pair.meet(late) for _ in range(tries)]
            say(f"{name}, round trip {2e3 * delay:.0f} ms: {described(done)}")


def described(done: list[Met]) -> str:
    """How many met, and how quickly."""
    times = sorted(each.seconds for each in done if not each.error)
    if not times:
        return f"0 of {len(done)}: {done[0].error}"
    attempts = max(side.attempts for each in done for side in each.sides)
    missed = sum(side.missed for each in done for side in each.sides)
    late = times[math.ceil(len(times) * 0.95) - 1]
    return (
        f"{len(times)} of {len(done)}, p50 {statistics.median(times):.3f} s, p95 {late:.3f} s, last {times[-1]:.3f} s, "
        f"at most {attempts} attempts; {missed} others not accepted meanwhile"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
