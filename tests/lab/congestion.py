"""What happens on a narrow link: the experiments by which congestion control is judged.

The link is sender - router - receiver: the router has the narrow interface with the queue, behind it comes the delay;
nothing is narrow on the way back. (The queue must not be the sender's own: Linux lets TCP put little into that.) Each
experiment builds its own lab, so that nothing is remembered from one to the next, and returns figures. Rates are
goodput: payload that arrived.
"""

import concurrent.futures
import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from tests.lab.flows import Flow, Pings, Transport, percentile
from tests.lab.namespaces import Lab, Node
from tests.lab.shaping import bottleneck
from tests.lab.tun_link import Conditions, connect
from tests.lab.wiring import cable, forwards, route

T = TypeVar("T")

RATE = 20e6  # bits/s
QUEUE = 0.2  # seconds
ONE_WAY = 0.01  # seconds
RECEIVER = "10.0.0.2"
PAYLOAD_SHARE = 1452 / 1500
"""Payload in a packet of 1500 bytes, of which 28 are IP and UDP and 20 uTP: a link is full when it carries that."""
SETTLE = 5.0  # seconds after a start that are not looked at


class Dumbbell(NamedTuple):
    """Two nodes with the link between them."""

    sender: Node
    receiver: Node

    def flow(self, transport: Transport, seconds: float) -> Flow:
        return Flow(self.sender, self.receiver, RECEIVER, transport, seconds)

    def pings(self) -> Pings:
        return Pings(self.sender, RECEIVER)


@contextlib.contextmanager
def dumbbell(
    *, rate: float = RATE, queue: float = QUEUE, one_way: float = ONE_WAY, loss: float = 0.0, seed: int = 1
) -> Iterator[Dumbbell]:
    """A lab with that link; ``loss`` (0-1) is that of data, acknowledgements get through."""
    with Lab() as lab:
        sender, router, receiver = lab.node("sender"), lab.node("router"), lab.node("receiver")
        there, back = Conditions(delay=one_way, loss=loss), Conditions(delay=one_way)
        near, inner = cable(sender, "eth0", router, "inside")
        near.address("10.0.1.2/24")
        inner.address("10.0.1.1/24")
        outer, far = connect(router, "outside", receiver, "eth0", there, back, seed)[:2]
        outer.address("10.0.0.1/24")
        far.address(f"{RECEIVER}/24")
        forwards(router)
        route(sender, "10.0.1.1")
        route(receiver, "10.0.0.1")
        bottleneck(outer, rate, queue)
        yield Dumbbell(sender, receiver)


def share_of_link(goodput: float, rate: float = RATE) -> float:
    """How much of the link (0-1) a goodput in bytes/s fills, with the headers that it needs."""
    return goodput * 8 / PAYLOAD_SHARE / rate


class Alone(NamedTuple):
    """One flow and nothing else."""

    transport: Transport
    filled: float  # share of the link from `SETTLE` on
    filled_from_start: float
    queueing: float  # seconds that pings waited, median
    queueing_95: float  # the same, 95th percentile
    statistics: dict[str, object]


def alone(transport: Transport, seconds: float = 20.0) -> Alone:
    """One flow alone on the link."""
    with dumbbell() as link:
        pings = link.pings()
        flow = link.flow(transport, seconds)
        series, trips = flow.finish(), pings.finish()
    waits = [trip - 2 * ONE_WAY for trip in trips(flow.start + SETTLE, flow.end)]
    return Alone(
        transport,
        share_of_link(series.rate(flow.start + SETTLE, flow.end)),
        share_of_link(series.rate(flow.start, flow.end)),
        statistics.median(waits),
        percentile(waits, 0.95),
        flow.statistics,
    )


class Beside(NamedTuple):
    """A TCP flow, and how much of its rate it kept when another flow came."""

    transport: Transport
    tcp_alone: float  # share of the link; near 1, or this machine is too busy for such experiments
    tcp_beside: float
    other: float

    @property
    def kept(self) -> float:
        """How much (0-1) of what it had alone TCP kept."""
        return self.tcp_beside / self.tcp_alone


def beside_tcp(
    transport: Transport, tcp: Transport = Transport.CUBIC, before: float = 12.0, seconds: float = 25.0
) -> Beside:
    """A TCP flow runs alone; then a flow of ``transport`` starts beside it."""
    with dumbbell() as link:
        first = link.flow(tcp, before + seconds)
        _sleep_until(first.start + before)
        second = link.flow(transport, seconds - 1)
        kept, other = first.finish(), second.finish()
    both = second.start + SETTLE, min(first.end, second.end)
    return Beside(
        transport,
        share_of_link(kept.rate(first.start + SETTLE, first.start + before)),
        share_of_link(kept.rate(*both)),
        share_of_link(other.rate(*both)),
    )


class Shared(NamedTuple):
    """Two flows of one transport; shares of the link."""

    transport: Transport
    first: float
    second: float
    second_at_first: float  # what the later one had of both in its first `SETTLE` seconds, 0-1

    @property
    def second_of_both(self) -> float:
        """What the one that started later has of what both have, 0-1."""
        return self.second / (self.first + self.second)


def shared(transport: Transport, later: float = 0.0, seconds: float = 40.0, settle: float = SETTLE) -> Shared:
    """Two flows, the second started ``later`` seconds after the first, together for ``seconds``."""
    with dumbbell() as link:
        first = link.flow(transport, later + seconds)
        _sleep_until(first.start + later)
        second = link.flow(transport, seconds)
        series = first.finish(), second.finish()
    both = second.start + settle, min(first.end, second.end)
    begun = [each.rate(second.start, second.start + SETTLE) for each in series]
    settled = [share_of_link(each.rate(*both)) for each in series]
    return Shared(transport, settled[0], settled[1], begun[1] / sum(begun))


class Lossy(NamedTuple):
    """One flow on a link that loses packets at random."""

    transport: Transport
    filled: float
    statistics: dict[str, object]


def lossy(
    transport: Transport, loss: float = 0.01, one_way: float = 0.02, seconds: float = 20.0, seed: int = 1
) -> Lossy:
    """One flow alone on a link that loses ``loss`` (0-1) of the data at random."""
    with dumbbell(one_way=one_way, loss=loss, seed=seed) as link:
        flow = link.flow(transport, seconds)
        series = flow.finish()
    filled = share_of_link(series.rate(flow.start, flow.end))
    return Lossy(transport, filled, flow.statistics)


def at_once(*experiments: Callable[[], T]) -> list[T]:
    """Do several experiments at the same time, each in a lab of its own; their figures, in the same order."""
    with concurrent.futures.ThreadPoolExecutor(len(experiments)) as pool:
        return [each.result() for each in [pool.submit(experiment) for experiment in experiments]]


def _sleep_until(moment: float) -> None:
    threading.Event().wait(max(0.0, moment - time.monotonic()))
