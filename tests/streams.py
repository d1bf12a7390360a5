"""Two ends of a TCP connection over loopback, for tests of what runs on one connection."""

import os
import socket
from collections.abc import Callable
from typing import Self

from crust import Config, Endpoint, Identity
from crust.connecting.negotiate import Node
from crust.transport.aead import supported_ciphers
from crust.transport.hello import SESSION_SIZE
from crust.transport.masking import network_keys
from crust.transport.tcp import TcpStream
from tests.together import PATIENCE


class RecordedStream(TcpStream):
    """A stream that remembers each piece that was handed to the network, and whether it was ended."""

    def __init__(self, sock: socket.socket, remote: Endpoint) -> None:
        super().__init__(sock, remote)
        self.sent: list[bytes] = []
        self.aborted = False

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Stream.send_all`."""
        self.sent.append(bytes(data))
        super().send_all(data)

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        """See `Stream.send_waiting`."""
        count = super().send_waiting(data)
        self.sent.append(bytes(data[:count]))
        return count

    def abort(self) -> None:
        """See `Stream.abort`."""
        self.aborted = True
        super().abort()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets, whose every operation has a deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    first.settimeout(PATIENCE)
    second.settimeout(PATIENCE)
    return first, second


def stream_of(sock: socket.socket) -> RecordedStream:
    """A stream over one of them."""
    return RecordedStream(sock, Endpoint.tcp(sock.getpeername()))


class Pair:
    """Two connected sockets, closed at the end of ``with``; streams over them as well."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket_pair()
        self._streams: list[RecordedStream] = []

    def stream(self, sock: socket.socket) -> RecordedStream:
        """A stream over one of the two."""
        stream = stream_of(sock)
        self._streams.append(stream)
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.close()
        self.ours.close()
        self.theirs.close()


def node(
    identity: Identity | None = None, config: Config | None = None, is_replay: Callable[[bytes], bool] | None = None
) -> Node:
    """What handshakes need of a node."""
    config = config or Config()
    keys = network_keys(config.network, config.network_key)
    fresh = is_replay or (lambda token: False)
    return Node(identity or Identity(), keys, os.urandom(SESSION_SIZE), supported_ciphers(), fresh)
