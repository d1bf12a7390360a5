"""One end of a measured flow, as a process of its own.

    python -m tests.lab.flow_program receive TRANSPORT PORT
    python -m tests.lab.flow_program send TRANSPORT HOST PORT SECONDS

A receiver says ``ready``, takes one connection, and when its standard input ends says what came, as JSON: bytes by
tenths of a second of the monotonic clock, which all namespaces of a machine share. A sender says ``connected``, sends
as fast as it may for so many seconds, says its statistics as JSON (Crust's with a trace), and ends at once: what is on
its way is lost.
`flow_libutp.js` does the same for libutp.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time

from crust.transport.utp import UtpSocket, UtpStream
from tests.lab.namespaces import say

TENTHS = 10
PIECE = bytes(64 * 1024)
TRACE_INTERVAL = 0.1  # seconds
CONNECT_TIMEOUT = 20.0  # seconds


Stream = socket.socket | UtpStream


def _accept(transport: str, port: int) -> Stream:
    if transport == "crust":
        listener = UtpSocket(("0.0.0.0", port))
        say("ready")
        return listener.accept(timeout=None)
    with socket.create_server(("0.0.0.0", port)) as server:
        say("ready")
        return server.accept()[0]


def _connect(transport: str, host: str, port: int) -> Stream:
    if transport == "crust":
        return UtpSocket(("0.0.0.0", 0)).connect((host, port), timeout=CONNECT_TIMEOUT)
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, transport.encode())
    connection.settimeout(CONNECT_TIMEOUT)
    connection.connect((host, port))
    connection.settimeout(None)
    return connection


def _receive(transport: str, port: int) -> None:
    arrived: dict[int, int] = {}

    def report_at_the_end() -> None:
        sys.stdin.read()
        say(json.dumps(arrived.copy()))
        os._exit(0)

    threading.Thread(target=report_at_the_end, daemon=True).start()
    stream = _accept(transport, port)
    # A sender that ends resets its connection; what had come until then counts.
    with contextlib.suppress(ConnectionError):
        while data := stream.recv(256 * 1024):
            tenth = int(time.monotonic() * TENTHS)
            arrived[tenth] = arrived.get(tenth, 0) + len(data)
    threading.Event().wait()


def _statistics(stream: Stream) -> dict[str, object]:
    if isinstance(stream, socket.socket):
        # struct tcp_info up to tcpi_total_retrans, its 32-bit numbers after eight bytes
        numbers = struct.unpack_from("=24I", stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 8)
        return {"retransmitted": numbers[23], "rtt": numbers[15] / 1e6, "window": numbers[18]}
    return stream.stats()._asdict()


def _send(transport: str, host: str, port: int, seconds: float) -> None:
    stream = _connect(transport, host, port)
    say("connected")

    def watch_until_the_end() -> None:
        start, trace = time.monotonic(), []
        try:
            while (spent := time.monotonic() - start) < seconds:
                if isinstance(stream, UtpStream):
                    trace.append({"time": spent, **_statistics(stream)})
                threading.Event().wait(min(TRACE_INTERVAL, seconds - spent))
            say(json.dumps({**_statistics(stream), "trace": trace}))
        finally:
            os._exit(0)

    threading.Thread(target=watch_until_the_end, daemon=True).start()
    while True:
        stream.sendall(PIECE)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["receive", transport, port]:
            _receive(transport, int(port))
        case ["send", transport, host, port, seconds]:
            _send(transport, host, int(port), float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
