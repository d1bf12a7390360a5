"""A box between two networks in user space: a NAT of any kind, or only a long cable.

The program (``python -m tests.lab.tun_nat``) holds two TAP devices: its outside is plugged into a switch, its inside is
the network card of a host, or plugged into another switch. It takes frames in batches. See `tests.lab.tun_nat_core` for
what it does to packets, and `tests.lab.nat_kinds` for how to get one.
"""

import contextlib
import dataclasses
import errno
import fcntl
import itertools
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

from tests.lab.namespaces import Lab, Node, Running, say
from tests.lab.tun_nat_core import Core, Nat, Side, Wire
from tests.lab.tun_nat_port import Port
from tests.lab.tun_nat_table import Behaviour
from tests.lab.wiring import BRIDGE, Interface

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_BATCH = 64  # frames read from one side before the other has its turn
_GRAIN = 0.0005  # seconds; how exact delays are. Waking up for each packet would cost twice as much
_MAX_FRAME = 65_550  # bytes
_numbers = itertools.count(1)  # devices are made in one place, before they get their names


class Box:
    """The running box.

    Args:
        devices, ports: of the outside and of the inside.
        delay: seconds that the way outside takes, in each direction.
    """

    def __init__(self, devices: tuple[int, int], ports: tuple[Port, Port], core: Core, delay: float) -> None:
        self._devices = devices
        self._ports = ports
        self._core = core
        self._delay = delay
        # The way is between the NAT and the outside: what comes meets the mappings of the time when it is there.
        self._waiting: deque[tuple[float, bool, bytes | bytearray]] = deque()  # when; whether it comes
        self.lost = 0

    def run_until_closed(self, control: int) -> None:
        """Carry packets until the other end of ``control`` is closed."""
        sources = [*self._devices, control]
        while True:
            ready, _, _ = select.select(sources, [], [], self._patience())
            if control in ready:
                return
            for side in Side:
                if self._devices[side] in ready:
                    self._take(side)
            self._deliver()

    def _patience(self) -> float | None:
        if not self._waiting:
            return None
        return max(_GRAIN, self._waiting[0][0] - time.monotonic())

    def _take(self, side: Side) -> None:
        device, port = self._devices[side], self._ports[side]
        now = time.monotonic()
        for _ in range(_BATCH):
            try:
                frame = os.read(device, _MAX_FRAME)
            except BlockingIOError:
                return
            packet, answers = port.arrive(frame)
            self._write(device, answers)
            if packet is None:
                continue
            if side is Side.OUTSIDE and self._delay:
                self._waiting.append((now + self._delay, True, packet))
            else:
                self._handle(side, packet, now)

    def _handle(self, side: Side, packet: bytes, now: float) -> None:
        leaving = self._core.handle(side, packet, now)
        if leaving is None:
            return
        if leaving.side is Side.OUTSIDE and self._delay:
            self._waiting.append((now + self._delay, False, leaving.packet))
        else:
            self._send(leaving.side, leaving.packet, now)

    def _deliver(self) -> None:
        waiting, now = self._waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, arrives, packet = waiting.popleft()
            if arrives:
                self._handle(Side.OUTSIDE, bytes(packet), now)
            else:
                self._send(Side.OUTSIDE, packet, now)

    def _send(self, side: Side, packet: bytes | bytearray, now: float) -> None:
        self._write(self._devices[side], self._ports[side].leave(packet, now))

    def _write(self, device: int, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                os.write(device, frame)
            except OSError as error:  # the device is not up yet, or there is no memory: lost, as on any cable
                if error.errno not in (errno.EIO, errno.ENOBUFS, errno.EAGAIN, errno.EINVAL):
                    raise
                self.lost += 1


def _open_tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    # Else the end of the program would wait for the device to go. It goes with the namespace that it is in.
    fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    return descriptor


@dataclasses.dataclass
class Started:
    """The program, before its sides are connected: it takes a moment to start, in which the rest can be built."""

    running: Running
    names: tuple[str, str]

    def connect(self, wan: Node, label: str, inside: Node, inside_name: str, *, switched: bool = False) -> Interface:
        """Plug the outside into the switch ``wan``, and make the inside an interface of a node.

        Args:
            label: what the device is called in the switch, at most 15 letters.
            switched: ``inside`` is a switch, into which it is plugged.
        """
        self.running.line()
        lines = []
        for made, node, name, plugged in (
            (self.names[0], wan, label, True),
            (self.names[1], inside, inside_name, switched),
        ):
            master = f"master {BRIDGE}" if plugged else ""
            lines.append(f"ip link set dev {made} netns {node.name} name {name}")
            # As `up` does, but all at once: on a busy machine every program that is started takes its time.
            lines.append(f"ip -n {node.name} link set dev {name} {master} gso_max_segs 1 up")
        wan.lab.outside.run("sh", "-ec", "\n".join(lines))
        return Interface(inside, inside_name)

    def finish(self) -> dict[str, Any]:
        """End it; its counters."""
        found: dict[str, Any] = json.loads(self.running.finish())
        return found

    def end(self) -> None:
        """End it if it still runs."""
        if not self.running.stdout.closed:
            self.running.finish()


def start(
    lab: Lab,
    outer: str,
    inner: str | None,
    behaviour: Behaviour | None,
    *,
    gateway: str | None = None,
    delay: float = 0.0,
    seed: int = 1,
) -> Started:
    """Start a box.

    Args:
        outer: its address outside; without ``behaviour`` that of the host at its inside.
        inner: its address inside, for a NAT.
        behaviour: of the NAT; None: it only carries packets.
        gateway: the router for hosts that are not in its /24 network outside.
        delay: seconds that its way outside takes, in each direction.
        seed: what is random is the same for the same seed and packets.
    """
    names = (f"box-{next(_numbers)}", f"box-{next(_numbers)}")
    spec = {
        "names": names,
        "outer": outer,
        "inner": inner,
        "behaviour": None if behaviour is None else dataclasses.asdict(behaviour),
        "gateway": gateway,
        "delay": delay,
        "seed": seed,
    }
    # Without site (-S): it needs no packages, and would take half as long again to start.
    command = [sys.executable, "-S", "-m", "tests.lab.tun_nat", json.dumps(spec)]
    started = Started(lab.outside.start(*command), names)
    lab.cleanup.callback(started.end)  # the lab would kill it, and then be gone a second or two later
    return started


def _box(spec: dict[str, Any], devices: tuple[int, int]) -> tuple[Box, Core]:
    outer = socket.inet_aton(spec["outer"])
    gateway = None if spec["gateway"] is None else socket.inet_aton(spec["gateway"])
    core: Core = Wire()
    inside = Port(b"\x02\x02" + outer, outer, proxy=True)
    if spec["behaviour"] is not None:
        inner = socket.inet_aton(spec["inner"])
        core = Nat(Behaviour.of(spec["behaviour"]), outer, inner, spec["seed"])
        inside = Port(b"\x02\x02" + outer, inner)
    outside = Port(b"\x02\x01" + outer, outer, gateway=gateway)
    return Box(devices, (outside, inside), core, spec["delay"]), core


def main() -> None:
    """Hold both ends and carry packets until standard input ends; then print counters."""
    spec = json.loads(sys.argv[1])
    # A busy machine must not look like a slow network. Where this is not allowed, it is only less exact.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    outside, inside = (_open_tap(name) for name in spec["names"])
    box, core = _box(spec, (outside, inside))
    say("ready")
    box.run_until_closed(sys.stdin.fileno())
    used = resource.getrusage(resource.RUSAGE_SELF)
    counters = dict(core.counters) if isinstance(core, Nat) else {}
    say(json.dumps({**counters, "lost": box.lost, "cpu": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main()
