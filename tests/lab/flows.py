"""Flows between two nodes, and pings beside them."""

import functools
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.interop.node import UTP_NATIVE, Missing, node_modules
from tests.lab.flow_program import TENTHS
from tests.lab.namespaces import LabError, Node, Running

PROGRAM = "tests.lab.flow_program"
_ports = itertools.count(7001)


class Transport(Enum):
    """What can be measured; the values are what the programs call it."""

    CRUST = "crust"
    LIBUTP = "libutp"
    CUBIC = "cubic"
    BBR = "bbr"

    @property
    def is_tcp(self) -> bool:
        return self in (Transport.CUBIC, Transport.BBR)


def unavailable(transport: Transport) -> str | None:
    """Why a transport cannot be measured on this machine; None when it can."""
    if transport.is_tcp:
        known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text("ascii").split()
        return None if transport.value in known else f"this kernel has no TCP with {transport.value}"
    if transport is Transport.LIBUTP:
        try:
            node_modules(UTP_NATIVE)
        except Missing as missing:
            return str(missing)
    return None


class Series(NamedTuple):
    """Bytes that arrived, by tenths of a second of the monotonic clock."""

    tenths: dict[int, int]

    def rate(self, start: float, end: float) -> float:
        """Bytes/s between two moments."""
        first, last = int(start * TENTHS), int(end * TENTHS)
        return sum(self.tenths.get(tenth, 0) for tenth in range(first, last)) * TENTHS / (last - first)


class Flow:
    """A sender and a receiver that are connected and transfer already.

    Args:
        sender, receiver: the nodes.
        host: the receiver's address.
        transport: how.
        seconds: how long to send.
    """

    def __init__(self, sender: Node, receiver: Node, host: str, transport: Transport, seconds: float) -> None:
        self.transport = transport
        port = str(next(_ports))
        self._receiver = _start(receiver, transport, "receive", port)
        self._receiver.line()
        self._sender = _start(sender, transport, "send", host, port, f"{seconds:g}")
        if self._sender.line() != "connected":
            raise LabError(f"{transport.value}: the sender did not connect")
        self.start = time.monotonic()
        self.end = self.start + seconds
        self.statistics: dict[str, object] = {}

    def finish(self) -> Series:
        """Wait until the sender is done; what arrived."""
        self.statistics = json.loads(self._sender.line())
        self._sender.finish()
        arrived = json.loads(self._receiver.finish())
        return Series({int(tenth): count for tenth, count in arrived.items()})


@functools.cache
def _first() -> list[str]:
    """Before what else runs on this machine: what is measured is the network's doing, not the scheduler's."""
    real_time = ["chrt", "--rr", "1"]  # as tun_link has it; may be forbidden even to root
    return real_time if not subprocess.run([*real_time, "true"], capture_output=True).returncode else ["nice", "-n-15"]


def _start(node: Node, transport: Transport, *arguments: str) -> Running:
    if transport is Transport.LIBUTP:
        script = str(Path(__file__).with_name("flow_libutp.js"))
        return node.start(*_first(), "env", f"NODE_PATH={node_modules(UTP_NATIVE)}", "node", script, *arguments)
    role, *rest = arguments
    return node.start(*_first(), sys.executable, "-m", PROGRAM, role, transport.value, *rest)


class Pings:
    """Pings from one node to another, beside whatever else happens: how long the queue between them is."""

    INTERVAL = 0.05  # seconds

    def __init__(self, node: Node, host: str) -> None:
        self._running = node.start(*_first(), "ping", "-n", "-D", "-i", f"{self.INTERVAL:g}", host)
        self._clocks_apart = time.time() - time.monotonic()
        self._running.line()

    def finish(self) -> Callable[[float, float], list[float]]:
        """Stop; a function that gives the round trip times between two moments, in seconds."""
        self._running.interrupt()
        found = re.findall(r"\[([\d.]+)\].*time=([\d.]+) ms", self._running.finish())
        replies = [(float(when) - self._clocks_apart, float(rtt) / 1e3) for when, rtt in found]
        if not replies:
            raise LabError("no ping was answered")
        return lambda start, end: [rtt for when, rtt in replies if start <= when < end]


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` (0-1) of the values are."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
