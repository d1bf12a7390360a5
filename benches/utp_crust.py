"""Our end of `benches.utp_speed`: a bare uTP stream, no encryption, no manager."""

import sys
import time
from collections.abc import Callable
from typing import Any

from benches.child import obey
from benches.systems.base import check, seconds_since
from crust.transport.utp import UtpSettings, UtpSocket

WRITES = {"crust": 1024 * 1024, "crust-64k": 64 * 1024, "crust-plain": 1024 * 1024}
"""Bytes of each write. To the others it makes no difference (utp_end.js)."""
READ_SIZE = 256 * 1024  # bytes
PACKET_SIZE = 1400  # bytes of UDP payload, so that nobody's larger packets flatter it
TIMEOUT = 20.0  # seconds


class End:
    """One socket and its one stream.

    Args:
        system: a key of `WRITES`.
    """

    def __init__(self, system: str) -> None:
        self._chunk = bytes(WRITES[system])
        offload = False if system == "crust-plain" else None
        self._socket = UtpSocket(("127.0.0.1", 0), settings=UtpSettings(mtu_ceiling=PACKET_SIZE), offload=offload)
        self._stream: Any = None

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        match command:
            case {"do": "bind" | "listen"}:
                return {"port": self._socket.local_address[1]}
            case {"do": "connect", "port": port}:
                self._stream = self._socket.connect(("127.0.0.1", port), timeout=TIMEOUT)
            case {"do": "accepted"}:
                pass  # an accepted stream is there when its first bytes are: see receive()
            case {"do": "send", "bytes": count}:
                self._send(count)
            case {"do": "receive", "bytes": count}:
                return {"seconds": self._receive(count)}
            case {"do": "state"}:
                return {"cpu": time.process_time(), "packets": self._stream.stats().packets_sent if self._stream else 0}
            case _:
                raise ValueError(f"no such command: {command}")
        return {}

    def _send(self, left: int) -> None:
        for _ in range(left // len(self._chunk)):
            self._stream.sendall(self._chunk)
        self._stream.sendall(self._chunk[: left % len(self._chunk)])

    def _receive(self, left: int) -> float:
        if self._stream is None:
            self._stream = self._socket.accept(timeout=TIMEOUT)
        left -= self._read(left)
        start = time.perf_counter_ns()
        while left:
            left -= self._read(left)
        return seconds_since(start)

    def _read(self, left: int) -> int:
        data = self._stream.recv(min(left, READ_SIZE))
        check(bool(data), "the stream ended early")
        return len(data)

    def close(self) -> None:
        """Close the stream and the socket."""
        if self._stream is not None:
            self._stream.close()
        self._socket.close()


def main() -> None:
    """Obey until the input ends."""
    ends: list[End] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        ends.append(End(sys.argv[1]))
        return ends[0].do

    obey(start, lambda: ends[0].close())


if __name__ == "__main__":
    main()
