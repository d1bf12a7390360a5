"""What a hostile process does to a manager; run by `benches.hostile` in a process of its own."""

import contextlib
import errno
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benches.child import obey
from benches.process_state import allow_descriptors
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import CrustError

HALF_OPEN = 10_000
"""Connections that the attacker would hold if nobody closed them."""
ADDRESSES = 250
"""Source addresses, 127.0.1.1 and on, where an attack comes from many."""
RATE = 1000.0
"""New connections a second, at the most: the attacker must not take the honest peer's share of the processor."""
SPARE_DESCRIPTORS = 200
GARBAGE = bytes((number * 7 + number // 251) & 255 for number in range(4096))
NEVER_READ_SIZE = 64 * 1024  # bytes of each message that asks for an echo which is never read


class Strangers:
    """Opens connections, keeps as many as it can, and opens others for those that are closed on it.

    Args:
        target: port on loopback.
        sources: addresses to connect from, in turn.
        wanted: how many to hold.
        greeting: sent on each.
    """

    def __init__(self, target: int, sources: list[str], wanted: int, greeting: bytes) -> None:
        self._target = ("127.0.0.1", target)
        self._sources = sources
        self._wanted = wanted
        self._greeting = greeting
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.opened = self.held = self.closed_on_us = self.refused = self.bytes_received = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        allowance, last = 0.0, time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            allowance = min(allowance + (now - last) * RATE, RATE / 10)
            last = now
            while self.held < self._wanted and allowance >= 1:
                allowance -= 1
                self._open()
            for key, _ in self._selector.select(timeout=0.01):
                self._look(key.fileobj)
        for key in list(self._selector.get_map().values()):
            self._forget(key.fileobj)
        self._selector.close()

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.bind((self._sources[self.opened % len(self._sources)], 0))
            code = sock.connect_ex(self._target)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError:
            self.refused += 1
            sock.close()
            return
        self.opened += 1
        self.held += 1
        self._selector.register(sock, selectors.EVENT_WRITE if self._greeting else selectors.EVENT_READ)

    def _look(self, sock: Any) -> None:
        try:
            if self._selector.get_key(sock).events & selectors.EVENT_WRITE:
                sock.send(self._greeting)
                self._selector.modify(sock, selectors.EVENT_READ)
                return
            data = sock.recv(4096)
        except OSError:
            data = b""
        self.bytes_received += len(data)
        if not data:
            self.closed_on_us += 1
            self._forget(sock)

    def _forget(self, sock: Any) -> None:
        self._selector.unregister(sock)
        sock.close()
        self.held -= 1

    def report(self) -> dict[str, int]:
        """What was achieved so far."""
        names = ("opened", "held", "closed_on_us", "refused", "bytes_received")
        return {name: getattr(self, name) for name in names}

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()


class _Deaf:
    """An events queue whose owner never looks: with `qsize` it looks full, so its manager stops reading."""

    def __init__(self) -> None:
        self._count = 0

    def put(self, item: object) -> None:
        self._count += 1

    def qsize(self) -> int:
        return self._count


class NeverReads:
    """A genuine peer that asks for echoes without end and reads none of them."""

    def __init__(self, target: int) -> None:
        config = Config(tcp_port=None, utp_port=None, beacon_port=None, upnp=False, max_waiting_events=1)
        self._manager = ConnectionManager(_Deaf(), config)
        self._target = Endpoint.tcp(("127.0.0.1", target))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def start(self) -> None:
        """Begin."""
        self._manager.connect(self._target)
        self._thread.start()

    def _run(self) -> None:
        message = bytes(NEVER_READ_SIZE)
        while not self._stop.is_set():
            try:
                self._manager.send(self._target, message, timeout=0.1)
                self.sent += 1
            except CrustError:
                self._stop.wait(0.05)
            self._stop.wait(len(message) / 50e6)  # 50 MB/s: an attack on queues, not on the processor

    def report(self) -> dict[str, int]:
        """What was achieved so far."""
        return {"sent": self.sent}

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()
        self._manager.stop(timeout=0)


def sources(many: bool) -> list[str]:
    """Source addresses: 250 where the system has them (Linux does), else the honest peer's own."""
    if not many:
        return ["127.0.0.1"]
    found = [f"127.0.1.{number}" for number in range(1, ADDRESSES + 1)]
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((found[-1], 0))
        return found
    return ["127.0.0.1"]


Attack = Strangers | NeverReads
ATTACKS: dict[str, tuple[str, Callable[[int], Attack]]] = {
    "half-open": (
        "silent connections, 1,000 a second, from 250 addresses",
        lambda port: Strangers(port, sources(True), HALF_OPEN, b""),
    ),
    "half-open-here": (
        "silent connections, 1,000 a second, from its own address",
        lambda port: Strangers(port, sources(False), HALF_OPEN, b""),
    ),
    "garbage": (
        "garbage on 1,000 connections a second, 250 addresses",
        lambda port: Strangers(port, sources(True), HALF_OPEN, GARBAGE),
    ),
    "never-reads": ("a genuine peer asks for 50 MB/s of echoes and reads nothing", NeverReads),
}
"""By name: what tables print, and how it is made, given the port of the victim."""


def main() -> None:
    """Attack until told to stop."""
    running: list[Attack] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        allow_descriptors(HALF_OPEN + SPARE_DESCRIPTORS)
        running.append(ATTACKS[sys.argv[1]][1](int(sys.argv[2])))
        running[0].start()
        return lambda command: running[0].report()

    obey(start, lambda: running[0].stop())


if __name__ == "__main__":
    main()
