"""One of two that meet: ``python -m tests.lab.rendezvous_program PORT HOST PEER_PORT DELAY``.

Opens the port, says ``ready``, waits for a line, then for ``DELAY`` seconds; dials its peer, which dials it; and
exchanges a greeting. Says what came of it, as JSON.
"""

import json
import sys
import threading
from typing import NamedTuple

from crust.errors import CrustError
from crust.transport.utp import UtpSocket
from tests.lab.namespaces import Node, Running, say

TIMEOUT = 8.0  # seconds


class Met(NamedTuple):
    """What came of it, on one side."""

    greeting: str  # what the peer said
    initiator: bool
    error: str


class Meeting:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, port: int, host: str, peer_port: int, delay: float = 0.0) -> None:
        self._running: Running = node.python("tests.lab.rendezvous_program", *map(str, (port, host, peer_port, delay)))
        self._running.line()

    def go(self) -> None:
        self._running.stdin.write("go\n")
        self._running.stdin.flush()

    def result(self) -> Met:
        return Met(**json.loads(self._running.line()))


def _meet(sock: UtpSocket, host: str, port: int, own: str) -> Met:
    try:
        stream = sock.rendezvous((host, port), timeout=TIMEOUT)
        stream.sendall(own.encode())
        stream.shutdown()
        greeting = b""
        while data := stream.recv(64, timeout=TIMEOUT):
            greeting += data
        stream.close()
        return Met(greeting.decode(), stream.initiator, "")
    except CrustError as error:
        return Met("", False, str(error))


def main(port: int, host: str, peer_port: int, delay: float) -> None:
    """Wait for the word, and meet."""
    with UtpSocket(("0.0.0.0", port)) as sock:
        say("ready")
        sys.stdin.readline()
        threading.Event().wait(delay)
        say(json.dumps(_meet(sock, host, peer_port, f"from {port}")._asdict()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
