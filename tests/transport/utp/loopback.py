"""Pairs of real uTP sockets on loopback, closed at the end of ``with``."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from crust.transport.utp import UtpSettings, UtpSocket, UtpStream
from tests.together import PATIENCE

SOON = 0.02  # seconds; a deadline that is meant to pass
SMALL = UtpSettings(receive_window=20_000, send_buffer=30_000)
HOST = "127.0.0.1"


@contextmanager
def sockets(
    host: str = HOST, settings: UtpSettings | None = None, offload: bool | None = None
) -> Iterator[tuple[UtpSocket, UtpSocket]]:
    """Two sockets; what is left on them when they are closed is not waited for."""
    with closing(Quick((host, 0), settings=settings, offload=offload)) as one:
        with closing(Quick((host, 0), settings=settings, offload=offload)) as other:
            yield one, other


class Quick(UtpSocket):
    """One that does not linger unless told to."""

    def close(self, linger: float = 0.0) -> None:
        """See `UtpSocket.close`."""
        super().close(linger)


def address_of(sock: UtpSocket) -> tuple[str, int]:
    """Where to dial it."""
    return sock.local_address[0], sock.local_address[1]


def join(one: UtpSocket, other: UtpSocket) -> tuple[UtpStream, UtpStream]:
    """A connection, and its other end."""
    stream = one.connect(address_of(other), PATIENCE)
    return stream, other.accept(PATIENCE)


@contextmanager
def pair(
    host: str = HOST, settings: UtpSettings | None = None, offload: bool | None = None
) -> Iterator[tuple[UtpStream, UtpStream]]:
    """Two ends of a connection."""
    with sockets(host, settings, offload) as (one, other):
        yield join(one, other)


def read(stream: UtpStream, count: int) -> bytes:
    """``count`` bytes, or fewer if the other end ends before."""
    data = bytearray()
    while len(data) < count and (some := stream.recv(count - len(data), timeout=PATIENCE)):
        data += some
    return bytes(data)
