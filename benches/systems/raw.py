"""The floor: one TCP connection and the shortest loops that Python can run on it."""

import json
import socket
from time import perf_counter_ns

from benches.systems.base import check, seconds_since

RECEIVE_BUFFER = 256 * 1024  # bytes; larger ones are no faster here


class RawNode:
    """Bytes are counted, not messages: a stream has no message boundaries, and finding them would cost time."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None
        self._socket = socket.socket()

    def listen(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        return json.dumps(self._listener.getsockname())

    def connect(self, address: str) -> None:
        host, port = json.loads(address)
        self._socket.connect((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def accepted(self) -> None:
        if self._listener is None:
            raise RuntimeError("listen() comes first")
        self._socket, _ = self._listener.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: bytes, count: int) -> None:
        sendall = self._socket.sendall
        for _ in range(count):
            sendall(message)

    def receive(self, size: int, count: int) -> float:
        buffer = bytearray(RECEIVE_BUFFER)
        view = memoryview(buffer)
        recv_into = self._socket.recv_into
        left = size * count - recv_into(view[: min(size, RECEIVE_BUFFER)])
        start = perf_counter_ns()
        while left > RECEIVE_BUFFER:
            got = recv_into(buffer)
            check(got > 0, "the connection ended early")
            left -= got
        while left:
            got = recv_into(view[:left])
            check(got > 0, "the connection ended early")
            left -= got
        return seconds_since(start)

    def ping(self, message: bytes, count: int) -> list[int]:
        times = []
        for _ in range(count):
            start = perf_counter_ns()
            self._socket.sendall(message)
            reply = self._read(len(message))
            times.append(perf_counter_ns() - start)
            check(reply == message, "the echo differs")
        return times

    def echo(self, size: int, count: int) -> None:
        for _ in range(count):
            self._socket.sendall(self._read(size))

    def _read(self, size: int) -> bytes:
        data = self._socket.recv(size)
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            check(bool(more), "the connection ended early")
            data += more
        return data

    def close(self) -> None:
        self._socket.close()
        if self._listener is not None:
            self._listener.close()
