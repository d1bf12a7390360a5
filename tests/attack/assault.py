"""What all attacks share: a thread, a pace, figures, and sources on loopback."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from crust import Config, Endpoint
from crust.threads.workers import start_thread

STEP: Final = 0.005  # seconds between portions of a pace
_PKTINFO: Final = struct.Struct("=I4s4s")
_IP_PKTINFO: Final = 8  # Linux


class Aim(NamedTuple):
    """What an attack is told."""

    tcp: int
    utp: int
    beacon: int
    victim: int
    """UDP port of an honest peer, at 127.0.0.1."""
    block: int
    """127.BLOCK.0.0/16 is where this attack comes from, so that no attack pays for another one."""
    seconds: float
    """That it lasts, about."""

    @property
    def door(self) -> Endpoint:
        """Where the target accepts TCP connections."""
        return Endpoint.tcp(("127.0.0.1", self.tcp))

    def source(self, number: int) -> str:
        """One of the attack's addresses; there are 62,500."""
        return f"127.{self.block}.{number // 250 % 250 + 1}.{number % 250 + 1}"


class Assault(Protocol):
    """An attack that runs. It is made ready first, so that what follows costs the machine little beside the attack."""

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """Attack until ``stop`` is set, and count what was done."""


class Running:
    """An attack on a thread of its own.

    Args:
        assault: made ready.
    """

    def __init__(self, assault: Assault) -> None:
        self._assault = assault
        self._stop = threading.Event()
        self._done: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        if command["do"] == "attack":
            self._thread = start_thread("assault", self._run)
        elif command["do"] == "end":
            self.close()
        return {**self._done, "running": self._thread is not None and not self._ended.is_set()}

    def _run(self) -> None:
        try:
            self._assault.run(self._stop, self._done)
        finally:
            self._ended.set()

    def close(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def pace(stop: threading.Event, per_second: float) -> Iterator[int]:
    """How many are due now, again and again until ``stop``: the attacker must not take the processor of the others."""
    last, allowance = time.monotonic(), 1.0
    while not stop.is_set():
        if allowance >= 1:
            yield int(allowance)
            allowance %= 1
        stop.wait(STEP)
        now = time.monotonic()
        allowance = min(allowance + (now - last) * per_second, per_second / 10 + 1)
        last = now


class Forger:
    """A UDP socket whose datagrams come from any address on loopback, but from its one port; needs no privileges.

    Args:
        port: where they come from; 0 for any.
        host: an address of its own, which nobody else has with that port.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, port))
        self._sock.setblocking(False)
        if host == "0.0.0.0":
            self._sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)  # says where a datagram was sent to

    def send(self, data: bytes, source: str, target: tuple[str, int]) -> bool:
        """Send as if from there; whether the system took it."""
        which = _PKTINFO.pack(0, socket.inet_aton(source), bytes(4))
        try:
            self._sock.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, which)], 0, target)
        except (BlockingIOError, ConnectionRefusedError):
            return False
        return True

    def receive(self) -> tuple[bytes, str] | None:
        """The next datagram, and the address that it was sent to; ``None`` if there is none now."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(2048, 256)
        except (BlockingIOError, ConnectionRefusedError):
            return None
        for _, kind, value in ancillary:
            if kind == _IP_PKTINFO:
                return data, socket.inet_ntoa(_PKTINFO.unpack(value)[2])
        return data, ""

    def close(self) -> None:
        """End."""
        self._sock.close()


def network() -> Config:
    """Of the target and of members: the usual one."""
    return Config()
