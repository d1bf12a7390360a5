"""A router that answers PCP and NAT-PMP on loopback, for tests with real sockets."""

import socket
import threading
from typing import Self

from crust.threads import clock
from tests.nat.gateway_fakes import FakeRouter


class LoopbackRouter:
    """A `FakeRouter` behind a UDP socket. Use ``with``.

    Attributes:
        router: what it does; change it while nothing is on the way.
        port: where it listens.
    """

    def __init__(self, *speaks: int) -> None:
        self.router = FakeRouter(*speaks)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="test-router")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        while True:
            data, address = self._sock.recvfrom(2048)
            if not data:
                return
            answer = self.router.answer(data, clock.now())
            if answer is not None:
                self._sock.sendto(answer, address)
