"""A link between two nodes whose packets pass through a program of ours: delay, jitter, loss, duplicates, reordering.

The program (``python -m tests.lab.tun_link``) holds the two TUN devices that are the ends of the link. It reads from
both in batches and keeps packets in a heap until they are due.
"""

import contextlib
import dataclasses
import errno
import fcntl
import heapq
import itertools
import json
import os
import random
import resource
import select
import struct
import sys
import time

from tests.lab.namespaces import Node, Running, say
from tests.lab.wiring import Interface, up

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_BATCH = 64  # packets read from one side before the other has its turn
_GRAIN = 0.0005  # seconds; how exact delays are. Waking up for each packet would cost twice as much
_MAX_PACKET = 65_536  # bytes
_numbers = itertools.count(1)  # the ends of links are made in one place, before they get their names


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What happens to packets in one direction; times in seconds, chances from 0 to 1."""

    delay: float = 0.0
    jitter: float = 0.0  # each packet waits up to so much longer; packets stay in order
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # the chance that a packet is held back while later ones pass it
    held_back: float = 0.01  # how long


class Direction:
    """One direction of the link: decides when each packet arrives, if it does."""

    def __init__(self, conditions: Conditions, rng: random.Random) -> None:
        self._conditions = conditions
        self._rng = rng
        self._last = 0.0
        self.read = 0
        self.lost = 0

    def arrivals(self, now: float) -> list[float]:
        """When a packet that was sent now arrives: once, twice or never."""
        conditions, rng = self._conditions, self._rng
        self.read += 1
        if conditions.loss and rng.random() < conditions.loss:
            self.lost += 1
            return []
        due = now + conditions.delay
        if conditions.jitter:
            due = self._last = max(self._last, due + rng.random() * conditions.jitter)
        if conditions.reorder and rng.random() < conditions.reorder:
            due += conditions.held_back
        return [due, due] if conditions.duplicate and rng.random() < conditions.duplicate else [due]


class Link:
    """The running link: two TUN devices by their descriptors, and the packets between them."""

    def __init__(self, ends: tuple[int, int], directions: tuple[Direction, Direction]) -> None:
        self._to = {ends[0]: (ends[1], directions[0]), ends[1]: (ends[0], directions[1])}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._serial = 0  # keeps packets that are due at the same time in order

    def run_until_closed(self, control: int) -> None:
        """Carry packets until the other end of ``control`` is closed."""
        sources = [*self._to, control]
        while True:
            waiting = self._waiting
            timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready, _, _ = select.select(sources, [], [], timeout)
            # What comes or is due until the end of the grain is carried with it.
            if control in ready or select.select([control], [], [], _GRAIN)[0]:
                return
            for source in ready:
                self._take(source)
            self._deliver()

    def _take(self, source: int) -> None:
        target, direction = self._to[source]
        now = time.monotonic()
        for _ in range(_BATCH):
            try:
                packet = os.read(source, _MAX_PACKET)
            except BlockingIOError:
                return
            for due in direction.arrivals(now):
                self._serial += 1
                heapq.heappush(self._waiting, (due, self._serial, target, packet))

    def _deliver(self) -> None:
        waiting, now = self._waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(waiting)
            try:
                os.write(target, packet)
            except (
                OSError
            ) as error:  # the device is not up yet, or the kernel has no memory for it: lost, as on any link
                if error.errno not in (errno.EIO, errno.ENOBUFS, errno.EAGAIN, errno.EINVAL):
                    raise


def _open_tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def connect(
    left: Node, left_name: str, right: Node, right_name: str, there: Conditions, back: Conditions, seed: int = 1
) -> tuple[Interface, Interface, Running]:
    """Connect two nodes by a link under these conditions.

    Args:
        left, left_name, right, right_name: the nodes and what the link is called in them (at most 15 letters).
        there: from left to right.
        back: from right to left.
        seed: what is random is the same for the same seed and packets.
    Returns:
        Both interfaces, and the program: its ``finish()`` ends the link and gives its counters as JSON.
    """
    names = [f"link-{next(_numbers)}", f"link-{next(_numbers)}"]
    spec = {
        "names": names,
        "conditions": [dataclasses.asdict(there), dataclasses.asdict(back)],
        "seed": seed,
    }
    running = left.lab.outside.python("tests.lab.tun_link", json.dumps(spec))
    running.line()
    for made, node, name in zip(names, (left, right), (left_name, right_name), strict=True):
        left.lab.outside.run("ip", "link", "set", "dev", made, "netns", node.name, "name", name)
    return up(left, left_name), up(right, right_name), running


def main() -> None:
    """Hold both ends and carry packets until standard input ends; then print counters."""
    spec = json.loads(sys.argv[1])
    # A busy machine must not look like a slow network. Where this is not allowed, it is only less exact.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    rng = random.Random(spec["seed"])
    directions = tuple(Direction(Conditions(**conditions), rng) for conditions in spec["conditions"])
    ends = tuple(_open_tun(name) for name in spec["names"])
    say("ready")
    assert len(directions) == len(ends) == 2
    Link(ends, directions).run_until_closed(sys.stdin.fileno())
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "read": [direction.read for direction in directions],
        "lost": [direction.lost for direction in directions],
        "cpu": used.ru_utime + used.ru_stime,
    }
    say(json.dumps(report))


if __name__ == "__main__":
    main()
