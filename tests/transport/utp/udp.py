"""UDP sockets for tests: bursts, what arrived, and a socket that fails as it is told."""

import select
import socket
from collections import deque
from typing import Any

from crust.transport.utp.burst import Address, Burst
from crust.transport.utp.datagrams import Datagrams, Received
from tests.together import PATIENCE

HEADER = 20


def packets(count: int, size: int, last: int | None = None) -> list[bytes]:
    """Datagrams that can be told apart, all of ``size`` bytes but the last."""
    sizes = [size] * (count - 1) + [size if last is None else last]
    return [number.to_bytes(4, "big") + bytes([number % 251]) * (size - 4) for number, size in enumerate(sizes)]


def burst(address: Address, contents: list[bytes], dont_fragment: bool = False) -> Burst:
    """A burst of these, each cut in a header and a view of the rest."""
    buffers: list[bytes | memoryview] = []
    for content in contents:
        buffers += [content[:HEADER], memoryview(content)[HEADER:]]
    return Burst(address, buffers, len(contents[0]), dont_fragment)


def split(received: Received) -> list[bytes]:
    """The datagrams of a batch."""
    data, segment = received.data, received.segment
    return [bytes(data[start : start + segment]) for start in range(0, len(data), segment)]


def wait(sock: Datagrams | socket.socket) -> None:
    """Until there is something to receive, or an error."""
    assert select.select([sock], [], [], PATIENCE)[0], "nothing arrived"


def receive(sock: Datagrams, count: int) -> list[bytes]:
    """The next datagrams, at least ``count``."""
    found: list[bytes] = []
    while len(found) < count:
        wait(sock)
        while received := sock.receive():
            found += split(received)
    return found


class Failing:
    """Stands before a socket: each call of a method named in ``failures`` raises the next error of its list, if any.

    An entry of ``None`` lets one call through. ``calls`` has the names of all methods called.
    """

    def __init__(self, sock: socket.socket, **failures: list[OSError | None]) -> None:
        self._sock = sock
        self.failures = {name: deque(errors) for name, errors in failures.items()}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            waiting = self.failures.get(name)
            error = waiting.popleft() if waiting else None
            if error is not None:
                raise error
            return getattr(self._sock, name)(*args)

        return call


def make_fail(sock: Datagrams, **failures: list[OSError | None]) -> Failing:
    """Let calls of the socket under ``sock`` fail."""
    failing = Failing(sock._sock, **failures)
    sock._sock = failing  # type: ignore[assignment]
    return failing
