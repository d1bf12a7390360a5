"""A UDP forwarder that loses packets by a plan that repeats: what the same peers send, it treats alike each time."""

import random
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

Address = tuple[str, int]
Fate = Callable[[bytes], bool]
"""Told every datagram of one direction, in order; whether it passes."""

BUFFER = 4 * 1024 * 1024  # bytes; the kernel must not lose anything beside what the plan says
MAX_DATAGRAM = 65_535


def all_pass(_: bytes) -> bool:
    """Lose nothing."""
    return True


def lossy(part: float, seed: int) -> Fate:
    """Lose a ``part`` (0 to 1) of the datagrams, at random but the same ones for the same ``seed``."""
    dice = random.Random(seed)
    return lambda _: dice.random() >= part


class Forwarder:
    """Stands between dialling peers and one listener, as a NAT would. Use ``with``.

    Args:
        target: where the listener is.
        there: the fate of datagrams towards the listener.
        back: the fate of those towards the dialler.
    """

    def __init__(self, target: Address, there: Fate = all_pass, back: Fate = all_pass) -> None:
        self._target = target
        self._fates = {True: there, False: back}
        self.passed = {True: 0, False: 0}
        """Datagrams that went through; True: towards the listener."""
        self.lost = {True: 0, False: 0}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._front = self._open()
        self._front.bind(("127.0.0.1", 0))
        self._ways: dict[Address, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="test-forwarder")
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where to dial."""
        host, port = self._front.getsockname()
        return host, port

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        opened.setblocking(False)
        self._selector.register(opened, selectors.EVENT_READ)
        return opened

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self._drain(key.fileobj)

    def _drain(self, source: socket.socket) -> None:
        while True:
            try:
                data, sender = source.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # the other end is gone: what it was told about is lost
                continue
            onward = source is self._front
            way = self._way(sender) if onward else source
            passes = self._fates[onward](data)
            (self.passed if passes else self.lost)[onward] += 1
            if passes:
                self._send(way, onward, data)

    def _way(self, dialler: Address) -> socket.socket:
        """The socket that stands for a dialler towards the listener."""
        if dialler not in self._ways:
            self._ways[dialler] = self._open()
            self._ways[dialler].connect(self._target)
        return self._ways[dialler]

    def _send(self, way: socket.socket, onward: bool, data: bytes) -> None:
        try:
            if onward:
                way.send(data)
            else:
                dialler = next(address for address, its in self._ways.items() if its is way)
                self._front.sendto(data, dialler)
        except OSError:  # refused, or full: as on any network
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        for opened in (self._wake, self._woken, self._front, *self._ways.values()):
            opened.close()
