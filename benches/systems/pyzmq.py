"""ZeroMQ by pyzmq, plain and with CURVE encryption, with the queue lengths it has by default (1000 messages)."""

import json
from time import perf_counter_ns

import zmq

from benches.systems.base import check, seconds_since


class PlainNode:
    """A PUSH and PULL pair for each way, and a pair of DEALERs for round trips (faster than REQ and REP)."""

    ACCEPTOR = (zmq.PULL, zmq.PUSH, zmq.DEALER)
    CONNECTOR = (zmq.PUSH, zmq.PULL, zmq.DEALER)

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._all: list[zmq.Socket[bytes]] = []
        self._in: zmq.Socket[bytes]
        self._out: zmq.Socket[bytes]
        self._echo: zmq.Socket[bytes]

    def _secure_server(self, socket: "zmq.Socket[bytes]", keys: tuple[bytes, bytes]) -> None:
        """Nothing, in plain."""

    def _secure_client(self, socket: "zmq.Socket[bytes]", server_key: bytes) -> None:
        """Nothing, in plain."""

    def listen(self) -> str:
        public, secret = zmq.curve_keypair()
        self._all = [self._context.socket(kind) for kind in self.ACCEPTOR]
        for socket in self._all:
            self._secure_server(socket, (public, secret))
            socket.bind("tcp://127.0.0.1:*")
        self._in, self._out, self._echo = self._all
        places = [socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in self._all]
        return json.dumps({"places": places, "key": public.decode("ascii")})

    def connect(self, address: str) -> None:
        where = json.loads(address)
        self._all = [self._context.socket(kind) for kind in self.CONNECTOR]
        for socket, place in zip(self._all, where["places"], strict=True):
            self._secure_client(socket, where["key"].encode("ascii"))
            socket.connect(place)
        self._out, self._in, self._echo = self._all
        # A word each way, so that every connection is up before anything is measured.
        self._out.send(b"hello")
        self._echo.send(b"hello")
        check(self._in.recv() == b"hello" == self._echo.recv(), "no greeting")

    def accepted(self) -> None:
        check(self._in.recv() == b"hello" == self._echo.recv(), "no greeting")
        self._out.send(b"hello")
        self._echo.send(b"hello")

    def send(self, message: bytes, count: int) -> None:
        send = self._out.send
        for _ in range(count):
            send(message)

    def receive(self, size: int, count: int) -> float:
        recv = self._in.recv
        check(len(recv()) == size, "wrong length")
        start = perf_counter_ns()
        for _ in range(count - 1):
            if len(recv()) != size:
                check(False, "wrong length")
        return seconds_since(start)

    def ping(self, message: bytes, count: int) -> list[int]:
        socket = self._echo
        times = []
        for _ in range(count):
            start = perf_counter_ns()
            socket.send(message)
            reply = socket.recv()
            times.append(perf_counter_ns() - start)
            check(reply == message, "the echo differs")
        return times

    def echo(self, size: int, count: int) -> None:
        socket = self._echo
        for _ in range(count):
            data = socket.recv()
            socket.send(data)
            check(len(data) == size, "wrong length")

    def close(self) -> None:
        for socket in self._all:
            socket.close(linger=0)
        self._context.term()


class CurveNode(PlainNode):
    """The same sockets with CURVE (CurveZMQ): encrypted and authenticated."""

    def _secure_server(self, socket: "zmq.Socket[bytes]", keys: tuple[bytes, bytes]) -> None:
        socket.curve_publickey, socket.curve_secretkey = keys
        socket.curve_server = True

    def _secure_client(self, socket: "zmq.Socket[bytes]", server_key: bytes) -> None:
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = server_key
