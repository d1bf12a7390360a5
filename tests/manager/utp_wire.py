"""A uTP connection that looks like a socket, so that the tests of bad peers can be about both transports."""

from typing import Self

from crust import Endpoint, TimedOut
from crust.transport.utp import UtpSocket

_LINGER = 1.0  # seconds for what was sent to arrive, when it is closed


class UtpWire:
    """What these tests use of ``socket.socket``, over uTP from a port of its own.

    Args:
        target: where to connect.
        source: address to connect from.
        patience: seconds for every operation.
        port: to connect from; 0 for any.
    """

    def __init__(self, target: Endpoint, source: str, patience: float, *, port: int = 0) -> None:
        self._socket = UtpSocket((source, port), accepting=False, name="test-utp")
        self._timeout = patience
        try:
            self.stream = self._socket.connect(target.address, patience)
        except BaseException:
            self._socket.close(0.0)
            raise

    def settimeout(self, seconds: float) -> None:
        """Seconds for every operation."""
        self._timeout = seconds

    def setblocking(self, blocking: bool) -> None:
        """Whether operations wait at all; only ``False``."""
        assert not blocking
        self._timeout = 0.0

    def getsockname(self) -> tuple[str, int]:
        """Where it comes from."""
        return self.stream.local.address

    def sendall(self, data: bytes) -> None:
        """Send."""
        self.stream.sendall(data, timeout=self._timeout)

    def recv(self, limit: int) -> bytes:
        """Receive; ``b""`` at the end."""
        try:
            return self.stream.recv(limit, timeout=self._timeout)
        except TimedOut:
            if self._timeout:
                raise
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """End the sending half."""
        self.stream.finish_sending()

    def close(self) -> None:
        """End it; what was sent arrives."""
        self.stream.close()
        self._socket.close(_LINGER)

    def vanish(self) -> None:
        """End without a word, as if the machine had lost its power. The port is free then."""
        self._socket._datagrams.send = lambda burst: burst.count  # type: ignore[method-assign]
        self._socket.close(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
